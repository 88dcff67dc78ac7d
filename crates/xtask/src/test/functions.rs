//! The rule for long functions: each says why it is long.
//!
//! Not a parser: rustfmt puts the brace that ends a function under the beginning of its first line.

/// Lines of code, without blank lines and comments, from the one after the name to the last.
const MAX_LINES: usize = 60;

/// What the comment of a longer one says, and why after it.
const REASON: &str = "Long because";

/// Every function that is longer and has no reason.
pub(super) fn violations(name: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let starts = lines.iter().enumerate().filter_map(|(at, line)| Some((at, function(line)?)));
    let found = starts.filter_map(|(at, function)| {
        let length = length(&lines[at..]);
        let is_wrong = length > MAX_LINES && !has_reason(&lines[..at]);
        is_wrong.then(|| {
            format!(
                "{name}:{}: fn {function} has {length} lines; split it at {MAX_LINES}, or say \"{REASON} …\" above it",
                at + 1
            )
        })
    });
    found.collect()
}

/// The name of the function that begins on this line.
fn function(line: &str) -> Option<&str> {
    let (before, behind) = line.split_once("fn ")?;
    let is_qualifier = |word: &str| {
        word.starts_with("pub")
            || word.starts_with("in")
            || word.starts_with('"')
            || matches!(word, "const" | "async" | "unsafe" | "extern" | "default")
    };
    let is_start = before.is_empty() || before.ends_with(' ');
    let end = behind.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (is_start && end > 0 && before.split_whitespace().all(is_qualifier)).then(|| &behind[..end])
}

fn length(lines: &[&str]) -> usize {
    let first = lines.first().copied().unwrap_or_default();
    let indent = first.len() - first.trim_start().len();
    let is_last = |line: &str| {
        let is_at_edge = line.len() - line.trim_start().len() == indent;
        is_at_edge && (line.trim() == "}" || line.ends_with("{}") || line.ends_with(';'))
    };
    let is_code = |line: &&&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    if is_last(first) || first.ends_with('}') {
        return 0;
    }
    lines[1..].iter().take_while(|line| !is_last(line)).filter(is_code).count()
}

/// Whether the comment and attributes right above have it.
fn has_reason(above: &[&str]) -> bool {
    let is_above = |line: &&&str| {
        let line = line.trim_start();
        line.starts_with("//") || line.starts_with("#[")
    };
    let mut text: Vec<&str> = above.iter().rev().take_while(is_above).map(|line| comment(line)).collect();
    text.reverse();
    text.join(" ").contains(REASON)
}

fn comment(line: &str) -> &str {
    line.trim_start().trim_start_matches('/').trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(above: &str, lines: usize) -> Vec<String> {
        let body = "        work();\n\n        // Why.\n".repeat(lines);
        violations(
            "f.rs",
            &format!(
                "impl A {{\n{above}    pub(crate) async fn long(\n        a: u8,\n    ) -> u8 {{\n{body}    }}\n}}\n"
            ),
        )
    }

    #[test]
    fn a_long_function_needs_a_reason() {
        // Two lines of them are the argument and the brace after it.
        assert_eq!(of("", MAX_LINES - 2), Vec::<String>::new());
        assert_eq!(of("", MAX_LINES - 1).len(), 1);
        assert!(of("", MAX_LINES - 1)[0].starts_with("f.rs:2: fn long has 61 lines"));
        assert_eq!(of("    /// Does it. Long\n    /// because it is a list.\n    #[test]\n", 99).len(), 0);
        assert_eq!(of("    /// Does it.\n", 99).len(), 1);
        assert_eq!(of("    // Long because of another.\n    work();\n", 99).len(), 1);
    }

    #[test]
    fn short_ones_behind_one_another_are_not_one() {
        let one = "fn a() {\n    b();\n}\n\nfn c();\nconst fn d() {}\n".repeat(50);
        assert_eq!(violations("f.rs", &one), Vec::<String>::new());
    }
}
