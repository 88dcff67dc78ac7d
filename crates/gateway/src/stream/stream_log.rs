//! The window of recent events, already encoded as the bytes that go to the sockets, and the only queue there
//! is: live delivery, resuming and slow subscribers are all "write from the cursor to the head".
//!
//! One per runtime thread, plain memory. Events lie in two lanes under one sequence. What is for every stream
//! without topics lies in the public lane, one event after another, each framed as one HTTP/1.1 chunk, so
//! that a run of events is one slice and one write. Everything else lies in the private lane, event by event,
//! and is found through the lists it is filed under (`posting`). It interrupts only the runs of its takers,
//! for whom the lanes are merged by sequence. An index entry per item says where the item lies, or where the
//! public lane stood when the item came; the entry of a sequence is found by subtraction. What ids look like,
//! and which position one means, is known here alone ([`StreamLog::id`], [`StreamLog::find`]).
//!
//! Appending never drops anything. What is too much or too old is dropped by [`StreamLog::evict_to`], which
//! the slab calls after serving every subscriber that keeps up.
//!
//! Not for sockets or subscribers: that is `slab` and `slot`.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::time::Duration;

use sse_proto::admission::Event;
use sse_proto::place::Place;
use sse_proto::record::{Envelope, LogLoss, Record, decode};
use sse_proto::sse::{GapReason, append_chunked_event, chunked_event_len, gap_data};

use crate::between::batch::{Batch, Item};
use crate::room::may_grow;
use crate::stream::audience::{Audience, Recipient};
use crate::stream::call_ends::CallEnds;
use crate::stream::posting::{Member, Postings, TOPICAL};

mod append;
mod lane;
mod places;
mod read;

use lane::{Lane, SEGMENT_BYTES};
pub(crate) use places::Found;
use places::{PLACE_BYTES, Places};
pub(crate) use read::{Cursor, Framing, Run};

/// Memory that an item takes besides its bytes; counted against the window, so that items without bytes are
/// bounded.
const ENTRY_BYTES: usize = size_of::<Entry>();

/// Memory that an item of the private lane takes besides that.
const PRIVATE_BYTES: usize = size_of::<Private>();

/// Items whose bytes are summed one by one: some microseconds.
const MAX_SUMMED: usize = 1024;

/// Items of no transaction, and gaps, that are looked at for each stream that gets a snapshot.
pub(crate) const MAX_ASKED: usize = 256;

pub(crate) struct StreamLog {
    epoch: u64,
    public: Lane,
    private: Lane,
    index: VecDeque<Entry>,
    /// Sequence of `index[0]`; one more than the head when the index is empty.
    base: u64,
    /// The items of the private lane, in order.
    privates: VecDeque<Private>,
    /// Number of `privates[0]`; wraps.
    first_private: u32,
    /// Which streams and which items of the private lane may concern each other.
    pub(crate) postings: Postings,
    /// Events that were ever appended to the public lane.
    ordinal: u32,
    /// Sequence of the newest item that is not simply one event for every stream without topics: it is for
    /// some of them, for nobody, or a gap. 0 before the first.
    last_uncounted: u64,
    /// Sequence of the newest item that has left the window and was an event of no transaction or a gap; 0
    /// before the first.
    last_loose: u64,
    /// Is told of what calls have raised, and of their ends.
    call_ends: Rc<CallEnds>,
    /// The gaps in the window, ascending by sequence.
    gaps: VecDeque<(u64, GapReason)>,
    /// What the window holds: bytes of both lanes, entries, audiences, and numbers in lists.
    bytes: usize,
    /// Where the items are in the write-ahead log, if they come from there.
    places: Option<Box<Places>>,
}

#[derive(Clone, Copy)]
struct Entry {
    /// Where it lies in the public lane; for an item outside that lane, where the next public one will lie.
    segment: u32,
    offset: u32,
    len: u32,
    /// How many events of the public lane were before this one; wraps. The difference of two is the number
    /// between.
    ordinal: u32,
    /// When it was appended, in the slab's milliseconds.
    at: u32,
    what: What,
    /// The transaction that committed it; 0 = none.
    xid: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// For nobody.
    Nothing,
    /// In the public lane, for the streams that take it.
    Public,
    /// In the public lane, and filed for the streams that do not take it.
    Everybody,
    /// In the public lane, and filed in this list for the stream of the call that raised it.
    OfCall(u32),
    /// In the private lane, with this number.
    Private(u32),
}

struct Private {
    segment: u32,
    offset: u32,
    len: u32,
    /// Memory that it is counted with, besides its bytes and [`ENTRY_BYTES`].
    extra: u32,
    audience: Audience,
    /// What it is filed under.
    lists: Box<[u32]>,
}

/// What a batch consisted of, for the counters.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) bytes: usize,
    pub(crate) undeliverable: u64,
    pub(crate) undecodable: u64,
    /// Whether anything came into the public lane.
    pub(crate) has_public: bool,
}

/// Who may get an item.
enum For {
    Everybody,
    Audience(Audience),
}

impl StreamLog {
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            public: Lane::default(),
            private: Lane::default(),
            index: VecDeque::new(),
            base: 1,
            privates: VecDeque::new(),
            first_private: 0,
            postings: Postings::new(),
            ordinal: 0,
            last_uncounted: 0,
            last_loose: 0,
            call_ends: Rc::default(),
            gaps: VecDeque::new(),
            bytes: 0,
            places: None,
        }
    }

    /// The same, telling these of what calls have raised.
    pub(crate) fn telling(self, call_ends: Rc<CallEnds>) -> Self {
        Self { call_ends, ..self }
    }

    /// Takes in a batch.
    ///
    /// Sequences that are here already are skipped. A hole in the sequences is a caller's mistake; the window
    /// then begins anew with an `overflow` gap, so that nothing is lost silently.
    pub(crate) fn append(&mut self, batch: &Batch, now: u32) -> Appended {
        let mut appended = Appended::default();
        let (bytes, ordinal) = (self.bytes, self.ordinal);
        if let (Some(places), Some(state)) = (&mut self.places, &batch.log_state) {
            places.take_state(state);
        }
        if batch.first_sequence > self.next_sequence() {
            self.evict_to(u64::MAX);
            self.base = batch.first_sequence - 1;
            self.is_new(None);
            self.append_gap(GapReason::Overflow, None, For::Everybody, now);
        }
        let known = self.next_sequence().saturating_sub(batch.first_sequence) as usize;
        for (number, item) in batch.items.iter().enumerate().skip(known) {
            if !self.is_new(batch.place(number)) {
                self.append_nothing(now);
                continue;
            }
            match item {
                Item::Overflow { missed } => {
                    self.append_gap(GapReason::Overflow, *missed, For::Everybody, now);
                }
                Item::Lost(loss) => {
                    let reason = match loss {
                        LogLoss::Expired => GapReason::Expired,
                        LogLoss::Unreadable => GapReason::Unreadable,
                    };
                    self.append_gap(reason, None, For::Everybody, now);
                }
                Item::Record(range) => match batch.bytes.get(range.clone()).map(decode) {
                    Some(Ok(record)) => self.append_record(&record, now, &mut appended),
                    Some(Err(_)) | None => {
                        appended.undecodable += 1;
                        self.append_gap(GapReason::Overflow, Some(1), For::Everybody, now);
                    }
                },
            }
        }
        self.call_ends.reached(self.head());
        batch.ended_calls.iter().for_each(|call| self.call_ends.ended(*call));
        appended.bytes = self.bytes.saturating_sub(bytes);
        appended.has_public = self.ordinal != ordinal;
        appended
    }

    /// Drops everything before `sequence`. Nobody may stand in the middle of an item that is dropped
    /// ([`StreamLog::rest`]).
    pub(crate) fn evict_to(&mut self, sequence: u64) {
        while self.base < sequence {
            let Some(entry) = self.index.pop_front() else { break };
            self.bytes -= self.cost(&entry);
            if entry.xid == 0 && entry.what != What::Nothing {
                self.last_loose = self.base;
            }
            match entry.what {
                What::Nothing | What::Public => {}
                What::Everybody => self.postings.unfile(&[TOPICAL], self.base),
                What::OfCall(list) => self.postings.unfile(&[list], self.base),
                What::Private(_) => {
                    if let Some(private) = self.privates.pop_front() {
                        self.first_private = self.first_private.wrapping_add(1);
                        self.postings.unfile(&private.lists, self.base);
                    }
                }
            }
            self.base += 1;
            if let Some(places) = &mut self.places {
                places.evict();
            }
        }
        while self.gaps.pop_front_if(|(gap, _)| *gap < self.base).is_some() {}
        self.public.drop_before(self.index.front().map(|entry| entry.segment));
        self.private.drop_before(self.privates.front().map(|private| private.segment));
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
            bytes = bytes.saturating_sub(self.cost(entry));
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

    /// How many events a stream that has got everything up to `position` would miss if it went on after the
    /// head; `None` when that cannot be known. The audience of an item that has left the window is not known
    /// any more. So the number is known only when each item since was an event for all streams without
    /// topics, and this stream is one of them.
    pub(crate) fn missed_since(&self, position: u64, recipient: &Recipient) -> Option<u64> {
        let counts = recipient.takes_public() && position >= self.last_uncounted;
        counts.then(|| self.head().saturating_sub(position))
    }

    /// Whether anything after this item has left the window that no snapshot can show: an event of no
    /// transaction. Whom it was for is not known any more.
    pub(crate) fn has_dropped_loose(&self, position: u64) -> bool {
        position < self.last_loose
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// When the oldest item came, in the slab's milliseconds.
    pub(crate) fn oldest(&self) -> Option<u32> {
        self.index.front().map(|entry| entry.at)
    }

    /// Bytes that the newest so many items have in the window. Of very many it is estimated from the mean of
    /// all.
    pub(crate) fn bytes_of_newest(&self, items: u64) -> u64 {
        let items = usize::try_from(items).unwrap_or(usize::MAX).min(self.index.len());
        if items > MAX_SUMMED {
            return (self.bytes as u128 * items as u128 / self.index.len() as u128) as u64;
        }
        self.index.iter().rev().take(items).map(|entry| self.cost(entry) as u64).sum()
    }

    /// The lists of streams that may get an item which the walk over the public lane does not bring them.
    pub(crate) fn lists(&self, sequence: u64) -> &[u32] {
        match self.entry(sequence).map(|entry| &entry.what) {
            Some(What::Everybody) => &[TOPICAL],
            Some(What::OfCall(list)) => std::slice::from_ref(list),
            Some(What::Private(number)) => self.private(*number).map_or(&[], |private| &private.lists),
            _ => &[],
        }
    }

    /// Whether an item is for every stream that takes the public lane.
    pub(crate) fn is_public(&self, sequence: u64) -> bool {
        let what = self.entry(sequence).map(|entry| entry.what);
        matches!(what, Some(What::Public | What::Everybody | What::OfCall(_)))
    }

    /// The first gap in the window at or after `from`, whomever it is for.
    pub(crate) fn next_gap(&self, from: u64) -> Option<u64> {
        self.gaps_from(from).next().map(|(gap, _)| gap)
    }

    /// Why something was lost for this member after the item `behind`, up to the item `last`: the first
    /// reason. Of very many gaps it is not asked whom they are for.
    pub(crate) fn lost_between(&self, behind: u64, last: u64, member: &Member) -> Option<GapReason> {
        let between = self.gaps_from(behind + 1).take_while(|(gap, _)| *gap <= last).enumerate();
        let is_for = |number, gap| number >= MAX_ASKED || self.concerns(gap, member);
        between.into_iter().find(|(number, (gap, _))| is_for(*number, *gap)).map(|(_, (_, reason))| reason)
    }

    fn gaps_from(&self, from: u64) -> impl Iterator<Item = (u64, GapReason)> {
        self.gaps.range(self.gaps.partition_point(|(gap, _)| *gap < from)..).copied()
    }

    /// The transaction that committed an item of the window, if one did.
    pub(crate) fn xid(&self, sequence: u64) -> Option<NonZeroU64> {
        NonZeroU64::new(self.entry(sequence)?.xid)
    }

    /// What an item is counted with.
    fn cost(&self, entry: &Entry) -> usize {
        let besides = match entry.what {
            What::Nothing | What::Public => 0,
            What::Everybody => size_of::<u64>(),
            What::OfCall(list) => self.postings.filed_bytes(&[list]),
            What::Private(number) => {
                self.private(number).map_or(0, |private| private.len as usize + private.extra as usize)
            }
        };
        let place = if self.places.is_some() { PLACE_BYTES } else { 0 };
        entry.len as usize + ENTRY_BYTES + besides + place
    }

    /// Takes note of the place of the next item. False: the item is here already.
    fn is_new(&mut self, place: Option<Place>) -> bool {
        self.places.as_mut().is_none_or(|places| places.push(place))
    }

    fn next_sequence(&self) -> u64 {
        self.base + self.index.len() as u64
    }

    fn entry(&self, sequence: u64) -> Option<&Entry> {
        self.index.get(usize::try_from(sequence.checked_sub(self.base)?).ok()?)
    }

    fn private(&self, number: u32) -> Option<&Private> {
        self.privates.get(number.wrapping_sub(self.first_private) as usize)
    }
}

#[cfg(test)]
mod tests;
