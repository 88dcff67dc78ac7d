//! What the `HINT` of a `RAISE` is (C3.3): a scope, a hint for people, or the slip of an author who meant a
//! scope.
//!
//! If a hint is taken for prose the annotation's scope stays, and that may be everybody. So a hint that could
//! have been meant as a list of receivers is a slip, even if it could have been meant otherwise: undecidable
//! means not delivered.
//!
//! Runs inside Postgres' `emit_log_hook`: memory is asked for with `try_reserve`, and a hint of prose is not
//! copied.

use super::{KINDS, Scope, ScopeError, ScopeValue, is_separator, leading_name, next_word};
use crate::near_miss;

/// What a `RAISE`'s `HINT` is (C3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// It replaces the annotation's scope for this event (C4.3).
    Scope(Scope),
    /// A hint for people: the annotation's scope stays.
    Prose,
    /// A slip of an author who meant a scope: the event is delivered to nobody, counted, and reported once.
    Slip,
}

impl Hint {
    /// Decides what a hint is; every text is exactly one of the three.
    ///
    /// Stricter than C3.3, so that in doubt nobody gets the event: the first word also counts as `authorize`
    /// or `matching` when something else than a separator follows it (`authorize:admin`, `authorize="x"`); a
    /// value of a kind may stand in quotes, whole or in part, or have a blank after its kind (`role: admin`);
    /// and a hint of nothing but separators is what `format('%s, %s', NULL, NULL)` makes of two values.
    pub fn parse(text: &str) -> Self {
        if text.trim().is_empty() {
            return Self::Prose;
        }
        if let Ok(scope) = Scope::parse(text) {
            return Self::Scope(scope);
        }
        let text = text.trim_matches(ends_word);
        let word = &text[..text.find(ends_word).unwrap_or(text.len())];
        let name = leading_name(word);
        let meant_authorize = [word, name].iter().any(|w| near_miss::within(w, "authorize", 2));
        let meant_matching = name.eq_ignore_ascii_case("matching");
        // By C3.3 words are separated by blanks, tabs and commas alone: a text in two lines is one word.
        let is_one_word = !text.contains(is_separator);
        if meant_authorize || meant_matching || is_one_word || names_receivers(text) {
            return Self::Slip;
        }
        Self::Prose
    }
}

/// The hint that `sse.authorize(VARIADIC text[])` gives (C3.3): `values` without the NULLs, each as it is
/// meant (`id:42`, `role:sales team`), quoted where it must be. No value left: `authorize ""`, which nobody
/// matches.
pub fn authorize_hint<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let values: Vec<ScopeValue> = values.map(ScopeValue::new).collect();
    Scope::authorize(values).to_string()
}

fn ends_word(c: char) -> bool {
    c == ',' || c.is_whitespace()
}

/// Whether every word is an `id:`, `name:` or `role:` value: to the letter, with line breaks and foreign
/// blanks between words, or as a list is read.
fn names_receivers(text: &str) -> bool {
    are_kinds(text.split(is_separator)) || are_kinds(text.split(ends_word)) || is_list_of_kinds(text)
}

fn are_kinds<'a>(words: impl Iterator<Item = &'a str>) -> bool {
    let mut words = words.filter(|word| !word.is_empty());
    words.all(|word| kind_of(word.trim_start_matches('"')).is_some())
}

/// Reads a list as [`super::values`] does, up to the first word that is not of a kind. A kind alone takes the
/// next word, of no kind, as its value.
fn is_list_of_kinds(mut text: &str) -> bool {
    let mut lacks_value = false;
    loop {
        match next_word(&mut text) {
            Ok(None) | Err(ScopeError::OutOfMemory) => return true,
            Ok(Some(word)) => match kind_of(&word.text) {
                Some(kind) => lacks_value = kind.len() == word.text.len(),
                None if lacks_value => lacks_value = false,
                None => return false,
            },
            Err(_) => return false,
        }
    }
}

fn kind_of(word: &str) -> Option<&'static str> {
    let begins = |kind: &str| word.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind));
    KINDS.iter().map(|(kind, _)| *kind).find(|kind| begins(kind))
}
