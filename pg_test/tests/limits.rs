//! Each limit one below, at, and one above (C1.3, C3.6, C5.1).

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::{Account, Cluster, StopMode, wait_for, wait_until};
use common::{Corner, SOON, announcer, figure, gap_reason, gateway_pid};

#[test]
fn an_event_of_max_event_size_is_sent_and_one_byte_more_is_a_gap_and_a_warning() -> Result<()> {
    let corner = Corner::new("event_size")?;
    let mut stream = corner.announced("f", "@sse")?;
    let mut session = corner.session()?;
    let limit = 1024 * 1024;
    for (size, sent) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
        let before = figure(corner.cluster, "stat_ring", "too_large_total")?;
        let reply = session.run(&format!("select f(repeat('x', {size}))"))?.ok()?;
        let warnings = reply.texts("WARNING");
        let event = stream.next_payload(SOON)?;
        if sent {
            assert_eq!((event.data.len(), warnings.len()), (size, 0));
            continue;
        }
        assert_eq!(gap_reason(&event)?, "too_large");
        assert_eq!(warnings.len(), 1);
        ensure!(warnings[0].contains(&size.to_string()), "{}", warnings[0]);
        assert_eq!(figure(corner.cluster, "stat_ring", "too_large_total")?, before + 1);
    }
    Ok(())
}

#[test]
fn the_size_of_an_event_is_that_of_its_utf8() -> Result<()> {
    let cluster = Cluster::builder().encoding("LATIN1").setting("sse.max_event_size", 100).start()?;
    let corner = Corner::of(&cluster, "utf8_size")?;
    let mut stream = corner.announced("f", "@sse")?;
    corner.sql("select f(repeat('ä', 50)); select f(repeat('ä', 51)); select f('end')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "ä".repeat(50));
    assert_eq!(gap_reason(&stream.next_payload(SOON)?)?, "too_large");
    assert_eq!(stream.next_payload(SOON)?.data, "end");
    Ok(())
}

#[test]
fn a_too_large_event_that_is_rolled_back_is_no_gap() -> Result<()> {
    let corner = Corner::new("large_rolled_back")?;
    let mut stream = corner.announced("f", "@sse")?;
    corner.run("begin; select f(repeat('x', 1024 * 1024 + 1)); rollback; select f('end')")?.ok()?;
    assert_eq!(stream.next_payload(SOON)?.data, "end");
    Ok(())
}

#[test]
fn a_transaction_of_max_transaction_size_commits_and_one_with_more_fails_before_it_commits() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.max_transaction_size", "64kB").start()?;
    let corner = Corner::of(&cluster, "xact_size")?;
    corner.announcer("f", "@sse")?;
    corner.sql("create table t (id int)")?;
    let mut stream = corner.stream("f/info")?;
    let mut session = corner.session_with("-c client_min_messages=error")?;
    // How much one record takes besides its data is not promised. It is found out here, so that the limit is
    // met to the byte.
    let fits = |session: &mut cluster::Session, size: usize| -> Result<bool> {
        let reply = session
            .run(&format!("begin; insert into t values (1); select f(repeat('x', {size})); commit"))?;
        match reply.error() {
            None => Ok(true),
            Some(error) => {
                assert_eq!(error.sqlstate.as_deref(), Some("54000"), "{error:?}");
                ensure!(error.text.contains("sse.max_transaction_size"), "{error:?}");
                session.run("rollback")?.ok()?;
                Ok(false)
            }
        }
    };
    let (mut low, mut high) = (64 * 1024 - 1024, 64 * 1024);
    ensure!(fits(&mut session, low)? && !fits(&mut session, high)?, "the limit is not where it is set");
    let mut sent = vec![low];
    while high - low > 1 {
        let middle = low.midpoint(high);
        if fits(&mut session, middle)? {
            sent.push(middle);
            low = middle;
        } else {
            high = middle;
        }
    }
    assert_eq!(
        session.run("select count(*) from t")?.ok()?.text(),
        sent.len().to_string(),
        "what failed is not committed"
    );
    let received: Vec<usize> = stream.next_data(sent.len(), SOON)?.iter().map(String::len).collect();
    assert_eq!(received, sent);
    Ok(())
}

#[test]
fn beyond_max_transaction_size_a_savepoint_can_be_rolled_back_to() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.max_transaction_size", "64kB").start()?;
    let corner = Corner::of(&cluster, "xact_savepoint")?;
    let mut stream = corner.announced("f", "@sse")?;
    let mut session = corner.session_with("-c client_min_messages=error")?;
    session.run("begin; select f('kept'); savepoint s; select f(repeat('x', 70000)); rollback to s; select f('after'); commit")?.ok()?;
    assert_eq!(stream.next_data(2, SOON)?, ["kept", "after"]);
    Ok(())
}

#[test]
fn immediate_events_are_not_bound_by_max_transaction_size() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.max_transaction_size", "64kB").start()?;
    let corner = Corner::of(&cluster, "xact_immediate")?;
    let mut stream = corner.announced("f", "@sse\n@sse_delivery immediate")?;
    corner.run("select f(repeat('x', 10000)) from generate_series(1, 20)")?.ok()?;
    assert_eq!(stream.next_data(20, SOON)?.len(), 20);
    Ok(())
}

#[test]
fn thousands_of_routines_are_read_through_the_smallest_ring() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.ring_size", "64kB").start()?;
    let http = cluster.http()?;
    cluster.sql(
        "do $d$ begin for i in 1..2000 loop
           execute format('create function f%s() returns void language sql as $f$ $f$', i);
           execute format('comment on function f%s() is %L', i, E'@sse\\n' || repeat('prose ', 30));
         end loop; end $d$",
    )?;
    for number in [1, 1000, 2000] {
        assert_eq!(common::status(http, &format!("/api/f{number}/info"))?, 200);
    }
    assert_eq!(cluster.sql("select count(*) from sse.endpoints")?, "2000");
    Ok(())
}

// Attack: one routine's comment keeps all others from being read.
#[test]
fn a_comment_that_is_larger_than_the_ring_costs_only_its_own_url() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.ring_size", "64kB").start()?;
    let http = cluster.http()?;
    cluster.sql(&announcer("large", ""))?;
    cluster.sql("do $d$ begin execute format('comment on function large(text) is %L', E'@sse\\n' || repeat('x', 3000000)); end $d$")?;
    cluster.sql(&announcer("small", "@sse"))?;
    assert_eq!(common::status(http, "/api/small/info")?, 200);
    Ok(())
}

#[test]
fn a_reload_raises_max_connections() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.max_connections", 1).start()?;
    let http = cluster.http()?;
    cluster.sql(&announcer("f", "@sse"))?;
    let _first = http.events("/api/f/info")?;
    assert_eq!(http.get("/api/f/info")?.status(), 503);
    cluster.reconfigure("sse.max_connections", "2")?;
    wait_for(SOON, "the new limit", || Ok(http.events("/api/f/info").ok()))?;
    Ok(())
}

#[test]
fn the_gateway_raises_its_own_limit_of_open_files() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    cluster.stop(StopMode::Fast)?;
    // A process may commonly have fewer files open than sse.max_connections.
    let mut shell = Account::for_servers()?.command(Path::new("/bin/sh"));
    shell.args(["-c", "ulimit -S -n 256; exec \"$0\" -D \"$1\""]).arg(cluster.install().program("postgres"));
    shell.arg(cluster.data_dir()).current_dir(cluster.home()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = shell.spawn()?;
    wait_until(SOON, "the server takes connections", || cluster.sql("select 1").is_ok())?;
    cluster.http()?;
    let soft_and_hard = |pid: u32| -> Result<(u64, u64)> {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
        let line = limits.lines().find(|line| line.starts_with("Max open files")).context("no such limit")?;
        let mut numbers = line.split_whitespace().filter_map(|word| word.parse().ok());
        Ok((numbers.next().context("no soft limit")?, numbers.next().unwrap_or(u64::MAX)))
    };
    let (soft, hard) = soft_and_hard(gateway_pid(&cluster)?)?;
    assert_eq!(soft_and_hard(server.id())?.0, 256, "the server's own stays");
    rustix::process::kill_process(rustix::process::Pid::from_child(&server), rustix::process::Signal::INT)?;
    server.wait()?;
    ensure!(soft > 10_000 || soft == hard, "{soft} of {hard}");
    Ok(())
}

#[test]
fn a_subscriber_that_takes_nothing_is_disconnected_after_write_timeout_and_delays_nobody() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.write_timeout", "1s").start()?;
    let corner = Corner::of(&cluster, "stalled")?;
    let mut reader = corner.announced("f", "@sse")?;
    let _stalled = corner.stream("f/info")?;
    let mut session = corner.session_with("-c client_min_messages=error")?;
    let disconnected = || figure(&cluster, "stat_gateway", "write_timeouts_total");
    let mut rounds = 0;
    wait_for(Duration::from_secs(20), "the stalled one is disconnected", || {
        session.run("select f(repeat('x', 1000000)) from generate_series(1, 4)")?.ok()?;
        rounds += 1;
        assert_eq!(reader.next_data(4, SOON)?.len(), 4, "the other one is served, round {rounds}");
        Ok((disconnected()? > 0).then_some(()))
    })?;
    session.run("select f('still there')")?.ok()?;
    assert_eq!(reader.next_payload(SOON)?.data, "still there");
    Ok(())
}
