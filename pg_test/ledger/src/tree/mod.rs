//! The ledger over a tree of servers (C10): a primary, a standby, a cascading standby, and HAProxy in front,
//! while servers are killed, promoted, rewound and restarted, and lose log.
//!
//! A run is a row of rounds. In each, writers work while a few things are broken and the primary dies and is
//! replaced; then they rest, and everything is compared: what committed, what each server tells, line by
//! line, and what readers have seen that move from one server to the other all the time.
//!
//! From the top down: [`run`] puts it all together, `servers` and `faults` are what is broken, `channel` and
//! `line` what is told, `reader` and `crew` the threads, `told` compares servers, `verdict` judges, `report`
//! tells people.
//!
//! Not for one server: `crate::run`.

mod channel;
mod crew;
mod faults;
mod line;
mod reader;
mod report;
mod servers;
mod told;
mod verdict;

pub use report::TreeReport;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cluster::{Clock, PATIENCE, Proxy, lasting_port, wait_until};
use fastrand::Rng;

use crate::Options;
use channel::Channel;
use crew::Crew;
use faults::Fault;
use reader::{Absence, Notes, read};
use servers::Tree;
use verdict::{Judge, Log, Past, Round};

/// Whether commits wait for the standby.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replication {
    /// They do, and a failover loses nothing.
    Synchronous,
    /// They do not, and each failover loses something.
    Asynchronous,
}

impl fmt::Display for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Synchronous => "synchronous",
            Self::Asynchronous => "asynchronous",
        })
    }
}

/// Readers of each channel.
const READERS_OF_EACH: usize = 2;

/// So often the primary is replaced, at least.
const MIN_FAILOVERS: u64 = 2;

/// What happened, in numbers.
#[derive(Debug, Default)]
struct Figures {
    rounds: u64,
    failovers: u64,
    faults: BTreeMap<String, u64>,
    transactions: u64,
    attempted: u64,
    committed: u64,
    unanswered: u64,
    /// Of all channels, on every server.
    lines: u64,
}

/// One that reads, and what it is judged by.
struct Reading {
    channel: usize,
    notes: Arc<Notes>,
    judge: Judge,
}

/// A run, from the outside of its threads.
struct Run<'a> {
    tree: &'a Tree,
    channels: &'a [Channel],
    clock: Clock,
    rng: Rng,
    deck: Vec<Fault>,
    crew: Crew,
    /// After which id the next round of each channel begins.
    begins: Vec<String>,
    logs: Vec<Log>,
    past: Past,
    readings: Vec<Reading>,
    figures: Figures,
    violations: Vec<String>,
    begun: Instant,
}

/// Runs it, and returns the result.
///
/// # Errors
/// The tree does not come up, or not to an end. What is wrong with what it told is in the report.
pub fn run(options: &Options, replication: Replication) -> Result<TreeReport> {
    let mut rng = Rng::with_seed(options.seed);
    let clock = Clock::start();
    let tree = Arc::new(Tree::plant(&options.install, replication)?);
    let addresses: Vec<SocketAddr> = tree.nodes.iter().map(servers::Node::address).collect();
    let proxy = Proxy::of_servers(lasting_port()?, &addresses)?;
    let channels = Channel::all(&tree.head().cluster)?;
    let mut crew = Crew::new(&tree, proxy.http.address(), replication, clock, &mut rng)?;
    let begins = begin(&tree, &channels, &mut crew)?;
    let readings = (0..READERS_OF_EACH * channels.len())
        .map(|number| {
            let (channel, judge) = (number % channels.len(), Judge::new(replication));
            Reading { channel, notes: Arc::default(), judge }
        })
        .collect();
    let mut run = Run {
        tree: &tree,
        channels: &channels,
        clock,
        rng: rng.fork(),
        deck: Vec::new(),
        crew,
        begins,
        logs: channels.iter().map(|_| Log::default()).collect(),
        past: Past { ended: Vec::new(), cuts: vec![None; tree.nodes.len()] },
        readings,
        figures: Figures::default(),
        violations: Vec::new(),
        begun: Instant::now(),
    };
    let doors: Vec<SocketAddr> = addresses.into_iter().chain([proxy.http.address()]).collect();
    let ended = thread::scope(|scope| {
        for reading in &run.readings {
            let (channel, notes) = (&channels[reading.channel], Arc::clone(&reading.notes));
            let (first, rng, doors) = (run.begins[reading.channel].clone(), rng.fork(), &doors);
            scope.spawn(move || read(channel, doors, first, rng, &notes));
        }
        let ended = run.rounds(Duration::from_secs(options.seconds));
        run.readings.iter().for_each(|reading| reading.notes.ends.store(true, Relaxed));
        ended
    });
    report::conclude(options, replication, run, ended)
}

/// The ids of first events, which are after everything that a base backup lacks, and after a mark that none
/// lacks: a server that is restarted tells nothing before the first (docs/servers.md). What was published so
/// far is in no round.
fn begin(tree: &Tree, channels: &[Channel], crew: &mut Crew) -> Result<Vec<String>> {
    let open = |channel: &Channel| channel.open(tree.head().address(), None)?.begun();
    let mut streams = channels.iter().map(open).collect::<Result<Vec<_>>>()?;
    faults::wait_for_marks(&tree.head().cluster, 1, || crew.mark(channels).map(drop))?;
    let firsts = crew.mark(channels)?;
    crew.take(tree)?;
    crew.ledger(tree)?;
    let told = channels.iter().zip(&mut streams).zip(firsts);
    told.map(|((channel, stream), first)| channel.wait_for(stream, first)).collect()
}

impl Run<'_> {
    /// Until the time is over, or something is wrong.
    fn rounds(&mut self, lasts: Duration) -> Result<()> {
        while (self.begun.elapsed() < lasts || self.figures.failovers < MIN_FAILOVERS)
            && self.violations.is_empty()
        {
            self.round()?;
            self.figures.rounds += 1;
        }
        if self.violations.is_empty() {
            self.wait_for_readers()?;
        }
        Ok(())
    }

    fn round(&mut self) -> Result<()> {
        let mut round = Round::default();
        self.crew.start();
        let broken = self.break_things(&mut round);
        self.crew.rest()?;
        broken?;
        self.compare(round)
    }

    fn break_things(&mut self, round: &mut Round) -> Result<()> {
        for _ in 0..self.rng.u32(1..=3) {
            self.pause();
            if self.deck.is_empty() {
                self.deck = Fault::deck(&mut self.rng);
            }
            let Some(fault) = self.deck.pop() else { continue };
            let name = fault.name();
            let absent = (fault == Fault::LostLog).then(|| self.send_away()).transpose()?;
            let done = fault.carry_out(self.tree, &mut self.rng).with_context(|| name.clone())?;
            if done.has_ended_primary {
                round.last_death = self.clock.now();
            }
            if let Some((server, cut)) = done.cut {
                self.past.cuts[server] = Some(cut);
                absent.inspect(|notes| notes.set_absence(Absence::Over(server)));
            }
            self.say(&name);
            *self.figures.faults.entry(name).or_default() += 1;
        }
        self.pause();
        let mut meanwhile = self.rng.fork();
        let died = self.clock;
        self.tree
            .fail_over(
                || thread::sleep(Duration::from_millis(meanwhile.u64(100..1000))),
                || round.last_death = died.now(),
            )
            .context("failover")?;
        // pg_rewind removes from the old primary what the new one does not have, files of the log included.
        let [new, old] = [0, 2].map(|distance| self.tree.number_at(distance));
        self.past.cuts[old] = self.past.cuts[old].max(self.past.cuts[new]);
        self.figures.failovers += 1;
        self.say("failover");
        self.pause();
        Ok(())
    }

    /// A reader leaves, and comes back when log that it has not seen is gone.
    fn send_away(&mut self) -> Result<Arc<Notes>> {
        let notes = Arc::clone(&self.readings[self.rng.usize(..self.readings.len())].notes);
        notes.set_absence(Absence::Wanted);
        wait_until(PATIENCE, "a reader leaves", || notes.absence() == Absence::Begun)?;
        Ok(notes)
    }

    /// Nobody writes meanwhile.
    fn compare(&mut self, mut round: Round) -> Result<()> {
        let written = self.crew.take(self.tree)?;
        self.figures.transactions += written.transactions;
        let lasts = self.crew.mark(self.channels)?;
        round.attempts = written.attempts;
        round.attempts.extend(self.crew.take(self.tree)?.attempts);
        round.committed = self.crew.ledger(self.tree)?;
        self.past.ended = self.tree.ended_timelines()?;
        self.tree.wait_for_replay()?;
        self.figures.attempted += round.attempts.len() as u64;
        self.figures.committed += round.committed.len() as u64;
        self.figures.unanswered += round.attempts.iter().filter(|attempt| !attempt.answered).count() as u64;
        self.violations.extend(verdict::lost_acknowledged(&round, self.tree.replication));
        for (number, channel) in self.channels.iter().enumerate() {
            let (begin, cuts) = (&self.begins[number], &self.past.cuts);
            let told = told::by_all(self.tree, channel, begin, lasts[number], cuts);
            let (lines, id) = match told {
                Ok(told) => told,
                Err(why) => {
                    self.violations.push(why);
                    return Ok(());
                }
            };
            self.figures.lines += lines.len() as u64;
            let wrong = verdict::of_channel(&channel.listener, &lines, &round);
            self.violations.extend(wrong.into_iter().map(|why| format!("{}: {why}", channel.name)));
            self.logs[number].add(lines);
            self.begins[number] = id;
        }
        self.say(&format!("{} events", round.committed.len()));
        self.judge_readers();
        Ok(())
    }

    /// All that they have seen was published in rounds that are over.
    fn judge_readers(&mut self) {
        if !self.violations.is_empty() {
            return;
        }
        for (number, reading) in self.readings.iter_mut().enumerate() {
            let log = &self.logs[reading.channel];
            if let Err(why) = reading.judge.judge(log, &self.past, reading.notes.take()) {
                let name = &self.channels[reading.channel].name;
                self.violations.push(format!("reader {number} ({name}): {why}"));
            }
        }
        for (channel, log) in self.logs.iter_mut().enumerate() {
            let of_it = self.readings.iter().filter(|reading| reading.channel == channel);
            if let Some(place) = of_it.map(|reading| reading.judge.next).min() {
                log.forget_before(place);
            }
        }
    }

    /// Waits until all have come to the end.
    fn wait_for_readers(&mut self) -> Result<()> {
        let patience = Instant::now() + PATIENCE;
        loop {
            self.judge_readers();
            let logs = &self.logs;
            let late = self.readings.iter().position(|one| one.judge.lines_left(&logs[one.channel]) > 0);
            let Some(late) = late.filter(|_| self.violations.is_empty()) else { return Ok(()) };
            if Instant::now() >= patience {
                let Reading { channel, judge, .. } = &self.readings[late];
                let (name, left) = (&self.channels[*channel].name, judge.lines_left(&logs[*channel]));
                let recent = judge.recent_sights();
                self.violations.push(format!(
                    "reader {late} ({name}) does not come to the end, {left} lines are left:\n{recent}"
                ));
                return Ok(());
            }
            let notes = Arc::clone(&self.readings[late].notes);
            let _ = wait_until(Duration::from_millis(200), "it sees something", || notes.has_some());
        }
    }

    fn pause(&mut self) {
        thread::sleep(Duration::from_millis(self.rng.u64(100..1000)));
    }

    fn say(&self, what: &str) {
        println!("{:7.1} s  {what}", self.begun.elapsed().as_secs_f64());
    }
}
