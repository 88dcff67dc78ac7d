//! `/readyz`: whether an event that is published now would reach its subscribers, looked at piece by piece,
//! and at last tried (C8.2).
//!
//! Looked at when somebody asks, and at most once a second: whoever asks meanwhile gets the last report, and
//! whoever asks while one is made waits for it.
//!
//! Not for whether the process lives: `/livez`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::{Board, Facts};
use crate::auth::Files;
use crate::shared::Shared;

/// How long a report stands.
const REPORT_AGE: Duration = Duration::from_secs(1);

/// How long the canary has to come through; an event takes a hundredth of it on a machine that is very busy.
const CANARY_TIME: Duration = Duration::from_secs(3);

/// Pause between two looks at where the canary is.
const CANARY_PAUSE: Duration = Duration::from_millis(1);

/// How long the files with keys may take. A disk that hangs must not hold up who asks, and with them all
/// connections of the port; the look goes on, and no other begins before it has ended.
const KEYS_TIME: Duration = Duration::from_secs(3);

/// Part of the ring, in per cent, from which on it counts as full: what comes now may find no room.
const FULL_PER_CENT: u64 = 80;

/// The last report, and how the next one is made.
#[derive(Default)]
pub(super) struct Readiness(tokio::sync::Mutex<Known>);

#[derive(Default)]
struct Known {
    last: Option<(Instant, Arc<Report>)>,
    /// A look at the files with keys that has not ended.
    looking: Option<JoinHandle<Files>>,
}

/// What was found.
pub(super) struct Report {
    pub(super) is_ready: bool,
    /// One by one.
    pub(super) checks: serde_json::Value,
    /// All of it as JSON.
    pub(super) body: String,
}

/// One of the checks: what is wrong, or worth knowing.
type Found = Result<Option<&'static str>, &'static str>;

impl Readiness {
    pub(super) async fn report(&self, board: &Arc<Board>) -> Arc<Report> {
        let mut known = self.0.lock().await;
        if let Some((at, report)) = &known.last
            && at.elapsed() < REPORT_AGE
        {
            return Arc::clone(report);
        }
        let report = Arc::new(look(board, &mut known.looking).await);
        known.last = Some((Instant::now(), Arc::clone(&report)));
        report
    }
}

async fn look(board: &Arc<Board>, looking: &mut Option<JoinHandle<Files>>) -> Report {
    let facts = board.surroundings.facts();
    let gateway = board.gateway();
    let mut checks = Checks { began: Instant::now(), is_ready: true, found: Vec::new() };
    checks.note("database", facts.database.map(|()| None));
    checks.note("extension", facts.extension.map(|()| None));
    checks.note("routes", routes(gateway.as_deref()));
    checks.note("call_role", facts.call_role.map(|()| None));
    checks.note("keys", keys(gateway.as_ref(), looking).await);
    checks.note("ring", ring(&facts));
    checks.note("canary", canary(gateway.as_deref()).await);
    let found = serde_json::Value::from(checks.found);
    let body = format!("{}\n", json!({ "checks": found }));
    Report { is_ready: checks.is_ready, checks: found, body }
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
    if gateway.awaits_certificate() {
        return Err("the certificate cannot be used, so nothing listens (see the server log)");
    }
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
    if !gateway.published.is_read_back() {
        return Err("the window of recent events has not been read back from the write-ahead log yet");
    }
    Ok(None)
}

/// Whether tokens can be believed. Reading files may wait for a disk, so it is done elsewhere.
async fn keys(gateway: Option<&Arc<Shared>>, looking: &mut Option<JoinHandle<Files>>) -> Found {
    let Some(gateway) = gateway.cloned() else { return Ok(Some("nothing is served")) };
    let look = move || {
        if gateway.auth.is_look_due() {
            gateway.auth.look(&gateway.outbox);
        }
        gateway.auth.files()
    };
    looked(looking, KEYS_TIME, look).await
}

async fn looked(
    looking: &mut Option<JoinHandle<Files>>,
    time: Duration,
    look: impl FnOnce() -> Files + Send + 'static,
) -> Found {
    let Ok(found) = timeout(time, looking.get_or_insert_with(|| spawn_blocking(look))).await else {
        return Err("the files with keys take long to be read: their disk does not answer");
    };
    *looking = None;
    match found {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc::channel;

    use super::*;
    use crate::between::batch::{Batch, LogState};
    use crate::between::outbox::errand_channel;
    use crate::between::publisher::{Published, Publisher};
    use sse_proto::place::{History, Place};
    use sse_proto::route::RouteTable;
    use sse_proto::word::Level;

    #[test]
    fn nobody_is_sent_to_a_server_that_has_not_read_back_its_log() {
        let (outbox, _inbox) = errand_channel(Arc::default()).unwrap();
        let published = Published::new(Some(Box::leak(Box::default())));
        let shared = Shared::new(1, None, 1, Arc::default(), Arc::default(), outbox).publishing(published);
        shared.stats.listening.store(true, Ordering::Relaxed);
        shared.set_routes(Arc::new(RouteTable::build(&[], "/api", Level::Info)), 1);
        let published = Arc::clone(&shared.published);
        let mut publisher = Publisher::new(Arc::default(), published, Arc::default(), Vec::new());
        for caught_up in [false, true] {
            assert!(routes(Some(&shared)).is_err_and(|said| said.contains("write-ahead log")));
            let mut batch = Batch::new(1);
            let (history, begin) = (History::of(1), Place::behind(1, 7));
            batch.log_state = Some(Arc::new(LogState { history, begin, caught_up }));
            publisher.try_publish(batch).unwrap();
        }
        assert_eq!(routes(Some(&shared)), Ok(None));
    }

    // A disk that hangs: whoever asks is told, and at most one thread waits for it.
    #[test]
    fn a_look_at_files_that_does_not_end_is_reported_and_no_other_begins_meanwhile() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (answers, disk) = channel::<()>();
            let mut looking = None;
            let soon = Duration::from_millis(20);
            let hangs = move || disk.recv().map_or(Files::Missing, |()| Files::Good);
            assert!(looked(&mut looking, soon, hangs).await.is_err_and(|said| said.contains("disk")));
            let none = || panic!("another look begins");
            assert!(looked(&mut looking, soon, none).await.is_err_and(|said| said.contains("disk")));
            answers.send(()).unwrap();
            assert_eq!(looked(&mut looking, Duration::from_secs(60), none).await, Ok(None));
            assert_eq!(looked(&mut looking, Duration::from_secs(60), || Files::Good).await, Ok(None));
        });
    }
}
