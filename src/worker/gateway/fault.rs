//! For tests: provokes what would otherwise take a debugger. Only in builds with the feature `faults`, which
//! no server for people is built with. A file in the data directory asks for each fault. It is looked for
//! when the configuration is reloaded, and removed.
//!
//! Whoever can write into the data directory can do worse, so this gives nobody new powers.
//!
//! Not for: a panic of a runtime thread (`sse_gateway`, `fault.rs`).

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use sse_proto::call::Tenure;
use sse_proto::record::Record;
use sse_ring::Wake;

use super::courier::Courier;
use crate::pg::shmem::Shared;
use crate::pg::{backend, bgworker, futex};
use crate::worker::calls::Calls;

/// The main thread does nothing for this long.
const HOLD: (&str, Duration) = ("pg_sse.hold", Duration::from_secs(2));

/// A record in the ring is begun, and completed this much later, or as many milliseconds later as the file
/// says; sooner when there is the second file.
const HOLE: (&str, Duration) = ("pg_sse.hole", Duration::from_secs(8));
const HOLE_END: &str = "pg_sse.hole_end";

/// A record is pushed, and the courier, which sleeps, is never woken for it.
const UNWOKEN: &str = "pg_sse.unwoken";

/// The courier panics.
const PANIC: &str = "pg_sse.panic_courier";

/// From now on the log names the transaction of each event: nobody else is told it yet.
const TRANSACTIONS: &str = "pg_sse.tell_transactions";

/// From now on a new call worker serves as many calls, or as many milliseconds, as the file says: nobody
/// waits for an hour, or calls a hundred thousand times.
const CALLS: &str = "pg_sse.tenure_calls";
const AGE: &str = "pg_sse.tenure_age";

/// Provokes each fault that is asked for.
pub(super) fn provoke_if_asked(shared: &Shared, courier: &Courier, calls: &mut Calls) {
    let is_asked = |file| fs::remove_file(backend::data_directory().join(file)).is_ok();
    if backend::data_directory().join(HOLE.0).exists() {
        let length = number(HOLE.0).map_or(HOLE.1, Duration::from_millis);
        let shared = *shared;
        bgworker::with_signals_blocked(|| thread::spawn(move || leave_a_hole(&shared, length)));
    }
    if is_asked(UNWOKEN) {
        let shared = *shared;
        bgworker::with_signals_blocked(|| thread::spawn(move || push_without_waking(&shared)));
    }
    if is_asked(PANIC) {
        courier.panic();
    }
    if is_asked(TRANSACTIONS) {
        courier.tell_transactions();
    }
    if let Some(count) = number(CALLS) {
        calls.limit_tenure(Tenure::new(count, Duration::MAX));
    }
    if let Some(age) = number(AGE) {
        calls.limit_tenure(Tenure::new(u64::MAX, Duration::from_millis(age)));
    }
    if is_asked(HOLD.0) {
        thread::sleep(HOLD.1);
    }
}

/// What the file says that asks for a fault.
fn number(file: &str) -> Option<u64> {
    let file = backend::data_directory().join(file);
    let number = fs::read_to_string(&file).ok()?.trim().parse().ok();
    fs::remove_file(&file).ok().and(number)
}

/// Acts as a backend that is stopped after taking on the duty to wake the courier and before waking it.
fn push_without_waking(shared: &Shared) {
    if let Ok(record) = (Record::CatalogEnd { reading: 0, count: 0 }).encode() {
        // Until the courier sleeps.
        while shared.ring.producer().try_push(&record) != Ok(Wake::Needed) {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A backend could not be stopped at that point from outside: it takes only nanoseconds. The record belongs
/// to nobody.
fn leave_a_hole(shared: &Shared, length: Duration) {
    let (end, begun) = (backend::data_directory().join(HOLE_END), Instant::now());
    let wait = || {
        while begun.elapsed() < length && fs::remove_file(&end).is_err() {
            thread::sleep(Duration::from_millis(10));
        }
    };
    if let Ok(record) = (Record::CatalogEnd { reading: 0, count: 0 }).encode() {
        let pushed = shared.ring.producer().push_stopped(&record, wait);
        pushed.into_iter().for_each(|wake| futex::wake_if(wake, shared));
    }
}
