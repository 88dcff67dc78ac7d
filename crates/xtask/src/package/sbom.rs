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

use anyhow::{Context, Result, ensure};
use cluster::workspace_root;
use serde_json::{Value, json};

use super::{IMAGE_MAJOR, VERSION, epoch, licenses};

/// Makes the document and returns where it is. What is linked is the same for each server.
pub(super) fn make(folder: &Path) -> Result<PathBuf> {
    let lock = fs::read_to_string(workspace_root().join("Cargo.lock"))?;
    let document = document(&licenses::linked(IMAGE_MAJOR)?, &checksums(&lock), epoch()?.parse()?)?;
    let to = folder.join(format!("pg_sse-{VERSION}.cdx.json"));
    fs::write(&to, serde_json::to_string_pretty(&document)? + "\n")?;
    Ok(to)
}

fn document(linked: &licenses::Linked, checksums: &BTreeMap<String, String>, made_at: i64) -> Result<Value> {
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
            "timestamp": time(made_at)?,
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

/// Seconds since 1970 as RFC 3339 writes them.
fn time(seconds: i64) -> Result<String> {
    ensure!(seconds >= 0, "a commit before 1970");
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days into a date of the Gregorian calendar, counted from March of the year 0 so that the leap day is
    // the last of a year (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    Ok(format!(
        "{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(time(0).unwrap(), "1970-01-01T00:00:00Z");
        assert_eq!(time(951_782_399).unwrap(), "2000-02-28T23:59:59Z");
        assert_eq!(time(951_782_400).unwrap(), "2000-02-29T00:00:00Z");
        assert_eq!(time(1_767_225_599).unwrap(), "2025-12-31T23:59:59Z");
    }

    #[test]
    fn a_component_has_its_licence_in_spdx_its_checksum_and_its_address() {
        let lock = "[[package]]\nname = \"hyper\"\nversion = \"1.2.3\"\nsource = \"x\"\nchecksum = \"abc\"\n\n[[package]]\nname = \"pg_sse\"\nversion = \"0.2.0\"\n";
        let linked = [("hyper 1.2.3".to_owned(), "MIT/Apache-2.0".to_owned())].into();
        let made = document(&linked, &checksums(lock), 0).unwrap();
        let component = &made["components"][0];
        assert_eq!(component["purl"], "pkg:cargo/hyper@1.2.3");
        assert_eq!(component["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(component["hashes"][0]["content"], "abc");
        assert_eq!(made["metadata"]["component"]["name"], "pg_sse");
        let unknown = [("other 1.0.0".to_owned(), "MIT".to_owned())].into();
        assert!(document(&unknown, &checksums(lock), 0).is_err());
    }
}
