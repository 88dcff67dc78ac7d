//! Answers to the admin port: which streams lag most, and the end of one of them.
//!
//! Some slots are looked at in a round, between other work, first all of them for how far they lag, then the
//! chosen ones for what is told of them.
//!
//! Not for who asks: `between/survey.rs`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::SystemTime;

use crossbeam_channel::Receiver;

use super::Slab;
use crate::between::survey::{EndRequest, StreamName, Survey, SurveyRequest};
use crate::stream::parcel::SlotAddress;

/// Slots that are looked at in a round: some tens of microseconds.
const SLOTS_PER_ROUND: usize = 256;

/// Streams that are described in a round. Each may have its lag counted item by item.
const DESCRIBED_PER_ROUND: usize = 16;

/// Streams that are ended in a round; the others wait for the next.
const ENDS_PER_ROUND: usize = 4;

/// How far a stream lags, since when it is there, and its address: the most interesting is the greatest.
type Rank = (u64, SystemTime, u64);

/// What one runtime thread is asked, and how far it has come.
pub(super) struct Surveyor {
    surveys: Receiver<SurveyRequest>,
    ends: Receiver<EndRequest>,
    open: Option<Open>,
}

/// A survey that is being made.
struct Open {
    request: SurveyRequest,
    /// The slot to be looked at next.
    next: usize,
    /// Of those that were looked at the greatest.
    top: BinaryHeap<Reverse<Rank>>,
    /// When all were looked at: those that are still to be described, the greatest last.
    chosen: Option<Vec<Rank>>,
    found: Survey,
}

impl Surveyor {
    pub(super) fn new((surveys, ends): (Receiver<SurveyRequest>, Receiver<EndRequest>)) -> Self {
        Self { surveys, ends, open: None }
    }

    fn begin(&mut self) -> Option<Open> {
        let request = self.surveys.try_recv().ok()?;
        let (top, found) = (BinaryHeap::new(), Survey::default());
        Some(Open { request, next: 0, top, chosen: None, found })
    }
}

impl Slab {
    /// Does some of what the admin port has asked for. Says whether there is more to do.
    pub(super) fn answer_admin(&mut self) -> bool {
        for _ in 0..ENDS_PER_ROUND {
            let Ok(EndRequest { address, answer }) = self.surveyor.ends.try_recv() else { break };
            let index = self.slot_at(SlotAddress::from_bits(address));
            if let Some(index) = index {
                self.finish(index);
            }
            // The other end may have given up waiting.
            let _ = answer.send(index.is_some());
        }
        let open = self.surveyor.open.take();
        let Some(mut open) = open.or_else(|| self.surveyor.begin()) else {
            return !self.surveyor.ends.is_empty();
        };
        match &mut open.chosen {
            None => self.rank_some(&mut open),
            Some(chosen) => {
                let from = chosen.len().saturating_sub(DESCRIBED_PER_ROUND);
                for rank in chosen.drain(from..).rev() {
                    self.describe(rank, &mut open.found);
                }
            }
        }
        if open.chosen.as_ref().is_some_and(Vec::is_empty) {
            let _ = open.request.answer.try_send(open.found);
        } else {
            self.surveyor.open = Some(open);
        }
        self.surveyor.open.is_some() || !self.surveyor.surveys.is_empty() || !self.surveyor.ends.is_empty()
    }

    /// Looks at the next slots.
    fn rank_some(&self, open: &mut Open) {
        let end = self.slots.len().min(open.next + SLOTS_PER_ROUND);
        for index in open.next..end {
            let Some(slot) = &self.slots[index] else { continue };
            open.found.count(&slot.subscription.ground.path, 1);
            let (lag, since) = slot.rank(&self.log);
            let rank = (lag, since, self.address_of(index).to_bits());
            if open.top.len() < open.request.limit {
                if open.top.try_reserve(1).is_ok() {
                    open.top.push(Reverse(rank));
                }
            } else if let Some(mut least) = open.top.peek_mut()
                && least.0 < rank
            {
                *least = Reverse(rank);
            }
        }
        open.next = end;
        if end == self.slots.len() {
            let mut chosen: Vec<Rank> =
                std::mem::take(&mut open.top).into_iter().map(|rank| rank.0).collect();
            chosen.sort_unstable();
            // Without memory for them they are only counted.
            if open.found.streams.try_reserve_exact(chosen.len()).is_err() {
                chosen.clear();
            }
            open.chosen = Some(chosen);
        }
    }

    /// Tells of a stream, if it is still there.
    fn describe(&self, (_, _, address): Rank, found: &mut Survey) {
        let index = self.slot_at(SlotAddress::from_bits(address));
        if let Some(slot) = index.and_then(|index| self.slots[index].as_ref()) {
            found.streams.push(slot.about(&self.log, StreamName { thread: self.number, address }));
        }
    }
}
