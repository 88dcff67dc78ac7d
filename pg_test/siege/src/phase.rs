//! Outages that the run makes: in each, only the time to recovery is judged.
//!
//! Attackers go on meanwhile. Not for outages that the server causes by itself: there must be none.

use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use cluster::{Clock, wait_until};

use crate::ground::Ground;
use crate::honest::Ends;
use crate::wire::Wire;

/// From the end of the outage's cause until events come and calls are answered. The gateway looks at its
/// database once a second, and not while that is locked; it reads the catalog through a worker that must
/// connect, and starts call workers that must connect, too. And an attacker keeps `pg_database` locked about
/// half of the time, with ever longer queues. On a busy machine 9 s were seen. Beyond this time the run
/// fails.
pub(crate) const MAX_RECOVERY: Duration = Duration::from_secs(20);

/// After this time a recovery is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long nothing is judged after a recovery: what has waited comes in a crowd.
const SETTLING: Duration = Duration::from_secs(1);

/// This many events and this many calls count as a recovery.
const ENOUGH: u64 = 5;

/// What ends the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    /// `DROP EXTENSION` and back.
    Extension,
    /// `pg_terminate_backend` of every call worker.
    CallWorkers,
}

/// The order in a run, which is repeated in long ones.
pub(crate) const OUTAGES: [Outage; 2] = [Outage::Extension, Outage::CallWorkers];

/// With the triggers of `sse.publish_change()`. They are on tables that attackers alter meanwhile, so the
/// statement may be the victim of a deadlock.
fn drop_extension(session: &mut Wire) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match session.query("drop extension pg_sse cascade", PATIENCE)?.error {
            None => return Ok(()),
            Some(error) if Instant::now() > deadline || !error.starts_with(DEADLOCK) => bail!("{error}"),
            Some(_) => {}
        }
    }
}

/// SQLSTATE `deadlock_detected`.
const DEADLOCK: &str = "40P01";

/// One outage, in the time of the run.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    pub(crate) outage: Outage,
    pub(crate) from: u64,
    pub(crate) until: u64,
    /// `None`: there was no recovery in the time allowed.
    pub(crate) recovery: Option<Duration>,
}

impl Outage {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Extension => "DROP EXTENSION and back",
            Self::CallWorkers => "call workers terminated",
        }
    }

    /// Causes the outage, waits for the recovery, and returns how long that took.
    pub(crate) fn carry_out(self, ground: &Ground, ends: &Ends, clock: Clock) -> Result<Phase> {
        let mut session = ground.session("postgres")?;
        ends.outage.store(true, Relaxed);
        let from = clock.now();
        match self {
            Self::Extension => {
                drop_extension(&mut session)?;
                // If the extension were created again at once, the gateway might never notice. What recovers
                // must have stopped.
                let client = ground.client.within(Duration::from_secs(2));
                wait_until(MAX_RECOVERY, "DROP EXTENSION stops serving", || {
                    client.get("/healthz").map_or(true, |answer| answer.status() != 200)
                })?;
                session.query("create extension pg_sse", PATIENCE)?.ok()?;
            }
            Self::CallWorkers => {
                // Not pg_stat_activity: it joins pg_database, which an attacker may keep locked.
                let sql = "select count(pg_terminate_backend(pid)) from pg_stat_get_activity(null) where backend_type = 'pg_sse call worker'";
                let count = session.query(sql, PATIENCE)?.ok()?;
                if count.as_deref() == Some("0") {
                    bail!("there is no call worker to terminate");
                }
            }
        }
        let began = Instant::now();
        let (seen, answered) = (ends.seen.load(Relaxed), ends.answered.load(Relaxed));
        let has_recovered =
            || ends.seen.load(Relaxed) >= seen + ENOUGH && ends.answered.load(Relaxed) >= answered + ENOUGH;
        while !has_recovered() && began.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
        let recovery = has_recovered().then(|| began.elapsed());
        thread::sleep(SETTLING);
        ends.outage.store(false, Relaxed);
        Ok(Phase { outage: self, from, until: clock.now(), recovery })
    }
}
