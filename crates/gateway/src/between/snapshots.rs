//! Snapshots between the slabs that need them and the task that runs them (C7.6): who waits for which, and
//! until when, which runs wait, and what became of those that ended.
//!
//! All who wait for a function without user parameters share its next run. Each of the others has a run of
//! its own. A stream that ends takes its wish back; a run for which nobody waits any more is cancelled. Runs
//! get their turn as calls do ([`Turns`]): the function that is run for all is a party of its own, so it
//! waits behind one run of each address at most.
//!
//! Each wish has its own deadline, from when it was asked until a worker begins with its run: so nobody who
//! comes later keeps those waiting who were there before.
//!
//! One lock for all of it, held for a few look-ups, and for as many as there are wishes that an end or a
//! beginning concerns: streams that begin or miss something pass here, and events never do.
//!
//! Not for running anything (`call/snapshot`), nor for the bytes that a stream gets
//! (`stream/slab/snapshots`).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use sse_proto::call::{Cut, UserParameters};
use sse_proto::route::Snapshot;
use tokio::sync::{Notify, oneshot};

use super::turns::Turns;
use crate::bell::Bell;
use crate::network::network;
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
    /// Of the stream.
    pub(crate) path: Box<str>,
    /// `None`: the snapshot is the same for all.
    pub(crate) asker: Option<Arc<Asker>>,
    pub(crate) address: IpAddr,
    pub(crate) waiter: Waiter,
    /// The run must begin after this item of the stream.
    pub(crate) behind: u64,
    /// Until when it may wait for a worker to begin with the run.
    pub(crate) deadline: Instant,
}

/// What is to be run.
pub(crate) struct WantedRun {
    pub(crate) id: u64,
    /// As it was when it was wished for: the function may be another one by now.
    pub(crate) snapshot: Arc<Snapshot>,
    /// The path of a stream that waits, or has waited.
    pub(crate) path: Box<str>,
    pub(crate) asker: Option<Arc<Asker>>,
    /// `None`: of nobody.
    pub(crate) address: Option<IpAddr>,
}

/// Ends, with an error, when nobody waits for a run any more.
pub(crate) type Unwanted = oneshot::Receiver<()>;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct RunResult {
    /// Its number among calls.
    pub(crate) call: u64,
    /// The highest number of a call when it had ended.
    pub(crate) ended_before: u64,
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

/// What came of looking at deadlines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expired {
    /// Runs for which nobody waits any more.
    pub(crate) runs: u64,
    /// The next deadline.
    pub(crate) next: Option<Instant>,
}

/// A run that has ended, and the streams of one runtime thread that waited for it.
pub(crate) struct Finished {
    /// `None`: there is no result.
    pub(crate) state: Option<Arc<RunResult>>,
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
    runs: HashMap<u64, Run>,
    /// The runs of functions that are run for all, by the functions' oids.
    of_all: HashMap<u32, RunsOfAll>,
    /// The runs that may begin.
    turns: Turns<Party>,
    waiting: HashMap<Waiter, Waiting>,
    /// Of the streams whose run no worker has begun with.
    deadlines: BTreeSet<(Instant, Waiter)>,
}

/// The runs of one function: the next one waits for the end of the one before.
#[derive(Default)]
struct RunsOfAll {
    running: Option<u64>,
    waiting: Option<u64>,
}

/// Whose turn it is that a run takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Party {
    /// All who wait for the function of this oid.
    All(u32),
    Network(IpAddr),
}

struct Waiting {
    run: u64,
    deadline: Instant,
}

struct Run {
    snapshot: Arc<Snapshot>,
    path: Box<str>,
    asker: Option<Arc<Asker>>,
    address: Option<IpAddr>,
    party: Party,
    waiters: HashSet<Waiter>,
    /// After which item it was queued.
    behind: Option<u64>,
    /// Whether a worker has begun with it.
    has_worker: bool,
    /// Dropped when nobody waits any more. `None`: it has not had its turn yet.
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
        let (waiter, deadline) = (wish.waiter, wish.deadline);
        let run = table.joined(&wish).unwrap_or_else(|| table.add(wish));
        table.wait(waiter, run, deadline);
        drop(table);
        self.news.notify_one();
    }

    /// A stream waits no longer.
    pub(crate) fn withdraw(&self, waiter: Waiter) {
        self.table.lock().withdraw(waiter);
    }

    /// The run whose turn it is.
    pub(crate) fn next(&self) -> Option<(WantedRun, Unwanted)> {
        let mut table = self.table.lock();
        let (party, id) = table.turns.next()?;
        table.turns.begin(party, id);
        if let Party::All(function) = party {
            table.of_all.insert(function, RunsOfAll { running: Some(id), waiting: None });
        }
        let run = table.runs.get_mut(&id)?;
        let (wanted, unwanted) = oneshot::channel();
        run.wanted = Some(wanted);
        let (snapshot, asker) = (Arc::clone(&run.snapshot), run.asker.clone());
        let (path, address) = (run.path.clone(), run.address);
        Some((WantedRun { id, snapshot, path, asker, address }, unwanted))
    }

    /// Tells those whose time has passed before a worker began with their run.
    pub(crate) fn expire(&self, now: Instant) -> Expired {
        let mut runs = 0;
        let (waiters, next) = {
            let mut table = self.table.lock();
            let mut waiters = HashSet::new();
            while let Some(&(deadline, waiter)) = table.deadlines.first()
                && deadline <= now
            {
                runs += u64::from(table.withdraw(waiter));
                waiters.insert(waiter);
            }
            (waiters, table.deadlines.first().map(|(deadline, _)| *deadline))
        };
        self.hand_out(waiters, None);
        Expired { runs, next }
    }

    /// A run is about to enter the queue of calls, perhaps once more: what lies up to this item it will see.
    pub(crate) fn queued(&self, id: u64, position: u64) {
        let mut table = self.table.lock();
        if let Some(run) = table.runs.get_mut(&id) {
            run.behind = Some(position);
        }
        table.set_worker(id, false);
    }

    /// A worker has begun with a run: whoever waits for it waits for its end.
    pub(crate) fn begun(&self, id: u64) {
        self.table.lock().set_worker(id, true);
    }

    /// Tells all who waited for it.
    pub(crate) fn finish(&self, id: u64, state: Option<RunResult>) {
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

    fn hand_out(&self, waiters: HashSet<Waiter>, state: Option<Arc<RunResult>>) {
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
    /// The run that somebody with this wish can wait for, too.
    fn joined(&mut self, wish: &Wish) -> Option<u64> {
        if wish.asker.is_some() {
            return None;
        }
        let RunsOfAll { running, waiting } = self.of_all.get(&wish.snapshot.call.oid)?;
        let run = running.and_then(|id| Some((id, self.runs.get(&id)?)));
        // One that is not queued yet will be after everything that was published by then.
        if let Some((id, run)) = run
            && run.snapshot.call == wish.snapshot.call
            && run.behind.is_none_or(|position| position >= wish.behind)
        {
            return Some(id);
        }
        let id = (*waiting)?;
        // The routes have changed since: the newer ones hold.
        self.runs.get_mut(&id)?.snapshot = Arc::clone(&wish.snapshot);
        Some(id)
    }

    fn add(&mut self, wish: Wish) -> u64 {
        self.last += 1;
        let id = self.last;
        let Wish { snapshot, path, asker, address, .. } = wish;
        let (party, address) = match asker {
            Some(_) => (Party::Network(network(address)), Some(address)),
            None => (Party::All(snapshot.call.oid), None),
        };
        let mut has_turn = true;
        if let Party::All(function) = party {
            let runs = self.of_all.entry(function).or_default();
            runs.waiting = Some(id);
            has_turn = runs.running.is_none();
        }
        if has_turn {
            self.turns.enter(party, id);
        }
        let waiters = HashSet::new();
        let (behind, has_worker, wanted) = (None, false, None);
        self.runs
            .insert(id, Run { snapshot, path, asker, address, party, waiters, behind, has_worker, wanted });
        id
    }

    fn wait(&mut self, waiter: Waiter, id: u64, deadline: Instant) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.waiters.insert(waiter);
        if !run.has_worker {
            self.deadlines.insert((deadline, waiter));
        }
        self.waiting.insert(waiter, Waiting { run: id, deadline });
    }

    fn set_worker(&mut self, id: u64, has_worker: bool) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if std::mem::replace(&mut run.has_worker, has_worker) == has_worker {
            return;
        }
        for waiter in &run.waiters {
            let Some(Waiting { deadline, .. }) = self.waiting.get(waiter) else { continue };
            if has_worker {
                self.deadlines.remove(&(*deadline, *waiter));
            } else {
                self.deadlines.insert((*deadline, *waiter));
            }
        }
    }

    /// Says whether that was the end of its run.
    fn withdraw(&mut self, waiter: Waiter) -> bool {
        let Some(id) = self.forget(waiter) else { return false };
        let Some(run) = self.runs.get_mut(&id) else { return false };
        run.waiters.remove(&waiter);
        // Drops `wanted`, so that one that runs is cancelled.
        run.waiters.is_empty() && self.remove(id).is_some()
    }

    /// The run that it waited for.
    fn forget(&mut self, waiter: Waiter) -> Option<u64> {
        let Waiting { run, deadline } = self.waiting.remove(&waiter)?;
        self.deadlines.remove(&(deadline, waiter));
        Some(run)
    }

    fn finish(&mut self, id: u64) -> Option<HashSet<Waiter>> {
        let waiters = self.remove(id)?.waiters;
        for waiter in &waiters {
            self.forget(*waiter);
        }
        Some(waiters)
    }

    fn remove(&mut self, id: u64) -> Option<Run> {
        let run = self.runs.remove(&id)?;
        match run.wanted {
            Some(_) => self.turns.end(run.party),
            None => self.turns.leave(run.party, id),
        }
        if let Party::All(function) = run.party
            && let Some(runs) = self.of_all.get_mut(&function)
        {
            let next = match runs.running {
                Some(running) if running == id => {
                    runs.running = None;
                    runs.waiting
                }
                _ => {
                    runs.waiting = None;
                    None
                }
            };
            if let Some(next) = next {
                self.turns.enter(run.party, next);
            } else if runs.running.is_none() {
                self.of_all.remove(&function);
            }
        }
        Some(run)
    }
}

#[cfg(test)]
pub(crate) mod tests;
