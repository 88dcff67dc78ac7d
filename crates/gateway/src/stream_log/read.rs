//! Reading the log: what comes next for one subscriber, and where its cursor goes.
//!
//! Not for appending or evicting, nor for writing to a socket.

use sse_proto::sse::chunk_payload;

use super::{Entry, StreamLog};
use crate::audience::{Audience, Filter};

/// Where a subscriber is: the next item it has not been sent whole, and how much of that it has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) next: u64,
    pub(crate) written: u32,
}

impl Cursor {
    /// In front of the item with this sequence.
    pub(crate) fn before(next: u64) -> Self {
        Self { next, written: 0 }
    }
}

/// How events are framed for a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// HTTP/1.1 chunks, as they lie in the log.
    Chunked,
    /// HTTP/1.0, which has no chunks: the bare events, one write each, until the connection closes.
    Bare,
}

/// What comes next for a subscriber.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Run<'a> {
    /// Nothing; from here on it is live.
    CaughtUp(Cursor),
    /// What would come next is no longer in the window.
    FellOut,
    /// These bytes. `from` is where they begin, `end` where the cursor stands when all are written.
    Bytes { bytes: &'a [u8], from: Cursor, end: Cursor },
}

impl StreamLog {
    /// The longest run that can be written at once.
    pub(crate) fn run(&self, mut cursor: Cursor, filter: Option<&Filter>, framing: Framing) -> Run<'_> {
        loop {
            if cursor.next < self.base {
                return Run::FellOut;
            }
            let Some(entry) = self.entry(cursor.next) else {
                return Run::CaughtUp(cursor);
            };
            let Some(segment) = self.segment(entry.segment) else {
                return Run::FellOut;
            };
            let (end, bytes) = match (filter, framing) {
                (None, Framing::Chunked) => {
                    (self.segment_end(entry.segment), &segment.buffer[entry.offset as usize..])
                }
                _ if entry.len == 0 || !self.admits(filter, entry, cursor.next) => (cursor.next + 1, &[][..]),
                (_, Framing::Bare) => (
                    cursor.next + 1,
                    chunk_payload(&segment.buffer[entry.offset as usize..][..entry.len as usize]),
                ),
                (Some(_), Framing::Chunked) => {
                    let (end, len) = self.admitted_run(filter, cursor.next, entry);
                    (end, &segment.buffer[entry.offset as usize..][..len])
                }
            };
            let bytes = bytes.get(cursor.written as usize..).unwrap_or(&[]);
            let end = Cursor::before(end);
            if bytes.is_empty() {
                cursor = end;
                continue;
            }
            return Run::Bytes { bytes, from: cursor, end };
        }
    }

    /// Where the cursor stands when `n` of the bytes of a run were written, fewer than all.
    pub(crate) fn advance(&self, from: Cursor, n: usize, framing: Framing) -> Cursor {
        let written = from.written + n as u32;
        if framing == Framing::Bare {
            return Cursor { next: from.next, written };
        }
        let Some(first) = self.entry(from.next) else {
            return from;
        };
        let target = first.offset + written;
        // The last item that begins at or before the target: of several at one place the others have no bytes.
        let (mut low, mut high) = (from.next, self.segment_end(first.segment));
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.entry(middle) {
                Some(entry) if entry.offset <= target => low = middle,
                _ => high = middle,
            }
        }
        let offset = self.entry(low).map_or(target, |entry| entry.offset);
        Cursor { next: low, written: target - offset }
    }

    /// What is left of the item in whose middle the cursor stands.
    pub(crate) fn rest(&self, cursor: Cursor, framing: Framing) -> &[u8] {
        let whole = self.entry(cursor.next).and_then(|entry| {
            self.segment(entry.segment)?
                .buffer
                .get(entry.offset as usize..(entry.offset + entry.len) as usize)
        });
        let whole = whole.unwrap_or(&[]);
        let whole = if framing == Framing::Bare { chunk_payload(whole) } else { whole };
        whole.get(cursor.written as usize..).unwrap_or(&[])
    }

    /// How many events with bytes lie between two positions.
    pub(crate) fn events_between(&self, from: u64, to: u64) -> u64 {
        let ordinal = |sequence| self.entry(sequence).map_or(self.ordinal, |entry| entry.ordinal);
        u64::from(ordinal(to).wrapping_sub(ordinal(from)))
    }

    fn admits(&self, filter: Option<&Filter>, entry: &Entry, sequence: u64) -> bool {
        let Some(filter) = filter else {
            return entry.audience != Audience::Nobody;
        };
        let execution_id = if entry.has_execution_id { self.execution_id(sequence) } else { None };
        filter.admits(entry.audience, execution_id)
    }

    fn execution_id(&self, sequence: u64) -> Option<&str> {
        let at = self.execution_ids.binary_search_by_key(&sequence, |(sequence, _)| *sequence).ok()?;
        self.execution_ids.get(at).map(|(_, id)| &**id)
    }

    /// From an item that is admitted: the first sequence behind the run of admitted items in its segment, and the
    /// bytes of the run.
    fn admitted_run(&self, filter: Option<&Filter>, first: u64, entry: &Entry) -> (u64, usize) {
        let mut sequence = first + 1;
        let mut len = entry.len as usize;
        while let Some(next) = self.entry(sequence) {
            let admitted = next.len == 0 || self.admits(filter, next, sequence);
            if next.segment != entry.segment || !admitted {
                break;
            }
            len += next.len as usize;
            sequence += 1;
        }
        (sequence, len)
    }
}
