//! Calls between the runtime threads and the workers: those that wait for one, those that one has, and those
//! whose peer has gone (C7.4).
//!
//! The task that answers a call holds it as a [`PendingCall`], which is dropped with the task: when the peer
//! goes, the call is taken out of the queue, or the main thread is told to cancel it. So no search for
//! abandoned calls is needed, and none is left over.
//!
//! One lock for all of it, held for a few map operations: calls come in tens of thousands a second at most,
//! and events never pass here.
//!
//! Not for what a call says (`sse_proto::call`), nor for who runs it (the extension's call workers).

use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::about::About;
use super::home;
use super::reply::{Answered, MIN_FREE_BYTES, Reply};
use crate::between::outbox::Outbox;
use crate::network::network;
use crate::room::{ANSWER_BYTES, Room, Rooms};
use crate::stats::Stats;

mod state;

use state::{Running, State, Waiting};

/// Bytes of requests that are held at a time, being read or waiting, unless
/// [`crate::Settings::max_body_size`] asks for more. Without it as many peers as there are sockets could each
/// make us keep a whole body.
const MIN_REQUEST_BYTES: usize = 128 << 20;

/// At least [`MIN_REQUEST_BYTES`], and enough that a single body of the allowed size always has room.
pub(crate) fn request_bytes(max_body_size: usize) -> usize {
    MIN_REQUEST_BYTES.max(max_body_size.saturating_mul(4))
}

/// How long a worker may take to give up a statement whose time is over. Beyond it the peer is answered
/// without it.
pub(crate) const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// Whether calls can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallAvailability {
    /// `sse.call_role` is empty: their paths are unknown.
    Off,
    /// They can.
    Ready,
    /// The role cannot be used, or no worker can be started: 503.
    Unavailable,
}

/// A call that a worker is to run.
#[derive(Debug)]
pub struct QueuedCall {
    /// Names it in [`crate::CallDesk::answer`] and [`crate::Gateway::poll_cancelled`].
    pub id: u64,
    /// A `sse_proto::call::CallRequest`, encoded.
    pub frame: Vec<u8>,
    /// Until when it may wait for a worker; its peer is answered with 503 then.
    pub deadline: Instant,
    /// Where its answer is to be collected.
    pub reply: Reply,
    /// Whether it matters when its statement begins ([`crate::CallDesk::has_begun`]).
    pub tells_begin: bool,
    /// The runtime thread that waits for its answer, if that thread can be rung for
    /// ([`crate::Config::call_bells`]); else the main thread takes the answer.
    pub thread: Option<usize>,
}

/// A call that is to wait for a worker.
pub(crate) struct NewCall {
    /// A number of [`CallQueue::number`].
    pub(crate) id: u64,
    /// See [`QueuedCall::frame`].
    pub(crate) frame: Vec<u8>,
    /// See [`QueuedCall::deadline`].
    pub(crate) deadline: Instant,
    /// Whether its task is to be told when its statement begins ([`News::Begun`]).
    pub(crate) tells_begin: bool,
    /// Whose turn it takes; `None`: that of its address.
    pub(crate) party: Option<IpAddr>,
    /// For the inspector.
    pub(crate) about: Arc<About>,
    /// It goes on without its caller (C7.9): nobody waits at a connection, and it may be long.
    pub(crate) goes_on: bool,
}

/// What the task that waits for a call is told.
#[derive(Debug)]
pub(crate) enum News {
    /// Its statement has begun. Said once, if anybody wants to know. With it comes the newest item that any
    /// thread may have sent when the worker got the call.
    Begun(u64),
    Result(CallResult),
    /// It waited until its time was over.
    Expired,
}

/// What became of a call.
#[derive(Debug)]
pub enum CallResult {
    /// The worker's answer.
    Answer(Answered),
    /// The worker has run it, and there was no room for its answer: 503.
    NoRoom,
    /// The worker died while it ran the call. The call may have committed, so it is not repeated: 502.
    Lost,
    /// It was not begun and will not be: 503.
    NotRun,
}

/// Why a call cannot wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// The queue is full.
    Full,
    /// This address has its half of it.
    Address,
    /// Answers that are not read take all memory for answers, or this address' half of it.
    Answers,
}

/// The last number that a call of this process was given. Of the process and not of a gateway: a worker may
/// still run a call of a gateway that was closed before another one was opened, and its answer must not be
/// taken for that of a new call.
static LAST_NUMBER: AtomicU64 = AtomicU64::new(0);

pub(crate) struct CallQueue {
    stats: Arc<Stats>,
    /// The main thread is woken through it.
    outbox: Arc<Outbox>,
    bodies: Rooms,
    answers: Rooms,
    state: Mutex<State>,
}

/// How a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Waiting,
    RunningSince(Instant),
    /// Answered, or taken out by the main thread because its time was over.
    Over,
}

impl CallQueue {
    /// For a gateway that begins. Numbers go on above its epoch, a time in microseconds: calls do not come a
    /// million a second, so those of an earlier process are not given out again either, as long as the clock
    /// is not set back.
    pub(crate) fn new(epoch: u64, stats: Arc<Stats>, outbox: Arc<Outbox>) -> Self {
        LAST_NUMBER.fetch_max(epoch, Ordering::Relaxed);
        Self { stats, outbox, bodies: Rooms::default(), answers: Rooms::default(), state: Mutex::default() }
    }

    /// The number of a call that may enter later, never given before in this process.
    pub(crate) fn number(&self) -> u64 {
        LAST_NUMBER.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The highest number so far.
    pub(crate) fn last_number() -> u64 {
        LAST_NUMBER.load(Ordering::Relaxed)
    }

    /// Whether a call of `address` could enter now.
    ///
    /// # Errors
    /// [`NoPlace`]; each variant as it is described there.
    pub(crate) fn check(&self, address: IpAddr, size: usize) -> Result<(), NoPlace> {
        if !self.answers.has(address, MIN_FREE_BYTES, ANSWER_BYTES) {
            return Err(NoPlace::Answers);
        }
        self.state.lock().check(network(address), size)
    }

    /// Lets a call wait. Somebody has to be told (`Shared::call_waits`).
    ///
    /// # Errors
    /// [`NoPlace`]; each variant as it is described there.
    pub(crate) fn enter(
        self: &Arc<Self>,
        call: NewCall,
        address: IpAddr,
        size: usize,
    ) -> Result<PendingCall, NoPlace> {
        let network = network(address);
        let (answer, receiver) = oneshot::channel();
        let NewCall { id, frame, deadline, tells_begin, party, about, goes_on } = call;
        let party = party.unwrap_or(network);
        let (begin, begun) = tells_begin.then(oneshot::channel).unzip();
        let mut state = self.state.lock();
        state.check(party, size)?;
        state.turns(goes_on).enter(party, id);
        let thread = home::here();
        state
            .waiting
            .insert(id, Waiting { frame, deadline, network, party, about, goes_on, thread, answer, begin });
        // Before any thread can take it.
        Stats::add(&self.stats.calls_waiting, 1);
        drop(state);
        Stats::add(&self.stats.calls_total, 1);
        Ok(PendingCall { queue: Arc::clone(self), id, receiver, begun })
    }

    /// The next call that still has time, in the order of [`Turns`]: whoever fills the queue, or has calls
    /// that go on without a connection, keeps nobody else from the workers for longer than one call takes.
    /// Calls that go on without their callers leave one of several `workers` free, and take at most every
    /// second turn while others wait. `published`: the newest item that any thread may have sent by now.
    pub(crate) fn take(&self, now: Instant, published: u64, workers: usize) -> Option<QueuedCall> {
        let mut state = self.state.lock();
        loop {
            let ((party, id), goes_on) = state.next(workers)?;
            let Some(Waiting { frame, deadline, network, about, thread, answer, begin, .. }) =
                state.waiting.remove(&id)
            else {
                state.turns(goes_on).leave(party, id);
                continue;
            };
            Stats::subtract(&self.stats.calls_waiting, 1);
            if deadline <= now {
                // `answer` is dropped here, which its [`PendingCall`] sees.
                state.turns(goes_on).leave(party, id);
                continue;
            }
            state.turns(goes_on).begin(party, id);
            state.running_without += usize::from(goes_on);
            state.was_without = goes_on;
            let tells_begin = begin.is_some();
            state.running.insert(id, Running { since: now, published, party, about, goes_on, answer, begin });
            let reply = Reply::new(self.answers.room(network));
            return Some(QueuedCall { id, frame, deadline, reply, tells_begin, thread });
        }
    }

    /// Tells the task that waits for a call that its statement has begun.
    pub(crate) fn has_begun(&self, id: u64) {
        if let Some(running) = self.state.lock().running.get_mut(&id)
            && let Some(begin) = running.begin.take()
        {
            // Its peer may go at any moment.
            let _ = begin.send(running.published);
        }
    }

    /// Hands the answer to the task that waits for it, if one still does.
    pub(crate) fn answer(&self, id: u64, result: CallResult) {
        let running = self.state.lock().end(id);
        if let Some(Running { answer, goes_on, .. }) = running {
            if goes_on {
                // Another one may have waited for its place, whatever workers are free.
                self.outbox.wake_main();
            }
            // Its peer may go at any moment.
            let _ = answer.send(result);
        }
    }

    pub(crate) fn poll_cancelled(&self) -> Option<u64> {
        self.state.lock().cancelled.pop_front()
    }

    /// Those that a worker has, and since when: as many as there are workers, so the lock is held for a
    /// moment.
    pub(crate) fn running(&self) -> Vec<(Instant, Arc<About>)> {
        let state = self.state.lock();
        state.running.values().map(|call| (call.since, Arc::clone(&call.about))).collect()
    }

    fn standing(&self, id: u64) -> Standing {
        let state = self.state.lock();
        match (state.waiting.contains_key(&id), state.running.get(&id)) {
            (true, _) => Standing::Waiting,
            (_, Some(running)) => Standing::RunningSince(running.since),
            _ => Standing::Over,
        }
    }

    /// Room for an answer to `address`, none at first.
    pub(crate) fn answer_room(&self, address: IpAddr) -> Room {
        self.answers.room(address)
    }

    /// Room for a body of `address`, none at first.
    pub(crate) fn body_room(&self, address: IpAddr) -> Room {
        self.bodies.room(address)
    }
}

/// A call that a task waits for. Dropped before its answer has come, it is taken out of the queue or
/// cancelled.
pub(crate) struct PendingCall {
    queue: Arc<CallQueue>,
    id: u64,
    receiver: oneshot::Receiver<CallResult>,
    begun: Option<oneshot::Receiver<u64>>,
}

impl PendingCall {
    /// Waits for the next news. That the call has begun goes before what it came to.
    pub(crate) async fn news(&mut self) -> News {
        loop {
            let begun = async {
                match &mut self.begun {
                    Some(begun) => begun.await.ok(),
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                published = begun => {
                    self.begun = None;
                    if let Some(published) = published {
                        return News::Begun(published);
                    }
                    // It never begins, and the other half says what became of it.
                }
                result = &mut self.receiver => return result.map_or(News::Expired, News::Result),
            }
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        self.queue.standing(self.id)
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock();
        if let Some(waiting) = state.waiting.remove(&self.id) {
            state.turns(waiting.goes_on).leave(waiting.party, self.id);
            Stats::subtract(&self.queue.stats.calls_waiting, 1);
        } else if state.end(self.id).is_some() {
            state.cancelled.push_back(self.id);
            drop(state);
            Stats::add(&self.queue.stats.calls_cancelled_total, 1);
            self.queue.outbox.wake_main();
        }
    }
}

#[cfg(test)]
mod tests;
