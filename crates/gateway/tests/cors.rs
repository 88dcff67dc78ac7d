//! Which pages of other origins may read answers (`sse.cors_origins`).
#![allow(clippy::unwrap_used)]

mod support;

use sse_gateway::{CorsOrigins, Settings};
use support::guarded::EVENTS;
use support::peer::{Head, Stream, ask};
use support::{TestGateway, settings};

const APP: &str = "https://app.example";

fn with(origins: &str) -> TestGateway {
    TestGateway::with(Settings { cors_origins: CorsOrigins::parse(origins).unwrap(), ..settings() })
}

fn head(gateway: &TestGateway, method: &str, target: &str, headers: &str) -> Head {
    ask(gateway.port(), &format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")).head
}

fn permission(head: &Head) -> (&str, &str, &str) {
    (
        head.header("access-control-allow-origin"),
        head.header("access-control-allow-credentials"),
        head.header("vary"),
    )
}

#[test]
fn a_listed_origin_may_read_streams_and_errors() {
    let gateway = with(&format!("http://localhost:5173, {APP}"));
    let stream = Stream::get(gateway.port(), EVENTS, &format!("Origin: {APP}\r\n"));
    assert_eq!(permission(&stream.head), (APP, "true", "origin"));
    for (method, target) in [
        ("HEAD", EVENTS),
        ("GET", "/nothing"),
        ("POST", EVENTS),
        ("GET", "/healthz"),
        ("GET", "/api/events/info?topic=%FF"),
    ] {
        let head = head(&gateway, method, target, &format!("Origin: {APP}\r\n"));
        assert_eq!(permission(&head), (APP, "true", "origin"), "{method} {target}");
    }
    // A cache must not hand it to a page of another origin.
    assert_eq!(permission(&head(&gateway, "HEAD", EVENTS, "")), ("", "", "origin"));
}

// Reflected Origin.
#[test]
fn other_origins_get_no_permission() {
    let gateway = with(APP);
    for origin in [
        "https://evil.example",
        "https://app.example.evil.example",
        "https://evilapp.example",
        "http://app.example",
        "https://app.example:8443",
        "https://APP.example",
        "https://app.example/",
        "null",
        "",
    ] {
        let stream = Stream::get(gateway.port(), EVENTS, &format!("Origin: {origin}\r\n"));
        assert_eq!(permission(&stream.head), ("", "", "origin"), "{origin}");
        let request = "Access-Control-Request-Method: GET\r\n";
        let head = head(&gateway, "OPTIONS", EVENTS, &format!("Origin: {origin}\r\n{request}"));
        assert_eq!(permission(&head), ("", "", "origin"), "{origin}");
        assert_eq!(head.header("access-control-allow-methods"), "");
        assert_eq!(head.header("access-control-allow-headers"), "");
    }
}

#[test]
fn scripts_of_a_listed_origin_may_read_what_answers_say_in_headers() {
    const EXPOSED: &str = "Location, Preference-Applied, Retry-After, SSE-Position, WWW-Authenticate";
    for origins in [APP, "*"] {
        let gateway = with(origins);
        for (target, origin, expected) in [
            (EVENTS, APP, EXPOSED),
            ("/nothing", APP, EXPOSED),
            (EVENTS, "null", ""),
            (EVENTS, "https://evil.example", if origins == "*" { EXPOSED } else { "" }),
        ] {
            let head = head(&gateway, "HEAD", target, &format!("Origin: {origin}\r\n"));
            assert_eq!(head.header("access-control-expose-headers"), expected, "{origins} {target} {origin}");
        }
    }
    let gateway = TestGateway::new();
    let head = head(&gateway, "HEAD", EVENTS, &format!("Origin: {APP}\r\n"));
    assert_eq!(head.header("access-control-expose-headers"), "");
}

#[test]
fn without_the_setting_there_is_nothing_of_cors_in_any_answer() {
    let gateway = TestGateway::new();
    let stream = Stream::get(gateway.port(), EVENTS, &format!("Origin: {APP}\r\n"));
    assert_eq!(permission(&stream.head), ("", "", ""));
}

#[test]
fn a_preflight_is_told_what_a_listed_origin_may_send() {
    let gateway = with(APP);
    let request = format!(
        "Origin: {APP}\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization, x-evil\r\n"
    );
    let head = head(&gateway, "OPTIONS", EVENTS, &request);
    assert_eq!((head.status, permission(&head)), (204, (APP, "true", "origin")));
    assert_eq!(head.header("access-control-allow-methods"), "GET, HEAD, OPTIONS");
    assert_eq!(
        head.header("access-control-allow-headers"),
        "Authorization, Cache-Control, Content-Type, Last-Event-ID, Prefer, x-execution-id, x-npgsqlrest-id"
    );
    assert_eq!(head.header("access-control-max-age"), "600");
}

// Credentials for everybody.
#[test]
fn the_star_comes_without_credentials() {
    let gateway = with("*");
    let stream = Stream::get(gateway.port(), EVENTS, "Origin: https://anybody.example\r\n");
    assert_eq!(permission(&stream.head), ("*", "", "origin"));
    let stream = Stream::get(gateway.port(), EVENTS, "Origin: null\r\n");
    assert_eq!(permission(&stream.head), ("", "", "origin"));
    let gateway = with(&format!("*, {APP}"));
    for (origin, expected) in [(APP, (APP, "true", "origin")), ("https://x.example", ("*", "", "origin"))] {
        let head = head(&gateway, "HEAD", EVENTS, &format!("Origin: {origin}\r\n"));
        assert_eq!(permission(&head), expected);
    }
}

// Header injection through Origin: a browser's value never gets into an answer.
#[test]
fn an_origin_with_a_line_break_or_of_two_lines_gets_no_permission() {
    let gateway = with(APP);
    for headers in [
        format!("Origin: {APP}\r\nOrigin: {APP}\r\n"),
        format!("Origin: {APP}, {APP}\r\n"),
        format!("Origin: {APP}\tX\r\n"),
    ] {
        let head = head(&gateway, "HEAD", EVENTS, &headers);
        assert_eq!(permission(&head), ("", "", "origin"), "{headers:?}");
    }
}
