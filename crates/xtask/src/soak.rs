//! `cargo xtask soak`: subscribers come and go in every way there is, while events are published, settings
//! reloaded and comments changed; memory and descriptors of the gateway stay level.
//!
//! The first third is for warming up. In the last third the gateway may hold no more than [`ALLOWANCE_KB`]
//! above the second, and when all subscribers have gone, it has exactly as many descriptors open as before
//! the first came.
//!
//! Not for what subscribers get, nor for speed. Linux alone: it reads /proc.

mod churn;
mod gauge;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::http::Transport;
use cluster::{Account, Cluster, Profile, Scratch, Session};

use crate::build;
use crate::packages::{self, Purpose};
use churn::{Churn, SECRET, Tally};
use gauge::{Gauge, Sample, level};

/// How much more the gateway may hold in the last third than in the second, in kB. Where memory is level the
/// difference was 20 kB; on a busy machine, where the gateway is still warming up in the second third of a
/// run of half a minute, it was a third of this value. In a third of one minute some four thousand streams
/// come and go, so 300 bytes left behind by each would show; in a run of five minutes, 60 bytes.
const ALLOWANCE_KB: u64 = 1024;

/// Streams opened per second, at least: a soak with fewer has shown nothing.
const MIN_STREAMS: u64 = 20;

/// The shortest run: a shorter one would still be warming up in its second third.
const MIN_SECONDS: u64 = 30;

/// Rows of the table.
const ROWS: usize = 12;

/// What is published in a round: for all, for one user, by topic, for nobody; and now and then something
/// large.
const SCHEMA: &str = "
    create function say(message text) returns void language plpgsql as
        $$ begin raise info '%', message; end $$;
    comment on function say(text) is '@sse';
    create function whisper(message text, whom text) returns void language plpgsql as
        $$ begin raise info '%', message using hint = sse.authorize('id:' || whom); end $$;
    comment on function whisper(text, text) is '@sse
@authorize';
    create function tell(message text) returns void language plpgsql as
        $$ begin raise info '%', message; end $$;
    comment on function tell(text) is '@sse
@sse_topic t';";

/// The settings are small so that all that is bounded reaches its bound in the first third.
const SETTINGS: [(&str, &str); 7] = [
    ("sse.window_size", "1MB"),
    ("sse.window_age", "2s"),
    ("sse.write_timeout", "2s"),
    ("sse.heartbeat_interval", "1s"),
    ("sse.retry", "100ms"),
    ("client_min_messages", "error"),
    ("sse.jwt_secret", SECRET),
];

/// Runs the soak and prints its table and its verdict.
///
/// # Errors
/// Memory or descriptors are not level, the gateway was started anew, or something on the way fails.
pub(crate) fn run(seconds: u64, tls: bool, pg_config: Option<&std::path::Path>) -> Result<()> {
    ensure!(seconds >= MIN_SECONDS, "a soak takes at least {MIN_SECONDS} seconds");
    let pg = packages::ensure(pg_config, Purpose::BuildAndRun)?;
    let install = build::installed(&pg, Profile::Test)?;
    let www = Scratch::create(&Account::for_servers()?)?;
    std::fs::write(www.path().join("page.html"), vec![b'x'; 200_000])?;
    let mut cluster = Cluster::builder().install(install).setting("sse.static_root", www.path().display());
    if tls {
        cluster = cluster.transport(Transport::Tls);
    }
    for (name, value) in SETTINGS {
        cluster = cluster.setting(name, value);
    }
    let cluster = cluster.start()?;
    cluster.sql(SCHEMA)?;
    let result = soak(&cluster, Duration::from_secs(seconds));
    result.with_context(|| format!("the end of the server's log:\n{}", log_tail(&cluster)))
}

fn soak(cluster: &Cluster, time: Duration) -> Result<()> {
    let churn = Churn::new(cluster)?;
    let mut gauge = Gauge::new(cluster)?;
    // What is made on first use must exist before it is counted.
    churn.one_of_each()?;
    let before = gauge.quiet(None)?;
    let stop = Arc::new(AtomicBool::new(false));
    let workers = churn.start(&stop);
    let publisher = Ticker::start(Duration::from_millis(50), publishing(cluster.session()?));
    let administrator = Ticker::start(Duration::from_secs(1), administering(cluster)?);
    let samples = watch(&mut gauge, time);
    stop.store(true, Ordering::Relaxed);
    // Subscribers leave when they have read something, so the publisher is stopped last. If the publisher has
    // failed, that is why subscribers did.
    let tally = workers.join().context("a subscriber");
    publisher.stop().context("the publisher")?;
    administrator.stop().context("the administrator")?;
    let (tally, samples) = (tally?, samples?);
    print_table(&samples);
    let after = gauge.quiet(Some(before.descriptors));
    println!("  {tally}");
    judge(&samples, &before, after, &tally, time)
}

/// A sample a second.
fn watch(gauge: &mut Gauge, time: Duration) -> Result<Vec<Sample>> {
    let started = Instant::now();
    let mut samples = Vec::new();
    while started.elapsed() < time {
        let next = started + Duration::from_secs(samples.len() as u64 + 1);
        thread::sleep(next.saturating_duration_since(Instant::now()));
        samples.push(gauge.sample(started.elapsed())?);
    }
    Ok(samples)
}

fn judge(
    samples: &[Sample],
    before: &Sample,
    after: Result<Sample>,
    tally: &Tally,
    time: Duration,
) -> Result<()> {
    let (middle, last) = level(samples).context("there are too few samples")?;
    println!(
        "  memory      {middle} kB in the second third, {last} kB in the last ({:+} kB, {ALLOWANCE_KB} are allowed)",
        last.cast_signed() - middle.cast_signed()
    );
    let after = after?;
    println!(
        "  descriptors {} before, {} afterwards; gone: all {} streams",
        before.descriptors,
        after.descriptors,
        after.streams_total - before.streams_total
    );
    let streams = after.streams_total - before.streams_total;
    ensure!(
        streams >= MIN_STREAMS * time.as_secs(),
        "only {streams} streams were opened: this shows nothing ({tally})"
    );
    ensure!(after.deliveries > before.deliveries + streams, "hardly an event was delivered");
    ensure!(after.pid == before.pid, "the gateway was started anew");
    if last > middle + ALLOWANCE_KB {
        bail!("the gateway holds {} kB more in the last third than in the second", last - middle);
    }
    println!("level");
    Ok(())
}

fn print_table(samples: &[Sample]) {
    println!("\n  seconds   streams    opened   delivered   memory kB   window kB   descriptors");
    let step = samples.len().div_ceil(ROWS).max(1);
    for sample in samples.iter().skip(step - 1).step_by(step) {
        println!(
            "  {:>7}   {:>7}   {:>7}   {:>9}   {:>9}   {:>9}   {:>11}",
            sample.at.as_secs(),
            sample.streams,
            sample.streams_total,
            sample.deliveries,
            sample.memory_kb,
            sample.window_kb,
            sample.descriptors
        );
    }
    println!();
}

/// A job that is done again and again in a thread of its own.
struct Ticker {
    stop: Sender<()>,
    thread: JoinHandle<Result<()>>,
}

impl Ticker {
    fn start(every: Duration, mut tick: impl FnMut(u64) -> Result<()> + Send + 'static) -> Self {
        let (stop, stopped) = channel::<()>();
        let thread = thread::spawn(move || {
            let mut number = 0;
            while stopped.recv_timeout(every).is_err() {
                number += 1;
                tick(number)?;
            }
            Ok(())
        });
        Self { stop, thread }
    }

    fn stop(self) -> Result<()> {
        // The reason why a thread ended by itself is reported below.
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_else(|_| bail!("panicked"))
    }
}

fn publishing(mut session: Session) -> impl FnMut(u64) -> Result<()> + Send {
    move |round| {
        let large = if round.is_multiple_of(40) { 100_000 } else { 10 };
        session
            .run(&format!(
                "select count(say(repeat('x', 200) || n)) from generate_series(1, 20) n;
                 select count(whisper('for one', n::text)) from generate_series(1, 10) n;
                 select tell(repeat('y', {large}));
                 select sse.publish('at once', 'authorize role:staff', delivery => 'immediate');
                 begin; select say('never'); rollback;"
            ))?
            .ok()?;
        Ok(())
    }
}

/// Reloads with another setting, another comment, another URL.
fn administering(cluster: &Cluster) -> Result<impl FnMut(u64) -> Result<()> + Send + use<>> {
    let mut session = cluster.session()?;
    Ok(move |round: u64| {
        session.run(&format!("alter system set sse.retry = '{}ms'", 100 + round % 2))?.ok()?;
        session
            .run(&format!(
                "select pg_reload_conf();
                 comment on function tell(text) is 'for the {round}th time

@sse
@sse_topic t';
                 create function passing_{round}() returns void language sql as 'select';
                 comment on function passing_{round}() is '@sse';
                 drop function if exists passing_{}();",
                round - 1
            ))?
            .ok()?;
        Ok(())
    })
}

fn log_tail(cluster: &Cluster) -> String {
    let log = cluster.log().unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
