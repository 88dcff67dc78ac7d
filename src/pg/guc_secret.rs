//! `sse.jwt_secret` and `sse.admin_token`: settings whose value is shown to nobody and in no view.
//!
//! A show hook alone would not do: `pg_settings.reset_val` shows the stored text, and a reload that changes
//! the text logs it (guc-file.l, "parameter … changed to …"), at debug levels to every client. So the check
//! hook takes the secret out of the text. What guc.c stores, compares, saves and restores is always empty,
//! and the secret travels beside it as the `extra` that guc.c keeps for a value. `SHOW` says `(set)` when
//! there is a secret.
//!
//! A parallel worker takes the empty text from its leader, and so has no secret; it needs none.
//!
//! Not for secrets in files (`sse.jwt_secret_file`, `sse.admin_token_file`), which the gateway reads itself.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};
use std::thread::LocalKey;

use pgrx::guc::GucFlags;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::pgrx_extern_c_guard;
use sse_gateway::{AdminToken, Hidden, MIN_ADMIN_TOKEN_BYTES, MIN_SECRET_BYTES, Secret};

use super::compat;
use super::guc_text::{TextHooks, set_check_detail};

thread_local! {
    /// The secret in force. Set by the assign hook only.
    static SECRET: RefCell<Option<Secret>> = const { RefCell::new(None) };
    /// The same of the admin port's token.
    static ADMIN_TOKEN: RefCell<Option<AdminToken>> = const { RefCell::new(None) };
}

/// `sse.jwt_secret` in force, `None` when the setting is empty.
pub(crate) fn secret() -> Option<Secret> {
    SECRET.with_borrow(Option::clone)
}

/// `sse.admin_token` in force, `None` when the setting is empty.
pub(crate) fn admin_token() -> Option<AdminToken> {
    ADMIN_TOKEN.with_borrow(Option::clone)
}

/// The hooks of `sse.jwt_secret`.
pub(crate) const HOOKS: TextHooks = hooks::<MIN_SECRET_BYTES>();

/// The hooks of `sse.admin_token`.
pub(crate) const ADMIN_TOKEN_HOOKS: TextHooks = hooks::<MIN_ADMIN_TOKEN_BYTES>();

/// The assign and show hooks cannot unwind.
const fn hooks<const LEAST: usize>() -> TextHooks
where
    Hidden<LEAST>: InForce,
{
    TextHooks {
        check: Some(check::<LEAST>),
        assign: Some(assign::<LEAST>),
        show: Some(show::<LEAST>),
        flags: GucFlags::SUPERUSER_ONLY,
    }
}

/// Where the one of a setting is that is in force.
trait InForce: Sized + 'static {
    const PLACE: &'static LocalKey<RefCell<Option<Self>>>;
}

impl InForce for Secret {
    const PLACE: &'static LocalKey<RefCell<Option<Self>>> = &SECRET;
}

impl InForce for AdminToken {
    const PLACE: &'static LocalKey<RefCell<Option<Self>>> = &ADMIN_TOKEN;
}

unsafe extern "C-unwind" fn check<const LEAST: usize>(
    newval: *mut *mut c_char,
    extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: what the attribute `pg_guard` makes of a function; it cannot make it of a generic one. No
    // destructor is jumped over: everything with one lives inside.
    unsafe { pgrx_extern_c_guard(move || is_good::<LEAST>(newval, extra)) }
}

fn is_good<const LEAST: usize>(newval: *mut *mut c_char, extra: *mut *mut c_void) -> bool {
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
    let secret = match Hidden::<LEAST>::try_new(text.to_bytes()) {
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

/// guc.c passes what [`is_good`] left in `extra`, NULL for the empty setting.
unsafe extern "C-unwind" fn assign<const LEAST: usize>(_: *const c_char, extra: *mut c_void)
where
    Hidden<LEAST>: InForce,
{
    let secret = if extra.is_null() {
        None
    } else {
        // SAFETY: made by `compat::guc_bytes` in `is_good`.
        Hidden::<LEAST>::try_new(unsafe { compat::read_guc_bytes(extra) }).ok()
    };
    let _ = Hidden::<LEAST>::PLACE.try_with(|place| {
        if let Ok(mut place) = place.try_borrow_mut() {
            *place = secret;
        }
    });
}

/// What `SHOW` and `pg_settings.setting` say. Constants, so there is nothing to free.
unsafe extern "C-unwind" fn show<const LEAST: usize>() -> *const c_char
where
    Hidden<LEAST>: InForce,
{
    let is_set =
        Hidden::<LEAST>::PLACE.try_with(|place| place.try_borrow().is_ok_and(|secret| secret.is_some()));
    if is_set == Ok(true) { c"(set)".as_ptr() } else { c"".as_ptr() }
}
