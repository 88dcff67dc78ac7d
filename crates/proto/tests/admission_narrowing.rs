//! What narrows a stream before anybody is asked who they are (C4.2): execution ids and topics.
//!
//! Not for identities (`admission_tables.rs`).
#![allow(clippy::unwrap_used)]

use sse_proto::admission::{Event, Subscriber, admits};
use sse_proto::annotation::Access;
use sse_proto::identity::Emission;
use sse_proto::scope::Scope;
use sse_proto::word::{ExecutionId, Topic};

#[test]
fn execution_ids_narrow_only_where_both_sides_give_one() {
    for (subscriber, publisher, expected) in [
        ("", None, true),
        ("", Some(""), true),
        ("", Some("A"), true),
        ("A", None, true),
        ("A", Some(""), true),
        ("A", Some("A"), true),
        ("A", Some("B"), false),
        ("A", Some("a"), false),
        ("A", Some("A "), false),
        ("all", Some("A"), false),
    ] {
        let execution_id = ExecutionId::parse(subscriber).ok();
        let event = Event {
            execution_id: publisher,
            topic: None,
            scope: &Scope::All,
            access: &Access::Unspecified,
            emission: Emission::None,
            caller: None,
        };
        let subscriber =
            Subscriber { identity: None, topics: &[], execution_id: execution_id.as_ref(), call: None };
        assert_eq!(admits(&event, &subscriber), expected, "{subscriber:?} {publisher:?}");
    }
}

#[test]
fn a_stream_with_topics_gets_these_and_one_without_gets_what_has_none() {
    for (topics, topic, expected) in [
        (&[][..], None, true),
        (&[], Some(""), true),
        (&[], Some("t"), false),
        (&["t"], None, false),
        (&["t"], Some(""), false),
        (&["t"], Some("t"), true),
        (&["t"], Some("T"), false),
        (&["t"], Some("t/x"), false),
        (&["s", "t"], Some("t"), true),
        (&["s", "t"], Some("u"), false),
    ] {
        let list: Vec<Topic> = topics.iter().map(|topic| Topic::parse(topic).unwrap()).collect();
        let event = Event {
            execution_id: None,
            topic,
            scope: &Scope::All,
            access: &Access::Unspecified,
            emission: Emission::None,
            caller: None,
        };
        let subscriber = Subscriber { identity: None, topics: &list, execution_id: None, call: None };
        assert_eq!(admits(&event, &subscriber), expected, "{topics:?} {topic:?}");
    }
}
