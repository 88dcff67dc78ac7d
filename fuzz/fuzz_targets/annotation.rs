//! Any comment: parsed without a panic, and every problem is one printable line that names an existing line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sse_proto::annotation::{Annotation, Problem, RoutineFacts, RoutineKind};
use sse_proto::scope::Scope;
use sse_proto::word::{Delivery, Level};

fuzz_target!(|comment: &str| {
    let parsed = Annotation::parse(comment);
    assert_eq!(parsed, Annotation::parse(comment));
    match parsed {
        Ok(None) => {}
        Ok(Some(annotation)) => use_it(&annotation, comment),
        Err(problems) => {
            assert!(!problems.is_empty(), "a refusal has a reason");
            check_problems(&problems, comment);
        }
    }
});

fn use_it(annotation: &Annotation, comment: &str) {
    for kind in [RoutineKind::Function, RoutineKind::Procedure] {
        for bits in 0..8 {
            let facts = RoutineFacts {
                schema: "s",
                name: "n",
                kind,
                volatile: bits & 1 != 0,
                parallel_safe: bits & 2 != 0,
                has_identity_parameters: bits & 4 != 0,
            };
            check_problems(&annotation.check(&facts), comment);
        }
    }
    let _ = annotation.level_or(Level::Info);
    let _ = annotation.delivery_or(Delivery::Commit);
    let scope = annotation.default_scope();
    assert_eq!(Scope::parse(&scope.to_string()), Ok(scope), "a scope can be written down");
}

fn check_problems(problems: &[Problem], comment: &str) {
    for problem in problems {
        let text = problem.to_string();
        assert!(
            !text.chars().any(char::is_control),
            "a problem is one line without control characters: {text:?}"
        );
        // Splits at any of the three line ends. A number above this count must not be named.
        assert!(problem.line <= 1 + comment.chars().filter(|c| c.is_control()).count());
    }
    assert!(problems.is_sorted_by_key(|problem| problem.line), "problems are in the order of lines");
}
