//! Rules of the house that neither the compiler nor clippy knows: where unsafe may be, how long a file may
//! get, which functions may be long, which files may name each other, which paths the documents write, and
//! where versions of Postgres are told apart.
//!
//! Not a parser: it looks at lines, and the rules are such that this is enough.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::circles;
use super::files::rust_files;
use super::functions;
use super::paths;

/// The folders whose files are checked.
const FOLDERS: [&str; 5] = ["src", "crates", "pg_test", "examples", "fuzz"];

/// Longer files are split, those of tests, too. The tests at the end of a file are not counted.
const MAX_LINES: usize = 400;

/// The width of lines, as in rustfmt.toml.
const MAX_WIDTH: usize = 110;

/// Every violation, one line each.
pub(crate) fn violations(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        for file in rust_files(&root.join(folder))? {
            let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
            found.extend(unsafe_outside(&name, &text));
            found.extend(upward(&name, &text));
            found.extend(versions_apart(&name, &text));
            found.extend(too_long(&name, &text));
            found.extend(wide_comments(&name, &text));
            found.extend(ignored(&name, &text));
            found.extend(functions::violations(&name, &text));
        }
    }
    found.extend(circles::violations(root)?);
    found.extend(paths::violations(root)?);
    Ok(found)
}

/// `unsafe` may be only in the places that SAFETY.md describes.
fn unsafe_outside(name: &str, text: &str) -> Vec<String> {
    if name.starts_with("src/pg/") || name == "crates/ring/src/region.rs" {
        return Vec::new();
    }
    let lines = text.lines().enumerate().filter(|(_, line)| has_word(&code_of(line), "unsafe"));
    lines.map(|(number, _)| format!("{name}:{}: unsafe outside src/pg/ and region.rs", number + 1)).collect()
}

/// The files through which Postgres is called know nothing of those who call them: they name neither what is
/// above `src/pg/`, nor `entry/`.
fn upward(name: &str, text: &str) -> Vec<String> {
    if !name.starts_with("src/pg/") || name.starts_with("src/pg/entry/") {
        return Vec::new();
    }
    let is_upward = |line: &str| {
        let code = code_of(line);
        let mut of_crate = code.split("crate::").skip(1).map(|path| path.starts_with("pg::"));
        of_crate.any(|is_pg| !is_pg)
            || code.contains("super::super")
            || code.contains("entry::")
            || code.trim_start().starts_with("use ") && has_word(&code, "entry")
    };
    let lines = text.lines().enumerate().filter(|(_, line)| is_upward(line));
    lines
        .map(|(number, _)| format!("{name}:{}: names what is above src/pg/, outside of entry/", number + 1))
        .collect()
}

/// What differs between versions of Postgres is told apart in one file, so that the next one is a change to
/// one file.
fn versions_apart(name: &str, text: &str) -> Vec<String> {
    if !name.starts_with("src/") || name == "src/pg/compat.rs" {
        return Vec::new();
    }
    let tells = |line: &str| {
        let code = line.split("//").next().unwrap_or("");
        ["feature = \"pg1", "feature = \"pg2", "PG_VERSION_NUM", "PG_MAJORVERSION"]
            .iter()
            .any(|sign| code.contains(sign))
    };
    let lines = text.lines().enumerate().filter(|(_, line)| tells(line));
    lines
        .map(|(number, _)| format!("{name}:{}: a version of Postgres outside of compat.rs", number + 1))
        .collect()
}

fn too_long(name: &str, text: &str) -> Option<String> {
    // What follows this attribute at the left edge is the file's own tests, which are at the end (STYLE: "mod
    // tests" at the bottom). Within an item it is about a function or a field.
    let count = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
    (count > MAX_LINES).then(|| format!("{name}: {count} lines; split it at {MAX_LINES}"))
}

/// rustfmt breaks code at this width, but not comments.
fn wide_comments(name: &str, text: &str) -> Vec<String> {
    let is_wide = |line: &str| line.trim_start().starts_with("//") && line.chars().count() > MAX_WIDTH;
    let lines = text.lines().enumerate().filter(|(_, line)| is_wide(line));
    lines
        .map(|(number, _)| format!("{name}:{}: a comment wider than {MAX_WIDTH} columns", number + 1))
        .collect()
}

/// What is run by hand alone says so by its name, or the test command would run it: slow tests are ignored,
/// too.
fn ignored(name: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let is_by_hand = |line: &&str| line.starts_with("#[ignore") && !line.contains("\"slow\"");
    let starts = lines.iter().enumerate().filter(|(_, line)| is_by_hand(line));
    let is_named = |at: usize| {
        lines[at..]
            .iter()
            .find_map(|line| line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn "))
            .is_some_and(|rest| rest.starts_with("by_hand_"))
    };
    let wrong = starts.filter(|(at, _)| !is_named(*at));
    wrong.map(|(at, _)| format!("{name}:{}: neither \"slow\", nor is its name by_hand_…", at + 1)).collect()
}

/// A line without its comment and without what is in quotes.
fn code_of(line: &str) -> String {
    let outside: String = line.replace("\\\"", "").split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    outside.split("//").next().unwrap_or("").to_owned()
}

/// `unsafe` but not `unsafe_code`.
fn has_word(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.split(|c| !is_part(c)).any(|found| found == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_is_found_in_code_and_only_in_code() {
        let text = "#![deny(unsafe_code)]\n// unsafe\nlet x = \"unsafe\";\n    unsafe { f() }\n";
        assert_eq!(unsafe_outside("crates/proto/src/lib.rs", text).len(), 1);
        assert!(unsafe_outside("src/pg/entry/hook.rs", text).is_empty());
        assert!(unsafe_outside("crates/ring/src/region.rs", text).is_empty());
    }

    #[test]
    fn an_arrow_that_leads_up_out_of_pg_is_found_outside_of_entry() {
        let upward_ones = [
            "use crate::guc;",
            "use crate::{guc, pg};",
            "        crate::call_role::invalidate();",
            "use super::super::guc;",
            "use super::{entry, shmem};",
            "    super::entry::activation::none_running()",
        ];
        for line in upward_ones {
            assert_eq!(upward("src/pg/shmem.rs", line).len(), 1, "{line}");
            assert!(upward("src/pg/entry/hook.rs", line).is_empty(), "{line}");
            assert!(upward("src/worker/call.rs", line).is_empty(), "{line}");
        }
        let others =
            "pub(crate) mod entry;\nuse crate::pg::text;\nuse super::latch;\n// crate::guc\nlet entry = 1;\n";
        assert!(upward("src/pg/shmem.rs", others).is_empty());
    }

    #[test]
    fn a_wide_comment_is_found_and_wide_code_is_left_to_rustfmt() {
        let of = |width: usize| format!("    // {}\n", "x".repeat(width - 7));
        assert!(wide_comments("src/lib.rs", &of(MAX_WIDTH)).is_empty());
        assert_eq!(wide_comments("src/lib.rs", &of(MAX_WIDTH + 1)).len(), 1);
        assert!(wide_comments("src/lib.rs", &"x".repeat(MAX_WIDTH + 1)).is_empty());
    }

    #[test]
    fn what_is_ignored_is_slow_or_run_by_hand() {
        let of = |reason: &str, name: &str| {
            format!("#[test]\n#[ignore{reason}]\nfn {name}() {{}}\nfn by_hand_x() {{}}\n")
        };
        assert!(ignored("a.rs", &of(" = \"slow\"", "leak")).is_empty());
        assert!(ignored("a.rs", &of(" = \"a measurement\"", "by_hand_leak")).is_empty());
        assert_eq!(ignored("a.rs", &of(" = \"a measurement\"", "leak")).len(), 1);
        assert_eq!(ignored("a.rs", &of("", "leak")).len(), 1);
        let waits = |name| of(" = \"a measurement\"", name).replacen("fn", "async fn", 1);
        assert!(ignored("a.rs", &waits("by_hand_leak").replace("fn by_hand_x", "fn x")).is_empty());
        assert_eq!(ignored("a.rs", &waits("leak")).len(), 1);
    }

    #[test]
    fn versions_are_told_apart_in_one_file() {
        let text = "#[cfg(feature = \"faults\")]\n// feature = \"pg17\"\n#[cfg(any(feature = \"pg17\"))]\n";
        assert_eq!(versions_apart("src/pg/shmem.rs", text).len(), 1);
        assert_eq!(versions_apart("src/worker/mod.rs", "if PG_VERSION_NUM > 160000 {").len(), 1);
        assert!(versions_apart("src/pg/compat.rs", text).is_empty());
        assert!(versions_apart("crates/xtask/src/test/rules.rs", text).is_empty());
    }

    #[test]
    fn a_file_of_400_lines_is_fine_and_one_more_is_not() {
        assert!(too_long("src/a.rs", &"x\n".repeat(400)).is_none());
        assert!(too_long("src/a.rs", &"x\n".repeat(401)).is_some());
        assert!(too_long("src/a.rs", &format!("    #[cfg(test)]\n{}", "x\n".repeat(400))).is_some());
        assert!(too_long("crates/a/tests/a.rs", &"x\n".repeat(401)).is_some());
        assert!(
            too_long("src/a.rs", &format!("{}#[cfg(test)]\n{}", "x\n".repeat(400), "x\n".repeat(400)))
                .is_none()
        );
    }
}
