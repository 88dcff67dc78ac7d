//! Snapshots when something gets in their way (C7.6): a lock, a session that is stopped, a function or a
//! schema that changes under open streams, very many at once.
//!
//! Not for what a snapshot is (`snapshots.rs`).

mod common;

use anyhow::{Result, ensure};
use cluster::http::EventStream;
use cluster::{Install, PATIENCE, Preload, Session, wait_for};
use common::calls::{Api, Findings, builder, start};
use common::{SOON, figure, freeze_gateway, gap_reason, linger, wait_for_status};

/// SQL for a routine `name(text)` with this comment, which publishes the text.
fn say(name: &str, comment: &str) -> String {
    format!(
        "create function {name}(what text) returns void language plpgsql as $f$ begin raise info '%', what; end $f$;
         comment on function {name} is E'{comment}';"
    )
}

/// A new stream, read up to `sse.ready`.
fn open(api: &Api<'_>, stream: &str) -> Result<EventStream> {
    api.http.events_with(&api.request("GET", stream))?.begun()
}

fn waits_for_a_lock(api: &Api<'_>, count: usize) -> Result<()> {
    wait_for(PATIENCE, "a run waits for the lock", || {
        let waiting =
            api.cluster.sql("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")?;
        Ok((waiting == count.to_string()).then_some(()))
    })
}

/// Has an exclusive lock on this table until it is dropped.
fn locked(api: &Api<'_>, table: &str) -> Result<Session> {
    let mut session = api.session()?;
    session.run(&format!("begin; lock table {table}"))?.ok()?;
    Ok(session)
}

// Attack: somebody locks a table that a snapshot reads, and so stops the streams of others.
#[test]
fn a_function_that_waits_for_a_lock_is_a_gap_in_the_end_and_keeps_no_other_waiting() -> Result<()> {
    let cluster = start(builder().setting("sse.call_timeout", "5s").setting("sse.call_workers", "4"))?;
    let api = Api::of(&cluster, "locked")?;
    api.sql(&format!(
        "create table t(n int); insert into t values (1); grant select on t to app;
         create function slow() returns int language sql as 'select n from locked.t';
         create function fast() returns text language sql as $$ select 'fast' $$;
         create function pong() returns text language sql as $$ select 'pong' $$;
         comment on function pong() is 'HTTP GET'; {} {}",
        say("stuck", "@sse\\n@sse_snapshot slow"),
        say("free", "@sse\\n@sse_snapshot fast")
    ))?;
    let lock = locked(&api, "locked.t")?;
    let mut stuck = open(&api, "stuck/info")?;
    waits_for_a_lock(&api, 1)?;
    // Whoever comes later waits with it, or for a run of its own; neither keeps the first one waiting.
    let mut later = open(&api, "stuck/info")?;
    let mut free = open(&api, "free/info")?;
    ensure!(free.next(SOON)?.data == "fast");
    ensure!(api.text("pong")? == "pong");
    api.sql("select stuck('live')")?;
    ensure!(gap_reason(&stuck.next(SOON)?)? == "snapshot");
    ensure!(stuck.next(SOON)?.data == "live");
    let first = later.next(SOON)?;
    if gap_reason(&first).is_ok_and(|reason| reason == "snapshot") {
        ensure!(later.next(SOON)?.data == "live");
    }
    drop(lock);
    ensure!(open(&api, "stuck/info")?.next(SOON)?.data == "1");
    Ok(())
}

// A snapshot sees what a session has committed that was stopped before it could send its events.
#[test]
fn what_a_stopped_session_has_committed_is_in_the_snapshot_or_an_event_and_never_in_both() -> Result<()> {
    if !linger::compile(&*Install::shared()?)? {
        return Ok(());
    }
    let libraries = Preload::Libraries(format!("pg_sse, {}", linger::LIBRARY));
    let cluster = start(builder().preload(libraries))?;
    let api = Api::of(&cluster, "stopped")?;
    api.sql(&format!(
        "create table counter(value int); insert into counter values (0); grant select on counter to app;
         create function now_is() returns int language sql as 'select value from stopped.counter'; {}",
        say("say", "@sse\\n@sse_snapshot now_is as state")
    ))?;
    let mut writer = api.session()?;
    let mut reader = api.session()?;
    // Longer than anybody waits for it.
    writer.send(
        "begin; set local linger.ms = 8000; update counter set value = 1; select say('seen'); commit",
    )?;
    linger::wait_for_value(&mut reader, 1)?;
    let mut events = open(&api, "say/info")?;
    let snapshot = events.next(SOON)?;
    ensure!((snapshot.event.as_str(), snapshot.data.as_str()) == ("state", "1"), "{snapshot:?}");
    ensure!(snapshot.id.ends_with('s'), "what it saw may still come: {snapshot:?}");
    reader.run("select say('before')")?.ok()?;
    let before = events.next(SOON)?;
    ensure!(before.data == "before", "{before:?}");
    writer.wait(SOON)?.ok()?;
    reader.run("select say('after')")?.ok()?;
    let after = events.next(SOON)?;
    ensure!(after.data == "after", "it came twice: {after:?}");
    ensure!(figure(&cluster, "stat_ring", "order_given_up_total")? == 1);
    wait_for(PATIENCE, "one is counted", || {
        Ok((figure(&cluster, "stat_gateway", "covered_total")? == 1).then_some(()))
    })?;
    // In the end, ids need no snapshot any more.
    wait_for(PATIENCE, "ids are ordinary", || {
        reader.run("select say('more')")?.ok()?;
        Ok((!events.next(SOON)?.id.ends_with('s')).then_some(()))
    })
}

#[test]
fn a_function_that_goes_is_a_problem_from_then_on_and_open_streams_stay() -> Result<()> {
    let cluster = start(builder().setting("sse.max_event_size", "2kB"))?;
    let api = Api::of(&cluster, "goes")?;
    api.sql(&format!(
        "create function state() returns text language sql as $$ select 'one' $$; {}",
        say("say", "@sse\\n@sse_snapshot state as state")
    ))?;
    let mut events = open(&api, "say/info")?;
    ensure!(events.next(SOON)?.data == "one");
    let mut session = api.session()?;
    session.run("select say('live')")?.ok()?;
    ensure!(events.next(SOON)?.data == "live");
    // From when it has gone the routine publishes nothing, also in a session that has published before.
    api.sql("drop function state()")?;
    wait_for_status(api.http, &api.path("say/info"), 404, PATIENCE)?;
    session.run("select say('no event')")?.ok()?;
    // It comes back as another function, with another type: everything goes on by itself.
    api.sql("create function state() returns table(a int, some_b text) language sql as $$ select 1, 'x' $$")?;
    wait_for_status(api.http, &api.path("say/info"), 200, PATIENCE)?;
    session.run("select say('again')")?.ok()?;
    let again = events.next(SOON)?;
    ensure!(again.data == "again", "{again:?}");
    session.run(&format!("select say(repeat('x', {}))", 3000))?.ok()?;
    ensure!(gap_reason(&events.next(SOON)?)? == "too_large");
    let fresh = events.next(SOON)?;
    ensure!(fresh.data == r#"[{"a":1,"someB":"x"}]"#, "{fresh:?}");
    Ok(())
}

#[test]
fn a_function_that_is_made_anew_while_runs_wait_is_run_as_it_is_then() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "anew")?;
    api.sql(&format!(
        "create table gate(); grant select on gate to app;
         create function passes() returns bigint language sql as 'select count(*) from anew.gate';
         create function state() returns text language sql as $$ select 'old' $$; {} {}",
        say("first", "@sse\\n@sse_snapshot passes"),
        say("say", "@sse\\n@sse_snapshot state")
    ))?;
    // With two workers one snapshot runs at a time.
    let gate = locked(&api, "anew.gate")?;
    let mut first = open(&api, "first/info")?;
    waits_for_a_lock(&api, 1)?;
    let mut waiting = open(&api, "say/info")?;
    api.sql(
        "drop function state();
         create function state() returns table(a int, some_b text) language sql as $$ select 1, 'new' $$;
         create function marker() returns int language sql as 'select 1'; comment on function marker() is 'HTTP GET'",
    )?;
    wait_for_status(api.http, &api.path("marker"), 200, PATIENCE)?;
    drop(gate);
    ensure!(first.next(SOON)?.data == "0");
    let state = waiting.next(SOON)?;
    ensure!(state.data == r#"[{"a":1,"someB":"new"}]"#, "{state:?}");
    Ok(())
}

#[test]
fn who_comes_back_to_a_stream_that_got_no_snapshot_gets_one_and_misses_nothing() -> Result<()> {
    let api = Api::new("lacks")?;
    api.sql(&format!(
        "create function state() returns text language plpgsql as $f$ begin raise 'not now'; end $f$; {}",
        say("say", "@sse\\n@sse_snapshot state as state")
    ))?;
    let mut events = open(&api, "say/info")?;
    ensure!(gap_reason(&events.next(SOON)?)? == "snapshot");
    api.sql("select say('one')")?;
    let one = events.next(SOON)?;
    ensure!(one.data == "one" && one.id.ends_with('s'), "{one:?}");
    drop(events);
    api.sql("select say('two')")?;
    let resume = |id: &str| api.http.events_with(&api.request("GET", "say/info").header("Last-Event-ID", id));
    // As long as there is none, what was missed comes as it does without a snapshot.
    let mut again = resume(&one.id)?;
    again.next(SOON)?;
    ensure!(gap_reason(&again.next(SOON)?)? == "snapshot");
    let two = again.next(SOON)?;
    ensure!(two.data == "two", "{two:?}");
    api.sql("create or replace function state() returns text language sql as $$ select 'state' $$")?;
    let mut again = resume(&two.id)?;
    again.next(SOON)?;
    let state = again.next(SOON)?;
    ensure!((state.event.as_str(), state.data.as_str()) == ("state", "state"), "{state:?}");
    ensure!(!state.id.ends_with('s'), "{state:?}");
    Ok(())
}

#[test]
fn a_schema_that_is_renamed_leaves_open_streams_open_and_brings_the_snapshot_to_its_new_url() -> Result<()> {
    let cluster = start(builder().setting("sse.max_event_size", "2kB"))?;
    let api = Api::of(&cluster, "old")?;
    api.sql(&format!(
        "create function state() returns text language sql as $$ select 'state' $$; {}",
        say("say", "@sse\\n@sse_snapshot state")
    ))?;
    let mut events = open(&api, "say/info")?;
    ensure!(events.next(SOON)?.data == "state");
    let mut session = api.session()?;
    session.run("select say('before')")?.ok()?;
    ensure!(events.next(SOON)?.data == "before");
    api.sql("alter schema old rename to renamed")?;
    let renamed = Api::again(&cluster, "renamed")?;
    wait_for_status(api.http, &renamed.path("say/info"), 200, PATIENCE)?;
    let mut moved = open(&renamed, "say/info")?;
    ensure!(moved.next(SOON)?.data == "state");
    session.run("select renamed.say('after')")?.ok()?;
    for stream in [&mut events, &mut moved] {
        let after = stream.next(SOON)?;
        ensure!(after.data == "after", "{after:?}");
    }
    // There is no snapshot any more under the old URL.
    session.run("select renamed.say(repeat('x', 3000)); select renamed.say('live')")?.ok()?;
    for (stream, wanted) in [(&mut events, "snapshot"), (&mut moved, "state")] {
        ensure!(gap_reason(&stream.next(SOON)?)? == "too_large");
        let next = stream.next(SOON)?;
        let found = gap_reason(&next).unwrap_or_else(|_| next.data.clone());
        ensure!(found == wanted, "{next:?}");
        ensure!(stream.next(SOON)?.data == "live");
    }
    Ok(())
}

#[test]
fn a_missing_function_is_told_at_comment_and_nothing_is_published_until_it_is_there() -> Result<()> {
    let api = Api::new("missing")?;
    let mut findings = Findings::default();
    let warned = |sql: &str| -> Result<String> {
        let reply = api.run(sql)?;
        Ok(reply.texts("WARNING").join("; "))
    };
    api.sql(
        "create function args(x int) returns text language sql as $$ select 'x' $$;
         create procedure proc() language sql as '';
         create function twice() returns text language sql as $$ select 'x' $$;
         create function twice(_user_id text) returns text language sql as $$ select 'x' $$;
         create function other(_user_id text, x int) returns text language sql as $$ select 'x' $$;
         create function wrong() returns text language sql as $$ select 'x' $$;
         create function fine(_user_id text, out a int, out b int) language sql as 'select 1, 2'",
    )?;
    api.run("comment on function wrong() is '@sse\n@authorise x'")?;
    for (name, problem) in [
        ("nowhere", "there is no such function"),
        ("args", "this function takes arguments"),
        ("other", "this function takes arguments"),
        ("proc", "this is a procedure"),
        ("twice", "several functions of this name fit"),
        ("wrong", "the comment of this function has a mistake"),
        ("fine", ""),
    ] {
        let told = warned(&say(&format!("s_{name}"), &format!("@sse\\n@sse_snapshot {name}")))?;
        findings.expect(name, (told.contains(problem), told.is_empty()), (true, problem.is_empty()));
    }
    let mut events = open(&api, "s-fine/info")?;
    ensure!(events.next(SOON)?.data == r#"{"a":1,"b":2}"#);
    let mut session = api.session()?;
    for name in ["nowhere", "args", "other", "proc", "twice", "wrong"] {
        session.run(&format!("select s_{name}('no event of {name}')"))?.ok()?;
    }
    session.run("select s_fine('fine')")?.ok()?;
    findings.expect("first", events.next(SOON)?.data, "fine".to_owned());
    // Whatever was wrong is mended without another comment.
    api.sql(
        "create function nowhere() returns text language sql as $$ select 'x' $$; drop function twice();
             comment on function wrong() is null",
    )?;
    for name in ["nowhere", "twice", "wrong"] {
        wait_for_status(api.http, &api.path(&format!("s-{name}/info")), 200, PATIENCE)?;
        let mut stream = open(&api, &format!("s-{name}/info"))?;
        stream.next(SOON)?;
        session.run(&format!("select s_{name}('event of {name}')"))?.ok()?;
        findings.expect(name, stream.next(SOON)?.data, format!("event of {name}"));
    }
    findings.report()
}

// Attack: a thousand identities, each with a snapshot of its own, from one address.
#[test]
fn a_thousand_identities_with_snapshots_of_their_own_all_get_them_and_calls_go_on() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "identities")?;
    api.sql(&format!(
        "create function mine(_user_id text) returns text language sql as $$ select _user_id $$;
         create function pong() returns text language sql as $$ select 'pong' $$;
         comment on function pong() is 'HTTP GET'; {}",
        say("say", "@sse\\n@sse_snapshot mine")
    ))?;
    let tokens = "select sse.issue_token('u' || user_number, 'name', '{}'::text[], '1h') from generate_series(0, 999) user_number";
    let tokens = api.session()?.run(tokens)?.ok()?.rows;
    let mut streams = Vec::new();
    for (user, token) in tokens.iter().enumerate() {
        let token = token[0].as_deref().unwrap_or_default();
        let request = api.request("GET", "say/info").bearer(token);
        streams.push(api.http.events_with(&request)?);
        if user % 100 == 0 {
            ensure!(api.text("pong")? == "pong");
        }
    }
    for (user, stream) in streams.iter_mut().enumerate() {
        stream.next(SOON)?;
        let snapshot = stream.next(SOON)?;
        ensure!(snapshot.data == format!("u{user}"), "{user}: {snapshot:?}");
    }
    ensure!(figure(&cluster, "stat_gateway", "snapshots_failed_total")? == 0);
    Ok(())
}

/// Publishes for nobody until the ring has not one byte left, and nothing was dropped.
fn fill_ring(api: &Api<'_>) -> Result<()> {
    let left = || -> Result<i64> {
        Ok(figure(api.cluster, "stat_ring", "capacity_bytes")?
            - figure(api.cluster, "stat_ring", "used_bytes")?)
    };
    let mut session = api.session()?;
    let mut publish = |bytes: i64| session.run(&format!("select fill(repeat('x', {bytes}))"))?.ok().map(drop);
    let before = left()?;
    publish(1000)?;
    let of_thousand = before - left()?;
    loop {
        let wanted = match left()? {
            0 => return Ok(()),
            left if left > 2 * of_thousand => of_thousand,
            left if left > of_thousand => left / 16 * 8,
            left => left,
        };
        publish(1000 + wanted - of_thousand)?;
        ensure!(figure(api.cluster, "stat_ring", "dropped_total")? == 0, "{wanted} of {} bytes", left()?);
    }
}

#[test]
fn the_end_of_a_snapshot_that_finds_no_room_in_the_ring_is_no_event_that_was_lost() -> Result<()> {
    let cluster = start(builder().setting("sse.ring_size", "64kB"))?;
    let api = Api::of(&cluster, "endless")?;
    api.sql(&format!(
        "create table gate(); grant select on gate to app;
         create function state() returns bigint language sql as 'select count(*) from endless.gate'; {} {}",
        say("say", "@sse\\n@sse_snapshot state as state"),
        say("fill", "@sse_publish\\n@sse_topic nowhere\\n@sse_delivery immediate")
    ))?;
    // Far enough into the ring that the last record of those that fill it does not meet the end of its data.
    api.sql("select fill(repeat('x', 1000)) from generate_series(1, 4)")?;
    wait_for(SOON, "they are taken", || {
        Ok((figure(&cluster, "stat_ring", "used_bytes")? == 0).then_some(()))
    })?;
    let gate = locked(&api, "endless.gate")?;
    let mut events = open(&api, "say/info")?;
    waits_for_a_lock(&api, 1)?;
    {
        let _frozen = freeze_gateway(&cluster)?;
        fill_ring(&api)?;
        drop(gate);
        let running = "select count(*) from pg_stat_activity where backend_type = 'pg_sse call worker' and xact_start is not null";
        cluster.comes_to(PATIENCE, "the run has ended", running, "0")?;
        ensure!(figure(&cluster, "stat_ring", "full_total")? > 0, "there was room");
        ensure!(figure(&cluster, "stat_ring", "dropped_total")? == 0, "it counts as an event");
    }
    // No gap, and whoever comes back meanwhile gets a fresh snapshot.
    let snapshot = events.next(PATIENCE)?;
    ensure!((snapshot.event.as_str(), snapshot.data.as_str()) == ("state", "0"), "{snapshot:?}");
    api.sql("select say('live')")?;
    let live = events.next(SOON)?;
    ensure!(live.data == "live" && live.id.ends_with('s'), "{live:?}");
    // The end of a later run says the same.
    ensure!(open(&api, "say/info")?.next(SOON)?.data == "0");
    wait_for(PATIENCE, "ids are ordinary", || {
        api.sql("select say('more')")?;
        Ok((!events.next(SOON)?.id.ends_with('s')).then_some(()))
    })
}
