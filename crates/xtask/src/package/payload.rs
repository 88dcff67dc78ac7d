//! What every package has in it: the library for one server, built so that nothing of this machine is in it,
//! the control file, the scripts, the documentation, and whose work it is.
//!
//! Not for how it is packed.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cluster::{Extension, PgConfig, Profile, workspace_root};

use super::{VERSION, epoch, git, licenses, succeed};
use crate::build::{self, target_folder};

/// Where the source is said to be, in messages of panics: everywhere the same.
const SOURCE: &str = "/usr/src/pg_sse";

/// Applications whose pages need no build.
const EXAMPLES: [&str; 3] = ["chat", "counter", "feed"];

/// The built extension and what belongs to it.
pub(super) struct Payload {
    pub(super) major: u32,
    pub(super) version: String,
    /// Stripped.
    library: PathBuf,
    extension: Extension,
}

impl Payload {
    /// Builds the library with optimisation, in a folder of its own: the flags that map paths away would
    /// otherwise make every other build begin anew.
    pub(super) fn build(pg: &PgConfig) -> Result<Self> {
        let library = build_in(workspace_root(), pg, VERSION)?;
        let payload = Self {
            major: pg.major,
            version: VERSION.to_owned(),
            extension: Extension::with_library(library.clone())?,
            library,
        };
        payload.names_no_place()?;
        Ok(payload)
    }

    /// The version before this one, from the last commit that had it: for trying an upgrade, not for
    /// people. Its package has the documentation of the present.
    ///
    /// # Errors
    /// The history does not go back to it, or it does not build any more.
    pub(super) fn before(pg: &PgConfig) -> Result<Self> {
        let script = format!("sql/pg_sse--{VERSION}.sql");
        let commit = git(&["log", "-1", "--diff-filter=A", "--format=%P", "--", &script])?;
        ensure!(!commit.is_empty(), "no commit is known in which {script} was new: is the history whole?");
        let source = folder().join("before");
        if source.exists() {
            fs::remove_dir_all(&source)?;
        }
        fs::create_dir_all(&source)?;
        let mut unpack = Command::new("/bin/sh");
        unpack.args(["-ec", "git archive \"$1\" | tar -x -C \"$2\"", "sh", &commit]).arg(&source);
        unpack.current_dir(workspace_root());
        succeed(unpack)?;
        let control = fs::read_to_string(source.join("pg_sse.control"))?;
        let version = control.lines().find_map(|line| line.strip_prefix("default_version = '"));
        let version = version.context("it says no version")?.trim_end_matches('\'').to_owned();
        let library = build_in(&source, pg, &version)?;
        let scripts = vec![source.join(format!("sql/pg_sse--{version}.sql"))];
        let control = source.join("pg_sse.control");
        let extension = Extension { library: library.clone(), control, scripts };
        Ok(Self { major: pg.major, version, library, extension })
    }

    /// A path of this machine in the library would differ on another one, and tell where it was built.
    fn names_no_place(&self) -> Result<()> {
        let bytes = fs::read(&self.library)?;
        for place in [workspace_root().to_owned(), cargo_home()] {
            let text = place.display().to_string();
            let is_there = bytes.windows(text.len()).any(|part| part == text.as_bytes());
            ensure!(!is_there, "the library says where it was built: {text}");
        }
        Ok(())
    }

    pub(super) fn library(&self) -> &Path {
        &self.library
    }

    /// The names of its scripts.
    pub(super) fn scripts(&self) -> impl Iterator<Item = String> {
        let names = self.extension.scripts.iter().filter_map(|script| script.file_name());
        names.map(|name| name.to_string_lossy().into_owned())
    }

    /// The library as `library`, control file and scripts below `extension`, all below `root`.
    pub(super) fn put_extension(&self, root: &Path, library: &str, extension: &str) -> Result<()> {
        put(&self.library, &root.join(library), 0o644)?;
        for file in std::iter::once(&self.extension.control).chain(&self.extension.scripts) {
            put(file, &root.join(extension).join(file.file_name().unwrap_or_default()), 0o644)?;
        }
        Ok(())
    }

    /// The copyright file of Debian's form, and the notices of all that is linked in.
    pub(super) fn put_licenses(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        write(&folder.join("copyright"), &licenses::copyright()?)?;
        write(&folder.join("third-party-licenses.txt"), &licenses::third_party(self.major)?)
    }

    /// The pages, applications to begin with, and what watches it.
    pub(super) fn put_documentation(&self, folder: &Path) -> Result<()> {
        let root = workspace_root();
        put(&root.join("README.md"), &folder.join("README.md"), 0o644)?;
        put_folder(&root.join("docs"), &folder.join("docs"), &|path| {
            path.extension().is_some_and(|end| end == "md")
        })?;
        for example in EXAMPLES {
            let name = Path::new("examples").join(example);
            put_folder(&root.join(&name), &folder.join(&name), &|_| true)?;
        }
        put_folder(&root.join("contrib"), &folder.join("contrib"), &|_| true)
    }
}

/// Builds in a checkout, and returns the stripped library.
fn build_in(source: &Path, pg: &PgConfig, version: &str) -> Result<PathBuf> {
    let target = folder();
    // Checkouts of two versions share this folder, so that the dependencies are built once. Cargo keeps
    // what it knows of their libraries apart, and not the libraries: without this it takes one for the
    // other.
    let linked = target.join("release/deps/libpg_sse.so");
    if linked.exists() {
        fs::remove_file(&linked)?;
    }
    let mut command = Extension::build_command(pg, Profile::Release);
    command.current_dir(source);
    // Of the build itself nothing may depend on who asks for it.
    command.args(["--locked"]).env_remove("RUSTFLAGS").env("CARGO_TARGET_DIR", &target);
    command.env("CARGO_ENCODED_RUSTFLAGS", flags(&target).join("\u{1f}"));
    command.env("CFLAGS", c_flags(&target)).env("SOURCE_DATE_EPOCH", epoch()?);
    let title = format!("building pg_sse {version} for packages, PostgreSQL {}", pg.major);
    let built = build::library(command, &title)?;
    let library = target.join(format!("pg_sse-{version}-{}.so", pg.major));
    let mut strip = Command::new("strip");
    strip.arg("--strip-unneeded").arg("-o").arg(&library).arg(&built);
    succeed(strip)?;
    Ok(library)
}

/// Where cargo builds what is packed.
fn folder() -> PathBuf {
    workspace_root().join(target_folder()).join("package")
}

/// Copies those files of a folder.
fn put_folder(from: &Path, to: &Path, is_wanted: &dyn Fn(&Path) -> bool) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            put_folder(&path, &target, is_wanted)?;
        } else if is_wanted(&path) {
            put(&path, &target, 0o644)?;
        }
    }
    Ok(())
}

/// Copies a file and makes its folders.
pub(super) fn put(from: &Path, to: &Path, mode: u32) -> Result<()> {
    fs::create_dir_all(to.parent().context("no folder")?)?;
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(mode))?)
}

/// Writes a file that everybody may read.
pub(super) fn write(to: &Path, text: &str) -> Result<()> {
    fs::write(to, text).with_context(|| to.display().to_string())?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(0o644))?)
}

/// The later ones win, so the innermost place is last.
fn flags(target: &Path) -> Vec<String> {
    let map = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    vec![
        map(&cargo_home(), "/usr/src/cargo"),
        map(workspace_root(), SOURCE),
        map(target, &format!("{SOURCE}/target")),
    ]
}

/// The same for what the dependencies compile from C.
fn c_flags(target: &Path) -> String {
    let map = |from: &Path, to: &str| format!("-ffile-prefix-map={}={to}", from.display());
    [
        map(&cargo_home(), "/usr/src/cargo"),
        map(workspace_root(), SOURCE),
        map(target, &format!("{SOURCE}/target")),
    ]
    .join(" ")
}

/// Where cargo keeps the source of dependencies.
fn cargo_home() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo");
    env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}
