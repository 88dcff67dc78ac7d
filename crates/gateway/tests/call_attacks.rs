//! Requests that are made to be misread: framing, bodies, encodings, numbers. Each test names its attack.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use serde_json::Value;
use sse_gateway::Settings;
use sse_proto::call::Shape;
use support::calls::{JSON, callable, called, calling, refused, request, serve, shape};
use support::peer::Peer;
use support::{TestGateway, eventually, settings};

fn gateway() -> TestGateway {
    with(settings())
}

fn with(settings: Settings) -> TestGateway {
    let callables = [
        callable("f", "HTTP POST", &["a?", "b?"], shape(Shape::Scalar)),
        callable("g", "HTTP GET", &["a?"], shape(Shape::Scalar)),
    ];
    calling(settings, &callables)
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /api/f HTTP/1.1\r\nHost: localhost\r\n{JSON}{headers}\r\n{body}")
}

/// Every answer on a connection until its end.
fn statuses(gateway: &TestGateway, bytes: &[u8]) -> Vec<u16> {
    let mut peer = Peer::connect(gateway.port());
    peer.send(bytes);
    peer.socket().shutdown(std::net::Shutdown::Write).unwrap();
    let rest = String::from_utf8(peer.rest()).unwrap();
    rest.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().unwrap()).collect()
}

// Request smuggling: a proxy in front and we must not see different ends of a request. Nothing after such an
// end is run.
#[test]
fn a_request_whose_end_is_in_doubt_is_refused_and_nothing_behind_it_is_run() {
    let gateway = gateway();
    let hidden = "GET /api/g?a=smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for headers in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length : 5\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X: y\r\n Content-Length: 5\r\n",
        "Content-Length: 5\r\nX: a\rContent-Length: 9\r\n",
        "Content-Length:\r\n",
    ] {
        let request = post(headers, &format!("0\r\n\r\n{hidden}"));
        let statuses = statuses(&gateway, request.as_bytes());
        assert_eq!(statuses, [400], "{headers:?}");
        assert!(gateway.desk().take().is_none(), "{headers:?}");
    }
}

// CL.TE and TE.CL: both framings in one request. RFC 9112 §6.1 lets chunks win and has the connection closed.
#[test]
fn both_framings_in_one_request_hide_no_second_one() {
    let gateway = gateway();
    let hidden = "GET /api/g?a=smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    ] {
        let request = post(headers, &format!("0\r\n\r\n{hidden}"));
        let mut peer = Peer::ask(gateway.port(), &request);
        assert!(serve(&gateway, "x").parameters.is_empty());
        let answer = peer.answer(true);
        assert_eq!((answer.head.status, answer.head.header("connection")), (200, "close"), "{headers:?}");
        assert!(peer.rest().is_empty(), "{headers:?}");
        assert!(gateway.desk().take().is_none(), "{headers:?}");
    }
}

#[test]
fn chunks_that_are_none_are_refused() {
    let gateway = gateway();
    for chunks in [
        "x\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}0\r\n\r\n",
        "2 \n{}\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}\r\n",
    ] {
        let request = post("Transfer-Encoding: chunked\r\n", chunks);
        let statuses = statuses(&gateway, request.as_bytes());
        assert!(statuses.is_empty() || statuses == [400], "{chunks:?} {statuses:?}");
        assert!(gateway.desk().take().is_none(), "{chunks:?}");
    }
    let request = post("Transfer-Encoding: chunked\r\n", "1;x=y\r\n{\r\n1\r\n}\r\n0\r\nTrailer: x\r\n\r\n");
    assert_eq!(called(&gateway, &request, "x").1.head.status, 200);
}

#[test]
fn another_content_type_is_415() {
    let gateway = gateway();
    for (kind, expected) in [
        ("Content-Type: application/json; charset=UTF-8\r\n", 200),
        ("Content-Type: Application/JSON; charset=latin1\r\n", 200),
        ("Content-Type: application/json ; Charset=\"UTF-8\"\r\n", 200),
        ("Content-Type: application/json;\r\n", 200),
        ("Content-Type: application/json; charset\r\n", 200),
        ("", 415),
        ("Content-Type: \r\n", 415),
        ("Content-Type: application/jsonx\r\n", 415),
        ("Content-Type: text/plain\r\n", 415),
        ("Content-Type: application/x-www-form-urlencoded\r\n", 415),
        ("Content-Type: multipart/form-data; boundary=application/json\r\n", 415),
        ("Content-Type: text/plain; application/json\r\n", 415),
        ("Content-Type: application/problem+json\r\n", 415),
        ("Content-Type: text/json\r\n", 415),
        ("Content-Type: application/json, text/plain\r\n", 415),
        ("Content-Type: application/json; charset=utf-16\r\n", 200),
        ("Content-Type: application/json\r\nContent-Encoding: gzip\r\n", 415),
        ("Content-Type: application/json\r\nContent-Type: application/json\r\n", 415),
    ] {
        let request = request("POST", "/api/f", kind, "{}");
        let status = match expected {
            200 => called(&gateway, &request, "x").1.head.status,
            _ => refused(&gateway, &request).head.status,
        };
        assert_eq!(status, expected, "{kind}");
    }
}

// JSON that two readers read differently, or that takes more than its size to read.
#[test]
fn json_that_is_in_doubt_or_in_depth_is_refused() {
    let gateway = gateway();
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let many = format!("{{\"a\":\"1\",{}\"b\":\"1\"}}", "\"x\":1,".repeat(10_000));
    for body in [
        "{\"a\":\"1\",\"a\":\"2\"}",
        "{\"a\":\"1\",\"\\u0061\":\"2\"}",
        "{\"a\":\"x\\u0000y\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":1,}",
        "{\"a\":01}",
        "{\"a\":NaN}",
        "{'a':1}",
        "{\"a\":1}{}",
        "{\"a\":1} x",
        "\u{feff}{}",
        "null",
        "\"{}\"",
        &deep,
        &many,
    ] {
        let mut peer = Peer::ask(gateway.port(), &request("POST", "/api/f", JSON, body));
        eventually("answered or queued", || {
            assert!(gateway.desk().take().is_none(), "{body:.60}");
            peer.has_answer()
        });
        let told = peer.answer(true).problem(400);
        assert!(told.len() < 300, "{told}");
    }
}

#[test]
fn what_is_not_utf8_is_refused_and_never_replaced() {
    let gateway = gateway();
    for text in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"] {
        let mut bytes = post(&format!("Content-Length: {}\r\n", text.len() + 8), "{\"a\":\"").into_bytes();
        bytes.extend_from_slice(text);
        bytes.extend_from_slice(b"\"}");
        let mut peer = Peer::connect(gateway.port());
        peer.send(&bytes);
        peer.answer(true).problem(400);
        let query: String = text.iter().map(|byte| format!("%{byte:02x}")).collect();
        refused(&gateway, &request("GET", &format!("/api/g?a={query}"), "", "")).problem(400);
    }
    refused(&gateway, &request("GET", "/api/g?a=x%00y", "", "")).problem(400);
    assert!(gateway.desk().take().is_none());
}

// A number that a double cannot hold must reach Postgres as it was written.
#[test]
fn numbers_keep_every_digit() {
    let gateway = gateway();
    for number in
        ["9223372036854775808", "18446744073709551617", "0.1000000000000000055511151231257827", "1e400"]
    {
        let (call, _) =
            called(&gateway, &request("POST", "/api/f", JSON, &format!("{{\"a\":{number}}}")), "x");
        assert_eq!(call.parameters, [Some(number.to_owned())]);
    }
}

#[test]
fn a_body_has_at_most_max_body_size_bytes() {
    let gateway = gateway();
    let filled = |size: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(size - 8));
    let limit = 1 << 20;
    let (call, answer) = called(&gateway, &request("POST", "/api/f", JSON, &filled(limit)), "x");
    assert_eq!((answer.head.status, call.parameters[0].as_ref().unwrap().len()), (200, limit - 8));
    // What says that it is longer is not waited for.
    let answer = refused(&gateway, &post(&format!("Content-Length: {}\r\n", limit + 1), ""));
    answer.problem(413);
    assert_eq!(answer.head.header("connection"), "close");
    // What does not say it is read to the limit.
    for (size, status) in [(limit, 200), (limit + 1, 413)] {
        let body = filled(size);
        let chunks: String = body
            .as_bytes()
            .chunks(10_000)
            .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap()))
            .collect();
        let request = post("Transfer-Encoding: chunked\r\n", &format!("{chunks}0\r\n\r\n"));
        let answer = match status {
            200 => called(&gateway, &request, "x").1,
            _ => refused(&gateway, &request),
        };
        assert_eq!(answer.head.status, status);
    }
    let small = with(Settings { max_body_size: 2, ..settings() });
    assert_eq!(called(&small, &request("POST", "/api/f", JSON, "{}"), "x").1.head.status, 200);
    refused(&small, &request("POST", "/api/f", JSON, "{ }")).problem(413);
}

// A length that lies: what is beyond it is another request, or none.
#[test]
fn what_comes_behind_the_length_is_not_part_of_the_body() {
    let gateway = gateway();
    let mut peer = Peer::ask(gateway.port(), &post("Content-Length: 2\r\n", "{},\"a\":\"1\"}\r\n\r\n"));
    assert!(serve(&gateway, "x").parameters.is_empty());
    assert_eq!(peer.answer(true).head.status, 200);
    assert_eq!(peer.answer(true).head.status, 400);
    assert!(peer.rest().is_empty());
    assert!(gateway.desk().take().is_none());
}

// A connection that sends half of a body and goes.
#[test]
fn half_a_body_runs_nothing() {
    let gateway = gateway();
    for (headers, part) in
        [("Content-Length: 9\r\n", "{}"), ("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n")]
    {
        let peer = Peer::ask(gateway.port(), &post(headers, part));
        drop(peer);
    }
    eventually("gone", || gateway.count(|stats| &stats.connections) == 0);
    assert!(gateway.desk().take().is_none());
    assert_eq!(gateway.count(|stats| &stats.calls_total), 0);
}

#[test]
fn whoever_asks_to_be_told_to_go_on_is_told_so_unless_the_call_is_refused() {
    let gateway = gateway();
    let head = post("Content-Length: 2\r\nExpect: 100-continue\r\n", "");
    let mut peer = Peer::ask(gateway.port(), &head);
    assert_eq!(peer.head().status, 100);
    peer.send(b"{}");
    serve(&gateway, "x");
    assert_eq!(peer.answer(true).head.status, 200);
    let foreign = post("Content-Length: 2\r\nExpect: 100-continue\r\nOrigin: null\r\n", "");
    let answer = refused(&gateway, &foreign);
    assert_eq!((answer.head.status, answer.head.header("connection")), (403, "close"));
}

// What a peer sends is never part of what another reads: names are told back, values are not.
#[test]
fn an_answer_names_a_parameter_and_never_its_value() {
    let gateway = gateway();
    let body = "{\"a\":\"1\",\"<script>\":\"secret\"}";
    let answer = refused(&gateway, &request("POST", "/api/f", JSON, body));
    let told = answer.problem(400);
    assert!(!told.contains("secret"), "{told}");
    serde_json::from_slice::<Value>(&answer.body).unwrap();
}

// An answer that nobody asked for, on a connection that is idle: the peer would take it for that of its next
// request.
#[test]
fn an_idle_connection_is_closed_without_a_word_after_a_body() {
    let gateway = gateway();
    gateway.gateway.apply(Settings { idle_timeout: Duration::from_secs(1), ..settings() }.into());
    let mut peer = Peer::ask(gateway.port(), &request("POST", "/api/f", JSON, "{}"));
    serve(&gateway, "x");
    assert_eq!(peer.answer(true).head.status, 200);
    assert!(peer.rest().is_empty());
}
