//! Taking out what backends and the catalog worker have put into the ring, and handing events on in order.
//!
//! Not for: what must wait for what (`worker/order.rs`).

use sse_gateway::Batch;
use sse_proto::record::{self, Kind};

use super::Worker;

/// One batch for the runtime threads: large enough to amortise the hand-over, small enough to keep the first event of
/// a burst from waiting for the last.
const BATCH_BYTES: usize = 256 * 1024;

impl Worker {
    /// Takes what is in the ring, and hands on what need not wait for others' events (`worker/order.rs`).
    pub(super) fn drain(&mut self) -> Result<(), sse_ring::Corrupt> {
        if !self.hand_over_waiting() {
            return Ok(());
        }
        self.take_out()?;
        if let (Some(found), None) = (self.order.look(&self.shared), &self.waiting) {
            let is_before_hole = self.take_out()?;
            if self.waiting.is_some() {
                return Ok(());
            }
            self.order.decide(&found, is_before_hole, &self.shared);
        }
        self.hand_over_ordered();
        Ok(())
    }

    /// Takes out what is in the ring now, unless the runtime threads have no room. The count of dropped events is read when
    /// the batch begins: whatever a publisher pushed after a drop comes behind the gap. Returns whether a record that is
    /// not complete yet stands in the way.
    fn take_out(&mut self) -> Result<bool, sse_ring::Corrupt> {
        let mut batch = self.consumer.begin()?;
        let dropped = batch.dropped_total();
        let mut outgoing = Batch::new(self.next_sequence);
        if dropped > self.dropped_told {
            self.dropped_told = dropped;
            outgoing.push_overflow(None);
        }
        loop {
            let (reader, order) = (&mut self.reader, &mut self.order);
            let (mut complete, mut taken_bytes) = (false, 0);
            let taken = batch.drain(BATCH_BYTES, |bytes| {
                taken_bytes += bytes.len();
                match Kind::of(bytes) {
                    Some(Kind::Event | Kind::TooLarge) if order.hold(bytes) => {}
                    Some(Kind::Event | Kind::TooLarge) | None => outgoing.push_record(bytes),
                    Some(_) => {
                        if let Ok(record) = record::decode(bytes) {
                            complete |= reader.take(record);
                        }
                    }
                }
            })?;
            self.pace.took(taken_bytes);
            self.next_sequence = outgoing.next_sequence();
            if let (Some(gateway), false) = (&self.gateway, outgoing.is_empty())
                && let Err(refused) = gateway.try_publish(outgoing)
            {
                self.waiting = Some(refused);
            }
            if complete {
                self.calls.take_role(self.reader.call_role(), self.reader.routines().1);
                super::publish_routes(self.gateway.as_ref(), &self.reader);
            }
            if taken == 0 || self.waiting.is_some() {
                return Ok(batch.is_before_hole());
            }
            outgoing = Batch::new(self.next_sequence);
        }
    }

    /// Hands on what was held and may leave, as far as there is room.
    fn hand_over_ordered(&mut self) {
        while self.waiting.is_none() {
            let mut outgoing = Batch::new(self.next_sequence);
            if self.order.take(BATCH_BYTES, |bytes| outgoing.push_record(bytes)) == 0 {
                return;
            }
            self.next_sequence = outgoing.next_sequence();
            if let Some(gateway) = &self.gateway {
                self.waiting = gateway.try_publish(outgoing).err();
            }
        }
    }

    /// Before anything else is taken out. `true`: nothing waits any more.
    pub(super) fn hand_over_waiting(&mut self) -> bool {
        if let (Some(batch), Some(gateway)) = (self.waiting.take(), &self.gateway) {
            self.waiting = gateway.try_publish(batch).err();
        }
        self.hand_over_ordered();
        self.waiting.is_none()
    }
}
