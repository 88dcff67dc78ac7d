//! `ProcessUtility_hook`: makes a COMMENT on a routine take effect like a change of the routine, tells the
//! session that wrote it what is wrong with it (C2.5), has a new trigger looked at (C3.5), and keeps the
//! lowered threshold out of CREATE and ALTER EXTENSION.
//!
//! The hook itself is unguarded, has no destructors and calls core through a raw declaration. With pgrx'
//! guard and wrapper every error of a utility statement, all of `CALL` and `DO` included, would lose its
//! context, constraint name and own SQLSTATE. Only our own work after core's is guarded.

use std::cell::Cell;
use std::ffi::{c_char, c_int};

use pgrx::prelude::*;
use pgrx::{pg_guard, pg_sys};

use super::{activation, catalog_change, invalidation, row_trigger};
use crate::guc;
use crate::pg::want_of_memory::or_raise;
use crate::pg::{call_slot, database, error_room, make_way, routine, shmem};
use crate::publish::annotations;

unsafe extern "C-unwind" {
    fn standard_ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        query: *const c_char,
        read_only_tree: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        params: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        destination: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

thread_local! {
    static PREVIOUS: Cell<pg_sys::ProcessUtility_hook_type> = const { Cell::new(None) };
}

/// To be called once, from `_PG_init` in the postmaster.
pub(crate) fn install() {
    // SAFETY: hooks are plain variables of the postmaster, which runs nothing else while it loads libraries.
    PREVIOUS.set(unsafe { pg_sys::ProcessUtility_hook });
    // SAFETY: as above.
    unsafe { pg_sys::ProcessUtility_hook = Some(process_utility) };
}

#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn process_utility(
    statement: *mut pg_sys::PlannedStmt,
    query: *const c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: utility.c passes a planned statement.
    let node = unsafe { (*statement).utilityStmt };
    // SAFETY: guarded; see there.
    unsafe { watch() };
    // SAFETY: a planned utility statement has its parse tree, of which every node begins with its tag.
    let tag = unsafe { (*node).type_ };
    let runs_script =
        tag == pg_sys::NodeTag::T_CreateExtensionStmt || tag == pg_sys::NodeTag::T_AlterExtensionStmt;
    if runs_script {
        // SAFETY: guarded; see there.
        unsafe { begin_script() };
    }
    if tag == pg_sys::NodeTag::T_TransactionStmt {
        // SAFETY: the node's tag says that it is one.
        let kind = unsafe { (*node.cast::<pg_sys::TransactionStmt>()).kind };
        if kind == pg_sys::TransactionStmtKind::TRANS_STMT_COMMIT_PREPARED {
            // What the prepared transaction changed is not known here; it may have been a routine.
            catalog_change::catalog_changed();
        }
    }
    // SAFETY: guarded; see there.
    let away = unsafe { before(node) };
    let next = PREVIOUS.get().unwrap_or(standard_ProcessUtility);
    // SAFETY: core's function or the hook installed before ours, with the arguments that utility.c passed.
    unsafe { next(statement, query, read_only_tree, context, params, environment, destination, completion) };
    if runs_script {
        activation::end_script();
        // A new extension's routines concern nobody yet, and a new version may change none (`watched.rs`).
        catalog_change::catalog_changed();
    }
    if away {
        make_way::come_back();
    }
    // SAFETY: as above: the parse tree that was just carried out.
    unsafe { changed(node, tag) };
    if tag == pg_sys::NodeTag::T_CommentStmt {
        // SAFETY: the node's tag says that it is one.
        unsafe { commented(node.cast()) };
    }
    if tag == pg_sys::NodeTag::T_CreateTrigStmt {
        // SAFETY: the node's tag says that it is one.
        unsafe { row_trigger::created(node.cast()) };
    }
}

/// Calls [`make_way::make_way`], guarded.
///
/// # Safety
/// - `node` is the parse tree of a utility statement that is about to be run.
#[pg_guard]
unsafe extern "C-unwind" fn before(node: *mut pg_sys::Node) -> bool {
    // SAFETY: the caller's promise.
    unsafe { make_way::make_way(node, || guc::DATABASE.text()) }
}

/// Called after a statement that may have changed the role of calls or its rights. Does nothing where there
/// are no calls. (Invalidations of the catalog tell of everything else that calls rest on: `watched.rs`.)
///
/// # Safety
/// - `node` is a parse tree of this tag.
unsafe fn changed(node: *mut pg_sys::Node, tag: pg_sys::NodeTag) {
    use pg_sys::NodeTag as T;
    let of_role = [
        T::T_CreateRoleStmt,
        T::T_AlterRoleStmt,
        T::T_DropRoleStmt,
        T::T_GrantRoleStmt,
        T::T_ReassignOwnedStmt,
        T::T_DropOwnedStmt,
    ];
    // SAFETY: the caller's promise.
    if !of_role.contains(&tag) && !unsafe { of_role_or_database(node, tag) } {
        return;
    }
    if call_slot::memory().is_some_and(|memory| !memory.slots().is_empty()) {
        catalog_change::roles_changed();
    }
}

/// GRANT CONNECT ON DATABASE, and new names and owners of databases and roles. For other objects these are
/// changes of the routine, its schema or its types.
///
/// # Safety
/// - `node` is a parse tree of this tag.
unsafe fn of_role_or_database(node: *mut pg_sys::Node, tag: pg_sys::NodeTag) -> bool {
    use pg_sys::NodeTag as T;
    let kind = match tag {
        // SAFETY: the tag says what it is.
        T::T_GrantStmt => unsafe { (*node.cast::<pg_sys::GrantStmt>()).objtype },
        // SAFETY: as above.
        T::T_RenameStmt => unsafe { (*node.cast::<pg_sys::RenameStmt>()).renameType },
        // SAFETY: as above.
        T::T_AlterOwnerStmt => unsafe { (*node.cast::<pg_sys::AlterOwnerStmt>()).objectType },
        _ => return false,
    };
    kind == pg_sys::ObjectType::OBJECT_DATABASE || kind == pg_sys::ObjectType::OBJECT_ROLE
}

/// Calls [`activation::begin_script`], guarded.
///
/// # Safety
/// - Called by the backend's Postgres thread, where an error may be raised.
#[pg_guard]
unsafe extern "C-unwind" fn begin_script() {
    or_raise(activation::begin_script());
}

/// Called before a statement that may change routines: this backend has to hear of its own changes.
///
/// # Safety
/// - Called by the backend's Postgres thread, where an error may be raised.
#[pg_guard]
unsafe extern "C-unwind" fn watch() {
    if shmem::shared().is_some_and(|shared| shared.is_served_database() != Some(false)) {
        invalidation::watch(annotations::invalidate);
    }
}

/// At most this many mistakes of a comment are warned of; `sse.check` has more of them.
const MAX_WARNINGS: usize = 10;

/// Called after a successful COMMENT.
///
/// # Safety
/// - `statement` points to the parse tree of the COMMENT that core has just carried out.
#[pg_guard]
unsafe extern "C-unwind" fn commented(statement: *mut pg_sys::CommentStmt) {
    // SAFETY: the caller's promise.
    let statement = unsafe { &*statement };
    or_raise(error_room::with(|| {
        look_at_comment(statement);
        Ok(())
    }));
}

fn look_at_comment(statement: &pg_sys::CommentStmt) {
    use pg_sys::ObjectType as T;
    let on_routine =
        [T::OBJECT_FUNCTION, T::OBJECT_PROCEDURE, T::OBJECT_ROUTINE].contains(&statement.objtype);
    let Some(shared) = shmem::shared() else { return };
    if !on_routine || !database::mine_is_served(&shared, || guc::DATABASE.text()) {
        return;
    }
    invalidation::watch(annotations::invalidate);
    let mut relation: pg_sys::Relation = std::ptr::null_mut();
    let lock = pg_sys::AccessShareLock as c_int;
    // SAFETY: the statement has just succeeded, so its object's name resolves; for a routine no relation is
    // opened.
    let address =
        unsafe { pg_sys::get_object_address(statement.objtype, statement.object, &mut relation, lock, true) };
    if address.objectId == pg_sys::InvalidOid {
        return;
    }
    invalidate(address.objectId);
    if !routine::is_temporary(address.objectId) {
        catalog_change::catalog_changed();
    }
    if statement.comment.is_null() || !database::has_extension() {
        return;
    }
    let Some(entry) = or_raise(routine::read(address.objectId)) else { return };
    if !guc::schema_is_served(&entry.routine.schema) {
        return;
    }
    let (problems, advice) = or_raise(annotations::judge(&entry));
    for problem in problems.iter().take(MAX_WARNINGS) {
        crate::pg::report::warning(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            &problem.to_string(),
            &format!(
                "Routine {} publishes nothing and has no URL until that is mended.",
                entry.display_name()
            ),
        );
    }
    for advice in advice {
        crate::pg::report::warning(
            PgSqlErrorCode::ERRCODE_WARNING,
            &advice.to_string(),
            &format!("Routine {} works all the same.", entry.display_name()),
        );
    }
}

/// Sends the invalidation that a change of the routine itself would send: a COMMENT alone sends none.
fn invalidate(oid: pg_sys::Oid) {
    let lock = pg_sys::RowExclusiveLock as c_int;
    // SAFETY: pg_proc exists; the lock is released at the end of the transaction.
    let relation = unsafe { pg_sys::table_open(pg_sys::ProcedureRelationId, lock) };
    let cache = pg_sys::SysCacheIdentifier::PROCOID as c_int;
    // SAFETY: a syscache look-up, answered by NULL for a missing routine.
    let tuple = unsafe { pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(oid)) };
    if !tuple.is_null() {
        // SAFETY: a tuple of the open relation.
        unsafe { pg_sys::CacheInvalidateHeapTuple(relation, tuple, std::ptr::null_mut()) };
        // SAFETY: got from SearchSysCache1 above.
        unsafe { pg_sys::ReleaseSysCache(tuple) };
    }
    // SAFETY: opened above.
    unsafe { pg_sys::table_close(relation, pg_sys::NoLock as c_int) };
    // Core's own CommandCounterIncrement is over. Without another one the message would stay in the list of
    // the current command, and a rollback would leave this session with the outdated annotation.
    // SAFETY: marks the current command as having written.
    unsafe { pg_sys::GetCurrentCommandId(true) };
    // SAFETY: allowed between utility commands of a transaction that is not parallel.
    unsafe { pg_sys::CommandCounterIncrement() };
}
