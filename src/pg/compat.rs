//! What differs between PostgreSQL 15 and 18, same signature on both sides. The only place with a version `cfg`.

use std::ffi::CStr;

use pgrx::pg_sys;

/// The entry of a setting in guc.c's table, or `None` when there is no setting (or placeholder) of that name.
/// The pointer stays valid until the setting is redefined.
#[cfg(feature = "pg15")]
pub(crate) fn guc_variable(name: &CStr) -> Option<*mut pg_sys::config_generic> {
    // SAFETY: both only read guc.c's own state, which exists from the start of the process.
    let table = unsafe { pg_sys::get_guc_variables() };
    // SAFETY: as above.
    let count = unsafe { pg_sys::GetNumConfigOptions() };
    (0..usize::try_from(count).unwrap_or(0)).find_map(|index| {
        // SAFETY: `index` is below the number of entries that guc.c reports for this table.
        let slot = unsafe { table.add(index) };
        // SAFETY: each slot below that number holds a valid entry.
        let entry = unsafe { *slot };
        // SAFETY: as above.
        let entry_name = unsafe { (*entry).name };
        // SAFETY: names of settings are NUL-terminated and live as long as their entry.
        let matches = unsafe { CStr::from_ptr(entry_name) } == name;
        matches.then_some(entry)
    })
}

/// The entry of a setting in guc.c's table, or `None` when there is no setting (or placeholder) of that name.
/// The pointer stays valid until the setting is redefined.
#[cfg(not(feature = "pg15"))]
pub(crate) fn guc_variable(name: &CStr) -> Option<*mut pg_sys::config_generic> {
    // SAFETY: `name` is NUL-terminated; with `skip_errors` a missing setting is answered by NULL.
    let entry = unsafe { pg_sys::find_option(name.as_ptr(), false, true, 0) };
    (!entry.is_null()).then_some(entry)
}
