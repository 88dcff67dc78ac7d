//! How calls ended that went on without their callers (C7.9): events on their way to the main thread, which
//! puts them into the ring like those that sessions raise, so that all threads get them in one order.
//!
//! They are not dropped when the ring is full, as what sessions raise is: nobody waits for them, and a page
//! that never hears how its call ended would wait for ever.
//!
//! Not for what they say: that is `call`.

use std::collections::VecDeque;

use parking_lot::Mutex;

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

/// Those that wait for the main thread. Bounded by the memory for answers.
#[derive(Default)]
pub(crate) struct Endings(Mutex<VecDeque<Ending>>);

impl Endings {
    pub(crate) fn add(&self, ending: Ending) {
        self.0.lock().push_back(ending);
    }

    /// Puts them into the ring, the oldest first; false if some have to wait.
    pub(crate) fn hand_over(&self, mut push: impl FnMut(&[u8]) -> Pushed) -> bool {
        let mut waiting = self.0.lock();
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
}
