//! A call on its way waits for nothing but a worker: whatever the gateway's main thread waits for, calls go
//! on.
//!
//! Not for events (`event_path.rs`).

mod common;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use cluster::{PATIENCE, wait_until};
use common::calls::{Api, builder, ready, start};
use common::{gateway_pid, provoke};
use serde_json::json;

/// Somewhat less than the main thread is held.
const HELD: Duration = Duration::from_millis(1_500);

#[test]
fn calls_go_on_while_the_main_thread_is_held() -> Result<()> {
    let cluster = start(builder().setting("sse.threads", 2).setting("sse.call_workers", 3))?;
    let api = Api::of(&cluster, "held")?;
    api.sql(
        "create function echo(text text) returns text language sql as 'select text';
         comment on function echo(text) is 'HTTP POST';",
    )?;
    let echo = &|text: &str| -> Result<()> {
        let answer = api.post("echo", &json!({ "text": text }))?;
        ensure!(answer.status() == 200 && answer.text() == text, "{}", answer.status());
        Ok(())
    };
    echo("before")?;
    // Larger than a worker's ring, so each side waits for the other several times on the way.
    let large = "x".repeat(600_000);
    provoke(&cluster, "pg_sse.hold")?;
    let start = Instant::now();
    echo(&large)?;
    // More callers than workers, on both threads.
    let count = std::thread::scope(|scope| {
        let callers = [0, 1, 2, 3, 4].map(|caller| {
            scope.spawn(move || -> Result<u32> {
                let mut count = 0;
                while start.elapsed() < HELD {
                    echo(&format!("{caller}.{count}"))?;
                    count += 1;
                }
                Ok(count)
            })
        });
        let counts =
            callers.into_iter().map(|caller| caller.join().map_err(|_| anyhow!("a caller panicked"))?);
        counts.sum::<Result<u32>>()
    })?;
    // Held up by the main thread, the first would take all the time.
    ensure!(count >= 20, "{count} calls in {:?}", start.elapsed());
    Ok(())
}

/// How often the gateway's main thread has slept so far.
#[cfg(target_os = "linux")]
fn sleeps(gateway: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{gateway}/task/{gateway}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    Ok(line.context("no such line")?.trim().parse()?)
}

#[cfg(target_os = "linux")]
#[test]
fn a_call_does_not_wake_the_main_thread() -> Result<()> {
    const CALLS: u64 = 300;
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "unwoken")?;
    api.sql(
        "create function f() returns int language sql as 'select 1'; comment on function f() is 'HTTP POST';",
    )?;
    let call = || -> Result<()> {
        let answer = api.post("f", &json!({}))?;
        ensure!(answer.text() == "1", "{}", answer.status());
        Ok(())
    };
    call()?;
    let gateway = gateway_pid(&cluster)?;
    let (before, start) = (sleeps(gateway)?, Instant::now());
    (0..CALLS).try_for_each(|_| call())?;
    let slept = sleeps(gateway)? - before;
    // Once a second by itself, and for changes of the catalog.
    let others = 50 + 5 * start.elapsed().as_secs();
    ensure!(slept < others, "{slept} times for {CALLS} calls in {:?}", start.elapsed());
    Ok(())
}

/// How many eventfds a process has.
#[cfg(target_os = "linux")]
fn bells(pid: u32) -> Result<usize> {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd"))?;
    let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    Ok(targets.filter(|target| target.to_string_lossy().contains("eventfd")).count())
}

#[cfg(target_os = "linux")]
#[test]
fn a_session_has_a_descriptor_for_each_thread_also_after_a_crash_and_a_program_has_none() -> Result<()> {
    const THREADS: usize = 3;
    let cluster = start(builder().setting("sse.threads", THREADS))?;
    let mut session = cluster.session()?;
    ensure!(bells(session.backend_pid()?)? == THREADS, "{}", bells(session.backend_pid()?)?);
    let listed = "create temp table files (file text); copy files from program 'ls -l /proc/self/fd/'";
    session.run(listed)?.ok()?;
    ensure!(session.run("select count(*) from files where file like '%->%'")?.text() != "0");
    ensure!(session.run("select count(*) from files where file like '%eventfd%'")?.text() == "0");
    // The postmaster goes on, and makes shared memory anew.
    let gateway = gateway_pid(&cluster)?;
    cluster.kill_backend(session.backend_pid()?)?;
    wait_until(PATIENCE, "another gateway", || gateway_pid(&cluster).is_ok_and(|pid| pid != gateway))?;
    ready(&cluster)?;
    let mut session = cluster.session()?;
    ensure!(bells(session.backend_pid()?)? == THREADS, "{}", bells(session.backend_pid()?)?);
    Ok(())
}
