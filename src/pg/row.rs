//! Rows of a table, as far as they are shown: their columns as one JSON object, what that has at the least,
//! and whether two rows differ.
//!
//! What a row needs is in the memory in which the trigger is called; trigger.c (AfterTriggerExecute) empties
//! it after each row. The functions that may raise are called in `entry/row_trigger.rs`, where no value with
//! a destructor is in the way of an error.
//!
//! Not for: which columns those are (`publish/changes.rs`), and how a value is written (`row_json.rs`).

use std::ffi::c_int;

use pgrx::pg_sys;
use pgrx::varlena::varsize_any;

use super::raw;
use super::row_json::{self, Writer};
use super::row_size::Size;
use super::row_size::kind::{Longest, is_text};
use super::table::Column;

/// Some columns of a table, in the order in which they are shown.
pub(crate) struct Shape(Vec<Place>);

/// Where a column's value is in the row of its table.
struct Place {
    index: usize,
    type_oid: pg_sys::Oid,
    length: i16,
    is_by_value: bool,
    /// What one byte of it becomes at the least.
    weight: Weight,
    /// What its JSON has at the most, where that is known without looking into it.
    longest: Longest,
    writer: Writer,
}

/// How the length of a value as JSON follows from its length in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// No less, for certain.
    Text,
    /// No less than a part of this, of all types that Postgres has: an empty `name` in an array has 64 bytes,
    /// and is two quotes and a comma.
    Other,
}

/// See [`Weight::Other`].
const OTHER_PART: usize = 32;

impl Shape {
    /// These columns, in this order.
    pub(crate) fn new(columns: &[&Column]) -> Self {
        Self(columns.iter().map(|column| Place::of(column)).collect())
    }
}

impl Place {
    fn of(column: &Column) -> Self {
        let weight = if is_text(column.type_oid) { Weight::Text } else { Weight::Other };
        Self {
            index: usize::try_from(column.number - 1).unwrap_or(usize::MAX),
            type_oid: column.type_oid,
            length: column.length,
            is_by_value: column.is_by_value,
            weight,
            longest: Longest::of(column.type_oid),
            writer: Writer::new(column),
        }
    }
}

/// The values of one row of a table, valid until the memory in which it was read is emptied.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    values: *const pg_sys::Datum,
    nulls: *const bool,
    count: usize,
}

impl Row {
    /// Reads a row. Allocates in the current memory; may raise for want of it.
    ///
    /// # Safety
    /// - `tuple` is a row of `descriptor`, both valid as long as the result is used.
    /// - The caller owns nothing with a destructor.
    pub(super) unsafe fn read(tuple: pg_sys::HeapTuple, descriptor: pg_sys::TupleDesc) -> Self {
        // SAFETY: the caller's promise.
        let count = usize::try_from(unsafe { (*descriptor).natts }).unwrap_or(0);
        // SAFETY: the caller's promise; at least one byte.
        let values = unsafe { raw::palloc((count + 1) * size_of::<pg_sys::Datum>()) };
        // SAFETY: as above.
        let nulls = unsafe { raw::palloc(count + 1) };
        let (values, nulls) = (values.cast::<pg_sys::Datum>(), nulls.cast::<bool>());
        // SAFETY: room for as many as the descriptor has.
        unsafe { raw::heap_deform_tuple(tuple, descriptor, values, nulls) };
        Self { values, nulls, count }
    }

    /// The value of a column; `None` when it is NULL, or the row has no such column.
    fn value(&self, place: &Place) -> Option<pg_sys::Datum> {
        if place.index >= self.count {
            return None;
        }
        // SAFETY: below the count, filled by `read`.
        let null = unsafe { self.nulls.add(place.index) };
        // SAFETY: as above.
        if unsafe { *null } {
            return None;
        }
        // SAFETY: as above.
        let value = unsafe { self.values.add(place.index) };
        // SAFETY: as above.
        Some(unsafe { *value })
    }
}

/// How many bytes of JSON the row becomes at the least. Reads no value that is stored elsewhere.
///
/// # Safety
/// - `row` is a row of the table that the shape was made for.
pub(super) unsafe fn least_bytes(shape: &Shape, row: Row) -> usize {
    let varying = shape.0.iter().filter(|place| place.length == -1);
    let bytes = varying.filter_map(|place| Some((place, row.value(place)?))).map(|(place, value)| {
        // SAFETY: a value of varying length; reads its head alone, and raises nothing.
        let bytes = unsafe { raw::toast_raw_datum_size(value) }.saturating_sub(pg_sys::VARHDRSZ);
        if place.weight == Weight::Text { bytes } else { bytes / OTHER_PART }
    });
    bytes.fold(0, usize::saturating_add)
}

/// More than `most` bytes of JSON that the rows become at the least, counted value by value; `None`: not so
/// many. For rows that are small enough in memory ([`least_bytes`]). May raise.
///
/// # Safety
/// - As [`least_bytes`], for each row and its shape; the caller owns nothing with a destructor.
pub(super) unsafe fn excess_bytes(rows: [(Option<&Shape>, Option<Row>); 3], most: usize) -> Option<usize> {
    let mut size = Size::new(most);
    for (shape, row) in rows {
        let (Some(shape), Some(row)) = (shape, row) else { continue };
        let counted = |place: &&Place| place.length == -1 && place.weight == Weight::Other;
        for place in shape.0.iter().filter(counted) {
            let Some(value) = row.value(place) else { continue };
            // SAFETY: of varying length; reads its head alone, and raises nothing.
            let stored = unsafe { raw::toast_raw_datum_size(value) };
            if !place.longest.of_stored(stored).is_some_and(|longest| size.leave(longest)) {
                // SAFETY: the column's value; the rest is the caller's promise.
                unsafe { size.count(place.type_oid, value) };
            }
        }
    }
    size.excess()
}

/// Whether two rows differ in a column of the shape, byte by byte. May raise.
///
/// # Safety
/// - As [`least_bytes`], for both; the caller owns nothing with a destructor.
pub(super) unsafe fn differ(shape: &Shape, one: Row, other: Row) -> bool {
    for place in &shape.0 {
        let is_same = match (one.value(place), other.value(place)) {
            (Some(one), Some(other)) => {
                // SAFETY: two values of the type that the column has.
                unsafe { raw::datum_image_eq(one, other, place.is_by_value, c_int::from(place.length)) }
            }
            (one, other) => one.is_none() && other.is_none(),
        };
        if !is_same {
            return true;
        }
    }
    false
}

/// Whether two values of a column are stored alike, so that they are written alike. Fetches and unpacks
/// nothing: a value that is stored elsewhere is the one that it points to. Raises nothing.
fn is_stored_alike(place: &Place, one: Option<pg_sys::Datum>, other: Option<pg_sys::Datum>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return one.is_none() && other.is_none() };
    if place.is_by_value {
        return one == other;
    }
    // SAFETY: two values of the column.
    let bytes = |value| unsafe { stored_bytes(place, value) };
    bytes(one).is_some_and(|one| bytes(other) == Some(one))
}

/// # Safety
/// - `value` is one of the place's column, and not passed by value.
unsafe fn stored_bytes<'a>(place: &Place, value: pg_sys::Datum) -> Option<&'a [u8]> {
    let start = value.cast_mut_ptr::<u8>().cast_const();
    let length = match usize::try_from(place.length) {
        Ok(length) => length,
        // SAFETY: the caller's promise; reads its head alone.
        Err(_) if place.length == -1 => unsafe { varsize_any(start.cast()) },
        Err(_) => return None,
    };
    // SAFETY: as many bytes are in the row.
    Some(unsafe { std::slice::from_raw_parts(start, length) })
}

/// A row as JSON, in memory of Postgres.
#[derive(Clone, Copy)]
pub(crate) struct Json {
    text: pg_sys::StringInfo,
    row: Row,
    /// Where each member ends, of as many as the shape has.
    ends: *const usize,
}

impl Json {
    /// In the database's encoding.
    ///
    /// # Safety
    /// - The memory in which it was made has not been emptied since.
    pub(super) unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: made by `json`, after which nothing is appended; the rest is the caller's promise.
        unsafe { row_json::bytes_of(self.text) }
    }

    /// The member of a column, with the brace or comma before it.
    ///
    /// # Safety
    /// - As [`Self::bytes`]; its shape has this many columns.
    unsafe fn member<'a>(self, index: usize) -> &'a [u8] {
        let end = |index: usize| {
            // SAFETY: the caller's promise.
            let end = unsafe { self.ends.add(index) };
            // SAFETY: as above; `json` has filled it.
            unsafe { *end }
        };
        let start = index.checked_sub(1).map_or(0, end);
        // SAFETY: the caller's promise.
        unsafe { self.bytes() }.get(start..end(index)).unwrap_or_default()
    }
}

/// The shape's columns of a row, as a JSON object. What it has in common with a row that is `written`
/// already, in the same shape, is taken from there. May raise: what a type's own output or cast raises.
///
/// # Safety
/// - As [`least_bytes`]; the caller owns nothing with a destructor.
pub(super) unsafe fn json(shape: &Shape, row: Row, written: Option<Json>) -> Json {
    let text = raw::makeStringInfo();
    // SAFETY: at least one byte.
    let ends = unsafe { raw::palloc((shape.0.len() + 1) * size_of::<usize>()) }.cast::<usize>();
    for (index, place) in shape.0.iter().enumerate() {
        let value = row.value(place);
        match written {
            Some(other) if is_stored_alike(place, value, other.row.value(place)) => {
                // SAFETY: of the same shape, in the same memory.
                let member = unsafe { other.member(index) };
                // SAFETY: just made.
                unsafe { row_json::append(text, member) };
            }
            _ => {
                // SAFETY: as above.
                unsafe { row_json::append(text, if index == 0 { b"{" } else { b"," }) };
                // SAFETY: as above; the value is the column's.
                unsafe { place.writer.write(text, value) };
            }
        }
        // SAFETY: below the number of columns.
        let end = unsafe { ends.add(index) };
        // SAFETY: as above.
        let so_far = unsafe { row_json::bytes_of(text) }.len();
        // SAFETY: as above.
        unsafe { end.write(so_far) };
    }
    let end: &[u8] = if shape.0.is_empty() { b"{}" } else { b"}" };
    // SAFETY: as above.
    unsafe { row_json::append(text, end) };
    Json { text, row, ends }
}
