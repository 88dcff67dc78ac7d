#![allow(clippy::unwrap_used)]
use super::*;
use crate::near_miss;
use proptest::prelude::*;

fn any_of(values: &[&str]) -> Scope {
    Scope::Authorize(values.iter().map(|v| ScopeValue::new(v)).collect())
}

#[test]
fn a_scope_is_read_as_it_is_documented() {
    for (text, scope) in [
        ("all", Ok(Scope::All)),
        (" ALL\t", Ok(Scope::All)),
        ("Matching", Ok(Scope::Matching)),
        ("caller", Ok(Scope::Caller)),
        (" Caller ", Ok(Scope::Caller)),
        ("authorize", Ok(any_of(&[]))),
        (" \tauthorize", Ok(any_of(&[]))),
        ("authorize a, b", Ok(any_of(&["a", "b"]))),
        ("authorize a,b", Ok(any_of(&["a", "b"]))),
        ("authorize,a\tb ,, c,", Ok(any_of(&["a", "b", "c"]))),
        ("AUTHORIZE Alice", Ok(any_of(&["Alice"]))),
        ("authorize id:42 NAME:alice role:admin", Ok(any_of(&["id:42", "name:alice", "role:admin"]))),
        (r#"authorize "role:sales team""#, Ok(any_of(&["role:sales team"]))),
        (r#"authorize role:"sales team", x"#, Ok(any_of(&["role:sales team", "x"]))),
        (r#"authorize "a ""b"", c""#, Ok(any_of(&["a \"b\", c"]))),
        ("authorize \"a\nb\"", Ok(any_of(&["a\nb"]))),
        (r#"authorize """#, Ok(Scope::Nobody)),
        ("authorize id:", Ok(Scope::Nobody)),
        (r#"authorize id:, role:x"#, Ok(any_of(&["role:x"]))),
        (r#"authorize "", b"#, Ok(any_of(&["b"]))),
        ("authorize name:role:admin", Ok(any_of(&["name:role:admin"]))),
        ("", Err(ScopeError::Empty)),
        ("  ", Err(ScopeError::Empty)),
        ("authorize ", Err(ScopeError::NoValue)),
        ("authorize ,\t", Err(ScopeError::NoValue)),
        ("authorize a\nb", Err(ScopeError::Blank)),
        ("authorize a\u{a0}b", Err(ScopeError::Blank)),
        ("authorize role: admin", Err(ScopeError::DetachedKind)),
        (r#"authorize role:"" admin"#, Err(ScopeError::DetachedKind)),
        (r#"authorize "" admin"#, Ok(any_of(&["admin"]))),
        (r#"authorize "a"#, Err(ScopeError::Quote)),
        (r#"authorize a"b""#, Err(ScopeError::Quote)),
        (r#"authorize "a"b"#, Err(ScopeError::Quote)),
        ("all rows", Err(ScopeError::Surplus)),
        ("all,", Err(ScopeError::Surplus)),
        ("matching a", Err(ScopeError::Surplus)),
        ("caller a", Err(ScopeError::Surplus)),
        ("caller,", Err(ScopeError::Surplus)),
        ("callers", Err(ScopeError::Unknown)),
        ("nobody", Err(ScopeError::Unknown)),
        (",authorize", Err(ScopeError::Unknown)),
        ("\"all\"", Err(ScopeError::Unknown)),
        ("1", Err(ScopeError::Unknown)),
    ] {
        assert_eq!(Scope::parse(text), scope, "{text:?}");
    }
}

// Long because it is one list of hints.
#[test]
fn a_hint_is_a_scope_only_if_all_of_it_is_one() {
    use Hint::{Prose, Slip};
    for (text, hint) in [
        ("all", Hint::Scope(Scope::All)),
        ("matching", Hint::Scope(Scope::Matching)),
        ("caller", Hint::Scope(Scope::Caller)),
        ("CALLER\t", Hint::Scope(Scope::Caller)),
        ("authorize", Hint::Scope(any_of(&[]))),
        ("authorize admin", Hint::Scope(any_of(&["admin"]))),
        ("", Prose),
        (" \t ", Prose),
        ("\n", Prose),
        ("All rows were skipped", Prose),
        ("Please retry", Prose),
        ("all rows", Prose),
        ("author unknown", Prose),
        ("matchings were found", Prose),
        ("the authorize hint", Prose),
        ("authorized_keys is missing", Prose),
        // A rest that does not parse.
        ("matching rows were skipped", Slip),
        ("matching,", Slip),
        ("authorize \"admin", Slip),
        ("authorize a\nb", Slip),
        ("authorize\nadmin", Slip),
        ("\n authorize admin", Slip),
        (",authorize admin", Slip),
        // A separator and no value.
        ("authorize ", Slip),
        ("authorize,", Slip),
        ("authorize\t", Slip),
        // A first word within distance 2 of authorize, at it, and beyond it.
        ("authorise admin", Slip),
        ("Authorized users only", Slip),
        ("authoriz", Slip),
        ("authori me", Slip),
        ("author me", Prose),
        ("\"authorize admin\"", Slip),
        // A single word that is no scope, near one or not.
        ("matchin", Slip),
        ("mathcing", Slip),
        ("matching\n", Slip),
        ("matchi", Slip),
        ("matchmaking", Slip),
        ("all.", Slip),
        ("all,", Slip),
        ("al", Slip),
        ("\"all\"", Slip),
        ("calle", Slip),
        ("callers", Slip),
        ("clalers", Slip),
        ("caller,", Slip),
        ("caller\n", Slip),
        ("caller:me", Slip),
        ("self", Slip),
        (" admin ", Slip),
        (",admin", Slip),
        ("user:42", Slip),
        ("nobody", Slip),
        ("private\n", Slip),
        ("two\nlines", Slip),
        ("admin here", Prose),
        ("caller hung up", Prose),
        ("self service", Prose),
        // Nothing but values of a kind.
        ("id:42", Slip),
        ("ID:42", Slip),
        ("id:", Slip),
        ("role:admin name:bob", Slip),
        ("id:1, id:2", Slip),
        ("id:1,Role:x\tname:y,", Slip),
        ("id:1\nid:2 id:3", Slip),
        ("\"role:sales team\"", Slip),
        ("role:\"sales team\", id:7", Slip),
        ("\"role:x\" \"role:y", Slip),
        ("role: admin", Slip),
        ("role: \"sales team\" id: 42", Slip),
        ("id: , role: x", Slip),
        (",", Slip),
        (", ,", Slip),
        // One word of another kind beside them.
        ("id:42 is taken", Prose),
        ("the id:42", Prose),
        ("id:42 admin", Prose),
        ("Name: must not be empty", Prose),
        ("ids:1 ids:2", Prose),
        ("\"two words\"", Prose),
        // The word followed by something other than a separator.
        ("authorize:admin", Slip),
        ("authorize=\"admin\"", Slip),
        ("matching:all", Slip),
    ] {
        assert_eq!(Hint::parse(text), hint, "{text:?}");
    }
}

#[test]
fn the_hint_of_sse_authorize_names_exactly_the_given_values() {
    for (values, hint) in [
        (&["42"][..], "authorize 42"),
        (&["id:42", "role:sales team"], "authorize id:42, \"role:sales team\""),
        (&["a,b", "say \"hi\""], "authorize \"a,b\", \"say \"\"hi\"\"\""),
        (&[], "authorize \"\""),
        (&[""], "authorize \"\""),
        (&["", "a"], "authorize a"),
    ] {
        assert_eq!(authorize_hint(values.iter().copied()), hint);
    }
}

/// Attack: a user whose name holds separators, quotes or keywords tries to widen the audience of events for
/// it.
#[test]
fn a_value_cannot_leave_its_place_in_the_list() {
    for value in ["x, role:admin", "x\" , role:admin, \"", "\"", "\"\"", "x\nall", "all", "authorize"] {
        let hint = authorize_hint([format!("name:{value}").as_str()].into_iter());
        let expected = Scope::Authorize(vec![ScopeValue::Name(value.to_owned())]);
        assert_eq!(Hint::parse(&hint), Hint::Scope(expected), "{hint}");
    }
}

fn value_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}", "[ ,\"a-z:\t]{1,8}", any::<String>(), "(id|name|role|Role):[a-z \"]{0,6}"]
}

fn scope() -> impl Strategy<Value = Scope> {
    let listed = proptest::collection::vec(value_text().prop_map(|v| ScopeValue::new(&v)), 1..5);
    prop_oneof![
        Just(Scope::All),
        Just(Scope::Matching),
        Just(Scope::Caller),
        Just(Scope::Nobody),
        Just(Scope::Authorize(Vec::new())),
        listed.prop_map(Scope::authorize),
    ]
}

fn hint_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "(all|matching|caller|authorize|authorise)[ ,\t\n\"a-z:]{0,12}",
        "[ ,\t\n\"]{0,2}(authorize|AUTHORIZE)[ ,\t\n\"a-z:]{0,12}",
        "[ ,\t\n\"a]{0,2}((id|name|ROLE|user):[ ,\t\n\"a-z:]{0,6}){0,3}",
    ]
}

proptest! {
    #[test]
    fn a_scope_survives_being_written_and_read(scope in scope()) {
        prop_assert_eq!(Scope::parse(&scope.to_string()), Ok(scope));
    }

    #[test]
    fn what_was_read_is_written_so_that_it_reads_the_same(text in hint_text()) {
        if let Ok(scope) = Scope::parse(&text) {
            prop_assert_eq!(Scope::parse(&scope.to_string()), Ok(scope));
        }
    }

    #[test]
    fn everybody_is_reached_only_by_the_word_all_alone(text in hint_text()) {
        if Hint::parse(&text) == Hint::Scope(Scope::All) {
            prop_assert!(text.trim_matches([' ', '\t']).eq_ignore_ascii_case("all"));
        }
    }

    #[test]
    fn every_authenticated_one_is_reached_only_by_the_word_authorize_alone(text in hint_text()) {
        if Hint::parse(&text) == Hint::Scope(Scope::Authorize(Vec::new())) {
            prop_assert!(text.trim_start_matches([' ', '\t']).eq_ignore_ascii_case("authorize"));
        }
    }

    #[test]
    fn a_hint_that_begins_with_authorize_never_leaves_the_scope_of_the_annotation(
        lead in "[ ,\t\n]{0,3}", rest in "([ ,\t\n\":=].{0,20})?",
    ) {
        let hint = Hint::parse(&format!("{lead}authorize{rest}"));
        prop_assert!(matches!(hint, Hint::Slip | Hint::Scope(Scope::Authorize(_) | Scope::Nobody)), "{hint:?}");
    }

    #[test]
    fn a_misspelt_authorize_reaches_nobody(position in 0usize..9, letter in "[a-z_]", rest in "( .{0,9})?") {
        let mut word = "authorize".to_owned();
        word.replace_range(position..=position, &letter);
        prop_assume!(word != "authorize");
        prop_assert_eq!(Hint::parse(&(word + &rest)), Hint::Slip);
    }

    #[test]
    fn a_built_hint_is_a_scope_of_the_given_values_and_no_others(texts in proptest::collection::vec(value_text(), 0..5)) {
        let values = texts.iter().map(|t| ScopeValue::new(t)).collect();
        let hint = authorize_hint(texts.iter().map(String::as_str));
        prop_assert_eq!(Hint::parse(&hint), Hint::Scope(Scope::authorize(values)));
    }

    #[test]
    fn a_hint_of_one_word_never_leaves_the_scope_of_the_annotation(
        word in "[^ ,\\t]{1,12}", lead in "[ ,\t]{0,2}", rest in "[ ,\t]{0,2}",
    ) {
        prop_assume!(!word.trim().is_empty());
        prop_assert_ne!(Hint::parse(&format!("{lead}{word}{rest}")), Hint::Prose);
    }

    #[test]
    fn a_hint_of_nothing_but_values_of_a_kind_never_leaves_the_scope_of_the_annotation(
        values in proptest::collection::vec(("(id|name|role|ID|Name|rOLE):", "[^ ,\\t\"]{0,8}", "[ ,\t]{1,3}"), 1..6),
        lead in "[ ,\t]{0,2}",
    ) {
        let list: String = values.iter().map(|(kind, text, gap)| format!("{kind}{text}{gap}")).collect();
        prop_assert_eq!(Hint::parse(&(lead + &list)), Hint::Slip);
    }

    #[test]
    fn what_sse_authorize_names_reaches_nobody_when_its_first_word_is_forgotten(
        texts in proptest::collection::vec(("(id|name|role):", value_text()), 1..5),
    ) {
        let texts: Vec<String> = texts.into_iter().map(|(kind, text)| kind + &text).collect();
        let hint = authorize_hint(texts.iter().map(String::as_str));
        let list = hint.strip_prefix("authorize").unwrap();
        prop_assert!(matches!(Hint::parse(list), Hint::Slip), "{list}");
    }

    #[test]
    fn several_words_of_prose_are_a_hint_for_people(first in "[b-z][a-z]{3}", rest in "( [a-z.!]{1,8}){1,6}") {
        prop_assume!(!near_miss::within(&first, "authorize", 2));
        prop_assert_eq!(Hint::parse(&(first + &rest)), Hint::Prose);
    }
}

// A list of as many values as an event has bytes: each is compared with everybody.
#[test]
fn a_list_has_a_thousand_values_and_not_one_more() {
    for (count, expected) in [(999, Ok(())), (1000, Ok(())), (1001, Err(ScopeError::TooMany))] {
        let list = vec!["role:x"; count].join(", ");
        let parsed = Scope::parse(&format!("authorize {list}"));
        assert_eq!(parsed.map(drop), expected, "{count}");
        let hint = Hint::parse(&format!("authorize {list}"));
        assert_eq!(matches!(hint, Hint::Scope(_)), expected.is_ok(), "{count}");
        assert_eq!(hint == Hint::Slip, expected.is_err(), "delivered to nobody");
    }
}
