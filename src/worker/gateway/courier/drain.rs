//! Taking out what backends and the catalog worker have put into the ring, and handing events on in order.
//!
//! Not for: what must wait for what (`worker/gateway/courier/order.rs`, `local.rs`).

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use sse_gateway::Batch;
use sse_proto::record::Kind;

use super::carrying::Carrier;
use super::local::Fate;
use crate::worker::gateway::between::Report;
use crate::worker::gateway::routing::Task;

/// How taking out ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Everything that was there when it began is out.
    Empty,
    /// The runtime threads have no room.
    NoRoom,
    /// A record at this position was begun and is not complete; what follows it must wait.
    Hole(u64),
}

impl Carrier<'_> {
    /// Takes what is in the ring, and hands on the events that need not wait for others
    /// (`worker/gateway/courier/order.rs`).
    pub(super) fn drain(&mut self) -> Result<(), sse_ring::Corrupt> {
        if !self.hand_over_waiting() {
            return Ok(());
        }
        // Before the ring is emptied: what the log has up to there is in the ring by now.
        let read_to = self.source.read_to();
        let mut outcome = self.take_out()?;
        if let (Some(found), None) = (self.order.look(&self.shared), &self.waiting) {
            outcome = self.take_out()?;
            if outcome == Outcome::NoRoom {
                return Ok(());
            }
            let is_before_hole = matches!(outcome, Outcome::Hole(_));
            if let Some(pid) = self.order.decide(&found, is_before_hole, &self.shared) {
                self.reports.say(Report::GivenUp { pid });
            }
        }
        self.hand_over_ordered();
        if outcome == Outcome::Empty {
            self.hand_over_local(read_to);
            // 0: events do not come from the log.
            if let (Some(publisher), None, 1..) = (&self.publisher, &self.waiting, read_to) {
                publisher.has_read(read_to);
            }
        }
        self.note_hole(outcome);
        Ok(())
    }

    fn note_hole(&mut self, outcome: Outcome) {
        let position = match outcome {
            Outcome::NoRoom => return,
            Outcome::Empty => None,
            Outcome::Hole(position) => Some(position),
        };
        if let Some(age) = self.stall.note(position, Instant::now()) {
            self.shared.header.tickets.stalls_total.fetch_add(1, Relaxed);
            self.reports.say(Report::Hole(age));
        }
    }

    /// Takes out what is in the ring now, unless the runtime threads have no room. The count of dropped
    /// events is read when the batch begins: whatever a publisher pushes after a drop comes after the gap.
    fn take_out(&mut self) -> Result<Outcome, sse_ring::Corrupt> {
        let mut taking = self.source.take()?;
        let dropped = taking.dropped_total();
        let mut outgoing = Batch::new(self.next_sequence);
        if dropped > self.dropped_told {
            self.dropped_told = dropped;
            outgoing.push_overflow(None);
        }
        loop {
            let (catalog, order, local) = (&mut self.catalog, &mut self.order, &mut self.local);
            let mut taken_bytes = 0;
            let taken = taking.drain(Batch::MAX_BYTES, |bytes| {
                taken_bytes += bytes.len();
                #[cfg(feature = "faults")]
                if self.tells_transactions {
                    tell_transaction(bytes, self.reports);
                }
                match Kind::of(bytes) {
                    Some(Kind::Event | Kind::TooLarge | Kind::SnapshotEnd) if order.hold(bytes) => {}
                    Some(Kind::CallEnd | Kind::Canary) if order.follow(bytes) => {}
                    Some(Kind::Placed | Kind::LogState | Kind::LogGap) => {
                        if local.take(bytes) == Fate::HandOn {
                            outgoing.push_record(bytes);
                        }
                    }
                    Some(Kind::Event | Kind::TooLarge | Kind::CallEnd | Kind::SnapshotEnd | Kind::Canary)
                    | None => outgoing.push_record(bytes),
                    Some(_) => catalog.push(bytes),
                }
            })?;
            self.pace.took(taken_bytes);
            self.next_sequence = outgoing.next_sequence();
            if let (Some(publisher), false) = (&mut self.publisher, outgoing.is_empty())
                && let Err(refused) = publisher.try_publish(outgoing)
            {
                self.waiting = Some(refused);
            }
            if !self.catalog.is_empty() {
                // Fails when that thread has ended, which it has reported.
                let _ = self.tasks.send(Task::Records(std::mem::take(&mut self.catalog)));
            }
            if self.waiting.is_some() {
                return Ok(Outcome::NoRoom);
            }
            if taken == 0 {
                return Ok(taking.hole().map_or(Outcome::Empty, Outcome::Hole));
            }
            outgoing = Batch::new(self.next_sequence);
        }
    }

    /// Hands on the events that were held and may leave, as far as there is room.
    fn hand_over_ordered(&mut self) {
        while self.waiting.is_none() {
            let mut outgoing = Batch::new(self.next_sequence);
            if self.order.take(Batch::MAX_BYTES, |bytes| outgoing.push_record(bytes)) == 0 {
                return;
            }
            self.next_sequence = outgoing.next_sequence();
            if let Some(publisher) = &mut self.publisher {
                self.waiting = publisher.try_publish(outgoing).err();
            }
        }
    }

    /// Hands on what belongs after events of the log that have been handed on, up to this position.
    pub(super) fn hand_over_local(&mut self, handed_on: u64) {
        while self.waiting.is_none() {
            let mut outgoing = Batch::new(self.next_sequence);
            while let Some(record) = self.local.next(handed_on) {
                outgoing.push_record(&record);
            }
            if outgoing.is_empty() {
                return;
            }
            if let Some(publisher) = &mut self.publisher {
                self.waiting = publisher.try_publish(outgoing).err();
            }
        }
    }

    /// Hands on the batch that waits, before anything else is taken out. `true`: nothing waits any more.
    pub(super) fn hand_over_waiting(&mut self) -> bool {
        if let (Some(batch), Some(publisher)) = (self.waiting.take(), &mut self.publisher) {
            self.waiting = publisher.try_publish(batch).err();
        }
        self.hand_over_ordered();
        self.waiting.is_none()
    }
}

/// For a test (`worker/gateway/fault.rs`).
#[cfg(feature = "faults")]
fn tell_transaction(record: &[u8], reports: &crate::worker::gateway::between::Reports) {
    use sse_proto::record::{Record, decode};
    if let Ok(Record::Event { envelope, .. } | Record::TooLarge { envelope }) = decode(record) {
        reports.say(Report::Transaction(envelope.xid.map_or(0, std::num::NonZero::get)));
    }
}
