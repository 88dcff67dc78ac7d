//! With `sse.durability = wal`: what comes from the reader of the log, and what has to come after it.
//!
//! The ends of calls and of snapshots, and canaries, are of this server alone, so they do not go through the
//! log: they come straight into the ring, with the position in the log after which they belong, and are held
//! until the reader has handed over everything up to there.
//!
//! Not for: `memory`, where records with a ticket are held (`order.rs`); and reading the log
//! (`worker/wal_reader.rs`).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sse_proto::place::Place;
use sse_proto::record::{self, Kind, Record};

/// As many are held. Each is of a call or snapshot that has ended, or a canary, so more can only come while
/// the log stands still; then the oldest are handed on, and come too early.
const MOST: usize = 10_000;

/// Pause before it is looked again whether the reader has come further. It wakes nobody for that.
const RECHECK: Duration = Duration::from_millis(1);

/// … when the oldest one has been held for [`HELD_LONG`]: the reader waits for something.
const RECHECK_LATER: Duration = Duration::from_millis(20);
const HELD_LONG: Duration = Duration::from_millis(200);

/// What becomes of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It is handed on now.
    HandOn,
    /// It is held, or of no use.
    Kept,
}

/// See the head of this file.
#[derive(Default)]
pub(super) struct Local {
    /// What comes from the log is still of an earlier reading.
    awaits_reading: bool,
    held: VecDeque<Held>,
}

struct Held {
    /// The position after which it belongs.
    behind: u64,
    record: Vec<u8>,
    since: Instant,
}

impl Local {
    /// Everything is told anew from here on. What is told of an earlier reading until then is of no use.
    pub(super) fn begin_anew(&mut self) {
        self.awaits_reading = true;
        self.held.clear();
    }

    /// Takes a record of one of the kinds of the log.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Fate {
        if let Some((place, inner)) = record::place(bytes)
            && !matches!(Kind::of(inner), Some(Kind::Event | Kind::TooLarge))
        {
            let held = Held { behind: place.lsn, record: inner.to_vec(), since: Instant::now() };
            self.held.push_back(held);
            return Fate::Kept;
        }
        if Kind::of(bytes) == Some(Kind::LogState)
            && let Ok(Record::LogState { begin, .. }) = record::decode(bytes)
            && begin == Place::default()
        {
            self.awaits_reading = false;
            return Fate::Kept;
        }
        if self.awaits_reading { Fate::Kept } else { Fate::HandOn }
    }

    /// The next one that belongs after this position or an earlier one, up to which everything has been
    /// handed on; or that is too much.
    pub(super) fn next(&mut self, handed_on: u64) -> Option<Vec<u8>> {
        let ready = self.held.iter().position(|held| held.behind <= handed_on);
        let ready = ready.or((self.held.len() > MOST).then_some(0))?;
        self.held.remove(ready).map(|held| held.record)
    }

    /// How long the courier may sleep, at most `pause`.
    pub(super) fn pause(&self, pause: Duration) -> Duration {
        match self.held.front() {
            None => pause,
            Some(held) if held.since.elapsed() < HELD_LONG => pause.min(RECHECK),
            Some(_) => pause.min(RECHECK_LATER),
        }
    }
}
