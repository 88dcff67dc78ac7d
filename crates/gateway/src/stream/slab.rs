//! The one task of a runtime thread that writes to streams: it takes in batches, walks its subscribers, and
//! serves those whose socket has something to say.
//!
//! A round: append what came, admit newcomers, serve the ready ones, walk over those who take the public lane
//! if anything came into it (and append what comes meanwhile), serve the takers of everything else, end
//! streams whose route has changed, then evict what the window no longer holds.
//! Events are appended first and evicted last, so a subscriber that keeps up cannot fall out of the window,
//! however small the window is. A subscriber whose socket is full is left alone until its waker puts it into
//! the ready list: it delays nobody. There is no task, no timer and no queue per subscriber.
//!
//! A subscriber costs nothing for events that are not for it: it is neither asked nor looked at. So the
//! cursor of a live subscriber is stale (`Slot::refresh` sets it), and the subscribers that are not live are
//! listed in `behind`.
//!
//! Not for reading requests (`connection`) or for what the bytes are (`stream_log`).

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio::sync::watch;
use tokio::task::yield_now;

use crate::bell::Bell;
use crate::between::batch::Batch;
use crate::between::listing::Lister;
use crate::between::outbox::Severity;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::stats::Stats;
use crate::stream::parcel::SlotAddress;
use crate::stream::ready::{Ready, ReadySockets};
use crate::stream::slot::{Slot, Tally, Visit};
use crate::stream::stream_log::StreamLog;

mod admit;
mod ahead;
mod deliver;
mod incoming;
mod keep;
mod measure;
mod post;
mod revoke;
mod same;
mod seen;
mod snapshots;
mod survey;
mod terms;
mod wake;

use ahead::Waiting;
pub(crate) use incoming::Incoming;
use measure::Round;
use revoke::RevocationPace;
use same::Same;
use snapshots::Snapshots;
use survey::Surveyor;
use terms::Accord;

/// Slots walked before other tasks of the thread get a turn: about a millisecond of writes.
const SLOTS_PER_TURN: usize = 256;

/// Bytes taken in before subscribers are served: bounds what the log holds beyond its window.
const MAX_BYTES_PER_ROUND: usize = 1 << 20;

/// What the slab remembers of a slot's number.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    /// Which of the slot's streams this one is.
    generation: u32,
    /// The last item that its stream was asked about: one that is in two lists is asked once.
    asked: u64,
    is_taker: bool,
    is_behind: bool,
}

pub(crate) struct Slab {
    shared: Arc<Shared>,
    bell: Arc<Bell>,
    batches: Receiver<Arc<Batch>>,
    incoming: Rc<Incoming>,
    log: StreamLog,
    slots: Vec<Option<Slot>>,
    /// One per slot, whether it is in use or not.
    marks: Vec<Mark>,
    free: Vec<u32>,
    /// The streams that take something of this round besides the public lane, each once.
    takers: Vec<u32>,
    /// The slots that are not live, each once, and some that have become live since.
    behind: Vec<u32>,
    /// The oldest sequence that came in this round.
    first: u64,
    /// What came in this round.
    round_bytes: usize,
    /// What of this round is measured.
    round: Round,
    same: Same,
    sockets: ReadySockets,
    /// Sockets that it has told of, between two times without any.
    told: Vec<(SlotAddress, Ready)>,
    has_more_ready: bool,
    /// At most one entry per waker. Unbounded because a waker must not block; see [`SlotWaker`].
    ready: Receiver<SlotAddress>,
    ready_sender: Sender<SlotAddress>,
    settings: Arc<Settings>,
    settings_changes: watch::Receiver<u64>,
    started: Instant,
    /// Milliseconds since `started`, taken once per round; wraps after 49 days.
    now: u32,
    tally: Tally,
    scratch: Box<[u8]>,
    lister: Lister,
    surveyor: Surveyor,
    snapshots: Snapshots,
    /// Of this runtime thread.
    number: usize,
    revocations: RevocationPace,
    accord: Accord,
    /// By their addresses: the streams that wait until this server has what they have seen.
    ahead: HashMap<u64, Waiting>,
    /// Streams that ever began here.
    opened: u64,
    /// Whether this thread counts the items, which all threads take in alike.
    counts_items: bool,
}

impl Slab {
    /// # Errors
    /// There is no descriptor for watching its sockets.
    pub(crate) fn new(
        number: usize,
        shared: Arc<Shared>,
        batches: Receiver<Arc<Batch>>,
        incoming: Rc<Incoming>,
    ) -> io::Result<Self> {
        let (ready_sender, ready) = unbounded();
        let log = StreamLog::new(shared.epoch).telling(Rc::clone(&incoming.call_ends));
        let log = if shared.published.is_placed() { log.placed() } else { log };
        incoming.is_open.send_replace(log.is_complete());
        Ok(Self {
            bell: Arc::clone(&incoming.bell),
            batches,
            log,
            incoming,
            slots: Vec::new(),
            marks: Vec::new(),
            free: Vec::new(),
            takers: Vec::new(),
            behind: Vec::new(),
            first: 1,
            round_bytes: 0,
            round: Round::default(),
            same: Same::default(),
            sockets: ReadySockets::new()?,
            told: Vec::new(),
            has_more_ready: false,
            ready,
            ready_sender,
            settings: shared.settings(),
            settings_changes: shared.settings_changes(),
            started: Instant::now(),
            now: 0,
            tally: Tally::default(),
            scratch: vec![0; 4096].into_boxed_slice(),
            lister: shared.list_requests.lister(number),
            surveyor: Surveyor::new(shared.inspection.questions.of_thread(number)),
            snapshots: Snapshots::default(),
            number,
            revocations: RevocationPace::default(),
            accord: Accord::default(),
            ahead: HashMap::new(),
            opened: 0,
            counts_items: number == 0,
            shared,
        })
    }

    /// Runs until the gateway is stopped and every stream has ended.
    pub(crate) async fn run(mut self) {
        let mut next_sweep = tokio::time::Instant::now() + self.sweep_interval();
        loop {
            self.incoming.has_turn();
            self.take_settings();
            self.now = self.started.elapsed().as_millis() as u32;
            self.note_routes();
            let has_public = self.take_batches();
            self.tell_all(self.first).await;
            self.revoke();
            self.let_on();
            self.admit();
            self.take_snapshots();
            self.serve_ready();
            if has_public {
                self.note_walk(self.first);
                self.walk().await;
            }
            self.serve_takers().await;
            self.show();
            self.measure();
            let has_look = self.keep_accord();
            if tokio::time::Instant::now() >= next_sweep {
                self.sweep();
                next_sweep = tokio::time::Instant::now() + self.sweep_interval();
            }
            self.evict();
            self.count();
            let is_asked = self.lister.work(&self.slots, |slot| slot.info(&self.log)) | self.answer_admin();
            if let Some(until) = self.shared.stopping()
                && self.batches.is_empty()
            {
                return self.end(until).await;
            }
            if is_asked || has_look || !self.batches.is_empty() || self.has_ready() {
                yield_now().await;
                continue;
            }
            let next_look = self.revocations.due().map_or(next_sweep, |due| next_sweep.min(due.into()));
            let next_look = self.next_look_at_log().map_or(next_look, |at| next_look.min(at.into()));
            tokio::select! {
                biased;
                () = self.bell.heard() => {}
                () = self.sockets.some() => {}
                () = tokio::time::sleep_until(next_look) => {}
            }
        }
    }

    /// Ends every stream: what was published, then the end, until the deadline.
    async fn end(mut self, until: Instant) {
        self.admit();
        for index in 0..self.slots.len() {
            if let Some(slot) = &mut self.slots[index] {
                slot.end();
                if !slot.is_blocked() {
                    self.visit(index);
                }
            }
            if index % SLOTS_PER_TURN == SLOTS_PER_TURN - 1 {
                yield_now().await;
            }
        }
        loop {
            self.admit();
            self.serve_ready();
            if self.free.len() == self.slots.len() || Instant::now() >= until {
                break;
            }
            if self.has_ready() {
                yield_now().await;
                continue;
            }
            tokio::select! {
                () = self.bell.heard() => {}
                () = self.sockets.some() => {}
                () = tokio::time::sleep_until(until.into()) => {}
            }
        }
        self.count();
    }

    fn take_settings(&mut self) {
        if self.settings_changes.has_changed().unwrap_or(false) {
            self.settings_changes.mark_unchanged();
            self.settings = self.shared.settings();
            #[cfg(any(test, feature = "faults"))]
            crate::fault::panic_if_asked(self.shared.data_directory.as_deref());
        }
    }

    /// Begins a round with what has come. Says whether anything came into the public lane.
    fn take_batches(&mut self) -> bool {
        self.first = self.log.head() + 1;
        self.round_bytes = 0;
        self.take_more()
    }

    /// Adds what has come since to the round.
    fn take_more(&mut self) -> bool {
        let mut has_public = false;
        let read = self.shared.published.read();
        while self.round_bytes < MAX_BYTES_PER_ROUND
            && let Ok(batch) = self.batches.try_recv()
        {
            let appended = self.log.append(&batch, self.now);
            self.snapshots.take(&batch);
            self.round.take(&batch, self.first);
            has_public |= appended.has_public;
            self.round_bytes += appended.bytes;
            if self.counts_items {
                Stats::add(&self.shared.stats.undeliverable_total, appended.undeliverable);
                Stats::add(&self.shared.stats.undecodable_total, appended.undecodable);
                if appended.undecodable > 0 {
                    self.shared.outbox.log_limited("undecodable", Severity::Warning, || {
                        "an event could not be decoded and was replaced by a gap".to_owned()
                    });
                }
            }
        }
        if self.batches.is_empty() {
            self.log.has_read(read);
        }
        if !*self.incoming.is_open.borrow() && self.log.is_complete() {
            self.incoming.is_open.send_replace(true);
        }
        has_public
    }

    fn visit(&mut self, index: usize) {
        let Some(slot) = &mut self.slots[index] else { return };
        let visit = slot.visit(&self.log, self.log.postings.member(index as u32), self.now, &mut self.tally);
        let (is_behind, wishes) = (!slot.is_live(), slot.take_wish());
        match visit {
            Visit::Live | Visit::Blocked => {}
            // Cannot fail: the receiver is ours.
            Visit::Lagging => drop(self.ready_sender.send(self.address_of(index))),
            Visit::Closed => return self.free(index),
        }
        if is_behind {
            self.note_behind(index);
        }
        if wishes {
            self.ask(index);
        }
    }

    fn free(&mut self, index: usize) {
        if self.slots[index].as_ref().is_some_and(Slot::is_awaiting) {
            self.shared.snapshots.withdraw((self.number, self.address_of(index).to_bits()));
        }
        self.accord.forget(self.address_of(index));
        self.ahead.remove(&self.address_of(index).to_bits());
        self.log.postings.leave(index as u32);
        if let Some(slot) = self.slots[index].take() {
            self.same.give_back(slot.into_subscription());
        }
        self.free.push(index as u32);
    }

    fn count(&mut self) {
        let tally = std::mem::take(&mut self.tally);
        let stats = &self.shared.stats;
        for (counter, n) in [
            (&stats.deliveries_total, tally.deliveries),
            (&stats.bytes_total, tally.bytes),
            (&stats.gaps_total, tally.gaps),
            (&stats.junk_total, tally.junk),
            (&stats.asked_total, tally.asked),
            (&stats.woken_total, tally.woken),
            (&stats.write_timeouts_total, tally.write_timeouts),
            (&stats.covered_total, tally.covered),
        ] {
            if n > 0 {
                Stats::add(counter, n);
            }
        }
        if self.counts_items {
            stats.window_bytes.store(self.log.bytes() as u64, Ordering::Relaxed);
            stats.window_events.store(self.log.len() as u64, Ordering::Relaxed);
            let oldest = self.log.oldest().map(|at| self.started + Duration::from_millis(u64::from(at)));
            self.shared.inspection.set_oldest(oldest);
        }
    }

    /// A second, or less where that would miss a short interval by more than a quarter.
    fn sweep_interval(&self) -> Duration {
        let heartbeat = Some(self.settings.heartbeat_interval).filter(|interval| !interval.is_zero());
        let shortest = heartbeat.unwrap_or(Duration::MAX).min(self.settings.write_timeout);
        (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

fn milliseconds(duration: Duration) -> u32 {
    duration.as_millis().min(u128::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests;
