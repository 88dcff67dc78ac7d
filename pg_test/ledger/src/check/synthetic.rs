//! A run made by code: a stream without faults, with readers that lag, lose their connection, fall behind and
//! come back.
//!
//! Not for faults: `tests` plants them.

use fastrand::Rng;

use crate::history::{Asked, Attempt, Delivery, History, Item, Key, Position, Reason, Recording, What};
use crate::plan::{ALICE, BOB, CAROL, FLOOD, Listener, MARKS, NEWS, ORDINARY};

/// How much goes wrong in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    /// Connections break and resume, and that is all.
    Calm,
    /// Gaps of every reason, restarts.
    Rough,
}

const WRITERS: u16 = 3;

/// A recording of a run in which everything is right.
pub(super) fn good(seed: u64, weather: Weather) -> Recording {
    let mut world = World::new(seed, weather);
    for _ in 0..400 {
        world.step();
    }
    world.end()
}

struct World {
    rng: Rng,
    weather: Weather,
    now: u64,
    epoch: u64,
    /// The items of this epoch; the first has sequence 1. A gap in place of an event that is too large has
    /// the attempt beside it.
    stream: Vec<(What, usize)>,
    overflowed: bool,
    numbers: [u32; WRITERS as usize],
    counter: u64,
    readers: Vec<Sim>,
    attempts: Vec<Attempt>,
    recording: Recording,
}

struct Sim {
    history: History,
    /// How many items of the stream it has passed.
    cursor: usize,
    is_open: bool,
    last: Option<Position>,
}

impl World {
    fn new(seed: u64, weather: Weather) -> Self {
        let listener =
            |person, topics: Vec<&'static str>, execution_id| Listener { person, topics, execution_id };
        let listeners = [
            listener(None, vec![], ""),
            listener(Some(&ALICE), vec![], ""),
            listener(Some(&BOB), vec![], "batch-1"),
            listener(Some(&CAROL), vec![NEWS], ""),
            listener(None, vec![NEWS, FLOOD], ""),
            listener(Some(&CAROL), vec![], ""),
        ];
        let sim = |(number, listener): (usize, Listener)| Sim {
            history: History { name: format!("{number} ({listener})"), listener, items: Vec::new() },
            cursor: 0,
            is_open: false,
            last: None,
        };
        Self {
            rng: Rng::with_seed(seed),
            weather,
            now: 0,
            epoch: 0xe0,
            stream: Vec::new(),
            overflowed: false,
            numbers: [0; WRITERS as usize],
            counter: 0,
            readers: listeners.into_iter().enumerate().map(sim).collect(),
            attempts: Vec::new(),
            recording: Recording::default(),
        }
    }

    fn step(&mut self) {
        for reader in 0..self.readers.len() {
            match self.rng.u32(0..20) {
                0 => self.close(reader),
                1..5 => {}
                _ => self.deliver(reader),
            }
        }
        let is_rough = self.weather == Weather::Rough;
        match self.rng.u32(0..60) {
            0 if is_rough => self.restart(),
            1 if is_rough => self.fall_behind(),
            _ => self.transact(),
        }
    }

    fn end(mut self) -> Recording {
        for reader in 0..self.readers.len() {
            self.deliver(reader);
        }
        for writer in 0..WRITERS {
            for mark in MARKS {
                for delivery in [Delivery::Commit, Delivery::Immediate] {
                    let began = self.tick();
                    let attempt = self.raise(writer, delivery, mark, began);
                    self.publish(attempt, None);
                    self.keep(attempt);
                }
            }
        }
        for reader in 0..self.readers.len() {
            self.deliver(reader);
        }
        self.recording.attempts = self.attempts;
        self.recording.readers = self.readers.into_iter().map(|reader| reader.history).collect();
        self.recording
    }

    fn transact(&mut self) {
        let (began, writer) = (self.tick(), self.rng.u16(0..WRITERS));
        let is_kept = self.rng.u32(0..4) > 0;
        for _ in 0..self.rng.u32(1..4) {
            let delivery = if self.rng.u32(0..4) == 0 { Delivery::Immediate } else { Delivery::Commit };
            let audience = self.rng.usize(ORDINARY);
            let attempt = self.raise(writer, delivery, audience, began);
            let is_sent = is_kept || delivery == Delivery::Immediate;
            if !is_sent {
                continue;
            }
            if is_kept {
                self.keep(attempt);
            }
            let is_rough = self.weather == Weather::Rough;
            match self.rng.u32(0..30) {
                0 if is_rough => self.overflowed = true,
                1 if is_rough => {
                    self.attempts[attempt].too_large = true;
                    self.gap_in_place(Reason::TooLarge, attempt);
                }
                2..12 if delivery == Delivery::Commit => {
                    self.counter += 1;
                    self.publish(attempt, Some(self.counter));
                }
                _ => self.publish(attempt, None),
            }
        }
    }

    fn raise(&mut self, writer: u16, delivery: Delivery, audience: usize, began: u64) -> usize {
        let number = &mut self.numbers[usize::from(writer)];
        *number += 1;
        let key = Key { writer, delivery, number: *number };
        let (kind, too_large, is_bulk, is_large) = ("synthetic", false, false, false);
        let attempt = Attempt { key, audience, kind, too_large, is_bulk, is_large, began, answered: true };
        self.attempts.push(attempt);
        self.attempts.len() - 1
    }

    fn keep(&mut self, attempt: usize) {
        let key = self.attempts[attempt].key;
        if key.delivery == Delivery::Commit {
            self.recording.committed.insert((key.writer, key.number));
        }
    }

    fn publish(&mut self, attempt: usize, counter: Option<u64>) {
        if std::mem::take(&mut self.overflowed) {
            self.gap_in_place(Reason::Overflow, usize::MAX);
        }
        let Attempt { key, audience, .. } = self.attempts[attempt];
        let at = self.next_position();
        self.stream.push((What::Event { at, key, audience, counter }, attempt));
    }

    fn gap_in_place(&mut self, reason: Reason, attempt: usize) {
        let at = self.next_position();
        self.stream.push((What::Gap { at, reason, missed: None }, attempt));
    }

    fn next_position(&self) -> Position {
        Position { epoch: self.epoch, sequence: self.stream.len() as u64 + 1 }
    }

    fn head(&self) -> Position {
        Position { epoch: self.epoch, sequence: self.stream.len() as u64 }
    }

    /// Everything that there is for a reader.
    fn deliver(&mut self, reader: usize) {
        if !self.readers[reader].is_open {
            self.open(reader);
        }
        while let Some((what, attempt)) = self.stream.get(self.readers[reader].cursor).cloned() {
            self.readers[reader].cursor += 1;
            let listener = &self.readers[reader].history.listener;
            if self.attempts.get(attempt).is_none_or(|attempt| listener.is_meant(attempt.audience)) {
                self.note(reader, what);
            }
        }
    }

    fn open(&mut self, reader: usize) {
        let last = self.readers[reader].last;
        let is_invented = self.weather == Weather::Rough && self.rng.u32(0..20) == 0;
        let asked = match last {
            _ if is_invented => Asked::Invented,
            Some(last) => Asked::Last(last),
            None => Asked::Nothing,
        };
        self.note(reader, What::Opened(asked));
        let head = self.head();
        let gap = match asked {
            Asked::Invented => Some(Reason::Unknown),
            Asked::Last(last) if last.epoch != self.epoch => Some(Reason::Restarted),
            // As if the window were short.
            Asked::Last(last) if self.weather == Weather::Rough && last.sequence + 20 < head.sequence => {
                Some(Reason::Expired)
            }
            Asked::Last(last) => {
                self.readers[reader].is_open = true;
                return self.note(reader, What::Ready(last));
            }
            Asked::Nothing => None,
        };
        let ready = match asked {
            Asked::Nothing => head,
            Asked::Last(last) => last,
            Asked::Invented => Position { sequence: u64::MAX, ..head },
        };
        self.note(reader, What::Ready(ready));
        if let Some(reason) = gap {
            self.note(reader, What::Gap { at: head, reason, missed: None });
        }
        self.readers[reader].cursor = self.stream.len();
        self.readers[reader].is_open = true;
    }

    fn close(&mut self, reader: usize) {
        if std::mem::take(&mut self.readers[reader].is_open) {
            self.note(reader, What::Closed("cut".to_owned()));
        }
    }

    fn fall_behind(&mut self) {
        let reader = self.rng.usize(0..self.readers.len());
        if self.readers[reader].is_open {
            let gap = What::Gap { at: self.head(), reason: Reason::Slow, missed: None };
            self.note(reader, gap);
            self.readers[reader].cursor = self.stream.len();
        }
    }

    fn restart(&mut self) {
        for reader in 0..self.readers.len() {
            self.close(reader);
        }
        self.epoch += 1;
        self.stream.clear();
        self.overflowed = false;
    }

    fn note(&mut self, reader: usize, what: What) {
        let at = self.tick();
        let reader = &mut self.readers[reader];
        if let What::Ready(position) | What::Gap { at: position, .. } | What::Event { at: position, .. } =
            what
        {
            reader.last = Some(position);
        }
        reader.history.items.push(Item { at, what });
    }

    fn tick(&mut self) -> u64 {
        self.now += 10;
        self.now
    }
}
