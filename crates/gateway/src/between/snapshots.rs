//! Snapshots between the slabs that need them and the task that runs them (C7.6): who waits for which, which
//! runs wait, and what became of those that ended.
//!
//! All who wait for a function without user parameters share its next run. Each of the others has a run of
//! its own. A stream that ends takes its wish back; a run for which nobody waits any more is cancelled.
//!
//! One lock for all of it, held for a few map operations: streams that begin or miss something pass here, and
//! events never do.
//!
//! Not for running anything (`call/snapshot`), nor for the bytes that a stream gets
//! (`stream/slab/snapshots`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use sse_proto::call::{Cut, UserParameters};
use sse_proto::route::Snapshot;
use tokio::sync::{Notify, oneshot};

use crate::bell::Bell;
use crate::room::Room;

/// What a run of its own can know of the stream that waits for it: as of a call (C7.2). Kept as long as the
/// stream is open.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) context: Box<[String]>,
    pub(crate) user: UserParameters,
}

/// A stream that waits: its runtime thread, and its number there.
pub(crate) type Waiter = (usize, u64);

/// A wish.
pub(crate) struct Wish {
    pub(crate) snapshot: Arc<Snapshot>,
    /// `None`: the snapshot is the same for all.
    pub(crate) asker: Option<Arc<Asker>>,
    pub(crate) address: IpAddr,
    pub(crate) waiter: Waiter,
    /// The run must begin behind this item of the stream.
    pub(crate) behind: u64,
    /// Until when it may wait for the run to begin.
    pub(crate) deadline: Instant,
}

/// What is to be run.
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) asker: Option<Arc<Asker>>,
    /// `None`: of nobody.
    pub(crate) address: Option<IpAddr>,
    pub(crate) deadline: Instant,
}

/// Ends, with an error, when nobody waits for a run any more.
pub(crate) type Unwanted = oneshot::Receiver<()>;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct State {
    /// Its number among calls.
    pub(crate) call: u64,
    /// Everything up to this item of the stream was seen.
    pub(crate) position: u64,
    pub(crate) cut: Cut,
    /// The result, as it is sent.
    pub(crate) text: String,
    /// Whose memory it is.
    pub(crate) address: IpAddr,
    /// Counts the text, as long as it is there.
    pub(crate) _room: Option<Room>,
}

/// A run that has ended, and the streams of one runtime thread that waited for it.
pub(crate) struct Finished {
    /// `None`: there is no result.
    pub(crate) state: Option<Arc<State>>,
    pub(crate) waiters: Vec<u64>,
}

pub(crate) struct SnapshotDesk {
    table: Mutex<Table>,
    /// Told when there is something to run.
    news: Notify,
    threads: Vec<(Mutex<Vec<Finished>>, Arc<Bell>)>,
}

#[derive(Default)]
struct Table {
    last: u64,
    /// In the order in which they were asked for.
    runs: BTreeMap<u64, Run>,
    /// Which run a stream waits for.
    waiting: HashMap<Waiter, u64>,
}

struct Run {
    snapshot: Arc<Snapshot>,
    asker: Option<Arc<Asker>>,
    address: Option<IpAddr>,
    deadline: Instant,
    waiters: HashSet<Waiter>,
    /// Behind which item it has begun.
    begun: Option<u64>,
    /// Dropped when nobody waits any more.
    wanted: Option<oneshot::Sender<()>>,
}

impl SnapshotDesk {
    /// For runtime threads with these bells.
    pub(crate) fn new(bells: &[Arc<Bell>]) -> Self {
        let threads = bells.iter().map(|bell| (Mutex::default(), Arc::clone(bell))).collect();
        Self { table: Mutex::default(), news: Notify::new(), threads }
    }

    /// Lets a stream wait. It waits for nothing else any more.
    pub(crate) fn ask(&self, wish: Wish) {
        let mut table = self.table.lock();
        table.withdraw(wish.waiter);
        let shared = table.runs.iter_mut().find(|(_, run)| run.is_for(&wish));
        let id = match shared {
            Some((id, run)) => {
                run.waiters.insert(wish.waiter);
                // Those who came earlier wait no longer for it.
                run.deadline = run.deadline.max(wish.deadline);
                *id
            }
            None => {
                table.last += 1;
                let id = table.last;
                let address = wish.asker.is_some().then_some(wish.address);
                let Wish { snapshot, asker, deadline, .. } = wish;
                let waiters = HashSet::from([wish.waiter]);
                let run = Run { snapshot, asker, address, deadline, waiters, begun: None, wanted: None };
                table.runs.insert(id, run);
                id
            }
        };
        table.waiting.insert(wish.waiter, id);
        drop(table);
        self.news.notify_one();
    }

    /// A stream waits no longer.
    pub(crate) fn withdraw(&self, waiter: Waiter) {
        self.table.lock().withdraw(waiter);
    }

    /// The next run that may begin: not while the same function runs for all already. Its time has not passed
    /// yet, if [`SnapshotDesk::expire`] was called.
    pub(crate) fn next(&self) -> Option<(Order, Unwanted)> {
        let mut table = self.table.lock();
        let is_free = |run: &Run| {
            run.asker.is_some()
                || !table.runs.values().any(|other| other.wanted.is_some() && other.is_same(run))
        };
        let id = *table.runs.iter().find(|(_, run)| run.wanted.is_none() && is_free(run))?.0;
        let run = table.runs.get_mut(&id)?;
        let (wanted, unwanted) = oneshot::channel();
        run.wanted = Some(wanted);
        let (snapshot, asker) = (Arc::clone(&run.snapshot), run.asker.clone());
        Some((Order { id, snapshot, asker, address: run.address, deadline: run.deadline }, unwanted))
    }

    /// Tells those whose time has passed before their run began, also while there is no place for a run.
    pub(crate) fn expire(&self, now: Instant) {
        let expired = {
            let mut table = self.table.lock();
            let over: Vec<u64> = table
                .runs
                .iter()
                .filter(|(_, run)| run.wanted.is_none() && run.deadline <= now)
                .map(|(id, _)| *id)
                .collect();
            over.into_iter().filter_map(|id| table.finish(id)).collect::<Vec<_>>()
        };
        expired.into_iter().for_each(|waiters| self.hand_out(waiters, None));
    }

    /// A run is about to enter the queue of calls: what lies up to this item it will see.
    pub(crate) fn begin(&self, id: u64, position: u64) {
        if let Some(run) = self.table.lock().runs.get_mut(&id) {
            run.begun = Some(position);
        }
    }

    /// Tells all who waited for it.
    pub(crate) fn finish(&self, id: u64, state: Option<State>) {
        let Some(waiters) = self.table.lock().finish(id) else { return };
        self.hand_out(waiters, state.map(Arc::new));
        self.news.notify_one();
    }

    /// There is room for another run.
    pub(crate) fn look_again(&self) {
        self.news.notify_one();
    }

    /// Waits until there may be something to run.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    /// What has ended for the streams of a runtime thread.
    pub(crate) fn take(&self, thread: usize) -> Vec<Finished> {
        self.threads.get(thread).map_or_else(Vec::new, |(finished, _)| std::mem::take(&mut *finished.lock()))
    }

    fn hand_out(&self, waiters: HashSet<Waiter>, state: Option<Arc<State>>) {
        let mut by_thread: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for (thread, stream) in waiters {
            by_thread.entry(thread).or_default().push(stream);
        }
        for (thread, waiters) in by_thread {
            let Some((finished, bell)) = self.threads.get(thread) else { continue };
            finished.lock().push(Finished { state: state.clone(), waiters });
            bell.ring();
        }
    }
}

impl Table {
    fn withdraw(&mut self, waiter: Waiter) {
        let Some(id) = self.waiting.remove(&waiter) else { return };
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.waiters.remove(&waiter);
        if run.waiters.is_empty() {
            // Drops `wanted`, so that one that runs is cancelled.
            self.runs.remove(&id);
        }
    }

    fn finish(&mut self, id: u64) -> Option<HashSet<Waiter>> {
        let waiters = self.runs.remove(&id)?.waiters;
        for waiter in &waiters {
            self.waiting.remove(waiter);
        }
        Some(waiters)
    }
}

impl Run {
    /// Whether who wishes this can wait for it, too.
    fn is_for(&self, wish: &Wish) -> bool {
        self.asker.is_none()
            && wish.asker.is_none()
            && self.snapshot.call == wish.snapshot.call
            && match self.begun {
                Some(position) => position >= wish.behind,
                // It will begin behind everything that was published by then.
                None => true,
            }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.asker.is_none() && other.asker.is_none() && self.snapshot.call.oid == other.snapshot.call.oid
    }
}
