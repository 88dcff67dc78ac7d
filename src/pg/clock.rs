//! Postgres' clock, and the one of this process' work.

use std::time::Duration;

use pgrx::pg_sys;

/// Now, in microseconds since 2000-01-01 00:00 UTC: the inside of a `timestamptz`.
pub(crate) fn now_microseconds() -> i64 {
    // SAFETY: reads the clock; needs nothing of a transaction (timestamp.c).
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// Now, in nanoseconds of the clock that never goes back and that all processes of a machine share; never 0.
/// Allocates nothing, cannot fail: the commit callback asks it.
pub(crate) fn monotonic_nanoseconds() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 1 };
    // SAFETY: fills a variable of ours (clock_gettime(2)). A failure leaves it as it is.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(1);
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds).max(1)
}

/// What all processors together have worked for this process, and for nobody else.
pub(crate) fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills a variable of ours (clock_gettime(2)). A failure leaves it as it is.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}
