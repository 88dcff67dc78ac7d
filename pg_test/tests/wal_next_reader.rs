//! The reader of the write-ahead log ends, and the next one takes its place (C10.2, C10.3): it goes on where
//! that one was, also in the middle of the window, and believes nothing more of it than what is so.
//!
//! Not for readers that die of a record (`wal_unreadable.rs`), and for log that goes meanwhile
//! (`wal_hostile.rs`, `standby_replay.rs`).

mod common;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::http::Event;
use cluster::{Cluster, StopMode, wait_for, wait_until};
use common::wal::{STREAM, behind, builder, furnish, next, reader_pid, replace, switch_to_start};
use common::{SOON, figure, freeze_gateway, gateway_pid, state};

/// A request that has to wait is not answered within this time.
const A_WHILE: Duration = Duration::from_millis(300);

/// Publishes each of these in a transaction of its own, and answers the events as they are told, after this
/// id.
fn publish(cluster: &Cluster, id: &str, texts: &[String]) -> Result<Vec<Event>> {
    let mut stream = behind(cluster, id)?;
    let publish = |text: &String| {
        cluster.sql(&format!("begin; insert into note values (1); select says('{text}'); commit"))?;
        next(&mut stream)
    };
    texts.iter().map(publish).collect()
}

/// The first event of a server that knows where to begin for it.
fn first_event(cluster: &Cluster) -> Result<Event> {
    let id = furnish(cluster)?;
    let file = cluster.data_dir().join("pg_sse.starts");
    wait_until(SOON, "there is a start", || file.exists())?;
    publish(cluster, &id, &["base".to_owned()])?.pop().context("nothing was told")
}

// Two events of the window fill the ring of a gateway that stands still, and the reader ends while it waits
// for room. What the two readers say of the log is taken out at once then.
#[test]
fn nobody_is_let_in_before_the_window_is_read_back_also_when_the_reader_ends_meanwhile() -> Result<()> {
    let cluster = builder().setting("sse.ring_size", "64kB").setting("wal_keep_size", "256MB").start()?;
    let base = first_event(&cluster)?;
    let large = |numbers: [u32; 2]| numbers.map(|number| number.to_string().repeat(29_000));
    let mut told = publish(&cluster, &base.id, &large([1, 2]))?;
    // A start with an event before it: the next reader begins there.
    switch_to_start(&cluster)?;
    let last = told.last().context("nothing was told")?.id.clone();
    told.extend(publish(&cluster, &last, &large([3, 4]))?);

    let of_reader = cluster.freeze(reader_pid(&cluster)?)?;
    replace(&cluster, gateway_pid)?;
    wait_until(SOON, "it asks for the window", || state(&cluster).is_ok_and(|state| state == "serving"))?;
    let of_gateway = freeze_gateway(&cluster)?;
    let refused = || figure(&cluster, "stat_ring", "full_total");
    let before = refused()?;
    drop(of_reader);
    wait_until(SOON, "the ring is full", || refused().is_ok_and(|now| now > before))?;
    replace(&cluster, reader_pid)?;
    let before = refused()?;
    wait_until(SOON, "the next reader waits for room", || refused().is_ok_and(|now| now > before))?;

    let of_reader = cluster.freeze(reader_pid(&cluster)?)?;
    drop(of_gateway);
    wait_until(SOON, "the gateway has taken it", || {
        figure(&cluster, "stat_ring", "used_bytes").is_ok_and(|bytes| bytes == 0)
    })?;
    let served = cluster.http()?.within(A_WHILE).events(STREAM);
    ensure!(served.is_err(), "a stream begins in the middle of the window");
    assert_eq!(cluster.sql("select caught_up from sse.stat_wal")?, "f");
    drop(of_reader);
    let mut anew = wait_for(SOON, "it serves", || Ok(cluster.http()?.events(STREAM).ok()))?.begun()?;
    told.extend(publish(&cluster, &told[3].id, &["new".to_owned()])?);
    assert_eq!(next(&mut anew)?.data, "new", "what was before a stream is not for it");
    let mut again = behind(&cluster, &base.id)?;
    let ids: Vec<_> = told.iter().map(|event| event.id.clone()).collect();
    for event in told {
        let found = next(&mut again)?;
        ensure!(
            found == event,
            "behind {} {} {} {:.80} in place of {}, of {ids:?}; {}; {:?}",
            base.id,
            found.event,
            found.id,
            found.data,
            event.id,
            cluster.sql("select to_json(s) from sse.stat_wal s")?,
            fs::read_to_string(cluster.data_dir().join("pg_sse.starts"))
        );
    }
    Ok(())
}

// A segment of the log that cannot be had for a moment stops a reader: here one that has said where the
// window begins, and nothing else.
#[test]
fn the_window_begins_where_it_was_said_to_also_when_the_reader_ends_before_the_first_event() -> Result<()> {
    let cluster = builder().setting("wal_keep_size", "256MB").start()?;
    let base = first_event(&cluster)?;
    // As the file has it: where to begin, and the last event before.
    let start_behind = |event: &Event| -> Result<String> {
        let at = cluster.sql("select pg_current_wal_insert_lsn() - '0/0'")?.parse::<u64>()?;
        let place = event.id.split_once('-').context("no place")?.1.replace('-', " ");
        Ok(format!("{at:x} {at:x} {place} 1\n"))
    };
    let early = start_behind(&base)?;
    cluster.sql("select pg_switch_wal()")?;
    let hidden = cluster.sql("create table other (); select pg_walfile_name(pg_switch_wal())")?;
    let hidden = hidden.lines().last().context("no segment")?;
    let hidden = cluster.data_dir().join("pg_wal").join(hidden);
    let mut told = publish(&cluster, &base.id, &["one".to_owned()])?;
    let late = start_behind(&told[0])?;
    told.extend(publish(&cluster, &told[0].id, &["two".to_owned()])?);

    cluster.stop(StopMode::Fast)?;
    let starts = cluster.data_dir().join("pg_sse.starts");
    fs::write(&starts, format!("pg_sse starts 1\n{early}"))?;
    let aside = cluster.home().join("aside");
    fs::rename(&hidden, &aside)?;
    cluster.start()?;
    let has_begun = "select begin_position is not null and not caught_up from sse.stat_wal";
    cluster.comes_to(SOON, "the window is begun", has_begun, "t")?;
    // Meanwhile another start has become as old as the window.
    fs::write(&starts, format!("pg_sse starts 1\n{early}{late}"))?;
    replace(&cluster, reader_pid)?;
    fs::rename(&aside, &hidden)?;
    let mut again = behind(&cluster, &base.id)?;
    for event in told {
        assert_eq!(next(&mut again)?, event);
    }
    Ok(())
}

#[test]
fn nothing_is_shown_as_held_that_was_held_by_a_reader_before() -> Result<()> {
    let builder = builder().setting("synchronous_commit", "local");
    let cluster = builder.setting("synchronous_standby_names", "nobody").start()?;
    let mut stream = behind(&cluster, &furnish(&cluster)?)?;
    cluster.sql("set synchronous_commit = on; select says('held')")?;
    let is_held = |wanted: &str| {
        cluster.sql("select held_since is not null from sse.stat_wal").is_ok_and(|is_held| is_held == wanted)
    };
    wait_until(SOON, "it is held", || is_held("t"))?;
    let pid = reader_pid(&cluster)?;
    let frozen = cluster.freeze(pid)?;
    cluster.reconfigure("synchronous_standby_names", "")?;
    cluster.sql(&format!("select pg_terminate_backend({pid})"))?;
    drop(frozen);
    assert_eq!(next(&mut stream)?.data, "held");
    ensure!(is_held("f"), "it was told");
    Ok(())
}

#[test]
fn a_standby_that_becomes_the_primary_while_its_reader_ends_tells_all_and_has_no_gap() -> Result<()> {
    let primary = builder().start()?;
    furnish(&primary)?;
    let standby = primary.standby()?;
    standby.start()?;
    let mut stream = wait_for(SOON, "it serves", || Ok(standby.http()?.events(STREAM).ok()))?;
    stream.ready()?;
    let publish = |server: &Cluster, text: &str| {
        server.sql(&format!("begin; insert into note values (1); select says('{text}'); commit"))
    };
    publish(&primary, "told")?;
    assert_eq!(next(&mut stream)?.data, "told");
    let pid = reader_pid(&standby)?;
    let frozen = standby.freeze(pid)?;
    publish(&primary, "replayed")?;
    standby.wait_for_replay(&primary)?;
    standby.promote()?;
    publish(&standby, "written")?;
    standby.sql(&format!("select pg_terminate_backend({pid})"))?;
    drop(frozen);
    for text in ["replayed", "written"] {
        assert_eq!(next(&mut stream)?.data, text);
    }
    Ok(())
}
