//! Messages whose text may have any character of the database.
//!
//! pgrx' `ereport!` hands UTF-8 to Postgres as it is, which is right for what we write ourselves, all ASCII.
//! Text from a comment has to be converted back into the encoding of its database.

use std::ffi::{CString, c_char, c_int};

use pgrx::pg_sys;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;

use super::error_room;
use super::text::to_server;

unsafe extern "C-unwind" {
    fn errstart(elevel: c_int, domain: *const c_char) -> bool;
    fn errcode(sqlerrcode: c_int) -> c_int;
    fn errmsg_internal(format: *const c_char, ...) -> c_int;
    fn errdetail_internal(format: *const c_char, ...) -> c_int;
    fn errhidestmt(hide_stmt: bool) -> c_int;
    fn errhidecontext(hide_ctx: bool) -> c_int;
    fn errfinish(filename: *const c_char, lineno: c_int, funcname: *const c_char);
}

/// Sends a WARNING. Call it where a message may be raised, and from a guarded function.
pub(crate) fn warning(code: PgSqlErrorCode, message: &str, detail: &str) {
    report(code, message, detail, Recipient::ClientAndLog);
}

/// Writes a WARNING into the server log alone. The statement that was running is left out: its literals may
/// be the payload of an event.
pub(crate) fn warning_in_log(code: PgSqlErrorCode, message: &str, detail: &str) {
    report(code, message, detail, Recipient::Log);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Recipient {
    ClientAndLog,
    Log,
}

/// Without memory nothing is said.
fn report(code: PgSqlErrorCode, message: &str, detail: &str, recipient: Recipient) {
    let _ = error_room::with(|| {
        write(code, message, detail, recipient);
        Ok(())
    });
}

fn write(code: PgSqlErrorCode, message: &str, detail: &str, recipient: Recipient) {
    let (message, detail) = (c_text(message), c_text(detail));
    if !start(recipient) {
        return;
    }
    if recipient == Recipient::Log {
        // SAFETY: between errstart and errfinish.
        unsafe { errhidestmt(true) };
        // SAFETY: as above.
        unsafe { errhidecontext(true) };
    }
    // SAFETY: between errstart and errfinish; copies what it is given.
    unsafe { errcode(code as c_int) };
    // SAFETY: as above, with NUL-terminated texts.
    unsafe { errmsg_internal(c"%s".as_ptr(), message.as_ptr()) };
    // SAFETY: as above.
    unsafe { errdetail_internal(c"%s".as_ptr(), detail.as_ptr()) };
    // SAFETY: ends what errstart began.
    let finish = || unsafe { errfinish(c"report.rs".as_ptr(), 0, c"pg_sse".as_ptr()) };
    // A pending interrupt may raise an error here; it must not jump over the texts above.
    // SAFETY: this is the backend's one Postgres thread.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(finish) };
}

/// Begins a WARNING. No level reaches only the log and follows `log_min_messages`. So for the log alone, the
/// client's threshold is raised for the one moment in which elog.c looks at it (`should_output_to_client`).
fn start(recipient: Recipient) -> bool {
    // SAFETY: a C int of this process that only its one Postgres thread, this one, reads or writes.
    let of_client = unsafe { pg_sys::client_min_messages };
    if recipient == Recipient::Log {
        // SAFETY: as above.
        unsafe { pg_sys::client_min_messages = pg_sys::elog::PgLogLevel::ERROR as c_int };
    }
    // SAFETY: elog.c's way to begin a message below ERROR, which does not jump; `report` pairs it with
    // errfinish.
    let wanted = unsafe { errstart(pg_sys::WARNING as c_int, std::ptr::null()) };
    // SAFETY: as above.
    unsafe { pg_sys::client_min_messages = of_client };
    wanted
}

/// Characters that could not be read from the database cannot be written in its encoding either.
fn c_text(text: &str) -> CString {
    CString::new(to_server(&text.replace('\u{fffd}', "?"))).unwrap_or_default()
}
