//! The honest follower: its stream begins with a snapshot, and by the events after it it keeps a state that
//! must be the table's at the end. And the writer of that table.
//!
//! Each change raises one row's number by one, and is an event with row and number: so an event that the
//! snapshot had seen, and one that is missing, both show at once.
//!
//! Not for how late events are: that is the subscriber's.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::http::{Client, Event, EventStream, StreamError};
use cluster::{Clock, PATIENCE, wait_until};

use super::Ends;
use crate::ground::Ground;
use crate::wire::Wire;

const STREAM: &str = "/api/scored/info?topic=score";

/// Between two changes.
const PACE: Duration = Duration::from_millis(40);

/// How often it looks whether the run is over.
const LOOK: Duration = Duration::from_millis(250);

/// The pause before it comes back, and the one after a gap that says there is no snapshot.
const RETRY: Duration = Duration::from_millis(100);
const LONG_RETRY: Duration = Duration::from_secs(1);

/// At most this many are told.
const MAX_TOLD: usize = 10;

/// Rows and their numbers.
type Rows = BTreeMap<u64, u64>;

/// What it saw.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    pub(crate) events: u64,
    pub(crate) snapshots: u64,
    pub(crate) gaps: u64,
    /// Of these, gaps in place of a snapshot.
    pub(crate) without: u64,
    pub(crate) wrong: Vec<String>,
}

/// What it knows of the table.
#[derive(Debug)]
enum State {
    /// Nothing, and a snapshot is to come before the next event.
    Waiting,
    /// Nothing, and none will come.
    Without,
    Known(Rows),
}

/// Starts both, and returns when there is a stream.
pub(super) fn start(ground: &Arc<Ground>, clock: Clock, ends: Arc<Ends>) -> Result<JoinHandle<Followed>> {
    let client = ground.client.within(Duration::from_secs(5));
    wait_until(PATIENCE, "the gateway serves the stream with a snapshot", || client.events(STREAM).is_ok())?;
    let table: Arc<OnceLock<Result<Rows, String>>> = Arc::default();
    let (session, written, for_writer) = (ground.session("honest")?, Arc::clone(&table), Arc::clone(&ends));
    super::spawn("writer", move || {
        _ = written.set(write(session, &for_writer).map_err(|error| format!("{error:#}")));
    })?;
    let (followed, last_id) = (Followed::default(), String::new());
    let follower = Follower { client, clock, ends, table, followed, state: State::Waiting, last_id };
    super::spawn("follower", move || follower.follow())
}

/// Changes rows until the end of the work, and returns what the table is then.
fn write(mut session: Wire, ends: &Ends) -> Result<Rows> {
    for number in 0_u64.. {
        if ends.work.load(Relaxed) {
            break;
        }
        // Now and then several at once, and some that are rolled back.
        let one = format!("update score set n = n + 1 where id = {}", 1 + number % 20);
        let sql = match number % 7 {
            0 => "update score set n = n + 1 where id % 3 = 0".to_owned(),
            1 => format!("begin; {one}; rollback"),
            2 => format!("begin; savepoint a; {one}; rollback to a; {one}; commit"),
            _ => one,
        };
        session.query(&sql, PATIENCE)?.ok()?;
        thread::sleep(PACE);
    }
    let table = session.query("select score_now()", PATIENCE)?.ok()?.context("no table")?;
    Ok(serde_json::from_str(&table)?)
}

struct Follower {
    client: Client,
    clock: Clock,
    ends: Arc<Ends>,
    /// Set by the writer at its end: the table, or why there is none.
    table: Arc<OnceLock<Result<Rows, String>>>,
    followed: Followed,
    state: State,
    last_id: String,
}

impl Follower {
    fn follow(mut self) -> Followed {
        while !self.is_at_end() {
            let opened = match self.last_id.as_str() {
                "" => self.client.events(STREAM),
                id => self.client.events_after(STREAM, id),
            };
            // What ends streams is judged for the subscriber; this one comes back.
            if let Ok(mut stream) = opened {
                while !self.is_at_end() && self.step(&mut stream) {}
            }
            thread::sleep(RETRY);
            if matches!(self.state, State::Without) {
                thread::sleep(LONG_RETRY);
                (self.state, self.last_id) = (State::Waiting, String::new());
            }
        }
        self.followed
    }

    /// Whether it has all of the table, or need not wait longer.
    fn is_at_end(&mut self) -> bool {
        let why = match (self.table.get(), &self.state) {
            (Some(Ok(table)), State::Known(state)) if table == state => return true,
            (Some(Err(error)), _) => format!("the writer failed: {error}"),
            _ if !self.ends.waiting.load(Relaxed) => return false,
            (table, state) => format!("at the end it has {state:?}, the table {table:?}"),
        };
        self.complain(&why);
        true
    }

    /// Reads one event; `false` when the stream is to be opened anew.
    fn step(&mut self, stream: &mut EventStream) -> bool {
        let event = match stream.next(LOOK) {
            Ok(event) => event,
            Err(StreamError::TimedOut) => return true,
            Err(_) => return false,
        };
        stream.forget_bytes();
        if let Err(error) = self.take(&event) {
            self.complain(&format!("{error:#}"));
            // From here on it can only be right again with a fresh snapshot.
            self.state = State::Without;
        }
        self.last_id.clone_from(&event.id);
        !matches!(self.state, State::Without)
    }

    fn take(&mut self, event: &Event) -> Result<()> {
        match event.event.as_str() {
            "sse.ready" => {}
            "sse.gap" => {
                self.followed.gaps += 1;
                self.state = State::Waiting;
                if event.data.contains("\"snapshot\"") {
                    self.followed.without += 1;
                    self.state = State::Without;
                }
            }
            "state" => {
                self.followed.snapshots += 1;
                self.state = State::Known(serde_json::from_str(&event.data)?);
            }
            _ => {
                self.followed.events += 1;
                let (row, n) = event.data.split_once(' ').with_context(|| format!("{event:?}"))?;
                let (row, n): (u64, u64) = (row.parse()?, n.parse()?);
                let State::Known(state) = &mut self.state else {
                    anyhow::bail!("{event:?} came before the snapshot");
                };
                let before = state.insert(row, n).unwrap_or(0);
                ensure!(n == before + 1, "row {row} went from {before} to {n}");
            }
        }
        Ok(())
    }

    fn complain(&mut self, why: &str) {
        if self.followed.wrong.len() < MAX_TOLD {
            let why: String = why.chars().take(500).collect();
            self.followed.wrong.push(format!("{why} (at {} ms)", self.clock.now() / 1000));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower() -> Follower {
        Follower {
            client: Client::at(([127, 0, 0, 1], 1).into()),
            clock: Clock::start(),
            ends: Arc::default(),
            table: Arc::default(),
            followed: Followed::default(),
            state: State::Waiting,
            last_id: String::new(),
        }
    }

    fn event(name: &str, data: &str) -> Event {
        Event { id: String::new(), event: name.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn an_event_that_the_snapshot_had_seen_and_one_that_is_missing_are_found() -> Result<()> {
        let mut follower = follower();
        assert!(follower.take(&event("message", "1 1")).is_err(), "before the snapshot");
        follower.take(&event("state", r#"{"1": 4, "2": 0}"#))?;
        follower.take(&event("message", "1 5"))?;
        assert!(follower.take(&event("message", "1 5")).is_err(), "seen already");
        assert!(follower.take(&event("message", "2 2")).is_err(), "one is missing");
        Ok(())
    }

    #[test]
    fn at_the_end_the_state_must_be_the_tables() -> Result<()> {
        let mut follower = follower();
        assert!(!follower.is_at_end());
        _ = follower.table.set(Ok(Rows::from([(1, 4)])));
        follower.take(&event("state", r#"{"1": 3}"#))?;
        assert!(!follower.is_at_end());
        follower.take(&event("message", "1 4"))?;
        assert!(follower.is_at_end());
        assert!(follower.followed.wrong.is_empty());
        follower.take(&event("sse.gap", r#"{"reason": "slow", "missed": null}"#))?;
        follower.ends.waiting.store(true, Relaxed);
        assert!(follower.is_at_end());
        assert_eq!(follower.followed.wrong.len(), 1);
        Ok(())
    }
}
