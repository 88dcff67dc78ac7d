//! One publisher, whose events each have a row, and one reader of each server that serves them.
//!
//! Not for many streams: `standbys.rs`.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::delays::Delays;
use super::looker::{Looker, Visible};
use super::tree::{Durability, Tree, WRITE, WRITTEN};
use crate::crowd::Crowd;
use crate::fanout::EVENT;
use crate::marker::Marker;
use crate::publisher::Publisher;
use crate::tally::Faults;

/// How long the last events may take beside a load.
const PATIENCE: Duration = Duration::from_secs(120);

/// See the head of this file.
pub(super) struct Line {
    pub(super) tree: Tree,
    readers: Vec<(String, Crowd)>,
    publisher: Publisher,
    /// The number of the next event.
    next: u64,
}

/// What came of one turn; places in all lists are those of the events.
pub(super) struct Turn {
    /// When each was sent, in microseconds of [`crate::marker::now`].
    sent: Vec<u64>,
    /// How long each took to each reader, in microseconds.
    delays: Vec<(String, Vec<u64>)>,
}

impl Line {
    /// Starts the servers, and opens a stream of each.
    pub(super) fn start(durability: Durability) -> Result<Self> {
        let tree = Tree::start(durability)?;
        tree.settle()?;
        let mut readers = Vec::new();
        for (server, place) in tree.servers().zip(["primary", "standby"]) {
            let reader = Crowd::connect(server.http()?.address(), WRITTEN, 1, 1)?;
            readers.push((format!("{place}, {}", durability.name()), reader));
        }
        let publisher = tree.publisher(WRITE)?;
        Ok(Self { tree, readers, publisher, next: 0 })
    }

    /// A session that looks for the rows of the events to come, on the standby.
    pub(super) fn looker(&self, pause: Duration) -> Result<Looker> {
        let standby = self.tree.standbys.first().context("there is no standby")?;
        Looker::start(standby.home(), self.next, pause)
    }

    /// Publishes one event in each `pause` as long as `goes_on` says so of the number that is sent, and waits
    /// until every reader has all.
    ///
    /// # Errors
    /// An event is lost, doubled or out of order, or a stream ends.
    pub(super) fn publish(
        &mut self,
        pause: Duration,
        looker: Option<&Looker>,
        goes_on: impl Fn(usize) -> bool,
    ) -> Result<Turn> {
        let mut sent = Vec::new();
        let start = Instant::now();
        while goes_on(sent.len()) {
            if let Some(looker) = looker {
                looker.expect(self.next + 1);
            }
            let payload = Marker::payload(0, self.next, EVENT);
            sent.push(Marker::read(payload.as_bytes()).context("no marker")?.sent);
            self.publisher.publish(&[payload])?;
            self.next += 1;
            let due = pause * u32::try_from(sent.len())?;
            thread::sleep(due.saturating_sub(start.elapsed()));
        }
        let of_reader = |(name, reader): &(String, Crowd)| -> Result<_> {
            let delays = take(reader, self.next, sent.len()).with_context(|| name.clone())?;
            Ok((name.clone(), delays))
        };
        let delays = self.readers.iter().map(of_reader).collect::<Result<_>>()?;
        Ok(Turn { sent, delays })
    }

    /// The servers alone.
    pub(super) fn into_tree(self) -> Tree {
        self.tree
    }
}

/// Waits until this stream has all events before number `next`; how long each of the last ones took.
fn take(reader: &Crowd, next: u64, events: usize) -> Result<Vec<u64>> {
    let is_whole = reader.wait(PATIENCE, |tally| tally.complete(0) == next);
    let mut tally = reader.tally();
    let delays = std::mem::take(&mut tally.delays);
    ensure!(
        is_whole && tally.faults == Faults::default() && delays.len() == events,
        "{} of {next} events have come; {:?}",
        tally.complete(0),
        tally.faults
    );
    Ok(delays.into_iter().map(u64::from).collect())
}

impl Turn {
    /// From before the statement to the reader, by the names of the servers.
    pub(super) fn delays(&self) -> impl Iterator<Item = (&str, Delays)> {
        self.delays.iter().map(|(name, delays)| (name.as_str(), Delays::new(delays.clone())))
    }

    /// From before the statement until a session of the standby has seen the row.
    pub(super) fn until_visible(&self, visible: &[Visible]) -> Delays {
        let pairs = self.sent.iter().zip(visible);
        Delays::new(pairs.map(|(sent, visible)| visible.by.saturating_sub(*sent)).collect())
    }

    /// From when the row became visible on the standby, at the earliest, to the reader there.
    pub(super) fn over_replay(&self, visible: &[Visible]) -> Result<Delays> {
        let (_, delays) = self.delays.get(1).context("no standby has a reader")?;
        ensure!(visible.len() == delays.len(), "{} rows of {} events", visible.len(), delays.len());
        let all = self.sent.iter().zip(delays).zip(visible);
        // No row is visible before it is sent.
        Ok(Delays::new(
            all.map(|((sent, delay), visible)| (sent + delay).saturating_sub(visible.after.max(*sent)))
                .collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_over_replay_is_counted_from_the_earliest_moment_that_is_possible() {
        let turn = Turn {
            sent: vec![1000, 11_000],
            delays: vec![("primary".to_owned(), vec![1, 1]), ("standby".to_owned(), vec![900, 700])],
        };
        let visible = [Visible { after: 1400, by: 1600 }, Visible { after: 1600, by: 11_400 }];
        let over = turn.over_replay(&visible).expect("a standby");
        assert_eq!(over, Delays::new(vec![500, 700]));
        assert_eq!(turn.until_visible(&visible), Delays::new(vec![600, 400]));
        assert!(turn.over_replay(&visible[1..]).is_err());
    }
}
