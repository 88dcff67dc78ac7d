//! [`admits`] and [`may_open`] give the answers of a second implementation, whatever they are asked.
#![allow(clippy::unwrap_used)]

#[path = "admission/oracle.rs"]
mod oracle;

use oracle::Listed;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use sse_proto::admission::{Door, Event, Subscriber, admits, may_open, nobody_matches};
use sse_proto::annotation::Access;
use sse_proto::caller::Caller;
use sse_proto::identity::{Emission, Identity};
use sse_proto::record::{self, Emitter, Envelope, Record};
use sse_proto::scope::{Scope, ScopeValue};
use sse_proto::word::{ExecutionId, Topic};
use std::borrow::Cow;
use std::cell::Cell;

/// So few that they meet, in the same kind and in another one. `k` is U+212A, whose lower case is an ASCII
/// `k`.
const VALUES: [&str; 10] = ["", "", "a", "A", "k", "\u{212a}", "42", "all", "a, \"b\"", "é"];

fn value() -> impl Strategy<Value = String> {
    select(&VALUES[..]).prop_map(str::to_owned)
}

fn label() -> impl Strategy<Value = String> {
    select(&["", "", "", "t", "T", "u"][..]).prop_map(str::to_owned)
}

fn person() -> impl Strategy<Value = oracle::Person> {
    (value(), value(), prop::collection::vec(value(), 0..4)).prop_map(|(id, name, roles)| oracle::Person {
        id,
        name,
        roles,
    })
}

fn list() -> impl Strategy<Value = Vec<Listed>> {
    prop::collection::vec((select(&["", "id", "name", "role"][..]), value()), 0..4)
}

fn event() -> impl Strategy<Value = oracle::Event> {
    let scope = prop_oneof![
        1 => Just(oracle::Scope::All),
        3 => list().prop_map(oracle::Scope::Authorize),
        4 => Just(oracle::Scope::Matching),
        3 => Just(oracle::Scope::Caller),
        1 => Just(oracle::Scope::Nobody),
    ];
    let raiser = prop_oneof![
        2 => Just(oracle::Raiser::Nobody),
        4 => person().prop_map(oracle::Raiser::Somebody),
        1 => Just(oracle::Raiser::Garbled),
    ];
    let call = prop::option::weighted(0.8, call());
    (label(), label(), scope, prop::option::of(list()), raiser, call).prop_map(
        |(execution_id, topic, scope, rule, raiser, call)| oracle::Event {
            execution_id,
            topic,
            scope,
            rule,
            raiser,
            call,
        },
    )
}

fn call() -> impl Strategy<Value = oracle::Call> {
    (1_u64..4, prop::option::of(value()), label(), any::<bool>()).prop_map(
        |(number, user_id, execution_id, has_made_id)| oracle::Call {
            number,
            user_id,
            execution_id,
            has_made_id,
        },
    )
}

fn listener() -> impl Strategy<Value = oracle::Listener> {
    let topics = prop_oneof![
        2 => Just(Vec::new()),
        1 => prop::collection::vec(select(&["t", "T", "u"][..]).prop_map(str::to_owned), 0..3),
    ];
    let call = prop::option::weighted(0.2, 1_u64..4);
    (prop::option::weighted(0.8, person()), topics, label(), call).prop_map(
        |(person, topics, execution_id, call)| oracle::Listener { person, topics, execution_id, call },
    )
}

fn values(list: &[Listed]) -> Vec<ScopeValue> {
    let make = |(kind, text): &Listed| match *kind {
        "id" => ScopeValue::Id(text.clone()),
        "name" => ScopeValue::Name(text.clone()),
        "role" => ScopeValue::Role(text.clone()),
        _ => ScopeValue::Any(text.clone()),
    };
    list.iter().map(make).collect()
}

fn scope(scope: &oracle::Scope) -> Scope {
    match scope {
        oracle::Scope::All => Scope::All,
        oracle::Scope::Authorize(list) => Scope::Authorize(values(list)),
        oracle::Scope::Matching => Scope::Matching,
        oracle::Scope::Caller => Scope::Caller,
        oracle::Scope::Nobody => Scope::Nobody,
    }
}

fn identity(person: &oracle::Person) -> Identity {
    Identity::try_new(Some(&person.id), Some(&person.name), &person.roles).unwrap()
}

/// The verdict, with every empty text handed over as it is: an event must not depend on who cleaned it.
// Long because it translates each part of what the oracle knows.
fn verdict(event: &oracle::Event, listener: &oracle::Listener) -> bool {
    let access = event.rule.as_ref().map_or(Access::Unspecified, |list| Access::Authorize(values(list)));
    let scope = scope(&event.scope);
    let emitter = match &event.raiser {
        oracle::Raiser::Somebody(person) => Emission::Known(Emitter {
            user_id: Some(&person.id),
            user_name: Some(&person.name),
            roles: person.roles.iter().map(String::as_str).collect(),
        }),
        oracle::Raiser::Nobody => Emission::None,
        oracle::Raiser::Garbled => Emission::Undecidable,
    };
    let emission = match &emitter {
        Emission::Known(emitter) => Emission::Known(emitter),
        Emission::None => Emission::None,
        Emission::Undecidable => Emission::Undecidable,
    };
    let identity = listener.person.as_ref().map(identity);
    let topics: Vec<Topic> = listener.topics.iter().map(|topic| Topic::parse(topic).unwrap()).collect();
    let execution_id = ExecutionId::parse(&listener.execution_id).ok();
    let subscriber = Subscriber {
        identity: identity.as_ref(),
        topics: &topics,
        execution_id: execution_id.as_ref(),
        call: listener.call,
    };
    let (its_id, its_topic) = (Some(&*event.execution_id), Some(&*event.topic));
    let caller = event.call.as_ref().map(|call| Caller {
        call: call.number,
        is_authenticated: call.user_id.is_some(),
        user_id: call.user_id.as_deref(),
        execution_id: Some(&*call.execution_id),
        has_made_id: call.has_made_id,
    });
    let direct =
        Event { execution_id: its_id, topic: its_topic, scope: &scope, access: &access, emission, caller };
    let verdict = admits(&direct, &subscriber);

    let clean = match &event.raiser {
        oracle::Raiser::Somebody(person) => Some(self::identity(person)).filter(|who| !who.is_empty()),
        _ => None,
    };
    let clean = match (&event.raiser, clean) {
        (oracle::Raiser::Garbled, _) => Emission::Undecidable,
        (_, None) => Emission::None,
        (_, Some(identity)) => Emission::Known(identity),
    };
    if scope == Scope::Matching && nobody_matches(&access, &clean) {
        assert!(!verdict, "it was said that nobody matches");
    }
    if let Emission::None | Emission::Known(_) = emission {
        let envelope = Envelope {
            scope: Cow::Borrowed(&scope),
            access: Cow::Borrowed(&access),
            topic: its_topic,
            execution_id: its_id,
            emitter: match emission {
                Emission::Known(emitter) => Some(emitter.clone()),
                _ => None,
            },
            caller,
            ..Envelope::for_all()
        };
        let bytes = Record::TooLarge { envelope }.encode().unwrap();
        let Ok(Record::TooLarge { envelope }) = record::decode(&bytes) else { panic!("{bytes:?}") };
        assert_eq!(admits(&Event::from(&envelope), &subscriber), verdict, "after its way through the ring");
    }
    verdict
}

#[test]
fn an_event_reaches_exactly_whom_the_contract_says() {
    let (admitted, refused) = (Cell::new(0), Cell::new(0));
    let (by_list, by_likeness) = (Cell::new(0), Cell::new(0));
    let (by_call, by_id) = (Cell::new(0), Cell::new(0));
    let cases = 30_000;
    let mut runner = TestRunner::new(Config { cases, ..Config::default() });
    let outcome = runner.run(&(event(), listener()), |(event, listener)| {
        let expected = oracle::receives(&event, &listener);
        prop_assert_eq!(verdict(&event, &listener), expected);
        let count = |counter: &Cell<u32>| counter.set(counter.get() + 1);
        count(if expected { &admitted } else { &refused });
        match (&event.scope, &event.raiser) {
            (oracle::Scope::Authorize(list), _) if expected && !list.is_empty() => count(&by_list),
            (oracle::Scope::Matching, oracle::Raiser::Somebody(_)) if expected => count(&by_likeness),
            (oracle::Scope::Caller, _) if expected && listener.call.is_some() => count(&by_call),
            (oracle::Scope::Caller, _) if expected => count(&by_id),
            _ => {}
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    for (counter, what, least) in [
        (admitted, "admitted", cases / 100),
        (refused, "refused", cases / 100),
        (by_list, "listed", cases / 100),
        (by_likeness, "alike", cases / 100),
        (by_call, "answers", cases / 200),
        (by_id, "callers by id", cases / 1000),
    ] {
        assert!(counter.get() > least, "only {} were {what}: the test shows little", counter.get());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn a_door_opens_for_exactly_those_the_rule_names(
        rule in prop::option::of(list()),
        person in prop::option::weighted(0.8, person()),
    ) {
        let who = person.as_ref().map(identity);
        let access = rule.as_ref().map_or(Access::Anonymous, |list| Access::Authorize(values(list)));
        let expected = match (&rule, &person) {
            (None, _) => Door::Open,
            (Some(_), None) => Door::Unauthenticated,
            (Some(list), person) if oracle::is_authorized(list, person.as_ref()) => Door::Open,
            (Some(_), Some(_)) => Door::Forbidden,
        };
        prop_assert_eq!(may_open(&access, who.as_ref()), expected);
    }
}
