//! The routes that are known, and how a request for an unknown path makes the main thread look again (C2.4).
//!
//! The handshake. A waiter needs a reading of the catalog that began after its request arrived. It joins a
//! question that the main thread has not taken yet, or asks a new one. The main thread takes the question
//! ([`crate::Errand::RefreshRoutes`]), takes in what has committed, calls `set_routes` if anything changed,
//! and answers with `routes_are_fresh(question)`, which answers all older questions, too. So any number of
//! waiters cost one reading at a time; and a new question is asked at most every [`QUESTION_INTERVAL`], so
//! that a scanner costs ten readings a second, whatever it sends. A waiter goes on as soon as its path is
//! known, answered or not.
//!
//! Not for how routes are read or built: that is the extension's catalog worker and `sse_proto::route`.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Release},
};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sse_proto::route::RouteTable;
use tokio::sync::watch;

use crate::between::outbox::{Errand, Outbox};

/// Shortest time between two questions. A request that comes sooner waits for the rest of it.
pub(crate) const QUESTION_INTERVAL: Duration = Duration::from_millis(100);

/// How long a request waits for the main thread.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(2);

pub(crate) struct RouteBoard {
    state: Mutex<State>,
    /// Bumped at every change of `state` that a waiter may wait for.
    version: watch::Sender<u64>,
    /// See [`RouteBoard::follow`].
    changes: OnceLock<&'static AtomicU64>,
    /// How many tables were put in force.
    tables: AtomicU64,
}

#[derive(Default)]
struct State {
    routes: Option<Arc<RouteTable>>,
    generation: u64,
    /// Earlier tables that a request still used when they were replaced.
    outdated: Vec<Arc<RouteTable>>,
    /// Last question that was put into the outbox.
    asked: u64,
    asked_at: Option<Instant>,
    /// Last question that the main thread has taken out.
    taken: u64,
    /// Last question that was answered.
    fresh: u64,
}

/// What a path may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Streams,
    StreamsAndCalls,
}

/// The outcome of looking for a path.
#[derive(Debug)]
pub(crate) enum Found {
    Route(Arc<RouteTable>),
    /// There is no such path, and that is certain.
    Nothing,
    /// Nobody answered in time.
    Unanswered,
}

impl RouteBoard {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State::default()),
            version: watch::Sender::new(0),
            changes: OnceLock::new(),
            tables: AtomicU64::new(0),
        }
    }

    /// Older generations than the present one are ignored: two readings may overtake each other.
    pub(crate) fn set(&self, routes: Arc<RouteTable>, generation: u64) {
        let mut state = self.state.lock();
        if state.routes.is_some() && generation < state.generation {
            return;
        }
        let outdated = state.routes.replace(routes);
        state.generation = generation;
        // Freeing a table of many thousand routines takes milliseconds. That must happen neither under the
        // lock nor on a runtime thread, which has events to write. So a table that a request still uses is
        // kept until the next change.
        let (kept, freed): (Vec<_>, Vec<_>) =
            state.outdated.drain(..).chain(outdated).partition(|table| Arc::strong_count(table) > 1);
        state.outdated = kept;
        self.tables.fetch_add(1, Release);
        drop(state);
        drop(freed);
        self.changed();
    }

    pub(crate) fn answered(&self, question: u64) {
        let mut state = self.state.lock();
        state.fresh = state.fresh.max(question.min(state.asked));
        drop(state);
        self.changed();
    }

    /// The main thread has taken this question: what commits from now on may be missed by its answer.
    pub(crate) fn taken(&self, question: u64) {
        let mut state = self.state.lock();
        state.taken = state.taken.max(question);
    }

    /// Whether routes have ever been given.
    pub(crate) fn is_filled(&self) -> bool {
        self.state.lock().routes.is_some()
    }

    /// The table in force.
    pub(crate) fn present(&self) -> Option<Arc<RouteTable>> {
        self.state.lock().routes.clone()
    }

    /// The same, and its generation.
    pub(crate) fn latest(&self) -> Option<(Arc<RouteTable>, u64)> {
        let state = self.state.lock();
        state.routes.clone().map(|routes| (routes, state.generation))
    }

    /// How many tables were put in force so far. Costs as much as reading a number.
    pub(crate) fn tables(&self) -> u64 {
        self.tables.load(Acquire)
    }

    /// The number that generations are compared with: if it is above that of the table in force, something
    /// has changed. 0 if nobody counts changes.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.get().map_or(0, |changes| changes.load(Acquire))
    }

    pub(crate) fn find(&self, path: &str, wanted: Wanted) -> Option<Arc<RouteTable>> {
        let state = self.state.lock();
        let has_it = |routes: &RouteTable| {
            routes.find(path).is_some()
                || wanted == Wanted::StreamsAndCalls && routes.find_calls(path).is_some()
        };
        state.routes.as_ref().filter(|routes| has_it(routes)).map(Arc::clone)
    }

    /// Takes the number of changes that generations of routes are compared with: it is raised before a COMMIT
    /// returns.
    pub(crate) fn follow(&self, changes: &'static AtomicU64) {
        let _ = self.changes.set(changes);
    }

    /// Routes with everything that has committed by now, if they are others than these. Costs nothing if
    /// nothing has changed; else it waits for the main thread, as for an unknown path.
    pub(crate) async fn newer(&self, than: &Arc<RouteTable>, outbox: &Outbox) -> Option<Arc<RouteTable>> {
        let mut version = self.version.subscribe();
        let deadline = tokio::time::Instant::now() + MAX_WAIT;
        let mut mine = None;
        loop {
            version.borrow_and_update();
            let pause = if self.is_current() { None } else { Some(self.ask(&mut mine, outbox)) };
            let retry = match pause {
                None | Some(Asking::Answered) => {
                    return self.state.lock().routes.clone().filter(|routes| !Arc::ptr_eq(routes, than));
                }
                Some(Asking::Waiting) => deadline,
                Some(Asking::TooSoon(pause)) => (tokio::time::Instant::now() + pause).min(deadline),
            };
            tokio::select! {
                _ = version.changed() => {}
                () = tokio::time::sleep_until(retry) => {
                    if retry >= deadline {
                        return None;
                    }
                }
            }
        }
    }

    fn is_current(&self) -> bool {
        let changes = self.changes.get().map(|changes| changes.load(Acquire));
        changes.is_some_and(|changes| self.state.lock().generation >= changes)
    }

    /// Looks for `path`, asking the main thread once when it is not known.
    pub(crate) async fn find_fresh(&self, path: &str, wanted: Wanted, outbox: &Outbox) -> Found {
        let mut version = self.version.subscribe();
        let deadline = tokio::time::Instant::now() + MAX_WAIT;
        let mut mine = None;
        loop {
            version.borrow_and_update();
            if let Some(routes) = self.find(path, wanted) {
                return Found::Route(routes);
            }
            let pause = match self.ask(&mut mine, outbox) {
                // The answer may have come between the two looks.
                Asking::Answered => return self.find(path, wanted).map_or(Found::Nothing, Found::Route),
                Asking::Waiting => None,
                Asking::TooSoon(pause) => Some(pause),
            };
            let retry = pause.map_or(deadline, |pause| (tokio::time::Instant::now() + pause).min(deadline));
            tokio::select! {
                _ = version.changed() => {}
                () = tokio::time::sleep_until(retry) => {
                    if retry >= deadline {
                        return Found::Unanswered;
                    }
                }
            }
        }
    }

    fn ask(&self, mine: &mut Option<u64>, outbox: &Outbox) -> Asking {
        let mut state = self.state.lock();
        if let Some(question) = *mine {
            // Before the first routes an answer means nothing.
            let answered = state.fresh >= question && state.routes.is_some();
            return if answered { Asking::Answered } else { Asking::Waiting };
        }
        if state.asked > state.taken.max(state.fresh) {
            *mine = Some(state.asked);
            return Asking::Waiting;
        }
        let now = Instant::now();
        let since = state.asked_at.map_or(QUESTION_INTERVAL, |at| now.duration_since(at));
        if since < QUESTION_INTERVAL {
            return Asking::TooSoon(QUESTION_INTERVAL - since);
        }
        let question = state.asked + 1;
        if !outbox.try_send(Errand::RefreshRoutes { question }) {
            return Asking::TooSoon(QUESTION_INTERVAL);
        }
        state.asked = question;
        state.asked_at = Some(now);
        *mine = Some(question);
        Asking::Waiting
    }

    fn changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }
}

enum Asking {
    Answered,
    Waiting,
    TooSoon(Duration),
}
