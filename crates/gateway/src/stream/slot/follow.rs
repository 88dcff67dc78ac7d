//! A stream with a snapshot (C7.6): what the snapshot has seen is not sent again, ids are marked as long as a
//! fresh snapshot is needed to go on from them (C6.4), and a gap is followed by a fresh snapshot.
//!
//! Not for running one: that is `call/snapshot`. Not for when it is ready: that is `slab/snapshots`.

use std::rc::Rc;
use std::sync::Arc;

use sse_proto::route::Snapshot;
use sse_proto::sse::{append_marked_head, append_marked_id_of};

use super::{Slot, Tally};
use crate::stream::overlap::Overlap;
use crate::stream::posting::Member;
use crate::stream::stream_log::{Cursor, Framing, Run, StreamLog};

/// Items that a visit passes over because the snapshot has seen them. Others get their turn then.
const MAX_PASSED: usize = 256;

/// What such a stream remembers.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    /// What the last snapshot saw, as long as items that it saw may follow.
    overlap: Option<Rc<Overlap>>,
    /// There was no snapshot when it needed one. So whoever comes back with any of its ids needs one.
    lacks_state: bool,
    /// Whether it is held for a snapshot for which nobody was asked yet.
    wishes: bool,
    /// The one that it waits for.
    awaited: Option<Arc<Snapshot>>,
}

/// What lies before a stream.
pub(super) enum Ahead {
    /// What is in the log is for it as it lies there, up to this item.
    Clear(u64),
    /// Something has changed: look again.
    Changed,
}

impl Slot {
    /// It begins with a snapshot, or goes on from an id that needs none now.
    pub(crate) fn follow(&mut self, needs_snapshot: bool) {
        self.follower = Some(Box::new(Follower { wishes: needs_snapshot, ..Follower::default() }));
        if needs_snapshot {
            self.hold();
        }
    }

    pub(crate) fn is_follower(&self) -> bool {
        self.follower.is_some()
    }

    /// Whether it needs a snapshot for which nobody was asked yet. From now on somebody is.
    pub(crate) fn take_wish(&mut self) -> bool {
        self.follower.as_mut().is_some_and(|follower| std::mem::take(&mut follower.wishes))
    }

    /// Somebody is asked for this snapshot.
    pub(crate) fn awaits(&mut self, snapshot: Arc<Snapshot>) {
        if let Some(follower) = &mut self.follower {
            follower.awaited = Some(snapshot);
        }
    }

    /// The snapshot that somebody was asked for. From now on it waits for none.
    pub(crate) fn take_awaited(&mut self) -> Option<Arc<Snapshot>> {
        self.follower.as_mut()?.awaited.take()
    }

    /// Whether somebody was asked for a snapshot.
    pub(crate) fn is_awaiting(&self) -> bool {
        self.follower.as_ref().is_some_and(|follower| follower.awaited.is_some())
    }

    /// A snapshot with everything up to the item `from` comes next: the stream goes on after that item.
    pub(super) fn go_on_behind(&mut self, from: u64, overlap: Option<Rc<Overlap>>) {
        self.cursor = Cursor::before(self.cursor.next.max(from + 1));
        self.has_caught_up = false;
        if let Some(follower) = &mut self.follower {
            follower.overlap = overlap;
            follower.lacks_state = false;
        }
    }

    /// A snapshot should come next, and there is none: the stream goes on after that item.
    pub(super) fn go_on_without(&mut self, from: u64) {
        self.go_on_behind(from, None);
        if let Some(follower) = &mut self.follower {
            follower.lacks_state = true;
        }
    }

    /// What it gets belongs to no state that it should have.
    pub(super) fn needs_no_state(&mut self) {
        if let Some(follower) = &mut self.follower {
            follower.lacks_state = false;
        }
    }

    /// It has to be given a snapshot, because it has missed something.
    pub(super) fn wish(&mut self) {
        if let Some(follower) = &mut self.follower {
            follower.wishes = true;
            self.hold();
        }
    }

    /// Looks at what comes next for a stream that is not in the middle of an event.
    pub(super) fn look_ahead(&mut self, log: &StreamLog, member: &Member, tally: &mut Tally) -> Ahead {
        for _ in 0..MAX_PASSED {
            let next = self.cursor.next;
            let Some(follower) = &mut self.follower else { return Ahead::Clear(u64::MAX) };
            if next < log.base() {
                // It has fallen out of the window, and finds that itself.
                return Ahead::Clear(u64::MAX);
            }
            follower.overlap.take_if(|overlap| overlap.last.get() < next);
            let (overlap, lacks_state) = (follower.overlap.clone(), follower.lacks_state);
            let saw = |sequence| overlap.as_ref().is_some_and(|overlap| overlap.saw(log, sequence));
            let stop = log.next_gap(next).unwrap_or(u64::MAX);
            if stop == next {
                if log.concerns(next, member) && !saw(next) {
                    self.begin_marked(log);
                    self.wish();
                    return Ahead::Changed;
                }
                self.cursor = self.cursor.behind();
                continue;
            }
            if overlap.is_none() && !lacks_state {
                return Ahead::Clear(stop);
            }
            match log.run_before(self.cursor, member, self.framing, stop) {
                Run::Bytes { from, .. } => {
                    self.cursor = from;
                    if !saw(from.next) {
                        self.begin_marked(log);
                        return Ahead::Changed;
                    }
                    self.cursor = from.behind();
                    tally.covered += 1;
                }
                Run::CaughtUp(cursor) if cursor.next <= log.head() => self.cursor = cursor,
                Run::CaughtUp(_) | Run::Paused(_) | Run::FellOut => return Ahead::Clear(stop),
            }
        }
        Ahead::Changed
    }

    /// Writes the beginning of the next item with a marked id; the rest follows from the log.
    fn begin_marked(&mut self, log: &StreamLog) {
        let item = log.rest(self.cursor, self.framing);
        let replaced = match self.framing {
            Framing::Chunked => append_marked_head(&mut self.pending, item),
            Framing::Bare => append_marked_id_of(&mut self.pending, item),
        };
        debug_assert_ne!(replaced, 0, "every item begins with an id");
        self.cursor.written = replaced as u32;
    }
}
