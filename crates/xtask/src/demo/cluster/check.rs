//! `cargo xtask demo cluster --check`: readers by way of the proxy, who come back by their last id, while the
//! primary is killed, the standby promoted, and the old primary brought back: no number is missing or comes
//! twice.
//!
//! Not for failovers of every kind, nor for what else may be published: `pg_test/ledger/src/tree`.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use cluster::http::{Client, Event};
use cluster::{PATIENCE, wait_for, wait_until};

use super::tree::{NAMES, Tree};

const STREAM: &str = "/api/counter/changed/info";

/// By way of the proxy, which gives each server half of them.
const READERS: usize = 4;

/// How many numbers are read before the primary is killed, and when it is over.
const NUMBERS: i64 = 6;

/// What a reader has seen.
struct Read {
    events: Vec<Event>,
    pause: Duration,
    comes_back: usize,
}

/// Counts on its own; nobody else may.
pub(super) fn check(tree: &mut Tree, proxy: Client) -> Result<()> {
    for path in ["/", "/cluster.html", "/cluster.js", "/cluster.css", "/servers.json"] {
        let status = proxy.get(path)?.status();
        ensure!(status == 200, "{path} answers {status}");
    }
    let last = &AtomicI64::new(i64::MAX);
    let reads = thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(|| read(proxy, last))).collect();
        let driven = fail_over(tree);
        // Whatever has become of it, they are to end.
        let now = tree.primary().sql("select n from counter.counter").and_then(|n| Ok(n.parse::<i64>()?));
        last.store(now.as_ref().map_or(0, |now| now + NUMBERS), Relaxed);
        let joined =
            readers.into_iter().map(|reader| reader.join().map_err(|_| anyhow!("a reader panicked")));
        let reads: Vec<Result<Read>> = joined.map(Result::flatten).collect();
        driven.and(now.map(drop))?;
        reads.into_iter().collect::<Result<Vec<Read>>>()
    })?;
    let longest = reads.iter().map(|read| read.pause).max().unwrap_or_default();
    let comes_back: usize = reads.iter().map(|read| read.comes_back).sum();
    ensure!(comes_back > 0, "no reader was on the server that was killed");
    let all = reads.iter().min_by_key(|read| number(&read.events[0]).unwrap_or(0)).context("no reader")?;
    for read in &reads {
        judge(&read.events)?;
        let same = all.events.iter().filter(|event| read.events[1..].contains(event)).count();
        ensure!(same == read.events.len() - 1, "two readers were told different things");
    }
    println!(
        "  {READERS} readers, {comes_back} of them had to come back: {} numbers each, none missing, none twice; the longest pause {:.1} s",
        all.events.len(),
        longest.as_secs_f64()
    );
    tree.return_of_the_other()?;
    for (number, name) in NAMES.iter().enumerate() {
        let mut stream = wait_for(PATIENCE, "it serves", || {
            Ok(tree.http(number).events_after(STREAM, &all.events[1].id).ok())
        })?;
        for event in &all.events[2..] {
            ensure!(
                stream.next_payload(PATIENCE)? == *event,
                "server {name} tells another story at {event:?}"
            );
        }
    }
    println!("  the old primary is back as the standby, and both tell the same numbers under the same ids");
    Ok(())
}

fn fail_over(tree: &mut Tree) -> Result<()> {
    for (number, name) in NAMES.iter().enumerate() {
        wait_until(PATIENCE, &format!("server {name} has readers"), || {
            tree.server(number)
                .sql("select count(*) filter (where last_event_id is not null) > 0 from sse.subscribers")
                .is_ok_and(|has| has == "t")
        })?;
    }
    counts_on(tree)?;
    println!("  a page, streams from both servers, calls that write to the primary");
    tree.primary().kill_postmaster()?;
    tree.promote()?;
    counts_on(tree)?;
    println!("  the primary is killed, the standby promoted, and calls write there");
    Ok(())
}

fn counts_on(tree: &Tree) -> Result<()> {
    let now = || tree.primary().sql("select n from counter.counter")?.parse::<i64>().context("no number");
    let before = now()?;
    wait_until(PATIENCE, "it counts on", || now().is_ok_and(|now| now >= before + NUMBERS))
}

/// Reads up to a number, and comes back by the last id when the stream ends.
fn read(proxy: Client, last: &AtomicI64) -> Result<Read> {
    let begun = Instant::now();
    let mut read = Read { events: Vec::new(), pause: Duration::ZERO, comes_back: 0 };
    let mut at = Instant::now();
    while begun.elapsed() < PATIENCE * 2 {
        let id = read.events.last().map_or("", |event| event.id.as_str());
        let opened = if id.is_empty() { proxy.events(STREAM) } else { proxy.events_after(STREAM, id) };
        let Ok(mut stream) = opened else {
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        read.comes_back += usize::from(!id.is_empty());
        while let Ok(event) = stream.next_payload(Duration::from_secs(10)) {
            if !read.events.is_empty() {
                read.pause = read.pause.max(at.elapsed());
            }
            at = Instant::now();
            ensure!(event.event != "sse.gap", "a gap: {event:?}");
            let number = number(&event)?;
            read.events.push(event);
            if number >= last.load(Relaxed) {
                return Ok(read);
            }
        }
    }
    Err(anyhow!("a reader has not come to the end: {:?}", read.events.last()))
}

/// The first one is the value at the beginning, and each one after it counts up by one.
fn judge(events: &[Event]) -> Result<()> {
    ensure!(events.len() as i64 > NUMBERS * 2, "too few numbers: {events:?}");
    for pair in events.windows(2) {
        let (one, other) = (number(&pair[0])?, number(&pair[1])?);
        ensure!(other == one + 1, "{other} comes behind {one}: {pair:?}");
    }
    Ok(())
}

fn number(event: &Event) -> Result<i64> {
    event.data.parse().with_context(|| format!("no number: {event:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(numbers: impl IntoIterator<Item = i64>) -> Result<()> {
        let event = |number: i64| Event {
            id: format!("w1-{number:x}-1"),
            event: "message".to_owned(),
            data: number.to_string(),
        };
        judge(&numbers.into_iter().map(event).collect::<Vec<_>>())
    }

    #[test]
    fn a_number_that_is_missing_or_comes_twice_is_found_and_so_is_a_run_that_proves_nothing() {
        assert!(verdict(7..30).is_ok());
        assert!(verdict((7..20).chain(21..30)).is_err(), "missing");
        assert!(verdict((7..20).chain(19..30)).is_err(), "twice");
        assert!(verdict((7..20).chain([18]).chain(20..30)).is_err(), "out of order");
        assert!(verdict(7..7 + NUMBERS).is_err(), "too few");
    }
}
