//! Any text as a scope and as a hint; any values in a hint that `sse.authorize` builds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sse_proto::scope::{Hint, Scope, authorize_hint};

fuzz_target!(|text: &str| {
    let hint = Hint::parse(text);
    match Scope::parse(text) {
        Ok(scope) => {
            assert_eq!(Scope::parse(&scope.to_string()), Ok(scope.clone()), "{text:?} is written back");
            assert_eq!(hint, Hint::Scope(scope), "what is a scope is one as a hint too");
        }
        Err(error) => {
            assert!(!matches!(hint, Hint::Scope(_)));
            let _ = error.to_string();
        }
    }

    // Attack: a value that, quoted wrongly, would widen the list to everybody.
    let values: Vec<&str> = text.split('\u{1}').collect();
    let hint = authorize_hint(values.iter().copied());
    match Hint::parse(&hint) {
        Hint::Scope(Scope::Nobody) => {
            assert!(values.iter().all(|value| is_empty(value)), "{values:?} {hint:?}")
        }
        Hint::Scope(Scope::Authorize(list)) => {
            assert!(!list.is_empty(), "a list of {values:?} became everybody");
            assert!(list.len() <= values.len(), "{values:?} {hint:?}");
            for value in list {
                let written = format!("{}{}", value.kind(), value.text());
                let is_ours =
                    |given: &&str| given.eq_ignore_ascii_case(&written) || given.ends_with(value.text());
                assert!(values.iter().any(is_ours), "{written:?} is none of {values:?}");
            }
        }
        other => panic!("{values:?} became {other:?}"),
    }
});

/// Nothing that could match: no text, or none after the kind.
fn is_empty(value: &str) -> bool {
    let text = value.split_once(':').map_or(value, |(_, text)| text);
    text.trim().is_empty()
}
