//! `@login` and `@logout`: cookies, tokens, and what an old cookie may not stand in the way of (C4.7, C7.5).
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use sse_gateway::{AuthSettings, Secret, Settings, TrustedProxies};
use sse_proto::call::Shape;
use support::calls::{JSON, callable, called, calling, no_row, refused, request, row, shape, take};
use support::peer::{Answer, End, Peer, Stream};
use support::tokens::{bearer, now, token, token_of};
use support::{TestGateway, auth, eventually, settings};

fn with(auth: AuthSettings) -> TestGateway {
    started(Settings { auth, ..settings() })
}

fn started(settings: Settings) -> TestGateway {
    let user = || row(&["user_id", "user_name"]);
    let callables = [
        callable("login", "HTTP POST\n@login\n@anonymous", &["_username?"], user()),
        callable("logout", "HTTP POST\n@logout", &[], shape(Shape::Void)),
        callable("whoami", "HTTP GET\n@authorize", &[], shape(Shape::Scalar)),
        callable("public", "HTTP GET\n@anonymous", &[], shape(Shape::Scalar)),
        callable("plain", "HTTP GET", &[], shape(Shape::Scalar)),
        callable("send", "HTTP POST\n@authorize", &[], shape(Shape::Void)),
        callable("events", "@sse\n@authorize", &[], shape(Shape::Scalar)),
    ];
    calling(settings, &callables)
}

fn log_in(gateway: &TestGateway, headers: &str, row: &Value) -> Answer {
    let request = request("POST", "/api/login", &format!("{JSON}{headers}"), "{\"username\":\"a\"}");
    called(gateway, &request, &row.to_string()).1
}

fn cookie_of(answer: &Answer) -> String {
    let cookie = answer.head.header("set-cookie");
    let value = cookie.split(';').next().unwrap();
    assert!(value.starts_with("sse_session=ey"), "{cookie}");
    format!("Cookie: {value}\r\n")
}

fn whoami(gateway: &TestGateway, headers: &str) -> String {
    let (call, answer) = called(gateway, &request("GET", "/api/whoami", headers, ""), "x");
    assert_eq!(answer.head.status, 200);
    format!(
        "{}/{}/{}",
        call.setting("request.user_id"),
        call.setting("request.user_name"),
        call.setting("request.user_roles")
    )
}

fn log_out(gateway: &TestGateway, headers: &str) -> Answer {
    called(
        gateway,
        &request("POST", "/api/logout", &format!("Sec-Fetch-Site: same-origin\r\n{headers}"), ""),
        "",
    )
    .1
}

const ALICE: &str =
    "{\"scheme\":\"cookies\",\"user_id\":42,\"user_name\":\"alice\",\"user_roles\":[\"a\",\"b\"]}";

fn alice() -> Value {
    serde_json::from_str(ALICE).unwrap()
}

#[test]
fn whoever_logs_in_is_known_by_the_cookie_in_calls_and_streams() {
    let gateway = with(AuthSettings {
        jwt_issuer: Some("us".to_owned()),
        jwt_audience: Some("them".to_owned()),
        session_lifetime: Duration::from_secs(3600),
        ..auth()
    });
    let answer = log_in(&gateway, "", &alice());
    assert_eq!((answer.head.status, answer.body.len()), (200, 0));
    let cookie = answer.head.header("set-cookie");
    assert!(cookie.ends_with("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"), "{cookie}");
    assert_eq!(answer.head.header("cache-control"), "no-store");
    let cookie = cookie_of(&answer);
    assert_eq!(whoami(&gateway, &cookie), "42/alice/[\"a\",\"b\"]");
    Stream::ready_at(gateway.port(), "/api/events/info", &cookie);
    // Somebody else's server has other keys.
    let other = with(AuthSettings { jwt_secret: Some(Secret::try_new([b'y'; 32]).unwrap()), ..auth() });
    refused(&other, &request("GET", "/api/whoami", &cookie, "")).problem(401);
}

#[test]
fn no_row_is_401_and_sets_no_cookie() {
    let gateway = with(auth());
    let mut peer = Peer::ask(gateway.port(), &request("POST", "/api/login", JSON, "{}"));
    let call = take(&gateway);
    gateway.desk().answer(call.id, no_row(call.id));
    let answer = peer.answer(true);
    answer.problem(401);
    assert_eq!(answer.head.header("set-cookie"), "");
    let answer = log_in(&gateway, "", &json!({"status": 403, "body": "locked"}));
    assert_eq!(answer.problem(403), "locked");
    assert_eq!(answer.head.header("set-cookie"), "");
    // A login of NpgsqlRest's that leaves comparing the password to its host would let everybody in. It is a
    // mistake of the routine, which is in the log, and not in the answer.
    for name in ["hash", "Hash"] {
        let answer = log_in(&gateway, "", &json!({"user_id": 1, name: "secret-hash"}));
        assert!(!answer.problem(500).contains("hash"));
    }
    eventually("said", || !gateway.log().is_empty());
    assert!(gateway.log()[0].contains("public.login") && !gateway.log()[0].contains("secret-hash"));
}

#[test]
fn the_cookie_is_secure_when_a_trusted_proxy_says_https() {
    let trusted_proxies = TrustedProxies::parse("127.0.0.1").unwrap();
    let gateway = started(Settings { auth: auth(), trusted_proxies, ..settings() });
    let answer = log_in(&gateway, "X-Forwarded-Proto: https\r\n", &alice());
    assert!(answer.head.header("set-cookie").ends_with("; SameSite=Lax; Secure"));
    let answer = log_in(&gateway, "X-Forwarded-Proto: http\r\n", &alice());
    assert!(answer.head.header("set-cookie").ends_with("; SameSite=Lax"));
    let stranger = with(auth());
    let answer = log_in(&stranger, "X-Forwarded-Proto: https\r\n", &alice());
    assert!(answer.head.header("set-cookie").ends_with("; SameSite=Lax"));
}

#[test]
fn the_scheme_bearer_answers_with_the_token() {
    let gateway = with(auth());
    let answer = log_in(&gateway, "", &json!({"scheme": "bearer", "user_id": 7}));
    assert_eq!((answer.head.status, answer.head.header("set-cookie")), (200, ""));
    assert_eq!(whoami(&gateway, &bearer(answer.text())), "7//");
}

#[test]
fn without_a_secret_a_login_is_503_before_it_runs_and_says_how_to_make_one() {
    let gateway = with(AuthSettings::default());
    let answer = refused(&gateway, &request("POST", "/api/login", JSON, "{}"));
    assert!(answer.problem(503).contains("sse.jwt_secret"));
    let missing = AuthSettings { jwt_secret_file: Some("/nowhere/at/all".into()), ..auth() };
    let answer = refused(&with(missing), &request("POST", "/api/login", JSON, "{}"));
    assert!(!answer.problem(503).contains("nowhere"), "no paths of ours");
}

#[test]
fn logging_out_ends_the_token_its_streams_and_its_cookie_and_no_other() {
    let gateway = with(auth());
    let cookie = cookie_of(&log_in(&gateway, "", &alice()));
    let later = cookie_of(&log_in(&gateway, "", &alice()));
    assert_ne!(cookie, later);
    let mut ends = Stream::get(gateway.port(), "/api/events/info", &cookie);
    let mut stays = Stream::get(gateway.port(), "/api/events/info", &later);
    assert_eq!((ends.next().name, stays.next().name), ("sse.ready".to_owned(), "sse.ready".to_owned()));
    let answer = log_out(&gateway, &cookie);
    assert_eq!(answer.head.status, 204);
    assert_eq!(answer.head.header("set-cookie"), "sse_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    assert_eq!(ends.end().0, End::Clean);
    refused(&gateway, &request("GET", "/api/whoami", &cookie, "")).problem(401);
    let bearer = cookie.replace("Cookie: sse_session=", "Authorization: Bearer ");
    refused(&gateway, &request("GET", "/api/whoami", &bearer, "")).problem(401);
    assert_eq!(whoami(&gateway, &later), "42/alice/[\"a\",\"b\"]");
    gateway.publish(&[support::raise("still here")]);
    assert_eq!(stays.next().data, "still here");
    // Logging out twice is no mistake.
    assert_eq!(log_out(&gateway, &cookie).head.status, 204);
}

#[test]
fn a_logout_that_fails_logs_nobody_out() {
    let gateway = with(auth());
    let cookie = cookie_of(&log_in(&gateway, "", &alice()));
    let headers = format!("Sec-Fetch-Site: same-origin\r\n{cookie}");
    let mut peer = Peer::ask(gateway.port(), &request("POST", "/api/logout", &headers, ""));
    let call = take(&gateway);
    gateway.desk().answer(call.id, support::calls::failed(call.id, b"P0001", "not now", true));
    let answer = peer.answer(true);
    assert_eq!(answer.problem(400), "not now");
    assert_eq!(answer.head.header("set-cookie"), "");
    assert_eq!(whoami(&gateway, &cookie), "42/alice/[\"a\",\"b\"]");
}

// Locked out by an old cookie: the page could neither log in nor out.
#[test]
fn a_bad_cookie_keeps_nobody_from_logging_in_or_out_and_is_cleared() {
    let gateway = with(auth());
    let expired = token(&json!({"sub": "alice", "exp": now() - 600}));
    let cleared = "sse_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax";
    for bad in [expired.as_str(), "x"] {
        let bad = format!("Sec-Fetch-Site: same-origin\r\nCookie: sse_session={bad}\r\n");
        for (verb, target) in [("POST", "/api/logout"), ("GET", "/api/public")] {
            let (call, answer) = called(&gateway, &request(verb, target, &bad, ""), "x");
            assert_eq!(call.setting("request.user_id"), "", "{target}");
            assert_eq!(answer.head.header("set-cookie"), cleared, "{target}");
        }
        cookie_of(&log_in(&gateway, &bad, &alice()));
        let denied = log_in(&gateway, &bad, &json!({"status": false}));
        denied.problem(401);
        assert_eq!(denied.head.header("set-cookie"), cleared);
        for target in ["/api/whoami", "/api/plain", "/api/nothing", "/api/events/info"] {
            let answer = refused(&gateway, &request("GET", target, &bad, ""));
            answer.problem(401);
            assert_eq!(answer.head.header("set-cookie"), cleared, "{target}");
        }
    }
    // A bad header is never overlooked.
    for target in ["/api/login", "/api/logout"] {
        refused(&gateway, &request("POST", target, "Authorization: Bearer x\r\n", "")).problem(401);
    }
}

#[test]
fn while_everybody_must_be_known_one_can_still_log_in() {
    let gateway = with(AuthSettings { require_authentication: true, ..auth() });
    let cookie = cookie_of(&log_in(&gateway, "", &alice()));
    assert_eq!(called(&gateway, &request("GET", "/api/plain", &cookie, ""), "x").1.head.status, 200);
    assert_eq!(called(&gateway, &request("GET", "/api/public", "", ""), "x").1.head.status, 200);
    assert_eq!(log_out(&gateway, "").head.status, 204);
    for target in ["/api/plain", "/api/whoami", "/api/nothing", "/api/events/info"] {
        refused(&gateway, &request("GET", target, "", "")).problem(401);
    }
}

// Login CSRF: a page elsewhere logs the visitor in as the attacker.
#[test]
fn a_login_must_come_from_here_too() {
    let gateway = with(auth());
    for headers in ["Origin: https://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"]
    {
        let request = request("POST", "/api/login", &format!("{JSON}{headers}"), "{}");
        let answer = refused(&gateway, &request);
        answer.problem(403);
        assert_eq!(answer.head.header("set-cookie"), "");
    }
    let cookie = format!("Cookie: sse_session={}\r\n", token_of("alice", &[]));
    let told = refused(&gateway, &request("POST", "/api/logout", &cookie, "")).problem(403);
    assert!(told.starts_with("A request with the session's cookie needs Origin or Sec-Fetch-Site"), "{told}");
    let elsewhere = format!("{cookie}Origin: https://evil.example\r\n");
    let told = refused(&gateway, &request("POST", "/api/logout", &elsewhere, "")).problem(403);
    assert!(told.starts_with("Pages of this origin may not call"), "{told}");
}

// Login CSRF does not need the answer; a token that the page must know is something else.
#[test]
fn a_bearer_without_a_cookie_is_not_asked_where_it_comes_from() {
    let gateway = with(auth());
    let alice = token_of("alice", &[]);
    let bearer = bearer(&alice);
    for origin in ["Origin: null\r\n", "Origin: https://evil.example\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        let headers = format!("{bearer}{origin}");
        assert_eq!(called(&gateway, &request("POST", "/api/send", &headers, ""), "").1.head.status, 204);
        for (name, headers, status) in [
            ("a bad one", format!("Authorization: Bearer x\r\n{origin}"), 401),
            ("another scheme", format!("Authorization: Basic YTpi\r\n{origin}"), 403),
            ("with a cookie", format!("{bearer}Cookie: sse_session=x\r\n{origin}"), 403),
            ("no token", origin.to_owned(), 403),
        ] {
            let answer = refused(&gateway, &request("POST", "/api/send", &headers, ""));
            assert_eq!(answer.head.status, status, "{name} {origin}");
        }
    }
}

#[test]
fn a_login_ends_the_streams_of_the_cookie_that_it_replaces_and_no_others() {
    let gateway = with(auth());
    let old = cookie_of(&log_in(&gateway, "", &alice()));
    let other = cookie_of(&log_in(&gateway, "", &alice()));
    let listen = |cookie: &str| Stream::ready_at(gateway.port(), "/api/events/info", cookie);
    let (ends, mut stays) = (listen(&old), listen(&other));
    let same_origin = format!("Sec-Fetch-Site: same-origin\r\n{old}");
    // One that fails, or gives a token for elsewhere, replaces nothing.
    log_in(&gateway, &same_origin, &json!({"status": false})).problem(401);
    assert_eq!(log_in(&gateway, &same_origin, &json!({"scheme": "bearer", "user_id": 1})).head.status, 200);
    assert_eq!(whoami(&gateway, &old), "42/alice/[\"a\",\"b\"]");
    let new = cookie_of(&log_in(&gateway, &same_origin, &json!({"user_id": 7})));
    assert_eq!(ends.end().0, End::Clean);
    refused(&gateway, &request("GET", "/api/whoami", &old, "")).problem(401);
    assert_eq!(whoami(&gateway, &new), "7//");
    gateway.publish(&[support::raise("still here")]);
    assert_eq!(stays.next().data, "still here");
}

// A planted cookie of another user stays beside the right one: it must keep nobody from logging in or out.
#[test]
fn two_users_in_one_request_are_a_bad_cookie_that_a_login_or_logout_gets_rid_of() {
    for route in ["login", "logout"] {
        let gateway = with(auth());
        let (mine, planted) = (token_of("alice", &[]), token_of("mallory", &[]));
        let both = format!("Cookie: sse_session={mine}; sse_session={planted}\r\n");
        let answer = refused(&gateway, &request("GET", "/api/whoami", &both, ""));
        answer.problem(401);
        assert!(answer.head.header("set-cookie").contains("Max-Age=0"));
        let (call, _) = called(&gateway, &request("GET", "/api/public", &both, ""), "x");
        assert_eq!(call.setting("request.user_id"), "");
        if route == "login" {
            let same_origin = format!("Sec-Fetch-Site: same-origin\r\n{both}");
            let new = cookie_of(&log_in(&gateway, &same_origin, &alice()));
            let beside = format!("{}; sse_session={planted}\r\n", new.trim_end());
            assert_eq!(whoami(&gateway, &beside), "42/alice/[\"a\",\"b\"]");
        } else {
            assert_eq!(log_out(&gateway, &both).head.status, 204);
            for token in [&mine, &planted] {
                let cookie = format!("Cookie: sse_session={token}\r\n");
                refused(&gateway, &request("GET", "/api/whoami", &cookie, "")).problem(401);
            }
        }
    }
}
