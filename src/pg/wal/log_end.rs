//! How far the write-ahead log of this server may be read: flushed on a primary, replayed in recovery. And
//! how far the synchronous standbys have it.
//!
//! Not for: reading it (`log_reader.rs`).

use pgrx::pg_sys;

use super::layout::Layout;
use super::log_error;
use super::words::Wal;
use crate::pg::{backend, try_catch};

/// The place of `SYNC_REP_WAIT_FLUSH` in `WalSndCtl->lsn` (syncrep.h).
const FLUSHED: usize = 1;

// Raw, as those of `raw.rs`. xlog.h: but for the last one, each reads words of shared memory, takes at most a
// spinlock, and raises nothing.
unsafe extern "C-unwind" {
    fn GetFlushRecPtr(timeline: *mut u32) -> u64;
    fn GetXLogReplayRecPtr(timeline: *mut u32) -> u64;
    safe fn XLogFlush(position: u64);
}

/// What a server does with its log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// It writes it.
    Primary,
    /// It replays it.
    Standby,
}

/// Where the log ends now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LogEnd {
    /// What the server does with it.
    pub role: Role,
    /// Everything before this may be read.
    pub position: u64,
    /// The timeline of what is written, or replayed.
    pub timeline: u32,
}

/// See [`LogEnd`].
pub(crate) fn look() -> LogEnd {
    let mut timeline = 0;
    if backend::in_recovery() {
        // SAFETY: fills a variable of ours.
        let position = unsafe { GetXLogReplayRecPtr(&raw mut timeline) };
        return LogEnd { role: Role::Standby, position, timeline };
    }
    // SAFETY: as above.
    let position = unsafe { GetFlushRecPtr(&raw mut timeline) };
    LogEnd { role: Role::Primary, position, timeline }
}

/// Up to where the log is known to be written: on a standby, as far as its primary has told.
pub(crate) fn known(end: &LogEnd) -> u64 {
    if end.role == Role::Primary {
        return end.position;
    }
    // SAFETY: made by the postmaster before any other process exists, and never moved.
    let receiver = unsafe { pg_sys::WalRcv };
    if receiver.is_null() {
        return end.position;
    }
    // SAFETY: as above; only the address is taken.
    let word = unsafe { &raw const (*receiver).latestWalEnd };
    // SAFETY: an aligned word of 64 bits, which the receiver writes whole. It is a hint.
    unsafe { word.read_volatile() }.max(end.position)
}

/// Where the log ends, after what somebody wants to be flushed. In recovery nothing is flushed.
///
/// # Errors
/// Postgres has raised an error, which is logged.
pub(crate) fn flush_wanted(wal: Wal) -> Result<LogEnd, NotFlushed> {
    let layout = Layout::of_server();
    // Before the look: what is asked for after it is flushed by the next one.
    let wanted = wal.flush_wanted();
    let end = look();
    if end.role == Role::Standby || layout.before_header(wanted) <= end.position {
        return Ok(end);
    }
    flush(layout, wanted)?;
    Ok(look())
}

/// Flushes the log up to this position, which may be one at which a record would begin. Not in recovery.
fn flush(layout: Layout, position: u64) -> Result<(), NotFlushed> {
    unsafe extern "C-unwind" fn run(position: *mut u64) {
        // SAFETY: `try_catch::run` passes its borrow.
        XLogFlush(unsafe { *position });
    }
    let mut position = layout.before_header(position);
    // SAFETY: the body has no destructors; `forget` follows.
    let ended = try_catch::raised(unsafe { try_catch::run(run, &mut position) });
    ended.map_err(|_| {
        log_error::forget();
        NotFlushed
    })
}

/// Postgres has raised an error, which is logged.
#[derive(Debug)]
pub(crate) struct NotFlushed;

/// Up to where synchronous standbys have flushed the log; `None`: there are to be none. For the primary.
pub(crate) fn flushed_by_standbys() -> Option<u64> {
    // SAFETY: a setting, written by guc.c on this thread.
    let senders = unsafe { pg_sys::max_wal_senders };
    // SAFETY: as above.
    let names = unsafe { pg_sys::SyncRepStandbyNames };
    // SAFETY: a setting's text, NUL-terminated; NULL before it is set.
    let is_empty = names.is_null() || unsafe { names.read() } == 0;
    if senders <= 0 || is_empty {
        return None;
    }
    // SAFETY: made by the postmaster before any other process exists, and never moved.
    let control = unsafe { pg_sys::WalSndCtl };
    if control.is_null() {
        return Some(0);
    }
    // SAFETY: as above; only the address is taken.
    let word = unsafe { &raw const (*control).lsn[FLUSHED] };
    // SAFETY: an aligned word of 64 bits, which walsenders write whole, and only ever raise (syncrep.c,
    // SyncRepReleaseWaiters). An older value only makes somebody wait for one more look.
    Some(unsafe { word.read_volatile() })
}
