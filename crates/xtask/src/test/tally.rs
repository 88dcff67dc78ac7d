//! Counts the tests that a runner says it ran, and those that say they were skipped.
//!
//! Not for judging: a runner's exit status counts as well.

use std::collections::BTreeMap;

use cluster::SKIPPED;

/// Lines of one reason, and characters of each.
const LINES: usize = 8;
const WIDTH: usize = 300;

/// Tests passed, failed and skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    /// A step that counts as one test.
    pub(crate) fn one(passed: bool) -> Self {
        Self { passed: usize::from(passed), failed: usize::from(!passed), skipped: 0 }
    }

    /// Adds up libtest's lines `test result: ok. 12 passed; 1 failed; …`. A runner that failed without a
    /// failed test (it did not compile, or crashed) counts as one failure; so does a runner that ran no tests
    /// at all. For libtest a test that says it is skipped has passed; here it has not.
    pub(crate) fn of_runner(lines: &[String], succeeded: bool) -> Self {
        let mut tally = Self::default();
        for line in lines {
            let Some((_, counts)) = line.split_once("test result: ") else { continue };
            tally.passed += count_before(counts, " passed");
            tally.failed += count_before(counts, " failed");
        }
        tally.skipped = skipped(lines).values().sum::<usize>().min(tally.passed);
        tally.passed -= tally.skipped;
        if tally.failed == 0 && (!succeeded || tally.passed == 0) {
            tally.failed = 1;
        }
        tally
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// What came after `before`, an earlier state of this one.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            passed: self.passed - before.passed,
            failed: self.failed - before.failed,
            skipped: self.skipped - before.skipped,
        }
    }
}

/// What was skipped and why, and how many tests each time.
pub(crate) fn skipped(lines: &[String]) -> BTreeMap<&str, usize> {
    let mut skipped = BTreeMap::new();
    for line in lines {
        // Libtest may have begun a line just before it.
        if let Some((_, what)) = line.split_once(SKIPPED) {
            *skipped.entry(what).or_default() += 1;
        }
    }
    skipped
}

/// What of a runner's lines is worth reading when not everything passed.
pub(crate) fn is_told(line: &str) -> bool {
    let line = line.trim_start();
    let is_of_what_passed = line.ends_with(" ... ok") || line.starts_with("test result: ok.");
    !is_of_what_passed && !["Compiling ", "Running ", "running "].iter().any(|word| line.starts_with(word))
}

/// How each failed test begins to say why: `---- NAME stdout ----`, and the first lines below it.
pub(crate) fn reasons(lines: &[String]) -> Vec<String> {
    let mut reasons = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) else {
            continue;
        };
        reasons.push(format!("{name}:"));
        let said = lines[at + 1..].iter().take_while(|line| {
            !["---- ", "failures:", "test result:"].iter().any(|word| line.starts_with(word))
        });
        let said = said.filter(|line| !line.trim().is_empty()).take(LINES);
        reasons.extend(said.map(|line| format!("  {}", line.chars().take(WIDTH).collect::<String>())));
    }
    reasons
}

/// How a step that is no runner ends to say why.
pub(crate) fn end_of(step: &str, output: &str) -> Vec<String> {
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    let end = lines.iter().skip(lines.len().saturating_sub(LINES));
    let end = end.map(|line| format!("  {}", line.chars().take(WIDTH).collect::<String>()));
    [format!("{step}:")].into_iter().chain(end).collect()
}

/// The test files that took longest, with their seconds: libtest's `Running tests/FILE.rs (…)` and
/// `finished in …s`.
pub(crate) fn slowest(lines: &[String]) -> Vec<(String, f64)> {
    const SHOWN: usize = 12;
    let (mut slowest, mut file) = (Vec::new(), "");
    for line in lines {
        if let Some(rest) = line.trim_start().strip_prefix("Running ") {
            file = rest.split_once(" (").map_or(rest, |(file, _)| file);
        } else if let Some((_, seconds)) = line.split_once("; finished in ") {
            let seconds = seconds.trim_end_matches('s').parse().unwrap_or(0.0_f64);
            slowest.push((file.to_owned(), seconds));
        }
    }
    slowest.sort_by(|one, other| other.1.total_cmp(&one.1));
    slowest.truncate(SHOWN);
    slowest
}

fn count_before(text: &str, word: &str) -> usize {
    let before = text.split_once(word).map_or("", |(before, _)| before);
    before.rsplit([' ', ';']).next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1s";

    #[test]
    fn the_lines_of_several_binaries_add_up() {
        let lines = [LINE.to_owned(), "noise".to_owned(), LINE.to_owned()];
        assert_eq!(Tally::of_runner(&lines, false), Tally { passed: 24, failed: 6, skipped: 0 });
    }

    #[test]
    fn what_a_part_of_the_steps_came_to_is_told_apart() {
        let before = Tally { passed: 2, failed: 1, skipped: 0 };
        let mut all = before;
        all.add(Tally { passed: 3, failed: 0, skipped: 4 });
        assert_eq!(all.since(before), Tally { passed: 3, failed: 0, skipped: 4 });
    }

    #[test]
    fn of_a_failed_run_the_reasons_are_told_and_what_passed_is_not() {
        let lines = [
            "     Running tests/a.rs (target/debug/deps/a-1)",
            "running 2 tests",
            "test fine ... ok",
            "---- broken stdout ----",
            "",
            "Error: not so",
            "---- other stdout ----",
            "thread panicked",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.50s",
            "     Running tests/b.rs (target/debug/deps/b-1)",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 12.50s",
        ]
        .map(str::to_owned);
        assert_eq!(reasons(&lines), ["broken:", "  Error: not so", "other:", "  thread panicked"]);
        assert_eq!(slowest(&lines), [("tests/b.rs".to_owned(), 12.5), ("tests/a.rs".to_owned(), 0.5)]);
        assert_eq!(lines.iter().filter(|line| is_told(line)).count(), 6);
    }

    #[test]
    fn a_runner_that_breaks_or_runs_nothing_is_a_failure() {
        let fine = ["test result: ok. 2 passed; 0 failed; 0 ignored".to_owned()];
        assert_eq!(Tally::of_runner(&fine, true), Tally { passed: 2, failed: 0, skipped: 0 });
        assert_eq!(Tally::of_runner(&fine, false), Tally { passed: 2, failed: 1, skipped: 0 });
        assert_eq!(Tally::of_runner(&[], true), Tally { passed: 0, failed: 1, skipped: 0 });
    }

    #[test]
    fn a_test_that_was_skipped_has_not_passed() {
        let lines = [
            "SKIPPED order: there is no C compiler".to_owned(),
            "test a ... SKIPPED order: there is no C compiler".to_owned(),
            "SKIPPED proxies: there is no caddy".to_owned(),
            LINE.to_owned(),
        ];
        assert_eq!(Tally::of_runner(&lines, false), Tally { passed: 9, failed: 3, skipped: 3 });
        assert_eq!(skipped(&lines)["order: there is no C compiler"], 2);
    }

    #[test]
    fn a_run_in_which_everything_was_skipped_is_a_failure() {
        let lines = ["SKIPPED a: b".to_owned(), "test result: ok. 1 passed; 0 failed; 0 ignored".to_owned()];
        assert_eq!(Tally::of_runner(&lines, true), Tally { passed: 0, failed: 1, skipped: 1 });
    }
}
