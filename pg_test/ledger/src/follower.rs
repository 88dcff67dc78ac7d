//! Followers: their streams begin with a snapshot, are broken at random, and by the events behind snapshots
//! each keeps a state that must be the table's at the end (C7.6). And the writer of that table.
//!
//! Each change raises one row's number by one, and is an event with row and number: so an event that the
//! snapshot had seen, and one that is missing, both show at once.
//!
//! Not for events without a snapshot: `reader`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cluster::http::{Client, Event, EventStream, StreamError};
use cluster::{Clock, Cluster, wait_until};
use fastrand::Rng;

use crate::schedule::Span;

const FOLLOWERS: usize = 4;

const STREAM: &str = "/api/tallied/info?topic=tally";

/// How often a follower looks whether the run is over.
const LOOK: Duration = Duration::from_millis(250);

/// Rows and their numbers.
type Rows = BTreeMap<u64, u64>;

/// What a follower saw.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    pub(crate) events: u64,
    pub(crate) snapshots: u64,
    /// When a gap came in place of a snapshot.
    pub(crate) without: Vec<u64>,
    pub(crate) wrong: Vec<String>,
}

impl Followed {
    /// All that is wrong. A gap says that there is no snapshot only where something kept the snapshot from
    /// being made.
    pub(crate) fn violations(&self, spans: &[Span]) -> Vec<String> {
        let unexplained = self.without.iter().filter(|at| !spans.iter().any(|span| span.explains(**at)));
        let told = |at: &u64| format!("a gap (snapshot) at {} ms that nothing explains", at / 1000);
        self.wrong.iter().cloned().chain(unexplained.map(told)).collect()
    }
}

/// What a follower knows of the table.
#[derive(Debug)]
enum State {
    /// Nothing, and a snapshot is to come before the next event.
    Waiting,
    /// Nothing, and none will come.
    Without,
    Known(Rows),
}

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
            let follower = Follower {
                client,
                clock,
                rng,
                ends,
                followed: Followed::default(),
                state: State::Waiting,
                last_id: String::new(),
            };
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

    /// Gives them time to catch up with the table.
    pub(crate) fn end(self, cluster: &Cluster, within: Duration) -> Result<Vec<Followed>> {
        self.end_work();
        ensure!(self.writer.join().is_ok(), "the writer of the tally has panicked");
        let table = cluster.sql("select tally_now()").context("the tally").and_then(|table| rows(&table));
        if let Ok(table) = &table {
            _ = self.ends.table.set(table.clone());
            let threads = &self.threads;
            let _ = wait_until(within, "followers catch up", || threads.iter().all(JoinHandle::is_finished));
        }
        self.ends.waiting.store(true, Relaxed);
        let joined =
            self.threads.into_iter().map(|thread| thread.join().ok().context("a follower has panicked"));
        let followed = joined.collect::<Result<_>>()?;
        table.map(|_| followed)
    }
}

/// Changes rows until told to end; the server goes away and comes back meanwhile.
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

fn rows(json: &str) -> Result<Rows> {
    let rows: BTreeMap<String, u64> = serde_json::from_str(json)?;
    rows.into_iter().map(|(row, n)| Ok((row.parse()?, n))).collect()
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
            if self.rng.u32(0..5) == 0 || matches!(self.state, State::Without) {
                // As somebody new.
                (self.state, self.last_id) = (State::Waiting, String::new());
            }
            let opened = match self.last_id.as_str() {
                "" => self.client.events(STREAM),
                id => self.client.events_after(STREAM, id),
            };
            if let Ok(mut stream) = opened {
                // Broken between any two blocks; whole when nothing more is written.
                let mut blocks = self.rng.u32(0..300);
                while !self.is_at_end() && self.step(&mut stream) {
                    blocks = blocks.saturating_sub(1);
                    if blocks == 0 && self.ends.table.get().is_none() {
                        break;
                    }
                }
            }
            thread::sleep(Duration::from_millis(self.rng.u64(0..300)));
        }
        self.followed
    }

    /// Whether it has all of the table, or need not wait longer.
    fn is_at_end(&mut self) -> bool {
        let table = self.ends.table.get();
        if let (Some(table), State::Known(state)) = (table, &self.state)
            && table == state
        {
            return true;
        }
        if !self.ends.waiting.load(Relaxed) {
            return false;
        }
        if table.is_some() {
            let why = format!("at the end it has {:?}, the table {table:?}", self.state);
            self.complain(why);
        }
        true
    }

    /// Reads one block; `false` when the stream is to be opened anew.
    fn step(&mut self, stream: &mut EventStream) -> bool {
        let event = match stream.next(LOOK) {
            Ok(event) => event,
            Err(StreamError::TimedOut) => return true,
            Err(_) => return false,
        };
        stream.forget_bytes();
        if let Err(error) = self.take(&event) {
            self.complain(format!("{error:#}: {event:?}"));
            // It can only be right again with a fresh snapshot.
            self.state = State::Without;
        }
        self.last_id.clone_from(&event.id);
        !matches!(self.state, State::Without)
    }

    fn take(&mut self, event: &Event) -> Result<()> {
        match event.event.as_str() {
            "sse.ready" => {}
            "sse.gap" => {
                self.state = State::Waiting;
                if event.data.contains("\"snapshot\"") {
                    self.followed.without.push(self.clock.now());
                    self.state = State::Without;
                }
            }
            "state" => {
                self.followed.snapshots += 1;
                self.state = State::Known(rows(&event.data)?);
            }
            _ => {
                self.followed.events += 1;
                let (row, n) = event.data.split_once(' ').context("not a change")?;
                let (row, n): (u64, u64) = (row.parse()?, n.parse()?);
                let State::Known(state) = &mut self.state else { bail!("an event before the snapshot") };
                let before = state.insert(row, n).context("an unknown row")?;
                ensure!(n == before + 1, "row {row} went from {before} to {n}");
            }
        }
        Ok(())
    }

    fn complain(&mut self, why: String) {
        let at = self.clock.now() / 1000;
        self.followed.wrong.push(format!("{why} (at {at} ms)"));
    }
}
