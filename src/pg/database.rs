//! Which database is served. Asked by a worker that is connected to none, and by a backend about its own.

use std::ffi::{CStr, c_int};

use pgrx::pg_sys;

use super::shmem::{Extension, Shared};

/// Whether this backend is connected to the served database, whose name is `served`. Reads the catalog while
/// the gateway has not said yet which database that is, so call it only where that is allowed.
pub(crate) fn mine_is_served(shared: &Shared, served: fn() -> String) -> bool {
    if let Some(known) = shared.is_served_database() {
        return known;
    }
    // SAFETY: set once when the backend connects.
    let mine = unsafe { pg_sys::MyDatabaseId };
    // SAFETY: a catalog look-up that answers NULL for a missing database; a palloc'd copy otherwise.
    let name = unsafe { pg_sys::get_database_name(mine) };
    if name.is_null() {
        return false;
    }
    // SAFETY: NUL-terminated, ours.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_bytes() == served().as_bytes()
}

/// Whether routines of this backend are served, as far as it sees for itself, while the gateway and its
/// worker have not looked. Reads the catalog.
pub(crate) fn mine_will_be_served(shared: &Shared, served: fn() -> String) -> bool {
    let is_unknown = shared.is_served_database().is_none() || shared.extension() == Extension::Unknown;
    is_unknown && mine_is_served(shared, served) && has_extension()
}

/// Whether the extension is in this backend's database. Reads the catalog.
pub(crate) fn has_extension() -> bool {
    // SAFETY: a catalog look-up that answers InvalidOid for a missing extension; inside a transaction (the
    // callers).
    unsafe { pg_sys::get_extension_oid(c"pg_sse".as_ptr(), true) != pg_sys::InvalidOid }
}

/// The result of a look at pg_database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The oid of the database of that name, if there is one.
    Database(Option<u32>),
    /// Somebody has the catalog locked, or waits for that lock (`VACUUM FULL`): ask again later.
    Busy,
}

/// Finds the database of this name without waiting for anybody: neither for the lock, nor for a snapshot of a
/// transaction, which would wait for others if the defaults of transactions say so. Only the scan has a
/// snapshot, one of the catalog.
///
/// Reads pg_database as the autovacuum launcher does, from its first page to its last: without a database
/// there are no indexes to look things up with.
pub(crate) fn find(name: &str) -> Found {
    // SAFETY: on the Postgres thread, outside of transactions.
    unsafe { pg_sys::SetCurrentStatementStartTimestamp() };
    // SAFETY: as above. An error from here on ends the process, and with it the transaction.
    unsafe { pg_sys::StartTransactionCommand() };
    let lock = pg_sys::AccessShareLock as c_int;
    // SAFETY: inside a transaction, at whose end the lock goes.
    let is_locked = unsafe { pg_sys::ConditionalLockRelationOid(pg_sys::DatabaseRelationId, lock) };
    let found = if is_locked { Found::Database(scan(name.as_bytes())) } else { Found::Busy };
    // SAFETY: the transaction begun above.
    unsafe { pg_sys::CommitTransactionCommand() };
    found
}

/// The caller has locked pg_database.
fn scan(name: &[u8]) -> Option<u32> {
    let lock = pg_sys::NoLock as c_int;
    // SAFETY: a shared catalog, readable without a database; inside a transaction, and locked.
    let relation = unsafe { pg_sys::table_open(pg_sys::DatabaseRelationId, lock) };
    // SAFETY: the open relation, no scan keys; takes a catalog snapshot of its own.
    let scan = unsafe { pg_sys::table_beginscan_catalog(relation, 0, std::ptr::null_mut()) };
    let mut found = None;
    loop {
        // SAFETY: the scan begun above; pg_database is a heap.
        let tuple = unsafe { pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection) };
        if tuple.is_null() {
            break;
        }
        // SAFETY: a valid tuple of pg_database, whose fixed part is this struct.
        let row = unsafe { pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_database>(tuple) };
        // SAFETY: as above; valid until the next tuple is fetched.
        let row = unsafe { &*row };
        // SAFETY: a NameData is NUL-terminated.
        let row_name = unsafe { CStr::from_ptr(row.datname.data.as_ptr()) };
        if row_name.to_bytes() == name {
            found = Some(row.oid.to_u32());
            break;
        }
    }
    // SAFETY: begun above.
    unsafe { pg_sys::heap_endscan(scan) };
    // SAFETY: opened above.
    unsafe { pg_sys::table_close(relation, lock) };
    found
}
