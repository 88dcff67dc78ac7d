//! Checks that every dependency has a licence that `deny.toml` allows, and comes from where it allows: of
//! what `cargo deny check` checks, the part that needs neither that program nor a database of
//! vulnerabilities.
//!
//! Not for dependencies of other platforms than this one, and not for the workspaces beside this one
//! (`fuzz/`, `pg_test/bench/`): what these build is given to nobody.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use cluster::cargo;
use serde_json::Value;

/// Every violation, one line each.
pub(super) fn violations(root: &Path) -> Result<Vec<String>> {
    let rules = fs::read_to_string(root.join("deny.toml")).context("deny.toml")?;
    let (licences, registries) = (list(&rules, "allow")?, list(&rules, "allow-registry")?);
    let mut found = Vec::new();
    for package in packages(root)? {
        let name = format!("{} {}", text(&package["name"]), text(&package["version"]));
        let licence = text(&package["license"]);
        if !is_allowed(licence, &licences) {
            found.push(format!("{name}: deny.toml does not allow its licence, {licence:?}"));
        }
        // One of this workspace has none.
        let source = package["source"].as_str();
        if source.is_some_and(|source| !comes_from(source, &registries)) {
            found.push(format!("{name}: deny.toml does not allow its source, {source:?}"));
        }
    }
    Ok(found)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// What is built on this platform, as Cargo.lock has it.
fn packages(root: &Path) -> Result<Vec<Value>> {
    let host = Command::new("rustc").args(["--print", "host-tuple"]).output().context("cannot run rustc")?;
    let mut metadata = cargo();
    metadata.current_dir(root).args(["metadata", "--format-version", "1", "--locked", "--filter-platform"]);
    let output = metadata.arg(String::from_utf8(host.stdout)?.trim()).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "cargo metadata failed");
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    ensure!(packages.len() > 100, "cargo metadata names only {} packages", packages.len());
    Ok(packages.clone())
}

/// The strings of `name = [ … ]`.
fn list(rules: &str, name: &str) -> Result<Vec<String>> {
    let begin = format!("\n{name} = [");
    let (_, rest) = rules.split_once(&begin).with_context(|| format!("deny.toml has no {name}"))?;
    let (inside, _) = rest.split_once(']').with_context(|| format!("{name} of deny.toml has no end"))?;
    Ok(inside.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

fn comes_from(source: &str, registries: &[String]) -> bool {
    source
        .strip_prefix("registry+")
        .is_some_and(|registry| registries.iter().any(|allowed| allowed == registry))
}

/// An SPDX expression: `AND` binds closer than `OR`, and `/` is an old way to write the latter.
fn is_allowed(expression: &str, licences: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = Words { words: spaced.split_whitespace().collect(), licences };
    words.words.reverse();
    words.any_of() && words.words.is_empty()
}

/// What is left of an expression, its next word last.
struct Words<'a> {
    words: Vec<&'a str>,
    licences: &'a [String],
}

impl Words<'_> {
    fn takes(&mut self, word: &str) -> bool {
        let is_next = self.words.last() == Some(&word);
        if is_next {
            self.words.pop();
        }
        is_next
    }

    fn any_of(&mut self) -> bool {
        let mut is_allowed = self.all_of();
        while self.takes("OR") {
            is_allowed |= self.all_of();
        }
        is_allowed
    }

    fn all_of(&mut self) -> bool {
        let mut is_allowed = self.one();
        while self.takes("AND") {
            is_allowed &= self.one();
        }
        is_allowed
    }

    fn one(&mut self) -> bool {
        if self.takes("(") {
            return self.any_of() & self.takes(")");
        }
        let is_allowed = self.words.pop().is_some_and(|word| self.licences.iter().any(|known| known == word));
        // deny.toml names no licence with an exception.
        if self.takes("WITH") {
            self.words.pop();
            return false;
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_licence_is_allowed_if_one_may_choose_so_that_every_part_is() {
        let licences = list("[licenses]\nallow = [\n    \"MIT\",\n    \"ISC\",\n]\n", "allow").unwrap();
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("", false),
            ("MIT OR GPL-3.0-only", true),
            ("GPL-3.0-only/MIT", true),
            ("MIT AND GPL-3.0-only", false),
            ("GPL-3.0-only OR MIT AND ISC", true),
            ("(GPL-3.0-only OR MIT) AND ISC", true),
            ("(GPL-3.0-only OR MIT) AND MPL-2.0", false),
            ("MIT WITH exception", false),
            ("MIT WITH exception OR ISC", true),
            ("(MIT", false),
            ("MIT ISC", false),
        ] {
            assert_eq!(is_allowed(expression, &licences), expected, "{expression:?}");
        }
    }

    #[test]
    fn a_source_is_allowed_if_it_is_a_registry_that_is_named() {
        let registries = ["https://here".to_owned()];
        for (source, expected) in
            [("registry+https://here", true), ("registry+https://there", false), ("git+https://here", false)]
        {
            assert_eq!(comes_from(source, &registries), expected, "{source}");
        }
    }
}
