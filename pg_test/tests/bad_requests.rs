//! Malformed, oversized and slow requests get an answer that says so, and the gateway goes on (C6.1).

mod common;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::http::{Client, Connection, Request, Response};
use common::calls::{self, Api};
use common::{Corner, SOON, is_problem};
use serde_json::json;

/// Sends bytes and reads the answer to the end of the connection or of its body.
fn answer(http: Client, bytes: &[u8]) -> Result<Response> {
    let mut connection = http.connect()?;
    connection.send_bytes(bytes)?;
    connection.response("GET")
}

fn get(target: &str, headers: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
}

#[test]
fn malformed_requests_get_400_and_the_gateway_goes_on() -> Result<()> {
    let corner = Corner::new("malformed")?;
    corner.announcer("f", "@sse")?;
    let mut stream = corner.stream("f/info")?;
    for bytes in [
        &b"nonsense\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Header: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
        b"GET /\xff HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ] {
        is_problem(&answer(corner.http, bytes)?, 400, &String::from_utf8_lossy(bytes))?;
    }
    corner.sql("select f('goes on')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "goes on");
    Ok(())
}

#[test]
fn a_query_that_cannot_be_used_gets_400() -> Result<()> {
    let corner = Corner::new("query")?;
    corner.announcer("f", "@sse")?;
    let fits = "x".repeat(200);
    assert_eq!(corner.status(&format!("f/info?{fits}"))?, 200);
    assert_eq!(corner.status(&format!("f/info?id={fits}"))?, 200);
    for query in
        [&format!("{fits}x"), &format!("id={fits}x"), "%FF", "id=%00", "id=a&id=b", &format!("topic={fits}x")]
    {
        is_problem(&corner.http.get(&corner.path(&format!("f/info?{query}")))?, 400, query)?;
    }
    Ok(())
}

#[test]
fn an_unknown_path_gets_404() -> Result<()> {
    let corner = Corner::new("unknown_path")?;
    for path in [
        "/",
        "/api",
        "/api/nothing/info",
        "/favicon.ico",
        "/api/../healthz",
        "/%2e%2e/etc/passwd",
        "//",
        "/healthz%00",
    ] {
        is_problem(&corner.http.get(path)?, 404, path)?;
    }
    Ok(())
}

#[test]
fn a_target_that_is_too_long_gets_414() -> Result<()> {
    let corner = Corner::new("long_target")?;
    for length in [9_000, 70_000] {
        let target = format!("/{}", "x".repeat(length));
        is_problem(&answer(corner.http, &get(&target, ""))?, 414, &length.to_string())?;
    }
    Ok(())
}

#[test]
fn a_head_that_is_too_large_gets_431() -> Result<()> {
    let corner = Corner::new("large_head")?;
    for (what, headers) in [
        ("one long header", format!("X: {}\r\n", "x".repeat(17_000))),
        ("many headers", (0..500).map(|n| format!("X-{n}: y\r\n")).collect()),
        ("many long headers", (0..99).map(|n| format!("X-{n}: {}\r\n", "y".repeat(300))).collect()),
    ] {
        is_problem(&answer(corner.http, &get("/healthz", &headers))?, 431, what)?;
    }
    Ok(())
}

// DNS rebinding: evil.example resolves to 127.0.0.1 and its page asks for our streams.
#[test]
fn a_host_that_is_not_ours_gets_421_while_bound_to_loopback() -> Result<()> {
    let corner = Corner::new("wrong_host")?;
    corner.announcer("f", "@sse")?;
    let path = corner.path("f/info");
    for host in
        ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.2", "169.254.169.254"]
    {
        let request = Request::get(&path).header("Host", host);
        is_problem(&corner.http.request(&request)?, 421, host)?;
    }
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80"] {
        let request = Request::new("HEAD", &path).header("Host", host);
        assert_eq!(corner.http.request(&request)?.status(), 200, "{host}");
    }
    Ok(())
}

#[test]
fn a_get_with_a_body_is_no_request_for_a_stream() -> Result<()> {
    let corner = Corner::new("with_body")?;
    corner.announcer("f", "@sse")?;
    let request = Request::get(&corner.path("f/info")).body("x");
    is_problem(&corner.http.request(&request)?, 400, "a body")?;
    let empty = format!("{}?with_body", corner.path("f/info"));
    let mut stream = corner.http.events_with(&Request::get(&empty).header("Content-Length", "0"))?;
    corner.sql("select f('x')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "x");
    Ok(())
}

// Request smuggling: two readers that disagree about where a body ends.
#[test]
fn contradicting_lengths_are_never_a_stream_nor_two_requests() -> Result<()> {
    let corner = Corner::new("smuggle")?;
    corner.announcer("f", "@sse")?;
    for headers in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length: -1\r\n",
    ] {
        let bytes = [
            get(&corner.path("f/info"), headers),
            b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ]
        .concat();
        let mut connection = corner.http.connect()?;
        connection.send_bytes(&bytes)?;
        let all = String::from_utf8_lossy(&connection.read_to_close()?).into_owned();
        ensure!(all.starts_with("HTTP/1.1 400"), "{headers:?}: {all}");
        assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{headers:?}: {all}");
    }
    Ok(())
}

#[test]
fn requests_in_one_go_are_answered_in_order_and_a_stream_may_be_the_last() -> Result<()> {
    let corner = Corner::new("pipelined")?;
    corner.announcer("f", "@sse")?;
    let mut connection = corner.http.connect()?;
    let bytes =
        [get("/healthz", ""), get("/nothing", ""), get(&corner.path("f/info?pipelined"), "")].concat();
    connection.send_bytes(&bytes)?;
    assert_eq!(connection.response("GET")?.status(), 200);
    assert_eq!(connection.response("GET")?.status(), 404);
    let head = connection.head()?;
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    Ok(())
}

#[test]
fn a_head_may_arrive_byte_by_byte() -> Result<()> {
    let corner = Corner::new("byte_by_byte")?;
    let mut connection = corner.http.connect()?;
    for byte in get("/healthz", "Connection: close\r\n") {
        connection.send_bytes(&[byte])?;
    }
    assert_eq!(connection.response("GET")?.status(), 200);
    Ok(())
}

// Slowloris: heads that never end hold sockets.
#[test]
fn a_head_that_does_not_arrive_in_time_is_closed() -> Result<()> {
    let corner = Corner::new("slow_head")?;
    let http = corner.http.within(Duration::from_secs(40));
    let mut connections: Vec<Connection> = Vec::new();
    for bytes in
        [&b""[..], b"GET /healthz HTTP/1.1\r\nHost: local", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"]
    {
        let mut connection = http.connect()?;
        connection.send_bytes(bytes)?;
        connections.push(connection);
    }
    let started = Instant::now();
    for (connection, is_told) in connections.iter_mut().zip([false, true, true]) {
        let all = connection.read_to_close()?;
        let text = String::from_utf8_lossy(&all);
        // A connection on which nothing was sent may be between two requests, and is closed without a word.
        ensure!(if is_told { text.starts_with("HTTP/1.1 408") } else { text.is_empty() }, "{text}");
    }
    ensure!(started.elapsed() < Duration::from_secs(35), "{:?}", started.elapsed());
    assert_eq!(corner.http.get("/healthz")?.status(), 200);
    Ok(())
}

// Attack: paths, hosts, and names that a role may choose, write lines of their own into the server log.
#[test]
fn what_comes_from_outside_is_escaped_in_the_log() -> Result<()> {
    let cluster = calls::start(calls::builder())?;
    let api = Api::of(&cluster, "escaping")?;
    let mark = cluster.log_mark()?;
    for bytes in [
        &b"GET /\x1b[2Jx\rFATAL: y HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"GET /%0aFATAL:%20forged HTTP/1.1\r\nHost: evil\x1b[31m\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\n\r\n",
    ] {
        answer(api.http, bytes)?;
    }
    // The gateway's messages come in order: after this one nothing more is said of those requests. It names a
    // login that cannot log in.
    let name = "\"x\nFATAL:  forged\x1b[31m\"";
    api.sql(&format!(
        "create function {name}() returns table (user_id text, hash text) language sql as $$ select '1', 'h' $$;
         comment on function {name}() is e'HTTP POST /log-in-here\\n@login'"
    ))?;
    assert_eq!(api.http.request(&Request::new("POST", "/log-in-here").json(&json!({})))?.status(), 500);
    cluster.wait_for_log(mark, r"the login escaping.x\nFATAL:  forged\u{1b}[31m is answered with 500")?;
    let log = cluster.log_since(mark)?;
    ensure!(
        !log.contains("\x1b") && !log.lines().any(|line| line.trim_start().starts_with("FATAL")),
        "{log}"
    );
    Ok(())
}
