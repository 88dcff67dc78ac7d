//! The functions and procedures of a name, for who names one without its arguments (C7.6).
//!
//! The catalog is scanned, and of each only what is asked for is read: a look-up in the cache of routines
//! would leave all of it in this process, with a body that may have a gigabyte, of functions that anybody
//! may add to the name.
//!
//! Not for: which of them is meant (`sse_proto::route::meant`).

use std::ffi::{CString, c_int};

use pgrx::datum::Array;
use pgrx::{FromDatum, pg_sys};
use sse_proto::call::USER_PARAMETERS;
use sse_proto::encoding::OutOfMemory;

use super::text::to_server;

/// A function or procedure of a name.
pub(crate) struct Namesake {
    /// `pg_proc.oid`
    pub oid: u32,
    /// Else it is a procedure.
    pub is_function: bool,
    /// Whether it takes nothing but user parameters.
    pub fits: bool,
}

/// Those of this schema and name, both in UTF-8. For where the catalog may be read.
///
/// # Errors
/// There is no memory for them: anybody may have made very many.
pub(crate) fn of(schema: &str, name: &str) -> Result<Vec<Namesake>, OutOfMemory> {
    let (Ok(schema), Ok(name)) = (CString::new(to_server(schema)), CString::new(to_server(name))) else {
        return Ok(Vec::new());
    };
    // SAFETY: a syscache look-up that answers InvalidOid for a missing schema.
    let schema = unsafe { pg_sys::get_namespace_oid(schema.as_ptr(), true) };
    let mut wanted = pg_sys::NameData::default();
    // SAFETY: copies as much of a NUL-terminated text as fits.
    unsafe { pg_sys::namestrcpy(&mut wanted, name.as_ptr()) };
    let lock = pg_sys::AccessShareLock as c_int;
    // SAFETY: pg_proc exists; the caller is in a transaction.
    let catalog = unsafe { pg_sys::table_open(pg_sys::ProcedureRelationId, lock) };
    let mut key = pg_sys::ScanKeyData::default();
    let (column, equal) = (pg_sys::Anum_pg_proc_proname as i16, pg_sys::BTEqualStrategyNumber as u16);
    let value = pg_sys::Datum::from(&raw mut wanted);
    // SAFETY: fills the key; it and the name outlive the scan.
    unsafe { pg_sys::ScanKeyInit(&mut key, column, equal, pg_sys::F_NAMEEQ.into(), value) };
    let index = pg_sys::Oid::from(pg_sys::ProcedureNameArgsNspIndexId);
    // SAFETY: the open catalog and its index, with one key; a catalog snapshot of the scan's own.
    let scan = unsafe { pg_sys::systable_beginscan(catalog, index, true, std::ptr::null_mut(), 1, &mut key) };
    let mut found = Vec::new();
    let mut has_memory = true;
    while has_memory {
        pgrx::check_for_interrupts!();
        // SAFETY: the scan begun above.
        let tuple = unsafe { pg_sys::systable_getnext(scan) };
        // SAFETY: NULL, or a tuple of pg_proc, whose fixed part is this struct.
        let row = unsafe { pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_proc>(tuple) };
        // SAFETY: as above; valid until the next tuple is fetched.
        let Some(row) = (unsafe { row.as_ref() }) else { break };
        let is_function = row.prokind.cast_unsigned() == pg_sys::PROKIND_FUNCTION;
        let is_procedure = row.prokind.cast_unsigned() == pg_sys::PROKIND_PROCEDURE;
        if row.pronamespace != schema || !(is_function || is_procedure) {
            continue;
        }
        let inputs = usize::try_from(row.pronargs).unwrap_or(0);
        // Names of inputs are unique, so more of them need not be looked at.
        let fits = inputs == 0
            || inputs <= USER_PARAMETERS.len() && {
                // SAFETY: a tuple of this open table.
                unsafe { has_user_inputs_alone(tuple, catalog) }
            };
        has_memory = found.try_reserve(1).is_ok();
        if has_memory {
            found.push(Namesake { oid: row.oid.to_u32(), is_function, fits });
        }
    }
    // SAFETY: begun above.
    unsafe { pg_sys::systable_endscan(scan) };
    // SAFETY: opened above.
    unsafe { pg_sys::table_close(catalog, lock) };
    if has_memory { Ok(found) } else { Err(OutOfMemory) }
}

/// Whether all of its inputs have the name of a user parameter.
///
/// # Safety
/// - `tuple` is one of pg_proc, which is open as `catalog`.
unsafe fn has_user_inputs_alone(tuple: pg_sys::HeapTuple, catalog: pg_sys::Relation) -> bool {
    let (names, modes) = (pg_sys::Anum_pg_proc_proargnames, pg_sys::Anum_pg_proc_proargmodes);
    // SAFETY: the caller's promise; this column is text[].
    let names: Option<Array<'_, &[u8]>> = unsafe { column(tuple, catalog, names) };
    // SAFETY: as above; "char"[].
    let modes: Option<Array<'_, i8>> = unsafe { column(tuple, catalog, modes) };
    let Some(names) = names else { return false };
    let is_known = |name: Option<&[u8]>| {
        name.is_some_and(|name| USER_PARAMETERS.iter().any(|known| known.as_bytes() == name))
    };
    let is_input = |mode: Option<i8>| !matches!(mode.map(i8::cast_unsigned), Some(b'o' | b't'));
    match modes {
        None => names.iter().all(is_known),
        Some(modes) => {
            let mut inputs = names.iter().zip(modes.iter()).filter(|(_, mode)| is_input(*mode));
            inputs.all(|(name, _)| is_known(name))
        }
    }
}

/// A column of a tuple; `None` for NULL.
///
/// # Safety
/// - `tuple` is one of `relation`, which is open; its column of this number has the type `T`.
unsafe fn column<T: FromDatum>(
    tuple: pg_sys::HeapTuple,
    relation: pg_sys::Relation,
    number: u32,
) -> Option<T> {
    // SAFETY: the caller's promise.
    let columns = unsafe { (*relation).rd_att };
    let mut is_null = false;
    // SAFETY: as above.
    let datum = unsafe { pg_sys::heap_getattr(tuple, number as c_int, columns, &mut is_null) };
    // SAFETY: as above.
    unsafe { T::from_datum(datum, is_null) }
}
