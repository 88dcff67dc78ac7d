//! Text settings read without copying, and their check and assign hooks.
//!
//! guc.c owns the text and replaces it at `SET` and reload; the borrow here cannot outlive the reading.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_void};

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys;

use super::text::from_server;

thread_local! {
    static ANNOTATIONS_OUTDATED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `read` over the bytes of a text setting, without copying them.
pub(crate) fn with<T>(setting: &GucSetting<Option<CString>>, read: impl FnOnce(&[u8]) -> T) -> T {
    // SAFETY: the setting's variable, which guc.c writes on this thread only.
    let text = unsafe { *setting.as_ptr() };
    if text.is_null() {
        return read(b"");
    }
    // SAFETY: NUL-terminated by guc.c, which frees it only when the setting changes; `read` cannot change settings
    // without going through SQL, and gets a borrow that ends here.
    read(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// Runs `read` over the bytes of any setting, `None` when there is none of that name. Raises nothing, so it may be called
/// inside error handling.
pub(crate) fn with_option<T>(name: &CStr, read: impl FnOnce(Option<&[u8]>) -> T) -> T {
    // SAFETY: NUL-terminated; a missing setting is answered by NULL, and privileges are not looked at.
    let text = unsafe { pg_sys::GetConfigOption(name.as_ptr(), true, false) };
    if text.is_null() {
        return read(None);
    }
    // SAFETY: NUL-terminated, valid until the setting changes or the function is called again, which `read` does not.
    read(Some(unsafe { CStr::from_ptr(text) }.to_bytes()))
}

/// Whether a setting that the cached annotations depend on was assigned since the last call.
pub(crate) fn take_annotations_outdated() -> bool {
    ANNOTATIONS_OUTDATED.replace(false)
}

/// Assign hook of `sse.schemas`.
pub(crate) unsafe extern "C-unwind" fn assign_schemas(_: *const c_char, _: *mut c_void) {
    ANNOTATIONS_OUTDATED.set(true);
}

/// Assign hook of `sse.warn_unbound`.
pub(crate) unsafe extern "C-unwind" fn assign_warn_unbound(_: bool, _: *mut c_void) {
    ANNOTATIONS_OUTDATED.set(true);
}

/// Defines a switch that the cached annotations depend on.
pub(crate) fn define_annotation_switch(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<bool>,
) {
    // SAFETY: the assign hook cannot unwind.
    unsafe {
        GucRegistry::define_bool_guc_with_hooks(
            name,
            short,
            long,
            setting,
            GucContext::Sighup,
            GucFlags::default(),
            None,
            Some(assign_warn_unbound),
            None,
        );
    }
}

/// Which check a text setting has.
#[derive(Clone, Copy)]
pub(crate) enum Check {
    /// [`crate::guc::check::addresses`]
    Addresses,
    /// [`crate::guc::check::server_names`]
    ServerNames,
    /// [`crate::guc::check::schemas`]
    Schemas,
    /// [`crate::guc::check::url_prefix`]
    UrlPrefix,
    /// [`crate::guc::check::response_headers`]
    ResponseHeaders,
    /// [`crate::guc::check::trusted_proxies`]
    TrustedProxies,
    /// [`crate::guc::check::cors_origins`]
    CorsOrigins,
    /// [`crate::guc::check::cookie_name`]
    CookieName,
    /// [`crate::guc::check::token_parameter`]
    TokenParameter,
    /// [`crate::guc::check::claim_names`]
    ClaimNames,
    /// [`crate::guc::check::execution_id_headers`]
    HeaderNames,
    /// [`crate::guc::check::execution_id`]
    ExecutionId,
}

/// Defines a text setting whose values are checked.
pub(crate) fn define_checked(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<Option<CString>>,
    context: GucContext,
    check: Check,
) {
    let hook: pg_sys::GucStringCheckHook = match check {
        Check::Addresses => Some(check_addresses),
        Check::ServerNames => Some(check_server_names),
        Check::Schemas => Some(check_schemas),
        Check::UrlPrefix => Some(check_url_prefix),
        Check::ResponseHeaders => Some(check_response_headers),
        Check::TrustedProxies => Some(check_trusted_proxies),
        Check::CorsOrigins => Some(check_cors_origins),
        Check::CookieName => Some(check_cookie_name),
        Check::TokenParameter => Some(check_token_parameter),
        Check::ClaimNames => Some(check_claim_names),
        Check::HeaderNames => Some(check_execution_id_headers),
        Check::ExecutionId => Some(check_execution_id),
    };
    let assign: pg_sys::GucStringAssignHook = match check {
        Check::Schemas => Some(assign_schemas),
        _ => None,
    };
    // SAFETY: the check hooks are guarded, the assign hook cannot unwind.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            name,
            short,
            long,
            setting,
            context,
            GucFlags::default(),
            hook,
            assign,
            None,
        );
    }
}

/// Makes every other name that begins with `sse.` an error, so that a misspelt setting is said.
pub(crate) fn reserve_prefix() {
    // SAFETY: a NUL-terminated literal; called while the library is loaded.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"sse".as_ptr()) };
}

/// Makes a check hook out of a safe function that says what is wrong with a value.
macro_rules! check_hook {
    ($name:ident, $check:path) => {
        #[pgrx::pg_guard]
        pub(crate) unsafe extern "C-unwind" fn $name(
            newval: *mut *mut c_char,
            _extra: *mut *mut c_void,
            _source: pg_sys::GucSource::Type,
        ) -> bool {
            // SAFETY: guc.c passes the address of the new value.
            let text = unsafe { *newval };
            if text.is_null() {
                return true;
            }
            // SAFETY: NUL-terminated, guc.c keeps it for the time of the check.
            let text = unsafe { CStr::from_ptr(text) };
            // A file is read before there is a database, a SET comes in the encoding of one.
            let verdict = match text.to_str() {
                Ok(text) => $check(text),
                Err(_) => $check(&from_server(text.to_bytes())),
            };
            verdict.map_err(|what| set_check_detail(&what)).is_ok()
        }
    };
}

check_hook!(check_addresses, crate::guc::check::addresses);
check_hook!(check_url_prefix, crate::guc::check::url_prefix);
check_hook!(check_response_headers, crate::guc::check::response_headers);
check_hook!(check_trusted_proxies, crate::guc::check::trusted_proxies);
check_hook!(check_cors_origins, crate::guc::check::cors_origins);
check_hook!(check_cookie_name, crate::guc::check::cookie_name);
check_hook!(check_token_parameter, crate::guc::check::token_parameter);
check_hook!(check_claim_names, crate::guc::check::claim_names);
check_hook!(check_execution_id_headers, crate::guc::check::execution_id_headers);
check_hook!(check_execution_id, crate::guc::check::execution_id);
check_hook!(check_server_names, crate::guc::check::server_names);
check_hook!(check_schemas, crate::guc::check::schemas);

/// guc.c appends this to its own "invalid value for parameter" message (GUC_check_errdetail).
pub(super) fn set_check_detail(what: &str) {
    let Ok(text) = CString::new(format!("{what}.")) else { return };
    // SAFETY: `text` is NUL-terminated; the copy lives in the memory context in which guc.c reports the error.
    let copy = unsafe { pg_sys::pstrdup(text.as_ptr()) };
    // SAFETY: the variable that the macro GUC_check_errdetail assigns; guc.c resets it before each check.
    unsafe { pg_sys::GUC_check_errdetail_string = copy };
}
