//! The events of a transaction that wait for its commit, one after the other in one piece of memory.
//!
//! With `sse.durability = wal` each stands after its length: the piece is then the body that the log gets
//! (`sse_proto::log_record`), so that nothing has to be copied or allocated when it is written.
//!
//! Not for when that is (`entry/xact.rs`, `wal/write.rs`).

use pgrx::pg_sys;
use sse_proto::log_record::LENGTH_BYTES;
use sse_proto::place::Place;
use sse_proto::record::{self, PLACE_BYTES};
use sse_ring::Need;

use super::{clock, wal};

/// Memory that is kept for the next transaction; more is given back.
const KEPT_BYTES: usize = 64 * 1024;
const KEPT_ENTRIES: usize = 1024;

/// The events of the running transaction, one after the other.
pub(crate) struct Pending {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// With `sse.durability = wal`: how many of the bytes are in the log.
    written: usize,
    /// With `sse.durability = wal`: a record that the log does not get, for this server's ring alone.
    local: Vec<u8>,
    /// Room for it with its place.
    placed: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Entry {
    subtransaction: pg_sys::SubTransactionId,
    start: usize,
    /// The limit was passed here: nothing is kept from here on, and the transaction cannot commit.
    beyond_limit: bool,
}

/// This backend has no memory for the event.
#[derive(Debug)]
pub(crate) struct OutOfMemory;

impl Pending {
    pub(crate) const fn new() -> Self {
        Self { bytes: Vec::new(), entries: Vec::new(), written: 0, local: Vec::new(), placed: Vec::new() }
    }

    /// Keeps one record. `most_bytes` counts the records and what is noted of each.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing is kept then.
    pub(crate) fn keep(
        &mut self,
        subtransaction: pg_sys::SubTransactionId,
        record: &[u8],
        most_bytes: usize,
    ) -> Result<(), OutOfMemory> {
        if self.is_beyond_limit() {
            return Ok(());
        }
        let start = self.bytes.len();
        let entries_bytes = (self.entries.len() + 1) * size_of::<Entry>();
        let front = front_bytes();
        let beyond_limit = start + front + record.len() + entries_bytes > most_bytes;
        self.entries.try_reserve(1).map_err(|_| OutOfMemory)?;
        if !beyond_limit {
            self.bytes.try_reserve(front + record.len()).map_err(|_| OutOfMemory)?;
            if front == LENGTH_BYTES {
                // A record has less than nearly half of the ring, which has a gigabyte at most.
                self.bytes.extend_from_slice(&(record.len() as u32).to_le_bytes());
            }
            self.bytes.extend_from_slice(record);
        }
        self.entries.push(Entry { subtransaction, start, beyond_limit });
        Ok(())
    }

    /// Keeps a record that the log does not get; the one before it is forgotten.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing is kept then.
    pub(crate) fn keep_local(&mut self, record: &[u8]) -> Result<(), OutOfMemory> {
        self.local.clear();
        self.placed.clear();
        self.placed.try_reserve(PLACE_BYTES + record.len()).map_err(|_| OutOfMemory)?;
        self.local.try_reserve(record.len()).map_err(|_| OutOfMemory)?;
        self.local.extend_from_slice(record);
        Ok(())
    }

    /// Forgets everything from the first event of the given subtransaction on. Subtransactions end last in,
    /// first out, and ids grow. So what it and its children raised is at the end, and what was raised before
    /// has smaller ids. The cost is that of the events forgotten: thousands of savepoints may roll back one
    /// by one.
    pub(crate) fn roll_back(&mut self, subtransaction: pg_sys::SubTransactionId) {
        while let Some(entry) = self.entries.pop_if(|entry| entry.subtransaction >= subtransaction) {
            self.bytes.truncate(entry.start);
        }
    }

    /// Writes the ticket, the xid and the time of the commit into each record that the log does not have yet.
    /// Allocates nothing, cannot fail.
    pub(crate) fn stamp(&mut self, ticket: u64, xid: u64) {
        let now = clock::monotonic_nanoseconds();
        for entry in self.entries.iter().filter(|entry| entry.start >= self.written) {
            if let Some(record) = self.bytes.get_mut(entry.start + front_bytes()..) {
                record::set_ticket(record, ticket);
                record::set_xid(record, xid);
                record::set_raised_at(record, now);
            }
        }
    }

    /// Forgets everything, and gives back the memory that the next transaction is unlikely to need. Freeing
    /// cannot fail; nothing is allocated.
    pub(crate) fn clear(&mut self) {
        if self.bytes.capacity() > KEPT_BYTES || self.entries.capacity() > KEPT_ENTRIES {
            *self = Self::new();
            return;
        }
        self.bytes.clear();
        self.entries.clear();
        self.written = 0;
        self.local.clear();
    }

    /// As many of the unwritten bytes are in the log now.
    pub(crate) fn set_written(&mut self, bytes: usize) {
        self.written = self.bytes.len().min(self.written.saturating_add(bytes));
    }

    /// What the log does not have yet.
    pub(crate) fn unwritten(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// The record of [`Pending::keep_local`], if there is one, to be handed on after this position.
    /// Allocates nothing: there is room.
    pub(crate) fn local(&mut self, position: u64, xid: u64) -> Option<&[u8]> {
        if self.local.is_empty() {
            return None;
        }
        record::set_xid(&mut self.local, xid);
        self.placed.clear();
        let place = Place { timeline: 0, lsn: position, index: 0 };
        record::append_placed(place, &self.local, &mut self.placed).ok()?;
        Some(&self.placed)
    }

    /// Whether there is a record that the log does not get.
    pub(crate) fn has_local(&self) -> bool {
        !self.local.is_empty()
    }

    /// Whether no event is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many events there are.
    pub(crate) fn count(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether the limit was passed.
    pub(crate) fn is_beyond_limit(&self) -> bool {
        self.entries.last().is_some_and(|entry| entry.beyond_limit)
    }

    /// The records, in order. Allocates nothing.
    pub(crate) fn records(&self) -> impl Iterator<Item = &[u8]> {
        let ends =
            self.entries.iter().skip(1).map(|entry| entry.start).chain(std::iter::once(self.bytes.len()));
        self.entries
            .iter()
            .zip(ends)
            .filter_map(|(entry, end)| self.bytes.get(entry.start + front_bytes()..end))
    }

    /// The room that they take in the ring.
    pub(crate) fn need(&self) -> Need {
        self.records().fold(Need::default(), |need, record| need.with(record.len()))
    }
}

/// What stands in front of each record.
fn front_bytes() -> usize {
    if wal::is_on() { LENGTH_BYTES } else { 0 }
}
