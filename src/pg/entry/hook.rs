//! `emit_log_hook`: sees every message of an annotated routine, hands what can be an event to
//! `publish/capture.rs`, and keeps out of the server log what only reached the hook because the threshold was
//! lowered.
//!
//! Facts about the hook (elog.c, EmitErrorReport): it is called only for messages bound for the server log;
//! it may switch that off, never on; it may change nothing else; it runs inside error handling, in any
//! transaction state, possibly with locks held. So: no catalog, no memory contexts, no errors, no logging.
//! The client's copy of the message does not depend on it.
//!
//! Not for: deciding what becomes an event.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use pgrx::pg_sys;

use super::activation;
use crate::pg::error_data::Message;
use crate::pg::guc_shadow;
use crate::publish::capture;

/// Written once, by the postmaster, and inherited by every process it forks.
static PREVIOUS: OnceLock<pg_sys::emit_log_hook_type> = OnceLock::new();

/// To be called once, from `_PG_init` in the postmaster.
pub(crate) fn install() {
    // SAFETY: hooks are plain variables of the postmaster, which runs nothing else while it loads libraries.
    let _ = PREVIOUS.set(unsafe { pg_sys::emit_log_hook });
    // SAFETY: as above.
    unsafe { pg_sys::emit_log_hook = Some(emit_log) };
}

/// Not guarded by pgrx on purpose: the guard could turn a fault into an error inside error handling. What
/// could unwind is caught here; the frame has no destructors, so an error of the previous hook may jump over
/// it.
unsafe extern "C-unwind" fn emit_log(edata: *mut pg_sys::ErrorData) {
    let was_lowered = !activation::none_running();
    activation::drop_stale();
    let ours = match (was_lowered, activation::none_running()) {
        (_, false) => take(edata),
        (false, true) => take_unwanted_error(edata),
        (true, true) => take_unwanted(edata),
    };
    if ours {
        return;
    }
    if let Some(Some(previous)) = PREVIOUS.get() {
        // SAFETY: the hook that was installed before ours, called with what Postgres passed.
        unsafe { previous(edata) };
    }
}

/// An error by which an annotated routine was left, reported now that none is running any more.
fn take_unwanted_error(edata: *mut pg_sys::ErrorData) -> bool {
    // SAFETY: the pointer that elog.c passed, during its call.
    let Some(mut message) = (unsafe { Message::new(edata) }) else { return false };
    let unwanted = guc_shadow::take_unwanted_error(message.elevel());
    if unwanted {
        message.keep_out_of_server_log();
    }
    unwanted
}

/// A message that passed a threshold which should not have been lowered any more.
fn take_unwanted(edata: *mut pg_sys::ErrorData) -> bool {
    // SAFETY: the pointer that elog.c passed, during its call.
    let Some(mut message) = (unsafe { Message::new(edata) }) else { return false };
    let unwanted = !guc_shadow::would_log(message.elevel());
    if unwanted {
        message.keep_out_of_server_log();
    }
    unwanted
}

/// Captures the message. `false`: the server log wants it, and so does the previous hook; `true`: neither
/// would have seen it without us.
fn take(edata: *mut pg_sys::ErrorData) -> bool {
    // SAFETY: the pointer that elog.c passed, during its call.
    let Some(mut message) = (unsafe { Message::new(edata) }) else { return false };
    if catch_unwind(AssertUnwindSafe(|| capture::capture(&message))).is_err() {
        capture::count_internal_fault();
    }
    if guc_shadow::would_log(message.elevel()) {
        return false;
    }
    message.keep_out_of_server_log();
    true
}
