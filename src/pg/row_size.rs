//! How many bytes of JSON a value becomes at the least, where its length in memory does not tell: ten bytes
//! of numeric may be 131,072 digits, a bit of an array is a `null`, and a composite has names.
//!
//! It is counted so closely that whatever is not too large fits into a text of Postgres, a gigabyte: an error
//! of the trigger would end the statement. What cannot be that large is not looked at value by value (see
//! `row_size/sum.rs`). That leaves the types of others whose output is a thousand times as long as the value.
//!
//! Looked up and called as `row_to_json` does it; so it may raise what that would raise.
//!
//! Not for: what kinds of types there are (`row_size/kind.rs`), how long a value is (`row_size/length.rs`),
//! what is too much (`row_size/sum.rs`), how the values are written (`row_json.rs`), and texts that are
//! columns themselves (`row.rs`).

pub(super) mod kind;
mod length;
mod sum;

use std::ffi::{CStr, c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr::null_mut;

use pgrx::varlena::{vardata_any, varsize_any, varsize_any_exhdr};
use pgrx::{PgTupleDesc, pg_sys};

use self::kind::Kind;
use self::length::{escaped_bytes, numeric_bytes};
use self::sum::{QUOTED, QUOTED_IN_JSON, Sum};
use super::raw;

/// What is counted of a row.
pub(super) struct Size {
    sum: Sum,
    /// Values so far.
    seen: usize,
}

/// Values that are counted between two looks whether the statement was cancelled: some milliseconds.
const VALUES_AT_ONCE: usize = 65_536;

/// No element of an array of a plain type takes more, with its quotes and its comma: a timestamp with time
/// zone before Christ, with microseconds, has 43.
const PLAIN_BYTES: usize = 48;

/// A value of any other type is at most so many times as long as JSON: a bit string eight times, a text of
/// quotes, quoted once more, twelve times …
const OTHER_FACTOR: usize = 16;

/// … and this much more: a `regclass` is two names, of 63 bytes each that may all have to be escaped.
const OTHER_BYTES: usize = 1024;

/// A larger value of another type counts as too large: its text may have more than a gigabyte, so that it
/// cannot even be written down to be counted.
const LARGEST_OTHER: usize = 1024 * 1024 * 1024 / OTHER_FACTOR - OTHER_BYTES;

impl Size {
    /// Nothing so far, and `most` that may be counted.
    pub(super) fn new(most: usize) -> Self {
        Self { sum: Sum::new(most), seen: 0 }
    }

    /// What has been counted, if that is too much.
    pub(super) fn excess(&self) -> Option<usize> {
        self.sum.excess()
    }

    /// Whether a value whose JSON is no longer than `longest` can be left uncounted.
    pub(super) fn leave(&mut self, longest: usize) -> bool {
        self.sum.leave(longest)
    }

    /// Lets a statement be cancelled. May raise.
    fn tick(&mut self) {
        self.seen = self.seen.wrapping_add(1);
        if self.seen.is_multiple_of(VALUES_AT_ONCE) {
            raw::ProcessInterrupts();
        }
    }

    /// Counts a value. Allocates in the current memory; may raise.
    ///
    /// # Safety
    /// - `value` is one of the type; the caller owns nothing with a destructor.
    pub(super) unsafe fn count(&mut self, type_oid: pg_sys::Oid, value: pg_sys::Datum) {
        // SAFETY: the caller's promise.
        unsafe { self.count_kind(Kind::of(type_oid), value) };
    }

    /// # Safety
    /// - As [`Self::count`]; the value's type is of this kind.
    unsafe fn count_kind(&mut self, kind: Kind, value: pg_sys::Datum) {
        self.tick();
        if self.excess().is_some() {
            return;
        }
        // Two quotes around it, with which each of the texts outside does the same, and JSON once more.
        if self.sum.depth > 1 && !self.sum.leave(4) {
            return self.sum.add_too_much();
        }
        match kind {
            // SAFETY: the caller's promise.
            Kind::Plain(type_oid) => return unsafe { self.count_other(type_oid, PLAIN_BYTES, value) },
            // SAFETY: as above.
            Kind::Other(type_oid) => return unsafe { self.count_varying(type_oid, value) },
            Kind::Text => {
                // SAFETY: of varying length; reads its head alone.
                let bytes = unsafe { raw::toast_raw_datum_size(value) } - pg_sys::VARHDRSZ;
                return self.sum.add_text(bytes, QUOTED);
            }
            _ => {}
        }
        raw::check_stack_depth();
        let stored = value.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: the other kinds are of varying length.
        let whole = unsafe { raw::pg_detoast_datum(stored) };
        match kind {
            Kind::Plain(_) | Kind::Other(_) | Kind::Text => {}
            // SAFETY: a whole numeric.
            Kind::Numeric => unsafe { self.count_numeric(whole) },
            // SAFETY: a whole jsonb.
            Kind::Jsonb => unsafe { self.count_jsonb(whole) },
            // SAFETY: a whole array.
            Kind::Array => unsafe { self.count_array(whole.cast()) },
            // SAFETY: a whole composite.
            Kind::Composite => unsafe { self.count_composite(whole.cast()) },
            // SAFETY: a whole range.
            Kind::Range => unsafe { self.count_range(whole.cast()) },
            // SAFETY: a whole multirange of such ranges.
            Kind::Multirange(range) => unsafe { self.count_multirange(range, whole.cast()) },
        }
        if whole != stored {
            // SAFETY: a copy, used by nobody any more.
            unsafe { raw::pfree(whole.cast()) };
        }
    }

    /// Of a type that is none of those that are looked into.
    ///
    /// # Safety
    /// - As [`Self::count`].
    unsafe fn count_varying(&mut self, type_oid: pg_sys::Oid, value: pg_sys::Datum) {
        let bytes = match raw::get_typlen(type_oid) {
            // SAFETY: of varying length; reads its head alone.
            -1 => unsafe { raw::toast_raw_datum_size(value) },
            length => usize::try_from(length).unwrap_or(0),
        };
        if bytes > LARGEST_OTHER {
            return self.sum.add_too_much();
        }
        // SAFETY: the caller's promise.
        unsafe { self.count_other(type_oid, OTHER_FACTOR * bytes + OTHER_BYTES, value) };
    }

    /// A value whose JSON is no longer than `longest`.
    ///
    /// # Safety
    /// - As [`Self::count`].
    unsafe fn count_other(&mut self, type_oid: pg_sys::Oid, longest: usize, value: pg_sys::Datum) {
        if self.sum.leave(longest) {
            return self.sum.add(1);
        }
        if self.sum.depth > 1 {
            return self.sum.add_too_much();
        }
        let (mut output, mut is_varying) = (pg_sys::InvalidOid, false);
        // SAFETY: a type of the catalog; fills both.
        unsafe { raw::getTypeOutputInfo(type_oid, &mut output, &mut is_varying) };
        // SAFETY: the output function of its type.
        let text = unsafe { raw::OidOutputFunctionCall(output, value) };
        // SAFETY: NUL-terminated.
        let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
        self.sum.add(bytes.iter().map(|byte| escaped_bytes(*byte)).sum());
        // SAFETY: just made.
        unsafe { raw::pfree(text.cast()) };
    }

    /// # Safety
    /// - `numeric` is a numeric that is neither compressed nor elsewhere.
    unsafe fn count_numeric(&mut self, numeric: *const pg_sys::varlena) {
        // SAFETY: the caller's promise.
        let length = unsafe { varsize_any_exhdr(numeric) };
        // SAFETY: as above.
        let start = unsafe { vardata_any(numeric) };
        // SAFETY: this many bytes are there.
        self.sum.add(numeric_bytes(unsafe { std::slice::from_raw_parts(start.cast(), length) }));
    }

    /// # Safety
    /// - `jsonb` is a whole jsonb with a long header; the caller owns nothing with a destructor.
    unsafe fn count_jsonb(&mut self, jsonb: *mut pg_sys::varlena) {
        // SAFETY: the root is after the header.
        let root = unsafe { jsonb.byte_add(pg_sys::VARHDRSZ) };
        // SAFETY: as above.
        let mut iterator = unsafe { raw::JsonbIteratorInit(root.cast()) };
        let mut found = MaybeUninit::<pg_sys::JsonbValue>::zeroed();
        loop {
            // SAFETY: begun above; fills what is found.
            let token = unsafe { raw::JsonbIteratorNext(&mut iterator, found.as_mut_ptr(), false) };
            self.tick();
            if self.excess().is_some() {
                return;
            }
            match token {
                pg_sys::JsonbIteratorToken::WJB_DONE => return,
                pg_sys::JsonbIteratorToken::WJB_KEY
                | pg_sys::JsonbIteratorToken::WJB_VALUE
                | pg_sys::JsonbIteratorToken::WJB_ELEM => {}
                pg_sys::JsonbIteratorToken::WJB_BEGIN_OBJECT => {
                    self.sum.add(2);
                    continue;
                }
                pg_sys::JsonbIteratorToken::WJB_BEGIN_ARRAY => {
                    // SAFETY: zeroed, of integers and pointers.
                    let found = unsafe { found.assume_init_ref() };
                    // SAFETY: the token says that it is one.
                    let array = unsafe { found.val.array };
                    // A value alone is in an array that is not written.
                    self.sum.add(if array.rawScalar { 0 } else { 2 });
                    continue;
                }
                _ => continue,
            }
            // SAFETY: zeroed, of integers and pointers.
            let found = unsafe { found.assume_init_ref() };
            match found.type_ {
                pg_sys::jbvType::jbvNumeric => {
                    // SAFETY: its type says that it is one.
                    let numeric = unsafe { found.val.numeric };
                    // SAFETY: in the jsonb.
                    unsafe { self.count_numeric(numeric.cast()) };
                }
                pg_sys::jbvType::jbvString => {
                    // SAFETY: its type says that it is one.
                    let string = unsafe { found.val.string };
                    self.sum.add_text(usize::try_from(string.len).unwrap_or(0) + 2, QUOTED_IN_JSON);
                }
                // `null`, or `true`.
                _ => self.sum.add(4),
            }
        }
    }

    /// # Safety
    /// - `array` is a whole array; the caller owns nothing with a destructor.
    unsafe fn count_array(&mut self, array: *mut pg_sys::ArrayType) {
        // SAFETY: the caller's promise; the dimensions are after the head (array.h).
        let dimensions = unsafe { array.add(1) }.cast::<c_int>();
        // SAFETY: as above.
        let head = unsafe { &*array };
        let (depth, kind) = (head.ndim, Kind::of(head.elemtype));
        // SAFETY: as above.
        let count = unsafe { raw::ArrayGetNItems(depth, dimensions) };
        let items = usize::try_from(count).unwrap_or(0);
        // Their commas.
        self.sum.add(items.saturating_sub(1));
        // A digit each, at the least.
        let is_too_much = self.sum.would_exceed(items);
        if is_too_much || matches!(kind, Kind::Plain(_)) && self.sum.leave(items.saturating_mul(PLAIN_BYTES))
        {
            return self.sum.add(items);
        }
        // SAFETY: a whole array, taken element by element.
        let elements = unsafe { raw::array_create_iterator(array, 0, null_mut()) };
        let (mut value, mut is_null) = (pg_sys::Datum::null(), false);
        let depth = self.sum.depth;
        self.sum.enter();
        // SAFETY: just made; fills the other two.
        while self.excess().is_none() && unsafe { raw::array_iterate(elements, &mut value, &mut is_null) } {
            if is_null {
                self.tick();
                self.sum.add(4);
            } else {
                // SAFETY: an element of the array.
                unsafe { self.count_kind(kind, value) };
            }
        }
        self.sum.depth = depth;
        // SAFETY: made above.
        unsafe { raw::array_free_iterator(elements) };
    }

    /// # Safety
    /// - `header` is that of a whole composite; the caller owns nothing with a destructor.
    unsafe fn count_composite(&mut self, header: pg_sys::HeapTupleHeader) {
        // SAFETY: the caller's promise.
        let choice = unsafe { (*header).t_choice };
        // SAFETY: what a composite has here (htup_details.h).
        let fields = unsafe { choice.t_datum };
        // SAFETY: a type of the catalog; NULL if there is none.
        let descriptor =
            unsafe { raw::lookup_rowtype_tupdesc_noerror(fields.datum_typeid, fields.datum_typmod, true) };
        if descriptor.is_null() {
            return;
        }
        // SAFETY: the caller's promise.
        let length = unsafe { varsize_any(header.cast()) };
        let mut tuple = pg_sys::HeapTupleData {
            t_len: u32::try_from(length).unwrap_or(0),
            t_data: header,
            ..Default::default()
        };
        // SAFETY: just looked up.
        let count = usize::try_from(unsafe { (*descriptor).natts }).unwrap_or(0);
        // SAFETY: at least one byte.
        let values = unsafe { raw::palloc((count + 1) * size_of::<pg_sys::Datum>()) };
        // SAFETY: as above.
        let nulls = unsafe { raw::palloc(count + 1) };
        let (values, nulls) = (values.cast::<pg_sys::Datum>(), nulls.cast::<bool>());
        // SAFETY: room for as many as the descriptor has.
        unsafe { raw::heap_deform_tuple(&mut tuple, descriptor, values, nulls) };
        let depth = self.sum.depth;
        self.sum.enter();
        for index in 0..count {
            // SAFETY: looked up above, and held.
            let attribute = unsafe { attribute(descriptor, index) };
            let Some((name_bytes, type_oid)) = attribute.filter(|_| self.excess().is_none()) else {
                continue;
            };
            // `"name":` and a digit, at the least; in a text a comma.
            self.sum.add(if depth > 0 { 1 } else { name_bytes + 4 });
            // SAFETY: below the count.
            let is_null = unsafe { at(nulls, index) };
            if !is_null {
                // SAFETY: as above.
                let value = unsafe { at(values, index) };
                // SAFETY: as above.
                unsafe { self.count(type_oid, value) };
            }
        }
        self.sum.depth = depth;
        // SAFETY: made above.
        unsafe { raw::pfree(values.cast()) };
        // SAFETY: as above.
        unsafe { raw::pfree(nulls.cast()) };
        // SAFETY: looked up above.
        if unsafe { (*descriptor).tdrefcount } >= 0 {
            // SAFETY: as above; counted.
            unsafe { raw::DecrTupleDescRefCount(descriptor) };
        }
    }

    /// # Safety
    /// - `range` is a whole range; the caller owns nothing with a destructor.
    unsafe fn count_range(&mut self, range: *mut pg_sys::RangeType) {
        // SAFETY: the caller's promise.
        let type_oid = unsafe { (*range).rangetypid };
        let kind = Kind::of(raw::get_range_subtype(type_oid));
        self.sum.depth += 1;
        let cached = raw::lookup_type_cache(type_oid, pg_sys::TYPECACHE_RANGE_INFO as c_int);
        let (mut lower, mut upper) = (pg_sys::RangeBound::default(), pg_sys::RangeBound::default());
        let mut is_empty = false;
        // SAFETY: a range of this type; fills the last three.
        unsafe { raw::range_deserialize(cached, range, &mut lower, &mut upper, &mut is_empty) };
        for bound in [lower, upper] {
            if !is_empty && !bound.infinite {
                // SAFETY: a value of the subtype.
                unsafe { self.count_kind(kind, bound.val) };
            }
        }
        self.sum.depth -= 1;
    }

    /// # Safety
    /// - `multirange` is a whole one of ranges of this type; the caller owns nothing with a destructor.
    unsafe fn count_multirange(&mut self, range: pg_sys::Oid, multirange: *const c_void) {
        let cached = raw::lookup_type_cache(range, pg_sys::TYPECACHE_RANGE_INFO as c_int);
        let (mut count, mut ranges) = (0, null_mut::<*mut pg_sys::RangeType>());
        // SAFETY: a multirange of such ranges; fills the last two.
        unsafe { raw::multirange_deserialize(cached, multirange, &mut count, &mut ranges) };
        for index in 0..usize::try_from(count).unwrap_or(0) {
            if self.excess().is_some() {
                return;
            }
            // SAFETY: below the count.
            let range = unsafe { at(ranges, index) };
            // SAFETY: whole, as it was made.
            unsafe { self.count_range(range) };
        }
    }
}

/// # Safety
/// - `values` has more than `index` values.
unsafe fn at<T: Copy>(values: *const T, index: usize) -> T {
    // SAFETY: the caller's promise.
    let value = unsafe { values.add(index) };
    // SAFETY: as above.
    unsafe { *value }
}

/// The length of an attribute's name, and its type; `None`: it is dropped. Raises nothing.
///
/// # Safety
/// - `descriptor` is valid.
unsafe fn attribute(descriptor: pg_sys::TupleDesc, index: usize) -> Option<(usize, pg_sys::Oid)> {
    // SAFETY: the caller's promise; it is borrowed for this function only.
    let descriptor = unsafe { PgTupleDesc::from_pg_unchecked(descriptor) };
    let attribute = descriptor.get(index).filter(|attribute| !attribute.attisdropped)?;
    let name = attribute.attname.data.iter().take_while(|c| **c != 0);
    Some((name.count(), attribute.atttypid))
}
