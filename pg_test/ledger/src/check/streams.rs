//! Follows one reader's history, item by item: what may follow what, and over which stretches of the stream
//! it claims to have got everything.
//!
//! Not for what is missing: `owed`.

use std::collections::{HashMap, HashSet};

use super::Violation;
use super::index::Index;
use crate::history::{Asked, Attempt, Delivery, History, Key, Position, Reason, Recording, What};
use crate::plan::Listener;

/// Everything of an epoch after `from`, up to and including `to`, that was for the reader was sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) epoch: u64,
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Span {
    pub(super) fn holds(&self, at: Position) -> bool {
        self.epoch == at.epoch && self.from < at.sequence && at.sequence <= self.to
    }
}

/// A gap that a reader got.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) at: Position,
    pub(super) reason: Reason,
    /// The gap existed at this time at the latest.
    pub(super) time: u64,
}

/// What was found by following a reader.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) spans: Vec<Span>,
    pub(super) seen: HashSet<Key>,
    /// In order.
    pub(super) gaps: Vec<Told>,
    /// When it first listened.
    pub(super) since: Option<u64>,
}

/// What must come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Nothing in particular.
    Any,
    /// The reader's last id was taken: what follows it comes next, or a gap that says why it cannot.
    Begun,
    /// `sse.ready`.
    Ready(Asked),
    /// A gap with this reason; or, after an id that should have been good, a gap with any reason that says
    /// why it is not.
    Gap(Option<Reason>),
}

struct Follower<'a> {
    reader: usize,
    listener: &'a Listener,
    recording: &'a Recording,
    attempts: &'a HashMap<Key, &'a Attempt>,
    index: &'a Index,
    due: Due,
    /// The id with which the reader would resume.
    last: Option<Position>,
    numbers: HashMap<(u16, Delivery), u32>,
    counter: Option<u64>,
    read: Read,
    /// The item that is being looked at.
    item: usize,
    violations: &'a mut Vec<Violation>,
}

/// Follows one reader.
pub(super) fn follow(
    recording: &Recording,
    reader: usize,
    attempts: &HashMap<Key, &Attempt>,
    index: &Index,
    violations: &mut Vec<Violation>,
) -> Read {
    let history: &History = &recording.readers[reader];
    let mut follower = Follower {
        reader,
        listener: &history.listener,
        recording,
        attempts,
        index,
        due: Due::Any,
        last: None,
        numbers: HashMap::new(),
        counter: None,
        read: Read::default(),
        item: 0,
        violations,
    };
    for (number, item) in history.items.iter().enumerate() {
        follower.item = number;
        follower.take(item.at, &item.what);
    }
    follower.read
}

impl Follower<'_> {
    fn take(&mut self, time: u64, what: &What) {
        match what {
            What::Opened(asked) => self.due = Due::Ready(*asked),
            // Allowed while there are no routes yet. Any other answer would make a browser give up for good.
            What::Refused(503) => {}
            What::Refused(status) => self.complain(format!("a stream was answered with status {status}")),
            What::Malformed(text) => self.complain(format!("what came is nothing that anybody sent: {text}")),
            What::Closed(_) => self.closed(),
            What::Ready(at) => {
                self.read.since.get_or_insert(time);
                self.ready(*at);
            }
            What::Gap { at, reason, .. } if reason.is_in_place() => {
                self.in_place(*at);
                let time = self.index.first_seen(*at).unwrap_or(time);
                self.read.gaps.push(Told { at: *at, reason: *reason, time });
            }
            What::Gap { at, reason, missed } => {
                self.jump(*at, *reason, *missed);
                self.read.gaps.push(Told { at: *at, reason: *reason, time });
            }
            What::Event { at, key, audience, counter } => {
                self.in_place(*at);
                self.event(*key, *audience, *counter);
            }
        }
    }

    fn closed(&mut self) {
        // An id that is never accepted brings this gap whenever the reader comes back.
        let is_told_again = self.last.is_some_and(Position::is_never_given);
        if let (Due::Gap(_), false) = (self.due, is_told_again) {
            self.complain("the stream began anew and broke before the gap that says so".to_owned());
        }
        self.due = Due::Any;
    }

    fn ready(&mut self, at: Position) {
        let Due::Ready(asked) = self.due else {
            return self.complain(format!("{at} ready, although the stream had begun"));
        };
        self.due = Due::Any;
        match asked {
            Asked::Nothing => self.begin(at),
            Asked::Last(last) if last == at => self.due = Due::Begun,
            Asked::Last(last) if last.epoch != at.epoch => self.due = Due::Gap(Some(Reason::Restarted)),
            Asked::Last(_) => self.due = Due::Gap(None),
            Asked::Invented => self.due = Due::Gap(Some(Reason::Unknown)),
        }
        self.last = Some(at);
    }

    /// A gap that stands for everything up to the position it carries.
    fn jump(&mut self, at: Position, reason: Reason, missed: Option<u64>) {
        let fits = match self.due {
            Due::Gap(Some(wanted)) => reason == wanted,
            Due::Gap(None) => matches!(reason, Reason::Expired | Reason::Slow),
            Due::Begun if self.last.is_some_and(|last| last.epoch != at.epoch) => reason == Reason::Restarted,
            Due::Begun if self.last.is_some_and(Position::is_never_given) => reason == Reason::Unknown,
            Due::Begun => matches!(reason, Reason::Expired | Reason::Slow),
            Due::Any => reason == Reason::Slow,
            Due::Ready(_) => false,
        };
        if !fits {
            self.complain(format!("a gap ({}) at {at} that nothing explains", reason.as_str()));
        }
        // At its beginning a stream may name any id: the one that was asked for, or one that will never be
        // accepted.
        let leads_back = |last: Position| last.epoch == at.epoch && last.sequence > at.sequence;
        if self.due == Due::Any && self.last.is_some_and(leads_back) {
            self.complain(format!("a gap at {at} leads back"));
        }
        if let (Some(missed), Some(span)) = (missed, self.read.spans.last().copied()) {
            self.missed(span, at, missed);
        }
        self.due = Due::Any;
        self.begin(at);
    }

    /// Where `missed` is given it is exact: not fewer than other readers saw, and not more than there is room
    /// for.
    fn missed(&mut self, span: Span, at: Position, missed: u64) {
        let place = Span { epoch: span.epoch, from: span.to, to: at.sequence };
        let is_meant = |key: Key| {
            self.attempts.get(&key).is_some_and(|attempt| self.listener.is_meant(attempt.audience))
        };
        let known = self.index.seen().filter(|(key, at)| place.holds(*at) && is_meant(*key)).count() as u64;
        let room = place.to.saturating_sub(place.from);
        if span.epoch == at.epoch && (missed < known || missed > room) {
            let why = "others saw {known} of them for it, in {room} places";
            let why = why.replace("{known}", &known.to_string()).replace("{room}", &room.to_string());
            self.complain(format!("a gap at {at} says that {missed} are missing; {why}"));
        }
    }

    /// Something with an id of its own.
    fn in_place(&mut self, at: Position) {
        match self.due {
            Due::Any | Due::Begun => {}
            Due::Ready(_) => self.complain(format!("{at} before ready")),
            Due::Gap(_) => {
                self.complain(format!("{at}: the stream began anew and no gap said so"));
                self.begin(at);
            }
        }
        self.due = Due::Any;
        match self.last {
            Some(last) if last.epoch != at.epoch => {
                self.complain(format!("{at} follows {last} in one stream: another epoch"));
            }
            Some(last) if last.sequence >= at.sequence => {
                self.complain(format!("{at} follows {last}: ids must rise"));
            }
            _ => {}
        }
        if let Some(span) = self.read.spans.last_mut().filter(|span| span.epoch == at.epoch) {
            span.to = span.to.max(at.sequence);
        }
        self.last = Some(at);
    }

    fn event(&mut self, key: Key, audience: usize, counter: Option<u64>) {
        if !self.read.seen.insert(key) {
            self.complain(format!("{key} came twice"));
        }
        let number = self.numbers.entry((key.writer, key.delivery)).or_insert(0);
        let before = std::mem::replace(number, key.number);
        if before > key.number {
            self.complain(format!("{key} came behind event {before} of that writer"));
        }
        match self.attempts.get(&key) {
            None => self.complain(format!("{key} was never raised")),
            Some(attempt) if attempt.audience != audience => {
                self.complain(format!("{key} says that it is for audience {audience}, which it is not"));
            }
            Some(attempt) => {
                if !self.listener.is_meant(attempt.audience) {
                    self.complain(format!("{key} was not for it (audience {audience})"));
                }
                let is_committed = self.recording.committed.contains(&(key.writer, key.number));
                if key.delivery == Delivery::Commit && !is_committed {
                    self.complain(format!("{key} was rolled back ({})", attempt.kind));
                }
            }
        }
        if let Some(counter) = counter {
            if let Some(before) = self.counter.filter(|before| *before >= counter) {
                self.complain(format!("{key} brings the counter's {counter} behind its {before}"));
            }
            self.counter = Some(counter);
        }
    }

    fn begin(&mut self, at: Position) {
        self.last = Some(at);
        self.read.spans.push(Span { epoch: at.epoch, from: at.sequence, to: at.sequence });
    }

    fn complain(&mut self, why: String) {
        self.violations.push(Violation { reader: self.reader, item: Some(self.item), why });
    }
}
