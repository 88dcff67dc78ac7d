//! An event on its way waits for nothing but its transaction: whatever the gateway's main thread waits for,
//! events go on.

mod common;

use std::env;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::http::EventStream;
use cluster::{Builder, Cluster, Extension, Install, PgConfig, Session, skip, wait_for, wait_until};
use common::{SOON, announcer, figure, gateway_pid, provoke};

const QUIET: &str = "set client_min_messages = warning";

/// A cluster with a routine that publishes `message` as it commits, a session that can call it, and a stream
/// of it.
fn served() -> Result<(Cluster, Session, EventStream)> {
    served_by(Cluster::builder())
}

fn served_by(builder: Builder) -> Result<(Cluster, Session, EventStream)> {
    let cluster = builder.start()?;
    cluster.sql(&announcer("f", "@sse"))?;
    let mut session = cluster.session()?;
    session.run(QUIET)?.ok()?;
    let stream = cluster.http()?.events("/api/f/info")?;
    Ok((cluster, session, stream))
}

/// Sends one and waits for it; how long that took.
fn round(session: &mut Session, stream: &mut EventStream, name: &str) -> Result<Duration> {
    let start = Instant::now();
    session.run(&format!("select f('{name}')"))?.ok()?;
    let event = stream.next_payload(SOON)?;
    ensure!(event.data == name, "{event:?} for {name}");
    Ok(start.elapsed())
}

#[test]
fn events_go_on_while_the_main_thread_is_held() -> Result<()> {
    const HELD: Duration = Duration::from_millis(1_800);
    let (cluster, mut session, mut stream) = served()?;
    round(&mut session, &mut stream, "before")?;
    provoke(&cluster, "pg_sse.hold")?;
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed() < HELD {
        times.push(round(&mut session, &mut stream, &times.len().to_string())?);
    }
    times.sort_unstable();
    let p99 = times[times.len() * 99 / 100];
    // Held up by the main thread, there would be a single one, of nearly two seconds.
    ensure!(times.len() >= 100, "{} events, {:?}", times.len(), times.last());
    ensure!(p99 < Duration::from_millis(20), "p99 {p99:?} of {}", times.len());
    Ok(())
}

#[test]
fn a_record_that_is_begun_and_not_completed_is_said_and_nothing_behind_it_is_lost() -> Result<()> {
    let (cluster, mut session, mut stream) = served()?;
    round(&mut session, &mut stream, "before")?;
    let mark = cluster.log_mark()?;
    provoke(&cluster, "pg_sse.hole")?;
    wait_until(SOON, "the record is begun", || {
        figure(&cluster, "stat_ring", "used_bytes").is_ok_and(|used| used > 0)
    })?;
    for number in 0..10 {
        session.run(&format!("select f('{number}')"))?.ok()?;
    }
    assert_eq!(figure(&cluster, "stat_ring", "stalls_total")?, 0, "said at once");
    cluster.wait_for_log(mark, "a backend has begun to hand one over and does not finish")?;
    assert_eq!(figure(&cluster, "stat_ring", "stalls_total")?, 1);
    assert_eq!(stream.next_data(10, SOON)?, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
    round(&mut session, &mut stream, "after")?;
    assert_eq!(figure(&cluster, "stat_ring", "stalls_total")?, 1);
    Ok(())
}

#[test]
fn an_event_comes_at_most_a_second_late_when_whoever_was_to_wake_the_courier_is_stopped() -> Result<()> {
    const SLEEP: Duration = Duration::from_secs(1);
    let (cluster, mut session, mut stream) = served()?;
    let mut latest = Vec::new();
    // The machine may make an event late, too, but hardly three times.
    for attempt in 0..3 {
        round(&mut session, &mut stream, "before")?;
        provoke(&cluster, "pg_sse.unwoken")?;
        let start = Instant::now();
        let mut late = Duration::ZERO;
        while start.elapsed() < SLEEP * 5 / 2 {
            late = late.max(round(&mut session, &mut stream, &attempt.to_string())?);
        }
        latest.push(late);
    }
    let (shortest, longest) = (latest.iter().min(), latest.iter().max());
    ensure!(longest.is_some_and(|late| *late > SLEEP / 2), "nobody had to sleep: {latest:?}");
    ensure!(shortest.is_some_and(|late| *late < SLEEP * 3 / 2), "{latest:?}");
    Ok(())
}

/// How many processes wait for a lock.
fn waiting(session: &mut Session) -> Result<u32> {
    let count = session.run("select count(*) from pg_locks where not granted")?.ok()?;
    Ok(count.value().unwrap_or_default().parse()?)
}

#[test]
fn events_go_on_while_pg_database_is_locked() -> Result<()> {
    let (cluster, mut session, mut stream) = served()?;
    let mut reader = cluster.session()?;
    reader.run("begin; select count(*) from pg_database")?.ok()?;
    let mut rewriter = cluster.session()?;
    // Connecting would wait for the lock, as everybody's does.
    let mut watcher = cluster.session()?;
    rewriter.send("vacuum full pg_database")?;
    wait_until(SOON, "the rewriting waits", || waiting(&mut watcher).is_ok_and(|count| count == 1))?;
    let start = Instant::now();
    // Beyond some of the gateway's looks at pg_database, once a second.
    for number in 0.. {
        if start.elapsed() > Duration::from_millis(3_500) {
            break;
        }
        let time = round(&mut session, &mut stream, &number.to_string())?;
        ensure!(time < Duration::from_secs(2), "event {number} took {time:?}");
    }
    assert_eq!(waiting(&mut watcher)?, 1, "somebody else waits, too");
    reader.run("commit")?.ok()?;
    rewriter.wait(SOON)?.ok()?;
    round(&mut session, &mut stream, "after")?;
    Ok(())
}

// The defaults that the cluster has for transactions do not apply to the gateway's own: a deferrable one
// waits for a snapshot until no transaction is left that could disturb it.
#[test]
fn events_go_on_whatever_transactions_are_by_default() -> Result<()> {
    let (cluster, mut session, mut stream) = served()?;
    session
        .run(
            "set default_transaction_isolation = 'read committed'; set default_transaction_deferrable = off",
        )?
        .ok()?;
    let mut writer = cluster.session()?;
    writer.run("begin isolation level serializable read write; select count(*) from pg_class")?.ok()?;
    writer.run("create table t (value int)")?.ok()?;
    cluster.configure("default_transaction_isolation", "serializable")?;
    cluster.configure("default_transaction_read_only", "on")?;
    cluster.reconfigure("default_transaction_deferrable", "on")?;
    let start = Instant::now();
    for number in 0.. {
        if start.elapsed() > Duration::from_millis(3_500) {
            break;
        }
        let time = round(&mut session, &mut stream, &number.to_string())?;
        ensure!(time < Duration::from_secs(2), "event {number} took {time:?}");
        // Others do wait: the logical replication launcher.
        let waits = "select count(*) from pg_stat_activity where wait_event = 'SafeSnapshot' and backend_type ~ 'pg_sse'";
        assert_eq!(session.run(waits)?.ok()?.value(), Some("0"), "a worker waits for a snapshot");
    }
    writer.run("commit")?.ok()?;
    Ok(())
}

/// The process of this server that writes the log.
fn log_collector(cluster: &Cluster) -> Result<u32> {
    let children = Command::new("ps").args(["-A", "-o", "pid=,ppid=,args="]).output()?;
    let parent = cluster.postmaster_pid()?.to_string();
    let children = String::from_utf8_lossy(&children.stdout).into_owned();
    let is_it = |line: &&str| line.contains("logger") && line.split_whitespace().nth(1) == Some(&*parent);
    let line = children.lines().find(is_it).context("no log collector")?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

// Attack, or bad luck: the collector of the log is stopped, or its disk hangs, and whoever writes a line
// waits.
#[test]
fn events_go_on_while_nobody_takes_the_server_log() -> Result<()> {
    let cluster = Cluster::builder().setting("logging_collector", "on").start()?;
    cluster.sql(&announcer("f", "@sse"))?;
    let mut session = cluster.session()?;
    session.run(QUIET)?.ok()?;
    let mut stream = cluster.http()?.events("/api/f/info")?;
    let (mut writer, mut watcher) = (cluster.session()?, cluster.session()?);
    let http = cluster.http()?;
    // Not before the stream is there: a path that is not known yet is looked for among the files, and a line
    // of one kind is said once in ten seconds.
    cluster.sql("alter system set sse.static_root = '/nowhere'")?;
    cluster.sql("select pg_reload_conf()")?;
    wait_until(SOON, "reloaded", || {
        watcher.run("show sse.static_root").is_ok_and(|reply| reply.text() == "/nowhere")
    })?;

    let frozen = cluster.freeze(log_collector(&cluster)?)?;
    // Shorter lines than the gateway's, which would find room otherwise.
    writer.run("set log_error_verbosity = terse")?.ok()?;
    let writing_pid = writer.backend_pid()?;
    writer.send("do $$ begin for i in 1..10000 loop raise log 'x'; end loop; end $$")?;
    let writing = writing_pid.to_string();
    let sleeps = || {
        let state = Command::new("ps").args(["-o", "stat=", "-p", &writing]).output();
        state.is_ok_and(|state| state.stdout.starts_with(b"S"))
    };
    wait_until(SOON, "the pipe is full", || (0..20).all(|_| sleeps()))?;
    // The main thread has to say that the folder is not there, and waits: the figures, which it copies once a
    // second, stand still.
    let figures = "select events_total from sse.stat_gateway";
    let mut number = 0;
    let start = Instant::now();
    let mut stands_since = (String::new(), Instant::now());
    while stands_since.1.elapsed() < Duration::from_secs(3) {
        ensure!(start.elapsed() < SOON * 3, "the main thread has nothing to wait for");
        // Again and again: the gateway may not have taken in the setting when the first one comes.
        http.get("/page.html")?;
        let time = round(&mut session, &mut stream, &number.to_string())?;
        ensure!(time < Duration::from_secs(2), "event {number} took {time:?}");
        number += 1;
        let now = watcher.run(figures)?.ok()?.text();
        if now != stands_since.0 {
            stands_since = (now, Instant::now());
        }
    }
    drop(frozen);
    writer.wait(SOON)?.ok()?;
    wait_until(SOON, "the figures go on", || {
        watcher.run(figures).is_ok_and(|reply| reply.text() != stands_since.0)
    })
}

#[test]
fn a_panic_in_any_thread_ends_the_gateway_in_an_orderly_way_and_another_one_serves() -> Result<()> {
    let (cluster, mut session, stream) = served()?;
    let mark = cluster.log_mark()?;
    drop(stream);
    for fault in ["pg_sse.panic_courier", "pg_sse.panic", "pg_sse.panic_courier", "pg_sse.panic"] {
        let pid = gateway_pid(&cluster)?;
        provoke(&cluster, fault)?;
        wait_until(SOON, "there is another gateway", || gateway_pid(&cluster).is_ok_and(|new| new != pid))?;
        let line = cluster.wait_for_log(mark, &format!("(PID {pid}) exited with exit code"))?;
        ensure!(line.contains("exit code 1"), "{line}");
        let stream = wait_for(SOON, "it serves", || Ok(cluster.http()?.events("/api/f/info").ok()));
        round(&mut session, &mut stream?, "again")?;
    }
    let log = cluster.log_since(mark)?;
    ensure!(!log.contains("terminated by signal") && log.contains("a thread has failed: "), "{log}");
    Ok(())
}

/// Not a promise but a measurement, of two libraries side by side, because the machine's own noise is larger
/// than what they differ by: `PG_SSE_BEFORE=/path/to/libpg_sse.so cargo test -p pg-test --test event_path --
/// --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn by_hand_the_time_from_a_single_publisher_to_its_subscriber() -> Result<()> {
    let before = env::var_os("PG_SSE_BEFORE").context("PG_SSE_BEFORE names no library to measure beside")?;
    let original = PgConfig::find(None)?;
    let mut sides = Vec::new();
    for extension in [Extension::with_library(before.into())?, Extension::locate(&original)?] {
        let install = Arc::new(Install::of(&original)?);
        install.put(&extension)?;
        let cluster = Cluster::builder().install(install).start()?;
        cluster.sql(&announcer("f", "@sse"))?;
        let mut session = cluster.session()?;
        session.run(QUIET)?.ok()?;
        let stream = cluster.http()?.events("/api/f/info")?;
        sides.push((cluster, session, stream, Vec::new()));
    }
    // In lock-step without a pause, and with one in which everybody falls asleep.
    for pause in [Duration::ZERO, Duration::from_millis(5)] {
        for _ in 0..20 {
            for (_, session, stream, times) in &mut sides {
                for number in 0..50 {
                    thread::sleep(pause);
                    times.push(round(session, stream, &number.to_string())?);
                }
            }
        }
        for (side, (_, _, _, times)) in ["before", "after"].iter().zip(&mut sides) {
            times.sort_unstable();
            let at = |percent: usize| times[(times.len() - 1) * percent / 100];
            println!(
                "pause {pause:?}, {side}: p10 {:?}, p50 {:?}, p90 {:?}, p99 {:?}",
                at(10),
                at(50),
                at(90),
                at(99)
            );
            times.clear();
        }
    }
    Ok(())
}

/// The gateway's threads by name, with their nice values; its main thread has the process's name.
#[cfg(target_os = "linux")]
fn nice_of_threads(cluster: &Cluster) -> Result<Vec<(String, i32)>> {
    let pid = gateway_pid(cluster)?;
    let threads = fs::read_dir(format!("/proc/{pid}/task"))?;
    let nice = threads.map(|thread| {
        // proc(5), /proc/pid/stat: the name in parentheses, then the state and so on; nice is field 19.
        let stat = fs::read_to_string(thread?.path().join("stat"))?;
        let (head, rest) = stat.rsplit_once(") ").context("no name")?;
        let name = head.split_once('(').context("no name")?.1.to_owned();
        Ok((name, rest.split(' ').nth(16).context("no nice value")?.parse()?))
    });
    nice.collect()
}

#[cfg(target_os = "linux")]
#[test]
fn threads_that_no_event_waits_for_leave_the_processor_to_those_that_carry_events() -> Result<()> {
    let (cluster, ..) = served()?;
    let nice = nice_of_threads(&cluster)?;
    let of = |wanted: &str| nice.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
    let (courier, streams) = (of("sse-courier"), of("sse-gateway-0"));
    for (name, least) in [("sse-routes", courier), ("sse-refusals", streams)] {
        ensure!(of(name).is_some() && least.is_some() && of(name) > least, "{name}: {nice:?}");
    }
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn events_come_before_other_work_if_the_administrator_permits_it() -> Result<()> {
    if !Install::shared()?.account().may_permit_priority() {
        return skip(env!("CARGO_CRATE_NAME"), "a permission to raise priorities (root with CAP_SYS_NICE)");
    }
    for (builder, carriers) in [(Cluster::builder(), 0), (Cluster::builder().priority(), -10)] {
        let (cluster, mut session, mut stream) = served_by(builder)?;
        round(&mut session, &mut stream, "first")?;
        for (name, nice) in nice_of_threads(&cluster)? {
            let expected = match &*name {
                "sse-routes" | "sse-refusals" | "sse-files" => 10,
                name if name == "sse-courier" || name.starts_with("sse-gateway-") => carriers,
                // The main thread takes locks that others wait for.
                _ => 0,
            };
            ensure!(nice == expected, "of {carriers}, {name} has {nice}");
        }
        // Where there are no groups, nothing is to be said about them.
        if let Ok(group) = fs::read_to_string(format!("/proc/{}/autogroup", gateway_pid(&cluster)?)) {
            ensure!(group.trim_end().ends_with(&format!(" nice {carriers}")), "of {carriers}: {group}");
        }
    }
    Ok(())
}
