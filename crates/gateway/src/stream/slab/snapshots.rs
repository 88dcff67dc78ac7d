//! Snapshots of this thread's streams: one is asked for where a stream needs it, and a run's result becomes
//! the bytes of an event, and the place from which the streams go on (C7.6).
//!
//! A run ends in the order of events as well ([`Batch::ended_snapshots`]): nothing that it saw comes after
//! that. So its result waits a moment for its end. Then it is known which events after its position it has
//! seen, if any; usually none, and the id of the snapshot is an ordinary one.
//!
//! Not for running them: that is `call/snapshot`.

use std::cell::Cell;
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sse_proto::admission::may_have_snapshot;
use sse_proto::sse::{
    EventId, GapReason, append_chunk, append_chunked_event, append_gap, chunk_payload, chunked_event_len,
};

use super::Slab;
use crate::between::batch::Batch;
use crate::between::snapshots::{Finished, RunResult, Wish};
use crate::room::{ANSWER_BYTES, held, may_grow};
use crate::settings::Settings;
use crate::stats::Stats;
use crate::stream::overlap::Overlap;
use crate::stream::parcel::{Parcel, SlotAddress, Then};
use crate::stream::slot::Slot;
use crate::stream::stream_log::{Framing, MAX_ASKED, StreamLog};

/// How long a result waits for the end of its run, in milliseconds. Usually the end is there before; it is
/// late while a process is stopped whose transaction the run saw, and lost if the ring was full.
const MAX_WAIT: u32 = 1000;

/// Ends of runs that are remembered until their results come: results take milliseconds longer.
const MAX_ENDS: usize = 1024;

/// Open overlaps that may be there although no stream goes by them: as many again as are needed, or so many.
/// An end that closes them may not come, or not for long.
const MAX_UNUSED: usize = 1024;

/// For how long a stream waits for a run to begin when calls may take any time. Beyond it the stream goes on
/// without: it gets no events while it waits.
const LONGEST: Duration = Duration::from_secs(3600);

/// What a slab knows of snapshots.
#[derive(Default)]
pub(super) struct Snapshots {
    /// The calls of runs that have ended, and the last item before that.
    ends: VecDeque<(u64, u64)>,
    /// Results that wait for the end of their run, and since when.
    results: Vec<(Finished, u32)>,
    /// What streams go by whose run has not ended yet in the order of events, and some by which none goes any
    /// more.
    open: Vec<Rc<Overlap>>,
    /// With so many it is looked at which of them are still needed.
    look_at: usize,
}

impl Snapshots {
    /// Takes in the ends of runs.
    pub(super) fn take(&mut self, batch: &Batch) {
        for &(call, last) in &batch.ended_snapshots {
            self.open.retain(|overlap| {
                let is_closed = overlap.is_closed_by(call);
                if is_closed {
                    overlap.last.set(last);
                }
                !is_closed && Rc::strong_count(overlap) > 1
            });
            if self.ends.len() >= MAX_ENDS {
                self.ends.pop_front();
            }
            self.ends.push_back((call, last));
        }
    }

    /// Keeps this until its run has ended in the order of events.
    fn keep(&mut self, overlap: Rc<Overlap>) {
        if self.open.len() >= self.look_at.max(MAX_UNUSED) {
            self.open.retain(|overlap| Rc::strong_count(overlap) > 1);
            self.look_at = 2 * self.open.len();
        }
        self.open.push(overlap);
    }

    fn end_of(&self, state: &RunResult) -> Option<u64> {
        let own = self.ends.iter().rev().find(|(call, _)| *call == state.call);
        let end = own.or_else(|| self.ends.iter().find(|(call, _)| *call > state.ended_before));
        end.map(|(_, last)| *last)
    }
}

/// From where the streams go on that get a result.
struct Place {
    /// The snapshot has seen everything up to this item.
    from: u64,
    overlap: Option<Rc<Overlap>>,
}

impl Place {
    /// For streams that go on from a place before it: the cut decides of each item.
    fn overlap_before(&self, state: &RunResult, end: Option<u64>) -> Rc<Overlap> {
        let last = self.overlap.as_ref().map_or(self.from, |overlap| overlap.last.get().max(self.from));
        let last = if end.is_none() { u64::MAX } else { last };
        let (cut, last) = (state.cut.clone(), Cell::new(last));
        let RunResult { call, ended_before, .. } = *state;
        Rc::new(Overlap { cut, call, ended_before, last, position: self.from })
    }
}

impl Slab {
    /// Asks for the snapshot that a stream needs.
    pub(super) fn ask(&mut self, index: usize) {
        let address = self.address_of(index);
        let Some(slot) = &mut self.slots[index] else { return };
        let subscription = &slot.subscription;
        let routes = self.shared.routes.present();
        let route = routes.as_ref().and_then(|routes| routes.find(&subscription.ground.path));
        let identity = subscription.identity();
        let snapshot = match route.map(|route| (&route.snapshot, &route.access)) {
            // The stream has none any more, or none for this subscriber.
            Some((None, _)) => return self.go_on(address),
            Some((Some(snapshot), access)) if !may_have_snapshot(snapshot, access, identity) => {
                return self.go_on(address);
            }
            Some((Some(snapshot), _)) if !snapshot.is_personal() || subscription.asker.is_some() => {
                Arc::clone(snapshot)
            }
            // It cannot be run.
            _ => {
                if let Some(parcel) = self.none_for(address) {
                    self.leave(address, parcel);
                }
                return;
            }
        };
        let wish = Wish {
            path: subscription.ground.path.clone(),
            asker: subscription.asker.clone().filter(|_| snapshot.is_personal()),
            address: slot.address(),
            waiter: (self.number, address.to_bits()),
            behind: slot.reached(),
            deadline: Instant::now() + patience(&self.settings),
            snapshot: Arc::clone(&snapshot),
        };
        slot.awaits(snapshot);
        self.shared.snapshots.ask(wish);
    }

    /// Takes what has ended, and hands out what need not wait.
    pub(super) fn take_snapshots(&mut self) {
        let now = self.now;
        let taken = self.shared.snapshots.take(self.number);
        self.snapshots.results.extend(taken.into_iter().map(|finished| (finished, now)));
        let results = std::mem::take(&mut self.snapshots.results);
        for (finished, since) in results {
            let Some(state) = &finished.state else {
                finished.waiters.iter().for_each(|waiter| self.say_none(SlotAddress::from_bits(*waiter)));
                continue;
            };
            let end = self.snapshots.end_of(state);
            if end.is_none() && now.wrapping_sub(since) < MAX_WAIT {
                self.snapshots.results.push((finished, since));
                continue;
            }
            let state = Arc::clone(state);
            self.hand_out(&state, end, &finished.waiters);
        }
    }

    // Long because it is one list: what may have changed for a stream while it waited for the run.
    pub(super) fn hand_out(&mut self, state: &RunResult, end: Option<u64>, waiters: &[u64]) {
        if state.position + 1 < self.log.base() {
            // It took longer than the window reaches back.
            return waiters.iter().for_each(|waiter| self.say_none(SlotAddress::from_bits(*waiter)));
        }
        let place = place(state, end, &self.log);
        if let Some(overlap) = place.overlap.as_ref().filter(|_| end.is_none()) {
            self.snapshots.keep(Rc::clone(overlap));
        }
        let unseen = self.unseen(&place, waiters);
        let mut before = None;
        let routes = self.shared.routes.present();
        // Streams of different routines may have different names for it.
        let mut encoded: Vec<(Option<String>, Framing, u64, Option<Bytes>)> = Vec::new();
        for waiter in waiters {
            let address = SlotAddress::from_bits(*waiter);
            let Some(Some(slot)) = self.slot_at(address).map(|index| &mut self.slots[index]) else {
                continue;
            };
            let Some(snapshot) = slot.take_awaited() else { continue };
            // Who may have it may have changed while it waited for its run.
            let subscription = &slot.subscription;
            let Some(route) = routes.as_ref().and_then(|routes| routes.find(&subscription.ground.path))
            else {
                // Nobody can say any more who may have it.
                self.say_none(address);
                continue;
            };
            let identity = subscription.identity();
            let now = route.snapshot.as_ref();
            let Some(now) = now.filter(|now| may_have_snapshot(now, &route.access, identity)) else {
                self.go_on(address);
                continue;
            };
            if now.is_personal() != snapshot.is_personal() {
                // What is for all was run, and now each has its own, or the reverse.
                self.ask(address.index as usize);
                continue;
            }
            let (event, framing) = (snapshot.event.as_ref().map(|event| event.as_str()), slot.framing());
            let reached = slot.reached();
            let (from, overlap) = match self.first_unseen(address.index as usize, &unseen, reached) {
                None => (place.from, place.overlap.clone()),
                Some(item) => {
                    let overlap = before.get_or_insert_with(|| place.overlap_before(state, end));
                    (item - 1, Some(Rc::clone(overlap)))
                }
            };
            let id = self.log.id(from);
            let id = if overlap.is_some() { id.marked() } else { id };
            let known = encoded
                .iter()
                .find(|(name, of, at, _)| (name.as_deref(), *of, *at) == (event, framing, from));
            let bytes = match known {
                Some((.., bytes)) => bytes.clone(),
                None => {
                    let bytes = self.encode(state, id, event, framing);
                    encoded.push((event.map(str::to_owned), framing, from, bytes.clone()));
                    bytes
                }
            };
            match bytes {
                Some(bytes) => {
                    self.tell_of_lost(address, (reached, place.from), from);
                    let then = Then::Follow { from, overlap };
                    self.give(address, Parcel { bytes, then });
                }
                None => self.say_none(address),
            }
        }
        if let Some(overlap) = before.filter(|_| end.is_none()) {
            self.snapshots.keep(overlap);
        }
    }

    /// Before its snapshot, which goes on from the item `from`: something was lost in this part of the log
    /// while the stream waited, and perhaps an event of no transaction for it, which no snapshot shows.
    fn tell_of_lost(&mut self, address: SlotAddress, (behind, last): (u64, u64), from: u64) {
        let member = self.log.postings.member(address.index);
        let reason = match self.log.has_dropped_loose(behind) {
            true => Some(GapReason::Slow),
            false => member.and_then(|member| self.log.lost_between(behind, last, member)),
        };
        let slot = self.slot_at(address).and_then(|index| self.slots[index].as_mut());
        let (Some(reason), Some(slot)) = (reason, slot) else { return };
        let bytes = gap(slot.framing(), self.log.id(from), reason);
        slot.give(Parcel { bytes, then: Then::GoOn }, self.now);
        Stats::add(&self.shared.stats.gaps_total, 1);
    }

    /// What came while these streams waited, up to where their snapshot begins, and no snapshot can have
    /// seen: items of no transaction. Usually there are none.
    fn unseen(&self, place: &Place, waiters: &[u64]) -> Vec<u64> {
        let slots = waiters.iter().filter_map(|waiter| self.slot_at(SlotAddress::from_bits(*waiter)));
        let reached = slots.filter_map(|index| self.slots[index].as_ref()).map(Slot::reached).min();
        let first = reached.unwrap_or(place.from).saturating_add(1).max(self.log.base());
        let of_none = |item: &u64| self.log.xid(*item).is_none() && self.log.next_gap(*item) != Some(*item);
        (first..=place.from).filter(of_none).collect()
    }

    /// The first of them that is for a stream which has come to the item `reached`. Which of very many are
    /// for it is not asked: from any of them on it gets what is for it.
    fn first_unseen(&self, index: usize, unseen: &[u64], reached: u64) -> Option<u64> {
        let ahead = &unseen[unseen.partition_point(|item| *item <= reached)..];
        let member = self.log.postings.member(index as u32)?;
        let is_for =
            |(number, item): &(usize, &u64)| *number >= MAX_ASKED || self.log.concerns(**item, member);
        ahead.iter().enumerate().find(is_for).map(|(_, item)| *item)
    }

    /// `None`: there is no memory for it.
    fn encode(&self, state: &RunResult, id: EventId, event: Option<&str>, framing: Framing) -> Option<Bytes> {
        let len = chunked_event_len(id, event, &state.text);
        let mut room = self.shared.calls.answer_room(state.address);
        if !room.try_grow(len, ANSWER_BYTES) || !may_grow(len) {
            return None;
        }
        let mut bytes = Vec::new();
        append_chunked_event(&mut bytes, id, event, &state.text);
        let bytes = held(bytes, Some(room));
        Some(match framing {
            Framing::Chunked => bytes,
            Framing::Bare => bytes.slice_ref(chunk_payload(&bytes)),
        })
    }

    /// There is no snapshot for a stream: it is told so, and goes on from where it is.
    pub(super) fn say_none(&mut self, address: SlotAddress) {
        if let Some(parcel) = self.none_for(address) {
            self.give(address, parcel);
        }
    }

    fn none_for(&mut self, address: SlotAddress) -> Option<Parcel> {
        let Some(Some(slot)) = self.slot_at(address).map(|index| &mut self.slots[index]) else { return None };
        slot.take_awaited();
        let position = slot.reached();
        let from = if position + 1 < self.log.base() { self.log.head() } else { position };
        let bytes = gap(slot.framing(), self.log.id(from), GapReason::Snapshot);
        Stats::add(&self.shared.stats.gaps_total, 1);
        Some(Parcel { bytes, then: Then::Lack { from } })
    }

    /// A stream gets no snapshot, and needs to be told nothing.
    fn go_on(&mut self, address: SlotAddress) {
        self.leave(address, Parcel { bytes: Bytes::new(), then: Then::GoOn });
    }
}

/// The bytes of a gap before a snapshot, or in place of one.
fn gap(framing: Framing, id: EventId, reason: GapReason) -> Bytes {
    let (mut block, mut bytes) = (Vec::new(), Vec::new());
    append_gap(&mut block, id.marked(), reason, None);
    match framing {
        Framing::Chunked => append_chunk(&mut bytes, &block),
        Framing::Bare => bytes = block,
    }
    bytes.into()
}

/// For how long a stream waits for a worker to begin with its run.
fn patience(settings: &Settings) -> Duration {
    Some(settings.call_timeout).filter(|timeout| !timeout.is_zero()).unwrap_or(LONGEST)
}

/// From where a stream goes on with this state, when its run is known to have ended after the item `end`.
fn place(state: &RunResult, end: Option<u64>, log: &StreamLog) -> Place {
    let overlap = |last| {
        let (cut, last) = (state.cut.clone(), Cell::new(last));
        let RunResult { call, ended_before, position, .. } = *state;
        Some(Rc::new(Overlap { cut, call, ended_before, last, position }))
    };
    let Some(end) = end else { return Place { from: state.position, overlap: overlap(u64::MAX) } };
    let saw = |item: u64| {
        let xid: Option<NonZeroU64> = log.xid(item);
        state.cut.saw(xid)
    };
    let mut from = state.position;
    while from < end && saw(from + 1) {
        from += 1;
    }
    let last = (from + 1..=end).rev().find(|item| saw(*item));
    Place { from, overlap: last.and_then(overlap) }
}

#[cfg(test)]
mod tests {
    use sse_proto::call::Cut;

    use super::*;

    fn overlap() -> Rc<Overlap> {
        let (cut, last) = (Cut::new(1, 1, Vec::new()), Cell::new(u64::MAX));
        Rc::new(Overlap { cut, call: 1, ended_before: 1, last, position: 0 })
    }

    // Attack: streams with snapshots come and go while no end of a run comes.
    #[test]
    fn overlaps_by_which_no_stream_goes_any_more_are_dropped_beyond_1024() {
        for (kept, unused, left) in [(0, 1023, 1024), (0, 1024, 1), (600, 423, 1024), (600, 424, 601)] {
            let mut snapshots = Snapshots::default();
            let kept: Vec<_> = (0..kept).map(|_| overlap()).collect();
            kept.iter().for_each(|overlap| snapshots.keep(Rc::clone(overlap)));
            (0..=unused).for_each(|_| snapshots.keep(overlap()));
            assert_eq!(snapshots.open.len(), left, "{} {unused}", kept.len());
        }
        // All are needed: they are looked at again when there are twice as many.
        let mut snapshots = Snapshots::default();
        let kept: Vec<_> = (0..1500).map(|_| overlap()).collect();
        kept.iter().for_each(|overlap| snapshots.keep(Rc::clone(overlap)));
        (0..10_000).for_each(|_| snapshots.keep(overlap()));
        assert!((1500..=3000).contains(&snapshots.open.len()), "{}", snapshots.open.len());
    }

    #[test]
    fn a_stream_waits_for_a_worker_as_long_as_a_call_does_or_an_hour() {
        for (seconds, wanted) in [(0, 3600), (1, 1), (3599, 3599), (3601, 3601)] {
            let call_timeout = Duration::from_secs(seconds);
            let settings = Settings { call_timeout, ..Settings::default() };
            assert_eq!(patience(&settings), Duration::from_secs(wanted));
        }
    }
}
