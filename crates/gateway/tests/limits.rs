//! How many streams whoever may have, and what is told those beyond (C1.3, C4.5).
#![allow(clippy::unwrap_used)]

mod support;

use sse_gateway::{Settings, TrustedProxies};
use support::guarded::{EVENTS, get};
use support::peer::Stream;
use support::tokens::{bearer, token_of};
use support::{TestGateway, auth, eventually, settings};

fn open(gateway: &TestGateway, headers: &str) -> Stream {
    Stream::ready_at(gateway.port(), EVENTS, headers)
}

fn alice() -> String {
    bearer(&token_of("alice", &[]))
}

// Forged X-Forwarded-For: an address of its own for each stream.
#[test]
fn who_is_no_trusted_proxy_cannot_name_its_address() {
    let limited = Settings { max_connections_per_address: 1, ..settings() };
    let gateway = TestGateway::with(limited.clone());
    let _stream = open(&gateway, "X-Forwarded-For: 203.0.113.1\r\n");
    get(&gateway, EVENTS, "X-Forwarded-For: 203.0.113.2\r\n").problem(429);

    let trusted_proxies = TrustedProxies::parse("127.0.0.0/8").unwrap();
    let gateway = TestGateway::with(Settings { trusted_proxies, ..limited });
    let _one = open(&gateway, "X-Forwarded-For: 203.0.113.1\r\n");
    let _two = open(&gateway, "X-Forwarded-For: 203.0.113.2\r\n");
    get(&gateway, EVENTS, "X-Forwarded-For: 203.0.113.3, 203.0.113.2\r\n").problem(429);
}

#[test]
fn a_quarter_of_the_streams_is_kept_for_the_authenticated() {
    let gateway = TestGateway::with(Settings { max_connections: 8, auth: auth(), ..settings() });
    let mut streams: Vec<Stream> = (0..6).map(|_| open(&gateway, "")).collect();
    let answer = get(&gateway, EVENTS, "");
    answer.problem(503);
    assert_eq!(answer.head.header("retry-after"), "5");
    streams.extend((0..2).map(|_| open(&gateway, &alice())));
    get(&gateway, EVENTS, &alice()).problem(503);
    assert_eq!(gateway.count(|stats| &stats.anonymous_subscribers), 6);
    // A place that an authenticated one leaves is not the anonymous' to take.
    streams.pop();
    eventually("its place is free", || gateway.subscribers() == 7);
    get(&gateway, EVENTS, "").problem(503);
    streams.remove(0);
    eventually("its place is free", || gateway.subscribers() == 6);
    streams.push(open(&gateway, ""));
    assert_eq!(gateway.subscribers(), 7);
}

#[test]
fn what_a_query_string_may_not_say_is_400_and_says_which() {
    let gateway = TestGateway::new();
    for (query, detail) in [
        (vec!["topic=t"; 65].join("&"), "A URL may name at most 64 topics."),
        ("id=a&id=b".to_owned(), "The parameter \"id\" is given twice, with different values."),
        ("topic=%FF".to_owned(), "The query string is not UTF-8."),
    ] {
        assert_eq!(get(&gateway, &format!("{EVENTS}?{query}"), "").problem(400), detail);
    }
    for long in [format!("topic={}", "t".repeat(201)), format!("id={}", "i".repeat(201)), "i".repeat(201)] {
        let target = format!("{EVENTS}?{long}");
        get(&gateway, &target, "").problem(400);
        // One below the limit.
        Stream::get(gateway.port(), &target[..target.len() - 1], "");
    }
    Stream::get(gateway.port(), &format!("{EVENTS}?{}", vec!["topic=t"; 64].join("&")), "");
}
