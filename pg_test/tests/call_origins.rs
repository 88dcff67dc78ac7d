//! From which pages calls may come (C7.5).
//!
//! Not for sessions (`call_login.rs`), nor for which origins may read streams (`proxies.rs`).

mod common;

use anyhow::Result;
use cluster::http::Request;
use common::calls::{Api, Findings, builder, start, told};
use common::login::{APPLICATION, login, session};
use serde_json::json;

/// Attack: cross-site request forgery, where another site's page makes a browser call with its cookie, or
/// logs it in as somebody else.
// Long because it is one list of headers.
#[test]
fn a_page_of_another_origin_cannot_call() -> Result<()> {
    let cluster = start(builder().setting("sse.cors_origins", "https://friend.example"))?;
    let api = Api::of(&cluster, "origins")?;
    api.sql(APPLICATION)?;
    let cookie = session(&login(&api, "alice", "a")?)?;
    let own = api.http.url("");
    let other_scheme = if api.http.is_secure() { "http" } else { "https" };
    let other_scheme = format!("{other_scheme}://{}", api.http.address());
    let other_port = own.replace(&format!(":{}", api.http.address().port()), ":1");
    let mut findings = Findings::default();
    // Sec-Fetch-Site, Origin, allowed with a cookie, without one.
    for (site, origin, with, without) in [
        (Some("same-origin"), None, true, true),
        (Some("none"), None, true, true),
        (Some("same-origin"), Some("https://evil.example"), true, true),
        (Some("cross-site"), None, false, false),
        (Some("same-site"), None, false, false),
        (Some("cross-site"), Some("https://evil.example"), false, false),
        (Some("cross-site"), Some("https://friend.example"), true, true),
        (Some("same-site"), Some(own.as_str()), true, true),
        (None, Some(own.as_str()), true, true),
        // Without TLS a proxy that speaks it may be in front, whom nobody has named.
        (None, Some(other_scheme.as_str()), !api.http.is_secure(), !api.http.is_secure()),
        (None, Some(other_port.as_str()), false, false),
        (None, Some("https://friend.example"), true, true),
        (None, Some("https://friend.example.evil.example"), false, false),
        (None, Some("http://friend.example"), false, false),
        (None, Some("null"), false, false),
        (None, Some(""), false, false),
        (None, None, false, true),
    ] {
        for (cookie, wanted) in [(Some(&cookie), with), (None, without)] {
            for (routine, body) in
                [("announce", json!({ "what": "x" })), ("login", json!({ "name": "alice", "password": "a" }))]
            {
                let mut request = Request::new("POST", &api.path(routine)).json(&body);
                // A login ends the session whose cookie it replaces.
                let spare = match (routine, cookie) {
                    ("login", Some(_)) => Some(session(&login(&api, "alice", "a")?)?),
                    _ => cookie.cloned(),
                };
                for (name, value) in
                    [("Sec-Fetch-Site", site), ("Origin", origin), ("Cookie", spare.as_deref())]
                {
                    if let Some(value) = value {
                        request = request.header(name, value);
                    }
                }
                let answer = api.http.request(&request)?;
                let fine = if routine == "login" {
                    200
                } else if cookie.is_some() {
                    204
                } else {
                    401
                };
                let wanted = if wanted { fine } else { 403 };
                let what =
                    format!("{site:?} {origin:?} cookie {} {routine}: {}", cookie.is_some(), told(&answer));
                findings.expect(&what, answer.status(), wanted);
            }
        }
    }
    // This does not guard reading: what another page may read is decided by CORS.
    let request =
        Request::get(&api.path("get-me")).header("Cookie", &cookie).header("Sec-Fetch-Site", "cross-site");
    findings.expect("GET", api.http.request(&request)?.status(), 200);
    findings.report()
}
