//! Followers: their streams begin with a snapshot and are broken at random, and they write down what they
//! see. And the writer of the table that they follow.
//!
//! Not for judging what they see: `check/follow`. Not for events without a snapshot: `reader`.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::http::{Client, Event, EventStream, StreamError};
use cluster::{Clock, Cluster, wait_until};
use fastrand::Rng;

use crate::history::Reason;
use crate::tally::{Followed, Id, Rows, Seen, Sight};

const FOLLOWERS: usize = 4;

const STREAM: &str = "/api/tallied/info?topic=tally";

/// How often a follower looks whether the run is over.
const LOOK: Duration = Duration::from_millis(250);

/// What the text of something malformed is cut to.
const MAX_TOLD_CHARS: usize = 120;

#[derive(Debug, Default)]
struct Ends {
    /// Nothing more is written.
    work: AtomicBool,
    /// The table, when nothing more is written.
    table: OnceLock<Rows>,
    /// Nothing more is waited for.
    waiting: AtomicBool,
}

/// All of them at work.
pub(crate) struct Followers {
    writer: JoinHandle<()>,
    threads: Vec<JoinHandle<Followed>>,
    ends: Arc<Ends>,
}

impl Followers {
    pub(crate) fn start(cluster: &Arc<Cluster>, client: Client, clock: Clock, rng: &mut Rng) -> Self {
        let ends: Arc<Ends> = Arc::default();
        let follow = |_| {
            let (ends, rng) = (Arc::clone(&ends), rng.fork());
            let (followed, state, last_id) = (Followed::default(), State::Waiting, String::new());
            let follower = Follower { client, clock, rng, ends, followed, state, last_id };
            thread::spawn(move || follower.follow())
        };
        let threads = (0..FOLLOWERS).map(follow).collect();
        let (for_writer, cluster) = (Arc::clone(&ends), Arc::clone(cluster));
        let writer = thread::spawn(move || write(&cluster, &for_writer));
        Self { writer, threads, ends }
    }

    /// Nothing more is written from here on.
    pub(crate) fn end_work(&self) {
        self.ends.work.store(true, Relaxed);
    }

    /// Gives them time to catch up with the table, and returns its states and what they saw.
    pub(crate) fn end(self, cluster: &Cluster, within: Duration) -> Result<(Vec<Rows>, Vec<Followed>)> {
        self.end_work();
        ensure!(self.writer.join().is_ok(), "the writer of the tally has panicked");
        let states = states(cluster).context("the tally");
        if let Some(table) = states.as_ref().ok().and_then(|states| states.last()) {
            _ = self.ends.table.set(table.clone());
            let threads = &self.threads;
            let _ = wait_until(within, "followers catch up", || threads.iter().all(JoinHandle::is_finished));
        }
        self.ends.waiting.store(true, Relaxed);
        let joined =
            self.threads.into_iter().map(|thread| thread.join().ok().context("a follower has panicked"));
        let followed = joined.collect::<Result<_>>()?;
        Ok((states?, followed))
    }
}

/// Each transaction has written down the state that it left.
fn states(cluster: &Cluster) -> Result<Vec<Rows>> {
    let states = cluster.sql("select rows from tally_states order by number")?;
    let states: Vec<Rows> = states.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let now: Rows = serde_json::from_str(&cluster.sql("select tally_now()")?)?;
    ensure!(states.last() == Some(&now), "the table is not what its last transaction has left");
    Ok(states)
}

/// Changes rows until told to end; the server goes away and comes back meanwhile. One session, so that the
/// states of the table have one order.
fn write(cluster: &Cluster, ends: &Ends) {
    let mut session = None;
    for number in 0_u64.. {
        if ends.work.load(Relaxed) {
            return;
        }
        thread::sleep(Duration::from_millis(20));
        let Some(open) = &mut session else {
            session = cluster.session().ok();
            continue;
        };
        let one = format!("update tally set n = n + 1 where id = {}", 1 + number % 10);
        let sql = match number % 5 {
            0 => format!("begin; {one}; rollback"),
            1 => "update tally set n = n + 1 where id % 3 = 0".to_owned(),
            2 => format!("begin; savepoint a; {one}; rollback to a; {one}; commit"),
            _ => one,
        };
        if open.run(&sql).is_err() {
            session = None;
        }
    }
}

/// What it takes the table for, to know when it has caught up.
#[derive(Debug)]
enum State {
    /// A snapshot is to come.
    Waiting,
    /// None will come on this stream.
    Lacking,
    Known(Rows),
}

struct Follower {
    client: Client,
    clock: Clock,
    rng: Rng,
    ends: Arc<Ends>,
    followed: Followed,
    state: State,
    last_id: String,
}

impl Follower {
    fn follow(mut self) -> Followed {
        while !self.is_at_end() {
            if self.rng.u32(0..5) == 0 {
                // As somebody new.
                (self.state, self.last_id) = (State::Waiting, String::new());
            }
            let opened = match self.last_id.as_str() {
                "" => self.client.events(STREAM),
                id => self.client.events_after(STREAM, id),
            };
            if let Ok(mut stream) = opened {
                self.note(Seen::Opened(Id::parse(&self.last_id)));
                self.read(&mut stream);
                self.note(Seen::Closed);
            }
            thread::sleep(Duration::from_millis(self.rng.u64(0..300)));
        }
        self.followed
    }

    /// Reads until the stream ends, or is broken: between any two blocks. When nothing more is written, one
    /// that lacks a snapshot is, so that it gets one.
    fn read(&mut self, stream: &mut EventStream) {
        let mut blocks = self.rng.u32(1..300);
        while !self.is_at_end() {
            let is_over = self.ends.table.get().is_some();
            if if is_over { matches!(self.state, State::Lacking) } else { blocks == 0 } {
                return;
            }
            match stream.next(LOOK) {
                Ok(event) => self.take(&event),
                Err(StreamError::TimedOut) => continue,
                Err(_) => return,
            }
            stream.forget_bytes();
            blocks = blocks.saturating_sub(1);
        }
    }

    fn take(&mut self, event: &Event) {
        let Some(what) = read_event(event) else {
            let told = format!("{event:?}").chars().take(MAX_TOLD_CHARS).collect();
            return self.note(Seen::Malformed(told));
        };
        match &what {
            Seen::Gap { reason: Reason::Snapshot, .. } => self.state = State::Lacking,
            Seen::Gap { .. } => self.state = State::Waiting,
            Seen::Snapshot { rows, .. } => self.state = State::Known(rows.clone()),
            Seen::Change { row, n, .. } => {
                if let State::Known(rows) = &mut self.state {
                    rows.insert(*row, *n);
                }
            }
            _ => {}
        }
        self.last_id.clone_from(&event.id);
        self.note(what);
    }

    /// Whether it has all of the table, or need not wait longer.
    fn is_at_end(&self) -> bool {
        let has_all = match (&self.state, self.ends.table.get()) {
            (State::Known(state), Some(table)) => state == table,
            _ => false,
        };
        has_all || self.ends.waiting.load(Relaxed)
    }

    fn note(&mut self, what: Seen) {
        self.followed.sights.push(Sight { at: self.clock.now(), what });
    }
}

fn read_event(event: &Event) -> Option<Seen> {
    let id = Id::parse(&event.id)?;
    match event.event.as_str() {
        "sse.ready" if event.data == "{}" => Some(Seen::Ready(id)),
        "sse.gap" => {
            let data: serde_json::Value = serde_json::from_str(&event.data).ok()?;
            Some(Seen::Gap { id, reason: Reason::parse(data["reason"].as_str()?)? })
        }
        "state" => Some(Seen::Snapshot { id, rows: serde_json::from_str(&event.data).ok()? }),
        "message" => {
            let (row, n) = event.data.split_once(' ')?;
            Some(Seen::Change { id, row: row.parse().ok()?, n: n.parse().ok()? })
        }
        _ => None,
    }
}
