//! The columns, the name and the primary key of a table, as the catalog has them.
//!
//! Not for its rows (`row.rs`).

use std::ffi::{CStr, CString, c_char, c_int};

use pgrx::{PgTupleDesc, pg_sys};

use super::text::from_server;

unsafe extern "C-unwind" {
    // pg_constraint.h, which is not among pgrx' headers.
    fn get_primary_key_attnos(
        relation: pg_sys::Oid,
        deferrable_ok: bool,
        constraint: *mut pg_sys::Oid,
    ) -> *mut pg_sys::Bitmapset;
}

/// A column that is there: not dropped, and none of the system's.
pub(crate) struct Column {
    /// Its name, in the database's encoding.
    pub name: CString,
    /// Whether it is computed when it is read (18), so that no row that is stored has it.
    pub is_virtual: bool,
    pub(super) number: i16,
    pub(super) type_oid: pg_sys::Oid,
    pub(super) modifier: i32,
    pub(super) length: i16,
    pub(super) is_by_value: bool,
}

/// The columns of an open table, in their order.
///
/// # Safety
/// - `relation` is open.
pub(crate) unsafe fn columns(relation: pg_sys::Relation) -> Vec<Column> {
    // SAFETY: the caller's promise.
    let descriptor = unsafe { (*relation).rd_att };
    // SAFETY: as above; it is borrowed for this function only.
    let descriptor = unsafe { PgTupleDesc::from_pg_unchecked(descriptor) };
    let present = descriptor.iter().filter(|attribute| !attribute.attisdropped);
    present
        .map(|attribute| Column {
            name: c_text(&attribute.attname.data),
            is_virtual: attribute.attgenerated == b'v' as c_char,
            number: attribute.attnum,
            type_oid: attribute.atttypid,
            modifier: attribute.atttypmod,
            length: attribute.attlen,
            is_by_value: attribute.attbyval,
        })
        .collect()
}

fn c_text(name: &[c_char]) -> CString {
    CString::new(name.iter().map(|c| *c as u8).take_while(|c| *c != 0).collect::<Vec<_>>())
        .unwrap_or_default()
}

/// Schema and name of a table; `None` when it is gone. Locks nothing.
pub(crate) fn name(relation: u32) -> Option<(String, String)> {
    let relation = pg_sys::Oid::from(relation);
    // SAFETY: a syscache look-up that answers InvalidOid for a missing table; the caller is in a transaction.
    let schema = unsafe { pg_sys::get_rel_namespace(relation) };
    // SAFETY: as above, NULL for a missing one, else a copy that is the caller's.
    let schema = unsafe { pg_sys::get_namespace_name(schema) };
    // SAFETY: as above.
    let name = unsafe { pg_sys::get_rel_name(relation) };
    Some((take(schema)?, take(name)?))
}

/// Takes over a palloc'd name, as UTF-8.
fn take(name: *mut c_char) -> Option<String> {
    if name.is_null() {
        return None;
    }
    // SAFETY: NUL-terminated, as the caller says.
    let text = from_server(unsafe { CStr::from_ptr(name) }.to_bytes());
    // SAFETY: palloc'd, not used any more.
    unsafe { pg_sys::pfree(name.cast()) };
    Some(text)
}

/// The place of a column in this table, 0 when the table has none of that name. Locks nothing.
pub(crate) fn place_of(relation: u32, column: &CStr) -> i16 {
    // SAFETY: a syscache look-up that answers 0 for a missing column, with a NUL-terminated name.
    unsafe { pg_sys::get_attnum(pg_sys::Oid::from(relation), column.as_ptr()) }
}

/// The names of the primary key's columns, in the database's encoding and in the table's order. Empty without
/// a primary key. Locks nothing but the catalog.
pub(crate) fn primary_key(relation: u32) -> Vec<CString> {
    let relation = pg_sys::Oid::from(relation);
    let mut constraint = pg_sys::InvalidOid;
    // SAFETY: scans pg_constraint; the caller is in a transaction. NULL without a primary key.
    let find = || unsafe { get_primary_key_attnos(relation, true, &mut constraint) };
    // SAFETY: this is the backend's one Postgres thread.
    let columns = unsafe { pg_sys::ffi::pg_guard_ffi_boundary(find) };
    let mut names = Vec::new();
    let mut member: c_int = -1;
    loop {
        // SAFETY: NULL, which has no members, or the set from above.
        member = unsafe { pg_sys::bms_next_member(columns, member) };
        if member < 0 {
            return names;
        }
        let number = i16::try_from(member + pg_sys::FirstLowInvalidHeapAttributeNumber).unwrap_or(0);
        // SAFETY: a syscache look-up, answered by NULL for a missing column.
        let name = unsafe { pg_sys::get_attname(relation, number, true) };
        if !name.is_null() {
            // SAFETY: a palloc'd, NUL-terminated copy.
            names.push(unsafe { CStr::from_ptr(name) }.to_owned());
        }
    }
}
