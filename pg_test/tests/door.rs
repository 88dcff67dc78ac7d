//! Who may open a stream, and what the others are told: tokens good and forged, `sse.require_authentication`,
//! and the limit for one address (C1.3, C4.7).
//!
//! Not for who receives what once the stream is open: `scopes.rs`, `leak.rs`. For every form of a token, of a
//! cookie and of an origin: `crates/gateway/tests/auth.rs`, `cors.rs` there.

mod common;

use anyhow::{Result, ensure};
use cluster::http::{Client, Request, Response};
use cluster::{Cluster, wait_for};
use common::tokens::{ALICE, MANAGER, SECRET, builder, get, issue, listen, mint, now, status_of};
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
    cluster.reconfigure("sse.cookie_name", "other")?;
    wait_for_status(http, &in_url, 200, SOON)?;
    assert_eq!(status(http, &format!("{MANAGED}?access={token}"))?, 200);
    assert_eq!(status_of(http, &cookie(&token))?, 401, "another cookie is meant");
    assert_eq!(status_of(http, &cookie(&token).header("Cookie", &format!("other={token}")))?, 200);
    Ok(())
}

// What a token may look like at all is tested beside the code that reads it
// (`crates/gateway/src/auth/tests/`).
#[test]
fn a_token_that_is_not_to_be_believed_opens_nothing() -> Result<()> {
    let cluster = builder()
        .setting("sse.jwt_issuer", "https://issuer.example")
        .setting("sse.jwt_audience", "pg_sse")
        .start()?;
    let http = furnish(&cluster)?;
    let exp = now()? + 600;
    let claims = |iss: &str, aud: &str, exp: u64| {
        format!(r#"{{"sub":"1","iss":"{iss}","aud":["{aud}"],"exp":{exp}}}"#)
    };
    let good = claims("https://issuer.example", "pg_sse", exp);
    assert_eq!(status_of(http, &get(CLOSED, Some(&mint(&cluster, SECRET, &good)?)))?, 200);
    let refused = [
        mint(&cluster, SECRET, &claims("https://issuer.example", "pg_sse", exp - 640))?,
        mint(&cluster, SECRET, &claims("https://issuer.example/", "pg_sse", exp))?,
        mint(&cluster, SECRET, &claims("https://issuer.example", "pg_sse2", exp))?,
        mint(&cluster, &format!("{SECRET}."), &good)?,
    ];
    for token in &refused {
        // At the open stream too: a bad token is never "anonymous".
        is_problem(&answer(http, OPEN, Some(token))?, 401, token)?;
    }
    let expected = i64::try_from(refused.len())?;
    wait_for(SOON, "all are counted", || {
        Ok((figure(&cluster, "stat_gateway", "refused_tokens_total")? == expected).then_some(()))
    })
}

#[test]
fn require_authentication_closes_every_door_but_those_that_must_stay_open() -> Result<()> {
    let cluster = builder().start()?;
    let http = furnish(&cluster)?;
    let token = issue(&cluster, ALICE)?;
    let mut before = listen(http, OPEN, None)?;
    cluster.reconfigure("sse.require_authentication", "on")?;
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
    cluster.reconfigure("sse.max_connections_per_address", "0")?;
    wait_for(SOON, "there is no limit", || {
        let streams: Vec<_> = (0..4).map(|_| listen(http, OPEN, None)).collect();
        Ok(streams.iter().all(Result::is_ok).then_some(()))
    })
}
