//! Whose token is believed, and what those get whose is not (C4.7, C4.8). What a token itself may look like
//! is tested beside the code that reads it.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use serde_json::json;
use sse_gateway::{AuthSettings, CookieName, SameSite, Settings, TrustedProxies};
use sse_proto::query::TokenParameter;
use support::guarded::{EVENTS, get, started, status, with};
use support::peer::{Stream, ask};
use support::tokens::{Signer, bearer, now, token, token_of};
use support::{auth, folder, settings};

#[test]
fn streams_with_authorize_are_401_for_the_anonymous_and_403_for_those_outside_the_list() {
    let gateway = with(auth());
    for (route, anonymous, bob, alice, admin) in [
        ("events", 200, 200, 200, 200),
        ("open", 200, 200, 200, 200),
        ("known", 401, 200, 200, 200),
        ("staff", 401, 403, 200, 200),
    ] {
        let target = format!("/api/{route}/info");
        let of = |user: &str, roles: &[&str]| status(&gateway, &target, &bearer(&token_of(user, roles)));
        assert_eq!(status(&gateway, &target, ""), anonymous, "{route}");
        assert_eq!(of("bob", &["user"]), bob, "{route}");
        assert_eq!(of("alice", &[]), alice, "{route}");
        assert_eq!(of("eve", &["Admin"]), admin, "{route}");
    }
    let answer = get(&gateway, "/api/known/info", "");
    assert_eq!(answer.problem(401), "This is for authenticated subscribers.");
    assert_eq!(answer.head.header("www-authenticate"), "Bearer");
    let answer = get(&gateway, "/api/staff/info", &bearer(&token_of("bob", &[])));
    assert_eq!(answer.problem(403), "This user may not open this stream.");
    assert_eq!(gateway.count(|stats| &stats.subscribers_total), 0);
    Stream::ready_at(gateway.port(), "/api/staff/info", &bearer(&token_of("alice", &[])));
}

// A bad token where none would do: it is never taken for anonymous, and the answer does not say what is wrong
// with it.
#[test]
fn a_bad_token_is_401_everywhere_and_says_nothing_of_why() {
    let gateway = with(auth());
    let expired = token(&json!({"sub": "alice", "exp": now() - 60}));
    let forged = Signer::Hmac(vec![b'x'; 32]).token("HS256", &json!({"sub": "alice", "exp": now() + 60}));
    let long = "x".repeat(9000);
    for bad in [&expired, &forged, "x", "", "a.b.c", &long] {
        for target in [EVENTS, "/api/open/info", "/api/known/info", "/nothing"] {
            let answer = get(&gateway, target, &bearer(bad));
            assert_eq!(answer.problem(401), "The token is not valid (any more).");
            assert_eq!(answer.head.header("www-authenticate"), "Bearer error=\"invalid_token\"");
            assert_eq!(answer.head.header("set-cookie"), "");
        }
    }
    assert_eq!(gateway.count(|stats| &stats.refused_tokens_total), 24);
    let huge = "x".repeat(1 << 20);
    let request = format!("GET {EVENTS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {huge}");
    // The rest of it is never read; the answer is hyper's limit of a head.
    ask(gateway.port(), &request[..40_000]).problem(431);
    assert!(gateway.log().is_empty(), "{:?}", gateway.log());
}

#[test]
fn without_keys_a_token_is_401_and_its_absence_is_anonymous() {
    let gateway = with(AuthSettings::default());
    assert_eq!(status(&gateway, EVENTS, ""), 200);
    assert_eq!(status(&gateway, EVENTS, &bearer(&token_of("alice", &[]))), 401);
    assert_eq!(status(&gateway, EVENTS, "Authorization: Basic YTpi\r\n"), 200);
}

// Cookie beside a different bearer: the header wins, and a bad header is never saved by a good cookie.
#[test]
fn the_header_decides_alone() {
    let gateway = with(auth());
    let (alice, bob) = (token_of("alice", &[]), token_of("bob", &[]));
    let both =
        |header: &str, cookie: &str| format!("Authorization: {header}\r\nCookie: sse_session={cookie}\r\n");
    let staff = |headers: &str| status(&gateway, "/api/staff/info", headers);
    assert_eq!(staff(&both(&format!("Bearer {alice}"), &bob)), 200);
    assert_eq!(staff(&both(&format!("Bearer {bob}"), &alice)), 403);
    assert_eq!(staff(&both("Bearer x", &alice)), 401);
    assert_eq!(staff(&both("Bearer", &alice)), 401);
    assert_eq!(staff(&both(&format!("Bearer {alice}"), "x")), 200);
    assert_eq!(staff(&both("Basic YTpi", &alice)), 200, "other schemes are not ours");
    let answer = get(&gateway, "/api/staff/info", &both("Bearer x", "y"));
    assert_eq!(answer.head.header("set-cookie"), "", "the cookie was not looked at");
    let two = format!("{}{}", bearer(&alice), bearer(&alice));
    assert_eq!(staff(&two), 401, "two headers");
    // Two programs on the way would not pick the same one.
    assert_eq!(staff(&format!("Authorization: Basic YTpi\r\n{}", bearer(&alice))), 401);
    assert_eq!(staff(&format!("Authorization: bEaReR \t {alice} \r\n")), 200);
}

#[test]
fn only_a_bearer_and_the_cookie_of_this_very_name_are_tokens() {
    let gateway = with(auth());
    for nothing in [
        "Authorization: Bearerx y",
        "Authorization: Digest a=\"b\"",
        "Authorization: Bear",
        "Authorization:",
        "Cookie: sse_sessions=x",
        "Cookie: xsse_session=x",
        "Cookie: SSE_SESSION=x",
        "Cookie: sse_session",
        "Cookie: sse_session=",
        "Cookie: a=sse_session=x",
    ] {
        assert_eq!(status(&gateway, EVENTS, &format!("{nothing}\r\n")), 200, "{nothing}");
    }
    for empty in ["Authorization: Bearer", "Authorization: Bearer ", "Authorization: bearer\t"] {
        assert_eq!(status(&gateway, EVENTS, &format!("{empty}\r\n")), 401, "{empty:?}");
    }
    let quoted = format!("Cookie: a=b; sse_session=\"{}\"\r\n", token_of("alice", &[]));
    assert_eq!(status(&gateway, "/api/staff/info", &quoted), 200);
}

#[test]
fn a_bad_cookie_is_cleared_with_the_attributes_it_was_set_with() {
    let cookie = |settings: Settings, headers: &str| {
        let gateway = started(settings);
        let answer = get(&gateway, EVENTS, headers);
        answer.problem(401);
        answer.head.header("set-cookie").to_owned()
    };
    let plain = Settings { auth: auth(), ..settings() };
    let expected = "sse_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax";
    assert_eq!(cookie(plain.clone(), "Cookie: sse_session=x\r\n"), expected);
    // Not believed from a stranger.
    let forwarded = "Cookie: sse_session=x\r\nX-Forwarded-Proto: https\r\n";
    assert_eq!(cookie(plain.clone(), forwarded), expected);
    let proxied = Settings { trusted_proxies: TrustedProxies::parse("127.0.0.1").unwrap(), ..plain.clone() };
    assert_eq!(cookie(proxied, forwarded), format!("{expected}; Secure"));
    let named = AuthSettings { cookie_name: CookieName::parse("__Host-s").unwrap(), ..auth() };
    let expected = "__Host-s=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure";
    assert_eq!(cookie(Settings { auth: named, ..settings() }, "Cookie: __Host-s=x\r\n"), expected);
    let none = AuthSettings { cookie_same_site: SameSite::None, ..auth() };
    let expected = "sse_session=; Path=/; Max-Age=0; HttpOnly; SameSite=None; Secure";
    assert_eq!(cookie(Settings { auth: none, ..settings() }, "Cookie: sse_session=x\r\n"), expected);
}

// A cookie of another path, or one that a neighbour of the same domain has planted, stands beside the right
// one.
#[test]
fn of_several_cookies_the_only_believed_one_counts_and_two_users_are_none() {
    let gateway = with(auth());
    let expired = token(&json!({"sub": "carol", "roles": ["admin"], "exp": now() - 600}));
    let staff =
        |sub: &str, iat: u64| token(&json!({"sub": sub, "roles": ["admin"], "exp": now() + 60, "iat": iat}));
    let plain = |sub: &str, iat: u64| token(&json!({"sub": sub, "exp": now() + 60, "iat": iat}));
    let timeless = token(&json!({"sub": "carol", "exp": now() + 60}));
    let nameless = token(&json!({"roles": ["admin"], "exp": now() + 60}));
    let (early, late) = (now() - 20, now() - 10);
    let alice = staff("carol", late);
    for (cookies, expected) in [
        (vec![expired.clone(), alice.clone()], 200),
        (vec![alice.clone(), expired.clone()], 200),
        (vec!["x".to_owned(), "\"".to_owned(), expired.clone(), alice.clone()], 200),
        (vec!["1".into(), "2".into(), "3".into(), "4".into(), alice.clone()], 401),
        (vec![alice.clone(), alice.clone(), alice.clone(), alice.clone(), alice.clone()], 200),
        // The latest of one user's says what the user may.
        (vec![plain("carol", early), alice.clone()], 200),
        (vec![alice.clone(), plain("carol", early)], 200),
        (vec![staff("carol", early), plain("carol", late)], 403),
        (vec![timeless.clone(), alice.clone()], 200),
        (vec![alice.clone(), timeless], 200),
        // Of two users nobody knows which one it is.
        (vec![alice.clone(), staff("bob", late)], 401),
        (vec![staff("bob", early), expired.clone(), alice.clone()], 401),
        (vec![nameless.clone(), alice.clone()], 401),
        (vec![nameless.clone(), token(&json!({"roles": ["admin"], "exp": now() + 61}))], 401),
        (vec![nameless], 200),
        (vec![expired, "x".to_owned()], 401),
    ] {
        let list = cookies.iter().map(|cookie| format!("sse_session={cookie}")).collect::<Vec<_>>();
        let headers = format!("Cookie: a=b; {}\r\n", list.join("; "));
        assert_eq!(status(&gateway, "/api/staff/info", &headers), expected, "{cookies:?}");
        if expected == 401 {
            let answer = get(&gateway, "/api/staff/info", &headers);
            assert!(answer.head.header("set-cookie").contains("Max-Age=0"), "it is cleared");
        }
    }
}

// A token in a URL, where it ends up in histories and logs: only where that was asked for, and only by this
// name.
#[test]
fn tokens_are_read_from_urls_only_when_a_parameter_is_named() {
    let alice = token_of("alice", &[]);
    let target = format!("/api/staff/info?access_token={alice}");
    let gateway = with(auth());
    assert_eq!(status(&gateway, &target, ""), 401);
    let named = AuthSettings { token_parameter: TokenParameter::parse("access_token").unwrap(), ..auth() };
    let gateway = with(named);
    assert_eq!(status(&gateway, &target, ""), 200);
    assert_eq!(status(&gateway, &format!("/api/staff/info?token={alice}"), ""), 401);
    assert_eq!(status(&gateway, "/api/events/info?access_token=x", ""), 401);
    assert_eq!(status(&gateway, "/api/events/info?access_token=", ""), 200, "empty is absent");
    let twice = format!("{target}&access_token={alice}");
    assert_eq!(status(&gateway, &twice, ""), 401, "not anonymous, and so not let in");
    assert_eq!(status(&gateway, &format!("{EVENTS}?access_token={alice}&access_token=x"), ""), 400);
    assert_eq!(status(&gateway, &target, "Cookie: sse_session=x\r\n"), 401, "the cookie decides");
    assert_eq!(status(&gateway, &target, &bearer("x")), 401, "the header decides");
}

#[test]
fn required_authentication_keeps_all_but_files_health_and_options_for_the_known() {
    let (_folder, path) = folder();
    fs::write(path.join("index.html"), "login").unwrap();
    let auth = AuthSettings { require_authentication: true, ..auth() };
    let gateway = started(Settings { auth, static_root: Some(path), ..settings() });
    for target in [EVENTS, "/api/open/info", "/nothing", "/api/known/info"] {
        assert_eq!(status(&gateway, target, ""), 401, "{target}");
        let answer = ask(gateway.port(), &format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        answer.problem(401);
    }
    let known = bearer(&token_of("bob", &[]));
    assert_eq!(status(&gateway, EVENTS, &known), 200);
    assert_eq!(status(&gateway, "/api/staff/info", &known), 403);
    assert_eq!(status(&gateway, "/nothing", &known), 404);
    // Also with a session that has ended: the page that logs in must come up.
    for headers in ["", "Cookie: sse_session=x\r\n"] {
        assert_eq!(get(&gateway, "/", headers).text(), "login");
        assert_eq!(status(&gateway, "/healthz", headers), 200);
        let options = format!("OPTIONS {EVENTS} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        assert_eq!(ask(gateway.port(), &options).head.status, 204);
    }
}

// Header and field injection through user name, role, topic and execution id.
#[test]
fn nothing_of_a_token_or_a_url_gets_into_a_head_or_opens_a_field() {
    let gateway = with(auth());
    let evil = "x\r\nSet-Cookie: a=b\r\n\r\ndata: forged\n\n";
    let claims =
        json!({"sub": evil, "name": evil, "roles": [evil], "jti": evil, "iss": evil, "exp": now() + 60});
    let mut stream = Stream::get(gateway.port(), EVENTS, &bearer(&token(&claims)));
    assert_eq!(stream.head.header("set-cookie"), "");
    assert_eq!(stream.next().name, "sse.ready");
    gateway.say("first");
    assert_eq!(stream.next().data, "first");
    assert!(!String::from_utf8_lossy(stream.bytes()).contains("forged"));
    for query in ["topic=a%0Adata:forged", "topic=a%0D", "id=a%0Ab", "a%0D%0AX:y", "topic=a%00"] {
        let detail = get(&gateway, &format!("{EVENTS}?{query}"), "").problem(400);
        assert!(!detail.contains("forged") && !detail.contains('\n'), "{detail}");
    }
    // What cannot be in a head at all never gets as far as the token.
    let broken = format!("GET {EVENTS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a\0b\r\n\r\n");
    ask(gateway.port(), &broken).problem(400);
}
