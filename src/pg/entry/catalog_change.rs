//! Telling the gateway, when a transaction has committed, that routines or roles have changed.
//!
//! Two ways lead here: statements that report their changes themselves ([`catalog_changed`],
//! [`roles_changed`]), and what inval.c tells of everything else (`watched.rs`).
//!
//! Not for: what the gateway does then (`worker/gateway/reader.rs`).

use std::cell::Cell;
use std::ffi::c_void;

use pgrx::pg_sys;

use crate::pg::shmem;
use crate::pg::watched::{self, Change};

thread_local! {
    /// This transaction changed a routine, a schema or a comment.
    static CATALOG_CHANGED: Cell<bool> = const { Cell::new(false) };
    /// This transaction changed a role. It may be in any database: roles are shared by all of them.
    static ROLES_CHANGED: Cell<bool> = const { Cell::new(false) };
}

/// To be called once, from `_PG_init` in the postmaster; every backend inherits the callback.
pub(crate) fn install() {
    // SAFETY: registers a plain function with the life time of the library, which is never unloaded.
    unsafe { pg_sys::RegisterResourceReleaseCallback(Some(at_resource_release), std::ptr::null_mut()) };
}

/// A routine, schema or comment was changed by this transaction: the gateway is told when it has committed.
pub(crate) fn catalog_changed() {
    CATALOG_CHANGED.set(true);
}

/// A role, a membership or a privilege was changed by this transaction, in any database.
pub(crate) fn roles_changed() {
    ROLES_CHANGED.set(true);
}

/// The gateway is told about changed routines here and not at XACT_EVENT_COMMIT: AtEOXact_Inval, which tells
/// the other sessions' caches, runs between the two. Allocates nothing, cannot fail.
unsafe extern "C-unwind" fn at_resource_release(
    phase: pg_sys::ResourceReleasePhase::Type,
    is_commit: bool,
    is_top_level: bool,
    _: *mut c_void,
) {
    if phase != pg_sys::ResourceReleasePhase::RESOURCE_RELEASE_LOCKS || !is_top_level {
        return;
    }
    let (catalog, roles) = (CATALOG_CHANGED.replace(false), ROLES_CHANGED.replace(false));
    let Some(shared) = shmem::shared() else { return };
    let change = watched::take(&shared.header.watched, shared.certain_changes());
    if !is_commit {
        return;
    }
    let is_served = shared.is_served_database() == Some(true);
    if roles || is_served && (catalog || change == Change::Certain) {
        shared.announce_catalog_change();
    } else if is_served && change == Change::Possible {
        shared.announce_possible_change();
    }
}
