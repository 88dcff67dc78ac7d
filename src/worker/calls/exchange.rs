//! What passes between the gateway and one call worker: the rings, and the call that it has.
//!
//! Whichever thread holds its lock (`crew.rs`) uses it: a runtime thread that has a call, or the main thread.
//! So nothing here calls Postgres, waits, or writes into the log.
//!
//! Not for: the worker's process (`slot.rs`), and which call it gets (`crew.rs`).

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use sse_gateway::{CallDesk, CallResult, QueuedCall};
use sse_proto::call::Tenure;
use sse_ring::{PushError, Wake};

use crate::pg::call_slot::{CallHeader, GatewaySide, Slot, State};
use crate::worker::parts;

/// See the head of this file.
pub(super) struct Exchange {
    number: usize,
    header: &'static CallHeader,
    slot: &'static Slot,
    /// `None`: no worker that has its rings.
    side: Option<GatewaySide>,
    current: Option<Current>,
    tenure: Tenure,
    since: Instant,
    is_old: bool,
    is_leaving: bool,
    /// Its ring cannot be read, or what came was no answer.
    is_broken: bool,
    /// A line for the log, which the main thread writes.
    line: Option<String>,
    room: parts::Room,
}

/// The call that a worker has.
struct Current {
    call: QueuedCall,
    /// Number of parts that are in the ring.
    sent: usize,
    /// There was more to take when it was last looked for, so its worker wakes nobody.
    more_comes: bool,
}

/// A call whose worker has ended.
pub(super) enum Unanswered {
    /// Its answer was complete nevertheless.
    Answered(u64, CallResult),
    /// The call was begun: it may have committed.
    Begun(QueuedCall),
    /// Nothing of it has run.
    NotBegun(QueuedCall),
}

impl Exchange {
    /// A place without a worker.
    pub(super) fn new(number: usize, header: &'static CallHeader, slot: &'static Slot) -> Self {
        Self {
            number,
            header,
            slot,
            side: None,
            current: None,
            tenure: Tenure::default(),
            since: Instant::now(),
            is_old: false,
            is_leaving: false,
            is_broken: false,
            line: None,
            room: parts::Room::new(),
        }
    }

    /// A worker was asked for.
    pub(super) fn expect(&mut self, tenure: Tenure) {
        self.is_leaving = false;
        self.is_old = false;
        self.is_broken = false;
        self.tenure = tenure;
        self.since = Instant::now();
    }

    /// The worker gets its rings, and calls from now on.
    pub(super) fn open(&mut self, side: Option<GatewaySide>) {
        self.side = side;
        self.slot.wake();
    }

    /// The worker has ended, or the gateway stops serving: nothing is read from its rings any more. Says
    /// whether it had them.
    pub(super) fn close(&mut self) -> bool {
        self.side.take().is_some()
    }

    /// Tells the worker to leave, once, and gives it no further call. A worker that is still connecting is
    /// told when it has its slot.
    pub(super) fn terminate(&mut self) {
        if !self.is_leaving && !self.slot.is_free() {
            self.is_leaving = true;
            self.slot.terminate();
        }
    }

    /// It leaves, or does not any more.
    pub(super) fn set_leaving(&mut self, is_leaving: bool) {
        self.is_leaving = is_leaving;
    }

    /// See [`Exchange::is_old`].
    pub(super) fn mark_old(&mut self) {
        self.is_old = true;
    }

    /// Gives it a call.
    pub(super) fn begin(&mut self, call: QueuedCall) {
        // What is left of an answer to nobody.
        let _ = self.take_answer();
        // Before the worker has the call.
        self.slot.set_home(call.thread);
        self.current = Some(Current { call, sent: 0, more_comes: false });
        self.await_answer();
        self.header.running.fetch_add(1, Relaxed);
        self.tenure.count_call();
        self.send();
    }

    /// Sends more of its request, and takes what has come of its answer. `Some`: its call has ended.
    pub(super) fn exchange(&mut self, calls: &CallDesk<'_>) -> Option<(u64, CallResult)> {
        self.send();
        let answer = self.take_answer();
        self.tell_begin(calls);
        if answer.is_some() {
            self.end();
        } else {
            if self.current.as_ref().is_some_and(|current| !current.call.reply.is_empty()) {
                // The worker may be waiting for room in its ring.
                self.slot.wake();
            }
            self.await_answer();
        }
        if self.is_broken {
            self.terminate();
        }
        answer
    }

    /// Has its worker wake the thread that its call waits on, for the next part of the answer.
    fn await_answer(&mut self) {
        if let (Some(side), Some(current)) = (&mut self.side, &mut self.current) {
            current.more_comes = !side.answers.prepare_to_sleep();
        }
    }

    /// What became of the call of a worker that has ended. Its ring may still have a complete answer.
    pub(super) fn collect(&mut self, calls: &CallDesk<'_>) -> Option<Unanswered> {
        let answer = self.take_answer();
        self.tell_begin(calls);
        if let Some((id, answer)) = answer {
            self.end();
            return Some(Unanswered::Answered(id, answer));
        }
        self.give_up()
    }

    /// The same, without what its ring may still have.
    pub(super) fn give_up(&mut self) -> Option<Unanswered> {
        let call = self.end()?;
        let has_begun = self.slot.has_begun(call.id);
        Some(if has_begun { Unanswered::Begun(call) } else { Unanswered::NotBegun(call) })
    }

    /// Cancels the call with this id, if it is the worker's.
    pub(super) fn cancel(&self, id: u64) {
        if self.current.as_ref().is_some_and(|current| current.call.id == id) {
            self.slot.cancel(id);
        }
    }

    /// What the log has to say of it, once.
    pub(super) fn take_line(&mut self) -> Option<String> {
        self.line.take()
    }

    /// Whether the main thread has to look at it: the log has something to say of it.
    pub(super) fn has_line(&self) -> bool {
        self.line.is_some()
    }

    /// Whether its call waits on this runtime thread.
    pub(super) fn is_of(&self, thread: usize) -> bool {
        self.current.as_ref().is_some_and(|current| current.call.thread == Some(thread))
    }

    /// Whether there was more to take than [`Exchange::exchange`] has taken: nobody is woken for that.
    pub(super) fn more_comes(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.more_comes) && !self.is_broken
    }

    /// Whether it can take a call. A worker that has given its slot back, or has said that it takes no
    /// further call, cannot, although the main thread may not know yet.
    pub(super) fn is_free(&self) -> bool {
        self.is_ready() && self.current.is_none() && self.slot.state() == State::Ready
    }

    /// Whether it has its rings and stays.
    pub(super) fn is_ready(&self) -> bool {
        self.has_rings() && !self.is_leaving
    }

    /// Whether it has its rings.
    pub(super) fn has_rings(&self) -> bool {
        self.side.is_some()
    }

    /// Whether it was told to leave, or does.
    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// Whether it is to be replaced as soon as it is free.
    pub(super) fn is_old(&self) -> bool {
        self.is_old || self.tenure.is_over(self.since.elapsed())
    }

    /// Whether a part of its request did not fit.
    pub(super) fn has_unsent(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.sent < parts::count(current.call.frame.len()))
    }

    /// Its call is over.
    fn end(&mut self) -> Option<QueuedCall> {
        let current = self.current.take()?;
        self.header.running.fetch_sub(1, Relaxed);
        Some(current.call)
    }

    /// Passes on that the statement of its call has begun. To be asked after its answer, which comes after
    /// that.
    fn tell_begin(&mut self, calls: &CallDesk<'_>) {
        if let Some(current) = &mut self.current
            && current.call.tells_begin
            && self.slot.runs_statement(current.call.id)
        {
            current.call.tells_begin = false;
            calls.has_begun(current.call.id);
        }
    }

    fn send(&mut self) {
        let (Some(side), Some(current)) = (&self.side, &mut self.current) else { return };
        let parts = parts::count(current.call.frame.len());
        while current.sent < parts {
            match side.requests.try_push(self.room.part(&current.call.frame, &[], current.sent)) {
                Ok(wake) => {
                    current.sent += 1;
                    if wake == Wake::Needed {
                        self.slot.wake();
                    }
                }
                Err(PushError::Full | PushError::TooLarge) => return,
            }
        }
    }

    /// The answer, when it is complete, with the number of its call. What comes while the worker has no call
    /// is thrown away.
    fn take_answer(&mut self) -> Option<(u64, CallResult)> {
        let side = self.side.as_mut()?;
        let mut reply = self.current.as_mut().map(|current| &mut current.call.reply);
        let mut progress = parts::Progress::Nothing;
        let taken = side.answers.begin().and_then(|mut batch| {
            while progress != parts::Progress::Complete {
                if batch.drain(1, |part| {
                    progress = parts::take(part, |bytes| {
                        if let Some(reply) = &mut reply {
                            reply.push(bytes);
                        }
                    });
                })? == 0
                {
                    break;
                }
            }
            Ok(())
        });
        if let Err(corrupt) = taken {
            self.is_broken = true;
            self.line = Some(format!("the ring of call worker {} is damaged: {corrupt}", self.number));
            return None;
        }
        if progress != parts::Progress::Complete {
            return None;
        }
        let current = self.current.as_mut()?;
        let mistake = match current.call.reply.finish() {
            // The answer comes from memory that other processes can write to, so its number alone proves
            // nothing: it must be the number of the call that this worker was given.
            Ok(Some(answered)) if answered.id() == current.call.id => {
                return Some((answered.id(), CallResult::Answer(answered)));
            }
            Ok(Some(answered)) => format!("it has no call {}", answered.id()),
            Ok(None) => return Some((current.call.id, CallResult::NoRoom)),
            Err(error) => error.to_string(),
        };
        self.is_broken = true;
        self.line = Some(format!("call worker {} gave no answer: {mistake}", self.number));
        None
    }
}
