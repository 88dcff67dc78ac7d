//! What a routine costs whoever keeps it, and how much of it one owner may have.
//!
//! Whoever may create functions makes as many as they like, with comments, parameters and row types as they like, and the gateway
//! keeps all that are served. So each is weighed before it is handed over, and of one owner's the oldest are kept that weigh
//! [`MAX_OWNER_WEIGHT`] together. What the gateway keeps of a routine, its place in the route table included, is never more than four
//! times its weight, and of an ordinary one about once.
//!
//! Not for adding up: that is `src/catalog/owners.rs`, which has the catalog.

use super::Routine;
use crate::annotation::Problem;
use crate::call::{Signature, TypeKind};

/// Most that the routines of one owner may weigh together, in bytes: thirty thousand ordinary ones. Beyond it the newer ones have no URL:
/// [`beyond_weight`]. Counted for each owner, so that nobody else's are left out.
pub const MAX_OWNER_WEIGHT: usize = 64 << 20;

/// Of a routine as such, in bytes: its names, its paths, and the places that tables and indexes have for it.
pub const ROUTINE_WEIGHT: usize = 2048;

/// Of each word in a line that is ours, in bytes. A value of `@authorize` is kept as a text of its own in up to four places.
const WORD_WEIGHT: usize = 64;

/// Of each column of a row type that is kept, besides its name: it is found by two names, and answered by a third.
const COLUMN_WEIGHT: usize = 64;

/// What such lines begin with, in lower case: those of which something is kept besides the comment's text.
const KEPT: [&str; 5] = ["@sse", "@auth", "@requires_auth", "@path", "http"];

/// What is wrong with a routine whose owner's older ones weigh too much.
pub fn beyond_weight() -> Problem {
    let message = format!(
        "it has no URL and cannot be called: the older routines of its owner take the {} MB that one owner may have: expected fewer of them, shorter comments, or fewer columns",
        MAX_OWNER_WEIGHT >> 20
    );
    Problem::new(0, "", message)
}

impl Routine {
    /// What it weighs without its signature.
    pub fn weight(&self) -> usize {
        let lines = self.comment.split(['\n', '\r']).map(|line| line.trim_start_matches([' ', '\t']));
        let kept = lines.filter(|line| {
            KEPT.iter().any(|word| line.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word)))
        });
        let of_line = |line: &str| {
            let words = line.split([' ', '\t', ',']).filter(|word| !word.is_empty()).count();
            2 * line.len() + WORD_WEIGHT * words
        };
        ROUTINE_WEIGHT + self.comment.len() + kept.map(of_line).sum::<usize>()
    }
}

impl Signature {
    /// What it weighs: twice what is handed over of it, in which every row type is written out where it stands.
    pub fn weight(&self) -> usize {
        let parameters = self.parameters.iter().map(|parameter| {
            PARAMETER_WEIGHT + parameter.name.len() + parameter.type_name.len() + written(&parameter.kind)
        });
        let columns = self.result.columns.iter().map(|column| NAME_WEIGHT + column.len());
        let kinds = self.result.kinds.iter().map(written);
        2 * (parameters.chain(columns).chain(kinds).sum::<usize>() + ROW_VERSION * self.rows.len())
    }
}

/// In bytes, as `record/encode.rs` writes them, and what memory asks for besides.
const PARAMETER_WEIGHT: usize = 32;
const NAME_WEIGHT: usize = 16;
const ROW_VERSION: usize = 16;

fn written(kind: &TypeKind) -> usize {
    match kind {
        TypeKind::Composite(row) => {
            5 + row
                .members()
                .iter()
                .map(|member| 4 + member.name.len() + written(&member.kind))
                .sum::<usize>()
        }
        TypeKind::Array { element, .. } => 5 + written(element),
        TypeKind::Scalar | TypeKind::Bytes | TypeKind::Json | TypeKind::Pseudo | TypeKind::TooLarge => 1,
    }
}

/// What a row type of these columns weighs, the first time that it is seen: it is kept once, whoever has it.
pub fn row_type_weight<'n>(columns: impl Iterator<Item = &'n str>) -> usize {
    columns.map(|name| COLUMN_WEIGHT + name.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(comment: &str) -> usize {
        let routine = Routine::new(1, "s", "f", comment);
        routine.weight() - ROUTINE_WEIGHT
    }

    // Attack: a thousand values of two letters are kept as a thousand texts, in four places.
    #[test]
    fn what_is_kept_as_texts_of_its_own_weighs_more_than_the_comment_has_bytes() {
        assert_eq!(weight(""), 0);
        assert_eq!(weight("@param x what it is\nhttps is prose, nearly"), 19 + 1 + 22 + 2 * 22 + 4 * 64);
        assert_eq!(weight("prose only, and @sse in it"), 26);
        for line in ["@authorize a,b c", "  @AUTHORIZE a, b\tc", "@requires_authorization a b c"] {
            let bytes = line.trim_start().len();
            assert_eq!(weight(line), line.len() + 2 * bytes + 4 * 64, "{line}");
            assert_eq!(weight(&format!("é\r{line}\nprose")), weight(line) + 9, "{line}");
        }
    }
}
