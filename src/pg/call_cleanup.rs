//! What a call may leave in its session, and how it goes: what DISCARD ALL undoes but for plans, and of what that forgets
//! whatever Postgres has a way to undo: replication slots and origins, the seed of `random()`.
//!
//! What it has no way to undo stays, as it does behind DISCARD ALL: what procedural languages and other libraries keep for a
//! session (`GD` of PL/Python, connections of dblink), libraries that were loaded, an online backup. docs/calls.md names it.
//!
//! Functions here run inside `try_catch::run`. Not for what the end of the transaction undoes by itself.

use std::ffi::{CStr, c_int, c_void};
use std::ptr::null_mut;

use pgrx::IntoDatum;
use pgrx::pg_sys;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;

use super::{compat, own_transaction, raw, receiver};

/// How long it may take, in milliseconds, where it may wait at all: somebody may have locked a temporary table. Beyond it the
/// worker answers and leaves. Below the gateway's own patience of five seconds, so that a caller is told what became of the
/// call and not that nobody knows.
const LONGEST_WAIT: c_int = 3_000;

/// Undoes it, outside of transactions where that will do. What only a transaction can undo is rare, and needs the long form.
pub(super) unsafe extern "C-unwind" fn clean(_: *mut ()) {
    // First, so that a transaction begins with the role's own defaults and not with the call's.
    raw::ResetAllOptions();
    let mut namespace = pg_sys::InvalidOid;
    let mut toast = pg_sys::InvalidOid;
    // SAFETY: two places to write to.
    unsafe { raw::GetTempNamespaceState(&mut namespace, &mut toast) };
    let has_temporary_tables = namespace != pg_sys::InvalidOid;
    let is_other_user = raw::GetSessionUserId() != raw::GetAuthenticatedUserId()
        || raw::GetCurrentRoleId() != pg_sys::InvalidOid;
    if has_temporary_tables || is_other_user {
        raw::enable_timeout_after(raw::STATEMENT_TIMEOUT, LONGEST_WAIT);
        let waits = own_transaction::begin();
        raw::PortalHashTableDeleteAll();
        // SAFETY: a literal; no arguments means the default.
        unsafe { raw::SetPGVariable(c"session_authorization".as_ptr(), null_mut(), false) };
        // SAFETY: as above.
        unsafe { raw::SetPGVariable(c"role".as_ptr(), null_mut(), false) };
        if has_temporary_tables {
            let snapshot = raw::GetTransactionSnapshot();
            // Catalog rows are deleted under one, as everywhere in Postgres (namespace.c, RemoveTempRelationsCallback).
            // SAFETY: a snapshot of this transaction.
            unsafe { raw::PushActiveSnapshot(snapshot) };
            raw::ResetTempTableNamespace();
            raw::PopActiveSnapshot();
        }
        raw::disable_timeout(raw::STATEMENT_TIMEOUT, false);
        own_transaction::commit(waits);
    }
    raw::PortalHashTableDeleteAll();
    raw::DropAllPreparedStatements();
    raw::LockReleaseAll(raw::USER_LOCKMETHOD, true);
    raw::ResetSequenceCaches();
    let_go_of_slots();
    let_go_of_origin();
    seed();
}

/// For a session that could not be cleaned and ends: its temporary tables stay behind. Its end would drop them, and wait for whoever
/// has locked one with interrupts held off: its place could not be taken by another worker, and `DROP DATABASE` of any database
/// would wait for it. They are nobody's then: the next session with this one's temporary schema drops them before it makes its own,
/// or autovacuum does.
pub(super) unsafe extern "C-unwind" fn leave_tables(_: *mut ()) {
    // SAFETY: a NUL-terminated name; not valid beyond the next call, and not used there.
    let asserts = unsafe { pg_sys::GetConfigOption(c"debug_assertions".as_ptr(), true, false) };
    // A server with assertions wants that only of parallel workers, which have no tables of their own. There the end waits.
    // SAFETY: NUL-terminated if not NULL.
    if !asserts.is_null() && unsafe { CStr::from_ptr(asserts) } == c"off" {
        raw::SetTempNamespaceState(pg_sys::InvalidOid, pg_sys::InvalidOid);
    }
}

/// Replication slots that a routine has acquired and, in an error, not let go of, and temporary ones: as long as this session has
/// them, nobody else can read them, and the log is kept for them (PostgresMain, the same two steps).
pub(super) fn let_go_of_slots() {
    // SAFETY: a variable of slot.c that only this thread uses.
    if !unsafe { pg_sys::MyReplicationSlot }.is_null() {
        raw::ReplicationSlotRelease();
    }
    compat::drop_temporary_slots();
}

/// A replication origin would mark what later calls write as somebody else's, so that it is not replicated. As
/// `pg_replication_origin_session_reset()`.
fn let_go_of_origin() {
    // SAFETY: a variable of origin.c that only this thread uses.
    if unsafe { pg_sys::replorigin_session_origin } == 0 {
        return;
    }
    raw::replorigin_session_reset();
    // SAFETY: as above.
    unsafe { pg_sys::replorigin_session_origin = 0 };
    // SAFETY: as above.
    unsafe { pg_sys::replorigin_session_origin_lsn = 0 };
    // SAFETY: as above.
    unsafe { pg_sys::replorigin_session_origin_timestamp = 0 };
}

/// `setseed()` has no undo but another one: without it, who calls it decides what `random()` gives the next caller.
fn seed() {
    let mut bits = 0_u64;
    // SAFETY: room for as many bytes as are said.
    if !unsafe { raw::pg_strong_random((&raw mut bits).cast::<c_void>(), size_of::<u64>()) } {
        // SAFETY: owns nothing here.
        unsafe { receiver::fail(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, c"no random number for a seed") };
    }
    // As many bits as a fraction has; the seed is one between -1 and 1.
    let fraction = (bits >> 11) as f64 / (1_u64 << 53) as f64;
    let Some(seed) = (fraction * 2.0 - 1.0).into_datum() else { return };
    let function = pg_sys::Oid::from(pg_sys::F_SETSEED);
    // A function of core without a look-up in the catalog, so outside of transactions, too.
    // SAFETY: setseed(double precision).
    unsafe { raw::OidFunctionCall1Coll(function, pg_sys::InvalidOid, seed) };
}
