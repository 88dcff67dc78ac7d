//! The order of events that transactions send at their commit (C5.3): a transaction that saw another's
//! changes comes after it.
//!
//! A transaction becomes visible to others a moment before it can push its events into the ring. So a
//! transaction that saw these changes may push first, and the order of the ring is not the order that
//! subscribers are promised. No lock closes that gap; the gateway does, afterwards:
//!
//! 1. Before a transaction with events commits it takes a *ticket*; tickets rise. It *announces* its ticket
//!    where the gateway can see it. Then it commits, and becomes visible.
//! 2. It pushes its events, each with the ticket, and then takes back the announcement.
//! 3. The gateway takes everything out of the ring, reads the *highest* ticket that it holds
//!    ([`Order::highest`]), then looks at the announcements: those below the highest whose transaction does
//!    not run as one that has changed something are *blockers*. Then it takes out of the ring what has come
//!    up to now, and decides ([`Order::decide`]): what it held up to the highest ticket may leave, in the
//!    order of the tickets, as far as the first blocker.
//!
//! Why that is enough. Let T2 have seen T1, both with events, and let T2's ticket be at most the highest. T1
//! announced before it became visible, so before T2 saw it, so before T2 took its ticket, so before the
//! highest was taken, so before the gateway looked. There it found T1 in one of three states. Announced and
//! no longer running: a blocker, and T2 has to wait. No longer announced: its events were in the ring before
//! the look, and the second taking out has brought them. Announced and still running: T1 was not visible, and
//! T2 cannot have seen it. That holds for a T2 that came with the second taking out as well; what came with a
//! higher ticket waits for the next round.
//!
//! A transaction that still runs holds nothing up, however long its commit takes (flushing WAL, waiting for a
//! standby). A blocker is about to push, which takes microseconds, unless its process is stopped: so waiting
//! ends after [`Limits`].
//!
//! The second taking out stops at a *hole* in the ring (a place that a producer has reserved and not filled
//! yet). Events that the look has promised may lie beyond it. So with a hole nothing is decided.
//!
//! Events that are sent at once have no ticket and wait for nobody. They keep their place among what leaves
//! with the next decision ([`Order::pass`]), so that a session's events of both kinds come as it raised them
//! while nobody blocks.
//!
//! What has to come after events of both kinds, as the end of the call that has raised them, follows all
//! that is held when it comes ([`Order::follow`]): whatever of the call has not left yet is among that.
//!
//! A snapshot sees what is visible, also of a transaction that was given up. So its end, after which nothing
//! comes that it saw ([`Order::hold_end`]), waits for such a transaction, too, however long it is stopped:
//! nobody waits for the end itself.
//!
//! Not for: tickets and announcements themselves (`src/pg/ticket.rs`), and what was pushed by one backend:
//! the ring keeps that in order.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Ends of snapshots that are held for transactions that were given up: what a busy server has of them in a
/// minute or so. Beyond it the oldest is dropped: whoever has that snapshot goes by the end of a later one,
/// which saw what this one saw. To let the oldest go early would bring them events twice.
pub const MAX_ENDS: usize = 1024;

/// How long events are held back, and how many bytes of them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a blocker is waited for. Then it is given up: later events go out, its own whenever they
    /// come.
    pub time: Duration,
    /// Most bytes that are held. Beyond it all present blockers are given up.
    pub bytes: usize,
}

/// What is held back, and what may leave.
#[derive(Debug)]
pub struct Order {
    limits: Limits,
    /// By ticket.
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
    /// Whether an event without a ticket is among what is held.
    has_passing: bool,
    /// Ends of snapshots, by ticket.
    ends: BTreeMap<u64, Records>,
    /// What may leave, in order.
    ready: VecDeque<Records>,
    /// The blockers of the last decision by their tickets, and since when each is one.
    blockers: BTreeMap<u64, Blocker>,
    /// Since when the ring has a hole.
    hole: Option<Instant>,
    state: State,
}

/// What the held events wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is held.
    Idle,
    /// Something is held that came too late for the last decision: decide again at once.
    LookAgain,
    /// Something is held for a transaction that is about to push: decide again soon.
    Blocked,
    /// Only ends of snapshots are held, for transactions that were given up: decide again some time.
    EndsBlocked,
}

/// What came of a decision.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Tickets that have not pushed and are no longer waited for. Each is reported once.
    pub given_up: Vec<u64>,
    /// A hole in the ring was no longer waited for.
    pub passed_hole: bool,
}

/// What the gateway has found out before it decides.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// [`Order::highest`] from before it looked at the announcements.
    pub highest: u64,
    /// The tickets below it that were announced and whose transactions no longer ran, in any order.
    pub blockers: &'a [u64],
    /// Whether what was taken out of the ring afterwards ends at a hole.
    pub is_before_hole: bool,
}

#[derive(Debug)]
struct Blocker {
    since: Instant,
    is_given_up: bool,
}

/// What is held under one ticket.
#[derive(Debug, Default)]
struct Held {
    records: Records,
    /// Without a ticket; came while this one was the highest.
    passing: Records,
    /// Come after all that was held when they came; this ticket was the highest.
    following: Records,
}

/// Events one after another: those of one transaction that have come so far.
#[derive(Debug, Default)]
struct Records {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// How many have left.
    taken: usize,
}

impl Order {
    /// Holds nothing.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            held: BTreeMap::new(),
            held_bytes: 0,
            has_passing: false,
            ends: BTreeMap::new(),
            ready: VecDeque::new(),
            blockers: BTreeMap::new(),
            hole: None,
            state: State::Idle,
        }
    }

    /// Holds one event. Those of one ticket keep their order.
    pub fn hold(&mut self, ticket: u64, record: &[u8]) {
        self.held.entry(ticket).or_default().records.push(record);
        self.held_bytes += record.len();
    }

    /// Takes one event that waits for nobody. It leaves with the next decision, whatever that is, after the
    /// earlier events that leave with it. `false`: nothing is held, so the event was not taken and may leave
    /// now.
    pub fn pass(&mut self, record: &[u8]) -> bool {
        let Some(mut highest) = self.held.last_entry() else { return false };
        highest.get_mut().passing.push(record);
        self.has_passing = true;
        true
    }

    /// Takes a record that must not leave before anything that is held now, whatever transactions that waits
    /// for. `false`: nothing is held, so the record was not taken and may leave now.
    pub fn follow(&mut self, record: &[u8]) -> bool {
        let Some(mut highest) = self.held.last_entry() else { return false };
        highest.get_mut().following.push(record);
        true
    }

    /// Holds the end of a snapshot, until nothing can come any more that it saw.
    pub fn hold_end(&mut self, ticket: u64, record: &[u8]) {
        self.ends.entry(ticket).or_default().push(record);
        if self.ends.len() > MAX_ENDS {
            self.ends.pop_first();
        }
    }

    /// The highest ticket that is held; `None` when nothing is, so nothing is to be decided.
    pub fn highest(&self) -> Option<u64> {
        let of_ends = self.ends.last_key_value().map(|(ticket, _)| *ticket);
        self.held.last_key_value().map(|(ticket, _)| *ticket).max(of_ends)
    }

    /// Lets go what may leave; [`Order::take`] has it.
    pub fn decide(&mut self, look: Look<'_>, now: Instant) -> Decision {
        let mut decision = Decision::default();
        self.blockers.retain(|ticket, _| look.blockers.contains(ticket));
        for ticket in look.blockers {
            self.blockers.entry(*ticket).or_insert(Blocker { since: now, is_given_up: false });
        }
        let holds_events = !self.held.is_empty();
        self.hole = (look.is_before_hole && holds_events).then(|| self.hole.unwrap_or(now));

        let time = self.limits.time;
        let is_over = |since: Instant| now.saturating_duration_since(since) >= time;
        self.give_up(|blocker| is_over(blocker.since), &mut decision);
        decision.passed_hole = self.hole.is_some_and(is_over);
        self.let_go(look.highest, decision.passed_hole);
        if self.held_bytes > self.limits.bytes {
            self.give_up(|_| true, &mut decision);
            decision.passed_hole |= self.hole.is_some();
            self.let_go(look.highest, decision.passed_hole);
        }
        if decision.passed_hole {
            self.hole = None;
        }
        if std::mem::take(&mut self.has_passing) {
            // In the order in which they came: the highest ticket only grows until something leaves.
            let passing = self.held.values_mut().map(|held| std::mem::take(&mut held.passing));
            self.ready.extend(passing.filter(|records| !records.ends.is_empty()));
        }
        if !look.is_before_hole {
            self.let_go_ends(look.highest);
        }
        let holds = !self.held.is_empty();
        self.state = if !holds && self.ends.is_empty() {
            State::Idle
        } else if holds && self.hole.is_some() || self.first_blocker().is_some() {
            State::Blocked
        } else if !holds && (look.is_before_hole || !self.blockers.is_empty()) {
            State::EndsBlocked
        } else {
            State::LookAgain
        };
        decision
    }

    /// Hands what may leave to `f`, in order: at most `max_bytes`, but at least one event if there is one.
    /// Returns how many.
    pub fn take(&mut self, max_bytes: usize, mut f: impl FnMut(&[u8])) -> usize {
        let (mut count, mut bytes) = (0, 0);
        while let Some(records) = self.ready.front_mut() {
            let Some(record) = records.next() else {
                self.ready.pop_front();
                continue;
            };
            if count > 0 && bytes + record.len() > max_bytes {
                break;
            }
            bytes += record.len();
            count += 1;
            f(record);
            records.taken += 1;
        }
        count
    }

    /// Lets everything go, in the order of the tickets, without regard to blockers: no decision will follow.
    pub fn let_go_all(&mut self) {
        let held = std::mem::take(&mut self.held).into_values();
        self.ready.extend(held.flat_map(|held| [held.records, held.passing, held.following]));
        self.ready.extend(std::mem::take(&mut self.ends).into_values());
        self.held_bytes = 0;
        self.has_passing = false;
        self.blockers.clear();
        self.hole = None;
        self.state = State::Idle;
    }

    /// What the held events wait for, as of the last decision.
    pub fn state(&self) -> State {
        self.state
    }

    fn give_up(&mut self, is_due: impl Fn(&Blocker) -> bool, decision: &mut Decision) {
        for (ticket, blocker) in &mut self.blockers {
            if !blocker.is_given_up && is_due(blocker) {
                blocker.is_given_up = true;
                decision.given_up.push(*ticket);
            }
        }
    }

    /// The events of the first blocker itself may leave, as far as they are here: nothing below it is
    /// missing.
    fn let_go(&mut self, highest: u64, passes_hole: bool) {
        if self.hole.is_some() && !passes_hole {
            return;
        }
        let last = self.first_blocker().map_or(highest, |blocker| blocker.min(highest));
        while let Some(first) = self.held.first_entry()
            && *first.key() <= last
        {
            let Held { records, passing, following } = first.remove();
            self.held_bytes -= records.bytes.len();
            self.ready.extend([records, passing, following]);
        }
    }

    /// All blockers count, also those that were given up.
    fn let_go_ends(&mut self, highest: u64) {
        let last = self.blockers.first_key_value().map_or(highest, |(blocker, _)| highest.min(*blocker));
        while let Some(first) = self.ends.first_entry()
            && *first.key() <= last
        {
            self.ready.push_back(first.remove());
        }
    }

    fn first_blocker(&self) -> Option<u64> {
        self.blockers.iter().find(|(_, blocker)| !blocker.is_given_up).map(|(ticket, _)| *ticket)
    }
}

impl Records {
    fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }

    fn next(&self) -> Option<&[u8]> {
        let start = if self.taken == 0 { 0 } else { *self.ends.get(self.taken - 1)? };
        self.bytes.get(start..*self.ends.get(self.taken)?)
    }
}
