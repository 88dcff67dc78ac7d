//! The file of expected counts: a line for each subject, and with what they were counted.
//!
//! Not for counting.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use cluster::workspace_root;

/// A count may differ by this part of what is expected. Runs differ by less than a thousandth, checkouts and
/// processors by a few: memcpy is another one where the processor is.
const TOLERANCE: f64 = 0.03;

/// … or by so many instructions: the loop around a subject of twenty may take one more.
const LEAST_TOLERANCE: f64 = 3.0;

const FILE: &str = "crates/xtask/src/instructions/expected.txt";

const HEAD: &str = "# Instructions of each subject. Written by `cargo xtask instructions --accept`.\n";

/// Before the line with a compiler or a server.
const WITH: &str = "with ";

pub(super) struct Expected {
    with: Vec<String>,
    counts: BTreeMap<String, f64>,
}

/// What a count is beside the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    AsExpected,
    More,
    /// Good news, but what is expected would not notice when it is lost again.
    Less,
    /// There is no line for it.
    New,
}

impl Verdict {
    pub(super) fn remark(self) -> &'static str {
        match self {
            Self::AsExpected => "",
            Self::More => "  MORE",
            Self::Less => "  less",
            Self::New => "  new",
        }
    }
}

impl Expected {
    /// Nothing is expected where there is no file.
    pub(super) fn read() -> Result<Self> {
        Self::parse(&fs::read_to_string(path()).unwrap_or_default())
    }

    fn parse(text: &str) -> Result<Self> {
        let mut expected = Self { with: Vec::new(), counts: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            if let Some(with) = line.strip_prefix(WITH) {
                expected.with.push(with.to_owned());
                continue;
            }
            let (subject, count) = line.rsplit_once(" = ").with_context(|| format!("{FILE}: {line}"))?;
            expected.counts.insert(subject.to_owned(), count.parse().with_context(|| line.to_owned())?);
        }
        Ok(expected)
    }

    /// With what they were counted, as far as these are others. A server is said only by its major version.
    pub(super) fn made_with_others(&self, these: &[String]) -> Vec<String> {
        let kind = |with: &str| with.split(' ').next().map(str::to_owned);
        let is_other = |with: &&String| {
            these.iter().any(|this| kind(this) == kind(with)) && !these.iter().any(|this| this == *with)
        };
        self.with.iter().filter(is_other).cloned().collect()
    }

    pub(super) fn judge(&self, subject: &str, found: f64) -> (Option<f64>, Verdict) {
        let Some(&expected) = self.counts.get(subject) else { return (None, Verdict::New) };
        let tolerance = (expected * TOLERANCE).max(LEAST_TOLERANCE);
        let verdict = if found > expected + tolerance {
            Verdict::More
        } else if found < expected - tolerance {
            Verdict::Less
        } else {
            Verdict::AsExpected
        };
        (Some(expected), verdict)
    }

    pub(super) fn accept(&mut self, subject: &str, found: f64) {
        self.counts.insert(subject.to_owned(), found);
    }

    pub(super) fn write(&mut self, made_with: &[String]) -> Result<()> {
        let others = self.made_with_others(made_with);
        self.with.retain(|with| !others.contains(with) && !made_with.contains(with));
        self.with.extend_from_slice(made_with);
        fs::write(path(), self.text()).context(FILE)
    }

    fn text(&self) -> String {
        let with = self.with.iter().map(|with| format!("{WITH}{with}\n"));
        let counts = self.counts.iter().map(|(subject, count)| format!("{subject} = {count:.1}\n"));
        std::iter::once(HEAD.to_owned()).chain(with).chain(counts).collect()
    }
}

fn path() -> PathBuf {
    workspace_root().join(FILE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn three_per_cent_and_three_instructions_are_as_expected_and_what_is_beyond_is_not() {
        let expected = Expected::parse("# A comment.\nwith rustc 1\na = 1000.0\nb = 20.0\n").unwrap();
        for (subject, found, verdict) in [
            ("a", 1030.0, Verdict::AsExpected),
            ("a", 1030.1, Verdict::More),
            ("a", 970.0, Verdict::AsExpected),
            ("a", 969.9, Verdict::Less),
            ("b", 23.0, Verdict::AsExpected),
            ("b", 23.1, Verdict::More),
            ("c", 1.0, Verdict::New),
        ] {
            assert_eq!(expected.judge(subject, found).1, verdict, "{subject} {found}");
        }
    }

    #[test]
    fn counts_of_another_compiler_or_server_are_told_and_those_that_are_not_compared_are_not() {
        let expected = Expected::parse("with rustc 1.95.0\nwith PostgreSQL 15\n").unwrap();
        let others = |these: &[&str]| {
            expected.made_with_others(&these.iter().map(|this| (*this).to_owned()).collect::<Vec<_>>())
        };
        assert!(others(&["rustc 1.95.0", "PostgreSQL 15"]).is_empty());
        assert!(others(&["rustc 1.95.0"]).is_empty());
        assert_eq!(others(&["rustc 1.96.0"]), ["rustc 1.95.0"]);
        assert_eq!(others(&["rustc 1.95.0", "PostgreSQL 17"]), ["PostgreSQL 15"]);
    }

    #[test]
    fn what_is_written_is_read_and_what_was_not_counted_stays() {
        let mut expected = Expected::parse("with rustc 1\na call = 1000.0\nb = 20.0\n").unwrap();
        expected.accept("b", 21.25);
        let again = Expected::parse(&expected.text()).unwrap();
        assert_eq!(again.text(), expected.text());
        assert_eq!(again.counts.values().copied().collect::<Vec<_>>(), [1000.0, 21.2]);
    }
}
