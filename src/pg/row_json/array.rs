//! Arrays of the types of every day as JSON, as `row_to_json` writes them: `[1,null]`, and an array in an
//! array for each dimension; bounds are not told.
//!
//! Not for: arrays of other types, which `row_to_json` writes itself (`row_json.rs`).

use std::ffi::{c_char, c_int};
use std::ptr::null_mut;

use pgrx::pg_sys;

use super::Way;
use super::text::append;
use crate::pg::raw;

/// How the elements of an array are stored and written.
pub(super) struct Elements {
    way: Way,
    type_oid: pg_sys::Oid,
    length: i16,
    is_by_value: bool,
    alignment: c_char,
}

/// The elements of one array, in the memory of the row.
struct Values {
    sizes: *const c_int,
    dimensions: c_int,
    values: *const pg_sys::Datum,
    nulls: *const bool,
    /// The next one.
    next: usize,
}

impl Elements {
    /// Those of an array type; `None`: it is none, or its elements are of another type than those of every
    /// day.
    pub(super) fn of(array: pg_sys::Oid) -> Option<Self> {
        // SAFETY: a syscache look-up that answers InvalidOid for what is no array.
        let type_oid = unsafe { pg_sys::get_element_type(array) };
        let way = Way::of_plain(type_oid)?;
        let (mut length, mut is_by_value, mut alignment) = (0, false, 0);
        // SAFETY: a type of the catalog; fills the other three.
        unsafe { pg_sys::get_typlenbyvalalign(type_oid, &mut length, &mut is_by_value, &mut alignment) };
        Some(Self { way, type_oid, length, is_by_value, alignment })
    }

    /// Appends an array; `false`: nothing, because its elements are of another type than the column's are.
    /// May raise.
    ///
    /// # Safety
    /// - `array` is an array; the caller owns nothing with a destructor.
    pub(super) unsafe fn write(&self, text: pg_sys::StringInfo, array: pg_sys::Datum) -> bool {
        let stored = array.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: of varying length.
        let whole = unsafe { raw::pg_detoast_datum(stored) };
        let array = whole.cast::<pg_sys::ArrayType>();
        // SAFETY: whole.
        let head = unsafe { &*array };
        if head.elemtype != self.type_oid {
            return false;
        }
        // SAFETY: as above; the dimensions are after the head (array.h).
        let sizes = unsafe { array.add(1) }.cast::<c_int>();
        let dimensions = head.ndim;
        // SAFETY: as above.
        let count = unsafe { raw::ArrayGetNItems(dimensions, sizes) };
        if count <= 0 {
            // SAFETY: the caller's promise.
            unsafe { append(text, b"[]") };
            return true;
        }
        let (mut values, mut nulls, mut taken) = (null_mut(), null_mut(), 0);
        let (length, is_by_value) = (c_int::from(self.length), self.is_by_value);
        // SAFETY: a whole array of such elements; fills the last three.
        unsafe {
            raw::deconstruct_array(
                array,
                self.type_oid,
                length,
                is_by_value,
                self.alignment,
                &mut values,
                &mut nulls,
                &mut taken,
            );
        };
        let mut found = Values { sizes, dimensions, values, nulls, next: 0 };
        // SAFETY: an array of at least one dimension, taken apart.
        unsafe { self.write_dimension(text, &mut found, 0) };
        // SAFETY: made above, used by nobody any more.
        unsafe { raw::pfree(values.cast()) };
        // SAFETY: as above.
        unsafe { raw::pfree(nulls.cast()) };
        if whole != stored {
            // SAFETY: a copy, used by nobody any more.
            unsafe { raw::pfree(whole.cast()) };
        }
        true
    }

    /// # Safety
    /// - `found` has this dimension, and as many values as the product of its sizes; the caller owns nothing
    ///   with a destructor.
    unsafe fn write_dimension(&self, text: pg_sys::StringInfo, found: &mut Values, dimension: c_int) {
        // SAFETY: the caller's promise; there are at most six.
        let size = unsafe { found.sizes.offset(dimension as isize) };
        // SAFETY: as above.
        let size = unsafe { *size };
        for index in 0..size {
            // SAFETY: as above.
            unsafe { append(text, if index == 0 { b"[" } else { b"," }) };
            if dimension + 1 < found.dimensions {
                // SAFETY: as above.
                unsafe { self.write_dimension(text, found, dimension + 1) };
                continue;
            }
            // SAFETY: as above.
            let value = unsafe { found.take() };
            // SAFETY: an element; the rest is the caller's promise.
            unsafe { self.way.write(text, value) };
        }
        // SAFETY: as above.
        unsafe { append(text, b"]") };
    }
}

impl Values {
    /// The next element; `None` is NULL.
    ///
    /// # Safety
    /// - There is one more.
    unsafe fn take(&mut self) -> Option<pg_sys::Datum> {
        let index = self.next;
        self.next += 1;
        // SAFETY: the caller's promise.
        let null = unsafe { self.nulls.add(index) };
        // SAFETY: as above.
        if unsafe { *null } {
            return None;
        }
        // SAFETY: as above.
        let value = unsafe { self.values.add(index) };
        // SAFETY: as above.
        Some(unsafe { *value })
    }
}
