//! What a fuzzer starts with: seeds and words. Half a minute of fuzzing from nothing does not find
//! `@sse_scope authorize "`.
//!
//! `fuzz/seeds/TARGET/` has inputs from the tests and the documentation, in the form that the target reads;
//! `fuzz/dict/TARGET.dict` has the words of which inputs are made. Either may be missing: operations on a
//! ring have neither.
//!
//! Not for what fuzzers find: that is in `fuzz/corpus` and stays on this machine.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The arguments of `cargo fuzz run`, from the root of the checkout.
pub(super) fn arguments(root: &Path, target: &str, seconds: u64) -> Result<Vec<String>> {
    // The fuzzer writes into the first folder, which has to exist.
    let corpus = format!("fuzz/corpus/{target}");
    fs::create_dir_all(root.join(&corpus)).with_context(|| corpus.clone())?;
    let mut arguments = vec!["run".to_owned(), target.to_owned(), corpus];
    let seeds = format!("fuzz/seeds/{target}");
    if root.join(&seeds).is_dir() {
        arguments.push(seeds);
    }
    arguments.extend(["--".to_owned(), format!("-max_total_time={seconds}")]);
    let words = format!("fuzz/dict/{target}.dict");
    if root.join(&words).is_file() {
        arguments.push(format!("-dict={words}"));
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_target_begins_with_the_seeds_and_words_that_it_has() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("fuzz/seeds/a")).unwrap();
        fs::create_dir_all(root.path().join("fuzz/dict")).unwrap();
        fs::write(root.path().join("fuzz/dict/a.dict"), "\"x\"\n").unwrap();
        assert_eq!(
            arguments(root.path(), "a", 3).unwrap().join(" "),
            "run a fuzz/corpus/a fuzz/seeds/a -- -max_total_time=3 -dict=fuzz/dict/a.dict"
        );
        assert_eq!(
            arguments(root.path(), "b", 3).unwrap().join(" "),
            "run b fuzz/corpus/b -- -max_total_time=3"
        );
        assert!(root.path().join("fuzz/corpus/b").is_dir());
    }

    #[test]
    fn seeds_and_words_are_for_targets_that_there_are() {
        let fuzz = cluster::workspace_root().join("fuzz");
        let mut names = Vec::new();
        for folder in ["seeds", "dict"] {
            for entry in fs::read_dir(fuzz.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                names.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
                if path.is_dir() {
                    assert!(fs::read_dir(&path).unwrap().next().is_some(), "{} is empty", path.display());
                }
            }
        }
        for name in &names {
            assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).is_file(), "there is no target {name}");
        }
        // Texts have both, and what is made of words that no fuzzer guesses.
        for target in [
            "annotation",
            "scope",
            "query",
            "identity",
            "route",
            "request_target",
            "token",
            "call",
            "http2_frames",
        ] {
            assert_eq!(names.iter().filter(|name| *name == target).count(), 2, "{target}");
        }
    }
}
