//! The judge of followers (C7.6): a pure function of what was recorded.
//!
//! What it proves for every follower: a snapshot comes where one is due and nowhere else, is a state that the
//! table had, and is not older than its place in the stream nor than what the follower knew before; after it
//! comes each change that it has not seen, once, and none that it has seen; whatever comes with an id without
//! a mark needs no further snapshot (C6.4); a gap has a cause, and where it stands for a snapshot, the
//! changes after it come all the same, with marked ids; at the end the follower has the table. What is lost
//! shows at the next commit's change, because the table's writer makes one commit after the other; or because
//! others saw it.
//!
//! Not for readers of streams without a snapshot: `streams`, `owed`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound::{Excluded, Included, Unbounded};

#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod tests;

use super::Violation;
use crate::history::{Position, Reason};
use crate::tally::{Followed, Id, Rows, Seen, Tally};

/// Large events (300 kB) after which a stream may have to go on elsewhere: the smallest window is 1 MB, of
/// which it gives up whole segments, and smaller events are between them.
const LARGE_THAT_MOVE_THE_WINDOW: usize = 2;

/// Compares what followers saw with the table. The numbers of readers in what it returns are those of
/// followers.
pub(crate) fn check(tally: &Tally) -> Vec<Violation> {
    let mut violations = Vec::new();
    let places = Places::new(tally, &mut violations);
    let commits = Commits::new(tally);
    for (number, followed) in tally.followed.iter().enumerate() {
        let judge = Judge {
            number,
            tally,
            places: &places,
            commits: &commits,
            item: None,
            now: 0,
            due: Due::Nothing,
            last: None,
            since: 0,
            state: State::default(),
            best: Rows::new(),
            violations: &mut violations,
        };
        judge.follow(followed);
    }
    violations
}

/// Where the changes are in the stream, as all followers together have seen it.
#[derive(Default)]
struct Places {
    of: HashMap<(u64, u64), Position>,
    at: BTreeMap<Position, (u64, u64)>,
    /// The numbers of each row, in the order of the stream.
    of_row: BTreeMap<u64, BTreeMap<Position, u64>>,
}

impl Places {
    /// Also reports an id that names two changes, and a change that has two ids.
    fn new(tally: &Tally, violations: &mut Vec<Violation>) -> Self {
        let mut places = Self::default();
        for (reader, followed) in tally.followed.iter().enumerate() {
            for (item, sight) in followed.sights.iter().enumerate() {
                let Seen::Change { id: Id { at, .. }, row, n } = sight.what else { continue };
                let mut complain = |why| violations.push(Violation { reader, item: Some(item), why });
                let known = *places.of.entry((row, n)).or_insert(at);
                let named = *places.at.entry(at).or_insert((row, n));
                if named != (row, n) {
                    complain(format!("{at} names row {row} at {n} here, and row {} at {}", named.0, named.1));
                } else if known != at {
                    complain(format!("row {row} at {n} has two ids: {at} here, and {known}"));
                }
                places.of_row.entry(row).or_default().insert(at, n);
            }
        }
        places
    }

    /// The number that the last change of a row up to there has given it.
    fn number(&self, row: u64, until: Position) -> Option<u64> {
        let first = Position { sequence: 0, ..until };
        self.of_row.get(&row)?.range(first..=until).next_back().map(|(_, n)| *n)
    }

    /// The changes between two places of one epoch.
    fn between(&self, from: Position, to: Position) -> impl Iterator<Item = (Position, u64, u64)> {
        let is_stretch = from.epoch == to.epoch && from < to;
        let range = is_stretch.then(|| self.at.range((Excluded(from), Excluded(to))));
        range.into_iter().flatten().map(|(at, (row, n))| (*at, *row, *n))
    }

    /// The last change after a place of its epoch that this snapshot has seen.
    fn last_seen_by(&self, rows: &Rows, behind: Position) -> Option<Position> {
        let seen = rows.iter().filter_map(|(row, n)| {
            let later = self.of_row.get(row)?.range((Excluded(behind), Unbounded));
            let in_epoch = later.take_while(|(at, _)| at.epoch == behind.epoch);
            in_epoch.filter(|(_, number)| *number <= n).map(|(at, _)| *at).last()
        });
        seen.max()
    }
}

/// What the table's writer committed.
struct Commits<'a> {
    states: HashSet<&'a Rows>,
    /// The place in [`Tally::states`] of the commit that has raised a row to a number; never the first.
    of: HashMap<(u64, u64), usize>,
}

impl<'a> Commits<'a> {
    fn new(tally: &'a Tally) -> Self {
        let mut of = HashMap::new();
        for (place, pair) in tally.states.windows(2).enumerate() {
            let [old, new] = pair else { continue };
            for (row, n) in new {
                let first = old.get(row).map_or(0, |n| n + 1);
                of.extend((first..=*n).map(|n| ((*row, n), place + 1)));
            }
        }
        Self { states: tally.states.iter().collect(), of }
    }
}

/// What must come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Nothing in particular: changes, a gap.
    Nothing,
    /// `sse.ready` of a stream that was opened after this id.
    Ready(Option<Id>),
    /// A gap, which says why the stream does not go on from the follower's id.
    Gap,
    /// The snapshot, or a gap.
    Snapshot,
}

/// What the follower knows of the table.
#[derive(Debug, Default)]
struct State {
    /// Rows of which it knows the number.
    rows: Rows,
    /// What its last snapshot had. `None`: it has got none since its last gap.
    snapshot: Option<Rows>,
    /// The last place in the stream of anything that the snapshot has seen: up to there ids are marked.
    seen_until: Option<Position>,
    /// It got a gap in place of a snapshot: all ids are marked.
    is_lacking: bool,
}

struct Judge<'a> {
    number: usize,
    tally: &'a Tally,
    places: &'a Places,
    commits: &'a Commits<'a>,
    /// What is being looked at, and when it came.
    item: Option<usize>,
    now: u64,
    due: Due,
    /// The follower has everything up to here.
    last: Option<Id>,
    /// When it got that, or began to wait for a snapshot.
    since: u64,
    state: State,
    /// The most that it has ever known of each row.
    best: Rows,
    violations: &'a mut Vec<Violation>,
}

impl Judge<'_> {
    fn follow(mut self, followed: &Followed) {
        for (number, sight) in followed.sights.iter().enumerate() {
            (self.item, self.now) = (Some(number), sight.at);
            self.take(&sight.what);
        }
        let table = self.tally.states.last();
        if self.state.snapshot.is_none() || Some(&self.state.rows) != table {
            let has = if self.state.snapshot.is_some() { "" } else { ", without a snapshot" };
            self.complain(format!(
                "at the end it has {:?}{has}, and the table is {table:?}",
                self.state.rows
            ));
        }
    }

    fn take(&mut self, what: &Seen) {
        match what {
            Seen::Opened(after) => self.due = Due::Ready(*after),
            Seen::Closed => self.due = Due::Nothing,
            Seen::Malformed(text) => self.complain(format!("what came is nothing that anybody sent: {text}")),
            Seen::Ready(id) => self.ready(*id),
            Seen::Gap { id, reason } => self.gap(*id, *reason),
            Seen::Snapshot { id, rows } => self.snapshot(*id, rows),
            Seen::Change { id, row, n } => self.change(*id, *row, *n),
        }
        if !matches!(what, Seen::Opened(_) | Seen::Closed | Seen::Malformed(_)) {
            self.since = self.now;
        }
    }

    fn ready(&mut self, id: Id) {
        let Due::Ready(after) = self.due else {
            return self.complain(format!("{id} ready, although the stream had begun"));
        };
        let goes_on = after.is_some_and(|after| after.at == id.at);
        self.due = match after {
            None => {
                self.state = State::default();
                Due::Snapshot
            }
            Some(after) if goes_on && after.is_marked => Due::Snapshot,
            Some(after) if goes_on && after.is_marked == id.is_marked => Due::Nothing,
            Some(_) => Due::Gap,
        };
        if self.due != Due::Nothing && !id.is_marked {
            self.complain(format!("{id} before a snapshot has no mark"));
        }
        self.last = Some(id);
    }

    fn gap(&mut self, id: Id, reason: Reason) {
        if !id.is_marked {
            self.complain(format!("the gap at {id} has no mark"));
        }
        if let Some(why) = self.not_explained(id, reason) {
            self.complain(format!("a gap ({}) at {id} that nothing explains: {why}", reason.as_str()));
        }
        // These two are known when the stream begins.
        let is_known_at_once = matches!(reason, Reason::Restarted | Reason::Expired);
        if let Some(last) = self.last.filter(|last| is_known_at_once && !last.is_marked) {
            self.complain(format!("{last} before a gap has no mark"));
        }
        // Up to one in its place nothing is missing. One that stands for a snapshot is where the stream was,
        // unless the window has moved on meanwhile.
        if reason.is_in_place() || (reason == Reason::Snapshot && !self.has_cause(Reason::Slow, id.at)) {
            self.has_all_before(id.at);
        }
        self.state = State { is_lacking: reason == Reason::Snapshot, ..State::default() };
        self.due = if reason == Reason::Snapshot { Due::Nothing } else { Due::Snapshot };
        self.last = Some(id);
    }

    /// Why there must not be a gap.
    fn not_explained(&self, id: Id, reason: Reason) -> Option<&'static str> {
        let last = self.last.map(|last| last.at);
        let same_epoch = last.is_some_and(|last| last.epoch == id.at.epoch);
        match reason {
            _ if matches!(self.due, Due::Ready(_)) => Some("it comes before ready"),
            Reason::TooLarge => Some("no change is large"),
            Reason::Unknown => Some("it never makes up an id"),
            Reason::Restarted => same_epoch.then_some("the stream is the same"),
            Reason::Snapshot if self.due != Due::Snapshot => Some("no snapshot is due"),
            _ if !same_epoch => Some("the stream is another one"),
            _ if last.is_some_and(|last| id.at < last) => Some("it leads back"),
            _ => (!self.has_cause(reason, id.at)).then_some("nothing happened that could cause it"),
        }
    }

    /// Whether something was broken since it was right that can cause a gap like this one at this place; or
    /// writers have moved the window on by themselves.
    fn has_cause(&self, reason: Reason, at: Position) -> bool {
        let is_of_window = matches!(reason, Reason::Expired | Reason::Slow);
        let last = self.last.map(|last| last.at).filter(|last| *last < at);
        let large =
            last.filter(|_| is_of_window).map(|last| self.tally.large.range((Excluded(last), Included(at))));
        large.is_some_and(|large| large.count() >= LARGE_THAT_MOVE_THE_WINDOW)
            || self.tally.spans.iter().any(|span| span.explains(reason, self.since, self.now))
    }

    fn snapshot(&mut self, id: Id, rows: &Rows) {
        match self.due {
            Due::Snapshot => {}
            Due::Gap => self.complain(format!("the snapshot at {id} comes without the gap that it is for")),
            Due::Ready(_) => self.complain(format!("the snapshot at {id} comes before ready")),
            Due::Nothing => self.complain(format!("the snapshot at {id} comes where none is due")),
        }
        self.due = Due::Nothing;
        if self.last.is_some_and(|last| last.at > id.at || last.at.epoch != id.at.epoch) {
            self.complain(format!("the snapshot at {id} leads back"));
        }
        if !self.commits.states.contains(rows) {
            self.complain(format!("the snapshot at {id} is no state that the table ever had: {rows:?}"));
        }
        for (row, n) in rows {
            if let Some(known) = self.places.number(*row, id.at).filter(|known| known > n) {
                self.complain(format!(
                    "the snapshot at {id} is older than its place: row {row} is {n}, and was {known} before"
                ));
            } else if let Some(best) = self.best.get(row).copied().filter(|best| best > n) {
                self.complain(format!(
                    "the snapshot at {id} is older than what it knew: row {row} is {n}, and was {best}"
                ));
            }
        }
        let seen_until = self.places.last_seen_by(rows, id.at);
        self.state =
            State { rows: rows.clone(), snapshot: Some(rows.clone()), seen_until, is_lacking: false };
        self.best.extend(rows);
        self.last = Some(id);
        self.may_be_resumed(id);
    }

    fn change(&mut self, id: Id, row: u64, n: u64) {
        match self.due {
            Due::Nothing => {}
            Due::Ready(_) => self.complain(format!("row {row} at {n} comes before ready")),
            Due::Gap => self.complain(format!("row {row} at {n} comes without the gap that ready announced")),
            Due::Snapshot => self.complain(format!("row {row} at {n} comes before the snapshot")),
        }
        self.due = Due::Nothing;
        match self.last {
            Some(last) if last.at.epoch != id.at.epoch => {
                self.complain(format!("{id} follows {last} in one stream: another epoch"));
            }
            Some(last) if last.at >= id.at => self.complain(format!("{id} follows {last}: ids must rise")),
            _ => self.has_all_before(id.at),
        }
        self.follows_commits_before(row, n);
        let had = |snapshot: &Rows| snapshot.get(&row).is_some_and(|had| *had >= n);
        match self.state.rows.get(&row) {
            Some(_) if self.state.snapshot.as_ref().is_some_and(had) => {
                self.complain(format!("row {row} at {n} came, and its snapshot had it"));
            }
            Some(known) if n <= *known => self.complain(format!("row {row} at {n} came twice")),
            Some(known) if n > known + 1 => {
                self.complain(format!("row {row} goes from {known} to {n}: what is between them is lost"));
            }
            _ => {}
        }
        self.state.rows.insert(row, n);
        self.best.entry(row).and_modify(|best| *best = n.max(*best)).or_insert(n);
        self.last = Some(id);
        self.may_be_resumed(id);
    }

    /// When a commit's change comes, all that was committed before has come. Where it begins without a
    /// snapshot, in the middle of a commit perhaps, it knows the rows that this commit has left alone.
    fn follows_commits_before(&mut self, row: u64, n: u64) {
        let Some(commit) = self.commits.of.get(&(row, n)).copied() else {
            return self.complain(format!("row {row} at {n} was never committed"));
        };
        let (before, after) = (&self.tally.states[commit - 1], &self.tally.states[commit]);
        let begins = self.state.rows.is_empty();
        for (other, committed) in before.iter().filter(|(other, _)| **other != row) {
            match self.state.rows.get(other).copied() {
                Some(known) if known < *committed => self.complain(format!(
                    "row {other} at {committed} is lost: it was committed before row {row} at {n}, and it has {known}"
                )),
                None if !begins || after.get(other) == Some(committed) => {
                    self.state.rows.insert(*other, *committed);
                }
                _ => {}
            }
        }
    }

    /// Whatever others saw between what it had and this place was in its snapshot.
    fn has_all_before(&mut self, at: Position) {
        let Some(last) = self.last else { return };
        let places = self.places;
        for (place, row, n) in places.between(last.at, at) {
            let had = self.state.snapshot.as_ref().and_then(|snapshot| snapshot.get(&row));
            if had.is_none_or(|had| n > *had) {
                self.complain(format!("row {row} at {n} is lost: others saw it at {place}"));
            }
        }
    }

    /// An id without a mark brings no snapshot when it is resumed from, so nothing may come after it that
    /// its snapshot has seen; and there must be one.
    fn may_be_resumed(&mut self, id: Id) {
        if id.is_marked {
            return;
        }
        if self.state.is_lacking {
            self.complain(format!("{id} has no mark, and there was no snapshot"));
        } else if let Some(until) = self.state.seen_until.filter(|until| *until > id.at) {
            self.complain(format!("{id} has no mark, and what its snapshot saw comes until {until}"));
        }
    }

    fn complain(&mut self, why: String) {
        self.violations.push(Violation { reader: self.number, item: self.item, why });
    }
}
