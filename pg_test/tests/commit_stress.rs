//! Delivery at commit under load: transactions at their limit and beyond the ring, thousands of savepoints,
//! commits in loops (C5.1).

mod common;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::http::EventStream;
use cluster::{Cluster, Session};
use common::{Corner, SOON, figure, freeze_gateway, gap_reason};

/// What an event counts with beside its texts (docs/settings.md, `sse.max_transaction_size`).
const EVENT_BYTES: usize = 61;

const QUIET: &str = "-c client_min_messages=warning";

/// `f(message)` in a corner of a cluster, and a stream of what it raises.
fn announcer(corner: &Corner<'_>) -> Result<EventStream> {
    corner.sql(
        "create function f(message text) returns void language plpgsql as $f$
         begin raise notice '%', message; end $f$;
         comment on function f(text) is '@sse on notice';",
    )?;
    corner.stream("f/notice")
}

/// A session without an execution id, because the id would count.
fn plain(corner: &Corner<'_>) -> Result<Session> {
    corner.cluster.session_with(&cluster::SessionOptions {
        options: format!("-c search_path={},public {QUIET}", corner.name),
        ..cluster::SessionOptions::default()
    })
}

fn numbers(stream: &mut EventStream, count: usize) -> Result<Vec<usize>> {
    let data = stream.next_data(count, Duration::from_secs(30))?;
    data.iter().map(|text| Ok(text.trim_end_matches('x').parse()?)).collect()
}

#[test]
fn many_events_of_exactly_max_transaction_size_commit_and_one_byte_more_fails_and_rolls_back() -> Result<()> {
    let limit = 64 * 1024;
    let cluster = Cluster::builder().setting("sse.max_transaction_size", "64kB").start()?;
    let corner = Corner::of(&cluster, "exact")?;
    let mut stream = announcer(&corner)?;
    corner.sql("create table t (size int)")?;
    let mut session = plain(&corner)?;
    let small = 100;
    let count = (limit - 200) / (EVENT_BYTES + small);
    let rest = limit - count * (EVENT_BYTES + small) - EVENT_BYTES;
    ensure!(rest > 1, "{rest}");
    for (size, fits) in [(rest - 1, true), (rest, true), (rest + 1, false), (rest, true)] {
        let reply = session.run(&format!(
            "begin; insert into t values ({size}); select f(repeat('x', {small})) from generate_series(1, {count});
             select f(repeat('y', {size})); commit"
        ))?;
        let sqlstate = reply.sqlstate();
        assert_eq!(sqlstate, (!fits).then_some("54000"), "{size} of {rest}: {:?}", reply.error());
        if fits {
            let sizes: Vec<usize> = stream.next_data(count + 1, SOON)?.iter().map(String::len).collect();
            assert_eq!(sizes, [vec![small; count], vec![size]].concat());
        } else {
            session.run("rollback")?.ok()?;
        }
    }
    assert_eq!(corner.sql("select count(*) from t")?, "3", "what failed is not committed");
    Ok(())
}

#[test]
fn of_five_thousand_nested_savepoints_those_that_are_rolled_back_to_take_their_events_along() -> Result<()> {
    const DEPTH: usize = 5000;
    let corner = Corner::new("nested")?;
    let mut stream = announcer(&corner)?;
    let mut session = corner.session_with(QUIET)?;
    session.run("begin")?.ok()?;
    for first in (1..=DEPTH).step_by(500) {
        let sql: String =
            (first..first + 500).map(|n| format!("savepoint s{n}; select f('{n}');\n")).collect();
        session.run(&sql)?.ok()?;
    }
    // The innermost thousand one by one, the next fifteen hundred at once, a thousand released.
    let sql: String =
        (DEPTH - 999..=DEPTH).rev().map(|n| format!("rollback to s{n}; release s{n};\n")).collect();
    session.run(&sql)?.ok()?;
    session.run("rollback to s2501; select f('5001'); release s1500; select f('5002'); commit")?.ok()?;
    let expected: Vec<usize> = (1..=2500).chain([5001, 5002]).collect();
    assert_eq!(numbers(&mut stream, expected.len())?, expected);
    Ok(())
}

#[test]
fn exception_blocks_in_a_loop_keep_what_they_end_well_with() -> Result<()> {
    const ROUNDS: usize = 20_000;
    let corner = Corner::new("blocks")?;
    let mut stream = announcer(&corner)?;
    let mut session = corner.session_with(QUIET)?;
    let started = Instant::now();
    session
        .run(&format!(
            "do $d$ begin
               for i in 1..{ROUNDS} loop
                 perform f(i::text) from (select where i % 2 = 0) even;
                 begin
                   perform f(i::text);
                   begin perform f('lost'); raise exception 'x'; exception when raise_exception then null; end;
                   if i % 2 = 0 then raise exception 'x'; end if;
                 exception when raise_exception then null;
                 end;
               end loop;
             end $d$"
        ))?
        .ok()?;
    ensure!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!(numbers(&mut stream, ROUNDS)?, (1..=ROUNDS).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn a_procedure_that_commits_in_a_loop_sends_at_each_commit_and_forgets_at_each_rollback() -> Result<()> {
    let corner = Corner::new("loops")?;
    let mut stream = announcer(&corner)?;
    corner.sql(
        "create table t (n int);
         create procedure p() language plpgsql as $f$
         begin
           for i in 1..3000 loop
             insert into t values (i);
             perform f(i::text);
             if i % 3 = 0 then rollback; else commit; end if;
           end loop;
         end $f$;",
    )?;
    let mut session = corner.session_with(QUIET)?;
    session.run("call p()")?.ok()?;
    let expected: Vec<usize> = (1..=3000).filter(|n| n % 3 != 0).collect();
    assert_eq!(numbers(&mut stream, expected.len())?, expected);
    assert_eq!(corner.sql("select count(*) from t")?, "2000");
    Ok(())
}

/// A transaction of ten times the ring.
const LARGE: &str = "with rows as (insert into t select generate_series(1, 640) returning n)
    select count(f(n || repeat('x', 1000))) from rows";

/// For publishers that may not wait (`ring_full.rs` has those that may): while the gateway is stopped, what
/// finds no room is told by a gap, what found room comes, and afterwards everything is as before.
#[test]
fn a_transaction_larger_than_the_ring_commits_and_the_rest_is_a_gap() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.ring_size", "64kB").start()?;
    let corner = Corner::of(&cluster, "large")?;
    let mut stream = announcer(&corner)?;
    corner.sql("create table t (n int)")?;
    let mut session = corner.session_with(&format!("{QUIET} -c sse.publish_timeout=0"))?;
    {
        let _frozen = freeze_gateway(&cluster)?;
        session.run("select f('0' || repeat('x', 1000))")?.ok()?;
        let started = Instant::now();
        session.run(LARGE)?.ok()?;
        ensure!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }
    assert_eq!(corner.sql("select count(*) from t")?, "640", "it has committed");
    let dropped = usize::try_from(figure(&cluster, "stat_ring", "dropped_total")?)?;
    ensure!(dropped > 500, "{dropped}");
    // The gap is before them, or after them if the gateway was stopped just as it began to take.
    let (mut arrived, mut gaps) = (Vec::new(), 0);
    while arrived.len() < 641 - dropped || gaps == 0 {
        let next = stream.next_payload(SOON)?;
        if next.event == "message" {
            arrived.push(next.data.trim_end_matches('x').parse::<usize>()?);
        } else {
            assert_eq!(gap_reason(&next)?, "overflow");
            gaps += 1;
        }
    }
    assert_eq!((arrived, gaps), ((0..641 - dropped).collect(), 1), "the first of them found room");
    session.run("select f('700')")?.ok()?;
    assert_eq!(numbers(&mut stream, 1)?, [700]);
    Ok(())
}

#[test]
fn every_event_of_thirty_two_sessions_that_commit_at_once_comes_once_and_in_its_sessions_order() -> Result<()>
{
    const SESSIONS: usize = 32;
    const ROUNDS: usize = 100;
    let corner = Corner::new("many")?;
    let mut stream = announcer(&corner)?;
    corner.sql(&format!(
        "create table t (session int, n int);
         create procedure p(session int) language plpgsql as $f$
         begin
           for i in 1..{ROUNDS} loop
             insert into t values (session, i);
             perform f((session * 1000 + i)::text);
             commit;
           end loop;
         end $f$;"
    ))?;
    let mut sessions: Vec<Session> =
        (0..SESSIONS).map(|_| corner.session_with(QUIET)).collect::<Result<_>>()?;
    for (number, session) in sessions.iter_mut().enumerate() {
        session.send(&format!("call p({number})"))?;
    }
    let mut last = [0; SESSIONS];
    for number in numbers(&mut stream, SESSIONS * ROUNDS)? {
        let (session, n) = (number / 1000, number % 1000);
        assert_eq!(n, last[session] + 1, "of session {session}");
        last[session] = n;
    }
    for session in &mut sessions {
        session.wait(SOON)?.ok()?;
    }
    Ok(())
}
