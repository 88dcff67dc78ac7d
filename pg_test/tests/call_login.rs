//! Logging in and out, and cookies (C7.5).
//!
//! Not for tokens as such (`tokens.rs`, `door.rs`) and not for the chat that uses all of it (`chat.rs`). For
//! every column of a login and every way to be refused: `crates/gateway/src/call/login.rs`, and
//! `call_login.rs` and `call_access.rs` of `crates/gateway/tests`.

mod common;

use anyhow::{Context, Result, ensure};
use cluster::http::{Request, Response};
use cluster::{Cluster, StopMode};
use common::calls::{Api, builder, ready, start, told};
use common::login::{APPLICATION, login, session};
use common::tokens;
use common::{SOON, cookie_name};
use serde_json::{Value, json};

fn as_session(api: &Api<'_>, method: &str, routine: &str, session: &str) -> Request {
    api.request(method, routine).header("Cookie", session)
}

fn me(api: &Api<'_>, session: &str) -> Result<Response> {
    api.http.request(&as_session(api, "GET", "get-me", session))
}

fn claims(cluster: &Cluster, session: &str) -> Result<Value> {
    tokens::claims(cluster, session.split_once('=').context("a cookie")?.1)
}

fn lifetime(claims: &Value) -> Result<f64> {
    Ok(claims["exp"].as_f64().context("exp")? - claims["iat"].as_f64().context("iat")?)
}

#[test]
fn a_login_sets_a_cookie_whose_token_is_the_first_row() -> Result<()> {
    let api = Api::new("entering")?;
    api.sql(APPLICATION)?;
    let answer = login(&api, "alice", "a")?;
    let cookies = answer.head.header_values("set-cookie");
    ensure!(cookies.len() == 1, "{cookies:?}");
    let attributes: Vec<String> =
        cookies[0].split(';').skip(1).map(|part| part.trim().to_lowercase()).collect();
    for wanted in ["httponly", "samesite=lax", "path=/"] {
        ensure!(attributes.iter().any(|found| found == wanted), "{wanted} in {cookies:?}");
    }
    ensure!(!attributes.iter().any(|found| found.starts_with("domain")), "{cookies:?}");
    assert_eq!(attributes.iter().any(|found| found == "secure"), api.http.is_secure(), "{cookies:?}");
    let age: f64 =
        attributes.iter().find_map(|part| part.strip_prefix("max-age=")).context("Max-Age")?.parse()?;
    ensure!((1_209_590.0..=1_209_600.0).contains(&age), "{cookies:?}");
    ensure!(answer.body.is_empty(), "{}", told(&answer));
    ensure!(answer.header("cache-control").is_some_and(|value| value.contains("no-store")));

    let alice = session(&answer)?;
    let said = claims(api.cluster, &alice)?;
    ensure!((1_209_590.0..=1_209_600.0).contains(&lifetime(&said)?), "{said}");
    assert_eq!((&said["user_name"], &said["team"]), (&json!("alice"), &json!("red")));
    assert_eq!(said["user_roles"], json!(["staff", "a, b"]));
    let who = me(&api, &alice)?.json()?;
    assert_eq!((&who[0], &who[1]), (&json!("1"), &json!("alice")));
    let roles: Value = serde_json::from_str(who[2].as_str().context("roles")?)?;
    assert_eq!(roles, json!(["staff", "a, b"]));

    for (name, password) in [("alice", "b"), ("alice", ""), ("eve", "a"), ("' or 1=1 --", "' or 1=1 --")] {
        let answer = login(&api, name, password)?;
        ensure!(
            answer.status() == 401 && answer.head.cookie(cookie_name(api.http)).is_none(),
            "{name}: {}",
            told(&answer)
        );
    }
    assert_eq!(api.post("login", &json!({ "name": "alice" }))?.status(), 400);
    assert_eq!(api.get("login?name=alice&password=a")?.status(), 405, "no passwords in URLs");
    Ok(())
}

#[test]
fn a_logout_clears_the_cookie_ends_its_streams_and_refuses_its_token_for_good() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "leaving")?;
    api.sql(APPLICATION)?;
    let (alice, again, bob) = (
        session(&login(&api, "alice", "a")?)?,
        session(&login(&api, "alice", "a")?)?,
        session(&login(&api, "bob", "b")?)?,
    );
    ensure!(alice != again, "two logins are two sessions");
    let listen = |session: &str| -> Result<cluster::http::EventStream> {
        api.http.events_with(&as_session(&api, "GET", "announce/info", session))?.begun()
    };
    let (mut alices, mut agains, mut bobs) = (listen(&alice)?, listen(&again)?, listen(&bob)?);
    let answer = api.http.request(&as_session(&api, "POST", "logout", &alice))?;
    ensure!((200..300).contains(&answer.status()), "{}", told(&answer));
    let cookie = answer.head.header_values("set-cookie").join("\n").to_lowercase();
    ensure!(
        cookie.starts_with(&format!("{}=", cookie_name(api.http).to_lowercase()))
            && cookie.contains("secure") == api.http.is_secure()
            && cookie.contains("max-age=0")
            && cookie.contains("path=/"),
        "{cookie}"
    );
    alices.wait_for_end(SOON)?;
    assert_eq!(me(&api, &alice)?.status(), 401);
    // The other session of the same user, and other users, stay.
    assert_eq!((me(&api, &again)?.status(), me(&api, &bob)?.status()), (200, 200));
    let say = as_session(&api, "POST", "announce", &again).json(&json!({ "what": "still here" }));
    assert_eq!(api.http.request(&say)?.status(), 204);
    for stream in [&mut agains, &mut bobs] {
        assert_eq!(stream.next(SOON)?.data, "still here");
    }
    // Without a session, or with a bad one: nothing to do, and no error.
    assert_eq!(api.post("logout", &json!({}))?.status() / 100, 2);
    assert_eq!(api.http.request(&as_session(&api, "POST", "logout", &alice))?.status() / 100, 2);
    // Refused for good, and the others' sessions survive the server's restart and its crash.
    for mode in [StopMode::Fast, StopMode::Immediate] {
        cluster.restart(mode)?;
        ready(&cluster)?;
        let api = Api::again(&cluster, "leaving")?;
        let answers =
            [&alice, &again, &bob].map(|session| me(&api, session).map(|answer| answer.status()).ok());
        assert_eq!(answers, [Some(401), Some(200), Some(200)], "{mode:?}");
    }
    Ok(())
}

#[test]
fn behind_a_trusted_proxy_with_tls_the_cookie_is_secure() -> Result<()> {
    let cluster = start(
        builder()
            .setting("sse.trusted_proxies", "127.0.0.1")
            .setting("sse.session_lifetime", "1h")
            .setting("sse.cookie_name", "chat")
            .setting("sse.cookie_same_site", "strict"),
    )?;
    let api = Api::of(&cluster, "proxied")?;
    api.sql(APPLICATION)?;
    let request = api
        .request("POST", "login")
        .json(&json!({ "name": "bob", "password": "b" }))
        .header("X-Forwarded-Proto", "https");
    let answer = api.http.request(&request)?;
    let cookie = answer.head.header_values("set-cookie").join("\n").to_lowercase();
    for wanted in ["chat=", "secure", "httponly", "samesite=strict", "max-age="] {
        ensure!(cookie.contains(wanted), "{wanted} in {cookie}");
    }
    let token = answer.head.cookie("chat").context("no cookie")?;
    ensure!(lifetime(&claims(&cluster, &format!("x={token}"))?)? <= 3600.0);
    // A user without roles: an empty list.
    let request = api
        .request("GET", "get-me")
        .header("Cookie", &format!("chat={token}"))
        .header("X-Forwarded-For", "192.0.2.7");
    assert_eq!(api.http.request(&request)?.json()?[1], "bob");
    Ok(())
}

/// Attack: anybody who may create a function could log in as any user.
#[test]
fn a_login_of_an_owner_who_may_not_issue_tokens_is_no_login() -> Result<()> {
    let api = Api::new("owners")?;
    api.sql("create role maker; grant all on schema owners to maker")?;
    api.run(
        "set role maker;
         create function fake() returns table (user_id int, user_roles text) language sql as $$ select 1, 'admin' $$;
         comment on function fake() is e'HTTP POST\\n@login\\n@anonymous';",
    )?
    .ok()?;
    let answer = api.post("fake", &json!({}))?;
    ensure!(
        answer.status() >= 400 && answer.head.cookie(cookie_name(api.http)).is_none(),
        "{}",
        told(&answer)
    );
    let problem = api.sql("select problem from sse.endpoints where url = '/api/owners/fake'")?;
    ensure!(problem.contains("issue_token"), "{problem:?}");
    Ok(())
}
