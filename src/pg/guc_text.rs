//! Text settings read without copying, and the hooks that guc.c calls for settings.
//!
//! guc.c owns the text and replaces it at `SET` and reload; the borrow here cannot outlive the reading.

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char, c_void};
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::pgrx_extern_c_guard;

use super::text::from_server;

/// Written and read by this backend's one Postgres thread alone; atomic so that no `static mut` is needed.
/// Not thread-local, because that is a call for each access in a library, and every call of an annotated
/// routine looks at it.
static ANNOTATIONS_OUTDATED: AtomicBool = AtomicBool::new(false);

/// Runs `read` over the bytes of a text setting, without copying them.
pub(crate) fn with<T>(setting: &GucSetting<Option<CString>>, read: impl FnOnce(&[u8]) -> T) -> T {
    // SAFETY: the setting's variable, which guc.c writes on this thread only.
    let text = unsafe { *setting.as_ptr() };
    if text.is_null() {
        return read(b"");
    }
    // SAFETY: NUL-terminated by guc.c, which frees it only when the setting changes; `read` cannot change
    // settings without going through SQL, and gets a borrow that ends here.
    read(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// Runs `read` over the bytes of any setting; `None` when there is none of that name. Raises nothing, so it
/// may be called inside error handling.
pub(crate) fn with_option<T>(name: &CStr, read: impl FnOnce(Option<&[u8]>) -> T) -> T {
    // SAFETY: NUL-terminated; a missing setting is answered by NULL, and privileges are not looked at.
    let text = unsafe { pg_sys::GetConfigOption(name.as_ptr(), true, false) };
    if text.is_null() {
        return read(None);
    }
    // SAFETY: NUL-terminated, valid until the setting changes or the function is called again, which `read`
    // does not.
    read(Some(unsafe { CStr::from_ptr(text) }.to_bytes()))
}

/// Whether a setting that the cached annotations depend on was assigned since the last call of
/// [`take_annotations_outdated`].
#[inline]
pub(crate) fn annotations_are_outdated() -> bool {
    ANNOTATIONS_OUTDATED.load(Relaxed)
}

/// The same, and from now on it is not.
pub(crate) fn take_annotations_outdated() -> bool {
    ANNOTATIONS_OUTDATED.swap(false, Relaxed)
}

/// What a text setting may hold.
pub(crate) trait Check {
    /// What is wrong with a value, as a sentence without its full stop.
    fn check(text: &str) -> Result<(), impl Display>;
}

/// What guc.c calls when a text setting is set and shown. None of these functions may unwind; the fields are
/// private, so that only this file and `guc_secret.rs` make such hooks.
#[derive(Clone, Copy)]
pub(crate) struct TextHooks {
    pub(super) check: pg_sys::GucStringCheckHook,
    pub(super) assign: pg_sys::GucStringAssignHook,
    pub(super) show: pg_sys::GucShowHook,
    pub(super) flags: GucFlags,
}

impl TextHooks {
    /// Hooks that take every text.
    pub(crate) const NONE: Self = Self { check: None, assign: None, show: None, flags: GucFlags::empty() };

    /// Hooks that take the texts with which `C` finds nothing wrong.
    pub(crate) const fn checked<C: Check>() -> Self {
        Self { check: Some(check_hook::<C>), ..Self::NONE }
    }

    /// The same, for a setting on which the cached annotations depend.
    pub(crate) const fn outdates_annotations(self) -> Self {
        Self { assign: Some(outdate_annotations_by_text), ..self }
    }
}

/// What [`TextHooks`] is for texts, for a switch.
#[derive(Clone, Copy)]
pub(crate) struct SwitchHooks {
    assign: pg_sys::GucBoolAssignHook,
}

impl SwitchHooks {
    /// Nothing depends on it.
    pub(crate) const NONE: Self = Self { assign: None };
    /// The cached annotations depend on it.
    pub(crate) const OUTDATES_ANNOTATIONS: Self = Self { assign: Some(outdate_annotations_by_switch) };
}

unsafe extern "C-unwind" fn outdate_annotations_by_text(_: *const c_char, _: *mut c_void) {
    ANNOTATIONS_OUTDATED.store(true, Relaxed);
}

unsafe extern "C-unwind" fn outdate_annotations_by_switch(_: bool, _: *mut c_void) {
    ANNOTATIONS_OUTDATED.store(true, Relaxed);
}

/// Defines a text setting.
pub(crate) fn define(
    name: &'static CStr,
    what: &'static CStr,
    details: &'static CStr,
    setting: &'static GucSetting<Option<CString>>,
    context: GucContext,
    hooks: TextHooks,
) {
    let TextHooks { check, assign, show, flags } = hooks;
    // SAFETY: the hooks are of this file or guc_secret.rs: check hooks are guarded, the others cannot unwind.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            name, what, details, setting, context, flags, check, assign, show,
        );
    }
}

/// Defines a switch.
pub(crate) fn define_switch(
    name: &'static CStr,
    what: &'static CStr,
    details: &'static CStr,
    setting: &'static GucSetting<bool>,
    context: GucContext,
    hooks: SwitchHooks,
) {
    let none = GucFlags::default();
    // SAFETY: the hook is of this file and cannot unwind.
    unsafe {
        GucRegistry::define_bool_guc_with_hooks(
            name,
            what,
            details,
            setting,
            context,
            none,
            None,
            hooks.assign,
            None,
        );
    }
}

/// Makes every other name that begins with `sse.` an error, so that a misspelt setting is noticed.
pub(crate) fn reserve_prefix() {
    // SAFETY: a NUL-terminated literal; called while the library is loaded.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"sse".as_ptr()) };
}

/// The check hook of every text setting with a check.
unsafe extern "C-unwind" fn check_hook<C: Check>(
    newval: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: what the attribute `pg_guard` makes of a function; it cannot make it of a generic one. No
    // destructor is jumped over: everything with one lives inside.
    unsafe { pgrx_extern_c_guard(move || is_good::<C>(newval)) }
}

fn is_good<C: Check>(newval: *mut *mut c_char) -> bool {
    // SAFETY: guc.c passes the address of the new value.
    let text = unsafe { *newval };
    if text.is_null() {
        return true;
    }
    // SAFETY: NUL-terminated, guc.c keeps it for the time of the check.
    let text = unsafe { CStr::from_ptr(text) };
    // A file is read before there is a database; a SET comes in the encoding of its database.
    let text = match text.to_str() {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(from_server(text.to_bytes())),
    };
    C::check(&text).map_err(|what| set_check_detail(&what.to_string())).is_ok()
}

/// guc.c appends this to its own "invalid value for parameter" message (GUC_check_errdetail).
pub(super) fn set_check_detail(what: &str) {
    let Ok(text) = CString::new(format!("{what}.")) else { return };
    // SAFETY: `text` is NUL-terminated; the copy lives in the memory context in which guc.c reports the
    // error.
    let copy = unsafe { pg_sys::pstrdup(text.as_ptr()) };
    // SAFETY: the variable that the macro GUC_check_errdetail assigns; guc.c resets it before each check.
    unsafe { pg_sys::GUC_check_errdetail_string = copy };
}
