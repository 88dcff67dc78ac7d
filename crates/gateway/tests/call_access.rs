//! Who may call, from which pages, and with which token (C4.7, C7.5).
#![allow(clippy::unwrap_used)]

mod support;

use sse_gateway::{AuthSettings, CorsOrigins, Settings, TrustedProxies};
use sse_proto::query::TokenParameter;
use support::calls::{JSON, called, gateway, get, post, refused, request, serve, with};
use support::peer::{Peer, ask};
use support::settings;
use support::tokens::{bearer, token_of};

#[test]
fn who_may_call_is_said_before_a_byte_of_the_body_is_read() {
    let gateway = gateway();
    let try_call = |target: &str, token: Option<&str>| {
        let token = token.map(bearer).unwrap_or_default();
        // The body never comes.
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{JSON}{token}Content-Length: 2\r\n\r\n");
        refused(&gateway, &head)
    };
    let bob = token_of("bob", &["user"]);
    for (target, token, status) in [
        ("/api/known", None, 401),
        ("/api/staff", None, 401),
        ("/api/staff", Some(bob.as_str()), 403),
        ("/api/known", Some("x"), 401),
        ("/api/send", Some("x"), 401),
    ] {
        let answer = try_call(target, token);
        answer.problem(status);
        assert_eq!(answer.head.header("connection"), "close", "the rest is not another request");
    }
    for (target, token) in [
        ("/api/known", &bob),
        ("/api/staff", &token_of("alice", &[])),
        ("/api/staff", &token_of("x", &["Admin"])),
    ] {
        let (call, answer) = post(&gateway, target, &bearer(token), "{}");
        assert_eq!(answer.head.status, 200, "{}", call.label);
    }
}

#[test]
fn while_everybody_must_be_known_the_anonymous_call_nothing() {
    let auth = AuthSettings { require_authentication: true, ..AuthSettings::default() };
    let gateway = with(Settings { auth, ..settings() });
    for target in ["/api/get-all", "/api/nothing"] {
        refused(&gateway, &get(target)).problem(401);
    }
    let headers = bearer(&token_of("alice", &[]));
    assert_eq!(called(&gateway, &request("GET", "/api/get-all", &headers, ""), "x").1.head.status, 200);
    assert_eq!(ask(gateway.port(), &request("GET", "/api/nothing", &headers, "")).head.status, 404);
}

#[test]
fn a_token_in_the_url_is_no_argument() {
    let token_parameter = TokenParameter::parse("token").unwrap();
    let auth = AuthSettings { token_parameter, ..AuthSettings::default() };
    let gateway = with(Settings { auth, ..settings() });
    let token = token_of("alice", &[]);
    // `id` and `topic` mean something for streams alone; of calls they are arguments like others.
    for query in ["tags=a&", "limit=3&", ""] {
        let (call, _) = called(&gateway, &get(&format!("/api/list?{query}token={token}")), "x");
        assert_eq!(call.setting("request.user_id"), "alice");
        assert!(!format!("{:?}", call.parameters).contains(&token));
    }
    let (call, _) =
        called(&gateway, &request("DELETE", &format!("/api/remove?id=&token={token}"), "", ""), "x");
    assert_eq!(call.setting("request.user_id"), "alice");
    let twice = format!("/api/list?token={token}&token={token}");
    refused(&gateway, &get(&twice)).problem(400);
    refused(&gateway, &get(&format!("/api/list?id=1&id=2&token={token}&token={token}"))).problem(401);
}

#[test]
fn pages_of_listed_origins_may_call_and_read_and_others_may_not() {
    let cors_origins = CorsOrigins::parse("https://app.example").unwrap();
    let gateway = with(Settings { cors_origins, ..settings() });
    let preflight = "Origin: https://app.example\r\nAccess-Control-Request-Method: PUT\r\n";
    let answer = refused(&gateway, &request("OPTIONS", "/both", preflight, ""));
    assert_eq!(answer.head.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", "https://app.example"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET, HEAD, PUT, OPTIONS"),
    ] {
        assert_eq!(answer.head.header(name), value);
    }
    let names = answer.head.header("access-control-allow-headers").to_ascii_lowercase();
    for name in ["content-type", "authorization", "x-execution-id"] {
        assert!(names.contains(name), "{names}");
    }
    let (_, answer) = called(&gateway, &request("PUT", "/both", "Origin: https://app.example\r\n", ""), "x");
    assert_eq!(answer.head.header("access-control-allow-origin"), "https://app.example");
    let answer = refused(&gateway, &request("PUT", "/both", "Origin: https://evil.example\r\n", ""));
    answer.problem(403);
    assert_eq!(answer.head.header("access-control-allow-origin"), "");
    // Whoever reads is kept out by the browser, and nothing is changed.
    let (_, answer) = called(&gateway, &request("GET", "/both", "Origin: https://evil.example\r\n", ""), "x");
    assert_eq!(answer.head.header("access-control-allow-origin"), "");
}

#[test]
fn a_call_that_changes_something_must_come_from_here() {
    let gateway = with(Settings {
        trusted_proxies: TrustedProxies::parse("127.0.0.1").unwrap(),
        server_names: vec!["proxied".to_owned()],
        ..settings()
    });
    let cookie = format!("Cookie: sse_session={}\r\n", token_of("alice", &[]));
    let port = gateway.port();
    for (headers, cookie, may) in [
        ("", "", true),
        ("", cookie.as_str(), false),
        ("Origin: http://localhost\r\n", &cookie, true),
        ("Origin: https://localhost\r\n", &cookie, true),
        ("Origin: http://evil.example\r\n", "", false),
        ("Origin: null\r\n", "", false),
        ("Sec-Fetch-Site: same-origin\r\n", &cookie, true),
        ("Sec-Fetch-Site: cross-site\r\n", "", false),
        ("X-Forwarded-Host: app.example\r\nOrigin: https://app.example\r\n", &cookie, true),
        ("X-Forwarded-Host: app.example\r\nOrigin: http://localhost\r\n", &cookie, false),
    ] {
        let request = request("PUT", "/both", &format!("{headers}{cookie}"), "");
        let mut peer = Peer::ask(port, &request);
        if may {
            serve(&gateway, "x");
        }
        let expected = if may { 200 } else { 403 };
        assert_eq!(peer.answer(true).head.status, expected, "{headers}{}", cookie.is_empty());
        assert!(gateway.desk().take().is_none());
    }
    let (_, answer) =
        called(&gateway, &request("GET", "/both", &format!("Origin: null\r\n{cookie}"), ""), "x");
    assert_eq!(answer.head.status, 200);
}

#[test]
fn a_forwarded_host_of_a_stranger_counts_for_nothing() {
    let gateway = gateway();
    let headers = "X-Forwarded-Host: evil.example\r\nOrigin: https://evil.example\r\n";
    refused(&gateway, &request("PUT", "/both", headers, "")).problem(403);
}
