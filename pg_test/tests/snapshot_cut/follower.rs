//! Who keeps the state by a snapshot and the changes after it.
//!
//! Not for what is written meanwhile: snapshot_cut.rs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::http::{Client, Event, EventStream, StreamError};
use fastrand::Rng;
use serde_json::Value;

use crate::common::SOON;
use crate::{CHANGED, MAX_TOLD_CHARS, RAISED, STREAM, Seen};

/// What a client has of the tables.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) rows: HashMap<u64, u64>,
    /// Rows that have gone, and the numbers that they had.
    pub(crate) gone: HashMap<u64, u64>,
}

impl State {
    /// Takes a change of a row: its number before, if it was there, and after, if it still is.
    pub(crate) fn change(&mut self, row: u64, before: Option<u64>, after: Option<u64>) -> Result<()> {
        ensure!(self.rows.remove(&row) == before, "row {row} was not {before:?} before");
        let last = before.or_else(|| self.gone.remove(&row)).context("an unknown row")?;
        match after {
            Some(n) => {
                ensure!(n == last + 1, "row {row} goes from {last} to {n}");
                self.rows.insert(row, n);
            }
            None => _ = self.gone.insert(row, last),
        }
        Ok(())
    }
}

/// A change of a row, as an event tells it.
pub(crate) struct Change {
    pub(crate) row: u64,
    pub(crate) before: Option<u64>,
    pub(crate) after: Option<u64>,
    /// When the row was changed, if it is there afterwards.
    pub(crate) at: Option<u64>,
}

pub(crate) fn change_of(event: &Event) -> Result<Change> {
    if event.event == "message" {
        let numbers: Vec<u64> = event.data.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [row, n, at] = numbers[..] else { bail!("not a change") };
        return Ok(Change { row, before: n.checked_sub(1), after: Some(n), at: Some(at) });
    }
    let change: Value = serde_json::from_str(&event.data)?;
    let row = change["key"]["id"].as_u64().context("no key")?;
    let (old, new) = (&change["old"], &change["new"]);
    Ok(Change { row, before: old["n"].as_u64(), after: new["n"].as_u64(), at: new["at"].as_u64() })
}

/// A client that keeps its state over broken connections.
pub(crate) struct Follower<'s> {
    pub(crate) http: Client,
    pub(crate) seen: &'s Seen,
    pub(crate) rng: Rng,
    pub(crate) stream: Option<EventStream>,
    /// `None`: it waits for a snapshot.
    pub(crate) state: Option<State>,
    /// When the run of its last snapshot began, and ended.
    pub(crate) run: (u64, u64),
    /// The last note of each writer. Any may be the first.
    pub(crate) notes: HashMap<u64, u64>,
    pub(crate) last_event_id: String,
    /// Whether that is an event's.
    pub(crate) is_amid: bool,
    /// The id that the stream was opened with, until the block after `sse.ready`.
    pub(crate) resumed: Option<String>,
    pub(crate) trail: Vec<String>,
}

pub(crate) fn read<'s>(http: Client, rng: Rng, is_over: &AtomicBool, seen: &'s Seen) -> Result<Follower<'s>> {
    let mut follower = Follower {
        http,
        seen,
        rng,
        stream: None,
        state: None,
        run: (0, 0),
        notes: HashMap::new(),
        last_event_id: String::new(),
        is_amid: false,
        resumed: None,
        trail: Vec::new(),
    };
    while !is_over.load(Relaxed) {
        if follower.rng.u64(..30) == 0 {
            // Somebody new.
            (follower.state, follower.last_event_id) = (None, String::new());
            follower.notes.clear();
        }
        let mut blocks = match follower.rng.u64(..3) {
            0 => follower.rng.u64(..4),
            1 => follower.rng.u64(..40),
            _ => follower.rng.u64(..400),
        };
        follower.stream = None;
        while blocks > 0 && !is_over.load(Relaxed) && follower.step(Duration::from_secs(1))? {
            blocks -= 1;
            // Where it has to be told whether it needs a snapshot, it breaks more often.
            if follower.last_event_id.ends_with('s') && follower.rng.u64(..3) == 0 {
                break;
            }
        }
        if follower.rng.u64(..20) == 0 {
            let away = follower.rng.u64(..3000);
            thread::sleep(Duration::from_millis(away));
        }
    }
    Ok(follower)
}

impl Follower<'_> {
    /// Reads one block. `false`: none came in time.
    pub(crate) fn step(&mut self, within: Duration) -> Result<bool> {
        if self.stream.is_none() {
            self.trail.push(format!("opens after {:?}", self.last_event_id));
            self.stream = Some(match self.last_event_id.as_str() {
                "" => self.http.events(STREAM)?,
                id => self.http.events_after(STREAM, id)?,
            });
        }
        let Some(stream) = &mut self.stream else { bail!("no stream") };
        match stream.next(within) {
            Ok(event) => {
                let data: String = event.data.chars().take(MAX_TOLD_CHARS).collect();
                self.trail.push(format!("{} {} {data}", event.id, event.event));
                if self.trail.len() > 600 {
                    self.trail.drain(..20);
                }
                self.take(&event).with_context(|| self.trail.join("\n"))?;
                Ok(true)
            }
            Err(StreamError::TimedOut) => Ok(false),
            Err(error) => bail!("{error}"),
        }
    }

    pub(crate) fn take(&mut self, event: &Event) -> Result<()> {
        let resumed = self.resumed.take();
        let was_amid = std::mem::replace(&mut self.is_amid, false);
        match event.event.as_str() {
            "sse.ready" => {
                self.resumed = Some(self.last_event_id.clone());
                self.is_amid = was_amid;
            }
            "sse.gap" => {
                self.seen.gaps.fetch_add(1, Relaxed);
                if event.data.contains("\"snapshot\"") {
                    // The window moved on during the run, which took long: it asks anew.
                    self.seen.lacks.fetch_add(1, Relaxed);
                    self.stream = None;
                }
                ensure!(event.id.ends_with('s'), "a gap without a mark");
                self.state = None;
                self.notes.clear();
            }
            "state" => {
                self.seen.snapshots.fetch_add(1, Relaxed);
                if let Some(id) = resumed.filter(|id| !id.is_empty()) {
                    ensure!(id.ends_with('s'), "resumed from {id} without a gap, and got a snapshot");
                    self.seen.resumed_with.fetch_add(1, Relaxed);
                    self.seen.resumed_amid.fetch_add(u64::from(was_amid), Relaxed);
                }
                self.begin(&event.data)?;
            }
            _ => {
                if let Some(id) = resumed {
                    ensure!(!id.is_empty() && !id.ends_with('s'), "resumed from {id:?}, and got no snapshot");
                    self.seen.resumed_without.fetch_add(1, Relaxed);
                }
                self.is_amid = true;
                if event.event == "note" { self.note(&event.data)? } else { self.change(event)? }
            }
        }
        self.last_event_id.clone_from(&event.id);
        Ok(())
    }

    pub(crate) fn begin(&mut self, snapshot: &str) -> Result<()> {
        let snapshot: Value = serde_json::from_str(snapshot)?;
        let time = |name: &str| snapshot[name].as_u64().with_context(|| format!("no {name}"));
        self.run = (time("began")?, time("ended")?);
        let rows = snapshot["rows"].as_object().context("no rows")?;
        let rows = rows.iter().map(|(row, n)| Ok((row.parse()?, n.as_u64().context("no number")?)));
        self.state = Some(State { rows: rows.collect::<Result<_>>()?, gone: HashMap::new() });
        Ok(())
    }

    pub(crate) fn change(&mut self, event: &Event) -> Result<()> {
        self.seen.events.fetch_add(1, Relaxed);
        if event.event != "message" {
            self.seen.row_changes.fetch_add(1, Relaxed);
        }
        let Change { row, before, after, at } = change_of(event)?;
        let state = self.state.as_mut().context("an event between a gap and its snapshot")?;
        state.change(row, before, after)?;
        let (began, ended) = self.run;
        match at {
            Some(at) if at < began => _ = self.seen.kept_from_before.fetch_add(1, Relaxed),
            Some(at) if at < ended => _ = self.seen.kept_from_meanwhile.fetch_add(1, Relaxed),
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn note(&mut self, data: &str) -> Result<()> {
        self.seen.notes.fetch_add(1, Relaxed);
        let mut words = data.split(' ').map(str::parse::<u64>);
        let (Some(writer), Some(number)) = (words.next(), words.next()) else { bail!("not a note") };
        let (writer, number) = (writer?, number?);
        let last = self.notes.insert(writer, number);
        ensure!(last.is_none_or(|last| number == last + 1), "note {number} of {writer} comes after {last:?}");
        Ok(())
    }

    /// Reads until its state is the table's, which does not change any more.
    pub(crate) fn catch_up(&mut self, table: &Value) -> Result<()> {
        let deadline = Instant::now() + 3 * SOON;
        loop {
            let is_same = self.state.as_ref().is_some_and(|state| {
                RAISED
                    .chain(CHANGED)
                    .all(|row| table[row.to_string()].as_u64() == state.rows.get(&row).copied())
            });
            if is_same {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{:?} is not {table}\n{}", self.state, self.trail.join("\n"));
            self.step(Duration::from_millis(500))?;
        }
    }
}
