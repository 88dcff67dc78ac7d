//! Tells a misspelt word from another word: edit distance, the limit of C2.5, the nearest valid word.
//!
//! Distance is Damerau-Levenshtein in its restricted form ("optimal string alignment"): an insertion, a
//! deletion, a substitution and a swap of two neighbours cost 1 each, ASCII case costs nothing. The contract
//! says only "edit distance"; a swap counts 1 because it is one slip of the fingers (`@lgoin`), and because
//! that can only make more words near misses, never fewer, and a near miss fails closed.
//!
//! Not for deciding what a near miss means: annotations and hints each have their own rule. Nothing here
//! allocates, because hints are looked at inside Postgres' `emit_log_hook`.

/// Longest word that is compared, in characters. Our longest word has 23 letters; a word beyond this limit is
/// near nothing. This bounds the work for one word; the length of a comment bounds the number of words.
const MAX_WORD_CHARS: usize = 62;

/// Whether `word` becomes `target` by at most `limit` edits; an equal word is within every limit.
pub fn within(word: &str, target: &str, limit: usize) -> bool {
    // Each edit changes the length by one at most, so for most words of a comment comparing lengths is
    // enough.
    let [length, target_length] = [word, target].map(|text| text.chars().take(MAX_WORD_CHARS + 1).count());
    length.abs_diff(target_length) <= limit && distance(word, target).is_some_and(|edits| edits <= limit)
}

/// The limit that C2.5 sets for a word: 1 for words of up to six letters, else 2.
pub fn limit_of(target: &str) -> usize {
    if target.chars().filter(|c| c.is_alphanumeric()).count() <= 6 { 1 } else { 2 }
}

/// The candidate with the smallest distance to `word`, the first of equals; `None` only when there is no
/// candidate or `word` is too long to be compared.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = candidates.into_iter().filter_map(|c| Some((distance(word, c)?, c)));
    distances.min_by_key(|(edits, _)| *edits).map(|(_, candidate)| candidate)
}

/// [`nearest`], but only when at least half of the word is right: `notce` suggests `notice`, `debug` nothing.
pub fn plausible<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest(word, candidates).filter(|c| within(word, c, (c.len() / 2).max(1)))
}

/// `None`: one of the two is longer than [`MAX_WORD_CHARS`].
fn distance(a: &str, b: &str) -> Option<usize> {
    let (a, a_len) = folded(a)?;
    let (b, b_len) = folded(b)?;
    let mut before_last = [0; MAX_WORD_CHARS + 1];
    let mut last = [0; MAX_WORD_CHARS + 1];
    for (j, cost) in last.iter_mut().enumerate() {
        *cost = j;
    }
    for i in 1..=a_len {
        let mut row = [i; MAX_WORD_CHARS + 1];
        for j in 1..=b_len {
            let substitution = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = substitution.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = last;
        last = row;
    }
    Some(last[b_len])
}

fn folded(word: &str) -> Option<([char; MAX_WORD_CHARS], usize)> {
    let mut chars = ['\0'; MAX_WORD_CHARS];
    let mut length = 0;
    for c in word.chars() {
        *chars.get_mut(length)? = c.to_ascii_lowercase();
        length += 1;
    }
    Some((chars, length))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_edit_costs_one_and_case_costs_nothing() {
        for (a, b, edits) in [
            ("", "", 0),
            ("", "abc", 3),
            ("Authorize", "aUTHORIZE", 0),
            ("authorise", "authorize", 1),
            ("author", "authorize", 3),
            ("lgoin", "login", 1),
            ("logn", "login", 1),
            ("anonimous", "anonymous", 1),
            ("kitten", "sitting", 3),
            ("größe", "große", 1),
        ] {
            assert_eq!(distance(a, b), Some(edits), "{a} {b}");
        }
    }

    #[test]
    fn the_limit_is_one_up_to_six_letters_and_two_from_seven() {
        for (word, limit) in [("sse", 1), ("logout", 1), ("signout", 2), ("authorize", 2)] {
            assert_eq!(limit_of(word), limit, "{word}");
        }
    }

    #[test]
    fn a_word_beyond_the_longest_is_near_nothing() {
        for (length, near) in [(MAX_WORD_CHARS, true), (MAX_WORD_CHARS + 1, false)] {
            let word = "x".repeat(length);
            assert_eq!(within(&word, &"x".repeat(MAX_WORD_CHARS), 2), near, "{length}");
        }
    }

    #[test]
    fn a_suggestion_is_half_right_at_least() {
        let levels = ["info", "notice", "warning"];
        assert_eq!(plausible("notce", levels), Some("notice"));
        assert_eq!(plausible("warn", levels), Some("warning"));
        assert_eq!(plausible("debug", levels), None);
    }

    proptest! {
        #[test]
        fn distance_is_symmetric_and_zero_only_for_equals(a in "[a-d]{0,9}", b in "[a-d]{0,9}") {
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert_eq!(distance(&a, &b) == Some(0), a == b);
        }

        #[test]
        fn distance_is_total(a in any::<String>(), b in any::<String>()) {
            distance(&a, &b);
        }
    }
}
