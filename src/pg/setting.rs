//! Sets settings for a call, and for a moment within it.
//!
//! Not for the extension's own settings (`guc.rs`).

use std::ffi::CStr;

use pgrx::pg_sys::{GucAction, GucContext, GucSource};

use super::raw;

/// Sets a setting for the session, as SET does, but without a transaction that could undo it.
///
/// # Safety
/// - In a function that `try_catch::run` runs, outside of transactions.
pub(super) unsafe fn set(name: &CStr, value: &CStr) {
    // SAFETY: the caller's promise; outside of a transaction (GUCNestLevel 0) nothing is kept to be undone.
    unsafe { set_as(name, value, GucAction::GUC_ACTION_SET) };
}

/// Sets a setting until the end of the level that was begun last (`NewGUCNestLevel`).
///
/// # Safety
/// - In a function that `try_catch::run` runs, in a transaction; the level's end follows, or the
///   transaction's.
pub(super) unsafe fn set_for_now(name: &CStr, value: &CStr) {
    // SAFETY: the caller's promise.
    unsafe { set_as(name, value, GucAction::GUC_ACTION_SAVE) };
}

/// # Safety
/// - In a function that `try_catch::run` runs: it may raise.
unsafe fn set_as(name: &CStr, value: &CStr, action: GucAction::Type) {
    let (context, source) = (GucContext::PGC_USERSET, GucSource::PGC_S_SESSION);
    // SAFETY: NUL-terminated texts, which are copied.
    unsafe {
        raw::set_config_option(name.as_ptr(), value.as_ptr(), context, source, action, true, 0, false);
    }
}
