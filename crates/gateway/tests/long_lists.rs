//! Events for lists of a thousand values: what they cost later events.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use sse_gateway::Settings;
use sse_proto::scope::{Scope, ScopeValue};
use support::peer::Stream;
use support::tokens::{bearer, token_of};
use support::{Raise, TestGateway, auth, eventually, raise, settings};

const STREAMS: usize = 400;
const EVENTS: usize = 100;

fn list(values: usize) -> Raise {
    let values = (0..values).map(|n| ScopeValue::Any(format!("Nobody-has-{n}"))).collect();
    Raise { scope: Scope::Authorize(values), ..raise("for some") }
}

// Hints with very many values: each was compared with every name of every stream, without a turn for anybody
// else.
#[test]
fn events_for_long_lists_do_not_stop_those_behind_them() {
    let gateway = TestGateway::with(Settings { auth: auth(), ..settings() });
    let roles: Vec<String> = (0..20).map(|n| format!("nobody-HAS-x{n}")).collect();
    let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
    let token = bearer(&token_of("alice", &roles));
    let mut streams: Vec<Stream> =
        (0..STREAMS).map(|_| Stream::get(gateway.port(), "/api/events/info", &token)).collect();
    assert_eq!(streams[0].next().name, "sse.ready");
    let mut on_the_list = list(999);
    if let Scope::Authorize(values) = &mut on_the_list.scope {
        values.push(ScopeValue::Role("NOBODY-has-X19".to_owned()));
    }
    let began = Instant::now();
    gateway.publish(&vec![list(1000); EVENTS]);
    gateway.publish(&[on_the_list, raise("for all")]);
    assert_eq!(streams[0].take(2), ["for some", "for all"]);
    // Compared one by one this takes a quarter of a minute in a debug build.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let asked = ((EVENTS + 1) * STREAMS) as u64;
    eventually("counted", || gateway.count(|stats| &stats.asked_total) == asked);
}
