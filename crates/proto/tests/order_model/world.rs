//! What backends and gateway do, step by step.
//!
//! Not for the steps that are tried: order_model.rs.

use std::time::Instant;

use proptest::prelude::*;
use sse_proto::order::{Decision, Limits, Look, Order};

pub(crate) const BACKENDS: usize = 5;

/// Added to a backend's number where others have a transaction's.
pub(crate) const AT_ONCE: usize = 1_000_000;

/// Added to the place of an end in [`World::ends`].
pub(crate) const END: usize = 2_000_000;

/// Where a backend is with its transaction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    Idle,
    /// It has seen what was visible, and may see more.
    Running,
    /// Ticket taken, announced if it writes.
    Committing,
    /// Others see it. It still has this many events to push.
    Visible {
        left: usize,
    },
    /// A place in the ring is reserved and not filled.
    Reserved {
        left: usize,
        place: usize,
    },
    /// Everything is pushed; the announcement stands.
    Pushed,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Backend {
    step: Step,
    transaction: usize,
    ticket: u64,
    writes: bool,
}

/// What is in the ring: reserved, or an event of a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Reserved,
    Event {
        ticket: u64,
        transaction: usize,
        number: usize,
    },
    AtOnce {
        backend: usize,
        number: usize,
    },
    /// Of a backend's transaction, by its place in [`World::ends`].
    End(usize),
}

/// What the gateway is about.
#[derive(Clone, Debug)]
pub(crate) enum Gateway {
    TakesOut,
    Looks { highest: u64, slot: usize, blockers: Vec<u64> },
    Decides { highest: u64, blockers: Vec<u64> },
}

pub(crate) struct World {
    backends: [Backend; BACKENDS],
    announced: [u64; BACKENDS],
    next_ticket: u64,
    /// How many events each backend sent at once.
    at_once: [usize; BACKENDS],
    /// For each transaction, which others it saw.
    seen: Vec<Vec<usize>>,
    visible: Vec<usize>,
    events: Vec<usize>,
    /// For each end: the transaction, its backend, and how many events that had sent at once by then.
    ends: Vec<(usize, usize, usize)>,
    ring: Vec<Place>,
    taken: usize,
    gateway: Gateway,
    pub(crate) order: Order,
    now: Instant,
    told: Vec<(usize, usize)>,
}

impl World {
    pub(crate) fn new(limits: Limits) -> Self {
        let idle = Backend { step: Step::Idle, transaction: 0, ticket: 0, writes: false };
        Self {
            backends: [idle; BACKENDS],
            announced: [0; BACKENDS],
            next_ticket: 1,
            at_once: [0; BACKENDS],
            seen: Vec::new(),
            visible: Vec::new(),
            events: Vec::new(),
            ends: Vec::new(),
            ring: Vec::new(),
            taken: 0,
            gateway: Gateway::TakesOut,
            order: Order::new(limits),
            now: Instant::now(),
            told: Vec::new(),
        }
    }

    /// One step of one backend; `choice` decides what may go either way.
    pub(crate) fn step_backend(&mut self, index: usize, choice: u8) {
        let mut backend = self.backends[index];
        backend.step = match backend.step {
            Step::Idle => {
                backend.transaction = self.seen.len();
                backend.writes = !choice.is_multiple_of(3);
                self.seen.push(self.visible.clone());
                self.events.push(0);
                Step::Running
            }
            Step::Running if choice.is_multiple_of(8) => {
                self.ring.push(Place::AtOnce { backend: index, number: self.at_once[index] });
                self.at_once[index] += 1;
                Step::Running
            }
            Step::Running if choice.is_multiple_of(2) => {
                self.seen[backend.transaction] = self.visible.clone();
                Step::Running
            }
            Step::Running => {
                backend.ticket = self.next_ticket;
                self.next_ticket += 1;
                if backend.writes {
                    self.announced[index] = backend.ticket;
                }
                Step::Committing
            }
            Step::Committing => {
                if backend.writes {
                    self.visible.push(backend.transaction);
                }
                Step::Visible { left: 1 + usize::from(choice % 3) }
            }
            Step::Visible { left } => {
                self.ring.push(Place::Reserved);
                Step::Reserved { left, place: self.ring.len() - 1 }
            }
            Step::Reserved { left, place } => {
                let number = self.events[backend.transaction];
                self.events[backend.transaction] += 1;
                self.ring[place] =
                    Place::Event { ticket: backend.ticket, transaction: backend.transaction, number };
                if left > 1 { Step::Visible { left: left - 1 } } else { Step::Pushed }
            }
            Step::Pushed => {
                self.announced[index] = 0;
                self.ring.push(Place::End(self.ends.len()));
                self.ends.push((backend.transaction, index, self.at_once[index]));
                Step::Idle
            }
        };
        self.backends[index] = backend;
    }

    /// One step of the gateway. It looks at one announcement at a time: others go on meanwhile.
    pub(crate) fn step_gateway(&mut self) -> Option<Decision> {
        match self.gateway.clone() {
            Gateway::TakesOut => {
                self.take_out();
                if let Some(highest) = self.order.highest() {
                    self.gateway = Gateway::Looks { highest, slot: 0, blockers: Vec::new() };
                }
            }
            Gateway::Looks { highest, slot, mut blockers } => {
                let ticket = self.announced[slot];
                let runs = self.backends[slot].step == Step::Committing;
                if ticket != 0 && ticket < highest && !runs {
                    blockers.push(ticket);
                }
                self.gateway = match slot + 1 {
                    BACKENDS => Gateway::Decides { highest, blockers },
                    slot => Gateway::Looks { highest, slot, blockers },
                };
            }
            Gateway::Decides { highest, blockers } => {
                let is_before_hole = self.take_out();
                let look = Look { highest, blockers: &blockers, is_before_hole };
                let decision = self.order.decide(look, self.now);
                let told = &mut self.told;
                while self.order.take(20, |record| told.push(read(record))) > 0 {}
                self.gateway = Gateway::TakesOut;
                return Some(decision);
            }
        }
        None
    }

    /// Up to the end, or to a hole.
    pub(crate) fn take_out(&mut self) -> bool {
        while let Some(place) = self.ring.get(self.taken) {
            match *place {
                Place::Reserved => return true,
                Place::Event { ticket, transaction, number } => {
                    self.order.hold(ticket, &write(transaction, number));
                }
                Place::End(end) => {
                    if !self.order.follow(&write(END + end, 0)) {
                        self.told.push((END + end, 0));
                    }
                }
                Place::AtOnce { backend, number } => {
                    let backend = AT_ONCE + backend;
                    if !self.order.pass(&write(backend, number)) {
                        self.told.push((backend, number));
                    }
                }
            }
            self.taken += 1;
        }
        false
    }

    /// Everybody comes to an end.
    pub(crate) fn finish(&mut self) {
        for index in 0..BACKENDS {
            while self.backends[index].step != Step::Idle {
                self.step_backend(index, 1);
            }
        }
        for _ in 0..4 * (BACKENDS + 2) {
            self.step_gateway();
        }
    }

    /// Whoever saw another is told after it; every event is told once; events of one transaction keep their
    /// order.
    pub(crate) fn check(&self) -> Result<(), TestCaseError> {
        let place =
            |wanted: usize| self.told.iter().map(|(transaction, _)| *transaction).position(|t| t == wanted);
        for (transaction, seen) in self.seen.iter().enumerate() {
            let first = place(transaction);
            for other in seen {
                let last = self.told.iter().rposition(|(told, _)| told == other);
                if let (Some(first), Some(last)) = (first, last) {
                    prop_assert!(last < first, "{} saw {}: {:?}", transaction, other, self.told);
                }
            }
            let numbers: Vec<usize> =
                self.told.iter().filter(|told| told.0 == transaction).map(|told| told.1).collect();
            prop_assert_eq!(numbers, (0..self.events[transaction]).collect::<Vec<_>>());
        }
        for (backend, count) in self.at_once.iter().enumerate() {
            let told = self.told.iter().filter(|told| told.0 == AT_ONCE + backend).map(|told| told.1);
            prop_assert!(told.eq(0..*count), "sent at once by {}: {:?}", backend, self.told);
        }
        for (end, (transaction, backend, at_once)) in self.ends.iter().enumerate() {
            let at = place(END + end);
            prop_assert!(at.is_some(), "{} is not told", end);
            let before = &self.told[..at.unwrap_or(0)];
            let count = |who: usize| before.iter().filter(|told| told.0 == who).count();
            prop_assert_eq!(count(*transaction), self.events[*transaction], "{}: {:?}", end, self.told);
            prop_assert!(count(AT_ONCE + backend) >= *at_once, "{}: {:?}", end, self.told);
        }
        Ok(())
    }
}

pub(crate) fn write(transaction: usize, number: usize) -> [u8; 16] {
    let mut record = [0; 16];
    record[..8].copy_from_slice(&transaction.to_le_bytes());
    record[8..].copy_from_slice(&number.to_le_bytes());
    record
}

pub(crate) fn read(record: &[u8]) -> (usize, usize) {
    let number = |bytes: &[u8]| usize::from_le_bytes(bytes.try_into().unwrap());
    (number(&record[..8]), number(&record[8..]))
}
