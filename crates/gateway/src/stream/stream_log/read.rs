//! Reading the log: what comes next for one subscriber, and where its cursor goes.
//!
//! Not for appending or evicting, nor for writing to a socket.

use sse_proto::sse::chunk_payload;
use sse_proto::word::Topic;

use super::{Entry, StreamLog, What};
use crate::stream::audience::Recipient;
use crate::stream::posting::Member;

/// Look-ups for one subscriber before others get their turn, if everything found turns out to be for somebody
/// else: well below a millisecond.
const MAX_LOOKUPS: usize = 4096;

/// No item has this sequence.
const NONE: u64 = u64::MAX;

/// Where a subscriber is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Everything before this item was sent, or is not for it.
    pub(crate) next: u64,
    /// Bytes of the item `next` that were sent. 0 unless that item is for this subscriber.
    pub(crate) written: u32,
    /// No private item for this subscriber lies in `next..private`.
    private: u64,
}

impl Cursor {
    /// Just before the item with this sequence.
    pub(crate) fn before(next: u64) -> Self {
        Self { next, written: 0, private: next }
    }

    /// Just after the item that it points at.
    pub(crate) fn behind(self) -> Self {
        Self { next: self.next + 1, written: 0, ..self }
    }

    /// Where a subscriber stands that had got everything before the item `first`. No later item is taken to
    /// be in one of its lists until [`Cursor::expect`] says so.
    pub(crate) fn refreshed(self, first: u64) -> Self {
        Self { next: self.next.max(first), written: 0, private: NONE }
    }

    /// Takes note of an item outside the public lane that may be for this subscriber.
    pub(crate) fn expect(&mut self, sequence: u64) {
        self.private = self.private.min(sequence);
    }
}

/// How events are framed for a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// HTTP/1.1 chunks, as they lie in the log.
    Chunked,
    /// HTTP/1.0, which has no chunks: the bare events, until the connection closes.
    Bare,
}

/// What comes next for a subscriber.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Run<'a> {
    /// Nothing: the subscriber is live from here on.
    CaughtUp(Cursor),
    /// What would come next is no longer in the window.
    FellOut,
    /// Nothing up to here; the search goes on in another turn.
    Paused(Cursor),
    /// These bytes. `from` is where they begin, `end` where the cursor stands when all are written.
    Bytes { bytes: &'a [u8], from: Cursor, end: Cursor },
}

impl StreamLog {
    /// The longest run that lies in one piece.
    pub(crate) fn run(&self, cursor: Cursor, member: &Member, framing: Framing) -> Run<'_> {
        self.run_before(cursor, member, framing, u64::MAX)
    }

    /// The same of what lies before the item `stop`, which is at or after the cursor: there the subscriber
    /// has caught up.
    pub(crate) fn run_before(
        &self,
        mut cursor: Cursor,
        member: &Member,
        framing: Framing,
        stop: u64,
    ) -> Run<'_> {
        if cursor.next < self.base {
            return Run::FellOut;
        }
        let head = self.head().min(stop - 1);
        let mut complete = true;
        cursor.private = cursor.private.max(cursor.next);
        if cursor.private <= head {
            (cursor.private, complete) = self.next_private(cursor.private, member);
        }
        // Up to here only the public lane has something for it.
        let limit = cursor.private.min(head + 1);
        if member.recipient.takes_public()
            && let Some(next) = self.next_public(cursor.next).filter(|next| *next < limit)
        {
            return self.public_run(Cursor { next, ..cursor }, limit, framing);
        }
        if cursor.private > head {
            return Run::CaughtUp(Cursor { next: cursor.next.max(head + 1), written: 0, ..cursor });
        }
        let at = Cursor { written: if cursor.private == cursor.next { cursor.written } else { 0 }, ..cursor };
        let at = Cursor { next: cursor.private, ..at };
        if !complete {
            return Run::Paused(at);
        }
        Run::Bytes { bytes: self.rest(at, framing), from: at, end: Cursor::before(at.next + 1) }
    }

    /// Where the cursor stands after `n` bytes of a run, fewer than all of them.
    pub(crate) fn advance(&self, from: Cursor, n: usize, framing: Framing) -> Cursor {
        let written = from.written + n as u32;
        let within = Cursor { written, ..from };
        let Some(first) = self.entry(from.next).filter(|_| framing == Framing::Chunked) else {
            return within;
        };
        if first.len == 0 {
            return within;
        }
        let target = first.offset + written;
        // The last item that begins at or before the target: if several begin there, all but the last have no
        // bytes.
        let (mut low, mut high) = (from.next, self.segment_end(first.segment));
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.entry(middle) {
                Some(entry) if entry.offset <= target => low = middle,
                _ => high = middle,
            }
        }
        let offset = self.entry(low).map_or(target, |entry| entry.offset);
        Cursor { next: low, written: target - offset, ..from }
    }

    /// What is left of the item that the cursor points at.
    pub(crate) fn rest(&self, cursor: Cursor, framing: Framing) -> &[u8] {
        let whole = self.entry(cursor.next).map_or(&[][..], |entry| self.bytes_of(entry));
        let whole = if framing == Framing::Bare { chunk_payload(whole) } else { whole };
        whole.get(cursor.written as usize..).unwrap_or(&[])
    }

    /// How many events were sent whole when the cursor went from the beginning of a run to a place in it.
    pub(crate) fn events_between(&self, from: Cursor, to: Cursor) -> u64 {
        let Some(first) = self.entry(from.next) else { return 0 };
        if let What::Private(_) = first.what {
            return u64::from(to.next > from.next);
        }
        let ordinal = self.entry(to.next).map_or(self.ordinal, |entry| entry.ordinal);
        u64::from(ordinal.wrapping_sub(first.ordinal))
    }

    /// Whether an item is for a subscriber.
    pub(crate) fn concerns(&self, sequence: u64, member: &Member) -> bool {
        let is_public = |entry: &Entry| {
            entry.len > 0 && matches!(entry.what, What::Public | What::Everybody | What::OfCall(_))
        };
        let takes_it = member.recipient.takes_public() && self.entry(sequence).is_some_and(is_public);
        takes_it || self.admits(sequence, member)
    }

    /// Whether an item that is in one of a subscriber's lists is for it.
    pub(crate) fn admits(&self, sequence: u64, member: &Member) -> bool {
        match self.entry(sequence).map(|entry| entry.what) {
            Some(What::Everybody) => !member.recipient.takes_public(),
            // Whatever is in its list is of its call, and whatever is in the public lane is for everybody.
            Some(What::OfCall(_)) => member.recipient.call.is_some(),
            Some(What::Private(number)) => {
                self.private(number).is_some_and(|private| private.audience.admits(&member.recipient))
            }
            _ => false,
        }
    }

    /// Whether an item is for such a subscriber, be it in a list or not.
    pub(crate) fn is_for(&self, sequence: u64, recipient: &Recipient) -> bool {
        match self.entry(sequence).map(|entry| entry.what) {
            Some(What::Everybody) => true,
            Some(What::Public | What::OfCall(_)) => recipient.takes_public(),
            Some(What::Private(number)) => {
                self.private(number).is_some_and(|private| private.audience.admits(recipient))
            }
            _ => false,
        }
    }

    /// Whether an item would be for such a subscriber if its topics were others.
    pub(crate) fn is_for_some_topic(&self, sequence: u64, recipient: &Recipient) -> bool {
        match self.entry(sequence).map(|entry| entry.what) {
            Some(What::Public | What::OfCall(_)) => true,
            Some(What::Private(number)) => self.private(number).is_some_and(|private| {
                let topic = private.audience.topic.as_deref().and_then(|topic| Topic::parse(topic).ok());
                let topics = topic.into_iter().collect();
                private.audience.admits(&Recipient { topics, ..recipient.clone() })
            }),
            _ => false,
        }
    }

    fn bytes_of(&self, entry: &Entry) -> &[u8] {
        match entry.what {
            What::Private(number) => self
                .private(number)
                .map_or(&[], |private| self.private.bytes(private.segment, private.offset, private.len)),
            _ => self.public.bytes(entry.segment, entry.offset, entry.len),
        }
    }

    /// The first item at or after `from` that is for a subscriber and not in the public lane ([`NONE`] if
    /// there is none), and true; or how far the search has come, and false.
    fn next_private(&self, from: u64, member: &Member) -> (u64, bool) {
        let mut from = from;
        for _ in 0..(MAX_LOOKUPS / member.lists().max(1)).max(16) {
            match self.postings.first_event(member, from) {
                None => return (NONE, true),
                Some(sequence) if self.admits(sequence, member) => return (sequence, true),
                Some(sequence) => from = sequence + 1,
            }
        }
        (from, false)
    }

    /// The first item of the public lane at or after `from`.
    fn next_public(&self, from: u64) -> Option<u64> {
        let entry = self.entry(from)?;
        if entry.len > 0 {
            return Some(from);
        }
        if entry.ordinal == self.ordinal {
            return None;
        }
        // Items before it have its ordinal, items after it have a higher one.
        let (mut low, mut high) = (from, self.head() + 1);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.entry(middle) {
                Some(other) if other.ordinal == entry.ordinal => low = middle,
                _ => high = middle,
            }
        }
        Some(low)
    }

    /// From an item of the public lane up to `limit`, or to the end of the segment, or of the item if items
    /// are framed one by one.
    fn public_run(&self, from: Cursor, limit: u64, framing: Framing) -> Run<'_> {
        let Some(entry) = self.entry(from.next) else { return Run::CaughtUp(from) };
        if framing == Framing::Bare {
            let end = Cursor { next: from.next + 1, written: 0, ..from };
            return Run::Bytes { bytes: self.rest(from, framing), from, end };
        }
        let Some(segment) = self.public.segment(entry.segment) else { return Run::FellOut };
        let segment_end = self.segment_end(entry.segment);
        let (end, end_offset) = match self.entry(limit) {
            Some(behind) if limit < segment_end => (limit, behind.offset as usize),
            _ => (limit.min(segment_end), segment.buffer.len()),
        };
        let begin = entry.offset as usize + from.written as usize;
        let bytes = segment.buffer.get(begin..end_offset).unwrap_or(&[]);
        Run::Bytes { bytes, from, end: Cursor { next: end, written: 0, ..from } }
    }

    /// The first sequence after a segment of the public lane.
    fn segment_end(&self, number: u32) -> u64 {
        self.public.segment_end(number).unwrap_or(self.next_sequence())
    }
}
