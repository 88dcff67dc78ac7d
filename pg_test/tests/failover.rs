//! A primary, a standby and a cascading standby, and readers that move between them at random with their last
//! id, while servers are restarted, killed, promoted and rewound: each event that committed comes once, under
//! the same id on all servers, or a gap says that it may be missing, for the right reason (C10.2 to C10.4,
//! C10.7).
//!
//! With a synchronous standby there is no gap at all. `PG_SSE_FAILOVER_SECONDS=600` makes the test that is
//! run by hand last so long, `PG_SSE_SEED` repeats the choices of a run (not its timing).
//!
//! Not for a log that is not there any more (`wal_reader.rs`), nor for bad input (`wal_hostile.rs`).

mod common;
#[path = "failover/reader.rs"]
mod reader;
#[path = "failover/tree.rs"]
mod tree;
#[path = "failover/verdict.rs"]
mod verdict;
#[path = "failover/writer.rs"]
mod writer;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use common::dice::Dice;
use fastrand::Rng;
use reader::{end_of, path};
use tree::{Replication, Tree};
use verdict::{Tally, tone};
use writer::{SETUP, TONES};

/// How long servers are disturbed in a test that is not run by hand.
const CI: Duration = Duration::from_secs(4);

const WRITERS: u64 = 4;
const READERS: usize = 8;

/// How long a reader may need for the rest when the last event was published.
const FOR_THE_REST: Duration = Duration::from_secs(60);

#[test]
fn with_a_synchronous_standby_nobody_misses_anything_or_sees_what_never_was() -> Result<()> {
    fail_over(Replication::Synchronous, CI).map(drop)
}

#[test]
fn what_an_asynchronous_failover_takes_back_is_told_as_rewound_and_all_else_comes_once() -> Result<()> {
    let tally = fail_over(Replication::Asynchronous, CI)?;
    ensure!(tally.rewound_events > 0 && tally.gaps.contains_key("rewound"), "nothing was rewound: {tally:?}");
    Ok(())
}

#[test]
#[ignore = "as long as the environment says"]
fn by_hand_failovers_for_long() -> Result<()> {
    let seconds = std::env::var("PG_SSE_FAILOVER_SECONDS").unwrap_or_else(|_| "60".to_owned()).parse()?;
    for replication in [Replication::Synchronous, Replication::Asynchronous] {
        fail_over(replication, Duration::from_secs(seconds))?;
    }
    Ok(())
}

/// Until the time is over, and at least once.
fn fail_over(replication: Replication, lasts: Duration) -> Result<Tally> {
    let (mut dice, seed) = Dice::new()?;
    let tree = Tree::plant(replication, SETUP)?;
    let first = [begin(&tree, TONES[0])?, begin(&tree, TONES[1])?];
    let mut tally = Tally::default();
    let ends = &AtomicBool::new(false);
    let ended: Result<()> = thread::scope(|scope| {
        let mut dice_of = || Dice(Rng::with_seed(dice.0.u64(..)));
        let readers: Vec<_> = (0..READERS)
            .map(|number| {
                let (tree, first, dice) = (&tree, &first[number % TONES.len()], dice_of());
                scope.spawn(move || reader::read(tree, tone(number), first, dice, lasts * 4 + FOR_THE_REST))
            })
            .collect();
        let writers: Vec<_> = (1..=WRITERS)
            .map(|number| {
                let (tree, dice) = (&tree, dice_of());
                scope.spawn(move || writer::write(tree, number, dice, ends))
            })
            .collect();
        let driven = drive(&tree, &mut dice, lasts);
        ends.store(true, Relaxed);
        let mut returned = Vec::new();
        for writer in writers {
            returned.extend(writer.join().map_err(|_| anyhow!("a writer has panicked"))??);
        }
        driven?;
        for tone in TONES {
            tree.head()
                .cluster
                .sql(&format!("create table end_{tone} (); select {tone}('{}')", end_of(tone)))?;
        }
        let mut reads = Vec::new();
        for reader in readers {
            reads.push(reader.join().map_err(|_| anyhow!("a reader has panicked"))??);
        }
        tree.wait_for_replay()?;
        for (tone, first) in TONES.into_iter().zip(&first) {
            let log = verdict::log(&tree, tone, first)?;
            verdict::of_log(&tree, tone, &log, &returned)?;
            for (number, read) in
                reads.iter().enumerate().filter(|(number, _)| verdict::tone(*number) == tone)
            {
                verdict::of_reader(replication, &log, read, &mut tally)
                    .with_context(|| format!("reader {number} of {tone}"))?;
            }
        }
        Ok(())
    });
    println!("{replication:?}: {tally:?}");
    ended.with_context(|| format!("{seed}\n{}", logs(&tree)))?;
    ensure!(tally.events > 1000 && tally.moves > 50, "too little happened: {tally:?}");
    Ok(tally)
}

fn drive(tree: &Tree, dice: &mut Dice, lasts: Duration) -> Result<()> {
    let begun = Instant::now();
    let mut failovers = 0;
    let pause = |dice: &mut Dice| thread::sleep(Duration::from_millis(100 + dice.roll(900) as u64));
    while begun.elapsed() < lasts || failovers < 2 {
        for _ in 0..dice.roll(3) + 1 {
            pause(dice);
            let what = tree.disturb(dice)?;
            println!("{:6.2} {what}", begun.elapsed().as_secs_f64());
        }
        pause(dice);
        tree.fail_over(|| pause(dice)).context("failover")?;
        failovers += 1;
        println!("{:6.2} failover", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The id of a first event, which is behind everything that a base backup lacks.
fn begin(tree: &Tree, tone: &str) -> Result<String> {
    let mut stream = tree.head().http().events(&path(tone))?;
    stream.ready()?;
    tree.head().cluster.sql(&format!("select {tone}('begin')"))?;
    Ok(stream.next_payload(common::SOON)?.id)
}

/// What is unusual in the logs of the servers.
fn logs(tree: &Tree) -> String {
    let unusual =
        |line: &&str| line.contains("pg_sse") || line.contains("PANIC") || line.contains("terminated by");
    let of = |number: usize| {
        let log = tree.nodes[number].cluster.log().unwrap_or_default();
        let lines: Vec<_> = log.lines().filter(unusual).rev().take(15).collect();
        format!("server {number}:\n{}\n", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
    };
    (0..tree.nodes.len()).map(of).collect()
}
