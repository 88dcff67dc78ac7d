//! With `sse.durability = wal`: what goes wrong around the log, by mistake or on purpose, costs what it must
//! and no more (C10.1 to C10.6).
//!
//! Not for failovers (`pg_test/ledger/src/tree`).

mod common;

use std::fs;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, StopMode, wait_for, wait_until};
use common::wal::{STREAM, Standing, behind, builder, furnish, next, reader_pid, replace, switch_to_start};
use common::{SOON, figure, gap_reason, gateway_pid};

fn oldest_segment(cluster: &Cluster) -> Result<String> {
    cluster.sql("select min(name) from pg_ls_waldir()")
}

#[test]
fn what_commits_before_anybody_has_looked_at_the_database_is_told_all_the_same() -> Result<()> {
    let cluster = builder().setting("max_logical_replication_workers", 0).start()?;
    let first = furnish(&cluster)?;
    // Room for the gateway and the reader alone: nobody reads the catalog.
    cluster.configure("max_worker_processes", "2")?;
    cluster.restart(StopMode::Fast)?;
    cluster.sql("insert into note values (1); select says('early')")?;
    cluster.sql("begin; insert into note values (2); select says('early, too'); commit")?;
    assert_eq!(cluster.sql("select state from sse.stat_gateway")?, "stopped", "it was early");
    cluster.configure("max_worker_processes", "8")?;
    cluster.restart(StopMode::Fast)?;
    cluster.sql("select says('late')")?;
    let mut stream = behind(&cluster, &first)?;
    for text in ["early", "early, too", "late"] {
        assert_eq!(next(&mut stream)?.data, text);
    }
    Ok(())
}

#[test]
fn a_restart_is_no_gap_where_the_log_ended_at_the_beginning_of_a_segment() -> Result<()> {
    let cluster = builder().setting("wal_keep_size", "1GB").start()?;
    let first = furnish(&cluster)?;
    cluster.sql("select says('seen')")?;
    switch_to_start(&cluster)?;
    cluster.restart(StopMode::Immediate)?;
    let mut stream = behind(&cluster, &first)?;
    assert_eq!(next(&mut stream)?.data, "seen");
    Ok(())
}

// A debugger, or a lock: the events of a transaction are in the log, its commit record is not.
#[test]
fn who_stands_still_before_its_commit_holds_up_nobody_and_is_told_when_it_commits() -> Result<()> {
    let cluster = builder().setting("synchronous_commit", "local").start()?;
    let first = furnish(&cluster)?;
    // Told now, and read again for the next gateway, when it would be waited for.
    cluster.sql("set synchronous_commit = on; select says('lazy')")?;
    assert_eq!(next(&mut behind(&cluster, &first)?)?.data, "lazy");
    let slow = Standing::still(&cluster, "slow")?;
    let mut stream = behind(&cluster, &first)?;
    assert_eq!(next(&mut stream)?.data, "lazy");
    cluster.sql("begin; insert into note values (3); select says('quick'); commit")?;
    assert_eq!(next(&mut stream)?.data, "quick");
    cluster.sql(&format!("checkpoint; select pg_terminate_backend({})", reader_pid(&cluster)?))?;
    cluster.sql("begin; insert into note values (4); select says('quick, too'); commit")?;
    assert_eq!(next(&mut stream)?.data, "quick, too");
    replace(&cluster, gateway_pid)?;
    let mut stream = behind(&cluster, &first)?;
    for text in ["lazy", "quick", "quick, too"] {
        assert_eq!(next(&mut stream)?.data, text);
    }
    slow.go_on(&cluster)?;
    assert_eq!(next(&mut stream)?.data, "slow");
    Ok(())
}

// Nobody waits for its commit, but the standbys that are named have to have it.
#[test]
fn what_is_held_when_a_gateway_begins_is_told_by_it_also_where_a_mark_lies_behind_it() -> Result<()> {
    let builder = builder().setting("synchronous_commit", "local");
    let cluster = builder.setting("synchronous_standby_names", "nobody").start()?;
    furnish(&cluster)?;
    // The log begins with its segment, in which no mark comes before it.
    let frozen = cluster.freeze(reader_pid(&cluster)?)?;
    cluster.sql("select pg_switch_wal()")?;
    cluster.sql("set synchronous_commit = on; select says('held')")?;
    let before = oldest_segment(&cluster)?;
    cluster.sql("checkpoint")?;
    ensure!(oldest_segment(&cluster)? != before, "the log is as it was");
    let marks = figure(&cluster, "stat_wal", "marks_total")?;
    drop(frozen);
    replace(&cluster, reader_pid)?;
    wait_until(SOON, "a mark is written", || {
        figure(&cluster, "stat_wal", "marks_total").is_ok_and(|now| now > marks)
    })?;
    cluster.sql("begin; insert into note values (1); select says('behind it'); commit")?;
    replace(&cluster, gateway_pid)?;
    let mut stream = wait_for(SOON, "it serves", || Ok(cluster.http()?.events(STREAM).ok()))?;
    stream.ready()?;
    cluster.configure("synchronous_standby_names", "")?;
    cluster.reload()?;
    for text in ["held", "behind it"] {
        assert_eq!(next(&mut stream)?.data, text);
    }
    Ok(())
}

#[test]
fn a_server_that_has_lost_its_file_of_starts_tells_as_much_after_the_second_restart() -> Result<()> {
    let cluster = builder().setting("wal_keep_size", "1GB").start()?;
    let first = furnish(&cluster)?;
    cluster.sql("select says('seen')")?;
    assert_eq!(next(&mut behind(&cluster, &first)?)?.data, "seen");
    let file = cluster.data_dir().join("pg_sse.starts");
    wait_until(SOON, "there is a start", || file.exists())?;
    cluster.stop(StopMode::Fast)?;
    fs::remove_file(&file)?;
    for _ in 0..3 {
        cluster.start()?;
        assert_eq!(next(&mut behind(&cluster, &first)?)?.data, "seen");
        wait_until(SOON, "there is a start", || file.exists())?;
        cluster.stop(StopMode::Immediate)?;
    }
    Ok(())
}

#[test]
fn who_has_the_last_event_misses_nothing_by_log_that_goes_before_a_reader_or_a_server_begins_again()
-> Result<()> {
    let cluster = builder().start()?;
    let mut stream = behind(&cluster, &furnish(&cluster)?)?;
    stream.ready()?;
    let remove_log = || -> Result<()> {
        let before = oldest_segment(&cluster)?;
        switch_to_start(&cluster)?;
        cluster.sql("checkpoint")?;
        ensure!(oldest_segment(&cluster)? != before, "the log is as it was");
        Ok(())
    };
    remove_log()?;
    replace(&cluster, reader_pid)?;
    cluster.sql("select says('second')")?;
    let second = next(&mut stream)?;
    assert_eq!(second.data, "second");
    remove_log()?;
    cluster.restart(StopMode::Fast)?;
    let mut stream = behind(&cluster, &second.id)?;
    cluster.sql("select says('third')")?;
    assert_eq!(next(&mut stream)?.data, "third");
    Ok(())
}

#[test]
fn log_that_has_gone_before_the_next_reader_came_is_a_gap() -> Result<()> {
    let cluster = builder().start()?;
    let mut stream = behind(&cluster, &furnish(&cluster)?)?;
    stream.ready()?;
    let pid = reader_pid(&cluster)?;
    let frozen = cluster.freeze(pid)?;
    cluster.sql("begin; insert into note values (1); select says('gone'); commit")?;
    cluster.sql("select pg_switch_wal()")?;
    cluster.sql("create table other()")?;
    cluster.sql("checkpoint")?;
    cluster.sql(&format!("select pg_terminate_backend({pid})"))?;
    drop(frozen);
    assert_eq!(gap_reason(&next(&mut stream)?)?, "expired");
    cluster.sql("begin; insert into note values (2); select says('behind'); commit")?;
    assert_eq!(next(&mut stream)?.data, "behind");
    Ok(())
}

// Attack: ids that nobody was given.
#[test]
fn an_id_that_was_made_up_is_a_gap_and_no_silence() -> Result<()> {
    let cluster = builder().start()?;
    let first = furnish(&cluster)?;
    let (http, after) = (cluster.http()?, first.split_once('-').context("no id")?.1.to_owned());
    let made_up = [
        ("w1-ffffffffffffffff-ffffffff".to_owned(), "unknown"),
        ("w1-ffffffffffffffff-1s".to_owned(), "unknown"),
        ("w1-7fffffffffffffff-1".to_owned(), "unknown"),
        (format!("w0-{after}"), "rewound"),
        ("w0-0-0".to_owned(), "rewound"),
        (format!("w2-{after}"), "rewound"),
        (format!("wffffffff-{after}"), "rewound"),
        ("w1-1-1".to_owned(), "expired"),
        ("w100000000-1-1".to_owned(), "unknown"),
        ("w1-1-100000000".to_owned(), "unknown"),
        ("w1-1".to_owned(), "unknown"),
        ("1-1".to_owned(), "restarted"),
    ];
    let open =
        |(id, reason): (String, _)| Ok::<_, anyhow::Error>((http.events_after(STREAM, &id)?, id, reason));
    let streams = made_up.into_iter().map(open).collect::<Result<Vec<_>>>()?;
    for (mut stream, id, reason) in streams {
        let gap = next(&mut stream).with_context(|| id.clone())?;
        assert_eq!(gap_reason(&gap)?, reason, "{id}");
        assert_eq!(gap.id, first, "{id}");
    }
    Ok(())
}

#[test]
fn without_its_file_of_starts_or_with_one_of_nonsense_a_server_tells_all_that_its_log_has() -> Result<()> {
    let cluster = builder().setting("wal_keep_size", "1GB").start()?;
    let first = furnish(&cluster)?;
    let file = cluster.data_dir().join("pg_sse.starts");
    wait_until(SOON, "there is a start", || file.exists())?;
    let text = |lines: &str| Some(format!("pg_sse starts 1\n{lines}"));
    let mut published: Vec<String> = Vec::new();
    for number in 0..6 {
        if number > 0 {
            // The last start in the file has events before it.
            switch_to_start(&cluster)?;
        }
        let last = fs::read_to_string(&file)?.lines().last().context("no start")?.to_owned();
        let segment = u64::from_str_radix(last.split(' ').next().context("no position")?, 16)? >> 24;
        let text = match number {
            0 => None,
            1 => Some("\u{0}\u{0}".to_owned()),
            2 => text("1 2 2 ffffffff 1\n"),
            3 => text("ffff000000 ffff000100 ffff000100 ffffffff 1\n"),
            // Torn in the middle of its time, which is long ago then.
            4 => text(&last[..last.len() - 4]),
            // Of another log: here it is in the middle of the first record of a segment.
            _ => text(&format!("{0:x} {0:x} {0:x} ffffffff 1\n", ((segment - 1) << 24) + 48)),
        };
        cluster.stop(StopMode::Immediate)?;
        match &text {
            None => fs::remove_file(&file)?,
            Some(text) => fs::write(&file, text)?,
        }
        cluster.start()?;
        published.push(format!("behind {text:?}"));
        let last = published.last().context("nothing was published")?;
        cluster.sql(&format!("begin; insert into note values (1); select says($${last}$$); commit"))?;
        let mut stream = behind(&cluster, &first)?;
        for text in &published {
            assert_eq!(next(&mut stream)?.data, *text);
        }
    }
    Ok(())
}

// Attack: whoever may kill processes kills the reader again and again.
#[test]
fn a_reader_that_is_killed_again_and_again_tells_each_event_once() -> Result<()> {
    let cluster = builder().start()?;
    let first = furnish(&cluster)?;
    let mut told = Vec::new();
    for number in 0..4 {
        for of_three in 0..3 {
            let text = format!("{number}.{of_three}");
            cluster.sql(&format!("begin; insert into note values (1); select says('{text}'); commit"))?;
            told.push(text);
        }
        let pid = reader_pid(&cluster)?;
        if number % 2 == 0 {
            cluster.kill_backend(pid)?;
            wait_until(SOON, "the server is there again", || cluster.sql("select 1").is_ok())?;
        } else {
            cluster.sql(&format!("select pg_terminate_backend({pid})"))?;
        }
    }
    let mut stream = behind(&cluster, &first)?;
    for text in told {
        assert_eq!(next(&mut stream)?.data, text);
    }
    Ok(())
}

#[test]
fn the_extension_goes_and_comes_back_and_ids_stay_good() -> Result<()> {
    let cluster = builder().start()?;
    let first = furnish(&cluster)?;
    cluster.sql("begin; insert into note values (1); select says('before'); commit")?;
    cluster.sql("drop extension pg_sse")?;
    cluster.sql("create extension pg_sse")?;
    let mut stream = behind(&cluster, &first)?;
    assert_eq!(next(&mut stream)?.data, "before");
    cluster.sql("begin; insert into note values (1); select says('behind'); commit")?;
    assert_eq!(next(&mut stream)?.data, "behind");
    Ok(())
}

#[test]
fn a_log_that_was_reset_is_a_gap_and_goes_on() -> Result<()> {
    let cluster = builder().start()?;
    let first = furnish(&cluster)?;
    cluster.stop(StopMode::Fast)?;
    let install = cluster.install();
    let reset = install
        .account()
        .command(&install.program("pg_resetwal"))
        .arg("-D")
        .arg(cluster.data_dir())
        .output()?;
    ensure!(reset.status.success(), "{}", String::from_utf8_lossy(&reset.stderr));
    cluster.start()?;
    let mut stream = behind(&cluster, &first)?;
    assert_eq!(gap_reason(&next(&mut stream)?)?, "expired");
    cluster.sql("begin; insert into note values (1); select says('behind'); commit")?;
    assert_eq!(next(&mut stream)?.data, "behind");
    Ok(())
}

#[test]
fn a_standby_of_the_other_durability_says_so_or_listens_to_nobody() -> Result<()> {
    let (of_wal, of_memory) = (builder().start()?, Cluster::builder().start()?);
    let first = furnish(&of_wal)?;
    furnish(&of_memory)?;
    let in_memory = of_wal.standby()?;
    in_memory.configure("sse.durability", "memory")?;
    in_memory.start()?;
    in_memory.wait_for_replay(&of_wal)?;
    of_wal.sql("begin; insert into note values (1); select says('x'); commit")?;
    in_memory.wait_for_replay(&of_wal)?;
    assert_eq!(in_memory.sql("select coalesce(port, 0) from sse.stat_gateway")?, "0");
    // It becomes a primary that knows nothing of the log.
    in_memory.promote()?;
    let mut stream = behind(&in_memory, &first)?;
    assert_eq!(gap_reason(&next(&mut stream)?)?, "restarted");
    in_memory.sql("begin; insert into note values (2); select says('here'); commit")?;
    assert_eq!(next(&mut stream)?.data, "here");

    let in_log = of_memory.standby()?;
    in_log.configure("sse.durability", "wal")?;
    in_log.start()?;
    of_memory.sql("begin; insert into note values (1); select says('x'); commit")?;
    in_log.wait_for_replay(&of_memory)?;
    let mut stream = in_log.http()?.events(STREAM)?;
    stream.ready()?;
    in_log.promote()?;
    in_log.sql("begin; insert into note values (2); select says('here'); commit")?;
    assert_eq!(next(&mut stream)?.data, "here");
    Ok(())
}
