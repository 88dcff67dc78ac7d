//! One turn of a load on one side: what is published when, and what it cost until every stream had it.
//!
//! Not for what comes of many turns: report.rs.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::crowd::{Crowd, PATIENCE};
use crate::marker::Marker;
use crate::process;
use crate::publisher::Publisher;
use crate::tally::Faults;

/// When the next event is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// When every stream has the one before.
    LockStep,
    /// So that never more than this many are on their way; when half of them have come to every stream, as
    /// many follow.
    Backlog(u64),
    /// This many a second.
    Paced(u32),
}

/// Whose processor time counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    /// The process that holds the streams, with everything below it.
    pub(crate) server: u32,
    /// The server of the database, with all of its processes; the server of the streams may be one of them.
    pub(crate) postmaster: u32,
}

impl Served {
    /// Processor time until now: of the server of the streams, and of the whole system.
    fn time(&self) -> (Duration, Duration) {
        let tree = process::tree(self.postmaster);
        let (server, all) =
            (process::exact_tree_time(self.server), process::exact_tree_time(self.postmaster));
        (server, if tree.contains(&self.server) { all } else { all + server })
    }
}

/// What a turn cost.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    pub(crate) events: u64,
    pub(crate) deliveries: u64,
    pub(crate) elapsed: Duration,
    pub(crate) server: Duration,
    pub(crate) system: Duration,
    pub(crate) generator: Duration,
    /// Sorted, in microseconds.
    delays: Vec<u32>,
}

impl Turn {
    /// Microseconds of the server's processor time for each delivery.
    pub(crate) fn server_cost(&self) -> f64 {
        self.server.as_secs_f64() * 1e6 / self.deliveries.max(1) as f64
    }

    /// Microseconds of processor time of the server and of Postgres for each delivery.
    pub(crate) fn system_cost(&self) -> f64 {
        self.system.as_secs_f64() * 1e6 / self.deliveries.max(1) as f64
    }

    pub(crate) fn rate(&self) -> f64 {
        self.deliveries as f64 / self.elapsed.as_secs_f64()
    }

    /// Processor time of the generator in percent of one processor.
    pub(crate) fn generator_percent(&self) -> f64 {
        self.generator.as_secs_f64() / self.elapsed.as_secs_f64() * 100.0
    }

    /// Milliseconds that this share of the deliveries did not exceed.
    pub(crate) fn delay(&self, percent: usize) -> f64 {
        let last = self.delays.len().saturating_sub(1);
        f64::from(self.delays.get(last * percent / 100).copied().unwrap_or(0)) / 1000.0
    }
}

/// Publishes for `duration` as `load` says, events of `size` bytes, and waits until every stream has all.
///
/// # Errors
/// An event is lost, doubled or out of order, or a stream ends.
pub(crate) fn turn(
    crowd: &Crowd,
    publisher: &mut Publisher,
    served: Served,
    load: Load,
    size: usize,
    duration: Duration,
) -> Result<Turn> {
    let first = crowd.tally().complete(0);
    measure(crowd, served, || {
        let start = Instant::now();
        let mut next = first;
        while start.elapsed() < duration {
            match load {
                Load::LockStep => {
                    publisher.publish(&[Marker::payload(0, next, size)])?;
                    next += 1;
                    if !crowd.wait(PATIENCE, |tally| tally.complete(0) == next) {
                        break;
                    }
                }
                Load::Backlog(most) => {
                    let room = most - (next - crowd.tally().complete(0));
                    if room >= most / 2 {
                        let numbers = next..next + room;
                        let payloads: Vec<_> =
                            numbers.map(|number| Marker::payload(0, number, size)).collect();
                        publisher.publish(&payloads)?;
                        next += room;
                    } else if !crowd.wait(PATIENCE, |tally| next - tally.complete(0) <= most / 2) {
                        break;
                    }
                }
                Load::Paced(rate) => {
                    publisher.publish(&[Marker::payload(0, next, size)])?;
                    next += 1;
                    let due = Duration::from_secs(1) * u32::try_from(next - first)? / rate;
                    std::thread::sleep(due.saturating_sub(start.elapsed()));
                }
            }
        }
        Ok(next - first)
    })
}

/// Events of one publisher that may be on their way, when there are many: less than any window.
const AHEAD: u64 = 64;

/// All of these publish for `duration`, each one event after the other.
pub(crate) fn together(
    crowd: &Crowd,
    publishers: &mut [Publisher],
    served: Served,
    size: usize,
    duration: Duration,
) -> Result<Turn> {
    let all = |(number, publisher): (usize, &mut Publisher)| -> Result<u64> {
        let start = Instant::now();
        let first = crowd.tally().complete(number);
        let mut next = first;
        while start.elapsed() < duration {
            publisher.publish(&[Marker::payload(number, next, size)])?;
            next += 1;
            if !crowd.wait(PATIENCE, |tally| next - tally.complete(number) <= AHEAD) {
                break;
            }
        }
        Ok(next - first)
    };
    measure(crowd, served, || {
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                publishers.iter_mut().enumerate().map(|one| scope.spawn(move || all(one))).collect();
            let events = threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| bail!("a publisher panicked")));
            events.sum::<Result<u64>>()
        })
    })
}

/// What it costs to `publish`, which says how many events that were, until every stream has all.
fn measure(crowd: &Crowd, served: Served, publish: impl FnOnce() -> Result<u64>) -> Result<Turn> {
    let (complete, before) = {
        let mut tally = crowd.tally();
        tally.delays.clear();
        (tally.all_complete(), tally.deliveries)
    };
    let (server, system) = served.time();
    let (generator, start) = (process::own_time(), Instant::now());
    let events = publish()?;
    let is_whole = crowd.wait(PATIENCE, |tally| tally.all_complete() == complete + events);
    let elapsed = start.elapsed();
    let generator = process::own_time().saturating_sub(generator);
    let (server_now, system_now) = served.time();
    let mut tally = crowd.tally();
    if !is_whole || tally.faults != Faults::default() {
        let come = tally.all_complete() - complete;
        bail!("{come} of {events} events have come to each stream; {:?}", tally.faults);
    }
    let mut delays = std::mem::take(&mut tally.delays);
    let deliveries = tally.deliveries - before;
    drop(tally);
    delays.sort_unstable();
    Ok(Turn {
        events,
        deliveries,
        elapsed,
        server: server_now.saturating_sub(server),
        system: system_now.saturating_sub(system),
        generator,
        delays,
    })
}
