//! What the gateway itself has to say in the order of events, on its way to the main thread, which puts it
//! into the ring like what sessions raise, so that all threads get it in one order: how calls ended that went
//! on without their callers (C7.9), and ends of calls that their workers could not tell.
//!
//! It is not dropped when the ring is full, as what sessions raise is: a page that never hears how its call
//! ended would wait for ever, and so would an answer that comes after the call's events.
//!
//! Not for what they say: that is `call`.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use sse_proto::record::Record;

use crate::room::Room;

/// What became of a record that was to be put into the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It is in there.
    Done,
    /// There is no room for it now.
    Full,
    /// It will never fit.
    TooLarge,
}

/// The event that ends a call.
pub(crate) struct Ending {
    /// Encoded as a record.
    pub(crate) record: Vec<u8>,
    /// Goes in its place if the ring is too small for it.
    pub(crate) instead: Vec<u8>,
    /// Counts both, as an answer that waits to be read is counted.
    pub(crate) _room: Room,
}

/// What waits for the main thread.
#[derive(Default)]
pub(crate) struct Endings {
    /// Bounded by the memory for answers.
    events: Mutex<VecDeque<Ending>>,
    /// Calls whose end is still to be told. One for each task that waits for it.
    untold: Mutex<BTreeSet<u64>>,
}

/// The end of a call is told as soon as there is room in the ring, unless this is dropped before: nobody
/// waits for it any more.
pub(crate) struct Telling {
    endings: Arc<Endings>,
    call: u64,
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.endings.untold.lock().remove(&self.call);
    }
}

impl Endings {
    pub(crate) fn add(&self, ending: Ending) {
        self.events.lock().push_back(ending);
    }

    /// Tells the end of a call after what is in the ring. All of the call's events must be there.
    pub(crate) fn tell_end(self: &Arc<Self>, call: u64) -> Telling {
        self.untold.lock().insert(call);
        Telling { endings: Arc::clone(self), call }
    }

    /// Puts all of it into the ring, of events the oldest first; false if some has to wait.
    pub(crate) fn hand_over(&self, mut push: impl FnMut(&[u8]) -> Pushed) -> bool {
        self.hand_over_ends(&mut push) && self.hand_over_events(push)
    }

    fn hand_over_ends(&self, push: &mut impl FnMut(&[u8]) -> Pushed) -> bool {
        let mut untold = self.untold.lock();
        while let Some(call) = untold.first().copied() {
            if !(Record::CallEnd { call }).encode().is_ok_and(|record| push(&record) != Pushed::Full) {
                return false;
            }
            untold.pop_first();
        }
        true
    }

    fn hand_over_events(&self, mut push: impl FnMut(&[u8]) -> Pushed) -> bool {
        let mut waiting = self.events.lock();
        while let Some(ending) = waiting.front() {
            let pushed = match push(&ending.record) {
                Pushed::TooLarge => push(&ending.instead),
                pushed => pushed,
            };
            if pushed == Pushed::Full {
                return false;
            }
            waiting.pop_front();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::room::Rooms;

    #[test]
    fn they_wait_for_room_in_their_order_and_what_is_too_large_is_replaced() {
        let (endings, rooms) = (Endings::default(), Rooms::default());
        for n in 0..3_u8 {
            let room = rooms.room("::1".parse().unwrap());
            endings.add(Ending { record: vec![n], instead: vec![n + 10], _room: room });
        }
        let mut pushed = Vec::new();
        assert!(!endings.hand_over(|record| match record {
            [1 | 11] => Pushed::Full,
            record => {
                pushed.extend_from_slice(record);
                Pushed::Done
            }
        }));
        assert!(endings.hand_over(|record| match record {
            [1] => Pushed::TooLarge,
            record => {
                pushed.extend_from_slice(record);
                Pushed::Done
            }
        }));
        assert_eq!(pushed, [0, 11, 2]);
        assert!(endings.hand_over(|_| panic!("nothing is left")));
    }

    #[test]
    fn the_end_of_a_call_waits_for_room_before_any_event_and_only_as_long_as_somebody_waits_for_it() {
        let (endings, rooms) = (Arc::new(Endings::default()), Rooms::default());
        let tellings = [3, 1, 2].map(|call| endings.tell_end(call));
        let room = rooms.room("::1".parse().unwrap());
        endings.add(Ending { record: b"event".to_vec(), instead: Vec::new(), _room: room });
        assert!(!endings.hand_over(|_| Pushed::Full));
        let [of_three, of_one, of_two] = tellings;
        drop(of_two);
        let mut pushed = Vec::new();
        assert!(endings.hand_over(|record| {
            pushed.push(record.to_vec());
            Pushed::Done
        }));
        let end = |call| Record::CallEnd { call }.encode().unwrap();
        assert_eq!(pushed, [end(1), end(3), b"event".to_vec()]);
        drop((of_one, of_three));
        assert!(endings.untold.lock().is_empty());
    }
}
