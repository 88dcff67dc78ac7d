//! `sse.jwt_secret`: a setting whose value is shown to nobody and in no view.
//!
//! A show hook alone would not do: `pg_settings.reset_val` shows the stored text, and a reload that changes
//! the text logs it (guc-file.l, "parameter … changed to …"), at debug levels to every client. So the check
//! hook takes the secret out of the text. What guc.c stores, compares, saves and restores is always empty,
//! and the secret travels beside it as the `extra` that guc.c keeps for a value. `SHOW` says `(set)` when
//! there is a secret.
//!
//! A parallel worker takes the empty text from its leader, and so has no secret; it needs none.
//!
//! Not for the secret in a file (`sse.jwt_secret_file`), which the gateway reads itself.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};

use pgrx::guc::GucFlags;
use pgrx::{pg_guard, pg_sys};
use sse_gateway::Secret;

use super::compat;
use super::guc_text::{TextHooks, set_check_detail};

thread_local! {
    /// The secret in force. Set by the assign hook only.
    static SECRET: RefCell<Option<Secret>> = const { RefCell::new(None) };
}

/// The secret in force, `None` when the setting is empty.
pub(crate) fn secret() -> Option<Secret> {
    SECRET.with_borrow(Option::clone)
}

/// The hooks of `sse.jwt_secret`. The assign and show hooks cannot unwind.
pub(crate) const HOOKS: TextHooks =
    TextHooks { check: Some(check), assign: Some(assign), show: Some(show), flags: GucFlags::SUPERUSER_ONLY };

#[pg_guard]
unsafe extern "C-unwind" fn check(
    newval: *mut *mut c_char,
    extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: guc.c passes the address of the new value.
    let text = unsafe { *newval };
    if text.is_null() {
        return true;
    }
    // SAFETY: NUL-terminated, guc.c keeps it for the time of the check.
    let text = unsafe { CStr::from_ptr(text) };
    if text.is_empty() {
        return true;
    }
    let secret = match Secret::try_new(text.to_bytes()) {
        Ok(secret) => secret,
        Err(error) => {
            set_check_detail(&error.to_string());
            // guc.c is about to show the refused value in its message.
            if let Some(hidden) = compat::guc_text(c"(not shown)") {
                replace(newval, hidden);
            }
            return false;
        }
    };
    let Some(kept) = compat::guc_bytes(secret.as_bytes()) else { return false };
    let Some(empty) = compat::guc_text(c"") else { return false };
    replace(newval, empty);
    // SAFETY: guc.c passes the address of the place for it.
    unsafe { extra.write(kept) };
    true
}

/// Puts another text in the place of a value that is being checked.
fn replace(newval: *mut *mut c_char, text: *mut c_char) {
    // SAFETY: the place that guc.c passed to the check hook; the old text is its own allocation, which it
    // hands to the hook to keep or to replace.
    let old = unsafe { newval.replace(text) };
    compat::guc_free(old.cast());
}

/// guc.c passes what [`check`] left in `extra`, NULL for the empty setting.
unsafe extern "C-unwind" fn assign(_: *const c_char, extra: *mut c_void) {
    let secret = if extra.is_null() {
        None
    } else {
        // SAFETY: made by `compat::guc_bytes` in `check`.
        Secret::try_new(unsafe { compat::read_guc_bytes(extra) }).ok()
    };
    let _ = SECRET.try_with(|place| {
        if let Ok(mut place) = place.try_borrow_mut() {
            *place = secret;
        }
    });
}

/// What `SHOW` and `pg_settings.setting` say. Constants, so there is nothing to free.
unsafe extern "C-unwind" fn show() -> *const c_char {
    let is_set = SECRET.try_with(|place| place.try_borrow().is_ok_and(|secret| secret.is_some()));
    if is_set == Ok(true) { c"(set)".as_ptr() } else { c"".as_ptr() }
}
