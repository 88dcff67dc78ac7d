//! Tokens that are nobody's, or too large, and accounts that log in and out without end.
//!
//! Not for the honest callers' tokens.

use anyhow::{Context, Result};

use super::hand::{Blow, Hand, header, post, request};

/// Forged, malformed, unsigned: {"alg":"none"} and {"alg":"HS256"} with a signature of nothing.
const BAD: [&str; 5] = [
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImV4cCI6NDEwMjQ0NDgwMH0.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.AAAA",
    "..",
    "not a token",
];

fn show(hand: &Hand, token: &str) -> Result<Blow> {
    let (status, _) =
        hand.ask(&request("GET", "/api/who-am-i", &format!("Authorization: Bearer {token}\r\n")))?;
    Ok(match status {
        400 | 401 | 431 => Blow::Struck(1),
        _ => Blow::Refused(status.to_string()),
    })
}

/// A token that is not believed; now and then one that has expired.
pub(super) fn show_bad_token(hand: &mut Hand) -> Result<Blow> {
    if hand.number == 0 {
        let sql = "select sse.issue_token('mallory', 'mallory', '{}'::text[], '1 second')";
        hand.text = hand.query("postgres", sql)?.ok()?.context("no token")?;
    }
    hand.number += 1;
    let choice = hand.rng.usize(0..=BAD.len());
    let token = BAD.get(choice).map_or_else(|| hand.text.clone(), |token| (*token).to_owned());
    show(hand, &token)
}

/// A token of up to 200 kB, with a claim that fills nearly all of it or with thousands of roles.
pub(super) fn show_huge_token(hand: &mut Hand) -> Result<Blow> {
    let size = hand.any_size(200_000) as usize;
    let part = ["QUFB", "eyJhIjpb", "W1tb"][hand.rng.usize(0..3)];
    let token = format!("eyJhbGciOiJIUzI1NiJ9.{}.AAAA", part.repeat(size / part.len() + 1));
    show(hand, &token)
}

/// Each logout is a token that is refused from then on.
pub(super) fn log_in_and_out(hand: &mut Hand) -> Result<Blow> {
    let (status, head) = hand.ask(&post("/api/login", "", b"{\"name\":\"mallory\"}"))?;
    if status != 200 {
        return Ok(Blow::Refused(status.to_string()));
    }
    let cookie = header(&head, "set-cookie").and_then(|value| value.split(';').next());
    let cookie = cookie.context("a login without a cookie")?;
    let (status, _) = hand.ask(&post(
        "/api/logout",
        &format!("Cookie: {cookie}\r\nSec-Fetch-Site: same-origin\r\n"),
        b"{}",
    ))?;
    Ok(if status < 300 { Blow::Struck(1) } else { Blow::Refused(status.to_string()) })
}
