//! Breaks things: carries out each fault of the schedule, on the cluster of this run and nowhere else.
//!
//! Not for which and when: `schedule`.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::{Clock, Cluster, PATIENCE, StopMode, wait_for, wait_until};
use fastrand::Rng;

use crate::control::{Control, Manner};
use crate::schedule::{Fault, Span, Step};
use crate::writer::{Pace, Writer};

/// `sse.ring_size` and `sse.window_size` at the beginning: small, so that they fill within a second.
pub(crate) const RING_SIZE: &str = "1MB";
pub(crate) const WINDOW_SIZE: &str = "2MB";

/// Larger than the ring.
const BURST: (u32, usize) = (2_500, 450);

/// More than window and socket buffers hold (the server's buffer grows to 4 MB), in events so small that a
/// reader which falls out of the window in the middle of one is not disconnected.
const FLOOD_OF_SMALL: (u32, usize) = (2_500, 4_000);

/// More than the window holds.
const FLOOD_OF_LARGE: (u32, usize) = (40, 150_000);

/// How long readers may take for what they are behind; then it is tried again.
const SETTLING_TIME: Duration = Duration::from_secs(5);

/// A file of this name in the data directory makes a runtime thread of the gateway panic at the next reload,
/// only in builds for tests (`fault.rs` of the gateway).
const PANIC_FILE: &str = "pg_sse.panic";

/// A reader, as the driver knows it.
pub(crate) struct Target {
    pub(crate) control: Arc<Control>,
    pub(crate) is_flooded: bool,
}

pub(crate) struct Driver {
    cluster: Arc<Cluster>,
    targets: Arc<[Target]>,
    pace: Arc<Pace>,
    /// Raises what faults need.
    pub(crate) writer: Writer,
    /// How often each fault was carried out.
    pub(crate) faults: BTreeMap<Fault, u64>,
    /// And when.
    pub(crate) spans: Vec<Span>,
    clock: Clock,
}

impl Driver {
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        targets: Arc<[Target]>,
        pace: Arc<Pace>,
        writer: Writer,
        clock: Clock,
    ) -> Self {
        let (faults, spans) = (BTreeMap::new(), Vec::new());
        Self { cluster, targets, pace, writer, faults, spans, clock }
    }

    /// Carries out one fault, and waits until the server is back where it took it down.
    pub(crate) fn carry_out(&mut self, step: &Step) -> Result<()> {
        thread::sleep(step.pause);
        let mut rng = Rng::with_seed(step.seed);
        let name = step.fault.name();
        let from = self.clock.now();
        let done = self.break_it(step.fault, &mut rng);
        self.spans.push(Span { fault: step.fault, from, until: self.clock.now() });
        done.with_context(|| format!("while testing: {name}"))?;
        *self.faults.entry(step.fault).or_default() += 1;
        Ok(())
    }

    fn break_it(&mut self, fault: Fault, rng: &mut Rng) -> Result<()> {
        match fault {
            Fault::Cut => self.cut_many(rng),
            Fault::InventedId => {
                for target in self.some_targets(rng, 2) {
                    target.control.cut(Manner::Invented, Duration::ZERO);
                }
            }
            Fault::LongAbsence => {
                for target in self.some_targets(rng, 6) {
                    target.control.cut(Manner::Header, PATIENCE);
                }
                let flooded = self.writer.flood(FLOOD_OF_LARGE.0, FLOOD_OF_LARGE.1);
                self.release_all();
                flooded?;
            }
            Fault::StoppedReading => self.stop_readers(rng)?,
            Fault::FullRing => {
                let frozen = self.cluster.freeze(self.gateway()?)?;
                let raised = self.writer.burst(BURST.0, BURST.1);
                drop(frozen);
                raised?;
            }
            Fault::HugeTransaction => self.writer.burst(BURST.0 * 3 / 2, BURST.1)?,
            Fault::Reload => self.reload(rng)?,
            Fault::FrozenBackends => self.freeze_backends(rng)?,
            Fault::FailingSnapshot => self.fail_snapshots()?,
            Fault::FastRestart => self.cluster.restart(StopMode::Fast)?,
            Fault::ImmediateRestart => self.cluster.restart(StopMode::Immediate)?,
            Fault::Panic => self.and_come_back(|cluster, _| {
                fs::write(cluster.data_dir().join(PANIC_FILE), "")?;
                cluster.reload()
            })?,
            Fault::Terminate => self.and_come_back(|cluster, gateway| {
                cluster.sql(&format!("select pg_terminate_backend({gateway})")).map(drop)
            })?,
            Fault::KilledGateway => self.and_come_back(Cluster::kill_backend)?,
            Fault::KilledBackend => {
                let victim = rng.u32(..);
                self.and_come_back(|cluster, _| kill_backend(cluster, victim))?;
            }
        }
        Ok(())
    }

    fn cut_many(&self, rng: &mut Rng) {
        for target in self.some_targets(rng, self.targets.len() / 2) {
            let manner = if rng.bool() { Manner::Header } else { Manner::Query };
            target.control.cut(manner, Duration::from_millis(rng.u64(0..400)));
        }
    }

    /// Only the flooded reader, because the others would have to be sent as much.
    fn stop_readers(&mut self, rng: &mut Rng) -> Result<()> {
        for target in self.targets.iter().filter(|target| target.is_flooded) {
            target.control.stall(PATIENCE);
        }
        for target in self.some_targets(rng, 4).into_iter().filter(|target| !target.is_flooded) {
            target.control.stall(Duration::from_millis(rng.u64(200..2_000)));
        }
        let flooded = self.writer.flood(FLOOD_OF_SMALL.0, FLOOD_OF_SMALL.1);
        self.release_all();
        flooded
    }

    fn reload(&self, rng: &mut Rng) -> Result<()> {
        for (name, values) in [
            ("sse.window_size", ["1MB", WINDOW_SIZE, "3MB"]),
            ("sse.heartbeat_interval", ["100ms", "1s", "15s"]),
            ("sse.retry", ["400ms", "1s", "2s"]),
            ("sse.write_timeout", ["3s", "10s", "30s"]),
        ] {
            self.cluster.configure(name, values[rng.usize(0..values.len())])?;
        }
        self.cluster.reload()
    }

    /// Followers often ask for one, so it does not take long until a run fails.
    fn fail_snapshots(&self) -> Result<()> {
        let failed = || -> Result<u64> {
            let count = self.cluster.sql("select snapshots_failed_total from sse.stat_gateway")?;
            count.parse().context("snapshots_failed_total is no number")
        };
        let before = failed()?;
        self.cluster.sql("revoke select on tally from ledger_calls")?;
        let seen = wait_until(PATIENCE, "a snapshot fails", || failed().is_ok_and(|now| now > before));
        self.cluster.sql("grant select on tally to ledger_calls")?;
        seen
    }

    fn freeze_backends(&self, rng: &mut Rng) -> Result<()> {
        for _ in 0..5 {
            let Some(pid) = client_backend(&self.cluster, rng.u32(..))? else { continue };
            // A backend that has ended meanwhile cannot be stopped.
            let frozen = self.cluster.freeze(pid);
            thread::sleep(Duration::from_millis(rng.u64(20..200)));
            drop(frozen);
        }
        Ok(())
    }

    /// Does something that ends the gateway, and waits for the next one.
    fn and_come_back(&self, break_it: impl FnOnce(&Cluster, u32) -> Result<()>) -> Result<()> {
        let before = self.gateway()?;
        break_it(&self.cluster, before)?;
        self.pace.is_slow.store(true, Relaxed);
        let came =
            wait_until(PATIENCE, "another gateway serves", || self.gateway().is_ok_and(|now| now != before));
        self.pace.is_slow.store(false, Relaxed);
        came
    }

    /// The process that serves.
    fn gateway(&self) -> Result<u32> {
        wait_for(PATIENCE, "the gateway serves", || {
            let state = self.cluster.sql("select pid from sse.stat_gateway where state = 'serving'");
            Ok(state.ok().and_then(|pid| pid.parse().ok()))
        })
    }

    fn some_targets(&self, rng: &mut Rng, count: usize) -> Vec<&Target> {
        rng.choose_multiple(self.targets.iter(), count)
    }

    /// Waits until every reader reads and is connected.
    fn release_all(&self) {
        self.targets.iter().for_each(|target| target.control.release());
    }

    /// No faults from here on: waits until every reader has a stream and has caught up. A reader that is so
    /// far behind that the next gap hides the settling events gets further ones.
    pub(crate) fn calm_down(&mut self) -> Result<()> {
        self.gateway()?;
        self.release_all();
        let deadline = Instant::now() + 2 * PATIENCE;
        let everybody =
            |is: fn(&Control) -> bool| self.targets.iter().all(|target| is(target.control.as_ref()));
        loop {
            wait_until(PATIENCE, "every reader has a stream", || {
                everybody(|control| control.epoch().is_some())
            })?;
            self.targets.iter().for_each(|target| target.control.forget_that_it_has());
            self.writer.settle()?;
            let settled =
                wait_until(SETTLING_TIME, "every reader catches up", || everybody(Control::has_caught_up));
            if settled.is_ok() || Instant::now() >= deadline {
                return settled;
            }
        }
    }
}

/// Cuts one connection after the other until told to end, and counts them.
pub(crate) fn cut_now_and_then(targets: &[Target], seed: u64, end: &AtomicBool, count: &AtomicU64) {
    let mut rng = Rng::with_seed(seed);
    let mut next = Instant::now();
    while !end.load(Relaxed) {
        if Instant::now() < next {
            thread::sleep(Duration::from_millis(10));
            continue;
        }
        next = Instant::now() + Duration::from_millis(rng.u64(50..400));
        let Some(target) = rng.choice(targets) else { return };
        // A reader that is kept away stays away.
        if target.control.epoch().is_some() {
            let manner = if rng.u32(0..3) > 0 { Manner::Header } else { Manner::Query };
            target.control.cut(manner, Duration::ZERO);
            count.fetch_add(1, Relaxed);
        }
    }
}

fn kill_backend(cluster: &Cluster, choice: u32) -> Result<()> {
    let victim = wait_for(PATIENCE, "there is a backend to kill", || client_backend(cluster, choice))?;
    cluster.kill_backend(victim)
}

/// One of the client backends, except the one that is asked.
fn client_backend(cluster: &Cluster, choice: u32) -> Result<Option<u32>> {
    let pids = cluster.sql(
        "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() order by pid",
    )?;
    let pids: Vec<&str> = pids.lines().collect();
    if pids.is_empty() {
        return Ok(None);
    }
    let pid: u32 = pids[choice as usize % pids.len()].parse()?;
    ensure!(pid > 1, "{pid} is no backend");
    Ok(Some(pid))
}
