//! What keeping a routine costs, and how much of that one owner may have.
//!
//! A user who may create functions can make any number of them, with any comments, parameters and row types,
//! and the gateway keeps all that are served. So each routine is weighed before it is handed over, and of one
//! owner's routines the oldest are kept, up to [`MAX_OWNER_WEIGHT`] together. The gateway keeps at most four
//! times a routine's weight, including its place in the route table; for an ordinary routine about its
//! weight.
//!
//! Not for adding up: that is `src/catalog/owners.rs`, which has the catalog.

use super::Routine;
use crate::annotation::Problem;
use crate::call::{Signature, TypeKind};

/// Most that the routines of one owner may weigh together, in bytes: thirty thousand ordinary ones. Beyond it
/// the newer ones have no URL ([`beyond_weight`]). Counted by owner, so that one owner's mass leaves out
/// nobody else's routines.
pub const MAX_OWNER_WEIGHT: usize = 64 << 20;

/// Weight of every routine, in bytes: its names, its paths, and its places in tables and indexes.
pub const ROUTINE_WEIGHT: usize = 2048;

/// Weight of each word in a line that is ours, in bytes. A value of `@authorize` is kept as a text of its own
/// in up to four places.
const WORD_WEIGHT: usize = 64;

/// Weight of each column of a row type, besides its name: it is found by two names, and answered with a
/// third.
const COLUMN_WEIGHT: usize = 64;

/// The beginnings, in lower case, of lines of which something is kept besides the comment's text.
const KEPT: [&str; 5] = ["@sse", "@auth", "@requires_auth", "@path", "http"];

/// The problem of a routine whose owner's older routines weigh too much.
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
    /// Its weight: twice the bytes that are handed over, in which every row type is written out wherever it
    /// stands.
    pub fn weight(&self) -> usize {
        let parameters = self.parameters.iter().map(|parameter| {
            PARAMETER_WEIGHT + parameter.name.len() + parameter.type_name.len() + written(&parameter.kind)
        });
        let columns = self.result.columns.iter().map(|column| NAME_WEIGHT + column.len());
        let kinds = self.result.kinds.iter().map(written);
        2 * (parameters.chain(columns).chain(kinds).sum::<usize>() + ROW_VERSION * self.rows.len())
    }
}

/// In bytes: what `record/fields.rs` writes, and what memory takes besides.
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

/// Weight of a row type with these columns. Counted when it is first seen, because it is kept once for all
/// routines.
pub fn row_type_weight<'n>(columns: impl Iterator<Item = &'n str>) -> usize {
    columns.map(|name| COLUMN_WEIGHT + name.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Member, Mode, Parameter, ResultType, RowType, RowVersion, Shape};
    use std::sync::Arc;

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

    // Attack: one row type of ten thousand members, in a hundred parameters of each routine.
    #[test]
    fn a_row_type_weighs_twice_what_is_written_of_it_wherever_it_stands() {
        let member = |name: &str, kind| Member { name: name.to_owned(), kind };
        let row = |members| TypeKind::Composite(Arc::new(RowType::new(members)));
        let inner = row(vec![member("ab", TypeKind::Scalar), member("c", TypeKind::Json)]);
        let outer = row(vec![member("inner", inner.clone()), member("d", TypeKind::Scalar)]);
        let (of_inner, of_outer) = (5 + (4 + 2 + 1) + (4 + 1 + 1), 5 + (4 + 5 + 18) + (4 + 1 + 1));
        let parameter = |kind| Parameter {
            name: "name".to_owned(),
            mode: Mode::In,
            type_oid: 1,
            type_name: "s.type".to_owned(),
            kind,
            has_default: false,
        };
        let weight = |parameters: Vec<Parameter>, kinds: Vec<TypeKind>, rows: usize| {
            let version = RowVersion { oid: 1, is_routine: false, digest: 0, is_argument: false };
            let columns = vec!["column".to_owned(); kinds.len()];
            Signature {
                parameters,
                result: ResultType { shape: Shape::Composite, is_set: false, columns, kinds },
                rows: vec![version; rows],
                strict: false,
                may_execute: true,
                owner_may_issue_tokens: false,
            }
            .weight()
        };
        assert_eq!(weight(vec![], vec![], 0), 0);
        assert_eq!(weight(vec![parameter(TypeKind::Scalar)], vec![], 0), 2 * (32 + 4 + 6 + 1));
        assert_eq!(weight(vec![parameter(inner.clone())], vec![], 0), 2 * (32 + 4 + 6 + of_inner));
        let array = TypeKind::Array { delimiter: ',', element: Arc::new(outer.clone()) };
        let twice = vec![parameter(outer), parameter(array)];
        assert_eq!(weight(twice, vec![], 0), 2 * (2 * (32 + 4 + 6 + of_outer) + 5));
        assert_eq!(
            weight(vec![], vec![inner, TypeKind::TooLarge], 3),
            2 * (2 * (16 + 6) + of_inner + 1 + 3 * 16)
        );
        assert_eq!(row_type_weight(["ab", "c"].into_iter()), 2 * 64 + 3);
    }
}
