//! What becomes of an error in a call: what PostgresMain does after its sigsetjmp, in that order.
//!
//! Not for what the caller is told (`call_session.rs`).

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::ptr::null;

use pgrx::pg_sys;

use super::error_data::{self, Origin};
use super::{backend, call_cleanup, call_signals, raw};

/// The five characters of six bits that elog.h packs into a number.
pub(super) fn sqlstate(code: c_int) -> [u8; 5] {
    [0, 6, 12, 18, 24].map(|shift| b'0' + ((code >> shift) & 0x3f) as u8)
}

/// Whether an error of this SQLSTATE may mean that the catalog is no longer what the statement was made for:
/// names that are not known (class 42 without privileges; 3F), results that have changed (0A000), objects
/// that have just gone (XX000).
pub(super) fn may_be_outdated(sqlstate: &[u8; 5]) -> bool {
    match &sqlstate[..2] {
        b"42" => sqlstate != b"42501",
        class => class == b"3F" || class == b"0A" || class == b"XX",
    }
}

/// SQLSTATE 25006: the statement writes, and the transaction or the server may not.
const READ_ONLY_SQL_TRANSACTION: [u8; 5] = *b"25006";

/// SQLSTATE 22P02: a text is no value of its type.
const INVALID_TEXT_REPRESENTATION: [u8; 5] = *b"22P02";

/// The SQLSTATE to tell for an error of an input function. Each type has its own way to refuse a text
/// (`regclass` says that there is no such table, some extensions raise an internal error), but an invalid
/// value is always the caller's mistake.
pub(super) fn of_value(found: [u8; 5]) -> [u8; 5] {
    match &found {
        b"42501" | [b'2', b'2' | b'3', ..] | [b'5', b'3' | b'7' | b'8', ..] => found,
        _ => INVALID_TEXT_REPRESENTATION,
    }
}

/// The statement that the log shows with every message while this exists. elog.c keeps no copy, and reads the
/// text when an error is *reported*, long after the step that raised it has ended. So the text is borrowed
/// until this is dropped.
pub(super) struct ShownStatement<'a>(PhantomData<&'a CStr>);

impl<'a> ShownStatement<'a> {
    pub(super) fn new(sql: &'a CStr) -> Self {
        // SAFETY: a plain variable of postgres.c; NUL-terminated, and borrowed until it is taken out.
        unsafe { pg_sys::debug_query_string = sql.as_ptr() };
        Self(PhantomData)
    }
}

impl Drop for ShownStatement<'_> {
    fn drop(&mut self) {
        // SAFETY: a plain variable of postgres.c.
        unsafe { pg_sys::debug_query_string = null() };
    }
}

/// Which errors are logged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Logging {
    /// All.
    Always,
    /// All but those that [`may_be_outdated`]: the call is tried again, or the caller is told to do so.
    UnlessOutdated,
}

/// Input and result of [`handle_error`].
pub(super) struct Recovery {
    /// The memory context of the session.
    pub memory: pg_sys::MemoryContext,
    /// Whether the error is logged.
    pub logging: Logging,
    /// The call may write, so that on a standby it is sent to the primary when it tries to (C10.5): nothing
    /// that anybody has to look at.
    pub may_write: bool,
    /// The error, copied into `memory`: its texts only. elog.c does not copy where it was raised (file,
    /// function, domain), and these need not be literals: those of a parallel worker's error, or of a library
    /// in another language, go with the transaction.
    pub error: *mut pg_sys::ErrorData,
    /// So this is found out before the transaction ends.
    pub origin: Origin,
}

/// See the head of this file.
///
/// # Safety
/// - Run by `try_catch::run`, after it has caught an error.
pub(super) unsafe extern "C-unwind" fn handle_error(job: *mut Recovery) {
    // SAFETY: a counter of this process' one Postgres thread; set back below.
    unsafe { pg_sys::InterruptHoldoffCount += 1 };
    raw::disable_all_timeouts(false);
    call_signals::forget_cancel();
    // SAFETY: `try_catch::run` passes its borrow.
    let job = unsafe { &mut *job };
    // SAFETY: a plain variable of this thread; the context lives as long as the process.
    unsafe { pg_sys::CurrentMemoryContext = job.memory };
    job.error = raw::CopyErrorData();
    // SAFETY: just copied, and the transaction that the places may belong to is not ended.
    if let Some(error) = unsafe { job.error.as_ref() } {
        job.origin = error_data::origin(error);
    }
    // SAFETY: as above.
    let code = unsafe { job.error.as_ref() }.map(|error| sqlstate(error.sqlerrcode));
    let is_outdated =
        job.logging == Logging::UnlessOutdated && code.is_some_and(|code| may_be_outdated(&code));
    let is_sent_on = job.may_write && code == Some(READ_ONLY_SQL_TRANSACTION) && backend::in_recovery();
    if !is_outdated && !is_sent_on {
        raw::EmitErrorReport();
    }
    // What the rollback logs is not about the statement (PostgresMain).
    // SAFETY: as in `ShownStatement`.
    unsafe { pg_sys::debug_query_string = null() };
    raw::AbortOutOfAnyTransaction();
    raw::PortalErrorCleanup();
    call_cleanup::let_go_of_slots();
    raw::jit_reset_after_error();
    // SAFETY: as above.
    unsafe { pg_sys::CurrentMemoryContext = job.memory };
    raw::FlushErrorState();
    // SAFETY: raised above.
    unsafe { pg_sys::InterruptHoldoffCount -= 1 };
}
