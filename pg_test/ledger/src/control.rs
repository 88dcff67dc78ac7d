//! What the driver does to a reader from outside, and what it can see of the reader.
//!
//! Not for reading: `reader`.

use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How a reader asks to resume when it comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    /// `Last-Event-ID`, as browsers do.
    #[default]
    Header,
    /// `?last_event_id=`.
    Query,
    /// With an id that nobody ever sent.
    Invented,
}

/// One for each reader.
#[derive(Debug, Default)]
pub(crate) struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    socket: Option<TcpStream>,
    stalled_until: Option<Instant>,
    away_until: Option<Instant>,
    manner: Manner,
    /// Of the stream that is open.
    epoch: Option<u64>,
    has_caught_up: bool,
    /// The connection was cut, and the reader may not know it yet.
    is_cut: bool,
    is_over: bool,
}

impl Control {
    /// Cuts the reader's connection, if it has one, and keeps the reader away for a while.
    pub(crate) fn cut(&self, manner: Manner, away: Duration) {
        let mut state = self.state();
        if let Some(socket) = &state.socket {
            // Closed already is as good.
            let _ = socket.shutdown(Shutdown::Both);
        }
        state.is_cut = true;
        state.epoch = None;
        state.manner = manner;
        state.away_until = Some(Instant::now() + away);
        self.changed.notify_all();
    }

    /// The reader reads nothing for this long.
    pub(crate) fn stall(&self, time: Duration) {
        self.state().stalled_until = Some(Instant::now() + time);
    }

    /// The reader reads on, and comes back, at once.
    pub(crate) fn release(&self) {
        let mut state = self.state();
        state.stalled_until = None;
        state.away_until = None;
        self.changed.notify_all();
    }

    /// The reader ends, whatever it has seen.
    pub(crate) fn give_up(&self) {
        let mut state = self.state();
        state.is_over = true;
        if let Some(socket) = &state.socket {
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
    }

    /// Epoch of the stream that it reads, once that has begun.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.state().epoch
    }

    /// Whether it has got a settling event since [`Self::forget_that_it_has`].
    pub(crate) fn has_caught_up(&self) -> bool {
        self.state().has_caught_up
    }

    /// From now on only a further settling event counts.
    pub(crate) fn forget_that_it_has(&self) {
        self.state().has_caught_up = false;
    }

    /// For the reader: a settling event has come.
    pub(crate) fn caught_up(&self) {
        self.state().has_caught_up = true;
    }

    /// For the reader: its new connection.
    pub(crate) fn attach(&self, socket: TcpStream) {
        let mut state = self.state();
        state.socket = Some(socket);
        state.is_cut = false;
    }

    /// For the reader: the stream has begun.
    pub(crate) fn has_begun(&self, epoch: u64) {
        let mut state = self.state();
        if !state.is_cut {
            state.epoch = Some(epoch);
        }
    }

    /// For the reader: the connection is gone.
    pub(crate) fn detach(&self) {
        let mut state = self.state();
        state.socket = None;
        state.epoch = None;
    }

    /// For the reader: waits as long as it is told to read nothing.
    pub(crate) fn wait_while_stalled(&self) {
        self.wait_until(|state| state.stalled_until);
    }

    /// For the reader: waits `retry`, and as long as it is told to stay away; says how to come back. `None`:
    /// not at all.
    pub(crate) fn wait_to_return(&self, retry: Duration) -> Option<Manner> {
        let earliest = Instant::now() + retry;
        self.wait_until(|state| state.away_until.max(Some(earliest)));
        let mut state = self.state();
        (!state.is_over).then(|| std::mem::take(&mut state.manner))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state().is_over
    }

    fn wait_until(&self, time: impl Fn(&State) -> Option<Instant>) {
        let mut state = self.state();
        while let Some(until) = time(&state).filter(|until| *until > Instant::now() && !state.is_over) {
            let left = until.saturating_duration_since(Instant::now());
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
