//! Followers made by code, to whom nothing wrong happens: streams break and resume, a snapshot has seen what
//! comes after its place, there is none, the window moves on, the gateway starts anew.
//!
//! Not for faults: `tests` plants them.

use fastrand::Rng;

use crate::history::{Position, Reason};
use crate::schedule::{Fault, Span};
use crate::tally::{Followed, Id, Rows, Seen, Sight, Tally};

const ROWS: u64 = 4;
const FOLLOWERS: usize = 3;

/// Time between two steps: long enough that a fault of one explains nothing of the next but one.
const STEP: u64 = 5_000_000;

/// A run in which everything is right.
pub(super) fn good(seed: u64) -> Tally {
    let mut world = World::new(seed);
    for _ in 0..150 {
        world.step();
    }
    world.end()
}

struct World {
    rng: Rng,
    now: u64,
    epoch: u64,
    /// The items of this epoch; the first has sequence 1. `None`: for others.
    stream: Vec<Option<(u64, u64)>>,
    rows: Rows,
    sims: Vec<Sim>,
    tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed,
    /// For a snapshot.
    Waiting,
    /// Events up to this item were in its snapshot.
    Live(u64),
    Lacking,
}

struct Sim {
    phase: Phase,
    /// How far it has come.
    cursor: u64,
    last: Option<Id>,
    followed: Followed,
}

impl World {
    fn new(seed: u64) -> Self {
        let rows: Rows = (1..=ROWS).map(|row| (row, 0)).collect();
        let sim = |_| Sim { phase: Phase::Closed, cursor: 0, last: None, followed: Followed::default() };
        let tally = Tally { states: vec![rows.clone()], ..Tally::default() };
        let sims = (0..FOLLOWERS).map(sim).collect();
        Self { rng: Rng::with_seed(seed), now: 0, epoch: 0xe0, stream: Vec::new(), rows, sims, tally }
    }

    fn step(&mut self) {
        self.now += STEP;
        if self.rng.u32(0..60) == 0 {
            return self.restart();
        }
        for _ in 0..self.rng.u32(1..4) {
            self.transact();
        }
        for number in 0..FOLLOWERS {
            match self.rng.u32(0..20) {
                0 => self.close(number),
                1 => self.slow(number),
                2..5 => {}
                _ => self.serve(number),
            }
        }
    }

    fn end(mut self) -> Tally {
        for number in 0..FOLLOWERS {
            self.now += STEP;
            if self.sims[number].phase == Phase::Lacking {
                self.close(number);
            }
            while !matches!(self.sims[number].phase, Phase::Live(_)) {
                self.now += STEP;
                self.serve(number);
                if self.sims[number].phase == Phase::Lacking {
                    self.close(number);
                }
            }
            self.serve(number);
        }
        self.tally.followed = self.sims.into_iter().map(|sim| sim.followed).collect();
        self.tally
    }

    fn head(&self) -> u64 {
        self.stream.len() as u64
    }

    fn id(&self, sequence: u64, is_marked: bool) -> Id {
        Id { at: Position { epoch: self.epoch, sequence }, is_marked }
    }

    fn transact(&mut self) {
        if self.rng.u32(0..3) == 0 {
            self.stream.push(None);
        }
        for _ in 0..self.rng.u32(1..3) {
            let row = self.rng.u64(1..=ROWS);
            let n = self.rows[&row] + 1;
            self.rows.insert(row, n);
            self.stream.push(Some((row, n)));
        }
        self.tally.states.push(self.rows.clone());
    }

    fn restart(&mut self) {
        self.tally.spans.push(Span { fault: Fault::Terminate, from: self.now, until: self.now });
        for number in 0..FOLLOWERS {
            self.close(number);
        }
        self.epoch += 1;
        self.stream.clear();
    }

    fn slow(&mut self, number: usize) {
        if !matches!(self.sims[number].phase, Phase::Live(_)) {
            return;
        }
        let at = self.now;
        self.tally.spans.push(Span { fault: Fault::StoppedReading, from: at, until: at });
        let head = self.head();
        self.sims[number].cursor = head;
        self.sims[number].phase = Phase::Waiting;
        let id = self.id(head, true);
        self.see(number, Seen::Gap { id, reason: Reason::Slow }, Some(id));
    }

    fn close(&mut self, number: usize) {
        if self.sims[number].phase != Phase::Closed {
            self.sims[number].phase = Phase::Closed;
            self.see(number, Seen::Closed, None);
        }
    }

    fn serve(&mut self, number: usize) {
        match self.sims[number].phase {
            Phase::Closed => self.open(number),
            Phase::Waiting if self.rng.u32(0..5) == 0 => {
                self.tally.spans.push(Span {
                    fault: Fault::FailingSnapshot,
                    from: self.now,
                    until: self.now,
                });
                let id = self.id(self.sims[number].cursor, true);
                self.sims[number].phase = Phase::Lacking;
                self.see(number, Seen::Gap { id, reason: Reason::Snapshot }, Some(id));
            }
            Phase::Waiting => {
                // The run began some items ago, and saw all there is now.
                let (head, rows) = (self.head(), self.rows.clone());
                let place = self.rng.u64(self.sims[number].cursor..=head).max(head.saturating_sub(3));
                self.sims[number].cursor = place;
                self.sims[number].phase = Phase::Live(head);
                let id = self.id(place, place < head);
                self.see(number, Seen::Snapshot { id, rows }, Some(id));
            }
            Phase::Live(seen) => self.deliver(number, seen),
            Phase::Lacking => self.deliver(number, 0),
        }
    }

    fn open(&mut self, number: usize) {
        if self.rng.u32(0..6) == 0 {
            self.sims[number].last = None;
        }
        let last = self.sims[number].last;
        self.see(number, Seen::Opened(last), None);
        match last {
            None => {
                let head = self.head();
                self.sims[number].cursor = head;
                self.sims[number].phase = Phase::Waiting;
                let id = self.id(head, true);
                self.see(number, Seen::Ready(id), Some(id));
            }
            Some(last) if last.at.epoch != self.epoch => {
                let ready = Id { is_marked: true, ..last };
                self.see(number, Seen::Ready(ready), Some(ready));
                let head = self.head();
                self.sims[number].cursor = head;
                self.sims[number].phase = Phase::Waiting;
                let id = self.id(head, true);
                self.see(number, Seen::Gap { id, reason: Reason::Restarted }, Some(id));
            }
            Some(last) => {
                self.sims[number].cursor = last.at.sequence;
                self.sims[number].phase =
                    if last.is_marked { Phase::Waiting } else { Phase::Live(last.at.sequence) };
                self.see(number, Seen::Ready(last), Some(last));
            }
        }
    }

    fn deliver(&mut self, number: usize, seen: u64) {
        let is_lacking = self.sims[number].phase == Phase::Lacking;
        for sequence in self.sims[number].cursor + 1..=self.head() {
            self.sims[number].cursor = sequence;
            let Some((row, n)) = self.stream[sequence as usize - 1].filter(|_| sequence > seen) else {
                continue;
            };
            let id = self.id(sequence, is_lacking);
            self.see(number, Seen::Change { id, row, n }, Some(id));
        }
        if is_lacking {
            self.close(number);
        }
    }

    fn see(&mut self, number: usize, what: Seen, last: Option<Id>) {
        let sim = &mut self.sims[number];
        sim.last = last.or(sim.last);
        sim.followed.sights.push(Sight { at: self.now, what });
    }
}
