//! All call workers, as every thread of the gateway sees them: a thread that has a call gives it to a worker
//! that is free, and the worker wakes that thread when it has answered.
//!
//! A lock for each worker, held for a few copies of memory. Whoever holds it may take the queue's lock, and
//! nobody takes a worker's lock while holding the queue's. A call leaves the queue while its worker's lock is
//! held, so whoever looks for a call that has left the queue, lock by lock, finds its worker.
//!
//! A call that waits is not forgotten: whoever brings one looks at the workers after that, and whoever makes
//! a worker free looks at the queue after that.
//!
//! Not for: what passes between the gateway and a worker (`exchange.rs`); when workers start and end, and
//! all else that needs Postgres (`worker/calls.rs`).

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use parking_lot::Mutex;
use sse_gateway::{CallDesk, CallResult, CallWorkers, QueuedCall, Taken, Workers};

use super::exchange::Exchange;
use super::lock::{Held, Lock};
use crate::pg::call_slot::CallMemory;

/// See the head of this file.
pub(super) struct Crew {
    workers: Vec<Lock<Exchange>>,
    /// Calls that were handed to a worker which left before it began with them.
    returned: Mutex<VecDeque<QueuedCall>>,
    /// A worker may be replaced: none is being replaced, or on its way. Set by the main thread, taken by
    /// whoever replaces one; relaxed: it stands for nothing else.
    may_replace: AtomicBool,
}

impl Crew {
    /// This many places without workers.
    pub(super) fn new(memory: &CallMemory, count: usize) -> Self {
        let slots = memory.slots().iter().take(count).enumerate();
        let exchange = |(number, slot)| Lock::new(Exchange::new(number, memory.header, slot));
        Self {
            workers: slots.map(exchange).collect(),
            returned: Mutex::default(),
            may_replace: AtomicBool::new(false),
        }
    }

    /// A worker, by its number. The lock is held for moments: nothing that waits, or calls Postgres.
    pub(super) fn worker(&self, number: usize) -> Option<Held<'_, Exchange>> {
        self.workers.get(number).map(Lock::lock)
    }

    /// All of them, one after the other.
    pub(super) fn workers(&self) -> impl Iterator<Item = Held<'_, Exchange>> {
        self.workers.iter().map(Lock::lock)
    }

    /// A call whose worker left before it began with it.
    pub(super) fn put_back(&self, call: QueuedCall) {
        self.returned.lock().push_back(call);
    }

    /// Takes such a call out.
    pub(super) fn poll_returned(&self) -> Option<QueuedCall> {
        self.returned.lock().pop_front()
    }

    /// Cancels a call, wherever it is.
    pub(super) fn cancel(&self, calls: &CallDesk<'_>, id: u64) {
        let mut returned = self.returned.lock();
        let place = returned.iter().position(|call| call.id == id);
        if place.and_then(|place| returned.remove(place)).is_some() {
            drop(returned);
            calls.answer(id, CallResult::NotRun);
            return;
        }
        drop(returned);
        self.workers().for_each(|worker| worker.cancel(id));
    }

    /// Replaces one worker that is old and idle, if none is on its way.
    pub(super) fn recycle_one(&self, is_any_on_its_way: bool) {
        self.may_replace.store(!is_any_on_its_way, Relaxed);
        if let Some(mut old) = self.workers().find(|worker| worker.is_free() && worker.is_old()) {
            self.replace(&mut old);
        }
    }

    /// Ends a worker so that another one takes its place, unless another one is being replaced: the others go
    /// on meanwhile. Says whether it was ended.
    fn replace(&self, old: &mut Exchange) -> bool {
        let may = self.may_replace.swap(false, Relaxed);
        if may {
            old.terminate();
        }
        may
    }

    /// The next call that still has time.
    fn next(&self, calls: &CallDesk<'_>) -> Option<QueuedCall> {
        while let Some(call) = self.poll_returned() {
            if call.deadline > Instant::now() {
                return Some(call);
            }
            calls.answer(call.id, CallResult::NotRun);
        }
        calls.take()
    }
}

impl CallWorkers for Crew {
    fn hand_out(&self, calls: &CallDesk<'_>) -> Workers {
        let mut state = Workers::None;
        for mut worker in self.workers() {
            if worker.is_ready() {
                state = Workers::Ready;
            }
            // Between a worker's answer and its next call: while calls wait, a worker is idle nowhere else.
            if !worker.is_free() || (worker.is_old() && self.replace(&mut worker)) {
                continue;
            }
            let Some(call) = self.next(calls) else { break };
            worker.begin(call);
        }
        state
    }

    fn take_answers(&self, thread: usize, calls: &CallDesk<'_>) -> Taken {
        let (mut taken, mut is_any_free) = (Taken::All, false);
        for mut worker in self.workers() {
            if !worker.is_of(thread) {
                continue;
            }
            let answer = worker.exchange(calls);
            if worker.more_comes() {
                taken = Taken::MoreComes;
            }
            let has_line = worker.has_line();
            drop(worker);
            if let Some((id, answer)) = answer {
                is_any_free = true;
                calls.answer(id, answer);
            }
            if has_line {
                calls.wake_main();
            }
        }
        if is_any_free && self.hand_out(calls) == Workers::None {
            calls.wake_main();
        }
        taken
    }
}
