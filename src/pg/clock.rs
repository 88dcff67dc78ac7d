//! Postgres' clock.

use pgrx::pg_sys;

/// Now, in microseconds since 2000-01-01 00:00 UTC: the inside of a `timestamptz`.
pub(crate) fn now_microseconds() -> i64 {
    // SAFETY: reads the clock; needs nothing of a transaction (timestamp.c).
    unsafe { pg_sys::GetCurrentTimestamp() }
}
