//! What is printed beside what the page says.

use anyhow::{Result, ensure};

use crate::block::steps;

/// Whether these are the first lines; `…` stands for any lines.
pub(crate) fn begins(wanted: &[String], found: &[String]) -> bool {
    match wanted.split_first() {
        None => true,
        Some((line, rest)) if line == "…" => (0..=found.len()).any(|count| begins(rest, &found[count..])),
        Some((line, rest)) => found.first() == Some(line) && begins(rest, &found[1..]),
    }
}

/// These lines are there, in their order; others may be in between.
pub(crate) fn has_lines(wanted: &[String], found: &str) -> Result<()> {
    let mut lines = found.lines().map(|line| normal(line.trim_end()));
    for line in wanted {
        ensure!(
            line.is_empty() || lines.any(|other| other == normal(line)),
            "wanted: {line}\nfound:\n{found}"
        );
    }
    Ok(())
}

pub(crate) fn difference(wanted: &[String], found: &[String]) -> String {
    format!("wanted:\n{}\nfound:\n{}", wanted.join("\n"), found.join("\n"))
}

/// A line with ids of events, execution ids, dates and times replaced: they differ from run to run.
pub(crate) fn normal(line: &str) -> String {
    if line.starts_with("date: ") {
        return "date: …".to_owned();
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-:.+".contains(c);
    let mut all = String::new();
    let mut word = String::new();
    for c in line.chars().chain(['\n']) {
        if is_part(c) {
            word.push(c);
            continue;
        }
        all.push_str(if is_id(&word) {
            "ID"
        } else if is_time(&word) {
            "TIME"
        } else {
            &word
        });
        word.clear();
        all.push(c);
    }
    all.pop();
    all
}

/// `303c5c39b4f62-4s`, or 32 hexadecimal digits.
pub(crate) fn is_id(word: &str) -> bool {
    let is_hex = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit());
    let event = word.strip_suffix('s').unwrap_or(word).split_once('-');
    event.is_some_and(|(epoch, number)| epoch.len() >= 8 && is_hex(epoch) && is_hex(number))
        || (word.len() == 32 && is_hex(word))
}

/// `2026-11-21T14:12:48.993815+00:00`
pub(crate) fn is_time(word: &str) -> bool {
    let digits = |range| word.get(range).is_some_and(|text: &str| text.chars().all(|c| c.is_ascii_digit()));
    word.len() >= 19 && digits(0..4) && digits(5..7) && word.get(10..11) == Some("T")
}

#[test]
pub(crate) fn what_differs_from_run_to_run_is_made_equal_and_nothing_else() -> Result<()> {
    for (line, wanted) in [
        ("id: 303c5c39b4f62-4s", "id: ID"),
        (
            "location: /f?id=0e5cbd35e0ad1bd1c2f63ea0a0a40d57&last_event_id=303c5c39b4f62-6",
            "location: /f?id=ID&last_event_id=ID",
        ),
        (r#"{"at":"2026-11-21T14:12:48.993815+00:00","n":1.50}"#, r#"{"at":"TIME","n":1.50}"#),
        ("date: Sat, 21 Nov 2026 10:40:55 GMT", "date: …"),
        ("data: 12345678 4-5 2026-11-21 it-is-10:40", "data: 12345678 4-5 2026-11-21 it-is-10:40"),
    ] {
        assert_eq!(normal(line), wanted);
    }
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    ensure!(begins(&lines("a\n…\nc"), &lines("a\nb\nb\nc\nd")), "lines left out");
    ensure!(
        !begins(&lines("a\nc"), &lines("a\nb\nc")) && !begins(&lines("a"), &[]),
        "lines that are missing"
    );
    let steps = steps("=> SELECT 1,\n2;\n x\n\n$ a \\\n  b\nc\n")?;
    let told: Vec<_> = steps.iter().map(|s| (s.prompt, s.command.as_str(), s.output.join("|"))).collect();
    assert_eq!(told, [("=>", "SELECT 1,\n2;", " x".to_owned()), ("$", "a \\\n  b", "c".to_owned())]);
    Ok(())
}
