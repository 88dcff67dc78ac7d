//! Which connections of the admin port are open, and which of them leaves when another one comes.
//!
//! A peer that connects and says nothing would otherwise keep everybody else out: sixty-four of them would,
//! for as long as a head may take. So when all seats are taken the one goes that is of least use: of those
//! that have asked nothing the oldest, else of those that have their answer the one that has had it longest.
//! One whose answer is being made stays, and so does one that watches events.
//!
//! Not for sockets: that is `listen`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::Notify;

/// Connections at a time: some scrapers, some load balancers, some people.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// All seats. Of one thread.
#[derive(Default)]
pub(super) struct Seats {
    taken: RefCell<Vec<Rc<Seat>>>,
    /// Counts what happens, so that it has an order.
    last: Cell<u64>,
}

/// One connection's.
#[derive(Default)]
pub(super) struct Seat {
    has_asked: Cell<bool>,
    /// An answer is being made, or is one that does not end.
    is_busy: Cell<bool>,
    /// When it came, or was last answered.
    since: Cell<u64>,
    leave: Notify,
}

/// A seat as long as its connection is open.
pub(super) struct Sitting {
    seats: Rc<Seats>,
    seat: Rc<Seat>,
}

impl Seats {
    /// A seat, for which another connection may have to leave. `None`: none can.
    pub(super) fn take(self: &Rc<Self>) -> Option<Sitting> {
        let mut taken = self.taken.borrow_mut();
        if taken.len() >= MAX_CONNECTIONS {
            let idle = taken.iter().enumerate().filter(|(_, seat)| !seat.is_busy.get());
            let (place, _) = idle.min_by_key(|(_, seat)| (seat.has_asked.get(), seat.since.get()))?;
            taken.swap_remove(place).leave.notify_one();
        }
        let seat = Rc::new(Seat::default());
        seat.since.set(self.now());
        taken.push(Rc::clone(&seat));
        Some(Sitting { seats: Rc::clone(self), seat })
    }

    fn now(&self) -> u64 {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }
}

impl Sitting {
    /// A request has come.
    pub(super) fn asks(&self) {
        self.seat.has_asked.set(true);
        self.seat.is_busy.set(true);
    }

    /// It has its answer.
    pub(super) fn is_answered(&self) {
        self.seat.is_busy.set(false);
        self.seat.since.set(self.seats.now());
    }

    /// Returns when another connection needs the seat.
    pub(super) async fn left(&self) {
        self.seat.leave.notified().await;
    }
}

impl Drop for Sitting {
    fn drop(&mut self) {
        self.seats.taken.borrow_mut().retain(|seat| !Rc::ptr_eq(seat, &self.seat));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn has_to_leave(sitting: &Sitting) -> bool {
        let left = std::pin::pin!(sitting.left());
        left.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    /// Which of these have to leave.
    fn leaving(all: &[Sitting]) -> Vec<usize> {
        (0..all.len()).filter(|number| has_to_leave(&all[*number])).collect()
    }

    // Attack: connections that say nothing, as many as there can be.
    #[test]
    fn the_65th_connection_takes_the_seat_of_the_oldest_that_has_asked_nothing() {
        let seats = Rc::new(Seats::default());
        let mut all: Vec<Sitting> = (0..63).map(|_| seats.take().unwrap()).collect();
        all[0].asks();
        all[0].is_answered();
        all.push(seats.take().unwrap());
        assert!(leaving(&all).is_empty(), "the 64th has a seat");
        all.push(seats.take().unwrap());
        assert_eq!(leaving(&all), [1], "the 65th has that of the second");
        all.push(seats.take().unwrap());
        assert_eq!(leaving(&all), [2]);
        drop(all);
        assert!(seats.taken.borrow().is_empty());
    }

    #[test]
    fn one_that_has_its_answer_leaves_when_all_have_asked_and_one_that_waits_for_it_never() {
        let seats = Rc::new(Seats::default());
        let all: Vec<Sitting> = (0..64).map(|_| seats.take().unwrap()).collect();
        all.iter().for_each(Sitting::asks);
        assert!(seats.take().is_none(), "everybody is being answered");
        all[9].is_answered();
        all[7].is_answered();
        let newcomer = seats.take().unwrap();
        assert_eq!(leaving(&all), [9]);
        newcomer.asks();
        let _another = seats.take().unwrap();
        assert_eq!(leaving(&all), [7]);
    }
}
