//! What is linked into the library, as a CycloneDX document (cyclonedx.org): for those who look up known
//! vulnerabilities.
//!
//! Made of what cargo says. cargo-cyclonedx was rejected: it takes minutes to be built, names what is in no
//! library (macros, build scripts), and names members of the workspace by the folder that they are built in.
//!
//! Not for the texts of licences: licenses.rs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use cluster::workspace_root;
use serde_json::{Value, json};

use super::{IMAGE_MAJOR, VERSION, epoch, licenses, succeed};

/// Makes the document and returns where it is. What is linked is the same for each server.
pub(super) fn make(folder: &Path) -> Result<PathBuf> {
    let lock = fs::read_to_string(workspace_root().join("Cargo.lock"))?;
    let mut time = Command::new("date");
    time.args(["--utc", &format!("--date=@{}", epoch()?), "+%FT%TZ"]);
    let document = document(&licenses::linked(IMAGE_MAJOR)?, &checksums(&lock), succeed(time)?.trim())?;
    let to = folder.join(format!("pg_sse-{VERSION}.cdx.json"));
    fs::write(&to, serde_json::to_string_pretty(&document)? + "\n")?;
    Ok(to)
}

fn document(linked: &licenses::Linked, checksums: &BTreeMap<String, String>, made_at: &str) -> Result<Value> {
    let mut components = Vec::new();
    for (package, license) in linked {
        let (name, version) = package.split_once(' ').context("a package without a version")?;
        let mut component = component(name, version, license);
        // Those of the registry have one, and there are no others.
        let sum =
            checksums.get(package).with_context(|| format!("Cargo.lock has no checksum of {package}"))?;
        component["hashes"] = json!([{"alg": "SHA-256", "content": sum}]);
        components.push(component);
    }
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": made_at,
            "component": component("pg_sse", VERSION, "PostgreSQL"),
        },
        "components": components,
    }))
}

fn component(name: &str, version: &str, license: &str) -> Value {
    let reference = format!("pkg:cargo/{name}@{version}");
    json!({
        "type": "library",
        "bom-ref": reference,
        "name": name,
        "version": version,
        // The slash is cargo's old way to say it, which SPDX does not know.
        "licenses": [{"expression": license.replace('/', " OR ")}],
        "purl": reference,
    })
}

/// `name version` and the SHA-256 of its archive in the registry.
fn checksums(lock: &str) -> BTreeMap<String, String> {
    let field = |entry: &str, name: &str| {
        let line = entry.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""));
        line.map(|rest| rest.trim_end_matches('"').to_owned())
    };
    lock.split("[[package]]")
        .filter_map(|entry| {
            let package = format!("{} {}", field(entry, "name")?, field(entry, "version")?);
            Some((package, field(entry, "checksum")?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_component_has_its_licence_in_spdx_its_checksum_and_its_address() {
        let lock = "[[package]]\nname = \"hyper\"\nversion = \"1.2.3\"\nsource = \"x\"\nchecksum = \"abc\"\n\n[[package]]\nname = \"pg_sse\"\nversion = \"0.2.0\"\n";
        let linked = [("hyper 1.2.3".to_owned(), "MIT/Apache-2.0".to_owned())].into();
        let made = document(&linked, &checksums(lock), "").unwrap();
        let component = &made["components"][0];
        assert_eq!(component["purl"], "pkg:cargo/hyper@1.2.3");
        assert_eq!(component["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(component["hashes"][0]["content"], "abc");
        assert_eq!(made["metadata"]["component"]["name"], "pg_sse");
        let unknown = [("other 1.0.0".to_owned(), "MIT".to_owned())].into();
        assert!(document(&unknown, &checksums(lock), "").is_err());
    }
}
