//! Lines that are not ours to the letter, but were meant to be (C2.5).
//!
//! C2.5 names: a near miss of a word after an `@`; everything that begins with `@sse`; a word of ours alone
//! on a line without its `@`. Added here, because each would silently drop a restriction: a word followed by
//! something other than a separator (`@authorize:admin`), after a bullet (`* @authorize`), assigned to or
//! with an underscore at the start of a line (`authorize = admin`, `sse_scope authorize`), `@http`, and two
//! words on one line. A word without its `@` may also be misspelt if it is long: a line `Use:` or `Math` is
//! prose.
//!
//! Not for comments without an `HTTP` or `@sse…` line.

use super::keyword::{self, Keyword};
use super::line::Line;
use super::problem::Problem;
use crate::near_miss;
use crate::scope::{is_separator, leading_name};

/// A word after an `@` that is not ours, or is followed by something that may not follow it.
pub(super) fn judge_other(line: &Line<'_>, word: &str) -> Result<(), Problem> {
    if word == "@" {
        return judge_decorated(line);
    }
    let problem = |message: &str| Problem::new(line.number, word, message);
    if Keyword::parse(word).is_some() {
        let shown = line.text.split(is_separator).next().unwrap_or(word);
        let message = "expected a blank, a comma, \"=\" or nothing right after the word";
        return Err(Problem::new(line.number, shown, message).with_nearest(exact(word)));
    }
    if word.eq_ignore_ascii_case("@http") {
        return Err(problem("unknown annotation: expected \"HTTP\" without \"@\"").with_nearest(Some("HTTP")));
    }
    let nearest =
        if keyword::begins_with_sse(word) { keyword::nearest_sse(word) } else { keyword::near(word) };
    if nearest.is_none() && !keyword::begins_with_sse(word) {
        return Ok(());
    }
    Err(problem("unknown annotation: expected one of pg_sse's words").with_nearest(nearest))
}

/// A line without an `@` at its start that is not an `HTTP` line.
pub(super) fn judge_prose(line: &Line<'_>) -> Result<(), Problem> {
    if !line.text.starts_with(char::is_alphanumeric) {
        return judge_decorated(line);
    }
    let name = leading_name(line.text);
    let rest = line.text[name.len()..].trim_start_matches(is_separator);
    let is_alone = rest.trim_matches(['.', ':', ';', ',', '!']).is_empty();
    let meant = format!("@{name}");
    let nearest = match exact(&meant) {
        Some(word) if is_alone || rest.starts_with('=') || name.contains('_') => Some(word),
        Some(_) => None,
        None if is_alone => keyword::near(&meant).filter(|word| near_miss::limit_of(word) > 1),
        None => None,
    };
    match nearest {
        Some(word) => {
            let message = "expected an annotation to begin with \"@\"";
            Err(Problem::new(line.number, name, message).with_nearest(Some(word)))
        }
        None => Ok(()),
    }
}

/// `* @authorize`, `@@authorize`, `@ authorize`: bullets, quotes or hidden characters around the `@`.
fn judge_decorated(line: &Line<'_>) -> Result<(), Problem> {
    let Some(start) = line.text.find(char::is_alphanumeric) else { return Ok(()) };
    let (decoration, text) = line.text.split_at(start);
    if !decoration.contains('@') {
        return Ok(());
    }
    let name = leading_name(text);
    let meant = format!("@{name}");
    let nearest = exact(&meant).or_else(|| keyword::near(&meant));
    if nearest.is_none() && !keyword::begins_with_sse(&meant) {
        return Ok(());
    }
    let shown = &line.text[..start + name.len()];
    let message = "expected the line to begin with \"@\", directly followed by the word";
    Err(Problem::new(line.number, shown, message)
        .with_nearest(nearest.or_else(|| keyword::nearest_sse(&meant))))
}

/// A word of `text`, the value of an annotation, that was meant as an annotation of its own.
pub(super) fn second_annotation(text: &str) -> Option<&str> {
    let is_annotation = |word: &&str| {
        word.starts_with('@') && (keyword::begins_with_sse(word) || keyword::near(word).is_some())
    };
    text.split(is_separator).find(is_annotation)
}

/// Whether a word that begins with `@sse` was probably meant as `@sse`, `@sse_publish` or `@sse_subscribe`.
pub(super) fn resembles_main(word: &str) -> bool {
    let meant = keyword::nearest_sse(word).and_then(Keyword::parse);
    matches!(meant, Some(Keyword::Sse | Keyword::Publish | Keyword::Subscribe))
}

fn exact(word: &str) -> Option<&'static str> {
    keyword::spellings().find(|w| w.eq_ignore_ascii_case(word))
}
