//! What a request over HTTP/2 is taken for: its host, its target, the page it comes from; and what ordinary
//! answers have beside streams: files, errors, preflights.
#![allow(clippy::unwrap_used)]

mod support;

use sse_gateway::{CorsOrigins, Settings};
use sse_proto::call::Shape;
use support::calls::{callable, calling, serve, shape, try_take};
use support::h2::{END_HEADERS, END_STREAM, H2Peer, HEADERS, fields, frame};
use support::tls::{Site, secure};
use support::tokens::token_of;
use support::{TestGateway, auth, folder};

fn ask(peer: &mut H2Peer, method: &str, authority: &str, more: &[(&str, &str)]) -> u16 {
    let id = peer.next_id();
    let pseudo =
        [(":method", method), (":scheme", "https"), (":path", "/healthz"), (":authority", authority)];
    let block = fields(pseudo.into_iter().chain(more.iter().copied()));
    peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, id, &block));
    peer.answer(id).0
}

// Field: a client that writes the name as its user typed it into one of the two (RFC 9113 §8.3.1: compared
// as RFC 3986 §6.2 has it).
#[test]
fn a_host_that_is_the_authority_in_other_letters_or_with_its_port_is_no_other_host() {
    let (site, gateway) = secure();
    let mut peer = H2Peer::connect(gateway.port(), &site);
    for (authority, hosts, status) in [
        ("localhost", &["LOCALHOST"][..], 200),
        ("LocalHost", &["localhost"], 200),
        ("localhost:443", &["localhost"], 200),
        ("localhost", &["localhost:443"], 200),
        ("[::1]:8443", &["[::1]:8443"], 200),
        ("localhost:8443", &["localhost"], 400),
        ("localhost:8443", &["localhost:8444"], 400),
        ("localhost", &["localhost:80"], 400),
        ("localhost", &["127.0.0.1"], 400),
        ("localhost", &[""], 400),
        ("localhost", &["localhost."], 400),
        ("localhost", &["localhost", "localhost"], 400),
        ("localhost", &["evil.example", "localhost"], 400),
    ] {
        let more: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        assert_eq!(ask(&mut peer, "GET", authority, &more), status, "{authority} {hosts:?}");
    }
}

#[test]
fn the_asterisk_is_a_target_of_options_alone() {
    let (site, gateway) = secure();
    let mut peer = H2Peer::connect(gateway.port(), &site);
    for (method, status) in
        [("OPTIONS", 204), ("GET", 400), ("HEAD", 400), ("POST", 400), ("DELETE", 400), ("X", 400)]
    {
        let id = peer.begin(method, "*", &[], END_STREAM);
        assert_eq!(peer.answer(id).0, status, "{method}");
    }
}

// Cross-site request forgery by whoever is between: a page of `http://` with our host and port, which only
// somebody on the way can show, calls over TLS with the visitor's cookie.
#[test]
fn a_page_without_tls_of_the_same_host_and_port_is_another_origin() {
    let site = Site::new();
    let cors_origins = CorsOrigins::parse("http://listed.example").unwrap();
    let settings = Settings { auth: auth(), cors_origins, ..site.settings() };
    let gateway = calling(settings, &[callable("send", "HTTP POST", &[], shape(Shape::Scalar))]);
    let mut peer = H2Peer::connect(gateway.port(), &site);
    let cookie = format!("__Host-sse_session={}", token_of("alice", &[]));
    for (origin, status) in [
        ("https://localhost", 200),
        ("https://LOCALHOST:443", 200),
        ("http://localhost", 403),
        ("http://localhost:443", 403),
        ("http://localhost:80", 403),
        ("https://localhost:80", 403),
        ("http://listed.example", 200),
        ("null", 403),
    ] {
        for cookie in [&[("cookie", cookie.as_str())][..], &[]] {
            let fields = [&[("origin", origin)], cookie].concat();
            let id = peer.begin("POST", "/api/send", &fields, END_STREAM);
            if status == 200 {
                serve(&gateway, "sent");
            }
            assert_eq!(peer.answer(id).0, status, "{origin} {}", cookie.len());
            assert!(try_take(&gateway.gateway).is_none(), "{origin}");
        }
    }
}

#[test]
fn files_come_whole_beside_each_other_and_beside_a_stream() {
    let (_guard, root) = folder();
    let large: Vec<u8> = (0..300_000_u32).map(|n| (n / 7) as u8).collect();
    std::fs::write(root.join("index.html"), "<p>hello").unwrap();
    std::fs::write(root.join("large.bin"), &large).unwrap();
    std::fs::write(root.join("empty.txt"), "").unwrap();
    let site = Site::new();
    let gateway = TestGateway::with(Settings { static_root: Some(root), ..site.settings() });
    // A window that fits no part: each ends in the middle of one.
    let mut peer = H2Peer::with_window(gateway.port(), &site, 10_007);
    let stream = peer.open_stream();
    let files: Vec<u32> = (0..20).map(|_| peer.get("/large.bin")).collect();
    for id in files {
        peer.answer(id);
        let got = peer.got(id);
        assert!(got.status == Some(200) && got.data == large, "{}", got.data.len());
    }
    for (method, path, status, text) in [
        ("GET", "/", 200, "<p>hello"),
        ("GET", "/empty.txt", 200, ""),
        ("HEAD", "/large.bin", 200, ""),
        ("GET", "/../large.bin", 404, "\"type\":\"about:blank\""),
        ("POST", "/index.html", 405, "\"type\":\"about:blank\""),
    ] {
        let id = peer.begin(method, path, &[], END_STREAM);
        let (found, body) = peer.answer(id);
        assert!(found == status && (body == text || status >= 400 && body.contains(text)), "{path}: {body}");
    }
    gateway.say("on");
    peer.until_text(stream, "data: on\n\n");
}
