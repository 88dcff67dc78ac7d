//! One run: a cluster, the honest parties, the attackers, outages, and then the judgement.
//!
//! Not for the details of any of them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cluster::http::Transport;
use cluster::{Clock, Cluster, Conclusion, Install, lasting_port};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::archive;
use crate::attack::{Choice, Crew, Tally};
use crate::delays::{self, Cause, Judgement, Late, Pair, Spread};
use crate::ground::Ground;
use crate::honest::{Honest, Records};
use crate::memory::{
    self, CALL_WORKERS, KB, MAX_BODY_SIZE, MAX_CONNECTIONS, MAX_EVENT_SIZE, MB, RING_SIZE, THREADS,
    WINDOW_SIZE,
};
use crate::phase::{MAX_RECOVERY, OUTAGES, Phase};
use crate::report::Report;
use crate::schema;
use crate::sequence::{self, Item};
use crate::watch::{self, Findings, Watch};

/// `sse.jwt_secret`.
const SECRET: &str = "the secret of the siege, 32 bytes and more";

/// Runs of at least this many seconds are judged by their latest events, too. In shorter runs a single hiccup
/// of a shared machine would decide.
const LONG: u64 = 300;

/// What the honest parties must have got at least, so that the run means something: events a second, calls a
/// second, changes that were followed in a second, and of a hundred events this many seen and not covered by
/// gaps.
const MIN_EVENTS: u64 = 40;
const MIN_CALLS: u64 = 2;
const MIN_CHANGES: u64 = 2;
const MIN_SEEN_PERCENT: u64 = 60;

/// Of a hundred seconds, this many may be late because the gateway's threads waited for a processor. With
/// more of them, events that are late each second would not be noticed: the run proves nothing.
const MAX_EXCUSED_PERCENT: usize = 40;

/// Where speed is not judged, a call may take this many times as long: half a call a second still means
/// something.
const SLOWNESS: u64 = 4;

/// What to run.
#[derive(Debug)]
pub struct Options {
    /// For how long it is attacked; beginning and end take additional time.
    pub seconds: u64,
    /// The seed of everything that is drawn at random.
    pub seed: u64,
    /// The PostgreSQL with the extension in it.
    pub install: Arc<Install>,
    /// Where a failed run leaves its records, in a folder of its own.
    pub folder: PathBuf,
    /// Most address space of each process of the server, in bytes (`RLIMIT_AS`).
    pub memory_limit: Option<u64>,
    /// Whether delays, times of recovery and memory are judged. They are not for a library that was built to
    /// find faults.
    pub judges_costs: bool,
    /// Who attacks.
    pub choice: Choice,
    /// Whether the gateway speaks TLS, and everybody with it.
    pub is_secure: bool,
}

/// Runs it, and returns the result.
///
/// # Errors
/// The test itself broke: the server did not start, or a statement failed that must not.
pub fn run(options: &Options) -> Result<Report> {
    options.choice.check()?;
    let clock = Clock::start();
    let port = lasting_port()?;
    let cluster = within_memory(options.memory_limit, || start_cluster(options, port))?;
    schema::create(&cluster)?;
    let people = schema::people(&cluster)?;
    let ground = Arc::new(Ground::new(&cluster, SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
    let watch = Watch::start(Arc::clone(&ground), clock);
    let honest = Honest::start(&ground, &people, clock)?;
    let crew = Crew::start(&ground, options.seed, &options.choice)?;
    let mut failures = Vec::new();
    let phases = attack(options, &ground, &honest, &watch, clock).unwrap_or_else(|error| {
        failures.push(format!("{error:#}"));
        Vec::new()
    });
    ground.end();
    let attackers = crew.end()?;
    let records = honest.end()?;
    let findings = watch.end()?;
    let pairs = pairs(&records);
    let mut report = judge(options, records, attackers, phases, &findings, &pairs, failures);
    if !report.0.passed() {
        let archive = archive::write(&options.folder, &report.0, &pairs, &report.1, &findings)?;
        report.0.conclusion.archive = Some(archive);
    }
    Ok(report.0)
}

/// Lets it go on for as long as it is to, with outages in between.
fn attack(
    options: &Options,
    ground: &Ground,
    honest: &Honest,
    watch: &Watch,
    clock: Clock,
) -> Result<Vec<Phase>> {
    let began = Instant::now();
    let until = began + Duration::from_secs(options.seconds);
    // Two outages in a short run, at one third and two thirds; in a long run about one in a minute.
    let count = (options.seconds / 60).max(2);
    let mut due: Vec<Instant> = (1..=count)
        .map(|number| {
            began
                + Duration::from_secs(options.seconds) * u32::try_from(number).unwrap_or(1)
                    / u32::try_from(count + 1).unwrap_or(2)
        })
        .collect();
    due.reverse();
    let mut phases = Vec::new();
    let mut told = began;
    while Instant::now() < until && !watch.is_alarmed() {
        thread::sleep(Duration::from_millis(50));
        if due.last().is_some_and(|time| *time <= Instant::now()) {
            due.pop();
            let outage = OUTAGES[phases.len() % OUTAGES.len()];
            phases.push(outage.carry_out(ground, honest.ends(), clock).context(outage.name())?);
        }
        if told.elapsed() >= Duration::from_secs(10) {
            told = Instant::now();
            let (seen, answered) = honest.progress();
            println!("{:>5} s  {seen} events seen, {answered} calls answered", began.elapsed().as_secs());
        }
    }
    Ok(phases)
}

fn pairs(records: &Records) -> Vec<Pair> {
    let came: BTreeMap<u64, u64> = records
        .items
        .iter()
        .filter_map(|item| match item {
            Item::Event { number, at } => Some((*number, *at)),
            _ => None,
        })
        .collect();
    let pair = |(number, sent): (&u64, &u64)| {
        let delay = |at: Option<&u64>| at.map(|at| at.saturating_sub(*sent));
        let (event, control) = (delay(came.get(number)), delay(records.notified.get(number)));
        Pair { number: *number, sent: *sent, event, control }
    };
    records.published.sent.iter().map(pair).collect()
}

// Long because it is two lists: what is wrong, and what there was too little of.
fn judge(
    options: &Options,
    records: Records,
    attackers: BTreeMap<&'static str, Tally>,
    phases: Vec<Phase>,
    findings: &Findings,
    pairs: &[Pair],
    mut failures: Vec<String>,
) -> (Report, Vec<Item>) {
    let Records { published, items, calls, followed, .. } = records;
    let has_priority = options.install.account().may_permit_priority();
    let is_judged = |at: u64| !phases.iter().any(|phase| (phase.from..=phase.until).contains(&at));
    // A call that was already on its way when the outage began is not judged either.
    let is_clear =
        |pair: &Pair| is_judged(pair.sent) && pair.event.is_none_or(|delay| is_judged(pair.sent + delay));
    let judged: Vec<Pair> = pairs.iter().copied().filter(is_clear).collect();
    let (events, control) = delays::spreads(&judged);
    let judgement = if options.seconds >= LONG { Judgement::P99AndMax } else { Judgement::P99 };
    let account = sequence::account(&items, &published.done);
    let peak = findings.memory.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    let limit = memory::limit(options.is_secure);

    let mut violations: Vec<String> =
        findings.alarms.iter().map(|line| format!("the log says: {line}")).collect();
    violations.extend(
        watch::invalid_lines(&findings.log).into_iter().map(|line| format!("the log is not UTF-8: {line}")),
    );
    violations.extend(account.violations.iter().cloned());
    for item in &items {
        if let Item::Closed { why, at } = item
            && is_judged(*at)
        {
            violations.push(format!("the honest stream ended at {} ms: {why}", at / 1000));
        }
    }
    let late = delays::late(&judged, &findings.machine, judgement);
    let late = if options.judges_costs { late } else { Vec::new() };
    // A short run is to pass on a machine that others use, too, and on one of two cores, which attackers keep
    // busy by themselves: of a hundred events in a second a single one that waited is the 99th percentile.
    let is_excused = |late: &Late| match late.cause {
        Cause::Gateway => false,
        Cause::Siege | Cause::Others => judgement == Judgement::P99,
    };
    let (excused, late): (Vec<Late>, Vec<Late>) = late.into_iter().partition(is_excused);
    violations.extend(late.iter().map(|late| format!("late: {}", late.told)));
    violations.extend(followed.wrong.iter().map(|wrong| format!("the follower: {wrong}")));
    violations.extend(calls.wrong.iter().map(|wrong| format!("a call got {wrong}")));
    violations.extend(published.errors.iter().map(|error| format!("publishing failed: {error}")));
    if options.judges_costs && peak > limit {
        violations.push(format!("the gateway held {} MB, {} are allowed", peak / MB, limit / MB));
    }
    for phase in &phases {
        if phase.recovery.is_none_or(|time| options.judges_costs && time > MAX_RECOVERY) {
            violations.push(format!("{}: no recovery within {MAX_RECOVERY:?}", phase.outage.name()));
        }
    }

    failures.extend(published.broken.clone());
    let seconds = delays::judged_seconds(&judged);
    if excused.len() * 100 > seconds * MAX_EXCUSED_PERCENT {
        failures
            .push(format!("in {} of {seconds} seconds the gateway waited for a processor", excused.len()));
    }
    let mut least = |what: &str, count: u64, least: u64| {
        if count < least {
            failures.push(format!("only {count} {what}, at least {least} are needed"));
        }
    };
    least("honest events were published", published.done.len() as u64, options.seconds * MIN_EVENTS);
    let slowness = if options.judges_costs { 1 } else { SLOWNESS };
    least("honest calls were answered", calls.answered, options.seconds * MIN_CALLS / slowness);
    let percent = account.seen * 100 / (published.done.len() as u64).max(1);
    least("percent of the honest events were seen", percent, MIN_SEEN_PERCENT);
    least("changes were followed", followed.events, options.seconds * MIN_CHANGES / slowness);
    least("looks at the gateway's memory", findings.memory.len() as u64, options.seconds);
    for (name, tally) in &attackers {
        if tally.struck == 0 {
            let (refusal, failure) = (&tally.last_refusal, &tally.last_failure);
            let why = format!("refused last: {refusal}; failed last: {failure}");
            failures.push(format!("the attacker {name:?} never struck; {why}"));
        }
    }
    let report = Report {
        seed: options.seed,
        seconds: options.seconds,
        events,
        control,
        published: published.done.len(),
        account,
        call_times: Spread::of(calls.durations.clone()),
        calls,
        followed,
        memory: (peak, limit),
        starved: findings.machine.longest_wait(0, u64::MAX),
        others_percent: findings.machine.others_percent(0, u64::MAX),
        excused: excused.into_iter().map(|late| late.told).collect(),
        has_priority,
        attackers,
        phases,
        conclusion: Conclusion { failures, violations, archive: None },
    };
    (report, items)
}

fn start_cluster(options: &Options, port: u16) -> Result<Cluster> {
    let builder = Cluster::builder();
    let builder = if options.is_secure { builder.transport(Transport::Tls) } else { builder };
    builder
        .install(Arc::clone(&options.install))
        .priority()
        .setting("sse.port", port)
        .setting("sse.threads", THREADS)
        .setting("sse.jwt_secret", SECRET)
        .setting("sse.ring_size", format!("{}MB", RING_SIZE / MB))
        .setting("sse.window_size", format!("{}MB", WINDOW_SIZE / MB))
        .setting("sse.max_connections", MAX_CONNECTIONS)
        .setting("sse.max_event_size", format!("{}kB", MAX_EVENT_SIZE / KB))
        .setting("sse.max_body_size", format!("{}MB", MAX_BODY_SIZE / MB))
        .setting("sse.call_role", "web")
        .setting("sse.call_workers", CALL_WORKERS)
        .setting("sse.call_timeout", "10s")
        .setting("shared_buffers", "32MB")
        .setting("max_connections", 60)
        .setting("max_worker_processes", 16)
        .start()
}

/// Starts something under a limit of address space, which it inherits; our own process has that limit only
/// meanwhile. To limit a process that is already running takes a privilege that root in a container may lack.
fn within_memory<T>(bytes: Option<u64>, start: impl FnOnce() -> Result<T>) -> Result<T> {
    let Some(bytes) = bytes else { return start() };
    let before = getrlimit(Resource::As);
    setrlimit(Resource::As, Rlimit { current: Some(bytes), maximum: before.maximum })?;
    let started = start();
    setrlimit(Resource::As, before)?;
    started
}
