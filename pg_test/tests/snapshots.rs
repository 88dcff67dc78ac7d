//! Snapshots (C7.6): what a stream begins with, what it looks like, who gets it, and what happens without
//! one.
//!
//! Not for the exact cut under load: that is `snapshot_cut`.

mod common;

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use cluster::http::{Event, EventStream};
use cluster::{PATIENCE, Session, wait_for};
use common::calls::{Api, Findings, builder, start};
use common::tokens::{ALICE, BOB};
use common::{SOON, figure, gap_reason};

/// Has the shared server to itself: a stream that names no topic hears what other tests raise without one.
struct Alone {
    api: Api<'static>,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Alone {
    type Target = Api<'static>;

    fn deref(&self) -> &Self::Target {
        &self.api
    }
}

fn alone(schema: &str) -> Result<Alone> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Alone { api: Api::new(schema)?, _turn: turn })
}

/// The stream of a routine, read up to `sse.ready`, whose id is returned.
fn open(api: &Api<'_>, stream: &str, last_event_id: &str) -> Result<(EventStream, String)> {
    let mut request = api.request("GET", stream);
    if !last_event_id.is_empty() {
        request = request.header("Last-Event-ID", last_event_id);
    }
    let mut events = api.http.events_with(&request)?;
    let ready = events.ready()?;
    Ok((events, ready.id))
}

/// The same of a new subscriber, and the event after `sse.ready`.
fn first(api: &Api<'_>, stream: &str) -> Result<(EventStream, Event)> {
    let (mut events, _) = open(api, stream, "")?;
    let event = events.next(SOON)?;
    Ok((events, event))
}

/// SQL for a routine `say(text)` with this comment.
fn say(comment: &str) -> String {
    format!(
        "create function say(what text) returns void language plpgsql as $f$ begin raise info '%', what; end $f$;
         comment on function say is '{comment}';"
    )
}

/// A function that takes this lock waits until what is returned is dropped.
fn closed(api: &Api<'_>, lock: i32) -> Result<Session> {
    let mut session = api.session()?;
    session.run(&format!("select pg_advisory_lock({lock})"))?.ok()?;
    Ok(session)
}

/// Until it does.
fn wait_at(api: &Api<'_>, lock: i32) -> Result<()> {
    wait_for(PATIENCE, "it waits", || {
        let waiting =
            format!("select 1 from pg_locks where locktype = 'advisory' and objid = {lock} and not granted");
        Ok((!api.cluster.sql(&waiting)?.is_empty()).then_some(()))
    })
}

fn is_marked(id: &str) -> bool {
    id.ends_with('s')
}

#[test]
fn a_stream_begins_with_the_value_and_goes_on_live() -> Result<()> {
    let api = alone("begins")?;
    api.sql("create table hits(n int); insert into hits values (41);
             create function hits_now() returns int language sql as 'select n from begins.hits';
             create function hit() returns trigger language plpgsql as $f$ begin raise info '%', new.n; return null; end $f$;
             create trigger hit after update on hits for each row execute function hit();
             grant select on hits to app;
             comment on function hit() is '@sse\n@sse_snapshot hits_now'")?;
    let (mut events, ready) = open(&api, "hit/info", "")?;
    ensure!(is_marked(&ready), "before the snapshot an id is marked: {ready}");
    let snapshot = events.next(SOON)?;
    ensure!((snapshot.event.as_str(), snapshot.data.as_str()) == ("message", "41"), "{snapshot:?}");
    api.sql("update hits set n = n + 1")?;
    let live = events.next(SOON)?;
    ensure!(live.data == "42" && !is_marked(&live.id), "{live:?}");
    // Whoever comes back without a gap gets no other one …
    let (mut resumed, _) = open(&api, "hit/info", &live.id)?;
    api.sql("update hits set n = n + 1")?;
    ensure!(resumed.next(SOON)?.data == "43");
    // … but whose stream broke before the snapshot does.
    let (mut again, same) = open(&api, "hit/info", &ready)?;
    ensure!(same == ready, "{same}");
    ensure!(again.next(SOON)?.data == "43");
    Ok(())
}

#[test]
fn a_quiet_stream_is_resumed_from_its_snapshot_without_another_one() -> Result<()> {
    let api = alone("quiet")?;
    api.sql(&format!(
        "create function state() returns text language sql as $$ select 'state' $$; {}",
        say("@sse\n@sse_snapshot state")
    ))?;
    let (_, snapshot) = first(&api, "say/info")?;
    ensure!(snapshot.data == "state" && !is_marked(&snapshot.id), "{snapshot:?}");
    let (mut events, _) = open(&api, "say/info", &snapshot.id)?;
    api.sql("select say('live')")?;
    ensure!(events.next(SOON)?.data == "live");
    Ok(())
}

#[test]
fn a_snapshot_is_written_as_an_answer_is_and_named_as_the_comment_says() -> Result<()> {
    let api = alone("forms")?;
    let mut findings = Findings::default();
    for (number, (returns, body, wanted)) in [
        ("text", "select E'a\\nb'", "a\nb"),
        ("text", "select null::text", "null"),
        ("text", "select 'x' where false", "null"),
        ("jsonb", "select '{\"a\": 1}'::jsonb", "{\"a\": 1}"),
        ("table(some_id int)", "select * from (values (1), (2)) v", "[{\"someId\":1},{\"someId\":2}]"),
        ("table(some_id int)", "select 1 where false", "[]"),
        ("setof int", "select 1 where false", "[]"),
        ("void", "select", "null"),
    ]
    .into_iter()
    .enumerate()
    {
        let (named, event) = match number % 3 {
            0 => ("", "message"),
            1 => (" as state", "state"),
            _ => ("\n@sse_event change", "change"),
        };
        api.sql(&format!(
            "create function f{number}() returns {returns} language sql as $f$ {body} $f$;
             create function s{number}() returns void language plpgsql as 'begin end';
             comment on function s{number}() is '@sse\n@sse_snapshot f{number}{named}'"
        ))?;
        let (_, snapshot) = first(&api, &format!("s{number}/info"))?;
        let found = (snapshot.event.clone(), snapshot.data.clone());
        findings.expect(body, found, (event.to_owned(), wanted.to_owned()));
    }
    findings.report()
}

// Attack: a subscriber whom the scope leaves out reads the state instead of the events.
#[test]
fn whom_a_rule_leaves_out_gets_the_stream_without_a_snapshot() -> Result<()> {
    let api = alone("rules")?;
    api.sql("create function secret() returns text language sql as $$ select 'secret' $$;
             create function staff() returns text language sql as $$ select 'staff' $$;
             comment on function staff() is '@authorize role:staff';
             create function scoped() returns void language plpgsql as $f$ begin raise info 'x' using hint = 'all'; end $f$;
             comment on function scoped() is '@sse\n@sse_scope authorize name:bob\n@sse_snapshot secret';
             create function ruled() returns void language plpgsql as $f$ begin raise info 'x'; end $f$;
             comment on function ruled() is '@sse\n@sse_snapshot staff';
             create function matched() returns void language plpgsql as $f$ begin raise info 'x' using hint = 'all'; end $f$;
             comment on function matched() is '@sse\n@sse_scope matching\n@sse_snapshot secret'")?;
    let mut findings = Findings::default();
    for (routine, alice, bob) in [("scoped", "x", "secret"), ("ruled", "x", "staff"), ("matched", "x", "x")] {
        for (who, api, wanted) in [
            ("nobody", api.with_nobody(), "x"),
            ("alice", api.with(ALICE)?, alice),
            ("bob", api.with(BOB)?, bob),
        ] {
            let (mut events, ready) = open(&api, &format!("{routine}/info"), "")?;
            findings.expect(&format!("{routine} {who} marked"), is_marked(&ready), wanted != "x");
            if wanted == "x" {
                api.sql(&format!("select {routine}()"))?;
            }
            findings.expect(&format!("{routine} {who}"), events.next(SOON)?.data, wanted.to_owned());
        }
    }
    findings.report()
}

#[test]
fn a_snapshot_with_user_parameters_is_each_users_own_and_one_without_is_nobodys() -> Result<()> {
    let api = alone("own")?;
    api.sql("create function mine(_user_id text) returns text language sql
               as $$ select concat(_user_id, '|', current_setting('request.user_id', true), '|', current_setting('request.path', true)) $$;
             create function ours() returns text language sql
               as $$ select concat('[', current_setting('request.user_id', true), current_setting('request.headers', true), current_setting('request.ip_address', true), ']') $$;
             create function m() returns void language plpgsql as 'begin end';
             comment on function m() is '@sse\n@sse_snapshot mine';
             create function o() returns void language plpgsql as 'begin end';
             comment on function o() is '@sse\n@sse_snapshot ours'")?;
    let mut findings = Findings::default();
    for (api, wanted) in [(api.with(ALICE)?, "1|1|/api/own/m/info"), (api.with(BOB)?, "2|2|/api/own/m/info")]
    {
        findings.expect("mine", first(&api, "m/info")?.1.data, wanted.to_owned());
        findings.expect("ours", first(&api, "o/info")?.1.data, "[]".to_owned());
    }
    findings.expect("nobody", first(&api, "m/info")?.1.data, "||/api/own/m/info".to_owned());
    findings.report()
}

#[test]
fn a_snapshot_that_fails_is_a_gap_and_the_stream_goes_on() -> Result<()> {
    let cluster = start(builder().setting("sse.call_timeout", "1s").setting("sse.max_event_size", "2kB"))?;
    let api = Api::of(&cluster, "fails")?;
    api.sql("create table t(n int); grant insert, select on t to app")?;
    let mut findings = Findings::default();
    for (name, body) in [
        ("raises", "begin raise 'no'; end"),
        ("writes", "begin insert into fails.t values (1); return 'x'; end"),
        ("sleeps", "begin perform pg_sleep(60); return 'x'; end"),
        ("grows", "begin return repeat('x', 2049); end"),
        ("huge", "begin return repeat('x', 100000000); end"),
    ] {
        api.sql(&format!(
            "create function {name}() returns text language plpgsql as $f$ {body} $f$;
             create function s_{name}() returns void language plpgsql as $f$ begin raise info 'live'; end $f$;
             comment on function s_{name}() is '@sse\n@sse_snapshot {name}'"
        ))?;
        let (mut events, gap) = first(&api, &format!("s-{name}/info"))?;
        findings.expect(
            name,
            gap_reason(&gap).unwrap_or_else(|error| error.to_string()),
            "snapshot".to_owned(),
        );
        api.sql(&format!("select s_{name}()"))?;
        findings.expect(name, events.next(SOON)?.data, "live".to_owned());
    }
    // One byte less is a snapshot.
    api.sql(
        "create or replace function grows() returns text language sql as $$ select repeat('x', 2048) $$",
    )?;
    findings.expect("at the limit", first(&api, "s-grows/info")?.1.data.len(), 2048);
    // And so is another one when calls are taken: the workers are not tied up.
    findings.report()?;
    wait_for(PATIENCE, "five are counted", || {
        let failed = figure(&cluster, "stat_gateway", "snapshots_failed_total")?;
        Ok((failed >= 5).then_some(()))
    })
}

#[test]
fn without_calls_a_snapshot_is_a_gap() -> Result<()> {
    let cluster = cluster::Cluster::builder().start()?;
    cluster.sql("create schema off; create function off.f() returns text language sql as $$ select 'x' $$;
                 create function off.s() returns void language plpgsql as $f$ begin raise info 'live'; end $f$")?;
    // It is said, to whoever writes it and to whoever looks, and nothing fails.
    let told = cluster.session()?.run("comment on function off.s() is '@sse\n@sse_snapshot f'")?.ok()?;
    ensure!(told.texts("WARNING").join("").contains("calls are off"), "{told:?}");
    let shown = cluster.sql("select url || ' ' || problem from sse.endpoints")?;
    ensure!(shown.starts_with("/api/off/s/info \"f\": calls are off"), "{shown}");
    ensure!(cluster.sql("select sse.check('off.s()'::regprocedure)")?.contains("sse.call_role"));
    let mut events = cluster.http()?.events("/api/off/s/info")?.begun()?;
    ensure!(gap_reason(&events.next(SOON)?)? == "snapshot");
    cluster.sql("select off.s()")?;
    ensure!(events.next(SOON)?.data == "live");
    Ok(())
}

#[test]
fn a_gap_in_the_middle_is_followed_by_a_fresh_snapshot() -> Result<()> {
    let cluster = start(builder().setting("sse.max_event_size", "2kB"))?;
    let api = Api::of(&cluster, "middle")?;
    api.sql(&format!("create sequence s; grant usage on s to app; create function state() returns text language sql as $$ select last_value::text from middle.s $$;
             grant select on s to app; {}", say("@sse\n@sse_snapshot state as state")))?;
    let (mut events, snapshot) = first(&api, "say/info")?;
    ensure!((snapshot.event.as_str(), snapshot.data.as_str()) == ("state", "1"), "{snapshot:?}");
    api.run("select setval('s', 7); select say(repeat('x', 3000)); select say('after')")?;
    let gap = events.next(SOON)?;
    ensure!(gap_reason(&gap)? == "too_large" && is_marked(&gap.id), "{gap:?}");
    let (fresh, live) = (events.next(SOON)?, events.next(SOON)?);
    ensure!((fresh.event.as_str(), fresh.data.as_str()) == ("state", "7"), "{fresh:?}");
    ensure!(live.data == "after", "{live:?}");
    // A connection that breaks between the two loses nothing.
    let (mut again, _) = open(&api, "say/info", &gap.id)?;
    ensure!(again.next(SOON)?.data == "7");
    Ok(())
}

#[test]
fn all_statements_of_a_snapshot_see_one_state() -> Result<()> {
    let api = alone("one")?;
    api.sql(&format!("create table t(n int); insert into t values (1); grant select on t to app;
             create function twice() returns text language plpgsql volatile as $f$
             declare a int; b int;
             begin select n into a from one.t; perform pg_advisory_xact_lock(11); select n into b from one.t; return a || ' ' || b; end $f$; {}",
        say("@sse\n@sse_snapshot twice")))?;
    let gate = closed(&api, 11)?;
    let (mut events, _) = open(&api, "say/info", "")?;
    wait_at(&api, 11)?;
    api.sql("update t set n = 2; select say('2')")?;
    drop(gate);
    ensure!(events.next(SOON)?.data == "1 1");
    ensure!(events.next(SOON)?.data == "2");
    Ok(())
}

#[test]
fn thousands_that_come_at_once_share_runs() -> Result<()> {
    // Until all have come, the first run waits.
    let cluster = start(builder().setting("sse.call_timeout", "5min"))?;
    let api = Api::of(&cluster, "many")?;
    api.sql(&format!(
        "create function slow() returns text language sql as $$ select 'state' from pg_advisory_xact_lock(12) $$; {}",
        say("@sse\n@sse_snapshot slow")
    ))?;
    let gate = closed(&api, 12)?;
    let mut streams = Vec::new();
    for _ in 0..2000 {
        streams.push(open(&api, "say/info", "")?.0);
    }
    drop(gate);
    for stream in &mut streams {
        ensure!(stream.next(SOON)?.data == "state");
    }
    let runs = wait_for(PATIENCE, "runs are counted", || {
        let runs = figure(&cluster, "stat_gateway", "snapshots_total")?;
        Ok((runs > 0).then_some(runs))
    })?;
    ensure!(runs <= 2, "{runs} runs for 2000 streams");
    Ok(())
}

#[test]
fn a_name_that_is_no_such_function_is_a_problem_until_it_is_one() -> Result<()> {
    let api = alone("names")?;
    api.sql("create function other(x int) returns text language sql as $$ select 'x' $$;
             create procedure proc() language sql as ''; create function wrong() returns trigger language plpgsql as 'begin return null; end';
             create aggregate total(int) (sfunc = int4pl, stype = int)")?;
    let mut findings = Findings::default();
    for (name, problem) in [
        ("nowhere", "there is no such function"),
        ("other", "this function takes arguments"),
        ("proc", "this is a procedure"),
        ("total", "there is no such function"),
        ("wrong", "this function cannot be run"),
        ("names_x.f", "there is no such function"),
    ] {
        api.run(&format!(
            "create or replace function s() returns void language plpgsql as 'begin end'; comment on function s() is '@sse\n@sse_snapshot {name}'"
        ))?;
        let found = api.sql("select string_agg(c, ';') from sse.check('names.s()'::regprocedure) c")?;
        findings.expect(name, found.contains(problem), true);
        let shown = api.sql("select problem from sse.endpoints where routine = 'names.s()'::regprocedure")?;
        findings.expect(name, shown.contains(problem), true);
        findings.expect(name, api.get("s/info")?.status(), 404);
    }
    api.sql("create function nowhere() returns text language sql as $$ select 'x' $$; comment on function s() is '@sse\n@sse_snapshot nowhere'")?;
    findings.expect("there", first(&api, "s/info")?.1.data, "x".to_owned());
    // It goes later, and comes back.
    api.sql("alter function nowhere() rename to gone")?;
    common::wait_for_status(api.http, &api.path("s/info"), 404, PATIENCE)?;
    api.sql("create function nowhere() returns text language sql as $$ select 'y' $$")?;
    common::wait_for_status(api.http, &api.path("s/info"), 200, PATIENCE)?;
    findings.expect("back", first(&api, "s/info").context("back")?.1.data, "y".to_owned());
    findings.report()
}
