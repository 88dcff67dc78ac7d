//! `/readyz`: whether an event that is published now would reach its subscribers, looked at piece by piece,
//! and at last tried (C8.2).
//!
//! Looked at when somebody asks, and at most once a second: whoever asks meanwhile gets the last report, and
//! who asks while one is made waits for it.
//!
//! Not for whether the process lives: `/livez`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use super::{Board, Facts};
use crate::auth::Files;
use crate::shared::Shared;

/// How long a report stands.
const REPORT_AGE: Duration = Duration::from_secs(1);

/// How long the canary has to come through; an event takes a hundredth of it on a machine that is very busy.
const CANARY_TIME: Duration = Duration::from_secs(3);

/// Pause between two looks at where the canary is.
const CANARY_PAUSE: Duration = Duration::from_millis(1);

/// Part of the ring, in per cent, from which on it counts as full: what comes now may find no room.
const FULL_PER_CENT: u64 = 80;

/// The last report.
#[derive(Default)]
pub(super) struct Readiness(tokio::sync::Mutex<Option<(Instant, Arc<Report>)>>);

/// What was found.
pub(super) struct Report {
    pub(super) is_ready: bool,
    /// As JSON.
    pub(super) body: String,
}

/// One of the checks: what is wrong, or worth knowing.
type Found = Result<Option<&'static str>, &'static str>;

impl Readiness {
    pub(super) async fn report(&self, board: &Arc<Board>) -> Arc<Report> {
        let mut last = self.0.lock().await;
        if let Some((at, report)) = &*last
            && at.elapsed() < REPORT_AGE
        {
            return Arc::clone(report);
        }
        let report = Arc::new(look(board).await);
        *last = Some((Instant::now(), Arc::clone(&report)));
        report
    }
}

async fn look(board: &Arc<Board>) -> Report {
    let facts = board.surroundings.facts();
    let gateway = board.gateway();
    let mut checks = Checks { began: Instant::now(), is_ready: true, found: Vec::new() };
    checks.note("database", facts.database.map(|()| None));
    checks.note("extension", facts.extension.map(|()| None));
    checks.note("routes", routes(gateway.as_deref()));
    checks.note("call_role", facts.call_role.map(|()| None));
    checks.note("keys", keys(gateway.as_ref()).await);
    checks.note("ring", ring(&facts));
    checks.note("canary", canary(gateway.as_deref()).await);
    let body = json!({ "checks": checks.found });
    Report { is_ready: checks.is_ready, body: format!("{body}\n") }
}

struct Checks {
    /// When the present check began.
    began: Instant,
    is_ready: bool,
    found: Vec<serde_json::Value>,
}

impl Checks {
    fn note(&mut self, name: &str, found: Found) {
        let now = Instant::now();
        let took = now.duration_since(std::mem::replace(&mut self.began, now));
        let milliseconds = (took.as_secs_f64() * 1e6).round() / 1e3;
        let mut check = json!({ "name": name, "ok": found.is_ok(), "ms": milliseconds });
        if let Ok(Some(detail)) | Err(detail) = found {
            check["detail"] = detail.into();
        }
        self.is_ready &= found.is_ok();
        self.found.push(check);
    }
}

/// Whether requests for streams are answered.
fn routes(gateway: Option<&Shared>) -> Found {
    let Some(gateway) = gateway else { return Err("nothing is served") };
    if !gateway.stats.listening.load(Ordering::Relaxed) {
        return Err("not every address of sse.listen_addresses can be had (see the server log)");
    }
    if gateway.is_unavailable() {
        return Err(
            "a setting was refused at server start, or the file of refusals is not read yet: every request is answered with 503 (see the server log)",
        );
    }
    if !gateway.routes.is_filled() {
        return Err("the routines have not been read yet");
    }
    Ok(None)
}

/// Whether tokens can be believed. Reading files may wait for a disk, so it is done elsewhere.
async fn keys(gateway: Option<&Arc<Shared>>) -> Found {
    let Some(gateway) = gateway.cloned() else { return Ok(Some("nothing is served")) };
    let look = tokio::task::spawn_blocking(move || {
        if gateway.auth.is_look_due() {
            gateway.auth.look(&gateway.outbox);
        }
        gateway.auth.files()
    });
    match look.await {
        Ok(Files::Good) => Ok(None),
        Ok(Files::Kept) => {
            Ok(Some("a file with keys cannot be read any more; its keys stay in use (see the server log)"))
        }
        Ok(Files::Missing) => Err("a file with keys cannot be used (see the server log)"),
        Err(_) => Err("the files with keys could not be looked at"),
    }
}

fn ring(facts: &Facts) -> Found {
    let is_full =
        facts.ring_used_bytes.saturating_mul(100) >= facts.ring_capacity_bytes.saturating_mul(FULL_PER_CENT);
    if is_full { Err("80 % of the ring or more are in use") } else { Ok(None) }
}

/// Whether an event comes through ring, order and log to every runtime thread.
async fn canary(gateway: Option<&Shared>) -> Found {
    let Some(gateway) = gateway else { return Err("nothing is served") };
    let number = gateway.canary.ask();
    gateway.outbox.wake_main();
    let began = Instant::now();
    while !gateway.canary.has_come(number) {
        if began.elapsed() >= CANARY_TIME {
            return Err("an event of our own did not come through within 3 s");
        }
        sleep(CANARY_PAUSE).await;
    }
    Ok(None)
}
