//! What the server log says about a call that did not fail: what `log_statement`, `log_duration` and
//! `log_min_duration_statement` make it say about any session's statements (postgres.c,
//! exec_execute_message).
//!
//! The statement is named after the call, where elsewhere the name of a prepared statement stands. Values of
//! parameters are not logged, although core would log them with `log_parameter_max_length`: they were sent
//! over HTTP, and passwords of logins are among them. Functions here run inside `try_catch::run`.
//!
//! Not for errors: `call_session.rs` lets elog.c report those.

use std::ffi::{CStr, c_char, c_int};

use pgrx::pg_sys;
use pgrx::pg_sys::elog::PgLogLevel;

use super::raw;

/// Room for a number of milliseconds, as in postgres.c.
const NUMBER_BYTES: usize = 32;

/// What [`check_log_duration`](raw::check_log_duration) answers: the duration alone, or the statement with
/// it.
const DURATION: c_int = 1;
const DURATION_AND_STATEMENT: c_int = 2;

/// A statement that may be logged.
#[derive(Clone, Copy)]
pub(super) struct Logged<'a> {
    /// The name of its call.
    pub label: &'a CStr,
    /// In the database's encoding.
    pub sql: &'a CStr,
}

/// Logs a statement that begins, if `log_statement` is `all`: a call is a SELECT or a CALL, which count
/// neither as `ddl` nor as `mod` (utility.c, GetCommandLogLevel).
pub(super) fn begins(statement: Logged<'_>) -> bool {
    // SAFETY: a setting of this session that guc.c writes on this thread only.
    let level = unsafe { pg_sys::log_statement };
    if u32::try_from(level) != Ok(pg_sys::LogStmtLevel::LOGSTMT_ALL) {
        return false;
    }
    // SAFETY: begins a message; elog.c's way.
    if unsafe { raw::errstart(PgLogLevel::LOG as c_int, std::ptr::null()) } {
        let (label, sql) = (statement.label.as_ptr(), statement.sql.as_ptr());
        // SAFETY: between errstart and errfinish, with NUL-terminated texts.
        unsafe { raw::errmsg_internal(c"execute %s: %s".as_ptr(), label, sql) };
        end();
    }
    true
}

/// Logs how long a statement took, if the settings ask for it. `was_logged`: the result of [`begins`].
pub(super) fn ended(statement: Logged<'_>, was_logged: bool) {
    let mut number: [c_char; NUMBER_BYTES] = [0; NUMBER_BYTES];
    // SAFETY: room for this many bytes; it writes a NUL-terminated text there when it answers another number
    // than 0.
    let what = unsafe { raw::check_log_duration(number.as_mut_ptr(), was_logged) };
    if what != DURATION && what != DURATION_AND_STATEMENT {
        return;
    }
    // SAFETY: begins a message; elog.c's way.
    if !unsafe { raw::errstart(PgLogLevel::LOG as c_int, std::ptr::null()) } {
        return;
    }
    if what == DURATION {
        // SAFETY: between errstart and errfinish, with NUL-terminated texts.
        unsafe { raw::errmsg_internal(c"duration: %s ms".as_ptr(), number.as_ptr()) };
    } else {
        let (label, sql) = (statement.label.as_ptr(), statement.sql.as_ptr());
        let format = c"duration: %s ms  execute %s: %s";
        // SAFETY: as above.
        unsafe { raw::errmsg_internal(format.as_ptr(), number.as_ptr(), label, sql) };
    }
    end();
}

/// The statement is in the message already.
fn end() {
    // SAFETY: between errstart and errfinish.
    unsafe { raw::errhidestmt(true) };
    // SAFETY: ends what errstart began, with literals.
    unsafe { raw::errfinish(c"call_log.rs".as_ptr(), 0, c"pg_sse".as_ptr()) };
}
