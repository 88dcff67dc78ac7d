//! Writers: they run transactions of every kind; each event is numbered and written down before it is raised.
//!
//! When a COMMIT got no answer, it is not known here what became of the transaction; the ledger table tells
//! at the end.
//!
//! Not for when to begin and end: run.rs.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cluster::{Clock, Cluster, PATIENCE, Session, SessionOptions, wait_for};
use fastrand::Rng;

use crate::history::{Attempt, Delivery, Key};
use crate::plan::{FLOODED, MARKS, ORDINARY, SETTLING, WITHOUT_TOPIC};

/// More than a segment of the gateway's log, and what `sse.max_event_size` is set to.
const LARGE_BYTES: usize = 300_000;
pub(crate) const MAX_EVENT: &str = "400kB";
const TOO_LARGE_BYTES: usize = 450_000;

/// The kind of transactions that only publish.
pub(crate) const LAZY: &str = "published alone";

/// Says where a writer connects now.
pub(crate) type Primary = Arc<dyn Fn() -> Arc<Cluster> + Send + Sync>;

/// One writer, with its own numbers.
pub(crate) struct Writer {
    number: u16,
    primary: Primary,
    /// `PGOPTIONS` of its sessions, besides.
    settings: &'static str,
    is_lazy_too: bool,
    clock: Clock,
    rng: Rng,
    next: u32,
    session: Option<Session>,
    attempts: Vec<Attempt>,
    transactions: u64,
    /// An error that nobody asked for.
    surprise: Option<String>,
}

/// How all writers go on.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    pub(crate) is_slow: AtomicBool,
    pub(crate) is_over: AtomicBool,
}

/// What a writer leaves behind.
pub(crate) struct Written {
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) transactions: u64,
    pub(crate) surprise: Option<String>,
}

/// One or several transactions, planned and not run yet.
#[derive(Default)]
struct Script {
    sql: String,
    attempts: Vec<Attempt>,
    fails: bool,
}

impl Writer {
    pub(crate) fn new(number: u16, cluster: Arc<Cluster>, clock: Clock, seed: u64) -> Self {
        Self::on(number, Arc::new(move || Arc::clone(&cluster)), "", clock, seed)
    }

    /// One that goes to whichever server is the primary.
    pub(crate) fn on(number: u16, primary: Primary, settings: &'static str, clock: Clock, seed: u64) -> Self {
        Self {
            number,
            primary,
            settings,
            is_lazy_too: false,
            clock,
            rng: Rng::with_seed(seed),
            next: 1,
            session: None,
            attempts: Vec::new(),
            transactions: 0,
            surprise: None,
        }
    }

    /// It runs transactions, too, that only publish. With `sse.durability = wal` their COMMIT waits for
    /// nothing, and no row of the ledger is there to say what became of them.
    pub(crate) fn also_lazily(self) -> Self {
        Self { is_lazy_too: true, ..self }
    }

    /// One that goes on where somebody else ended.
    pub(crate) fn following(
        number: u16,
        cluster: Arc<Cluster>,
        clock: Clock,
        next: u32,
        attempts: Vec<Attempt>,
    ) -> Self {
        Self { next, attempts, ..Self::new(number, cluster, clock, 0) }
    }

    /// Runs one transaction after another until told to end. Paced, because the machine has to read all of it
    /// as well; and slowly while the gateway is away, when all of it ends in one gap.
    pub(crate) fn work(mut self, pace: &Pace) -> Self {
        while !pace.is_over.load(Relaxed) {
            if self.session.is_none() {
                self.session = self.connect().ok();
                if self.session.is_none() {
                    thread::sleep(Duration::from_millis(100));
                    continue;
                }
            }
            let script = self.compose();
            // A lost connection is what this test is about.
            let _ = self.run(script);
            let pause = Duration::from_millis(self.rng.u64(5..40));
            thread::sleep(if pace.is_slow.load(Relaxed) { pause * 5 } else { pause });
        }
        self
    }

    /// The last events, one for each kind of reader and each delivery.
    pub(crate) fn mark(&mut self) -> Result<()> {
        let mut script = Script::default();
        for mark in MARKS {
            for now in [false, true] {
                self.put(&mut script, "mark", now, mark, 0, 0);
            }
        }
        self.run_anew(script).context("the last events")
    }

    /// Events by which readers are seen to have caught up.
    pub(crate) fn settle(&mut self) -> Result<()> {
        let mut script = Script::default();
        for audience in SETTLING {
            self.put(&mut script, "settling", false, audience, 0, 0);
        }
        self.run_anew(script).context("settling events")
    }

    /// Commits this many large events for the flooded reader, one by one; waits for room in the ring.
    pub(crate) fn flood(&mut self, count: u32, size: usize) -> Result<()> {
        let mut script = Script::default();
        let first = self.next;
        for _ in 0..count {
            self.note(&mut script, "flood", false, FLOODED);
        }
        script.attempts.iter_mut().for_each(|attempt| attempt.is_bulk = true);
        let (w, a) = (self.number, FLOODED);
        script.sql = format!(
            "set sse.publish_timeout = '10s';\ncall put_in_a_loop({w}, {first}, {count}, {a}, {size});\nreset sse.publish_timeout"
        );
        self.run_anew(script).context("a flood")
    }

    /// Raises this many events for everybody in one transaction.
    pub(crate) fn burst(&mut self, count: u32, size: usize) -> Result<()> {
        let mut script = Script::default();
        let (w, first, audiences) = (self.number, self.next, WITHOUT_TOPIC.end);
        for number in 0..count {
            self.note(&mut script, "burst", false, number as usize % audiences);
        }
        script.attempts.iter_mut().for_each(|attempt| attempt.is_bulk = true);
        script.sql = format!(
            "select count(put({w}, {first} + i, false, i % {audiences}, {size}, 0)) from generate_series(0, {count} - 1) as i"
        );
        self.run_anew(script).context("a burst")
    }

    /// What it wrote since it was asked last, which it can still be asked for.
    pub(crate) fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// What it wrote.
    pub(crate) fn finish(mut self) -> Written {
        self.take()
    }

    /// What it wrote since it was asked last.
    pub(crate) fn take(&mut self) -> Written {
        let attempts = std::mem::take(&mut self.attempts);
        let transactions = std::mem::take(&mut self.transactions);
        Written { attempts, transactions, surprise: self.surprise.take() }
    }

    fn compose(&mut self) -> Script {
        let mut script = Script::default();
        if self.is_lazy_too && self.rng.u32(0..8) == 0 {
            let (w, n) = (self.number, self.next);
            self.note(&mut script, LAZY, false, 0);
            script.sql = format!("select say('{w} {n} c 0 0 0 0|', 'all')");
            return script;
        }
        match self.rng.u32(0..100) {
            0..30 => self.transaction(&mut script, "committed", "commit"),
            30..40 => self.transaction(&mut script, "rolled back", "rollback"),
            40..55 => self.savepoints(&mut script),
            55..63 => self.caught(&mut script),
            63..68 => {
                script.fails = true;
                self.transaction(&mut script, "failed", "select 1 / 0;\ncommit");
            }
            68..76 => {
                let count = self.rng.u32(2..8);
                let (w, n, a) = (self.number, self.next, self.audience());
                for _ in 0..count {
                    self.note(&mut script, "committed in a loop", false, a);
                }
                script.sql = format!("call put_in_a_loop({w}, {n}, {count}, {a}, 20)");
            }
            76..97 => self.counted(&mut script),
            _ => {
                let (now, audience) = (self.rng.bool(), self.audience());
                self.put(&mut script, "too large", now, audience, TOO_LARGE_BYTES, 0);
                script.attempts.iter_mut().for_each(|attempt| attempt.too_large = true);
                self.some(&mut script, "committed");
            }
        }
        script
    }

    /// A few events of either delivery.
    fn some(&mut self, script: &mut Script, kind: &'static str) {
        for _ in 0..self.rng.u32(1..5) {
            let (now, audience, lines) = (self.rng.u32(0..4) == 0, self.audience(), self.rng.u32(0..2));
            let (audience, size) = match self.rng.u32(0..160) {
                0 => (3, LARGE_BYTES),
                1 => (FLOODED, LARGE_BYTES),
                2..10 => (audience, self.rng.usize(2_000..6_000)),
                _ => (audience, self.rng.usize(0..300)),
            };
            self.put(script, kind, now, audience, size, lines);
        }
    }

    fn transaction(&mut self, script: &mut Script, kind: &'static str, end: &str) {
        script.sql.push_str("begin;\n");
        self.some(script, kind);
        script.sql.push_str(end);
        script.sql.push_str(";\n");
    }

    /// Kept, rolled back with what is nested in it, kept.
    fn savepoints(&mut self, script: &mut Script) {
        script.sql.push_str("begin;\n");
        self.some(script, "around a savepoint");
        script.sql.push_str("savepoint outer_one;\n");
        self.some(script, "rolled back to a savepoint");
        script.sql.push_str("savepoint inner_one;\n");
        self.some(script, "rolled back below a savepoint");
        let ends = ["release inner_one;\n", "rollback to inner_one;\n", ""];
        script.sql.push_str(ends[self.rng.usize(0..ends.len())]);
        script.sql.push_str("rollback to outer_one;\n");
        if self.rng.bool() {
            self.some(script, "behind a savepoint");
        }
        script.sql.push_str("commit;\n");
    }

    fn caught(&mut self, script: &mut Script) {
        let (w, n, now, a) = (self.number, self.next, self.rng.u32(0..4) == 0, self.audience());
        for kind in ["around an exception", "rolled back by an exception", "around an exception"] {
            self.note(script, kind, now, a);
        }
        script.sql = format!("select put_caught({w}, {n}, {now}, {a})");
    }

    /// Changes a row that all writers change, and says what it saw.
    fn counted(&mut self, script: &mut Script) {
        let is_kept = self.rng.u32(0..5) > 0;
        let (kind, end) = if is_kept { ("counted", "commit") } else { ("counted, rolled back", "rollback") };
        script.sql.push_str("begin;\n");
        if self.rng.bool() {
            self.some(script, kind);
        }
        // Mostly for all: only a reader that gets neighbouring events sees their order.
        let audience = if self.rng.bool() { 0 } else { self.rng.usize(ORDINARY) };
        let (w, n) = (self.number, self.next);
        self.note(script, kind, false, audience);
        let _ = writeln!(script.sql, "select put_counted({w}, {n}, {audience});\n{end};");
    }

    fn put(&mut self, script: &mut Script, kind: &'static str, now: bool, a: usize, size: usize, lines: u32) {
        let (w, n) = (self.number, self.next);
        self.note(script, kind, now, a);
        if let Some(attempt) = script.attempts.last_mut() {
            attempt.is_large = size == LARGE_BYTES;
        }
        let _ = writeln!(script.sql, "select put({w}, {n}, {now}, {a}, {size}, {lines});");
    }

    /// Takes the next number.
    fn note(&mut self, script: &mut Script, kind: &'static str, now: bool, audience: usize) {
        let delivery = if now { Delivery::Immediate } else { Delivery::Commit };
        let key = Key { writer: self.number, delivery, number: self.next };
        self.next += 1;
        script.attempts.push(Attempt {
            key,
            audience,
            kind,
            too_large: false,
            is_bulk: false,
            is_large: false,
            began: 0,
            answered: false,
        });
    }

    fn audience(&mut self) -> usize {
        self.rng.usize(ORDINARY)
    }

    /// In a new session, because what was broken may have ended the last one.
    fn run_anew(&mut self, script: Script) -> Result<()> {
        self.session = None;
        self.run(script)
    }

    fn run(&mut self, script: Script) -> Result<()> {
        if self.session.is_none() {
            self.session = Some(wait_for(PATIENCE, "a writer connects", || Ok(self.connect().ok()))?);
        }
        let session = self.session.as_mut().context("no session")?;
        let began = self.clock.now();
        let reply = session.run(&script.sql);
        let answered = match &reply {
            Ok(reply) => script.fails || reply.error().is_none(),
            Err(_) => false,
        };
        let noted = script.attempts.into_iter().map(|attempt| Attempt { began, answered, ..attempt });
        self.attempts.extend(noted);
        self.transactions += 1;
        let reply = reply.inspect_err(|_| self.session = None)?;
        if !answered {
            let error = reply.error().map_or(String::new(), ToString::to_string);
            // The server goes away (class 57P): as good as a lost connection.
            let state = reply.sqlstate().unwrap_or("");
            if state.starts_with("57P") {
                self.session = None;
                bail!("{error}");
            }
            self.surprise.get_or_insert_with(|| error.clone());
            bail!("{error}");
        }
        Ok(())
    }

    fn connect(&self) -> Result<Session> {
        let options = format!("-c client_min_messages=error {}", self.settings);
        (self.primary)().session_with(&SessionOptions { options, ..SessionOptions::default() })
    }
}
