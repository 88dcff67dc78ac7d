//! A private copy of a PostgreSQL installation, with the extension put into it.
//!
//! Postgres finds its share and library folders relative to its own program (path.c, make_relative_path). So
//! a copy with the same relative layout is an installation of its own, and tests and demo neither touch the
//! system's Postgres nor each other.
//!
//! Not for real servers: `cargo xtask install` is for those.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::account::Account;
use crate::extension::Extension;
use crate::pg_config::PgConfig;
use crate::scratch::Scratch;

/// LLVM bitcode of the whole server, for inlining by the JIT: it is large, and Postgres works without it.
const SKIPPED: [&str; 2] = ["bitcode", "man"];

/// A private copy. Removed with its last user; the shared one with the process.
#[derive(Debug)]
pub struct Install {
    pg: PgConfig,
    original: PgConfig,
    account: Account,
    has_extension: Mutex<bool>,
    templates: Mutex<HashMap<Vec<String>, PathBuf>>,
    scratch: Scratch,
}

impl Install {
    /// The copy that all clusters of this process share.
    pub fn shared() -> Result<Arc<Self>> {
        static SHARED: Mutex<Option<Arc<Install>>> = Mutex::new(None);
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(install) = &*shared {
            return Ok(Arc::clone(install));
        }
        let install = Arc::new(Self::of(&PgConfig::find(None)?)?);
        *shared = Some(Arc::clone(&install));
        Ok(install)
    }

    /// Copies the installation of `original`: by hard links where the file system allows, which takes
    /// milliseconds.
    ///
    /// # Errors
    /// Its folders have no common parent, or the copy fails.
    pub fn of(original: &PgConfig) -> Result<Self> {
        if !original.has_server() {
            bail!("{} has no server beside it", original.path.display());
        }
        let account = Account::for_servers()?;
        let scratch = Scratch::create(&account)?;
        let prefix = common_prefix(&[&original.bindir, &original.pkglibdir, &original.sharedir])?;
        let moved = |folder: &Path| -> Result<PathBuf> {
            Ok(scratch.path().join("pg").join(folder.strip_prefix(&prefix)?))
        };
        let pg = PgConfig {
            path: moved(&original.bindir)?.join("pg_config"),
            bindir: moved(&original.bindir)?,
            pkglibdir: moved(&original.pkglibdir)?,
            sharedir: moved(&original.sharedir)?,
            ..original.clone()
        };
        for (from, to) in [
            (&original.bindir, &pg.bindir),
            (&original.pkglibdir, &pg.pkglibdir),
            (&original.sharedir, &pg.sharedir),
        ] {
            copy_tree(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
        if let Ok(libdir) = original.libdir.strip_prefix(&prefix)
            && !is_searched_anyway(&original.libdir)
        {
            copy_libraries(&original.libdir, &scratch.path().join("pg").join(libdir))?;
        }
        let (has_extension, templates) = (Mutex::new(false), Mutex::default());
        Ok(Self { pg, original: original.clone(), account, has_extension, templates, scratch })
    }

    /// Puts the built extension into the copy, once.
    pub fn ensure_extension(&self) -> Result<()> {
        let mut has_extension = self.has_extension.lock().unwrap_or_else(PoisonError::into_inner);
        if !*has_extension {
            self.copy_in(&Extension::locate(&self.original)?)?;
            *has_extension = true;
        }
        Ok(())
    }

    /// Puts these files into the copy, in place of older ones. No other extension files are looked for
    /// afterwards.
    pub fn put(&self, extension: &Extension) -> Result<()> {
        let mut has_extension = self.has_extension.lock().unwrap_or_else(PoisonError::into_inner);
        self.copy_in(extension)?;
        *has_extension = true;
        Ok(())
    }

    fn copy_in(&self, extension: &Extension) -> Result<()> {
        for (from, to) in extension.files(&self.pg) {
            // A new file is written under a new name first: the old file may be mapped by a server, or be a
            // link to the original.
            let new = to.with_extension("new");
            fs::copy(&from, &new).with_context(|| format!("cannot copy {}", from.display()))?;
            fs::rename(&new, &to)?;
        }
        Ok(())
    }

    /// Runs a program of the copy with these variables, which only it and its child processes see. In our own
    /// environment, a variable for the loader would reach compilers and clients, too.
    pub fn give_environment(&self, program: &str, variables: &[(&str, &str)]) -> Result<()> {
        let path = self.program(program);
        let itself = self.program(&format!("{program}-itself"));
        let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
        let mut words: Vec<String> =
            variables.iter().map(|(name, value)| quoted(&format!("{name}={value}"))).collect();
        words.push(quoted(&itself.display().to_string()));
        // Never written to in place: it is a link to the original.
        fs::rename(&path, &itself)?;
        fs::write(&path, format!("#!/bin/sh\nexec env {} \"$@\"\n", words.join(" ")))?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// The `pg_config` of the copy.
    pub fn pg_config(&self) -> &PgConfig {
        &self.pg
    }

    /// The `pg_config` of what was copied: what survives this process.
    pub fn original(&self) -> &PgConfig {
        &self.original
    }

    /// A program of the copy, as a path.
    pub fn program(&self, name: &str) -> PathBuf {
        self.pg.bindir.join(name)
    }

    /// The account that its servers run as.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// A data directory fresh from initdb with these arguments, to be copied: initdb takes a second, a copy a
    /// third of one.
    pub(crate) fn template(&self, initdb_arguments: &[String]) -> Result<PathBuf> {
        let mut templates = self.templates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = templates.get(initdb_arguments) {
            return Ok(found.clone());
        }
        let home = self.scratch.path().join(format!("template-{}", templates.len()));
        fs::create_dir(&home)?;
        self.account.give(&home)?;
        let template = home.join("data");
        let mut initdb = self.account.command(&self.program("initdb"));
        initdb.arg("-D").arg(&template).args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
            "--no-instructions",
        ]);
        initdb.args(initdb_arguments).current_dir(&home);
        let output = initdb.output().context("cannot run initdb")?;
        if !output.status.success() {
            bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        templates.insert(initdb_arguments.to_vec(), template.clone());
        Ok(template)
    }
}

fn common_prefix(folders: &[&Path]) -> Result<PathBuf> {
    let mut prefix = folders[0].to_owned();
    while !folders.iter().all(|folder| folder.starts_with(&prefix)) {
        prefix.pop();
    }
    if !prefix.is_absolute() || prefix.components().any(|part| part == Component::ParentDir) {
        bail!("cannot make sense of the folders {folders:?}");
    }
    Ok(prefix)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if SKIPPED.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if source.is_dir() {
            copy_tree(&source, &target)?;
        } else if source.is_file() {
            link_or_copy(&source, &target)?;
        }
    }
    Ok(())
}

/// The shared libraries beside the server's own, for installations that find them relative to their programs.
fn copy_libraries(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let target = to.join(&name);
        if (name.contains(".so") || name.ends_with(".dylib")) && entry.path().is_file() && !target.exists() {
            link_or_copy(&entry.path(), &target)?;
        }
    }
    Ok(())
}

/// A symbolic link is followed: Postgres resolves links to find itself (exec.c), and would end up in the
/// original.
fn link_or_copy(source: &Path, target: &Path) -> Result<()> {
    let source = source.canonicalize()?;
    if fs::hard_link(&source, target).is_err() {
        fs::copy(&source, target)?;
    }
    Ok(())
}

/// Folders of the system's loader, as on Debian: everything finds its libraries there without our help.
fn is_searched_anyway(libdir: &Path) -> bool {
    ["/lib", "/lib64", "/usr/lib", "/usr/lib64"].iter().any(|folder| libdir == Path::new(folder))
        || libdir.to_string_lossy().ends_with("-linux-gnu")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_common_prefix_of_debian_and_of_a_single_tree_is_found() {
        let debian = ["/usr/lib/postgresql/15/bin", "/usr/lib/postgresql/15/lib", "/usr/share/postgresql/15"]
            .map(Path::new);
        assert_eq!(common_prefix(&debian).unwrap(), Path::new("/usr"));
        let tree = ["/opt/pg/bin", "/opt/pg/lib/postgresql", "/opt/pg/share/postgresql"].map(Path::new);
        assert_eq!(common_prefix(&tree).unwrap(), Path::new("/opt/pg"));
    }

    #[test]
    fn folders_named_relatively_are_refused() {
        assert!(common_prefix(&[Path::new("bin"), Path::new("lib")]).is_err());
    }
}
