//! What a call may leave in its session, and how that is undone: all that DISCARD ALL undoes except plans,
//! and those things that DISCARD ALL forgets and Postgres can undo: replication slots and origins, the seed
//! of `random()`.
//!
//! What Postgres has no way to undo stays, as it does after DISCARD ALL: what procedural languages and other
//! libraries keep for a session (`GD` of PL/Python, connections of dblink), libraries that were loaded, an
//! online backup. docs/calls.md names it.
//!
//! Functions here run inside `try_catch::run`. Not for what the end of the transaction undoes by itself.

use std::ffi::{CStr, c_int, c_void};
use std::ptr::null_mut;

use pgrx::IntoDatum;
use pgrx::pg_sys;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;

use super::{compat, own_transaction, raw, receiver};

/// How long the clean-up may take, in milliseconds, where it can have to wait: somebody may have locked a
/// temporary table. Beyond it the worker answers and leaves. Below the gateway's own patience of five
/// seconds, so that the caller is told what became of the call, and not that it is unknown.
const LONGEST_WAIT: c_int = 3_000;

/// Cleans up, outside of transactions where that is enough. What only a transaction can undo is rare, and
/// takes longer.
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
            // Catalog rows are deleted under a snapshot, as everywhere in Postgres (namespace.c,
            // RemoveTempRelationsCallback).
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

/// For a session that could not be cleaned and ends: leaves its temporary tables where they are. The end of
/// the session would drop them, and would wait, with interrupts held off, for whoever has locked one. Until
/// then no other worker could take its place, and `DROP DATABASE` of any database would wait for it. The
/// tables then belong to nobody: the next session that gets this temporary schema drops them before it makes
/// its own, or autovacuum does.
pub(super) unsafe extern "C-unwind" fn leave_tables(_: *mut ()) {
    // SAFETY: a NUL-terminated name; not valid beyond the next call, and not used there.
    let asserts = unsafe { pg_sys::GetConfigOption(c"debug_assertions".as_ptr(), true, false) };
    // A server with assertions allows this only in parallel workers, which have no tables of their own. There
    // the end waits.
    // SAFETY: NUL-terminated if not NULL.
    if !asserts.is_null() && unsafe { CStr::from_ptr(asserts) } == c"off" {
        raw::SetTempNamespaceState(pg_sys::InvalidOid, pg_sys::InvalidOid);
    }
}

/// Lets go of replication slots that a routine has acquired and kept through an error, and drops temporary
/// ones. While this session has them, nobody else can read them, and the log is kept for them (PostgresMain,
/// the same two steps).
pub(super) fn let_go_of_slots() {
    // SAFETY: a variable of slot.c that only this thread uses.
    if !unsafe { pg_sys::MyReplicationSlot }.is_null() {
        raw::ReplicationSlotRelease();
    }
    compat::drop_temporary_slots();
}

/// A replication origin would mark what later calls write as coming from elsewhere, so that it is not
/// replicated. Does what `pg_replication_origin_session_reset()` does.
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

/// Nothing undoes `setseed()` but another `setseed()`. Without it, one caller would decide what `random()`
/// gives the next.
fn seed() {
    let mut bits = 0_u64;
    // SAFETY: room for as many bytes as are said.
    if !unsafe { raw::pg_strong_random((&raw mut bits).cast::<c_void>(), size_of::<u64>()) } {
        // SAFETY: owns nothing here.
        unsafe { receiver::fail(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, c"no random number for a seed") };
    }
    // As many bits as a fraction has. The seed is between -1 and 1.
    let fraction = (bits >> 11) as f64 / (1_u64 << 53) as f64;
    let Some(seed) = (fraction * 2.0 - 1.0).into_datum() else { return };
    let function = pg_sys::Oid::from(pg_sys::F_SETSEED);
    // Needs no look-up in the catalog, because it is a function of core; so it works outside of transactions,
    // too.
    // SAFETY: setseed(double precision).
    unsafe { raw::OidFunctionCall1Coll(function, pg_sys::InvalidOid, seed) };
}
