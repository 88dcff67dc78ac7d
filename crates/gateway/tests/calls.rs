//! Calls over HTTP: methods, arguments, what the routine is told, and what the peer is answered (C7.1 to
//! C7.4).
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use sse_gateway::{CallAvailability, CallResult, Settings, TrustedProxies};
use sse_proto::call::{CallAnswer, EventsEnd, Outcome, Shape};
use support::calls::{
    JSON, callable, called, done, failed, gateway, get, has_told_end, no_row, outdated, post, refused,
    request, routes, serve, several, shape, take, with,
};
use support::peer::Peer;
use support::tokens::token_of;
use support::{TestGateway, eventually, folder, settings};

#[test]
fn the_method_decides_and_another_is_405_with_what_there_is() {
    let gateway = gateway();
    for (verb, target, allow) in [
        ("GET", "/api/send", "POST, OPTIONS"),
        ("HEAD", "/api/send", "POST, OPTIONS"),
        ("PUT", "/api/send", "POST, OPTIONS"),
        ("POST", "/api/list", "GET, HEAD, OPTIONS"),
        ("DELETE", "/both", "GET, HEAD, PUT, OPTIONS"),
        ("TRACE", "/both", "GET, HEAD, PUT, OPTIONS"),
        ("get", "/both", "GET, HEAD, PUT, OPTIONS"),
        ("FOO", "/both", "GET, HEAD, PUT, OPTIONS"),
    ] {
        let answer = refused(&gateway, &request(verb, target, "", ""));
        assert_eq!(answer.head.status, 405, "{verb} {target}");
        assert_eq!(answer.head.header("allow"), allow);
        let options = refused(&gateway, &request("OPTIONS", target, "", ""));
        assert_eq!((options.head.status, options.head.header("allow")), (204, allow));
    }
    for (verb, label) in [("GET", "public.both_get"), ("HEAD", "public.both_get"), ("PUT", "public.both_put")]
    {
        let (call, answer) = called(&gateway, &request(verb, "/both/", "", ""), "xyz");
        assert_eq!((call.label.as_str(), answer.head.status), (label, 200));
        assert_eq!(call.setting("request.method"), verb);
        assert_eq!(answer.head.header("content-length"), "3", "{verb}");
    }
}

#[test]
fn get_without_a_word_of_it_is_read_only() {
    let gateway = gateway();
    for (target, expected) in [("/api/get-all", true), ("/api/list", false), ("/api/remove", false)] {
        let verb = if target == "/api/remove" { "DELETE" } else { "GET" };
        let (call, _) = called(&gateway, &request(verb, target, "", ""), "x");
        assert_eq!(call.read_only, expected, "{target}");
    }
}

#[test]
fn the_answer_is_what_the_routine_returns() {
    let gateway = gateway();
    let (_, answer) = called(&gateway, &get("/api/get-all"), "caf\u{e9}\n");
    assert_eq!((answer.head.status, answer.text()), (200, "caf\u{e9}\n"));
    assert_eq!(answer.head.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.head.header("cache-control"), "no-store");
    assert_eq!(answer.head.header("x-content-type-options"), "nosniff");
    let (_, answer) = called(&gateway, &get("/api/rows"), "{\"messageId\":1}");
    assert_eq!((answer.head.status, answer.text()), (200, "{\"messageId\":1}"));
    assert_eq!(answer.head.header("content-type"), "application/json");
    let (_, answer) = post(&gateway, "/api/send", "", "{\"messageText\": \"x\"}");
    assert_eq!((answer.head.status, answer.body.len()), (204, 0));
    assert_eq!(answer.head.header("content-type"), "");
    assert_eq!(answer.head.header("cache-control"), "no-store");
    for target in ["/api/get-all", "/api/rows"] {
        let mut peer = Peer::ask(gateway.port(), &get(target));
        let call = take(&gateway);
        gateway.desk().answer(call.id, no_row(call.id));
        assert_eq!(peer.answer(true).head.status, 204, "{target}");
    }
    // Twenty megabytes, and nothing of the connection is lost.
    let huge = "x".repeat(20 << 20);
    let mut peer = Peer::ask(gateway.port(), &get("/api/get-all"));
    serve(&gateway, &huge);
    assert!(peer.answer(true).text() == huge);
    peer.send(get("/api/get-all").as_bytes());
    serve(&gateway, "again");
    assert_eq!(peer.answer(true).text(), "again");
}

// Of an answer that came through shared memory nothing is believed.
#[test]
fn a_failure_of_an_argument_names_it_if_there_is_such_an_argument() {
    let gateway = gateway();
    for (sqlstate, argument, parameter) in [
        (b"22P02", Some(0), Some("messageText")),
        (b"23514", Some(0), Some("messageText")),
        (b"22P02", None, None),
        (b"22P02", Some(1), None),
        (b"22P02", Some(u32::MAX), None),
        (b"53200", Some(0), None),
        (b"57014", Some(0), None),
        (b"42501", Some(0), None),
    ] {
        let mut peer =
            Peer::ask(gateway.port(), &request("POST", "/api/send", JSON, "{\"messageText\": \"x\"}"));
        let id = take(&gateway).id;
        let outcome = Outcome::Failed {
            sqlstate: *sqlstate,
            message: "secret".to_owned(),
            raised: false,
            outdated: false,
            argument,
        };
        let answer = CallAnswer { id, end: EventsEnd::NoEvents, cut: None, outcome };
        gateway.desk().answer(id, CallResult::Answer(answer.into()));
        let answer = peer.answer(true);
        let problem: Value = serde_json::from_str(answer.text()).unwrap();
        assert_eq!(problem["parameter"].as_str(), parameter, "{problem}");
        assert_eq!(problem["detail"].as_str().unwrap().contains("messageText"), parameter.is_some());
        assert!(!answer.text().contains("secret"), "{problem}");
    }
}

#[test]
fn a_failure_has_its_status_the_users_own_words_and_always_the_sqlstate() {
    let gateway = gateway();
    for (sqlstate, raised, status, detail) in [
        (b"P0001", true, 400, "my own words: \"\u{e4}\"\n"),
        (b"PT404", true, 404, "my own words: \"\u{e4}\"\n"),
        (b"PT503", true, 503, "my own words: \"\u{e4}\"\n"),
        (b"P0004", true, 400, "my own words: \"\u{e4}\"\n"),
        // Raised by the routine, and yet not meant for the caller.
        (b"PT200", true, 500, ""),
        (b"23505", true, 409, ""),
        (b"40001", false, 409, ""),
        (b"22P02", false, 400, ""),
        (b"23505", false, 409, ""),
        (b"28000", false, 401, ""),
        (b"42501", false, 403, ""),
        (b"53300", false, 503, ""),
        (b"57014", false, 504, ""),
        (b"42P01", false, 500, ""),
    ] {
        let mut peer = Peer::ask(gateway.port(), &get("/api/get-all"));
        let call = take(&gateway);
        let message = "my own words: \"\u{e4}\"\n";
        gateway.desk().answer(call.id, failed(call.id, sqlstate, message, raised));
        let answer = peer.answer(true);
        let told = answer.problem(status);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["sqlstate"], std::str::from_utf8(sqlstate).unwrap());
        if !detail.is_empty() {
            assert_eq!(told, detail);
        } else {
            assert!(!told.is_empty() && !told.contains("own words"), "{told}");
        }
        assert_eq!(answer.head.header("www-authenticate").is_empty(), status != 401);
        assert_eq!(answer.head.header("retry-after").is_empty(), status != 503);
    }
    assert_eq!(gateway.count(|stats| &stats.calls_failed_total), 14);
    assert_eq!(gateway.count(|stats| &stats.calls_total), 14);
}

// Somebody has `pg_database` locked, so that the routines cannot be read anew; or they change all the time.
#[test]
fn a_call_whose_row_type_has_changed_is_409_and_says_so_whether_the_routines_can_be_read_or_not() {
    let gateway = gateway();
    let told = |results: &[fn(u64) -> CallResult], headers: &str, body: &str, change: bool| {
        let verb = if body.is_empty() { "GET" } else { "POST" };
        let target = if body.is_empty() { "/api/get-all" } else { "/api/send" };
        let mut peer = Peer::ask(gateway.port(), &request(verb, target, headers, body));
        for result in results {
            let call = take(&gateway);
            if change {
                gateway.gateway.set_routes(routes(&several()), 3);
            }
            gateway.desk().answer(call.id, result(call.id));
        }
        let answer = peer.answer(true);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["sqlstate"], "40001");
        answer.problem(409)
    };
    let conflict: fn(u64) -> CallResult = |id| failed(id, b"40001", "", false);
    let long = format!("{{\"messageText\":\"{}\"}}", "x".repeat(20 << 10));
    let changed = "The routine, or a type of it, was changed while it was called. The call had no effect; send it again.";
    assert_eq!(told(&[outdated], "", "", false), changed);
    assert_eq!(told(&[outdated, outdated], "", "", true), changed);
    assert_eq!(told(&[outdated], JSON, &long, true), changed);
    // Another cause has another text.
    assert!(told(&[conflict], "", "", false).contains("another call"));
}

#[test]
fn a_call_whose_worker_dies_is_502_and_one_that_is_not_run_503() {
    let gateway = gateway();
    for (result, status) in [(CallResult::Lost, 502), (CallResult::NotRun, 503)] {
        let mut peer = Peer::ask(gateway.port(), &get("/api/get-all"));
        gateway.desk().answer(take(&gateway).id, result);
        if status == 502 {
            // What it has sent before comes before the answer.
            has_told_end(&gateway);
        }
        peer.answer(true).problem(status);
        // It is not repeated.
        assert!(gateway.desk().take().is_none());
    }
}

#[test]
fn arguments_come_from_the_query_string_or_from_the_body_and_never_from_both() {
    let gateway = gateway();
    let (call, _) = called(&gateway, &get("/api/list?tags=a+b&tags=%C3%A4&limit=5"), "x");
    assert_eq!(call.parameters.iter().flatten().collect::<Vec<_>>(), ["{\"a b\",\"\u{e4}\"}", "5"]);
    let (call, _) = called(&gateway, &request("DELETE", "/api/remove?id=7", "", ""), "x");
    assert_eq!(call.parameters, [Some("7".to_owned())]);
    let (call, _) =
        post(&gateway, "/api/send", "", "{\"messageText\": \"'; drop table x --\", \"to\": null}");
    assert!(call.parameters.contains(&Some("'; drop table x --".to_owned())), "{call:?}");
    assert!(!call.sql.contains("drop"), "{call:?}");
    for (request, status) in [
        // Arguments that would be ignored are a mistake: a DELETE without its id may be another DELETE.
        (request("DELETE", "/api/remove", JSON, "{\"id\": 7}"), 400),
        (request("GET", "/api/list", JSON, "{}"), 400),
        (request("POST", "/api/send?to=bob", JSON, "{\"messageText\": \"x\"}"), 400),
        (get("/api/list?unknown=1"), 400),
        (get("/api/list?limit=1&limit=2"), 400),
        (get("/api/list?limit=%ff"), 400),
        (request("POST", "/api/send", "", ""), 400),
        (request("POST", "/api/send", JSON, "[]"), 400),
        (request("POST", "/api/send", JSON, "{"), 400),
        (request("POST", "/api/send", JSON, "{\"messageText\": \"x\", \"_message_text\": \"y\"}"), 400),
    ] {
        refused(&gateway, &request).problem(status);
    }
    // An empty body is no arguments, whatever its type.
    for headers in ["Content-Length: 0\r\n", "Content-Type: text/plain\r\n", "Transfer-Encoding: chunked\r\n"]
    {
        let end = if headers.starts_with("Transfer") { "0\r\n\r\n" } else { "" };
        let request = format!("DELETE /api/remove HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{end}");
        let (call, _) = called(&gateway, &request, "x");
        assert!(call.parameters.is_empty(), "{headers}");
    }
}

#[test]
fn what_the_routine_is_told_is_all_nine_settings() {
    let gateway = with(Settings {
        trusted_proxies: TrustedProxies::parse("127.0.0.1").unwrap(),
        call_timeout: Duration::from_millis(1500),
        ..settings()
    });
    let (call, _) = called(&gateway, &get("/api/get-all"), "x");
    let expected = json!({
        "request.headers": "{\"host\":\"localhost\"}", "request.ip_address": "127.0.0.1", "request.jwt.claims": "",
        "request.method": "GET", "request.path": "/api/get-all", "request.user_id": "", "request.user_name": "",
        "request.user_roles": "", "sse.execution_id": "",
    });
    assert_eq!(json!(call.settings), expected);
    assert_eq!(call.timeout_ms, 1500);
    let token = token_of("alice", &["a", "b \"c\""]);
    let headers = format!(
        "Authorization: Bearer {token}\r\nCookie: other=1\r\nX-Forwarded-For: 203.0.113.9\r\nX-Execution-Id: \
         T\u{c4}ST\r\nX-Odd: a\r\nx-odd: b\r\n"
    );
    let (call, _) = called(&gateway, &request("GET", "/api/list?limit=1", &headers, ""), "x");
    for (name, value) in [
        ("request.user_id", "alice"),
        ("request.user_name", "alice"),
        ("request.user_roles", "[\"a\",\"b \\\"c\\\"\"]"),
        ("request.ip_address", "203.0.113.9"),
        ("request.path", "/api/list"),
        ("sse.execution_id", "T\u{c4}ST"),
    ] {
        assert_eq!(call.setting(name), value);
    }
    let claims: Value = serde_json::from_str(call.setting("request.jwt.claims")).unwrap();
    assert_eq!((&claims["sub"], &claims["roles"][0]), (&json!("alice"), &json!("a")));
    let headers: Value = serde_json::from_str(call.setting("request.headers")).unwrap();
    assert_eq!(headers["x-odd"], "a, b");
    assert!(headers.get("authorization").is_none() && headers.get("cookie").is_none(), "{headers}");
    assert!(!format!("{:?}", call.settings).contains(&token), "the token is nowhere");
    // An id that nobody could have is refused, not cut.
    for (id, status) in [("x".repeat(200), 204), ("x".repeat(201), 400)] {
        let headers = format!("{JSON}X-NpgsqlRest-ID: {id}\r\n");
        let request = request("POST", "/api/send", &headers, "{\"messageText\":\"x\"}");
        let answer =
            if status == 400 { refused(&gateway, &request) } else { called(&gateway, &request, "").1 };
        assert_eq!(answer.head.status, status);
    }
}

#[test]
fn without_a_role_for_calls_their_paths_are_unknown_and_a_file_may_have_them() {
    let (_folder, path) = folder();
    std::fs::create_dir(path.join("api")).unwrap();
    std::fs::write(path.join("api/list"), "a file").unwrap();
    let gateway = with(Settings { static_root: Some(path), ..settings() });
    gateway.gateway.set_calls(CallAvailability::Off);
    refused(&gateway, &get("/api/get-all")).problem(404);
    assert_eq!(refused(&gateway, &get("/api/list")).text(), "a file");
    gateway.gateway.set_calls(CallAvailability::Unavailable);
    let answer = refused(&gateway, &get("/api/list"));
    answer.problem(503);
    assert_eq!(answer.head.header("retry-after"), "5");
    assert_eq!(gateway.count(|stats| &stats.calls_refused_total), 1);
    gateway.gateway.set_calls(CallAvailability::Ready);
    assert_eq!(called(&gateway, &get("/api/list"), "a call").1.text(), "a call");
    // An unknown path first takes in what has committed.
    let before = gateway.refreshes();
    refused(&gateway, &get("/api/nothing")).problem(404);
    assert!(gateway.refreshes() > before);
}

// Cross-site request forgery, cookie or not.
#[test]
fn events_are_delivered_while_calls_wait() {
    let gateway = TestGateway::with(settings());
    let mut all = several();
    all.push(callable("events", "@sse", &[], shape(Shape::Scalar)));
    gateway.gateway.set_routes(support::calls::routes(&all), 2);
    gateway.gateway.set_calls(CallAvailability::Ready);
    let peers: Vec<_> = (0..50).map(|_| Peer::ask(gateway.port(), &get("/api/get-all"))).collect();
    eventually("all wait", || gateway.stats().calls_waiting.load(Ordering::Relaxed) == 50);
    let mut stream = support::peer::Stream::ready(gateway.port());
    gateway.say("hello");
    assert_eq!(stream.next().data, "hello");
    for mut peer in peers {
        let call = take(&gateway);
        gateway.desk().answer(call.id, done(call.id, "x"));
        drop(call);
        assert_eq!(peer.answer(true).text(), "x");
    }
}
