//! A record of the write-ahead log that makes its reader crash stops it once, and never again: the log
//! outlives the crash, and so would every further one (C10.6).

mod common;

use anyhow::{Context, Result, ensure};
use cluster::http::{Event, EventStream};
use cluster::{Cluster, wait_for, wait_until};
use common::{SOON, announcer, gap_reason};

const PATH: &str = "/api/f/info";

/// Only a build with the feature `faults` dies of these (`src/pg/wal/fault_note.rs`).
const DEADLY: &str = "deadly to the reader of the log";
const PANICS: &str = "makes the reader of the log panic";

fn start() -> Result<(Cluster, EventStream)> {
    let cluster =
        Cluster::builder().setting("sse.durability", "wal").setting("wal_keep_size", "256MB").start()?;
    cluster.sql(&announcer("f", "@sse"))?;
    let stream = cluster.http()?.events(PATH)?.begun()?;
    Ok((cluster, stream))
}

/// The same in a transaction that changes something.
fn publish(cluster: &Cluster, message: &str) -> Result<()> {
    cluster.sql(&format!("begin; create temporary table t (); select f('{message}'); commit")).map(drop)
}

/// What comes after this event, up to one with the data `last`.
fn behind(cluster: &Cluster, event: &Event, last: &str) -> Result<Vec<Event>> {
    let mut stream =
        wait_for(SOON * 2, "it serves", || Ok(cluster.http()?.events_after(PATH, &event.id).ok()))?;
    let mut all = Vec::new();
    while all.last().is_none_or(|event: &Event| event.data != last) {
        all.push(stream.next_payload(SOON * 2).with_context(|| format!("{all:?}"))?);
    }
    Ok(all)
}

#[test]
fn a_record_that_crashes_the_reader_crashes_it_once_and_is_a_gap() -> Result<()> {
    let (cluster, mut stream) = start()?;
    publish(&cluster, "first")?;
    let first = stream.next_payload(SOON)?;
    let mark = cluster.log_mark()?;
    // The server restarts meanwhile, or has already.
    let _ = publish(&cluster, DEADLY);
    cluster.wait_for_log(mark, "was terminated by signal 11")?;
    let alive = || cluster.sql("select 1").is_ok() && cluster.http().is_ok();
    wait_until(SOON * 2, "the server is back", alive)?;
    // Streams begin when the routines are known: from then on sessions publish.
    wait_for(SOON * 2, "it serves", || Ok(cluster.http()?.events_after(PATH, &first.id).ok()))?;
    publish(&cluster, "last")?;
    let events = behind(&cluster, &first, "last")?;
    assert_eq!(gap_reason(&events[0])?, "unreadable");
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(cluster.sql("select unreadable_total from sse.stat_wal")?, "1");
    let crashes = cluster.log_since(mark)?.matches("was terminated by signal 11").count();
    ensure!(crashes == 1, "{crashes} crashes");
    Ok(())
}

#[test]
fn a_record_at_which_the_reader_panics_is_a_gap_for_streams_that_go_on() -> Result<()> {
    let (cluster, mut stream) = start()?;
    publish(&cluster, "first")?;
    assert_eq!(stream.next_payload(SOON)?.data, "first");
    publish(&cluster, PANICS)?;
    publish(&cluster, "last")?;
    assert_eq!(gap_reason(&stream.next_payload(SOON * 2)?)?, "unreadable");
    assert_eq!(stream.next_payload(SOON)?.data, "last");
    Ok(())
}
