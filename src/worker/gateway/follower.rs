//! Keeps the follower alive while `sse.durability` is `wal` (`worker/follower.rs`).
//!
//! Not for what it does; whether it has told who is refused is asked here.

use std::time::{Duration, Instant};

use pgrx::prelude::*;

use crate::guc;
use crate::pg::bgworker::{self, BackgroundWorkerStatus, DynamicBackgroundWorker};
use crate::pg::shmem::Shared;
use crate::pg::{backend, clock};

/// Pause after a follower that left; doubled each time up to the maximum. One that has lived for longer than
/// that maximum did its work.
const FIRST_BACK_OFF: Duration = Duration::from_millis(500);
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

pub(super) struct Follower {
    shared: Shared,
    run: Option<(DynamicBackgroundWorker, Instant)>,
    not_before: Instant,
    back_off: Duration,
}

impl Follower {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared, run: None, not_before: Instant::now(), back_off: FIRST_BACK_OFF }
    }

    /// Whether the file of refusals has everything that the servers of the tree refuse. Before that no token
    /// may be believed. With `memory` there is the file alone.
    pub(super) fn refusals_are_known(&self) -> bool {
        !guc::is_wal() || self.shared.header.follower.who_knows_refusals() == backend::my_pid()
    }

    /// Starts it when it is not there. To be called while the served database exists.
    pub(super) fn tend(&mut self) {
        if !guc::is_wal() {
            return;
        }
        let now = Instant::now();
        if let Some((_, started_at)) = self.run.take_if(|(worker, _)| has_left(worker)) {
            let has_lived = now - started_at > MAX_BACK_OFF;
            self.back_off = if has_lived { FIRST_BACK_OFF } else { (self.back_off * 2).min(MAX_BACK_OFF) };
            self.not_before = now + self.back_off;
        }
        let is_away = self.shared.header.follower.leave_until() > clock::now_microseconds();
        if self.run.is_some() || is_away || now < self.not_before {
            return;
        }
        match bgworker::start_follower(u64::from(backend::my_pid())) {
            Ok(worker) => self.run = Some((worker, now)),
            Err(bgworker::NoWorkerSlot) => {
                if self.back_off == FIRST_BACK_OFF {
                    say_no_place();
                }
                self.back_off = (self.back_off * 2).min(MAX_BACK_OFF);
                self.not_before = now + self.back_off;
            }
        }
    }

    /// Another database is served, or none.
    pub(super) fn end(&mut self) {
        if let Some((worker, _)) = self.run.take() {
            let _ = worker.terminate();
        }
        self.shared.header.follower.refusals_are_known_to(0);
        (self.not_before, self.back_off) = (Instant::now(), FIRST_BACK_OFF);
    }
}

fn has_left(worker: &DynamicBackgroundWorker) -> bool {
    !matches!(worker.pid(), Ok(_) | Err(BackgroundWorkerStatus::NotYetStarted))
}

fn say_no_place() {
    ereport!(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
        format!(
            "pg_sse: no background worker is free for the follower, without which nothing is served; set max_worker_processes (now {}) to a higher value",
            bgworker::max_worker_processes()
        )
    );
}
