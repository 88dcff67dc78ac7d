//! Who may open a stream, and what the others are told: tokens good and forged, `sse.require_authentication`,
//! the limit for one address, and pages of other origins (C1.3, C4.7).
//!
//! Not for who receives what once the stream is open: `scopes.rs`, `leak.rs`.

mod common;

use anyhow::{Result, ensure};
use cluster::http::{Client, Request, Response};
use cluster::{Cluster, wait_for};
use common::tokens::{ALICE, MANAGER, SECRET, builder, get, issue, listen, mint, mint_with, now, status_of};
use common::{SOON, announcer, cookie_name, figure, is_problem, status, wait_for_status};

fn furnish(cluster: &Cluster) -> Result<Client> {
    cluster.sql(&announcer("open", "@sse"))?;
    cluster.sql(&announcer("closed", "@sse\n@authorize"))?;
    cluster.sql(&announcer("managed", "@sse\n@authorize manager"))?;
    cluster.http()
}

const OPEN: &str = "/api/open/info";
const CLOSED: &str = "/api/closed/info";
const MANAGED: &str = "/api/managed/info";

fn answer(http: Client, path: &str, token: Option<&str>) -> Result<Response> {
    http.request(&get(path, token))
}

#[test]
fn the_door_answers_401_to_the_anonymous_and_403_to_those_outside_the_list() -> Result<()> {
    let cluster = builder().start()?;
    let http = furnish(&cluster)?;
    let (alice, manager) = (issue(&cluster, ALICE)?, issue(&cluster, MANAGER)?);
    assert_eq!(status(http, OPEN)?, 200);
    is_problem(&answer(http, CLOSED, None)?, 401, CLOSED)?;
    is_problem(&answer(http, MANAGED, None)?, 401, MANAGED)?;
    is_problem(&answer(http, MANAGED, Some(&alice))?, 403, MANAGED)?;
    for (path, token) in [(OPEN, &alice), (CLOSED, &alice), (CLOSED, &manager), (MANAGED, &manager)] {
        assert_eq!(status_of(http, &get(path, Some(token)))?, 200, "{path}");
    }
    // A HEAD learns as much.
    let mut head = get(MANAGED, Some(&alice));
    "HEAD".clone_into(&mut head.method);
    assert_eq!(status_of(http, &head)?, 403);
    Ok(())
}

#[test]
fn a_token_comes_in_the_header_or_else_the_cookie_or_else_a_parameter_that_is_named() -> Result<()> {
    let cluster = builder().start()?;
    let http = furnish(&cluster)?;
    let token = issue(&cluster, MANAGER)?;
    let name = cookie_name(http);
    let cookie = |value: &str| Request::get(MANAGED).header("Cookie", &format!("a=b; {name}={value}; c=d"));
    assert_eq!(status_of(http, &cookie(&token))?, 200);
    assert_eq!(
        status_of(http, &Request::get(MANAGED).header("Authorization", &format!("bearer {token}")))?,
        200
    );
    // Other schemes are not ours.
    assert_eq!(status_of(http, &cookie(&token).header("Authorization", "Basic YTpi"))?, 200);
    assert_eq!(status_of(http, &Request::get(MANAGED).header("Authorization", "Basic YTpi"))?, 401);
    // Never from a URL unless a name is set for it: without one it is taken for an execution id, and that is
    // too long.
    let in_url = format!("{MANAGED}?id=x&access={token}");
    assert_eq!(status(http, &in_url)?, 401);
    cluster.configure("sse.token_parameter", "access")?;
    cluster.configure("sse.cookie_name", "other")?;
    cluster.reload()?;
    wait_for_status(http, &in_url, 200, SOON)?;
    assert_eq!(status(http, &format!("{MANAGED}?access={token}"))?, 200);
    assert_eq!(status_of(http, &cookie(&token))?, 401, "another cookie is meant");
    assert_eq!(status_of(http, &cookie(&token).header("Cookie", &format!("other={token}")))?, 200);
    Ok(())
}

// A cookie beside a different bearer token: the header wins, and a good cookie never saves a bad header.
#[test]
fn a_bad_header_is_not_saved_by_a_good_cookie() -> Result<()> {
    let cluster = builder().start()?;
    let http = furnish(&cluster)?;
    let (alice, manager) = (issue(&cluster, ALICE)?, issue(&cluster, MANAGER)?);
    let both = |bearer: &str, cookie: &str| {
        get(MANAGED, Some(bearer)).header("Cookie", &format!("{}={cookie}", cookie_name(http)))
    };
    assert_eq!(status_of(http, &both(&manager, &alice))?, 200);
    assert_eq!(status_of(http, &both(&alice, &manager))?, 403);
    assert_eq!(status_of(http, &both("nonsense", &manager))?, 401);
    assert_eq!(status_of(http, &both("", &manager))?, 401);
    // A bad cookie is never "anonymous", and is cleared.
    let bad =
        http.request(&Request::get(OPEN).header("Cookie", &format!("{}=nonsense", cookie_name(http))))?;
    is_problem(&bad, 401, "a bad cookie")?;
    let cleared = bad.header("set-cookie").unwrap_or("");
    ensure!(
        cleared.starts_with(&format!("{}=;", cookie_name(http))) && cleared.contains("Max-Age=0"),
        "{cleared:?}"
    );
    ensure!(cleared.contains("HttpOnly") && cleared.contains("SameSite=Lax"), "{cleared:?}");
    assert_eq!(cleared.contains("Secure"), http.is_secure(), "{cleared:?}");
    is_problem(&answer(http, OPEN, Some("nonsense"))?, 401, "nonsense")?;
    Ok(())
}

// Forged, stale and misshapen tokens: `alg: none`, an algorithm that is not configured, a wrong `kid`,
// expired, not yet valid, without `exp`, wrong audience and issuer, truncated, duplicate claims, claims of a
// wrong type.
// Long because it is one list of tokens.
#[test]
fn a_token_that_is_not_to_be_believed_opens_nothing() -> Result<()> {
    let cluster = builder()
        .setting("sse.jwt_issuer", "https://issuer.example")
        .setting("sse.jwt_audience", "pg_sse")
        .start()?;
    let http = furnish(&cluster)?;
    let now = now()?;
    let rest = format!(r#""iss":"https://issuer.example","aud":["else","pg_sse"],"exp":{}"#, now + 600);
    let good = mint(&cluster, SECRET, &format!(r#"{{"sub":"1",{rest}}}"#))?;
    assert_eq!(status_of(http, &get(CLOSED, Some(&good)))?, 200, "the measure of all others");
    let (iss, aud) = (r#""iss":"https://issuer.example""#, r#""aud":"pg_sse""#);
    let mut refused: Vec<(String, String)> = Vec::new();
    for (what, claims) in [
        ("without exp", format!(r#"{{"sub":"1",{iss},{aud}}}"#)),
        ("expired", format!(r#"{{"sub":"1",{iss},{aud},"exp":{}}}"#, now - 40)),
        ("exp as text", format!(r#"{{"sub":"1",{iss},{aud},"exp":"{}"}}"#, now + 600)),
        ("exp null", format!(r#"{{"sub":"1",{iss},{aud},"exp":null}}"#)),
        ("exp in milliseconds", format!(r#"{{"sub":"1",{iss},{aud},"exp":{}000}}"#, now + 600)),
        ("not yet valid", format!(r#"{{"sub":"1","nbf":{},{rest}}}"#, now + 90)),
        ("wrong audience", format!(r#"{{"sub":"1",{iss},"aud":"pg_sse2","exp":{}}}"#, now + 600)),
        ("no audience", format!(r#"{{"sub":"1",{iss},"exp":{}}}"#, now + 600)),
        (
            "wrong issuer",
            format!(r#"{{"sub":"1","iss":"https://issuer.example/",{aud},"exp":{}}}"#, now + 600),
        ),
        ("duplicate claim", format!(r#"{{"sub":"1","sub":"2",{rest}}}"#)),
        ("user id of a wrong type", format!(r#"{{"user_id":{{"a":1}},{rest}}}"#)),
        ("user name of a wrong type", format!(r#"{{"name":["alice"],{rest}}}"#)),
        ("roles of a wrong type", format!(r#"{{"sub":"1","roles":{{"admin":true}},{rest}}}"#)),
        ("a role of a wrong type", format!(r#"{{"sub":"1","roles":["a",["admin"]],{rest}}}"#)),
        ("no object", "[]".to_owned()),
        ("no JSON", "{".to_owned()),
    ] {
        refused.push((what.to_owned(), mint(&cluster, SECRET, &claims)?));
    }
    let claims = format!(r#"{{"sub":"1",{rest}}}"#);
    refused.push(("another secret".to_owned(), mint(&cluster, &format!("{SECRET}."), &claims)?));
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
    ] {
        refused.push((header.to_owned(), mint_with(&cluster, SECRET, header, &claims)?));
    }
    let unsigned = good.rsplit_once('.').map(|(message, _)| message.to_owned()).unwrap_or_default();
    let none = mint_with(&cluster, SECRET, r#"{"alg":"none"}"#, &claims)?;
    let none = none.rsplit_once('.').map(|(message, _)| format!("{message}.")).unwrap_or_default();
    for (what, token) in [
        ("truncated", good[..good.len() - 1].to_owned()),
        ("without signature", unsigned.clone()),
        ("with an empty signature", format!("{unsigned}.")),
        ("alg none, unsigned", none),
        ("with a fourth part", format!("{good}.x")),
        ("with padding", format!("{good}=")),
        ("nonsense", "nonsense".to_owned()),
        ("dots", "..".to_owned()),
    ] {
        refused.push((what.to_owned(), token));
    }
    for (what, token) in &refused {
        // At the open stream too: a bad token is never "anonymous".
        let answer = http.request(&get(OPEN, Some(token)))?;
        assert_eq!(answer.status(), 401, "{what}");
        ensure!(
            answer.header("www-authenticate").is_some_and(|text| text.contains("invalid_token")),
            "{what}"
        );
    }
    let expected = i64::try_from(refused.len())?;
    wait_for(SOON, "all are counted", || {
        Ok((figure(&cluster, "stat_gateway", "refused_tokens_total")? == expected).then_some(()))
    })
}

// A token of 1 MB, and one of 10,000 roles: both are refused without being read, and the gateway goes on.
#[test]
fn a_huge_token_is_refused() -> Result<()> {
    let cluster = builder().setting("sse.token_parameter", "access").start()?;
    let http = furnish(&cluster)?;
    let roles: Vec<String> = (0..10_000).map(|role| format!("\"r{role}\"")).collect();
    let claims = format!(r#"{{"sub":"1","roles":[{}],"exp":{}}}"#, roles.join(","), now()? + 600);
    let many_roles = mint(&cluster, SECRET, &claims)?;
    let megabyte = "x".repeat(1 << 20);
    for token in [&many_roles, &megabyte, &"x".repeat(15_000)] {
        for request in [
            get(OPEN, Some(token)),
            Request::get(OPEN).header("Cookie", &format!("{}={token}", cookie_name(http))),
            Request::get(&format!("{OPEN}?access={token}")),
        ] {
            // The rest of what is sent may be cut off by the answer.
            let mut connection = http.connect()?;
            let _ = connection.send(&request);
            let status = connection.head().map(|head| head.status);
            ensure!(!matches!(status, Ok(200..=399)), "{} bytes: {status:?}", token.len());
        }
    }
    assert_eq!(status_of(http, &get(CLOSED, Some(&issue(&cluster, ALICE)?)))?, 200);
    Ok(())
}

#[test]
fn require_authentication_closes_every_door_but_those_that_must_stay_open() -> Result<()> {
    let cluster = builder().start()?;
    let http = furnish(&cluster)?;
    let token = issue(&cluster, ALICE)?;
    let mut before = listen(http, OPEN, None)?;
    cluster.configure("sse.require_authentication", "on")?;
    cluster.reload()?;
    wait_for_status(http, OPEN, 401, SOON)?;
    is_problem(&answer(http, OPEN, None)?, 401, OPEN)?;
    is_problem(&answer(http, "/api/nothing/info", None)?, 401, "nothing")?;
    assert_eq!(status(http, "/healthz")?, 200);
    assert_eq!(status_of(http, &Request::new("OPTIONS", OPEN))?, 204);
    let mut stream = listen(http, OPEN, Some(&token))?;
    cluster.sql("select open('x')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "x");
    assert_eq!(before.next_payload(SOON)?.data, "x", "a reload cuts no stream");
    Ok(())
}

#[test]
fn streams_of_one_address_beyond_the_limit_get_429_until_one_is_left() -> Result<()> {
    let cluster = builder().setting("sse.max_connections_per_address", 2).start()?;
    let http = furnish(&cluster)?;
    let first = listen(http, OPEN, None)?;
    let second = listen(http, CLOSED, Some(&issue(&cluster, ALICE)?))?;
    let refused = answer(http, OPEN, None)?;
    assert_eq!(refused.status(), 429, "{}", refused.text());
    ensure!(refused.header("retry-after").is_some(), "{:?}", refused.head);
    wait_for(SOON, "it is counted", || {
        Ok((figure(&cluster, "stat_gateway", "refused_addresses_total")? == 1).then_some(()))
    })?;
    assert_eq!(status(http, "/healthz")?, 200, "only streams are counted");
    drop(first);
    wait_for_status(http, OPEN, 200, SOON)?;
    drop(second);
    cluster.configure("sse.max_connections_per_address", "0")?;
    cluster.reload()?;
    wait_for(SOON, "there is no limit", || {
        let streams: Vec<_> = (0..4).map(|_| listen(http, OPEN, None)).collect();
        Ok(streams.iter().all(Result::is_ok).then_some(()))
    })
}

// Reflected `Origin`, `*` with credentials: any page would read with the visitor's cookies.
#[test]
fn pages_of_listed_origins_may_read_and_no_others() -> Result<()> {
    let cluster =
        builder().setting("sse.cors_origins", "https://app.example, http://localhost:5173").start()?;
    let http = furnish(&cluster)?;
    let token = issue(&cluster, ALICE)?;
    for (origin, allowed) in [
        ("https://app.example", true),
        ("http://localhost:5173", true),
        ("https://app.example.evil.example", false),
        ("http://app.example", false),
        ("https://app.example:444", false),
        ("null", false),
    ] {
        let stream = http.events_with(&get(CLOSED, Some(&token)).header("Origin", origin))?;
        let refused = http.request(&get(CLOSED, None).header("Origin", origin))?;
        let preflight = http.request(
            &Request::new("OPTIONS", CLOSED)
                .header("Origin", origin)
                .header("Access-Control-Request-Method", "GET")
                .header("Access-Control-Request-Headers", "authorization, last-event-id"),
        )?;
        assert_eq!((refused.status(), preflight.status()), (401, 204));
        for head in [stream.head(), &refused.head, &preflight.head] {
            let expected = allowed.then_some(origin);
            assert_eq!(head.header("access-control-allow-origin"), expected, "{origin}: {head:?}");
            let credentials = head.header("access-control-allow-credentials");
            assert_eq!(credentials, allowed.then_some("true"), "{origin}: {head:?}");
            ensure!(head.header("vary").is_some_and(|vary| vary.eq_ignore_ascii_case("origin")), "{head:?}");
        }
        let names = preflight.header("access-control-allow-headers").unwrap_or("").to_ascii_lowercase();
        for name in ["authorization", "last-event-id", "x-execution-id", "x-npgsqlrest-id"] {
            assert_eq!(names.contains(name), allowed, "{origin}: {names}");
        }
        assert_eq!(preflight.header("access-control-allow-methods").is_some(), allowed);
    }
    // Every site, without credentials.
    cluster.configure("sse.cors_origins", "*")?;
    cluster.reload()?;
    let star = wait_for(SOON, "the star counts", || {
        let head = http.request(&get(CLOSED, None).header("Origin", "https://any.example"))?.head;
        Ok(head.header("access-control-allow-origin").is_some().then_some(head))
    })?;
    assert_eq!(star.header("access-control-allow-origin"), Some("*"));
    assert_eq!(star.header("access-control-allow-credentials"), None);
    Ok(())
}
