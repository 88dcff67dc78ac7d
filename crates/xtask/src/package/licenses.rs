//! Whose work a package is: our own licence in Debian's form, and the notices of what is linked into the
//! library, which most of its licences ask for.
//!
//! Not for which licences are allowed: `cargo xtask test` checks that (test/dependencies.rs).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cluster::{cargo, workspace_root};
use serde_json::Value;

use super::succeed;

/// How the files with notices are called, in whatever case and with whatever end.
const NOTICES: [&str; 5] = ["license", "licence", "copying", "copyright", "notice"];

/// `/usr/share/doc/…/copyright` (Debian's machine-readable format 1.0).
pub(super) fn copyright() -> Result<String> {
    let license = fs::read_to_string(workspace_root().join("LICENSE"))?;
    let (_, terms) = license.split_once("contributors\n").context("LICENSE has no terms")?;
    let mut text = String::from(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: pg_sse\n\
         Comment: The library has work of others linked into it. What it is, by whom and under which\n \
         terms, is in third-party-licenses.txt beside this file.\n\n\
         Files: *\nCopyright: 2026 pg_sse contributors\nLicense: PostgreSQL\n",
    );
    for line in terms.trim().lines() {
        let _ = writeln!(text, " {}", if line.is_empty() { "." } else { line });
    }
    Ok(text)
}

/// Each dependency that is linked in, its licence, and the texts that come with it; each text once.
pub(super) fn third_party(major: u32) -> Result<String> {
    let folders = folders()?;
    let mut text = String::from(
        "What is linked into pg_sse's library, and under which terms. Behind the list are the texts that come with it.\n\n",
    );
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, license) in linked(major)? {
        let _ = writeln!(text, "{name}: {license}");
        let folder = folders.get(&name).with_context(|| format!("{name} is nowhere"))?;
        for notice in notices(folder)? {
            texts.entry(notice).or_default().push(name.clone());
        }
    }
    for (notice, names) in texts {
        let _ = write!(text, "\n{0}\nOf {1}:\n\n{2}\n", "-".repeat(78), names.join(", "), notice.trim_end());
    }
    Ok(text)
}

/// `name version` and licence of each.
pub(super) type Linked = BTreeSet<(String, String)>;

/// All that is in the library: no build scripts, no macros, no tests.
pub(super) fn linked(major: u32) -> Result<Linked> {
    let mut tree = cargo();
    tree.args(["tree", "--locked", "--package=pg_sse", "--edges=no-dev,no-build,no-proc-macro"]);
    tree.args([
        "--no-default-features",
        &format!("--features=pg{major}"),
        "--prefix=none",
        "--format={p}\t{l}",
    ]);
    let printed = succeed(tree)?;
    let mut found = BTreeSet::new();
    for line in printed.lines() {
        let line = line.trim_end_matches(" (*)");
        let (package, license) = line.split_once('\t').with_context(|| line.to_owned())?;
        // Those of the workspace have their folder after the version, and are ours.
        let mut words = package.split_whitespace();
        let (name, version) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !package.contains(&format!("({}", workspace_root().display())) {
            found.insert((format!("{name} {}", version.trim_start_matches('v')), license.to_owned()));
        }
    }
    ensure!(found.len() > 50, "cargo tree names only {} packages", found.len());
    Ok(found)
}

fn folders() -> Result<BTreeMap<String, PathBuf>> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version=1", "--locked"]);
    let metadata: Value = serde_json::from_str(&succeed(metadata)?)?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let text = |package: &Value, name: &str| package[name].as_str().unwrap_or_default().to_owned();
    let folder = |package: &Value| Some(PathBuf::from(text(package, "manifest_path")).parent()?.to_owned());
    Ok(packages
        .iter()
        .filter_map(|package| {
            Some((format!("{} {}", text(package, "name"), text(package, "version")), folder(package)?))
        })
        .collect())
}

fn notices(folder: &Path) -> Result<Vec<String>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_file() && NOTICES.iter().any(|notice| name.starts_with(notice)) {
            files.push(path);
        }
    }
    files.sort();
    files.iter().map(|file| Ok(String::from_utf8_lossy(&fs::read(file)?).replace("\r\n", "\n"))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_copyright_file_has_our_terms_in_debians_form() {
        let text = copyright().unwrap();
        assert!(text.contains("\nLicense: PostgreSQL\n Permission to use"), "{text}");
        assert!(text.contains("MODIFICATIONS."), "{text}");
        // A line of a field's text begins with a blank, and an empty one is a dot.
        assert!(
            !text.split("License: PostgreSQL\n").nth(1).unwrap().lines().any(|line| !line.starts_with(' '))
        );
    }
}
