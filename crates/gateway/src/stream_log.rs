//! The window of recent events, already encoded as the bytes that go to the sockets, and the only queue there is:
//! live delivery, resuming and slow subscribers are all "write from the cursor to the head".
//!
//! One per runtime thread, plain memory. Events lie in large segments one behind another, each framed as one HTTP/1.1
//! chunk, so that a run of events is one slice and one write. An index entry per item says where its event lies; the
//! entry of a sequence is found by subtraction. Items that nobody may see have an entry of no bytes and so do not cut
//! a run in two. (A later private lane is a second set of segments under the same index.)
//!
//! Appending never drops anything: what has become too much or too old is dropped by [`StreamLog::evict_to`], which
//! the slab calls after everybody who can keep up was served.
//!
//! Not for sockets or subscribers: that is `slab` and `slot`.

use std::collections::VecDeque;
use std::time::Duration;

use sse_proto::record::{Record, decode};
use sse_proto::sse::{EventId, GapReason, append_chunked_event, chunked_event_len, gap_data};

use crate::audience::Audience;
use crate::batch::{Batch, Item};

mod read;

pub(crate) use read::{Cursor, Framing, Run};

/// Bytes of a segment. Large enough that a backlog is a handful of writes, small enough that an idle gateway holds
/// little. A larger event has a segment of its own size.
const SEGMENT_BYTES: usize = 256 << 10;

/// Memory that an item takes besides its bytes; counted against the window, so that items without bytes are bounded.
const ENTRY_BYTES: usize = size_of::<Entry>();

pub(crate) struct StreamLog {
    epoch: u64,
    segments: VecDeque<Segment>,
    /// Number of `segments[0]`; numbers are never used twice (they wrap after a petabyte).
    first_segment: u32,
    index: VecDeque<Entry>,
    /// Sequence of `index[0]`; one more than the head when the index is empty.
    base: u64,
    /// Execution ids of the few items that have one, in order of their sequences.
    execution_ids: VecDeque<(u64, Box<str>)>,
    /// Events with bytes that were ever appended.
    ordinal: u32,
    /// What the window holds, entries included.
    bytes: usize,
    /// The last segment that was evicted, to be used again.
    spare: Option<Vec<u8>>,
}

struct Segment {
    /// Sequence of the first item in it.
    first_sequence: u64,
    /// Never grows beyond its first capacity.
    buffer: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Entry {
    segment: u32,
    offset: u32,
    len: u32,
    /// How many events with bytes were before this one; wraps. The difference of two is the number between.
    ordinal: u32,
    /// When it was appended, in the slab's milliseconds.
    at: u32,
    audience: Audience,
    has_execution_id: bool,
}

/// What a batch consisted of, for the counters.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) bytes: usize,
    pub(crate) undeliverable: u64,
    pub(crate) undecodable: u64,
}

impl StreamLog {
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            segments: VecDeque::new(),
            first_segment: 0,
            index: VecDeque::new(),
            base: 1,
            execution_ids: VecDeque::new(),
            ordinal: 0,
            bytes: 0,
            spare: None,
        }
    }

    /// Takes in a batch.
    ///
    /// Sequences that are here already are skipped. After a hole, which no correct caller makes, the window begins
    /// anew with an `overflow` gap, so that nothing is lost silently even then.
    pub(crate) fn append(&mut self, batch: &Batch, now: u32) -> Appended {
        let mut appended = Appended::default();
        let before = self.bytes;
        if batch.first_sequence > self.next_sequence() {
            self.evict_to(u64::MAX);
            self.base = batch.first_sequence - 1;
            self.append_gap(GapReason::Overflow, None, Audience::Everybody, None, now);
        }
        let known = self.next_sequence().saturating_sub(batch.first_sequence) as usize;
        for item in batch.items.iter().skip(known) {
            match item {
                Item::Overflow { missed } => {
                    self.append_gap(GapReason::Overflow, *missed, Audience::Everybody, None, now);
                }
                Item::Record(range) => match batch.bytes.get(range.clone()).map(decode) {
                    Some(Ok(record)) => self.append_record(&record, now, &mut appended),
                    Some(Err(_)) | None => {
                        appended.undecodable += 1;
                        self.append_gap(GapReason::Overflow, Some(1), Audience::Everybody, None, now);
                    }
                },
            }
        }
        appended.bytes = self.bytes.saturating_sub(before);
        appended
    }

    /// Drops everything before `sequence`. Nobody may stand in the middle of an item that is dropped
    /// ([`StreamLog::rest`]).
    pub(crate) fn evict_to(&mut self, sequence: u64) {
        while self.base < sequence {
            let Some(entry) = self.index.pop_front() else { break };
            self.bytes -= entry.len as usize + ENTRY_BYTES;
            if entry.has_execution_id
                && let Some((_, id)) = self.execution_ids.pop_front()
            {
                self.bytes -= id.len();
            }
            self.base += 1;
        }
        let first = self.index.front().map(|entry| entry.segment);
        while !self.segments.is_empty() && first != Some(self.first_segment) {
            self.first_segment = self.first_segment.wrapping_add(1);
            if let Some(mut segment) = self.segments.pop_front()
                && segment.buffer.capacity() == SEGMENT_BYTES
            {
                segment.buffer.clear();
                self.spare = Some(segment.buffer);
            }
        }
    }

    /// The sequence before which everything is too much or too old.
    pub(crate) fn eviction(&self, now: u32, window_size: usize, window_age: Duration) -> u64 {
        // Times wrap after 49 days; ages are compared up to half of that.
        let window_age = window_age.as_millis().min(1 << 31) as u32;
        let mut bytes = self.bytes;
        let mut sequence = self.base;
        for entry in &self.index {
            if bytes <= window_size && now.wrapping_sub(entry.at) <= window_age {
                break;
            }
            bytes = bytes.saturating_sub(entry.len as usize + ENTRY_BYTES);
            sequence += 1;
        }
        sequence
    }

    /// Sequence of the newest item, 0 before the first.
    pub(crate) fn head(&self) -> u64 {
        self.next_sequence() - 1
    }

    /// Sequence of the oldest item that is still here; one more than the head when none is.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn id(&self, sequence: u64) -> EventId {
        EventId { epoch: self.epoch, sequence }
    }

    fn append_record(&mut self, record: &Record<'_>, now: u32, appended: &mut Appended) {
        match record {
            Record::Event { envelope, data } => {
                let audience = Audience::of(envelope);
                if audience == Audience::Nobody {
                    appended.undeliverable += 1;
                    return self.append_nothing(now);
                }
                self.append_encoded(envelope.event, data, audience, envelope.execution_id, now);
            }
            Record::TooLarge { envelope } => match Audience::of(envelope) {
                Audience::Nobody => {
                    appended.undeliverable += 1;
                    self.append_nothing(now);
                }
                audience => {
                    self.append_gap(GapReason::TooLarge, Some(1), audience, envelope.execution_id, now);
                }
            },
            // Part of the catalog, not of the stream.
            _ => self.append_nothing(now),
        }
    }

    fn append_gap(
        &mut self,
        reason: GapReason,
        missed: Option<u64>,
        audience: Audience,
        execution_id: Option<&str>,
        now: u32,
    ) {
        self.append_encoded(Some("sse.gap"), &gap_data(reason, missed), audience, execution_id, now);
    }

    fn append_encoded(
        &mut self,
        event: Option<&str>,
        data: &str,
        audience: Audience,
        execution_id: Option<&str>,
        now: u32,
    ) {
        let sequence = self.next_sequence();
        let id = self.id(sequence);
        let len = chunked_event_len(id, event, data);
        let execution_id = execution_id.filter(|id| !id.is_empty());
        if let Some(id) = execution_id {
            self.execution_ids.push_back((sequence, Box::from(id)));
            self.bytes += id.len();
        }
        let number = self.make_room(len, sequence);
        let Some(segment) = self.segments.back_mut() else { return };
        let offset = segment.buffer.len() as u32;
        append_chunked_event(&mut segment.buffer, id, event, data);
        let len = segment.buffer.len() as u32 - offset;
        self.push(Entry {
            segment: number,
            offset,
            len,
            ordinal: self.ordinal,
            at: now,
            audience,
            has_execution_id: execution_id.is_some(),
        });
        self.ordinal = self.ordinal.wrapping_add(1);
    }

    fn append_nothing(&mut self, now: u32) {
        let segment = self.make_room(0, self.next_sequence());
        let offset = self.segments.back().map_or(0, |segment| segment.buffer.len() as u32);
        let ordinal = self.ordinal;
        let audience = Audience::Nobody;
        self.push(Entry { segment, offset, len: 0, ordinal, at: now, audience, has_execution_id: false });
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += entry.len as usize + ENTRY_BYTES;
        self.index.push_back(entry);
    }

    /// Makes the last segment one with room for `len` bytes, and returns its number.
    fn make_room(&mut self, len: usize, sequence: u64) -> u32 {
        let fits = |segment: &Segment| segment.buffer.capacity() - segment.buffer.len() >= len;
        if !self.segments.back().is_some_and(fits) {
            let spare = if len <= SEGMENT_BYTES { self.spare.take() } else { None };
            let buffer = spare.unwrap_or_else(|| Vec::with_capacity(len.max(SEGMENT_BYTES)));
            self.segments.push_back(Segment { first_sequence: sequence, buffer });
        }
        self.first_segment.wrapping_add(self.segments.len() as u32 - 1)
    }

    fn next_sequence(&self) -> u64 {
        self.base + self.index.len() as u64
    }

    fn entry(&self, sequence: u64) -> Option<&Entry> {
        self.index.get(usize::try_from(sequence.checked_sub(self.base)?).ok()?)
    }

    fn segment(&self, number: u32) -> Option<&Segment> {
        self.segments.get(number.wrapping_sub(self.first_segment) as usize)
    }

    /// The first sequence behind a segment.
    fn segment_end(&self, number: u32) -> u64 {
        self.segment(number.wrapping_add(1)).map_or(self.next_sequence(), |segment| segment.first_sequence)
    }
}

#[cfg(test)]
mod tests;
