//! No stream gets a snapshot, or the end of a call, that is not for it: who listens, whom a stream and its
//! function are for, and who calls with which execution id are drawn at random, and what each stream received
//! is compared with a second implementation of C4.2, C7.6 and C7.9.
//!
//! The seed is printed; `PG_SSE_SEED=…` runs the same draw again. Not for other events: that is `leak`.

mod common;
// Each test file uses a part of it.
#[allow(dead_code)]
#[path = "../../crates/proto/tests/admission/oracle.rs"]
mod oracle;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::Cluster;
use cluster::http::{Client, EventStream, Request};
use common::SOON;
use common::calls::{ROLE, builder, start};
use common::dice::Dice;
use common::tokens::{listen, mint_for, quoted};
use oracle::{Call, Event, Listed, Listener, Person, Raiser, Scope};
use serde_json::json;

const STREAMS: usize = 16;
const EARS: usize = 24;
const CALLS: usize = 6;
const IDS: [&str; 3] = ["x", "X", "batch"];

/// Id, name and role of everybody; values meet in the same kind and in another.
const PEOPLE: [(&str, &str, &str); 5] = [
    ("1", "alice", "staff"),
    ("2", "bob", "1"),
    ("42", "ALICE", "admin"),
    ("alice", "x", ""),
    ("X", "2", "Staff"),
];
const LISTED: [Listed2; 8] = [
    ("", "alice"),
    ("", "1"),
    ("", "2"),
    ("id", "1"),
    ("id", "42"),
    ("name", "alice"),
    ("role", "staff"),
    ("role", "admin"),
];

type Listed2 = (&'static str, &'static str);

impl Dice {
    fn list(&mut self) -> Vec<Listed> {
        let count = self.0.usize(..3);
        (0..count).map(|_| self.pick(&LISTED)).map(|(kind, value)| (kind, value.to_owned())).collect()
    }

    fn person(&mut self) -> Option<Person> {
        if self.one_in(4) {
            return None;
        }
        let (id, name, role) = self.pick(&PEOPLE);
        let roles = if role.is_empty() { Vec::new() } else { vec![role.to_owned()] };
        Some(Person { id: id.to_owned(), name: name.to_owned(), roles })
    }
}

fn written(list: &[Listed]) -> String {
    let values = list.iter().map(|(kind, value)| match *kind {
        "" => value.clone(),
        kind => format!("{kind}:{value}"),
    });
    format!("authorize {}", values.collect::<Vec<_>>().join(", ")).trim_end().to_owned()
}

/// A routine with a snapshot, as the oracle sees it.
struct Stream {
    scope: Scope,
    rule: Option<Vec<Listed>>,
    rule_of_function: Option<Vec<Listed>>,
    is_shared: bool,
}

impl Stream {
    fn create(dice: &mut Dice, cluster: &Cluster, number: usize) -> Result<Self> {
        let (rule, rule_of_function) =
            (dice.one_in(3).then(|| dice.list()), dice.one_in(3).then(|| dice.list()));
        let mut scope = rule.clone().map_or(Scope::All, Scope::Authorize);
        let mut comment = format!("@sse\n@sse_snapshot f{number} as state");
        if let Some(rule) = &rule {
            comment += &format!("\n@{}", written(rule));
        }
        if dice.one_in(2) {
            let (drawn, text) = match dice.0.u32(0..5) {
                0 => (Scope::All, "all".to_owned()),
                1 => (Scope::Matching, "matching".to_owned()),
                2 => (Scope::Caller, "caller".to_owned()),
                _ => {
                    let list = dice.list();
                    (Scope::Authorize(list.clone()), written(&list))
                }
            };
            scope = drawn;
            comment += &format!("\n@sse_scope {text}");
        }
        let is_shared = dice.one_in(2);
        // What it says: whom it was run for, and the rows that row security shows.
        let (parameter, whom) = if is_shared { ("", "'all'") } else { ("_user_id text", "_user_id") };
        cluster.sql(&format!(
            "create function f{number}({parameter}) returns text language sql as
             $f$ select concat({whom}, '|', current_setting('request.user_id', true), '|', string_agg(body, ',')) from secret $f$;
             create function s{number}() returns void language sql as '';
             comment on function s{number} is {}",
            quoted(&comment)
        ))?;
        if let Some(rule) = &rule_of_function {
            let comment = quoted(&format!("@{}", written(rule)));
            cluster.sql(&format!("comment on function f{number}({parameter}) is {comment}"))?;
        }
        Ok(Self { scope, rule, rule_of_function, is_shared })
    }

    fn lets_in(&self, person: Option<&Person>) -> bool {
        self.rule.as_ref().is_none_or(|rule| oracle::is_authorized(rule, person))
    }

    /// What this subscriber gets, if anything. C7.6: "for a subscriber who passes the routine's scope, its
    /// `@authorize` and `f`'s own"; a snapshot has no emitter and no call.
    fn snapshot_for(&self, listener: &Listener) -> Option<String> {
        let (scope, rule) = (self.scope.clone(), self.rule.clone());
        let (raiser, call) = (Raiser::Nobody, None);
        let event = Event { execution_id: String::new(), topic: String::new(), scope, rule, raiser, call };
        let person = listener.person.as_ref();
        let may_call = self.rule_of_function.as_ref().is_none_or(|rule| oracle::is_authorized(rule, person));
        if !oracle::receives(&event, listener) || !may_call {
            return None;
        }
        Some(match (self.is_shared, person) {
            (true, _) => "all||of nobody".to_owned(),
            (false, None) => "||of nobody".to_owned(),
            (false, Some(Person { id, .. })) => format!("{id}|{id}|of {id}"),
        })
    }
}

fn token_of(person: &Person, cluster: &Cluster) -> Result<String> {
    mint_for(cluster, &person.id, &person.name, &person.roles)
}

/// Somebody who listens, and all that is to come.
struct Ear {
    listener: Listener,
    path: String,
    stream: EventStream,
    expected: Vec<String>,
}

impl Ear {
    fn open(dice: &mut Dice, cluster: &Cluster, http: Client, streams: &[Stream]) -> Result<Self> {
        let (number, person) = loop {
            let (number, person) = (dice.0.usize(..streams.len()), dice.person());
            if streams[number].lets_in(person.as_ref()) {
                break (number, person);
            }
        };
        let execution_id = if dice.one_in(2) { dice.pick(&IDS) } else { "" }.to_owned();
        let path = format!("/api/s{number}/info?id={execution_id}");
        let token = person.as_ref().map(|person| token_of(person, cluster)).transpose()?;
        let stream = listen(http, &path, token.as_deref()).with_context(|| path.clone())?;
        let listener = Listener { person, topics: Vec::new(), execution_id, call: None };
        let mut ear = Self { listener, path, stream, expected: Vec::new() };
        // Before anything is published: what a snapshot has seen does not come.
        if let Some(snapshot) = streams[number].snapshot_for(&ear.listener) {
            let event =
                ear.stream.next_payload(SOON).with_context(|| format!("{}: no snapshot", ear.path))?;
            let found = (event.event.as_str(), event.data.as_str());
            ensure!(found == ("state", snapshot.as_str()), "{:?} at {}: {event:?}", ear.listener, ear.path);
        }
        Ok(ear)
    }

    /// Everything up to the mark is what was to come: ends of calls, no snapshot, no gap.
    fn compare(&mut self, mark: &str) -> Result<()> {
        let mut received = Vec::new();
        loop {
            let event = self
                .stream
                .next_payload(SOON)
                .with_context(|| format!("{}: {mark:?} is missing", self.path))?;
            match event.event.as_str() {
                "message" if event.data == mark => break,
                name => received.push(format!("{name} {}", event.data)),
            }
        }
        let expected = std::mem::take(&mut self.expected);
        let (listener, path) = (&self.listener, &self.path);
        ensure!(
            received == expected,
            "{listener:?} at {path}\nreceived {received:#?}\nexpected {expected:#?}"
        );
        Ok(())
    }
}

/// Attack: somebody calls with an execution id that others listen to, or listens to that of somebody else's
/// call.
fn call(dice: &mut Dice, cluster: &Cluster, http: Client, number: u64, ears: &mut [Ear]) -> Result<()> {
    let person = dice.person();
    let id = if dice.one_in(4) { "" } else { dice.pick(&IDS) };
    let message = format!("result {number}");
    let mut request = Request::new("POST", "/api/task")
        .header("Prefer", "respond-async")
        .json(&json!({ "message": message }));
    if !id.is_empty() {
        request = request.header("X-Execution-Id", id);
    }
    let token = person.as_ref().map(|person| token_of(person, cluster)).transpose()?;
    let request = request.bearer(token.as_deref());
    let answer = http.request(&request)?;
    ensure!(answer.status() == 202, "{request:?}: {} {}", answer.status(), answer.text());
    // The end of this call comes before the next one begins, so that the order is known.
    let location = answer.header("location").context("no location")?;
    let mut own = listen(http, location, token.as_deref())?;
    loop {
        let event = own.next(SOON).with_context(|| format!("{message} does not come at {location}"))?;
        if event.event == "sse.result" && event.data == message {
            break;
        }
    }
    // C7.9: without an id of an authenticated request the gateway makes one.
    let has_made_id = person.is_none() || id.is_empty();
    let execution_id = if has_made_id { format!("made for {number}") } else { id.to_owned() };
    let user_id = person.as_ref().map(|person| person.id.clone());
    let call = Call { number, user_id, execution_id: execution_id.clone(), has_made_id };
    let (scope, rule, raiser) = (Scope::Caller, None, Raiser::Nobody);
    let event = Event { execution_id, topic: String::new(), scope, rule, raiser, call: Some(call) };
    for ear in ears.iter_mut().filter(|ear| oracle::receives(&event, &ear.listener)) {
        ear.expected.push(format!("sse.result {message}"));
    }
    Ok(())
}

#[test]
fn nobody_gets_a_snapshot_or_the_end_of_a_call_that_is_not_for_them() -> Result<()> {
    let (mut dice, seed) = Dice::new()?;
    let cluster = start(builder().setting("sse.threads", 1 + dice.0.u32(..3)))?;
    // Row security shows everybody the row of their id, and the anonymous that of nobody.
    let rows: Vec<String> = PEOPLE.iter().map(|(id, ..)| format!("('{id}', 'of {id}')")).collect();
    cluster.sql(&format!(
        "create table secret(owner text, body text); insert into secret values ('', 'of nobody'), {};
         alter table secret enable row level security; grant select on secret to {ROLE};
         create policy own on secret using (owner = coalesce(current_setting('request.user_id', true), ''));
         create function task(message text) returns text language sql as 'select message';
         comment on function task is E'HTTP POST\\n@sse'",
        rows.join(", ")
    ))?;
    let streams: Vec<Stream> =
        (0..STREAMS).map(|number| Stream::create(&mut dice, &cluster, number)).collect::<Result<_>>()?;
    let http = cluster.http()?;
    let deadline = Instant::now() + Duration::from_secs(10);
    let (mut rounds, mut snapshots, mut ends, mut calls) = (0, 0, 0, 0);
    while rounds < 3 || Instant::now() < deadline {
        let mut ears: Vec<Ear> = (0..EARS)
            .map(|_| Ear::open(&mut dice, &cluster, http, &streams))
            .collect::<Result<_>>()
            .with_context(|| seed.clone())?;
        for _ in 0..CALLS {
            call(&mut dice, &cluster, http, calls, &mut ears).with_context(|| seed.clone())?;
            calls += 1;
        }
        ends += ears.iter().map(|ear| ear.expected.len()).sum::<usize>();
        let mark = format!("mark {rounds}");
        cluster.sql(&format!("select sse.publish('{mark}')"))?;
        for ear in &mut ears {
            ear.compare(&mark).with_context(|| seed.clone())?;
        }
        snapshots += ears.len();
        rounds += 1;
    }
    println!(
        "{rounds} rounds, {snapshots} streams, {calls} calls whose end {ends} streams got; no difference"
    );
    ensure!(ends > 0, "nobody followed a call");
    Ok(())
}
