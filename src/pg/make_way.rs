//! Gets our sessions out of the way of a statement that needs the served database for itself: DROP DATABASE,
//! ALTER DATABASE … RENAME TO and SET TABLESPACE, CREATE DATABASE … TEMPLATE.
//!
//! Postgres waits five seconds for other sessions of the database to end, and then fails. Call workers
//! and the follower are such sessions: the gateway ends the former, and the latter leaves; core's own wait
//! does the rest. The gateway and the catalog worker need nothing: the gateway has no connection, and the
//! catalog worker leaves by itself.
//!
//! Not for: other databases, nor for users who may not run the statement anyway.

use std::ffi::{CStr, c_char};

use pgrx::pg_sys;

use super::{clock, compat, shmem};

/// How long the workers stay away if the statement fails; if it succeeds they may come back at once. Longer
/// than core's wait of five seconds (procarray.c, `CountOtherDBBackends`).
const AWAY_MICROSECONDS: i64 = 8_000_000;

/// Called before a statement. If it needs the served database for itself, the workers are sent away, and the
/// result is `true`: call [`come_back`] when the statement has succeeded.
///
/// # Safety
/// - `node` is the parse tree of a utility statement that is about to be run, in a transaction.
pub(super) unsafe fn make_way(node: *mut pg_sys::Node, served: fn() -> String) -> bool {
    let Some(shared) = shmem::shared() else { return false };
    // SAFETY: the caller's promise.
    let Some(name) = (unsafe { wanted_database(node) }) else { return false };
    // SAFETY: a NUL-terminated name of the parse tree.
    let text = unsafe { CStr::from_ptr(name) };
    if text.to_bytes() != served().as_bytes() {
        return false;
    }
    // SAFETY: a catalog look-up that answers InvalidOid for a missing database.
    let oid = unsafe { pg_sys::get_database_oid(name, true) };
    if oid == pg_sys::InvalidOid || !compat::owns_database(oid) {
        return false;
    }
    shared.header.follower.set_leave_until(clock::now_microseconds() + AWAY_MICROSECONDS);
    shared.wake_gateway();
    true
}

/// After the statement has succeeded.
pub(super) fn come_back() {
    if let Some(shared) = shmem::shared() {
        shared.header.follower.set_leave_until(0);
        shared.wake_gateway();
    }
}

/// The database that a statement needs without other sessions.
///
/// # Safety
/// - As [`make_way`].
unsafe fn wanted_database(node: *mut pg_sys::Node) -> Option<*const c_char> {
    use pg_sys::NodeTag as T;
    // SAFETY: every node begins with its tag.
    let name = match unsafe { (*node).type_ } {
        // SAFETY: the tag says what it is.
        T::T_DropdbStmt => unsafe { (*node.cast::<pg_sys::DropdbStmt>()).dbname },
        T::T_RenameStmt => {
            // SAFETY: the tag says what it is.
            let statement = unsafe { &*node.cast::<pg_sys::RenameStmt>() };
            if statement.renameType != pg_sys::ObjectType::OBJECT_DATABASE {
                return None;
            }
            statement.subname
        }
        T::T_AlterDatabaseStmt => {
            // SAFETY: the tag says what it is.
            let statement = unsafe { &*node.cast::<pg_sys::AlterDatabaseStmt>() };
            // SAFETY: a list of options.
            unsafe { option(statement.options, c"tablespace") }?;
            statement.dbname
        }
        T::T_CreatedbStmt => {
            // SAFETY: the tag says what it is.
            let statement = unsafe { &*node.cast::<pg_sys::CreatedbStmt>() };
            // SAFETY: a list of options.
            match unsafe { option(statement.options, c"template") } {
                // SAFETY: an option of that list, whose value is a name.
                Some(template) => unsafe { pg_sys::defGetString(template) },
                None => c"template1".as_ptr().cast_mut(),
            }
        }
        _ => return None,
    };
    (!name.is_null()).then_some(name.cast_const())
}

/// # Safety
/// - `options` is NULL or a list of `DefElem`.
unsafe fn option(options: *mut pg_sys::List, name: &CStr) -> Option<*mut pg_sys::DefElem> {
    if options.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let list = unsafe { &*options };
    for index in 0..usize::try_from(list.length).unwrap_or(0) {
        // SAFETY: below the list's length.
        let cell = unsafe { list.elements.add(index) };
        // SAFETY: as above.
        let cell = unsafe { *cell };
        // SAFETY: a list of pointers.
        let element = unsafe { cell.ptr_value }.cast::<pg_sys::DefElem>();
        // SAFETY: a DefElem of the parse tree.
        let defname = unsafe { (*element).defname };
        // SAFETY: NUL-terminated.
        if unsafe { CStr::from_ptr(defname) } == name {
            return Some(element);
        }
    }
    None
}
