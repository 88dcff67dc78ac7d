//! A transaction that saw another's changes is sent after it, whichever reaches the ring first (C5.3).

mod common;

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::http::EventStream;
use cluster::{Cluster, Install, Preload, Session};
use common::linger::{self, wait_for_value};
use common::{Corner, SOON, figure};

const SETUP: &str = "
    create table counter (value int);
    insert into counter values (0);
    create function raises(message text) returns void language plpgsql as $f$
    begin raise notice '%', message; end $f$;
    comment on function raises(text) is '@sse on notice';
    create function at_once(message text) returns void language plpgsql as $f$
    begin raise notice '%', message; end $f$;
    comment on function at_once(text) is E'@sse on notice\\n@sse_delivery immediate';
    create function bump() returns void language plpgsql as $f$
    declare now int;
    begin update counter set value = value + 1 returning value into now; raise notice 'w %', now; end $f$;
    comment on function bump() is '@sse on notice';
    create procedure bumps(rounds int) language plpgsql as $f$
    begin for i in 1..rounds loop perform bump(); commit; end loop; end $f$;
    create procedure watches(last int) language plpgsql as $f$
    declare now int; known int := 0;
    begin
        while known < last loop
            select value into now from counter;
            if now <> known then known := now; perform raises('r ' || now); end if;
            commit;
            perform pg_sleep(0.0001);
        end loop;
    end $f$;";

/// Quiet: notices are for the streams.
const QUIET: &str = "-c client_min_messages=warning";

/// A cluster with the module; `None` where it cannot be built and the test is to be skipped.
fn lingering() -> Result<Option<Cluster>> {
    if !linger::compile(&*Install::shared()?)? {
        return Ok(None);
    }
    let libraries = Preload::Libraries(format!("pg_sse, {}", linger::LIBRARY));
    Ok(Some(Cluster::builder().preload(libraries).start()?))
}

fn data(stream: &mut EventStream) -> Result<String> {
    let event = stream.next_payload(SOON)?;
    ensure!(event.event != "sse.gap", "{event:?}");
    Ok(event.data)
}

#[test]
fn a_transaction_that_saw_another_is_told_after_it_although_it_pushes_first() -> Result<()> {
    let Some(cluster) = lingering()? else { return Ok(()) };
    let corner = Corner::of(&cluster, "seen")?;
    corner.sql(SETUP)?;
    let mut stream = corner.stream("raises/notice")?;
    let mut writer = corner.session_with(&format!("{QUIET} -c linger.ms=700"))?;
    let mut reader = corner.session_with(QUIET)?;
    for value in 1..=3 {
        writer.send("select bump()")?;
        wait_for_value(&mut reader, value)?;
        reader.run(&format!("select raises('r {value}')"))?.ok()?;
        reader.run("select at_once('at once')")?.ok()?;
        let told = [data(&mut stream)?, data(&mut stream)?, data(&mut stream)?];
        assert_eq!(
            told,
            ["at once".to_owned(), format!("w {value}"), format!("r {value}")],
            "what is sent at once waits for nobody"
        );
        writer.wait(SOON)?.ok()?;
    }
    assert_eq!(figure(&cluster, "stat_ring", "order_given_up_total")?, 0);
    Ok(())
}

#[test]
fn a_backend_that_is_stopped_before_it_pushes_holds_the_others_for_seconds_and_not_for_ever() -> Result<()> {
    let Some(cluster) = lingering()? else { return Ok(()) };
    let corner = Corner::of(&cluster, "stopped")?;
    corner.sql(SETUP)?;
    let mut stream = corner.stream("raises/notice")?;
    let mut writer = corner.session_with(QUIET)?;
    let pid = writer.backend_pid()?;
    let mut reader = corner.session_with(QUIET)?;
    let mark = cluster.log_mark()?;
    writer.send("begin; set local linger.ms = 8000; select bump(); commit")?;
    wait_for_value(&mut reader, 1)?;
    let started = Instant::now();
    reader.run("select raises('r 1')")?.ok()?;
    assert_eq!(data(&mut stream)?, "r 1");
    let held = started.elapsed();
    ensure!(held > Duration::from_secs(4) && held < Duration::from_secs(8), "held for {held:?}");
    reader.run("select raises('r 2')")?.ok()?;
    assert_eq!(data(&mut stream)?, "r 2");
    ensure!(
        started.elapsed() < Duration::from_secs(8),
        "given up once, not for each: {:?}",
        started.elapsed()
    );
    assert_eq!(figure(&cluster, "stat_ring", "order_given_up_total")?, 1);
    let line = cluster.wait_for_log(mark, "no longer wait for them")?;
    ensure!(line.contains(&pid.to_string()), "{line}");
    assert_eq!(data(&mut stream)?, "w 1", "and nothing is lost");
    writer.wait(SOON)?.ok()?;
    Ok(())
}

#[test]
fn a_commit_that_waits_for_a_standby_holds_nobody() -> Result<()> {
    let builder = Cluster::builder().setting("synchronous_standby_names", "nobody");
    let cluster = builder.setting("synchronous_commit", "local").start()?;
    let corner = Corner::of(&cluster, "standby")?;
    corner.sql(SETUP)?;
    let mut stream = corner.stream("raises/notice")?;
    let mut waiting = corner.session_with(QUIET)?;
    let mut other = corner.session_with(QUIET)?;
    let pid = waiting.backend_pid()?;
    waiting.send("begin; set local synchronous_commit = on; select bump(); commit")?;
    let waits = format!("select wait_event = 'SyncRep' from pg_stat_activity where pid = {pid}");
    cluster.comes_to(SOON, "it waits for the standby", &waits, "t")?;
    let started = Instant::now();
    for round in 1..=10 {
        other.run(&format!("create table t{round} (); select raises('{round}')"))?.ok()?;
        assert_eq!(data(&mut stream)?, round.to_string());
    }
    ensure!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    cluster.reconfigure("synchronous_standby_names", "")?;
    assert_eq!(data(&mut stream)?, "w 1");
    waiting.wait(SOON)?.ok()?;
    assert_eq!(figure(&cluster, "stat_ring", "order_given_up_total")?, 0);
    Ok(())
}

#[test]
fn a_transaction_that_is_cancelled_after_it_was_ready_to_commit_holds_nobody() -> Result<()> {
    // A constraint that is checked last fails, or a wait for room is cancelled: however the transaction ends,
    // its announcement is taken back.
    let cluster = Cluster::builder().start()?;
    let corner = Corner::of(&cluster, "failed")?;
    corner.sql(SETUP)?;
    corner.sql("create table once (id int unique deferrable initially deferred)")?;
    let mut stream = corner.stream("raises/notice")?;
    let mut session = corner.session_with(QUIET)?;
    let reply = session.run("begin; insert into once values (1), (1); select raises('never'); commit")?;
    assert_eq!(reply.sqlstate(), Some("23505"));
    // Serialization failures come after XACT_EVENT_PRE_COMMIT (xact.c,
    // PreCommit_CheckForSerializationFailure).
    let mut other = corner.session_with(QUIET)?;
    let begin = "begin isolation level serializable; select count(*) from counter";
    for session in [&mut session, &mut other] {
        session.run(begin)?.ok()?;
    }
    for session in [&mut session, &mut other] {
        session.run("insert into counter values (1); select raises('written')")?.ok()?;
    }
    session.run("commit")?.ok()?;
    let reply = other.run("commit")?;
    assert_eq!(reply.sqlstate(), Some("40001"));
    assert_eq!(data(&mut stream)?, "written");
    let started = Instant::now();
    session.run("create table later (); select raises('later')")?.ok()?;
    assert_eq!(data(&mut stream)?, "later");
    ensure!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(figure(&cluster, "stat_ring", "order_given_up_total")?, 0);
    Ok(())
}

/// Stops and continues processes, each for a moment, through one shell.
struct Freezer(Child);

impl Freezer {
    fn start() -> Result<Self> {
        Ok(Self(Command::new("/bin/sh").stdin(Stdio::piped()).spawn()?))
    }

    /// Returns at once.
    fn freeze(&mut self, pid: u32, seconds: &str) -> Result<()> {
        let input = self.0.stdin.as_mut().context("the shell is gone")?;
        writeln!(input, "kill -STOP {pid} && sleep {seconds}; kill -CONT {pid}")?;
        Ok(())
    }
}

impl Drop for Freezer {
    /// The shell works through what it was told, so that all processes go on.
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

const WRITERS: usize = 8;
const WATCHERS: usize = 4;
const STREAMS: usize = 3;
const ROUNDS: i32 = 300;

#[test]
fn a_counter_rises_by_one_for_every_subscriber_while_backends_are_stopped_at_random() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let corner = Corner::of(&cluster, "counter")?;
    corner.sql(SETUP)?;
    let streams: Vec<EventStream> =
        (0..STREAMS).map(|_| corner.stream("raises/notice")).collect::<Result<_>>()?;
    let last = WRITERS as i32 * ROUNDS;
    let mut sessions: Vec<Session> =
        (0..WRITERS + WATCHERS).map(|_| corner.session_with(QUIET)).collect::<Result<_>>()?;
    let pids: Vec<u32> = sessions.iter_mut().map(Session::backend_pid).collect::<Result<_>>()?;
    for (number, session) in sessions.iter_mut().enumerate() {
        let call =
            if number < WRITERS { format!("call bumps({ROUNDS})") } else { format!("call watches({last})") };
        session.send(&call)?;
    }
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let readers: Vec<_> =
            streams.into_iter().map(|stream| scope.spawn(move || in_order(stream, last))).collect();
        let freezer = scope.spawn(|| -> Result<()> {
            let mut freezer = Freezer::start()?;
            let mut random = fastrand::Rng::with_seed(seed);
            while !is_done.load(Relaxed) {
                let seconds = ["0.001", "0.003", "0.02"][random.usize(..3)];
                freezer.freeze(pids[random.usize(..pids.len())], seconds)?;
                // The pipe to the shell would accept hundreds at once.
                thread::park_timeout(Duration::from_millis(3));
            }
            Ok(())
        });
        let results: Vec<Result<()>> =
            readers.into_iter().map(|reader| reader.join().unwrap_or_else(|_| bail!("panicked"))).collect();
        is_done.store(true, Relaxed);
        freezer.join().unwrap_or_else(|_| bail!("panicked"))?;
        results.into_iter().collect()
    })?;
    for session in &mut sessions {
        session.wait(SOON)?.ok()?;
    }
    assert_eq!(figure(&cluster, "stat_ring", "order_given_up_total")?, 0);
    Ok(())
}

/// The written value rises by exactly one, and no event carries a value before its writer's event did.
fn in_order(mut stream: EventStream, last: i32) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut written = 0;
    let mut watched = 0;
    while written < last || watched < WATCHERS {
        let event = stream.next_payload(deadline.saturating_duration_since(Instant::now()))?;
        let (who, value) = event.data.split_once(' ').with_context(|| format!("{event:?}"))?;
        let value: i32 = value.parse()?;
        match who {
            "w" => {
                ensure!(value == written + 1, "{value} was written after {written}");
                written = value;
            }
            "r" => {
                ensure!(value <= written, "{value} was seen before it was told: {written}");
                watched += usize::from(value == last);
            }
            _ => bail!("{event:?}"),
        }
    }
    Ok(())
}
