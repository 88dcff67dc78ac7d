//! Calls of routines through pg_sse, beside a hand-written axum and tokio-postgres endpoint that does the
//! same against the same server.
//!
//! Three calls of ours (one row, ten rows, a procedure that writes) and six that a public comparison has
//! (public.sql), over connections that are kept. Both sides set the same nine settings for each call, and
//! have as many database sessions as there are call workers.
//!
//! Not for events.

use std::time::Duration;

use anyhow::{Result, ensure};
use cluster::{Cluster, PATIENCE, wait_for};
use serde_json::Value;

use crate::call::Call;
use crate::peers::Program;
use crate::process;
use crate::report::{Chapter, Metric};
use crate::requests::{self, Sample};
use crate::scale::{Scale, Size};

/// What is called, on both sides.
const APPLICATION: &str = r#"
    create role app login;
    create extension pg_sse;
    create table items (id int primary key, title text not null, created_at timestamptz not null);
    insert into items select n, 'item ' || n, '2026-01-02 03:04:05Z'::timestamptz + n * interval '1 minute' from generate_series(1, 10000) n;
    create table notes (note_id bigint generated always as identity, item_id int not null, note text not null);
    grant select on items to app;
    grant insert on notes to app;
    create function get_one(_id int) returns table (id int, title text, created_at timestamptz) language sql stable
        as 'select id, title, created_at from items where id = _id';
    comment on function get_one(int) is 'HTTP';
    create function get_ten(_id int) returns table (id int, title text, created_at timestamptz) language sql stable
        as 'select id, title, created_at from items where id >= _id order by id limit 10';
    comment on function get_ten(int) is 'HTTP';
    create procedure add_note(_item_id int, _note text) language plpgsql
        as $$ begin insert into notes (item_id, note) values (_item_id, _note); end $$;
    comment on procedure add_note(int, text) is 'HTTP POST';
    analyze items;
"#;

/// And the six of the public comparison.
const PUBLIC: &str = include_str!("public.sql");

/// Call workers, and connections of the endpoint.
const WORKERS: u32 = 2;

/// Requests in flight.
static FLIGHTS: [usize; 3] = [1, 8, 32];

/// The same for the calls of the public comparison, where what counts is what each call costs.
static PUBLIC_FLIGHTS: [usize; 1] = [32];

const SIDES: [&str; 2] = ["pg_sse", "axum + tokio-postgres"];

const LEFT_OUT: &str = "Left out: PostgREST and NpgsqlRest, which the registries that peers come from do not have \
    (npm's package npgsqlrest downloads a program from elsewhere when it is installed).";

pub(crate) const RATE: Metric = Metric { name: "calls", unit: "1/s", is_compared: true };
const MEDIAN: Metric = Metric { name: "p50", unit: "µs", is_compared: true };
const LATE: Metric = Metric { name: "p99", unit: "µs", is_compared: false };
const SYSTEM: Metric = Metric { name: "CPU per call, with Postgres", unit: "µs", is_compared: true };
const GENERATOR: Metric = Metric { name: "generator's CPU", unit: "%", is_compared: false };

/// Measures both sides by turns.
///
/// # Errors
/// A call is not answered, or the sides answer differently.
pub(crate) fn run(scale: &Scale) -> Result<Chapter> {
    let cluster = Cluster::builder()
        .without_extension()
        .setting("sse.call_role", "app")
        .setting("sse.call_workers", WORKERS)
        .setting("autovacuum", "off")
        .start()?;
    cluster.sql(APPLICATION)?;
    cluster.sql(PUBLIC)?;
    let gateway = cluster.http()?;
    let port = gateway.address().port();
    wait_for(PATIENCE, "calls are taken", || {
        let statuses = Call::ALL.into_iter().map(|call| Ok(requests::ask(port, call)?.0));
        let statuses: Vec<u16> = statuses.collect::<Result<_>>()?;
        Ok((!statuses.iter().any(|status| matches!(status, 404 | 503))).then_some(()))
    })?;
    let socket = cluster.home().display().to_string();
    let endpoint = Program::start_own(&["endpoint", &socket, &WORKERS.to_string()])?;
    let ports = [port, endpoint.port];
    same_answers(ports)?;
    let mut chapter =
        Chapter::new("calls", "Calls: 2 call workers, beside a pool of 2 connections", SIDES[1])
            .with_heads(["call", "server"]);
    for round in 0..scale.rounds {
        for call in Call::ALL {
            for &flight in flights(scale.size, call) {
                for side in 0..2 {
                    // The two sides alternate in going first.
                    let side = (side + round) % 2;
                    let time = || {
                        Ok::<_, anyhow::Error>(
                            process::tree_time(cluster.postmaster_pid()?)
                                + process::tree_time(endpoint.pid()),
                        )
                    };
                    let (before, own) = (time()?, process::own_time());
                    let sample = requests::run(ports[side], call, flight, scale.turn)?;
                    let (used, own) = (time()? - before, process::own_time() - own);
                    add(
                        &mut chapter,
                        &format!("{}, {flight} in flight", call.name()),
                        SIDES[side],
                        sample,
                        used,
                        own,
                    );
                }
            }
        }
    }
    chapter.note(LEFT_OUT.to_owned());
    Ok(chapter)
}

/// How many requests of this call are in flight, in the order of the rows. A quick run leaves out the public
/// comparison, which would take it minutes.
fn flights(size: Size, call: Call) -> &'static [usize] {
    match (size, call.is_public()) {
        (Size::Smoke, _) => &FLIGHTS[..1],
        (Size::Quick, true) => &[],
        (Size::Quick, false) => &FLIGHTS[..2],
        (Size::Full, true) => &PUBLIC_FLIGHTS,
        (Size::Full, false) => &FLIGHTS,
    }
}

fn add(chapter: &mut Chapter, row: &str, side: &str, mut sample: Sample, used: Duration, own: Duration) {
    chapter.add(row, side, RATE, sample.rate());
    chapter.add(row, side, MEDIAN, f64::from(sample.percentile(50)));
    chapter.add(row, side, LATE, f64::from(sample.percentile(99)));
    chapter.add(row, side, SYSTEM, used.as_secs_f64() * 1e6 / sample.all as f64);
    let all = sample.elapsed.as_secs_f64() * (1.0 + requests::WARMING);
    chapter.add(row, side, GENERATOR, own.as_secs_f64() / all * 100.0);
}

/// Both sides must answer alike, or the comparison says nothing.
fn same_answers([ours, theirs]: [u16; 2]) -> Result<()> {
    for call in Call::ALL {
        let [one, other] = [ours, theirs].map(|port| requests::ask(port, call));
        let ((one, our_body), (other, their_body)) = (one?, other?);
        let [ours, theirs] = [&our_body, &their_body].map(|body| said(body));
        ensure!(
            (200..300).contains(&one) && (one, &ours) == (other, &theirs),
            "{}: pg_sse answers {one} {our_body:?}, the endpoint {other} {their_body:?}",
            call.name()
        );
    }
    Ok(())
}

/// What an answer says: blanks between the members do not matter, and neither does when it was asked for.
fn said(body: &str) -> Option<Value> {
    let mut value = serde_json::from_str::<Value>(body).ok()?;
    if let Some(time) = value.pointer_mut("/0/ts").filter(|time| time.is_string()) {
        *time = Value::from("the time");
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_alike_but_for_blanks_and_the_time_of_the_call() {
        let one = said(r#"[{"status":"ok","ts":"2026-01-02T03:04:05+00:00"}]"#);
        assert_eq!(one, said(r#"[ {"status": "ok", "ts": "2026-01-02T03:04:06+00:00"} ]"#));
        assert!(one.is_some());
        for other in
            [r#"[{"status":"ok","ts":null}]"#, r#"[{"status":"ok"}]"#, r#"[{"status":"no","ts":"x"}]"#]
        {
            assert_ne!(one, said(other), "{other}");
        }
    }

    #[test]
    fn a_quick_run_has_the_calls_of_the_page_and_none_of_the_public_comparison() {
        let rows = |size| Call::ALL.into_iter().map(|call| flights(size, call).len()).sum::<usize>();
        assert_eq!([Size::Smoke, Size::Quick, Size::Full].map(rows), [9, 6, 15]);
    }
}
