//! A trigger as the cache of its table has it, and the table that it was made on.
//!
//! Not for: what it publishes (`publish/changes.rs`), and being called (`entry/row_trigger.rs`).

use std::ffi::{CStr, c_char, c_int};

use pgrx::pg_catalog::pg_proc::PgProc;
use pgrx::pg_sys;
use sse_proto::encoding::OutOfMemory;

use super::text::from_server;
use super::want_of_memory;

/// The definition of a trigger, copied.
pub(crate) struct Trigger {
    /// `pg_trigger.oid`
    pub oid: u32,
    /// The table whose rows fire it: the partition, for one that a partition has from its parent.
    pub relation: u32,
    /// Its name.
    pub name: String,
    /// Its arguments, in the database's encoding.
    pub arguments: Vec<Vec<u8>>,
    kind: u32,
}

/// When a trigger fires, if that is not after single rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// `BEFORE`
    Before,
    /// `INSTEAD OF`
    InsteadOf,
    /// `FOR EACH STATEMENT`
    Statement,
    /// `TRUNCATE`
    Truncate,
}

impl Trigger {
    /// Copies a definition.
    ///
    /// # Errors
    /// There is no memory for it, for the columns of the table, and for what is made of both: an argument may
    /// be as long as a statement.
    ///
    /// # Safety
    /// - `trigger` is a valid one of the open `relation`.
    pub(crate) unsafe fn of(
        trigger: *const pg_sys::Trigger,
        relation: pg_sys::Relation,
    ) -> Result<Self, OutOfMemory> {
        // SAFETY: the caller's promise.
        let trigger = unsafe { &*trigger };
        // SAFETY: as above.
        let descriptor = unsafe { (*relation).rd_att };
        // SAFETY: as above.
        let columns = unsafe { (*descriptor).natts };
        // SAFETY: as above.
        let relation = unsafe { (*relation).rd_id };
        let count = usize::try_from(trigger.tgnargs).unwrap_or(0);
        let arguments = (0..count).map(|index| {
            // SAFETY: there are as many arguments as are counted.
            let place = unsafe { trigger.tgargs.add(index) };
            // SAFETY: as above.
            bytes_of(unsafe { *place })
        });
        let of_arguments: usize = arguments.clone().map(<[u8]>::len).sum();
        let of_columns = usize::try_from(columns).unwrap_or(0) * COLUMN_BYTES;
        let of_arguments = ARGUMENT_FACTOR * of_arguments + ARGUMENT_BYTES * count;
        want_of_memory::ask_for(of_arguments + of_columns + REST_BYTES)?;
        Ok(Self {
            oid: trigger.tgoid.to_u32(),
            relation: relation.to_u32(),
            name: from_server(bytes_of(trigger.tgname)),
            arguments: arguments.map(<[u8]>::to_vec).collect(),
            kind: u32::from(trigger.tgtype.cast_unsigned()),
        })
    }

    /// Why it does not fire after single rows, if it does not.
    pub(crate) fn misfit(&self) -> Option<Misfit> {
        let has = |bit: u32| self.kind & bit != 0;
        match () {
            () if has(pg_sys::TRIGGER_TYPE_INSTEAD) => Some(Misfit::InsteadOf),
            () if has(pg_sys::TRIGGER_TYPE_TRUNCATE) => Some(Misfit::Truncate),
            () if !has(pg_sys::TRIGGER_TYPE_ROW) => Some(Misfit::Statement),
            () if has(pg_sys::TRIGGER_TYPE_BEFORE) => Some(Misfit::Before),
            () => None,
        }
    }

    /// The table on which somebody made it: where a partition has it from its parent, the topmost of these.
    /// Locks nothing but the catalog.
    pub(crate) fn made_on(&self) -> u32 {
        let (mut oid, mut relation) = (pg_sys::Oid::from(self.oid), self.relation);
        while let Some(found) = catalog_row(oid) {
            relation = found.relation.to_u32();
            oid = found.parent;
        }
        relation
    }
}

/// A copy of an argument, the same as text, and as the values of a scope.
const ARGUMENT_FACTOR: usize = 16;

/// Its places in lists.
const ARGUMENT_BYTES: usize = 128;

/// A column, its name in JSON, and its place in lists.
const COLUMN_BYTES: usize = 1024;

/// Everything else.
const REST_BYTES: usize = 32 * 1024;

/// A text of a trigger, as long as it is used here.
fn bytes_of<'a>(text: *const c_char) -> &'a [u8] {
    // SAFETY: names and arguments of a trigger are NUL-terminated and live as long as it (reltrigger.h).
    unsafe { CStr::from_ptr(text) }.to_bytes()
}

/// What pg_trigger has of a trigger and its cache has not.
struct Row {
    relation: pg_sys::Oid,
    parent: pg_sys::Oid,
}

fn catalog_row(oid: pg_sys::Oid) -> Option<Row> {
    if oid == pg_sys::InvalidOid {
        return None;
    }
    let lock = pg_sys::AccessShareLock as c_int;
    // SAFETY: pg_trigger exists; the caller is in a transaction.
    let catalog = unsafe { pg_sys::table_open(pg_sys::TriggerRelationId, lock) };
    let mut key = pg_sys::ScanKeyData::default();
    let (column, equal) = (pg_sys::Anum_pg_trigger_oid as i16, pg_sys::BTEqualStrategyNumber as u16);
    // SAFETY: fills the key, which outlives the scan.
    unsafe { pg_sys::ScanKeyInit(&mut key, column, equal, pg_sys::F_OIDEQ.into(), oid.into()) };
    let index = pg_sys::Oid::from(pg_sys::TriggerOidIndexId);
    // SAFETY: the open catalog and its index, with one key; a catalog snapshot of the scan's own.
    let scan = unsafe { pg_sys::systable_beginscan(catalog, index, true, std::ptr::null_mut(), 1, &mut key) };
    // SAFETY: the scan begun above.
    let tuple = unsafe { pg_sys::systable_getnext(scan) };
    // SAFETY: NULL, or a tuple of pg_trigger, whose fixed part is this struct.
    let row = unsafe { pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_trigger>(tuple) };
    // SAFETY: as above; valid until the scan ends.
    let row = unsafe { row.as_ref() }.map(|row| Row { relation: row.tgrelid, parent: row.tgparentid });
    // SAFETY: begun above.
    unsafe { pg_sys::systable_endscan(scan) };
    // SAFETY: opened above.
    unsafe { pg_sys::table_close(catalog, lock) };
    row
}

/// The trigger of this name in the cache of an open table; NULL when it has none.
///
/// # Safety
/// - `relation` is open, `name` NUL-terminated.
pub(crate) unsafe fn find(relation: pg_sys::Relation, name: *const c_char) -> *const pg_sys::Trigger {
    // SAFETY: the caller's promise.
    let triggers = unsafe { (*relation).trigdesc };
    // SAFETY: NULL without triggers, else in the cache of the open table.
    let Some(triggers) = (unsafe { triggers.as_ref() }) else { return std::ptr::null() };
    let count = usize::try_from(triggers.numtriggers).unwrap_or(0);
    // SAFETY: the caller's promise.
    let wanted = unsafe { CStr::from_ptr(name) };
    let all = (0..count).map(|index| {
        // SAFETY: there are as many as are counted.
        unsafe { triggers.triggers.add(index) }.cast_const()
    });
    let mut named = all.filter(|trigger| {
        // SAFETY: as above.
        let name = unsafe { (**trigger).tgname };
        // SAFETY: NUL-terminated, in the cache of the open table.
        unsafe { CStr::from_ptr(name) == wanted }
    });
    named.next().unwrap_or(std::ptr::null())
}

/// Whether a function is the one of this library with this symbol, under whatever name.
pub(crate) fn is_of_library(function: pg_sys::Oid, symbol: &str) -> bool {
    PgProc::new(function)
        .is_some_and(|proc| proc.prolang() == pg_sys::Oid::from(C_LANGUAGE) && proc.prosrc() == symbol)
}

/// Oid of the language C (pg_language.dat: given by hand, the same in every version).
const C_LANGUAGE: u32 = 13;
