//! How callgrind is asked to count within one function, and what it says at the end.
//!
//! Not for which function.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::progress;

/// Options of valgrind: count while a function of this name, or pattern, runs. The profile is of no interest.
pub(super) fn options(function: &str) -> Vec<OsString> {
    ["--tool=callgrind", "--collect-atstart=no", "--callgrind-out-file=/dev/null"]
        .map(OsString::from)
        .into_iter()
        .chain([format!("--toggle-collect={function}").into()])
        .collect()
}

/// Runs a program to its end and counts.
pub(super) fn run(title: &str, function: &str, program: &Path, arguments: &[&str]) -> Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(options(function)).arg(program).args(arguments);
    let counted = progress::run(title, valgrind)?.ok(title)?;
    let counted = counted.lines.iter().find_map(|line| collected(line));
    counted.filter(|counted| *counted > 0).with_context(|| format!("{title}: nothing was counted"))
}

/// What a line of valgrind's output says was counted, if it does: `==123== Collected : 4567`.
pub(super) fn collected(line: &str) -> Option<u64> {
    line.split_once("== Collected : ")?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_what_valgrind_says() {
        assert_eq!(collected("==14392== Collected : 1109786"), Some(1_109_786));
        assert_eq!(collected("==14392== I   refs:      1,109,786"), None);
        assert_eq!(collected("==14392== Events    : Ir"), None);
    }
}
