//! What requests that are no streams get, and what malformed ones get: limits, hosts, methods, files.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sse_gateway::Settings;
use support::peer::{Peer, Stream, ask, get};
use support::{TestGateway, eventually, folder, routes, settings};

#[test]
fn an_unknown_path_is_404_and_a_wrong_method_405() {
    let gateway = TestGateway::new();
    assert_eq!(
        get(gateway.port(), "/nothing").problem(404),
        "There is nothing at this path. Calls of routines are off: sse.call_role names no role."
    );
    for path in ["/", "/api", "/healthz/x", "/api/../healthz", "/%2e%2e/etc/passwd", "//", "/healthz%00"] {
        get(gateway.port(), path).problem(404);
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "QUERY"] {
        let answer =
            ask(gateway.port(), &format!("{method} /api/events/info HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        answer.problem(405);
        assert_eq!(answer.head.header("allow"), "GET, HEAD, OPTIONS");
    }
    let unknown =
        ask(gateway.port(), "POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx");
    unknown.problem(404);
}

#[test]
fn head_answers_the_headers_and_subscribes_nobody() {
    let headers = Settings::check_response_headers(r#"{"X-Extra": "yes"}"#).unwrap();
    let gateway = TestGateway::with(Settings { response_headers: headers, ..settings() });
    let answer = ask(
        gateway.port(),
        "HEAD /api/events/info/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(answer.head.status, 200);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
        ("x-extra", "yes"),
    ] {
        assert_eq!(answer.head.header(name), value);
    }
    assert_eq!(gateway.count(|stats| &stats.subscribers_total), 0);
    let stream = Stream::get(gateway.port(), "/api/events/info/", "");
    assert_eq!(stream.head.header("x-extra"), "yes");
}

#[test]
fn options_says_what_is_allowed() {
    let gateway = TestGateway::new();
    for target in ["/api/events/info", "/healthz", "*"] {
        let answer = ask(gateway.port(), &format!("OPTIONS {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(
            (answer.head.status, answer.head.header("allow")),
            (204, "GET, HEAD, OPTIONS"),
            "{target}"
        );
        assert_eq!(answer.head.header("x-content-type-options"), "nosniff");
    }
    for method in ["GET", "POST"] {
        ask(gateway.port(), &format!("{method} * HTTP/1.1\r\nHost: localhost\r\n\r\n")).problem(400);
    }
}

#[test]
fn healthz_says_only_up_or_not() {
    let gateway = TestGateway::new();
    let up = get(gateway.port(), "/healthz");
    assert_eq!((up.head.status, up.text()), (200, r#"{"status":"pass"}"#));
    assert_eq!(up.head.header("x-content-type-options"), "nosniff");
    gateway.gateway.set_unavailable(Some("/var/lib/secret: the reason".to_owned()));
    let down = get(gateway.port(), "/healthz");
    assert_eq!((down.head.status, down.text()), (503, r#"{"status":"fail"}"#));
    ask(gateway.port(), "POST /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").problem(405);
}

#[test]
fn unavailable_answers_503_without_saying_why_and_open_streams_go_on() {
    let gateway = TestGateway::new();
    let mut open = Stream::ready(gateway.port());
    gateway.gateway.set_unavailable(Some("/var/lib/secret: the reason".to_owned()));
    for path in ["/api/events/info", "/nothing", "/"] {
        let answer = get(gateway.port(), path);
        assert!(!answer.problem(503).contains("secret"));
        assert!(!answer.head.header("retry-after").is_empty());
    }
    gateway.say("x");
    assert_eq!(open.next().data, "x");
    gateway.gateway.set_unavailable(None);
    Stream::ready(gateway.port());
}

#[test]
fn a_request_for_a_stream_has_no_body() {
    let gateway = TestGateway::new();
    for (headers, body, status) in [
        ("Content-Length: 3\r\n", "abc", 400),
        ("Content-Length: 3\r\n", "", 400),
        ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", "", 400),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", 400),
        ("Content-Length: 0\r\n", "", 200),
        ("Expect: 100-continue\r\n", "", 200),
        ("Upgrade: websocket\r\nConnection: upgrade\r\n", "", 200),
    ] {
        let mut peer = Peer::ask(
            gateway.port(),
            &format!("GET /api/events/info HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}"),
        );
        let head = peer.head();
        assert_eq!(head.status, status, "{headers}");
    }
}

#[test]
fn what_the_query_cannot_hold_is_400() {
    let gateway = TestGateway::new();
    for query in ["%FF", "id=%00", "id=a&id=b", &["topic=t"; 65].join("&")] {
        get(gateway.port(), &format!("/api/events/info?{query}")).problem(400);
    }
    for name in ["", "id=", "topic="] {
        get(gateway.port(), &format!("/api/events/info?{name}{}", "x".repeat(201))).problem(400);
        Stream::get(gateway.port(), &format!("/api/events/info?{name}{}", "x".repeat(200)), "");
    }
}

// DNS rebinding.
#[test]
fn a_foreign_host_is_421_while_bound_to_loopback() {
    let gateway = TestGateway::with(Settings { server_names: vec!["App.example".to_owned()], ..settings() });
    let with = |host: &str| format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for host in [
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil@localhost",
        "localhost:x",
        "localhost:80:80",
        ":8080",
        "[::1",
        "[::1]x",
        "[::1]:8080:1",
        "::1",
        "127.0.0.2",
        "0.0.0.0",
        "app.example.",
    ] {
        ask(gateway.port(), &with(host)).problem(421);
    }
    for host in ["LOCALHOST", "127.0.0.1", "127.0.0.1:9", "[::1]", "[::1]:8080", "app.EXAMPLE:80"] {
        assert_eq!(ask(gateway.port(), &with(host)).head.status, 200, "{host}");
    }
    ask(gateway.port(), "GET /healthz HTTP/1.1\r\n\r\n").problem(400);
    ask(gateway.port(), "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n").problem(400);
    ask(gateway.port(), "GET /healthz HTTP/1.0\r\n\r\n").problem(421);
    ask(gateway.port(), "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").problem(421);
    ask(gateway.port(), "GET /api/events/info HTTP/1.1\r\nHost: evil.example\r\n\r\n").problem(421);
}

/// Everything that the connection answers, byte by byte, with the date taken out.
fn whole(port: u16, request: &[u8]) -> String {
    let mut peer = Peer::connect(port);
    peer.send(request);
    let text = String::from_utf8(peer.rest()).unwrap();
    text.split("\r\n").filter(|line| !line.starts_with("date: ")).collect::<Vec<_>>().join("\r\n")
}

#[test]
fn a_head_that_is_no_http_is_answered_with_a_whole_problem() {
    let gateway = TestGateway::new();
    let body = "{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\"detail\":\"The request is not valid HTTP/1.1.\"}";
    let expected = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n\
         x-content-type-options: nosniff\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for request in [
        &b"nonsense\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Header: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n",
    ] {
        assert_eq!(whole(gateway.port(), request), expected, "{}", String::from_utf8_lossy(request));
    }
    let after_another = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nnonsense\r\n\r\n";
    let answers = whole(gateway.port(), after_another);
    assert!(answers.contains("{\"status\":\"pass\"}HTTP/1.1 400"), "{answers}");
    assert!(answers.ends_with(&expected), "{answers}");
}

#[test]
fn a_request_target_holds_eight_kilobytes_and_not_a_byte_more() {
    let gateway = TestGateway::new();
    for (length, status) in [(8191, 404), (8192, 404), (8193, 414), (30_000, 414), (200_000, 414)] {
        let mut peer = Peer::connect(gateway.port());
        let target = format!("/{}", "x".repeat(length - 1));
        peer.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        peer.answer(true).problem(status);
    }
}

#[test]
fn a_head_holds_sixteen_kilobytes_and_not_a_byte_more() {
    let gateway = TestGateway::new();
    let fixed = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: \r\n\r\n".len();
    for (length, status) in [(16_383, 200), (16_384, 200), (16_385, 431), (40_000, 431), (300_000, 431)] {
        let mut peer = Peer::connect(gateway.port());
        let value = "x".repeat(length - fixed);
        peer.send(format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: {value}\r\n\r\n").as_bytes());
        let answer = peer.answer(true);
        assert_eq!(answer.head.status, status, "{length}");
        if status == 431 {
            answer.problem(431);
        }
    }
    let many: String = (0..101).map(|n| format!("X-{n}: y\r\n")).collect();
    ask(gateway.port(), &format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{many}\r\n")).problem(431);
}

// Slow loris: a byte now and then holds a connection.
#[test]
fn a_head_that_does_not_arrive_is_408_and_closed() {
    let gateway = TestGateway::new();
    let mut slow = Peer::connect(gateway.port());
    slow.send(b"GET /healthz HTTP/1.1\r\nHost: loc");
    let idle = Peer::connect(gateway.port());
    let began = Instant::now();
    slow.answer(true).problem(408);
    assert!(slow.rest().is_empty());
    assert!(idle.rest().is_empty(), "an idle connection is closed without a word");
    assert!((8..15).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    eventually("closed", || gateway.count(|stats| &stats.connections) == 0);
}

#[test]
fn a_connection_is_kept_for_several_requests_and_the_last_may_be_a_stream() {
    let gateway = TestGateway::new();
    let mut peer = Peer::connect(gateway.port());
    // Byte by byte, then two in one go.
    for byte in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" {
        peer.send(&[*byte]);
    }
    assert_eq!(peer.answer(true).head.status, 200);
    let nothing = "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";
    peer.send(format!("{nothing}{}", support::peer::GET).as_bytes());
    assert_eq!(peer.answer(true).head.status, 404);
    let mut stream = peer.into_stream();
    assert_eq!(stream.next().name, "sse.ready");
    assert_eq!(gateway.count(|stats| &stats.connections_total), 1);
}

// A peer that asks for a large file and never reads it.
#[test]
fn a_peer_that_does_not_take_its_answer_is_disconnected() {
    let (_guard, root) = folder();
    std::fs::write(root.join("large"), vec![0; 20 << 20]).unwrap();
    let gateway = TestGateway::with(Settings {
        static_root: Some(root),
        write_timeout: Duration::from_millis(500),
        ..settings()
    });
    let mut peer = Peer::ask(gateway.port(), "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(peer.head().status, 200);
    eventually("disconnected", || gateway.count(|stats| &stats.connections) == 0);
}

#[test]
fn a_route_is_known_as_soon_as_the_main_thread_has_answered() {
    let gateway = TestGateway::new();
    gateway.answer_refreshes.store(false, std::sync::atomic::Ordering::Relaxed);
    let mut waiting: Vec<Peer> = (0..50)
        .map(|_| Peer::ask(gateway.port(), "GET /api/late/info HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .collect();
    eventually("asked", || gateway.refreshes() == 1);
    gateway.gateway.set_routes(routes(&[("events", "@sse"), ("late", "@sse")]), 2);
    for peer in waiting.drain(..) {
        assert_eq!(peer.into_stream().next().name, "sse.ready");
    }
    assert!(gateway.refreshes() <= 2, "{} readings for one burst", gateway.refreshes());
}

#[test]
fn an_older_generation_does_not_replace_a_newer_one() {
    let gateway = TestGateway::new();
    gateway.gateway.set_routes(routes(&[("newer", "@sse")]), 7);
    gateway.gateway.set_routes(routes(&[("older", "@sse")]), 6);
    Stream::get(gateway.port(), "/api/newer/info", "");
    get(gateway.port(), "/api/older/info").problem(404);
}

// A scanner must not make the database work for every path it tries.
#[test]
fn unknown_paths_cost_at_most_ten_questions_a_second() {
    let gateway = Arc::new(TestGateway::new());
    let began = Instant::now();
    let scanners: Vec<_> = (0..20)
        .map(|scanner| {
            let port = gateway.port();
            std::thread::spawn(move || {
                for n in 0..10 {
                    get(port, &format!("/scan/{scanner}/{n}")).problem(404);
                }
            })
        })
        .collect();
    scanners.into_iter().for_each(|scanner| scanner.join().unwrap());
    let allowed = 2 + began.elapsed().as_millis() / 100;
    assert!(gateway.refreshes() as u128 <= allowed, "{} questions, allowed {allowed}", gateway.refreshes());
}

#[test]
fn without_an_answer_of_the_main_thread_an_unknown_path_is_503_after_two_seconds() {
    let gateway = TestGateway::new();
    gateway.answer_refreshes.store(false, std::sync::atomic::Ordering::Relaxed);
    let began = Instant::now();
    get(gateway.port(), "/api/unknown").problem(503);
    let took = began.elapsed();
    assert!((1900..4000).contains(&took.as_millis()), "{took:?}");
}
