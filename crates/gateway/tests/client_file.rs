//! The files for clients that `sse.serve_client` serves: to whom, how, and when not.
//!
//! Not for what is in them, nor for when they are made: `pg_test/tests/typescript_served.rs`,
//! `documents_served.rs`.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use sse_gateway::{AuthSettings, Settings};
use sse_proto::client_file::ClientFile;
use support::peer::{Peer, ask, get};
use support::{TestGateway, auth, routes, settings};

const PATH: &str = "/api/client.ts";

fn serving(auth: AuthSettings) -> TestGateway {
    TestGateway::with(Settings { client_prefix: Some("/api".to_owned()), auth, ..settings() })
}

fn request(method: &str, headers: &str) -> String {
    format!("{method} {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn it_is_sent_once_and_again_when_it_is_another() {
    let gateway = serving(auth());
    assert_eq!(get(gateway.port(), PATH).problem(503), "The client is not made yet.");
    gateway.gateway.routes().set_client(ClientFile::TypeScript, Some(&text("export {};\n")));
    let first = ask(gateway.port(), &request("GET", ""));
    assert_eq!((first.head.status, &*first.body), (200, &b"export {};\n"[..]));
    assert_eq!(first.head.header("content-type"), "text/typescript; charset=utf-8");
    assert_eq!(first.head.header("cache-control"), "no-cache");
    assert_eq!(first.head.header("x-content-type-options"), "nosniff");
    let tag = first.head.header("etag").to_owned();
    for (tags, status) in [
        (tag.clone(), 304),
        (format!("\"x\", W/{tag}"), 304),
        ("*".to_owned(), 304),
        ("\"x\"".to_owned(), 200),
    ] {
        let answer = ask(gateway.port(), &request("GET", &format!("If-None-Match: {tags}\r\n")));
        assert_eq!((answer.head.status, answer.head.header("etag")), (status, &*tag), "{tags}");
        assert_eq!(answer.body.is_empty(), status == 304);
    }
    let head = ask(gateway.port(), &request("HEAD", ""));
    assert_eq!((head.head.status, head.head.header("content-length")), (200, "11"));
    ask(gateway.port(), &request("POST", "Content-Length: 0\r\n")).problem(405);
    assert_eq!(ask(gateway.port(), &request("OPTIONS", "")).head.status, 204);

    gateway.gateway.routes().set_client(ClientFile::TypeScript, Some(&text("export const x = 1;\n")));
    let second = ask(gateway.port(), &request("GET", &format!("If-None-Match: {tag}\r\n")));
    assert_eq!(second.head.status, 200);
    assert_ne!(second.head.header("etag"), tag);
    gateway.gateway.routes().set_client(ClientFile::TypeScript, Some(&Bytes::new()));
    assert!(get(gateway.port(), PATH).problem(503).contains("too large"));
}

#[test]
fn each_file_has_its_path_its_type_and_its_fate() {
    let gateway = serving(auth());
    let files = [
        (
            "client.ts",
            ClientFile::TypeScript,
            "text/typescript; charset=utf-8",
            "sse.typescript_client('schema')",
        ),
        ("openapi.json", ClientFile::OpenApi, "application/json", "sse.openapi('schema')"),
        ("asyncapi.json", ClientFile::AsyncApi, "application/json", "sse.asyncapi('schema')"),
    ];
    gateway.gateway.set_routes(routes(&[]), 1);
    let mut tags = Vec::new();
    for (name, file, kind, function) in files {
        let path = format!("/api/{name}");
        assert!(get(gateway.port(), &path).problem(503).ends_with("is not made yet."));
        gateway.gateway.routes().set_client(file, Some(&Bytes::from(name)));
        let answer = get(gateway.port(), &path);
        assert_eq!((answer.head.status, &*answer.body), (200, name.as_bytes()));
        assert_eq!(answer.head.header("content-type"), kind);
        assert_eq!(answer.head.header("x-content-type-options"), "nosniff");
        tags.push(answer.head.header("etag").to_owned());
        gateway.gateway.routes().set_client(file, Some(&Bytes::new()));
        assert!(get(gateway.port(), &path).problem(503).contains(function));
    }
    tags.dedup();
    assert_eq!(tags.len(), 3);
    for path in [
        "/api/openapi.json/x",
        "/openapi.json",
        "/api/openapi.jsonx",
        "/api//openapi.json",
        "/apiopenapi.json",
    ] {
        get(gateway.port(), path).problem(404);
    }
}

// Attack: a stranger asks for the files, to learn what there is.
#[test]
fn a_stranger_gets_none_where_everybody_must_be_known() {
    let gateway = serving(AuthSettings { require_authentication: true, ..auth() });
    for file in ClientFile::ALL {
        gateway.gateway.routes().set_client(file, Some(&text("secret")));
        get(gateway.port(), &format!("/api/{}", file.name())).problem(401);
    }
    let bad = ask(gateway.port(), &request("GET", "Authorization: Bearer x.y.z\r\nIf-None-Match: *\r\n"));
    bad.problem(401);
}

#[test]
fn without_the_setting_there_is_nothing_at_its_path() {
    let gateway = TestGateway::new();
    gateway.gateway.routes().set_client(ClientFile::TypeScript, Some(&text("secret")));
    gateway.gateway.set_routes(routes(&[]), 1);
    assert_eq!(
        get(gateway.port(), PATH).problem(404),
        "There is nothing at this path. Calls of routines are off: sse.call_role names no role."
    );
}

// Attack: peers ask for the client again and again, and read nothing of it.
#[test]
fn what_is_not_read_is_counted_as_an_answer() {
    let gateway = serving(auth());
    let large = Bytes::from(vec![b'x'; 8 << 20]);
    gateway.gateway.routes().set_client(ClientFile::TypeScript, Some(&large));
    let mut peers = Vec::new();
    // One address has half of 128 MB; a socket takes some of it at once, and it counts until its last byte.
    for _ in 0..8 {
        let mut peer = Peer::connect(gateway.port());
        peer.send(request("GET", "").as_bytes());
        peers.push(peer);
    }
    support::eventually("no room is left", || ask(gateway.port(), &request("GET", "")).head.status == 503);
    drop(peers);
    support::eventually("there is room again", || {
        ask(gateway.port(), &request("GET", "")).head.status == 200
    });
}
