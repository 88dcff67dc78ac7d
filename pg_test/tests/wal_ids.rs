//! Ids of events that come from the write-ahead log, on one server: whoever comes with one goes on after it
//! (C10.3).
//!
//! Not for which ids hold and which do not: `crates/gateway/tests/placed.rs`. Not for standbys.

mod common;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::http::{EventStream, Request};
use cluster::{Cluster, StopMode, wait_until};
use common::calls::{builder, start};
use common::{SOON, announcer};

const SETUP: &str = "
    create function state() returns text language sql stable as $$ select 'the state' $$;
    create function told() returns void language plpgsql as $$ begin raise info 'told'; end $$;
    comment on function told() is e'@sse\\n@sse_snapshot state';
    create function job() returns text language plpgsql as $$ begin raise info 'half'; return 'all'; end $$;
    comment on function job() is e'HTTP POST\\n@sse\\n@sse_scope caller';";

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let started = start(builder().setting("sse.durability", "wal"));
        let furnished = started.and_then(|cluster| cluster.sql(SETUP).map(|_| cluster));
        furnished.unwrap_or_else(|error| panic!("no cluster: {error:#}"))
    })
}

/// A stream that was accepted with this id.
fn resumed(cluster: &Cluster, target: &str, id: &str) -> Result<EventStream> {
    let mut stream = cluster.http()?.events_after(target, id)?;
    let ready = stream.ready()?;
    ensure!(ready.id == id, "{ready:?}");
    Ok(stream)
}

// The page was on another server, which has told it a place between two events.
#[test]
fn who_has_seen_more_than_the_events_of_a_quiet_server_gets_its_snapshot() -> Result<()> {
    let cluster = cluster();
    cluster.sql("create table if not exists anything()")?;
    let lsn = cluster.sql("select pg_current_wal_flush_lsn()")?;
    let is_known = format!("select end_position >= '{lsn}' from sse.stat_wal");
    cluster.comes_to(SOON, "this server knows it", &is_known, "t")?;
    let (high, low) = lsn.split_once('/').context("no position")?;
    let place = u64::from_str_radix(high, 16)? << 32 | u64::from_str_radix(low, 16)?;
    let mut stream = resumed(cluster, "/api/told/info", &format!("w1-{place:x}-ffffffffs"))?;
    let snapshot = stream.next(SOON)?;
    assert_eq!((&*snapshot.event, &*snapshot.data), ("message", "the state"));
    cluster.sql("select told()")?;
    assert_eq!(stream.next_data(1, SOON)?, ["told"]);
    Ok(())
}

#[test]
fn how_a_call_ended_that_went_on_without_its_caller_has_a_place_of_its_own() -> Result<()> {
    let cluster = cluster();
    let answer =
        cluster.http()?.request(&Request::new("POST", "/api/job").header("Prefer", "respond-async"))?;
    ensure!(answer.status() == 202, "{} {}", answer.status(), answer.text());
    let location = answer.header("location").context("no Location")?;
    let (target, begin) = location.split_once("&last_event_id=").context("no id")?;
    let mut stream = resumed(cluster, target, begin)?;
    let (half, end) = (stream.next(SOON)?, stream.next(SOON)?);
    assert_eq!((&*half.data, &*end.event, &*end.data), ("half", "sse.result", "all"));
    // Whoever breaks off between the two gets the second, and whoever has both gets nothing twice.
    assert_eq!(resumed(cluster, target, &half.id)?.next(SOON)?.id, end.id);
    let mut stream = resumed(cluster, target, &end.id)?;
    cluster.sql("create or replace function last() returns void language plpgsql as $$ begin raise info 'last'; end $$; comment on function last() is '@sse'; select last()")?;
    let mut next = stream.next(SOON)?;
    // Of another test, which publishes for everybody.
    while next.data == "told" {
        next = stream.next(SOON)?;
    }
    assert_eq!(next.data, "last");
    Ok(())
}

#[test]
fn the_last_id_holds_over_restarts_of_a_server_that_was_quiet_for_longer_than_its_window() -> Result<()> {
    let builder = Cluster::builder().setting("sse.durability", "wal").setting("sse.window_age", "1s");
    let cluster = builder.start()?;
    cluster.sql(&announcer("f", "@sse"))?;
    let mut stream = cluster.http()?.events("/api/f/info")?.begun()?;
    cluster.sql("select f('x')")?;
    let last = stream.next(SOON)?.id;
    for what in ["other", "another"] {
        cluster.sql(&format!("create table {what}()"))?;
        let quiet = Instant::now();
        // A start that is older than the window, and after the event.
        wait_until(SOON, "time passes", || quiet.elapsed() > Duration::from_secs(4))?;
        cluster.restart(StopMode::Fast)?;
        drop(resumed(&cluster, "/api/f/info", &last)?);
    }
    let mut stream = resumed(&cluster, "/api/f/info", &last)?;
    cluster.sql("select f('y')")?;
    let next = stream.next(SOON)?;
    assert_eq!((&*next.event, &*next.data), ("message", "y"));
    Ok(())
}
