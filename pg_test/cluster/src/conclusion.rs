//! What the ledger test and the siege both report of a run: what is wrong, why the run may prove nothing, and
//! where its records are.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// At most this many violations are told. The first ones are usually enough, and all are in the archive.
const MAX_TOLD: usize = 10;

/// The result of a run.
#[derive(Debug, Default)]
pub struct Conclusion {
    /// Why the run proves nothing.
    pub failures: Vec<String>,
    /// What is wrong, each with its context.
    pub violations: Vec<String>,
    /// Where the records are.
    pub archive: Option<PathBuf>,
}

impl Conclusion {
    /// Nothing is wrong, and enough happened to say so.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && self.violations.is_empty()
    }

    /// The end of a report. `again` is the command that repeats the run, `proven` what it has proven if it
    /// passed.
    pub fn tell(&self, f: &mut fmt::Formatter<'_>, again: &str, proven: &str) -> fmt::Result {
        for failure in &self.failures {
            writeln!(f, "PROBLEM   {failure}")?;
        }
        for violation in self.violations.iter().take(MAX_TOLD) {
            writeln!(f, "VIOLATION {violation}")?;
        }
        if let Some(archive) = &self.archive {
            writeln!(f, "all of it {}", archive.display())?;
            writeln!(f, "again     {again}")?;
        }
        match (self.violations.len(), self.failures.len()) {
            (0, 0) => write!(f, "verdict   passed: {proven}"),
            (0, _) => write!(f, "verdict   FAILED: the run proves nothing"),
            (count, _) => write!(f, "verdict   FAILED: {count} violations"),
        }
    }
}

/// Writes files into a folder named after the seed, in place of an earlier run's.
pub fn archive<'a, T: AsRef<[u8]>>(
    folder: &Path,
    seed: u64,
    files: impl IntoIterator<Item = (&'a str, T)>,
) -> Result<PathBuf> {
    let folder = folder.join(format!("seed-{seed}"));
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for (name, content) in files {
        fs::write(folder.join(name), content).with_context(|| name.to_owned())?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Told(Conclusion);

    impl fmt::Display for Told {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.tell(f, "again", "all is well")
        }
    }

    fn told(failures: &[&str], violations: usize) -> String {
        let failures = failures.iter().map(|text| (*text).to_owned()).collect();
        let violations = (0..violations).map(|number| number.to_string()).collect();
        Told(Conclusion { failures, violations, archive: None }).to_string()
    }

    #[test]
    fn a_run_that_proves_nothing_has_not_passed_and_violations_count_more() {
        assert_eq!(told(&[], 0), "verdict   passed: all is well");
        assert_eq!(told(&["why"], 0), "PROBLEM   why\nverdict   FAILED: the run proves nothing");
        assert_eq!(told(&["why"], 1), "PROBLEM   why\nVIOLATION 0\nverdict   FAILED: 1 violations");
        assert_eq!(told(&[], MAX_TOLD).matches("VIOLATION").count(), MAX_TOLD);
        assert_eq!(told(&[], MAX_TOLD + 1).matches("VIOLATION").count(), MAX_TOLD);
    }

    #[test]
    fn an_archive_takes_the_place_of_an_earlier_one() {
        let folder = tempfile::tempdir().unwrap();
        archive(folder.path(), 7, [("a", "1"), ("b", "2")]).unwrap();
        let made = archive(folder.path(), 7, [("b", "3")]).unwrap();
        assert_eq!(made, folder.path().join("seed-7"));
        assert!(!made.join("a").exists());
        assert_eq!(fs::read_to_string(made.join("b")).unwrap(), "3");
    }
}
