//! Much at once through the write-ahead log: large transactions, many sessions, and a gateway that does not
//! take what is read (C10.2, C10.3).
//!
//! Not for how fast: `wal_latency.rs`.

mod common;

use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use cluster::http::EventStream;
use cluster::{SessionOptions, StopMode};
use common::wal::{behind, builder, furnish, next};
use common::{SOON, figure, freeze_gateway};

#[test]
fn a_full_ring_holds_up_the_reader_and_no_session() -> Result<()> {
    let cluster = builder().setting("sse.ring_size", "1MB").setting("sse.publish_timeout", "1min").start()?;
    let first = furnish(&cluster)?;
    let frozen = freeze_gateway(&cluster)?;
    for number in 0..60 {
        cluster
            .sql(&format!("insert into note values (1); select says('{number} ' || repeat('x', 60000))"))?;
    }
    drop(frozen);
    let mut stream = behind(&cluster, &first)?;
    for number in 0..60 {
        let data = next(&mut stream)?.data;
        ensure!(data.starts_with(&format!("{number} ")), "{number}: {}", &data[..20.min(data.len())]);
    }
    assert_eq!(figure(&cluster, "stat_ring", "dropped_total")?, 0);
    Ok(())
}

#[test]
fn a_transaction_with_a_hundred_megabytes_of_events_comes_whole() -> Result<()> {
    const EVENTS: usize = 1700;
    let builder = builder().setting("sse.max_transaction_size", "200MB").setting("sse.window_size", "256MB");
    let builder = builder.setting("wal_keep_size", "1GB");
    let cluster = builder.start()?;
    let first = furnish(&cluster)?;
    let come_whole = |mut stream: EventStream| {
        for number in 1..=EVENTS {
            let event = stream.next_payload(SOON * 3)?;
            let data = &event.data[..60.min(event.data.len())];
            ensure!(data.starts_with(&format!("{number} ")), "{number}: {} {} {data}", event.event, event.id);
            stream.forget_bytes();
        }
        Ok(())
    };
    let stream = behind(&cluster, &first)?;
    let sql = format!(
        "insert into note values (1); select says(n || ' ' || repeat('x', 60000)) from generate_series(1, {EVENTS}) n"
    );
    cluster.session_with(&quiet())?.run(&format!("begin; {sql}; commit"))?.ok()?;
    come_whole(stream)?;
    // And again, out of the log.
    cluster.restart(StopMode::Immediate)?;
    come_whole(behind(&cluster, &first)?)
}

#[test]
fn fifty_sessions_at_once_are_told_each_once_and_each_in_its_order() -> Result<()> {
    const SESSIONS: usize = 50;
    const ROUNDS: usize = 40;
    let cluster = builder().setting("max_connections", 80).start()?;
    let first = furnish(&cluster)?;
    let mut stream = behind(&cluster, &first)?;
    thread::scope(|scope| {
        let write = |number: usize| {
            let sql = format!(
                "do $$ begin for i in 1..{ROUNDS} loop
                    if i % 2 = 0 then insert into note values (i); end if;
                    perform says('{number} ' || i); commit;
                 end loop; end $$"
            );
            cluster.session_with(&quiet())?.run(&sql)?.ok().map(drop)
        };
        let writers: Vec<_> = (0..SESSIONS).map(|number| scope.spawn(move || write(number))).collect();
        let mut last = [0; SESSIONS];
        for _ in 0..SESSIONS * ROUNDS {
            let data = next(&mut stream)?.data;
            let (number, round) = data.split_once(' ').context("no event of ours")?;
            let last = &mut last[number.parse::<usize>()?];
            assert_eq!(round.parse::<usize>()?, *last + 1, "session {number}");
            *last += 1;
        }
        writers
            .into_iter()
            .try_for_each(|writer| writer.join().map_err(|_| anyhow!("a writer has panicked"))?)
    })
}

fn quiet() -> SessionOptions {
    SessionOptions { options: "-c client_min_messages=error".to_owned(), ..SessionOptions::default() }
}
