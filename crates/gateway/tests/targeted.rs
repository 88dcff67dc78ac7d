//! Who is asked about an event that is not for all (C4): those whom it may be for, and no others.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use sse_gateway::Settings;
use sse_proto::caller::Caller;
use sse_proto::scope::Scope;
use support::peer::Stream;
use support::people::{person, token, with_secret};
use support::tokens::bearer;
use support::{Raise, TestGateway, eventually, raise};

fn to(scope: &str, data: &str) -> Raise {
    Raise { scope: Scope::parse(scope).unwrap(), ..raise(data) }
}

#[test]
fn an_event_for_one_user_wakes_that_users_streams_and_no_others() {
    const SUBSCRIBERS: usize = 2000;
    let gateway = TestGateway::with(Settings { max_connections: 10_000, ..with_secret() });
    let mut streams: Vec<Stream> = (0..SUBSCRIBERS)
        .map(|n| {
            let token = token(&n.to_string(), "", &["staff"], Duration::from_secs(3600));
            let headers = bearer(&token);
            Stream::get(gateway.port(), "/api/events/info", &headers)
        })
        .collect();
    for stream in &mut streams {
        assert_eq!(stream.next().name, "sse.ready");
    }
    let counts = || (gateway.count(|stats| &stats.asked_total), gateway.count(|stats| &stats.woken_total));
    for n in [0, 7, SUBSCRIBERS - 1] {
        let before = counts();
        gateway.publish(&[to(&format!("authorize id:{n}"), "yours")]);
        assert_eq!(streams[n].next().data, "yours");
        eventually("counted", || counts() == (before.0 + 1, before.1 + 1));
    }
    // One for somebody who is not there, and one for nobody at all, ask nobody.
    let before = counts();
    gateway.publish(&[to("authorize id:none, name:none", "x"), to("authorize \"\"", "x"), raise("for all")]);
    for stream in &mut streams {
        assert_eq!(stream.next().data, "for all");
    }
    let deliveries = 3 + SUBSCRIBERS as u64;
    eventually("counted", || gateway.count(|stats| &stats.deliveries_total) == deliveries);
    assert_eq!(counts(), before);
}

// An event for one caller among thousands of streams.
#[test]
fn an_event_for_a_caller_asks_the_streams_with_its_execution_id_and_no_others() {
    const SUBSCRIBERS: usize = 300;
    let gateway = TestGateway::with(with_secret());
    let mut streams: Vec<Stream> = (0..SUBSCRIBERS)
        .map(|n| person("1", "alice", &["staff"]).ready(gateway.port(), &format!("?id=x{n}")))
        .collect();
    let mut of_others = [
        person("2", "bob", &[]).ready(gateway.port(), "?id=x7"),
        person("1", "alice", &[]).ready(gateway.port(), ""),
    ];
    let mut in_topic = person("1", "alice", &[]).ready(gateway.port(), "?id=x7&topic=t");
    let counts = || (gateway.count(|stats| &stats.asked_total), gateway.count(|stats| &stats.woken_total));
    let of_alice = Caller {
        call: 5,
        is_authenticated: true,
        user_id: Some("1"),
        execution_id: Some("x7"),
        has_made_id: false,
    };
    let to_caller = |caller, topic: Option<&str>| {
        let topic = topic.map(str::to_owned);
        Raise { scope: Scope::Caller, caller, topic, execution_id: Some("x7".to_owned()), ..raise("yours") }
    };
    for topic in [None, Some("t"), Some("u")] {
        let before = counts();
        gateway.publish(&[to_caller(Some(of_alice), topic)]);
        assert_eq!(streams[7].next().data, "yours");
        assert_eq!(in_topic.next().data, "yours");
        eventually("counted", || counts() == (before.0 + 3, before.1 + 2));
    }
    // Of nobody who could prove it, and of no call.
    let before = counts();
    let undelivered = gateway.count(|stats| &stats.undeliverable_total);
    let anonymous = Caller { is_authenticated: false, user_id: None, ..of_alice };
    gateway.publish(&[
        to_caller(Some(anonymous), None),
        to_caller(Some(Caller { user_id: None, ..of_alice }), None),
        to_caller(Some(Caller { execution_id: None, ..of_alice }), None),
        to_caller(None, None),
        raise("for all"),
    ]);
    for stream in streams.iter_mut().chain(&mut of_others) {
        assert_eq!(stream.next().data, "for all");
    }
    assert_eq!(counts(), before);
    assert_eq!(gateway.count(|stats| &stats.undeliverable_total), undelivered + 1);
    // To whoever has an id that the gateway has made.
    gateway.publish(&[to_caller(Some(Caller { has_made_id: true, ..anonymous }), None)]);
    for stream in [&mut streams[7], &mut of_others[0], &mut in_topic] {
        assert_eq!(stream.next().data, "yours");
    }
}
