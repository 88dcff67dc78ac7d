//! What the courier does: takes records out of the ring, holds back the events that must wait for others,
//! hands the rest to the runtime threads, and sleeps.
//!
//! Everything on the way of an event happens here and in the runtime threads. Nothing here calls Postgres,
//! waits for a lock, touches a file, or costs more with more routines, refusals or connections. Words of
//! Postgres' shared memory are read directly (`pg/ticket.rs`); pgrx' wrappers would panic on this thread.
//!
//! Not for: the taking out itself (`drain.rs`), out of what (`source.rs`), what waits for what
//! (`worker/gateway/courier/order.rs`).

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use sse_gateway::{Batch, Publisher};
use sse_ring::Corrupt;

use super::local::Local;
use super::order::Holding;
use super::source::Source;
use super::stall::Stall;
use crate::pg::shmem::Shared;
use crate::worker::gateway::between::{CatalogRecords, Instruction, Reports};
use crate::worker::gateway::routing::{Task, Tasks};
use crate::worker::pace::Pace;

/// How long the courier sleeps when nothing happens. A producer that is stopped after taking on the duty to
/// wake it, and before waking it, makes everybody's events this late, once.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Pause while the runtime threads have no room: the ring takes in what is published meanwhile.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(2);

/// See the head of this file.
pub(super) struct Carrier<'c> {
    pub(super) shared: Shared,
    pub(super) source: Source,
    instructions: &'c Receiver<Instruction>,
    pub(super) reports: &'c Reports,
    /// To the thread that makes routes, for the records that are no events.
    pub(super) tasks: &'c Tasks,
    /// `None`: nothing is served, and events that come meanwhile are for nobody.
    pub(super) publisher: Option<Publisher>,
    /// Events that may have to wait for those of other transactions.
    pub(super) order: Holding,
    /// What has to come after events of the write-ahead log.
    pub(super) local: Local,
    pub(super) pace: Pace,
    pub(super) stall: Stall,
    /// A batch that the runtime threads had no room for.
    pub(super) waiting: Option<Batch>,
    pub(super) next_sequence: u64,
    pub(super) dropped_told: u64,
    /// What a catalog worker has pushed.
    pub(super) catalog: CatalogRecords,
    /// To be answered when the source has been taken out up to this position.
    pub(super) mark: Option<(u64, u64)>,
    /// For a test (`fault.rs`).
    #[cfg(feature = "faults")]
    pub(super) tells_transactions: bool,
}

impl<'c> Carrier<'c> {
    pub(super) fn new(
        shared: Shared,
        source: Source,
        ring_bytes: usize,
        instructions: &'c Receiver<Instruction>,
        reports: &'c Reports,
        tasks: &'c Tasks,
    ) -> Self {
        Self {
            shared,
            source,
            instructions,
            reports,
            tasks,
            publisher: None,
            order: Holding::default(),
            local: Local::default(),
            pace: Pace::new(ring_bytes),
            stall: Stall::default(),
            waiting: None,
            next_sequence: 1,
            dropped_told: 0,
            catalog: CatalogRecords::default(),
            mark: None,
            #[cfg(feature = "faults")]
            tells_transactions: false,
        }
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// The ring is damaged.
    pub(super) fn run(mut self) -> Result<(), Corrupt> {
        loop {
            self.source.awake();
            while let Ok(instruction) = self.instructions.try_recv() {
                match instruction {
                    Instruction::Open { publisher, done } => {
                        self.open(publisher)?;
                        let _ = done.send(());
                    }
                    Instruction::Close { until, done } => {
                        self.close(until);
                        let _ = done.send(());
                    }
                    Instruction::Mark(mark) => self.mark = Some((mark, self.source.end()?)),
                    Instruction::Stop => return Ok(()),
                    #[cfg(feature = "faults")]
                    Instruction::Panic => panic!("asked to"),
                    #[cfg(feature = "faults")]
                    Instruction::TellTransactions => {
                        self.tells_transactions = true;
                        // The sign that it is so from here on.
                        self.reports.say(crate::worker::gateway::between::Report::Transaction(0));
                    }
                }
            }
            self.drain()?;
            if let Some((mark, _)) = self.mark.take_if(|(_, end)| self.source.has_reached(*end)) {
                let _ = self.tasks.send(Task::Mark(mark));
            }
            self.sleep();
        }
    }

    fn open(&mut self, publisher: Publisher) -> Result<(), Corrupt> {
        if self.source.has_log() {
            // What is on its way is of the reading before, and for nobody.
            self.drain()?;
            self.local.begin_anew();
            self.source.begin_anew();
        }
        self.next_sequence = 1;
        self.dropped_told = self.source.dropped_total();
        self.publisher = Some(publisher);
        Ok(())
    }

    fn close(&mut self, until: Instant) {
        // Events that were published before the end are sent before it, as far as the runtime threads take
        // them in time. A damaged ring is found again after this.
        while self.publisher.is_some()
            && self.drain().is_ok()
            && self.waiting.is_some()
            && Instant::now() < until
        {
            thread::sleep(NO_ROOM_PAUSE);
        }
        // What was taken out and held back is sent, too: nobody will decide about it any more.
        self.order.let_go_all();
        while !self.hand_over_waiting() && Instant::now() < until {
            thread::sleep(NO_ROOM_PAUSE);
        }
        self.hand_over_local(u64::MAX);
        while !self.hand_over_waiting() && Instant::now() < until {
            thread::sleep(NO_ROOM_PAUSE);
        }
        self.waiting = None;
        self.publisher = None;
    }

    fn sleep(&mut self) {
        if self.waiting.is_some() {
            return self.source.nap(NO_ROOM_PAUSE);
        }
        let Some(pause) = self.order.pause(self.local.pause(LONGEST_SLEEP)) else { return };
        if let Some(moment) = self.pace.pause(Instant::now()) {
            self.source.nap(pause.min(moment));
        } else if self.source.prepare_to_sleep() && self.instructions.is_empty() {
            self.source.sleep(pause);
        }
    }
}
