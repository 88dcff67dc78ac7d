//! What a standby costs the primary: the same publisher with one server, two, and more, each with as many
//! streams of its own.
//!
//! Not for how much all of them can do: here they share the processors of one machine.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::{PATIENCE, wait_until};

use super::delays::{AFTER, Delays};
use super::meter::{Meter, Used};
use super::tree::{PUBLISH, PUBLISHED, Tree};
use crate::crowd::Crowd;
use crate::fanout::EVENT;
use crate::marker::Marker;
use crate::process;
use crate::publisher::Publisher;
use crate::report::{Chapter, Metric};
use crate::tally::Faults;

/// Events that may be on their way at once, by the names of the rows.
const LOADS: [(&str, u64); 2] = [("lock-step", 1), ("backlog of 32", 32)];

const RATE: Metric = Metric { name: "deliveries", unit: "1/s", is_compared: false };
const CPU: Metric = Metric { name: "CPU per event", unit: "µs", is_compared: false };
const GATEWAY: Metric = Metric { name: "of it the gateway", unit: "µs", is_compared: false };
const READER: Metric = Metric { name: "reading the log", unit: "µs", is_compared: false };
const REPLICATION: Metric = Metric { name: "sending or replaying it", unit: "µs", is_compared: false };
const GENERATOR: Metric = Metric { name: "generator's CPU", unit: "%", is_compared: false };

/// What a turn came to on one server, or on several together.
#[derive(Clone, Default)]
struct Share {
    servers: u32,
    used: Used,
    deliveries: u64,
    /// In microseconds.
    delays: Vec<u64>,
}

impl Share {
    fn together(shares: &[Self]) -> Self {
        let mut all = Self::default();
        for share in shares {
            all.servers += share.servers;
            all.used += share.used;
            all.deliveries += share.deliveries;
            all.delays.extend(&share.delays);
        }
        all
    }
}

/// Both loads, on the servers of this tree that run.
///
/// # Errors
/// An event is lost, doubled or out of order, or the primary has other streams than its own.
pub(super) fn measure(tree: &Tree, streams: u32, turn: Duration, chapter: &mut Chapter) -> Result<()> {
    tree.settle()?;
    let crowds = tree
        .servers()
        .map(|server| Crowd::connect(server.http()?.address(), PUBLISHED, streams, 1))
        .collect::<Result<Vec<_>>>()?;
    let has_its_own = || {
        let open = tree.primary.sql("select count(*) from sse.subscribers");
        open.is_ok_and(|open| open == streams.to_string())
    };
    wait_until(PATIENCE, "the primary has its own streams alone", has_its_own)?;
    let mut publisher = tree.publisher(PUBLISH)?;
    for (name, most) in LOADS {
        let standbys = crowds.len() - 1;
        let row = format!("{name}, {standbys} standby{}", if standbys == 1 { "" } else { "s" });
        one(tree, &crowds, &mut publisher, most, turn, &row, chapter)?;
    }
    Ok(())
}

/// One load.
fn one(
    tree: &Tree,
    crowds: &[Crowd],
    publisher: &mut Publisher,
    most: u64,
    turn: Duration,
    row: &str,
    chapter: &mut Chapter,
) -> Result<()> {
    let first = least(crowds);
    let before: Vec<u64> = crowds.iter().map(|crowd| crowd.tally().deliveries).collect();
    let meters = tree.servers().map(Meter::start).collect::<Result<Vec<_>>>()?;
    let (generator, start) = (process::own_time(), Instant::now());
    let next = publish(crowds, publisher, most, turn)?;
    wait(crowds, |complete| complete == next)?;
    let elapsed = start.elapsed().as_secs_f64();
    let generator = process::own_time().saturating_sub(generator).as_secs_f64();
    let used: Vec<Used> = meters.iter().map(Meter::used).collect();
    let mut shares = Vec::new();
    for ((crowd, before), used) in crowds.iter().zip(before).zip(used) {
        let mut tally = crowd.tally();
        ensure!(tally.faults == Faults::default(), "{row}: {:?}", tally.faults);
        let delays = std::mem::take(&mut tally.delays).into_iter().map(u64::from).collect();
        shares.push(Share { servers: 1, used, deliveries: tally.deliveries - before, delays });
    }
    let mut add = |side: &str, share: Share| {
        // Of standbys the table has the mean; of all servers the sum.
        let parts = if side == "each standby" { f64::from(share.servers) } else { 1.0 };
        let per_event = |time: Duration| time.as_secs_f64() * 1e6 / parts / (next - first) as f64;
        chapter.add(row, side, RATE, share.deliveries as f64 / parts / elapsed);
        chapter.add(row, side, CPU, per_event(share.used.all));
        chapter.add(row, side, GATEWAY, per_event(share.used.gateway));
        chapter.add(row, side, READER, per_event(share.used.reader));
        chapter.add(row, side, REPLICATION, per_event(share.used.replication));
        Delays::new(share.delays).add_to(chapter, row, side, &AFTER);
    };
    add("primary", shares[0].clone());
    if shares.len() > 1 {
        add("each standby", Share::together(&shares[1..]));
    }
    add("all servers", Share::together(&shares));
    chapter.add(row, "all servers", GENERATOR, generator / elapsed * 100.0);
    Ok(())
}

/// Publishes so that never more than `most` events are on their way, in bursts of at least half of that. The
/// number after the last one.
fn publish(crowds: &[Crowd], publisher: &mut Publisher, most: u64, turn: Duration) -> Result<u64> {
    let start = Instant::now();
    let mut next = least(crowds);
    while start.elapsed() < turn {
        let room = most - (next - least(crowds));
        if room * 2 < most {
            wait(crowds, |complete| next - complete <= most / 2)?;
            continue;
        }
        let payloads: Vec<_> = (next..next + room).map(|number| Marker::payload(0, number, EVENT)).collect();
        publisher.publish(&payloads)?;
        next += room;
    }
    Ok(next)
}

/// How many events every stream of every server has got.
fn least(crowds: &[Crowd]) -> u64 {
    crowds.iter().map(|crowd| crowd.tally().complete(0)).min().unwrap_or(0)
}

/// Waits until the streams of each server have come so far.
fn wait(crowds: &[Crowd], is_far_enough: impl Fn(u64) -> bool) -> Result<()> {
    for (place, crowd) in crowds.iter().enumerate() {
        let has_come = crowd.wait(crate::crowd::PATIENCE, |tally| is_far_enough(tally.complete(0)));
        let tally = crowd.tally();
        ensure!(has_come, "server {place}: {} events have come; {:?}", tally.complete(0), tally.faults);
    }
    Ok(())
}
