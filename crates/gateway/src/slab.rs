//! The one task of a runtime thread that writes to streams: it takes in batches, walks its subscribers, and serves
//! those whose socket has something to say.
//!
//! A round: append what came, admit newcomers, serve the ready ones, walk over everybody who is not blocked, then
//! evict what the window no longer holds. Events are appended first and evicted last, so nobody who keeps up can fall
//! out of the window, however small it is. A subscriber whose socket is full is left alone until its waker puts it
//! into the ready list: it delays nobody. There is no task, no timer and no queue per subscriber.
//!
//! Not for reading requests (`connection`) or for what the bytes are (`stream_log`).

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use sse_proto::sse::{append_chunk, append_comment, append_gap, append_ready};
use tokio::sync::watch;
use tokio::task::yield_now;

use crate::batch::Batch;
use crate::bell::Bell;
use crate::request::Severity;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::slot::{Closed, Opening, Slot, SlotWaker, Tally, Visit};
use crate::stats::Stats;
use crate::stream_log::{Framing, StreamLog};
use crate::subscribe::{Newcomer, Start};

/// Slots walked before other tasks of the thread get a turn: about a millisecond of writes.
const SLOTS_PER_TURN: usize = 256;

/// Bytes taken in before subscribers are served: bounds what the log holds beyond its window.
const MAX_BYTES_PER_ROUND: usize = 1 << 20;

/// Streams that the connection tasks of this thread have handed over.
pub(crate) struct Incoming {
    queue: RefCell<Vec<Newcomer>>,
    bell: Arc<Bell>,
}

impl Incoming {
    pub(crate) fn new(bell: Arc<Bell>) -> Rc<Self> {
        Rc::new(Self { queue: RefCell::default(), bell })
    }

    pub(crate) fn push(&self, newcomer: Newcomer) {
        self.queue.borrow_mut().push(newcomer);
        self.bell.ring();
    }
}

pub(crate) struct Slab {
    shared: Arc<Shared>,
    bell: Arc<Bell>,
    batches: Receiver<Arc<Batch>>,
    incoming: Rc<Incoming>,
    log: StreamLog,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    /// At most one entry per waker. Unbounded because a waker must not block; see [`SlotWaker`].
    ready: Receiver<u32>,
    ready_sender: Sender<u32>,
    settings: Arc<Settings>,
    settings_changes: watch::Receiver<u64>,
    started: Instant,
    /// Milliseconds since `started`, taken once per round; wraps after 49 days.
    now: u32,
    tally: Tally,
    scratch: Box<[u8]>,
    /// Whether this thread is the one that counts what all threads take in alike.
    counts_items: bool,
}

impl Slab {
    pub(crate) fn new(
        number: usize,
        shared: Arc<Shared>,
        batches: Receiver<Arc<Batch>>,
        incoming: Rc<Incoming>,
    ) -> Self {
        let (ready_sender, ready) = unbounded();
        Self {
            bell: Arc::clone(&incoming.bell),
            batches,
            incoming,
            log: StreamLog::new(shared.epoch),
            slots: Vec::new(),
            free: Vec::new(),
            ready,
            ready_sender,
            settings: shared.settings(),
            settings_changes: shared.settings_changes(),
            started: Instant::now(),
            now: 0,
            tally: Tally::default(),
            scratch: vec![0; 4096].into_boxed_slice(),
            counts_items: number == 0,
            shared,
        }
    }

    /// Runs until the gateway is stopped and every stream has ended.
    pub(crate) async fn run(mut self) {
        let mut next_sweep = tokio::time::Instant::now() + self.sweep_interval();
        loop {
            self.take_settings();
            self.now = self.started.elapsed().as_millis() as u32;
            let appended = self.take_batches();
            self.admit();
            self.serve_ready();
            if appended > 0 {
                self.walk().await;
            }
            if tokio::time::Instant::now() >= next_sweep {
                self.sweep();
                next_sweep = tokio::time::Instant::now() + self.sweep_interval();
            }
            self.evict();
            self.count();
            if let Some(until) = self.shared.stopping()
                && self.batches.is_empty()
            {
                return self.end(until).await;
            }
            if !self.batches.is_empty() || !self.ready.is_empty() {
                yield_now().await;
                continue;
            }
            tokio::select! {
                biased;
                () = self.bell.heard() => {}
                () = tokio::time::sleep_until(next_sweep) => {}
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
            if !self.ready.is_empty() {
                yield_now().await;
                continue;
            }
            tokio::select! {
                () = self.bell.heard() => {}
                () = tokio::time::sleep_until(until.into()) => {}
            }
        }
        self.count();
    }

    fn take_settings(&mut self) {
        if self.settings_changes.has_changed().unwrap_or(false) {
            self.settings_changes.mark_unchanged();
            self.settings = self.shared.settings();
        }
    }

    /// Returns how many items were taken in.
    fn take_batches(&mut self) -> usize {
        let (mut items, mut bytes) = (0, 0);
        while bytes < MAX_BYTES_PER_ROUND
            && let Ok(batch) = self.batches.try_recv()
        {
            let appended = self.log.append(&batch, self.now);
            items += batch.items.len();
            bytes += appended.bytes;
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
        items
    }

    fn admit(&mut self) {
        let newcomers = std::mem::take(&mut *self.incoming.queue.borrow_mut());
        for newcomer in newcomers {
            let index = self.free.pop().unwrap_or_else(|| {
                self.slots.push(None);
                self.slots.len() as u32 - 1
            });
            let waker = SlotWaker::new(index, self.ready_sender.clone(), Arc::clone(&self.bell));
            let slot = self.open(newcomer, waker);
            self.slots[index as usize] = Some(slot);
            self.wake(index as usize);
        }
    }

    /// The order of a stream's beginning is C6.4's: connected, ready, a gap if any, what is replayed, live.
    fn open(&self, newcomer: Newcomer, waker: Arc<SlotWaker>) -> Slot {
        let start = Start::find(&newcomer.last_event_id, &self.log, self.shared.published());
        let mut blocks = Vec::new();
        append_comment(&mut blocks, "connected");
        append_ready(&mut blocks, self.log.id(start.position), self.settings.retry);
        if let Some(reason) = start.gap {
            append_gap(&mut blocks, self.log.id(start.position), reason, None);
            Stats::add(&self.shared.stats.gaps_total, 1);
        }
        let mut pending = newcomer.head;
        match newcomer.framing {
            Framing::Chunked => append_chunk(&mut pending, &blocks),
            Framing::Bare => pending.extend_from_slice(&blocks),
        }
        let opening = Opening {
            socket: newcomer.socket,
            framing: newcomer.framing,
            filter: newcomer.filter,
            cursor: start.cursor(),
            pending,
            waker,
            subscriber: newcomer.subscriber,
            connection: newcomer.connection,
        };
        let mut slot = Slot::new(opening, self.now);
        if self.shared.stopping().is_some() {
            slot.end();
        }
        slot
    }

    /// Only those that are in the list by now: a slot that lags puts itself in again.
    fn serve_ready(&mut self) {
        for _ in 0..self.ready.len() {
            let Ok(index) = self.ready.try_recv() else { return };
            self.wake(index as usize);
        }
    }

    async fn walk(&mut self) {
        for index in 0..self.slots.len() {
            if self.slots[index].as_ref().is_some_and(|slot| !slot.is_blocked()) {
                self.visit(index);
            }
            if index % SLOTS_PER_TURN == SLOTS_PER_TURN - 1 {
                yield_now().await;
                self.now = self.started.elapsed().as_millis() as u32;
                self.admit();
                self.serve_ready();
            }
        }
    }

    /// Once in a while: disconnects who takes nothing, sends heartbeats.
    fn sweep(&mut self) {
        let timeout = milliseconds(self.settings.write_timeout);
        let interval = milliseconds(self.settings.heartbeat_interval);
        for index in 0..self.slots.len() {
            let Some(slot) = &mut self.slots[index] else { continue };
            if slot.is_stalled(self.now, timeout) {
                slot.reset();
                self.tally.write_timeouts += 1;
                self.free(index);
            } else if interval > 0 && slot.beat(self.now, interval) {
                self.visit(index);
            }
        }
    }

    /// Drops what the window no longer holds. Subscribers in the middle of such an event keep its rest, if it is small.
    fn evict(&mut self) {
        let sequence = self.log.eviction(self.now, self.settings.window_size, self.settings.window_age);
        if sequence <= self.log.base() {
            return;
        }
        for index in 0..self.slots.len() {
            let Some(slot) = &mut self.slots[index] else { continue };
            if !slot.prepare_eviction(&self.log, sequence) {
                slot.reset();
                self.free(index);
            }
        }
        self.log.evict_to(sequence);
    }

    fn wake(&mut self, index: usize) {
        let Some(Some(slot)) = self.slots.get_mut(index) else { return };
        match slot.wake(&mut self.scratch, &mut self.tally) {
            None => {}
            Some(Visit::Closed(closed)) => self.close(index, closed),
            Some(_) => self.visit(index),
        }
    }

    fn visit(&mut self, index: usize) {
        let Some(slot) = &mut self.slots[index] else { return };
        match slot.visit(&self.log, self.now, &mut self.tally) {
            Visit::Live | Visit::Blocked => {}
            // Cannot fail: the receiver is ours.
            Visit::Lagging => drop(self.ready_sender.send(index as u32)),
            Visit::Closed(closed) => self.close(index, closed),
        }
    }

    fn close(&mut self, index: usize, closed: Closed) {
        if closed == Closed::Ended
            && let Some(slot) = &self.slots[index]
        {
            slot.shutdown();
        }
        self.free(index);
    }

    fn free(&mut self, index: usize) {
        self.slots[index] = None;
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
            (&stats.write_timeouts_total, tally.write_timeouts),
        ] {
            if n > 0 {
                Stats::add(counter, n);
            }
        }
        if self.counts_items {
            stats.window_bytes.store(self.log.bytes() as u64, std::sync::atomic::Ordering::Relaxed);
            stats.window_events.store(self.log.len() as u64, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// A second, or less when an interval is so short that it would be missed by more than a quarter.
    fn sweep_interval(&self) -> Duration {
        let heartbeat = Some(self.settings.heartbeat_interval).filter(|interval| !interval.is_zero());
        let shortest = heartbeat.unwrap_or(Duration::MAX).min(self.settings.write_timeout);
        (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

fn milliseconds(duration: Duration) -> u32 {
    duration.as_millis().min(u128::from(u32::MAX)) as u32
}
