//! Comments, read.
#![allow(clippy::unwrap_used, dead_code)]

use sse_proto::annotation::{Annotation, RoutineFacts, RoutineKind};

pub(crate) const FACTS: RoutineFacts<'static> = RoutineFacts {
    schema: "s",
    name: "f",
    kind: RoutineKind::Function,
    volatile: true,
    parallel_safe: false,
    has_identity_parameters: false,
};

pub(crate) fn read(comment: &str) -> Annotation {
    Annotation::parse(comment).unwrap_or_else(|p| panic!("{comment:?}: {p:?}")).unwrap_or_default()
}

/// Line and word of each mistake; a comment must have at least one.
pub(crate) fn mistakes(comment: &str) -> Vec<(usize, String)> {
    let problems = Annotation::parse(comment).expect_err(comment);
    assert!(problems.is_sorted_by_key(|p| p.line), "{comment:?}");
    problems.into_iter().map(|p| (p.line, p.word)).collect()
}

pub(crate) fn assert_mistake(comment: &str, line: usize, word: &str) {
    assert_eq!(mistakes(comment), [(line, word.to_owned())], "{comment:?}");
}
