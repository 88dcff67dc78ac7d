//! What the PostgreSQL Extension Network takes: the source as a zip, with `META.json` at its root.
//!
//! Not for sending it there.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use cluster::workspace_root;

use super::{VERSION, succeed};

/// Makes the archive of the commit and returns where it is. Its times are those of the commit, in the zone
/// that we say: a zip knows none.
pub(super) fn make(folder: &Path) -> Result<PathBuf> {
    let zip = folder.join(format!("pg_sse-{VERSION}.zip"));
    let mut archive = Command::new("git");
    archive.args(["archive", "--format=zip", "-9"]).arg(format!("--prefix=pg_sse-{VERSION}/"));
    archive.arg("-o").arg(&zip).arg("HEAD").env("TZ", "UTC").current_dir(workspace_root());
    succeed(archive)?;
    Ok(zip)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use serde_json::Value;

    use super::*;

    fn meta() -> Value {
        serde_json::from_str(&fs::read_to_string(workspace_root().join("META.json")).unwrap()).unwrap()
    }

    fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
        value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer}"))
    }

    /// PGXN Meta Spec 1.0.0, "Term": two characters at least, no space, slash, backslash or control.
    fn is_term(name: &str) -> bool {
        name.chars().count() >= 2
            && !name.chars().any(|c| c.is_whitespace() || c.is_control() || ['/', '\\'].contains(&c))
    }

    /// PGXN Meta Spec 1.0.0, "Version": a semantic one, all three numbers.
    fn is_version(version: &str) -> bool {
        let numbers: Vec<&str> = version.split(['-', '+']).next().unwrap_or_default().split('.').collect();
        numbers.len() == 3
            && numbers.iter().all(|number| {
                number.parse::<u32>().is_ok() && (number.len() == 1 || !number.starts_with('0'))
            })
    }

    #[test]
    fn pgxns_description_has_every_required_field_in_its_form() {
        let meta = meta();
        assert!(is_term(text(&meta, "/name")));
        assert!(is_version(text(&meta, "/version")));
        assert!(!text(&meta, "/abstract").is_empty());
        assert!(meta["maintainer"].as_array().is_some_and(|list| list.iter().all(Value::is_string)));
        // One of the licences that the spec has a word for.
        assert_eq!(text(&meta, "/license"), "postgresql");
        assert_eq!(text(&meta, "/meta-spec/version"), "1.0.0");
        let extensions = meta["provides"].as_object().unwrap();
        assert_eq!(extensions.keys().collect::<Vec<_>>(), ["pg_sse"]);
        for (name, extension) in extensions {
            assert!(is_term(name) && is_version(text(extension, "/version")));
            for file in ["/file", "/docfile"] {
                let file = text(extension, file);
                assert!(!file.starts_with('/') && workspace_root().join(file).is_file(), "{file}");
            }
        }
        for (phase, relations) in meta["prereqs"].as_object().unwrap() {
            assert!(["configure", "build", "test", "runtime", "develop"].contains(&phase.as_str()));
            for (relation, names) in relations.as_object().unwrap() {
                assert!(["requires", "recommends", "suggests", "conflicts"].contains(&relation.as_str()));
                assert!(
                    names
                        .as_object()
                        .unwrap()
                        .values()
                        .all(|version| version == 0 || is_version(version.as_str().unwrap()))
                );
            }
        }
        assert!(["stable", "testing", "unstable"].contains(&text(&meta, "/release_status")));
        for tag in meta["tags"].as_array().unwrap() {
            let tag = tag.as_str().unwrap();
            assert!(!tag.is_empty() && tag.chars().count() < 256 && !tag.contains(['/', '\\']), "{tag}");
        }
        let known =
            ["name", "version", "abstract", "description", "maintainer", "license", "provides", "prereqs"];
        let known = known.into_iter().chain([
            "release_status",
            "meta-spec",
            "tags",
            "generated_by",
            "no_index",
            "resources",
        ]);
        let known: Vec<&str> = known.collect();
        assert!(
            meta.as_object()
                .unwrap()
                .keys()
                .all(|key| known.contains(&key.as_str()) || key.starts_with("x_"))
        );
    }

    #[test]
    fn pgxns_description_is_of_this_version_and_of_the_control_file() {
        let meta = meta();
        assert_eq!(text(&meta, "/version"), VERSION);
        assert_eq!(text(&meta, "/provides/pg_sse/version"), VERSION);
        assert_eq!(text(&meta, "/provides/pg_sse/file"), format!("sql/pg_sse--{VERSION}.sql"));
        let control = fs::read_to_string(workspace_root().join("pg_sse.control")).unwrap();
        assert!(control.contains(&format!("default_version = '{VERSION}'")), "{control}");
        assert!(control.contains(&format!("comment = '{}'", text(&meta, "/abstract"))), "{control}");
    }
}
