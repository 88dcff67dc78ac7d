//! The honest parties, whose delays and answers are judged.
//!
//! Not for judging: `delays`, `sequence`, and `caller` for answers.

mod caller;
mod control;
mod follower;
mod publisher;
mod subscriber;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use cluster::Clock;

pub(crate) use caller::{Calls, Person};
pub(crate) use follower::Followed;
pub(crate) use publisher::Published;

use crate::ground::Ground;
use crate::sequence::Item;

/// All of them at work.
pub(crate) struct Honest {
    publisher: JoinHandle<Published>,
    subscriber: JoinHandle<Vec<Item>>,
    control: JoinHandle<BTreeMap<u64, u64>>,
    follower: JoinHandle<Followed>,
    callers: Vec<JoinHandle<Calls>>,
    ends: Arc<Ends>,
}

/// Set by the run, read by the parties; seeing it a moment late does no harm.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    /// Nothing more is published or called.
    pub(crate) work: AtomicBool,
    /// Nothing more is waited for.
    pub(crate) waiting: AtomicBool,
    /// An outage that this run made is on: calls may fail, and streams end.
    pub(crate) outage: AtomicBool,
    /// Count of honest events seen, and of calls answered well: what recovery is measured by.
    pub(crate) seen: AtomicU64,
    pub(crate) answered: AtomicU64,
}

/// What they brought.
pub(crate) struct Records {
    pub(crate) published: Published,
    pub(crate) items: Vec<Item>,
    /// When each number came as a notification.
    pub(crate) notified: BTreeMap<u64, u64>,
    pub(crate) calls: Calls,
    pub(crate) followed: Followed,
}

impl Honest {
    pub(crate) fn start(ground: &Arc<Ground>, people: &[Person], clock: Clock) -> Result<Self> {
        let ends: Arc<Ends> = Arc::default();
        let control = control::start(ground, clock, Arc::clone(&ends))?;
        let subscriber = subscriber::start(ground, clock, Arc::clone(&ends))?;
        let follower = follower::start(ground, clock, Arc::clone(&ends))?;
        let publisher = publisher::start(ground, clock, Arc::clone(&ends))?;
        let call = |person: &Person| caller::start(ground, person.clone(), clock, Arc::clone(&ends));
        let callers = people.iter().map(call).collect();
        Ok(Self { publisher, subscriber, control, follower, callers, ends })
    }

    pub(crate) fn ends(&self) -> &Arc<Ends> {
        &self.ends
    }

    /// Events seen and calls answered so far.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.ends.seen.load(Relaxed), self.ends.answered.load(Relaxed))
    }

    /// Ends the work, gives the readers time until `is_there` or their patience ends, and collects the
    /// results.
    pub(crate) fn end(self) -> Result<Records> {
        self.ends.work.store(true, Relaxed);
        let published = joined(self.publisher, "the publisher")?;
        let callers: Vec<Calls> =
            self.callers.into_iter().map(|caller| joined(caller, "a caller")).collect::<Result<_>>()?;
        // Readers end by themselves when the last number has come; the publisher tells them which that is.
        let _ = cluster::wait_until(cluster::PATIENCE, "the readers see the last event", || {
            self.subscriber.is_finished() && self.control.is_finished() && self.follower.is_finished()
        });
        self.ends.waiting.store(true, Relaxed);
        let items = joined(self.subscriber, "the subscriber")?;
        let notified = joined(self.control, "the control")?;
        let followed = joined(self.follower, "the follower")?;
        let calls = callers.into_iter().fold(Calls::default(), Calls::and);
        Ok(Records { published, items, notified, calls, followed })
    }
}

fn joined<T>(thread: JoinHandle<T>, who: &str) -> Result<T> {
    thread.join().ok().with_context(|| format!("{who} has panicked"))
}

/// A thread of this name.
fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    Ok(thread::Builder::new().name(name.to_owned()).spawn(work)?)
}
