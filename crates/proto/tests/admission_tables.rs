//! The truth tables of C4.1 to C4.7, row by row, and the odd cases in which a leak would hide.
#![allow(clippy::unwrap_used)]

use sse_proto::admission::{Door, Event, Subscriber, admits, may_open, nobody_matches};
use sse_proto::annotation::Access;
use sse_proto::caller::Caller;
use sse_proto::identity::{Emission, Identity};
use sse_proto::record::Emitter;
use sse_proto::scope::{Hint, Scope, ScopeValue, authorize_hint};
use sse_proto::word::{ExecutionId, Topic};

fn person(id: &str, name: &str, roles: &[&str]) -> Identity {
    Identity::try_new(Some(id), Some(name), roles).unwrap()
}

fn rule(values: &[&str]) -> Access {
    Access::Authorize(values.iter().map(|value| ScopeValue::new(value)).collect())
}

/// Whether `identity` gets an event of this scope, raised by `emission` in a routine with this rule.
fn gets(
    scope: &Scope,
    access: &Access,
    emission: Emission<&Emitter<'_>>,
    identity: Option<&Identity>,
) -> bool {
    let event = Event { execution_id: None, topic: None, scope, access, emission, caller: None };
    admits(&event, &Subscriber { identity, topics: &[], execution_id: None, call: None })
}

fn gets_hinted(scope: &str, identity: Option<&Identity>) -> bool {
    gets(&Scope::parse(scope).unwrap(), &Access::Unspecified, Emission::None, identity)
}

#[test]
fn no_check_makes_up_for_another() {
    let alice = person("1", "alice", &["admin"]);
    let (topics, id) = ([Topic::parse("t").unwrap()], ExecutionId::parse("x").unwrap());
    for bits in 0..8_u8 {
        let [id_fits, topic_fits, scope_fits] = [1, 2, 4].map(|bit| bits & bit != 0);
        let scope = Scope::parse(if scope_fits { "authorize role:admin" } else { "authorize id:2" }).unwrap();
        let event = Event {
            execution_id: Some(if id_fits { "x" } else { "y" }),
            topic: Some(if topic_fits { "t" } else { "u" }),
            scope: &scope,
            access: &Access::Unspecified,
            emission: Emission::None,
            caller: None,
        };
        let subscriber =
            Subscriber { identity: Some(&alice), topics: &topics, execution_id: Some(&id), call: None };
        assert_eq!(admits(&event, &subscriber), bits == 7, "{event:?}");
    }
}

/// Attack: an event for the caller of a call is asked for by somebody who knows or guesses its execution id,
/// is another user, has a token without a user id, or has made a call of his own with the same id.
#[test]
fn scope_caller_reaches_the_call_and_the_streams_that_prove_to_be_its_callers() {
    let call = |user_id: Option<&'static str>, has_made_id| Caller {
        call: 7,
        is_authenticated: user_id.is_some(),
        user_id: user_id.filter(|id| !id.is_empty()),
        execution_id: Some("x"),
        has_made_id,
    };
    let (user, nameless, stranger, made) =
        (call(Some("1"), false), call(Some(""), false), call(None, false), call(None, true));
    let same = person("1", "other name", &[]);
    let alike = person("2", "alice", &["admin"]);
    let named_so = Identity::try_new(None, Some("1"), &["1"]).unwrap();
    let x = ExecutionId::parse("x").unwrap();
    let y = ExecutionId::parse("y").unwrap();
    let topics = [Topic::parse("t").unwrap()];
    let by_id = |identity, execution_id| Subscriber { identity, topics: &[], execution_id, call: None };
    let of_call = |call| Subscriber { identity: None, topics: &[], execution_id: None, call: Some(call) };
    for (caller, subscriber, expected) in [
        (Some(user), by_id(Some(&same), Some(&x)), true),
        (Some(user), by_id(Some(&same), Some(&y)), false),
        (Some(user), by_id(Some(&same), None), false),
        (Some(user), by_id(Some(&alike), Some(&x)), false),
        (Some(user), by_id(Some(&named_so), Some(&x)), false),
        (Some(user), by_id(None, Some(&x)), false),
        (Some(Caller { execution_id: None, ..user }), by_id(Some(&same), None), false),
        (Some(Caller { execution_id: Some(""), ..user }), by_id(Some(&same), None), false),
        (Some(Caller { has_made_id: true, ..user }), by_id(None, Some(&x)), false),
        (Some(nameless), by_id(Some(&Identity::default()), Some(&x)), false),
        (Some(nameless), by_id(None, Some(&x)), false),
        (Some(stranger), by_id(None, Some(&x)), false),
        (Some(stranger), by_id(Some(&same), Some(&x)), false),
        (Some(made), by_id(None, Some(&x)), true),
        (Some(made), by_id(Some(&same), Some(&x)), true),
        (Some(made), by_id(None, Some(&y)), false),
        (Some(made), by_id(None, None), false),
        (Some(user), of_call(7), true),
        (Some(nameless), of_call(7), true),
        (Some(stranger), of_call(7), true),
        (Some(stranger), of_call(8), false),
        (None, of_call(7), false),
        (None, by_id(Some(&same), Some(&x)), false),
    ] {
        // A topic is not asked for; an execution id that somebody gave the event is.
        for (topic, topics) in [(None, &[][..]), (Some("t"), &[]), (Some("u"), &topics[..]), (None, &topics)]
        {
            for (execution_id, fits) in [(None, true), (Some("x"), true), (Some("z"), false)] {
                let (scope, access) = (&Scope::Caller, &Access::Unspecified);
                let event = Event { execution_id, topic, scope, access, emission: Emission::None, caller };
                let subscriber = Subscriber { topics, ..subscriber };
                let expected = expected && (fits || subscriber.call.is_some());
                assert_eq!(admits(&event, &subscriber), expected, "{event:?} {subscriber:?}");
            }
        }
    }
}

#[test]
fn the_answer_of_a_call_gets_what_the_call_raised_for_its_caller_and_nothing_else() {
    let alice = person("1", "alice", &["admin"]);
    let caller = Caller {
        call: 7,
        is_authenticated: true,
        user_id: Some("1"),
        execution_id: None,
        has_made_id: false,
    };
    for (scope, call, expected) in [
        ("all", Some(7), true),
        ("all", Some(8), false),
        ("all", None, false),
        ("authorize role:admin", Some(7), true),
        ("authorize role:ops", Some(7), false),
        ("authorize role:admin", None, false),
        ("authorize \"\"", Some(7), false),
    ] {
        let event = Event {
            execution_id: Some("z"),
            topic: Some("t"),
            scope: &Scope::parse(scope).unwrap(),
            access: &Access::Unspecified,
            emission: Emission::None,
            caller: call.map(|call| Caller { call, ..caller }),
        };
        let subscriber =
            Subscriber { identity: Some(&alice), topics: &[], execution_id: None, call: Some(7) };
        assert_eq!(admits(&event, &subscriber), expected, "{scope} {call:?}");
    }
}

#[test]
fn scopes_without_a_list_ask_only_who_is_authenticated() {
    let nobody_by_name = Identity::default();
    let alice = person("1", "alice", &[]);
    for (scope, anonymous, authenticated) in [
        (Scope::All, true, true),
        (Scope::Authorize(Vec::new()), false, true),
        (Scope::Nobody, false, false),
        (Scope::Matching, false, false),
        (Scope::Caller, false, false),
    ] {
        for (identity, expected) in
            [(None, anonymous), (Some(&nobody_by_name), authenticated), (Some(&alice), authenticated)]
        {
            let verdict = gets(&scope, &Access::Unspecified, Emission::None, identity);
            assert_eq!(verdict, expected, "{scope:?} {identity:?}");
        }
    }
}

#[test]
fn a_list_is_compared_with_the_kinds_it_names() {
    // id "Al1", name "Alice", roles "Admin" and "sales, east".
    let alice = person("Al1", "Alice", &["Admin", "sales, east", "the \"boss\""]);
    for (scope, expected) in [
        ("authorize Al1", true),
        ("authorize al1", false),
        ("authorize alice", true),
        ("authorize ALICE", true),
        ("authorize admin", true),
        ("authorize bob, admin", true),
        ("authorize bob carol", false),
        ("authorize id:Al1", true),
        ("authorize ID:Al1", true),
        ("authorize id:al1", false),
        ("authorize id:Alice", false),
        ("authorize id:Admin", false),
        ("authorize name:aLICE", true),
        ("authorize name:Al1", false),
        ("authorize name:admin", false),
        ("authorize role:admin", true),
        ("authorize role:alice", false),
        ("authorize role:Al1", false),
        ("authorize role:adm", false),
        ("authorize role:admin2", false),
        ("authorize sales east", false),
        ("authorize \"sales, east\"", true),
        ("authorize role:\"SALES, EAST\"", true),
        ("authorize \"role:sales,east\"", false),
        ("authorize \"the \"\"boss\"\"\"", true),
        ("authorize name:role:admin", false),
    ] {
        assert_eq!(gets_hinted(scope, Some(&alice)), expected, "{scope}");
        assert!(!gets_hinted(scope, None), "{scope} reaches somebody anonymous");
        assert!(!gets_hinted(scope, Some(&Identity::default())), "{scope} reaches somebody unnamed");
    }
}

#[test]
fn only_the_case_of_ascii_letters_is_without_regard() {
    // Attack: a user name that folds onto another one's beyond ASCII (KELVIN SIGN, long s, dotless i).
    for (listed, own, expected) in [
        ("kim", "KIM", true),
        ("kim", "\u{212a}im", false),
        ("sam", "\u{17f}am", false),
        ("ilse", "\u{131}lse", false),
        ("é", "É", false),
        ("é", "e\u{301}", false),
        ("alice", "alice ", false),
        ("alice", "alice\u{200b}", false),
    ] {
        for values in [format!("name:\"{listed}\""), format!("role:\"{listed}\"")] {
            let who = person("", own, &[own]);
            assert_eq!(gets_hinted(&format!("authorize {values}"), Some(&who)), expected, "{values} {own:?}");
        }
    }
}

#[test]
fn a_role_named_all_is_a_role_and_nothing_more() {
    // Attack: a role, name or id that is also a word of the grammar.
    let holder = person("authorize", "matching", &["all"]);
    let other = person("1", "alice", &["admin"]);
    for (scope, holder_gets, other_gets, anonymous_gets) in [
        ("all", true, true, true),
        ("authorize all", true, false, false),
        ("authorize role:all", true, false, false),
        ("authorize id:all", false, false, false),
        ("authorize matching", true, false, false),
        ("authorize role:matching", false, false, false),
        ("authorize authorize", true, false, false),
    ] {
        assert_eq!(gets_hinted(scope, Some(&holder)), holder_gets, "{scope}");
        assert_eq!(gets_hinted(scope, Some(&other)), other_gets, "{scope}");
        assert_eq!(gets_hinted(scope, None), anonymous_gets, "{scope}");
    }
    let hint = authorize_hint(["all"].into_iter());
    assert_eq!(Hint::parse(&hint), Hint::Scope(Scope::parse("authorize all").unwrap()));
}

#[test]
fn a_user_whose_id_equals_a_role_gets_what_is_for_the_role_only_unless_the_kind_is_said() {
    // Attack: whoever may choose an id or a name chooses "admin".
    let posing = person("admin", "ADMIN", &["guest"]);
    assert!(gets_hinted("authorize admin", Some(&posing)));
    assert!(!gets_hinted("authorize role:admin", Some(&posing)));
    let emitter = Emitter { user_id: None, user_name: None, roles: vec!["admin"] };
    assert!(!gets(&Scope::Matching, &Access::Unspecified, Emission::Known(&emitter), Some(&posing)));
}

#[test]
fn an_empty_value_matches_nobody() {
    let empty = person("", "", &["", ""]);
    assert!(empty.is_empty());
    let list = |value| Scope::Authorize(vec![value]);
    for value in
        [ScopeValue::Any, ScopeValue::Id, ScopeValue::Name, ScopeValue::Role].map(|make| make(String::new()))
    {
        for identity in [None, Some(&empty), Some(&person("1", "a", &["r"]))] {
            let verdict = gets(&list(value.clone()), &Access::Unspecified, Emission::None, identity);
            assert!(!verdict, "{value:?} {identity:?}");
        }
    }
}

#[test]
fn a_list_of_a_thousand_names_is_as_narrow_as_its_names() {
    let names: Vec<String> = (0..1_000).map(|number| format!("id:u{number}")).collect();
    let scope = format!("authorize {}", names.join(" "));
    assert!(gets_hinted(&scope, Some(&person("u999", "", &[]))));
    assert!(!gets_hinted(&scope, Some(&person("u1000", "", &[]))));
    assert!(!gets_hinted(&scope, None));
}

#[test]
fn matching_compares_kind_with_kind() {
    let alice = person("1", "Alice", &["Admin", "sales"]);
    for (user_id, user_name, roles, expected) in [
        (Some("1"), None, &[][..], true),
        (Some("2"), None, &[], false),
        (None, Some("aLICE"), &[], true),
        (None, Some("1"), &[], false),
        (Some("Alice"), None, &[], false),
        (None, None, &["ADMIN"], true),
        (None, None, &["guest", "sales"], true),
        (None, None, &["guest"], false),
        (None, None, &["alice", "1"], false),
        (Some("2"), Some("bob"), &["admin"], true),
        (Some(""), Some(""), &["", "guest"], false),
    ] {
        let emitter = Emitter { user_id, user_name, roles: roles.to_vec() };
        // Where the emitter is known, the routine's rule does not come in.
        for access in [Access::Unspecified, Access::Anonymous, rule(&[]), rule(&["role:admin"])] {
            let verdict = gets(&Scope::Matching, &access, Emission::Known(&emitter), Some(&alice));
            assert_eq!(verdict, expected, "{emitter:?} {access:?}");
            assert!(!gets(&Scope::Matching, &access, Emission::Known(&emitter), None), "{emitter:?}");
        }
    }
}

#[test]
fn matching_without_an_emitter_asks_the_rule_of_the_routine() {
    let admin = person("1", "alice", &["admin"]);
    let guest = person("2", "bob", &["guest"]);
    let nameless = Emitter { user_id: Some(""), user_name: None, roles: vec!["", ""] };
    for emission in [Emission::None, Emission::Known(&nameless)] {
        for (access, anonymous, admin_gets, guest_gets) in [
            (Access::Unspecified, false, false, false),
            (Access::Anonymous, false, false, false),
            (rule(&[]), false, true, true),
            (rule(&["ADMIN"]), false, true, false),
            (rule(&["id:2"]), false, false, true),
            (rule(&[""]), false, false, false),
        ] {
            for (identity, expected) in
                [(None, anonymous), (Some(&admin), admin_gets), (Some(&guest), guest_gets)]
            {
                let verdict = gets(&Scope::Matching, &access, emission, identity);
                assert_eq!(verdict, expected, "{access:?} {identity:?}");
            }
        }
    }
}

#[test]
fn matching_with_an_undecidable_emitter_reaches_nobody() {
    let alice = person("1", "alice", &["admin"]);
    for access in [Access::Unspecified, Access::Anonymous, rule(&[]), rule(&["id:1"])] {
        for identity in [None, Some(&alice), Some(&Identity::default())] {
            assert!(!gets(&Scope::Matching, &access, Emission::Undecidable, identity), "{access:?}");
        }
    }
    // It decides nothing else.
    assert!(gets(&Scope::All, &Access::Unspecified, Emission::Undecidable, None));
    assert!(gets(&Scope::Authorize(Vec::new()), &Access::Unspecified, Emission::Undecidable, Some(&alice)));
}

#[test]
fn a_publisher_is_told_when_nobody_can_match() {
    let known = Emission::Known(person("1", "", &[]));
    for (access, none, somebody, undecidable) in [
        (Access::Unspecified, true, false, true),
        (Access::Anonymous, true, false, true),
        (rule(&[]), false, false, true),
        (rule(&["x"]), false, false, true),
        (rule(&["", "id:"]), true, false, true),
    ] {
        assert_eq!(nobody_matches(&access, &Emission::None), none, "{access:?}");
        assert_eq!(nobody_matches(&access, &known), somebody, "{access:?}");
        assert_eq!(nobody_matches(&access, &Emission::Undecidable), undecidable, "{access:?}");
    }
}

#[test]
fn the_door_of_a_stream_tells_unknown_from_unwanted() {
    let nameless = Identity::default();
    let alice = person("1", "alice", &["Admin"]);
    for (access, anonymous, nameless_door, alice_door) in [
        (Access::Unspecified, Door::Open, Door::Open, Door::Open),
        (Access::Anonymous, Door::Open, Door::Open, Door::Open),
        (rule(&[]), Door::Unauthenticated, Door::Open, Door::Open),
        (rule(&["admin"]), Door::Unauthenticated, Door::Forbidden, Door::Open),
        (rule(&["bob", "id:1"]), Door::Unauthenticated, Door::Forbidden, Door::Open),
        (rule(&["id:admin"]), Door::Unauthenticated, Door::Forbidden, Door::Forbidden),
        (rule(&[""]), Door::Unauthenticated, Door::Forbidden, Door::Forbidden),
    ] {
        assert_eq!(may_open(&access, None), anonymous, "{access:?}");
        assert_eq!(may_open(&access, Some(&nameless)), nameless_door, "{access:?}");
        assert_eq!(may_open(&access, Some(&alice)), alice_door, "{access:?}");
    }
}
