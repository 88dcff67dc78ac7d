//! Honest callers: each has an identity, and each call has a nonce; an answer must bring both back.
//!
//! Not for calls that are not judged: those are attacks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;
use cluster::Clock;
use cluster::http::{Client, Connection, Request, Response};
use serde_json::json;

use super::Ends;
use crate::ground::Ground;

/// Between two calls of one caller.
const PACE: Duration = Duration::from_millis(20);

/// After this time an answer counts as missing: longer than `sse.call_timeout` in a run plus its grace.
const PATIENCE: Duration = Duration::from_secs(30);

/// At most this many of a kind are told; all are counted.
const MAX_TOLD: usize = 20;

/// A routine that answers with nonce and caller, and one whose row type changes all the time.
const ROUTINES: [&str; 2] = ["/api/echo", "/api/item-of"];

/// Who calls.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) id: &'static str,
    pub(crate) token: String,
}

/// The results of the calls.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(crate) by_status: BTreeMap<u16, u64>,
    /// Its own answer.
    pub(crate) answered: u64,
    /// Documented refusals: 503 with `Retry-After`, 429, and 409 with 40001. The last means: columns have
    /// changed, the routines cannot be read meanwhile because somebody has locked `pg_database`, and nothing
    /// of the call is in force.
    pub(crate) refused: u64,
    /// Neither, while an outage that this run made was on.
    pub(crate) in_outages: u64,
    /// Neither: the first ones in words, and how many there were.
    pub(crate) wrong: Vec<String>,
    pub(crate) wrong_total: u64,
    /// How long the answered calls took, in microseconds.
    pub(crate) durations: Vec<u64>,
}

impl Calls {
    pub(crate) fn and(mut self, other: Self) -> Self {
        for (status, count) in other.by_status {
            *self.by_status.entry(status).or_default() += count;
        }
        self.answered += other.answered;
        self.refused += other.refused;
        self.in_outages += other.in_outages;
        self.wrong.extend(other.wrong);
        self.wrong_total += other.wrong_total;
        self.durations.extend(other.durations);
        self
    }
}

pub(super) fn start(
    ground: &Arc<Ground>,
    person: Person,
    clock: Clock,
    ends: Arc<Ends>,
) -> JoinHandle<Calls> {
    let client = ground.client.within(PATIENCE);
    let caller = Caller { client, person, clock, ends, calls: Calls::default() };
    thread::spawn(move || caller.call())
}

struct Caller {
    client: Client,
    person: Person,
    clock: Clock,
    ends: Arc<Ends>,
    calls: Calls,
}

/// What an answer is.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Own,
    Refusal,
    /// Somebody else's answer, or one that makes no sense: wrong even in an outage.
    Foreign,
    /// An error that is no refusal.
    Failure,
}

impl Caller {
    fn call(mut self) -> Calls {
        let mut connection: Option<Connection> = None;
        for number in 0.. {
            if self.ends.work.load(Relaxed) {
                break;
            }
            let nonce = format!("{}-{number}", self.person.id);
            let path = ROUTINES[number % ROUTINES.len()];
            let was_outage = self.ends.outage.load(Relaxed);
            let began = self.clock.now();
            let answer = self.ask(&mut connection, path, &nonce);
            let is_outage = was_outage || self.ends.outage.load(Relaxed);
            match answer {
                Ok(answer) => self.judge(path, &nonce, &answer, began, is_outage),
                Err(error) => {
                    connection = None;
                    let what = format!("{path} {nonce}: no answer: {error:#}");
                    self.failure(what, is_outage, began);
                }
            }
            thread::sleep(PACE);
        }
        self.calls
    }

    /// On a kept connection: it is never closed after being idle for milliseconds, so a second try would hide
    /// a fault.
    fn ask(&self, kept: &mut Option<Connection>, path: &str, nonce: &str) -> Result<Response> {
        let request =
            Request::new("POST", path).bearer(self.person.token.as_str()).json(&json!({ "nonce": nonce }));
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => self.client.connect()?,
        };
        connection.send(&request)?;
        let answer = connection.response("POST")?;
        if answer.header("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close")) {
            *kept = Some(connection);
        }
        Ok(answer)
    }

    fn judge(&mut self, path: &str, nonce: &str, answer: &Response, began: u64, is_outage: bool) {
        *self.calls.by_status.entry(answer.status()).or_default() += 1;
        match verdict(answer, nonce, self.person.id) {
            Verdict::Own => {
                self.calls.answered += 1;
                self.calls.durations.push(self.clock.now() - began);
                self.ends.answered.fetch_add(1, Relaxed);
            }
            Verdict::Refusal => self.calls.refused += 1,
            Verdict::Foreign => self.failure(told(path, nonce, answer), false, began),
            Verdict::Failure => self.failure(told(path, nonce, answer), is_outage, began),
        }
    }

    fn failure(&mut self, what: String, is_outage: bool, began: u64) {
        if is_outage {
            self.calls.in_outages += 1;
            return;
        }
        self.calls.wrong_total += 1;
        if self.calls.wrong.len() < MAX_TOLD {
            let until = self.clock.now() / 1000;
            self.calls.wrong.push(format!("{what} (from {} to {until} ms)", began / 1000));
        }
    }
}

fn verdict(answer: &Response, nonce: &str, id: &str) -> Verdict {
    match answer.status() {
        200 => {
            let Ok(body) = answer.json() else { return Verdict::Foreign };
            let is = |name: &str, value: &str| body[name].as_str() == Some(value);
            if is("nonce", nonce) && is("who", id) { Verdict::Own } else { Verdict::Foreign }
        }
        503 if answer.header("retry-after").is_some() => Verdict::Refusal,
        429 => Verdict::Refusal,
        409 if answer.text().contains("\"sqlstate\":\"40001\"") => Verdict::Refusal,
        _ => Verdict::Failure,
    }
}

fn told(path: &str, nonce: &str, answer: &Response) -> String {
    let text: String = answer.text().chars().take(200).collect();
    format!("{path} {nonce}: {} {text}", answer.status())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::http::Head;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let head = Head { version: "HTTP/1.1".to_owned(), status, headers };
        Response { head, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn an_answer_must_bring_back_the_nonce_and_the_caller() {
        let own = r#"{"nonce":"a-1","who":"a"}"#;
        assert_eq!(verdict(&answer(200, &[], own), "a-1", "a"), Verdict::Own);
        for (nonce, id) in [("a-2", "a"), ("a-1", "b")] {
            assert_eq!(verdict(&answer(200, &[], own), nonce, id), Verdict::Foreign);
        }
        assert_eq!(verdict(&answer(200, &[], "SECRET"), "a-1", "a"), Verdict::Foreign);
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        assert_eq!(verdict(&answer(503, &[("Retry-After", "1")], ""), "", ""), Verdict::Refusal);
        assert_eq!(verdict(&answer(503, &[], ""), "", ""), Verdict::Failure);
        assert_eq!(verdict(&answer(429, &[], ""), "", ""), Verdict::Refusal);
        assert_eq!(verdict(&answer(500, &[], ""), "", ""), Verdict::Failure);
    }

    #[test]
    fn a_conflict_counts_as_a_refusal_only_when_nothing_is_in_force() {
        let body = r#"{"status":409,"sqlstate":"40001"}"#;
        assert_eq!(verdict(&answer(409, &[], body), "", ""), Verdict::Refusal);
        let body = r#"{"status":409,"sqlstate":"23505"}"#;
        assert_eq!(verdict(&answer(409, &[], body), "", ""), Verdict::Failure);
    }
}
