//! What differs between PostgreSQL 15 and 18, with the same signature for all versions. The only place with a
//! version `cfg`.

use std::ffi::{CStr, c_char, c_int, c_long, c_void};

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

/// A NUL-terminated text in memory that guc.c may keep and free; `None` without memory.
pub(crate) fn guc_text(text: &CStr) -> Option<*mut c_char> {
    guc_copy(text.to_bytes_with_nul()).map(|memory| memory.cast())
}

/// Bytes in memory that guc.c may keep as the `extra` of a value and free; `None` without memory.
/// [`read_guc_bytes`] reads them.
pub(crate) fn guc_bytes(bytes: &[u8]) -> Option<*mut c_void> {
    let mut framed = (bytes.len() as u64).to_ne_bytes().to_vec();
    framed.extend_from_slice(bytes);
    guc_copy(&framed)
}

/// What [`guc_bytes`] made.
///
/// # Safety
/// - `memory` was made by [`guc_bytes`] and not freed since.
pub(crate) unsafe fn read_guc_bytes<'a>(memory: *const c_void) -> &'a [u8] {
    // SAFETY: the caller's promise: the length stands in front.
    let length = unsafe { memory.cast::<[u8; 8]>().read_unaligned() };
    let length = usize::try_from(u64::from_ne_bytes(length)).unwrap_or(0);
    // SAFETY: the bytes follow it.
    let start = unsafe { memory.cast::<u8>().add(8) };
    // SAFETY: as many as the length says.
    unsafe { std::slice::from_raw_parts(start, length) }
}

fn guc_copy(bytes: &[u8]) -> Option<*mut c_void> {
    let memory = guc_allocate(bytes.len());
    if memory.is_null() {
        return None;
    }
    // SAFETY: fresh memory of that length, which cannot overlap.
    unsafe { memory.cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    Some(memory)
}

#[cfg(feature = "pg15")]
fn guc_allocate(bytes: usize) -> *mut c_void {
    // SAFETY: guc.c of this version keeps its values in malloc's memory.
    unsafe { libc::malloc(bytes) }
}

#[cfg(not(feature = "pg15"))]
fn guc_allocate(bytes: usize) -> *mut c_void {
    // SAFETY: guc.c's own allocator, which at this level answers NULL when there is no memory.
    unsafe { pg_sys::guc_malloc(pg_sys::LOG as i32, bytes) }
}

/// Frees memory of guc.c's.
#[cfg(feature = "pg15")]
pub(crate) fn guc_free(memory: *mut c_void) {
    // SAFETY: guc.c of this version keeps its values in malloc's memory.
    unsafe { libc::free(memory) };
}

/// Frees memory of guc.c's.
#[cfg(not(feature = "pg15"))]
pub(crate) fn guc_free(memory: *mut c_void) {
    // SAFETY: guc.c's own allocator.
    unsafe { pg_sys::guc_free(memory) };
}

/// Installs a signal handler.
pub(crate) fn on_signal(signal: c_int, handler: unsafe extern "C-unwind" fn(c_int)) {
    #[cfg(not(feature = "pg18"))]
    // SAFETY: a plain function with the life time of the library, which is never unloaded.
    unsafe {
        pg_sys::pqsignal(signal, Some(handler));
    }
    #[cfg(feature = "pg18")]
    // SAFETY: as above.
    unsafe {
        pg_sys::pqsignal_be(signal, Some(handler));
    }
}

// Raw, as those of `raw.rs`. 18 has no `run_once`.
unsafe extern "C-unwind" {
    #[cfg(not(feature = "pg18"))]
    fn PortalRun(
        portal: pg_sys::Portal,
        count: c_long,
        is_top_level: bool,
        run_once: bool,
        destination: *mut pg_sys::DestReceiver,
        other_destination: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    ) -> bool;
    #[cfg(feature = "pg18")]
    fn PortalRun(
        portal: pg_sys::Portal,
        count: c_long,
        is_top_level: bool,
        destination: *mut pg_sys::DestReceiver,
        other_destination: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    ) -> bool;
}

/// Runs a started portal at top level. May raise, over the caller's frame.
///
/// # Safety
/// - `portal` is started, `destination` lives for the call; called in a function that `try_catch::run` runs.
pub(super) unsafe fn portal_run(
    portal: pg_sys::Portal,
    count: c_long,
    destination: *mut pg_sys::DestReceiver,
) {
    let mut completion = pg_sys::QueryCompletion::default();
    #[cfg(not(feature = "pg18"))]
    // SAFETY: the caller's promise.
    unsafe {
        PortalRun(portal, count, true, true, destination, destination, &mut completion);
    }
    #[cfg(feature = "pg18")]
    // SAFETY: the caller's promise.
    unsafe {
        PortalRun(portal, count, true, destination, destination, &mut completion);
    }
}

/// Whether the role of this session owns a database.
pub(crate) fn owns_database(database: pg_sys::Oid) -> bool {
    // SAFETY: reads a variable of miscinit.c.
    let role = unsafe { pg_sys::GetUserId() };
    #[cfg(feature = "pg15")]
    // SAFETY: a catalog look-up of an existing database, in a transaction.
    let owns = unsafe { pg_sys::pg_database_ownercheck(database, role) };
    #[cfg(not(feature = "pg15"))]
    // SAFETY: as above.
    let owns = unsafe { pg_sys::object_ownercheck(pg_sys::DatabaseRelationId, database, role) };
    owns
}

/// A set of things to wait for, with room for this many, that lives until it is freed.
pub(super) fn create_wait_event_set(room: c_int) -> *mut pg_sys::WaitEventSet {
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    // SAFETY: a context that lives as long as this process.
    let owner = unsafe { pg_sys::TopMemoryContext };
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    let owner = std::ptr::null_mut();
    // SAFETY: the context above; since 17 no resource owner, which is allowed (latch.c).
    unsafe { pg_sys::CreateWaitEventSet(owner, room) }
}

/// Sets the variable of `transaction_timeout`, which xact.c reads when a transaction begins, and returns its
/// former value. Does nothing in versions without it.
pub(super) fn replace_transaction_timeout(milliseconds: c_int) -> c_int {
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    return milliseconds;
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    {
        // SAFETY: a setting of this session that guc.c writes on this thread only.
        let before = unsafe { pg_sys::TransactionTimeout };
        // SAFETY: as above.
        unsafe { pg_sys::TransactionTimeout = milliseconds };
        before
    }
}

/// Settings of time limits on transactions that not every version has, with the value that is no limit.
pub(super) const FURTHER_TIMEOUTS_OFF: &[(&CStr, &CStr)] =
    if cfg!(any(feature = "pg15", feature = "pg16")) { &[] } else { &[(c"transaction_timeout", c"0")] };

// Raw, as those of `raw.rs`. Since 17 it can leave out those that are not synchronized.
unsafe extern "C-unwind" {
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    safe fn ReplicationSlotCleanup();
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    safe fn ReplicationSlotCleanup(synced_only: bool);
}

/// Drops this session's temporary replication slots. May raise, over the caller's frame; none is acquired.
pub(super) fn drop_temporary_slots() {
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    ReplicationSlotCleanup();
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    ReplicationSlotCleanup(false);
}
