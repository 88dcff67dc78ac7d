//! One run: a cluster, writers, readers, faults, and then the judgement.
//!
//! Not for the details of any of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::http::Client;
use cluster::{Clock, Cluster, Conclusion, PATIENCE, lasting_port, wait_until};
use fastrand::Rng;

use crate::Options;
use crate::archive;
use crate::caller::Caller;
use crate::check::{Coverage, check, check_followers};
use crate::control::Control;
use crate::driver::{self, Driver, RING_SIZE, Target, WINDOW_SIZE};
use crate::figures::Figures;
use crate::follower::Followers;
use crate::history::{History, Recording};
use crate::plan::{ALICE, BOB, CAROL, FLOOD, Listener, NEWS, Person};
use crate::reader::{Reader, Spec};
use crate::report::{Report, told, told_of_followers};
use crate::schedule::{Fault, Schedule};
use crate::schema;
use crate::tally::Tally;
use crate::writer::{MAX_EVENT, Pace, Writer, Written};

/// Number of writers besides the driver's own and the caller.
const WRITERS: u16 = 6;

/// Everybody who raises marks at the end.
const ALL_WRITERS: u16 = WRITERS + 2;

/// `sse.jwt_secret`.
const SECRET: &str = "the secret of the ledger test, 32 bytes at least";

/// Runs it, and returns the result.
///
/// # Errors
/// The test itself broke: the server did not come back, or a statement failed that must not. What the checker
/// finds is in the report.
pub fn run(options: &Options) -> Result<Report> {
    let mut rng = Rng::with_seed(options.seed);
    let clock = Clock::start();
    let port = lasting_port()?;
    let cluster = Arc::new(start_cluster(options, port, rng.u32(1..=2))?);
    schema::create(&cluster)?;
    let client = Client::new(port).within(Duration::from_secs(5));
    let readers = start_readers(&cluster, client, clock)?;
    let caller = start_caller(&cluster, client, clock, rng.u64(..))?;
    let followers = Followers::start(&cluster, client, clock, &mut rng);
    let crew = Crew::start(&cluster, clock, Arc::clone(&readers.targets), caller, &mut rng);
    let writer = Writer::new(WRITERS, Arc::clone(&cluster), clock, rng.u64(..));
    let (targets, pace) = (Arc::clone(&readers.targets), Arc::clone(&crew.pace));
    let mut driver = Driver::new(Arc::clone(&cluster), targets, pace, writer, clock);
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let mut broken = Ok(());
    for step in Schedule::new(options.seed) {
        if Instant::now() + step.pause >= until || broken.is_err() {
            break;
        }
        broken = driver.carry_out(&step);
    }
    followers.end_work();
    let (mut writers, caller, cuts) = crew.end()?;
    // Even if the driver failed: what the readers have seen may say why.
    let marked = broken.and_then(|()| {
        driver.calm_down()?;
        writers.push(caller.end(&cluster)?);
        writers.iter_mut().chain([&mut driver.writer]).try_for_each(Writer::mark)
    });
    let Driver { writer, faults, spans, .. } = driver;
    let patience = if marked.is_ok() { PATIENCE } else { Duration::ZERO };
    let histories = readers.end(patience)?;
    let followed = followers.end(&cluster, patience);
    let committed = marked.and_then(|()| ledger(&cluster));
    let written: Vec<Written> = writers.into_iter().chain([writer]).map(Writer::finish).collect();
    let mut failures: Vec<String> =
        committed.as_ref().err().map(|error| format!("{error:#}")).into_iter().collect();
    failures.extend(followed.as_ref().err().map(|error| format!("the followers: {error:#}")));
    let (states, followed) = followed.unwrap_or_default();
    failures.extend(written.iter().find_map(|written| written.surprise.clone()));
    let transactions = written.iter().map(|written| written.transactions).sum();
    let recording = Recording {
        attempts: written.into_iter().flat_map(|written| written.attempts).collect(),
        committed: committed.unwrap_or_default(),
        readers: histories,
    };
    let tally = Tally { states, spans, large: recording.large_places(), followed };
    let (figures, conclusion) = judge(options, &recording, &tally, &faults, failures);
    let (seed, seconds) = (options.seed, options.seconds);
    let mut report = Report { seed, seconds, faults, cuts, transactions, figures, tally, conclusion };
    if !report.passed() {
        let Report { tally, conclusion, .. } = &report;
        let log = cluster.log()?;
        let folder = archive::write(options, &recording, tally, &conclusion.violations, &log)?;
        report.conclusion.archive = Some(folder);
    }
    Ok(report)
}

/// Where the test itself broke, which `failures` says, there is nothing to compare with.
fn judge(
    options: &Options,
    recording: &Recording,
    tally: &Tally,
    faults: &BTreeMap<Fault, u64>,
    mut failures: Vec<String>,
) -> (Figures, Conclusion) {
    if !failures.is_empty() {
        let figures = Figures::of(recording, Coverage::default());
        return (figures, Conclusion { failures, violations: Vec::new(), archive: None });
    }
    let verdict = check(recording);
    let figures = Figures::of(recording, verdict.coverage.clone());
    failures.extend(figures.too_little(options.seconds, faults));
    let (changes, snapshots) = (tally.changes(), tally.snapshots());
    if changes < options.seconds || snapshots < options.seconds / 4 {
        failures.push(format!("only {changes} changes were followed, behind {snapshots} snapshots"));
    }
    let mut violations = told(&verdict, recording);
    violations.extend(told_of_followers(&check_followers(tally), tally));
    (figures, Conclusion { failures, violations, archive: None })
}

fn start_cluster(options: &Options, port: u16, threads: u32) -> Result<Cluster> {
    Cluster::builder()
        .install(Arc::clone(&options.install))
        .setting("sse.port", port)
        .setting("sse.threads", threads)
        .setting("sse.jwt_secret", SECRET)
        .setting("sse.call_role", "ledger_calls")
        .setting("sse.ring_size", RING_SIZE)
        .setting("sse.window_size", WINDOW_SIZE)
        .setting("sse.max_event_size", MAX_EVENT)
        .setting("sse.retry", "1s")
        .setting("sse.heartbeat_interval", "1s")
        .setting("shared_buffers", "32MB")
        .setting("max_connections", 40)
        .start()
}

struct Readers {
    targets: Arc<[Target]>,
    threads: Vec<JoinHandle<History>>,
}

fn start_readers(cluster: &Cluster, client: Client, clock: Clock) -> Result<Readers> {
    let tokens = schema::tokens(cluster)?;
    let token = |person: &Person| tokens.iter().find(|(known, _)| *known == person).map(|(_, token)| token);
    let (mut targets, mut threads) = (Vec::new(), Vec::new());
    for (number, listener) in listeners().into_iter().enumerate() {
        let is_flooded = listener.topics.contains(&FLOOD);
        let path = match listener.person {
            Some(_) if number % 2 == 0 => "/api/signed/info",
            _ => "/api/say/info",
        };
        let spec = Spec {
            name: format!("{number} ({listener})"),
            token: listener.person.and_then(token).cloned(),
            listener,
            path,
            has_small_buffer: is_flooded,
        };
        let control = Arc::new(Control::default());
        let reader =
            Reader::new(spec, client.address(), clock, Arc::clone(&control), usize::from(ALL_WRITERS));
        threads.push(thread::spawn(move || reader.read()));
        targets.push(Target { control, is_flooded });
    }
    let readers = Readers { targets: targets.into(), threads };
    wait_until(PATIENCE, "every reader has a stream", || {
        readers.targets.iter().all(|target| target.control.epoch().is_some())
    })?;
    Ok(readers)
}

/// Who makes calls: the one whom their events are for.
fn start_caller(cluster: &Cluster, client: Client, clock: Clock, seed: u64) -> Result<Caller> {
    let number = WRITERS + 1;
    cluster.sql(&format!("insert into called values ({number}, 0)"))?;
    let tokens = schema::tokens(cluster)?;
    let token = tokens.into_iter().find(|(person, _)| **person == ALICE).context("no token for alice")?.1;
    Ok(Caller::new(number, client, token, clock, seed))
}

/// Every person with everything to ask for, some of it twice.
fn listeners() -> Vec<Listener> {
    let mut listeners = Vec::new();
    for person in [None, Some(&ALICE), Some(&BOB), Some(&CAROL)] {
        for (topics, execution_id) in [
            (vec![], ""),
            (vec![], ""),
            (vec![], ""),
            (vec![], "batch-1"),
            (vec![], "batch-2"),
            (vec![NEWS], ""),
            (vec![NEWS], "batch-1"),
        ] {
            listeners.push(Listener { person, topics, execution_id });
        }
    }
    for (person, topics) in
        [(None, vec![FLOOD]), (Some(&ALICE), vec![FLOOD, NEWS]), (Some(&CAROL), vec![NEWS, FLOOD])]
    {
        listeners.push(Listener { person, topics, execution_id: "" });
    }
    listeners
}

impl Readers {
    /// Waits until all readers have seen the last events; those that have not by the deadline are told to
    /// give up.
    fn end(self, within: Duration) -> Result<Vec<History>> {
        let threads = self.threads;
        let _ = wait_until(within, "every reader catches up", || threads.iter().all(JoinHandle::is_finished));
        self.targets.iter().for_each(|target| target.control.give_up());
        let joined = threads.into_iter().map(|thread| thread.join().ok().context("a reader has panicked"));
        joined.collect()
    }
}

/// Those who work in the background.
struct Crew {
    pace: Arc<Pace>,
    writers: Vec<JoinHandle<Writer>>,
    caller: JoinHandle<Caller>,
    cutter: JoinHandle<()>,
    cuts: Arc<AtomicU64>,
}

impl Crew {
    fn start(
        cluster: &Arc<Cluster>,
        clock: Clock,
        targets: Arc<[Target]>,
        caller: Caller,
        rng: &mut Rng,
    ) -> Self {
        let (pace, cuts): (Arc<Pace>, Arc<AtomicU64>) = Default::default();
        let start_writer = |number| {
            let (writer, pace) =
                (Writer::new(number, Arc::clone(cluster), clock, rng.u64(..)), Arc::clone(&pace));
            thread::spawn(move || writer.work(&pace))
        };
        let writers = (0..WRITERS).map(start_writer).collect();
        let for_caller = Arc::clone(&pace);
        let caller = thread::spawn(move || caller.work(&for_caller));
        let (seed, for_cutter, counter) = (rng.u64(..), Arc::clone(&pace), Arc::clone(&cuts));
        let cutter =
            thread::spawn(move || driver::cut_now_and_then(&targets, seed, &for_cutter.is_over, &counter));
        Self { pace, writers, caller, cutter, cuts }
    }

    fn end(self) -> Result<(Vec<Writer>, Caller, u64)> {
        self.pace.is_over.store(true, Relaxed);
        ensure!(self.cutter.join().is_ok(), "the cutter has panicked");
        let writers =
            self.writers.into_iter().map(|writer| writer.join().ok().context("a writer has panicked"));
        let writers = writers.collect::<Result<_>>()?;
        let caller = self.caller.join().ok().context("the caller has panicked")?;
        Ok((writers, caller, self.cuts.load(Relaxed)))
    }
}

fn ledger(cluster: &Cluster) -> Result<BTreeSet<(u16, u32)>> {
    let rows = cluster.sql("select writer, number from ledger")?;
    let row = |line: &str| -> Result<(u16, u32)> {
        let (writer, number) = line.split_once('|').context("not a row of the ledger")?;
        Ok((writer.parse()?, number.parse()?))
    };
    rows.lines().map(row).collect()
}
