//! How many bytes of JSON a value becomes at the least, where its length in memory does not tell: ten bytes
//! of numeric may be 131,072 digits, a bit of an array is a `null`, and a composite has names.
//!
//! Looked up and called as `row_to_json` does it; so it may raise what that would raise.
//!
//! Not for: values of other types (`row.rs`), and how they are written (`row_json.rs`).

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr::null_mut;

use pgrx::varlena::{vardata_any, varsize_any, varsize_any_exhdr};
use pgrx::{PgTupleDesc, pg_sys};

use super::raw;

/// What of a type's values has to be counted.
#[derive(Clone, Copy)]
enum Kind {
    /// Nothing: the text is no more than some times as long as the value.
    Plain,
    Numeric,
    Jsonb,
    Array,
    Composite,
    Range,
    /// Of ranges of this type.
    Multirange(pg_sys::Oid),
}

/// Bytes so far. Counting stops as soon as there are too many.
pub(super) struct Size {
    bytes: usize,
    most: usize,
}

impl Kind {
    /// May raise.
    fn of(type_oid: pg_sys::Oid) -> Self {
        use pg_sys as p;
        match raw::getBaseType(type_oid) {
            p::NUMERICOID => Self::Numeric,
            p::JSONBOID => Self::Jsonb,
            base if is_plain(base) => Self::Plain,
            base if raw::get_element_type(base) != p::InvalidOid => Self::Array,
            base if raw::type_is_rowtype(base) => Self::Composite,
            base if raw::get_range_subtype(base) != p::InvalidOid => Self::Range,
            base => match raw::get_multirange_range(base) {
                p::InvalidOid => Self::Plain,
                range => Self::Multirange(range),
            },
        }
    }
}

/// The types of every day for which nothing has to be counted.
pub(super) fn is_plain(type_oid: pg_sys::Oid) -> bool {
    use pg_sys as p;
    matches!(
        type_oid,
        p::BOOLOID
            | p::INT2OID
            | p::INT4OID
            | p::INT8OID
            | p::FLOAT4OID
            | p::FLOAT8OID
            | p::TEXTOID
            | p::VARCHAROID
            | p::BPCHAROID
            | p::BYTEAOID
            | p::JSONOID
            | p::UUIDOID
            | p::DATEOID
            | p::TIMESTAMPOID
            | p::TIMESTAMPTZOID
    )
}

impl Size {
    /// Nothing so far, and `most` that may be counted.
    pub(super) fn new(most: usize) -> Self {
        Self { bytes: 0, most }
    }

    /// What has been counted, if that is too much.
    pub(super) fn excess(&self) -> Option<usize> {
        (self.bytes > self.most).then_some(self.bytes)
    }

    fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
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
        if matches!(kind, Kind::Plain) || self.excess().is_some() {
            return;
        }
        raw::check_stack_depth();
        let stored = value.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: the other kinds are of varying length.
        let whole = unsafe { raw::pg_detoast_datum(stored) };
        match kind {
            Kind::Plain => {}
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

    /// # Safety
    /// - `numeric` is a numeric that is neither compressed nor elsewhere.
    unsafe fn count_numeric(&mut self, numeric: *const pg_sys::varlena) {
        // SAFETY: the caller's promise.
        let length = unsafe { varsize_any_exhdr(numeric) };
        // SAFETY: as above.
        let start = unsafe { vardata_any(numeric) };
        // SAFETY: this many bytes are there.
        self.add(numeric_bytes(unsafe { std::slice::from_raw_parts(start.cast(), length) }));
    }

    /// # Safety
    /// - `jsonb` is a whole jsonb with a long header; the caller owns nothing with a destructor.
    unsafe fn count_jsonb(&mut self, jsonb: *mut pg_sys::varlena) {
        // SAFETY: the root is behind the header.
        let root = unsafe { jsonb.byte_add(pg_sys::VARHDRSZ) };
        // SAFETY: as above.
        let mut iterator = unsafe { raw::JsonbIteratorInit(root.cast()) };
        let mut found = MaybeUninit::<pg_sys::JsonbValue>::zeroed();
        loop {
            // SAFETY: begun above; fills what is found.
            let token = unsafe { raw::JsonbIteratorNext(&mut iterator, found.as_mut_ptr(), false) };
            match token {
                pg_sys::JsonbIteratorToken::WJB_DONE => return,
                pg_sys::JsonbIteratorToken::WJB_KEY
                | pg_sys::JsonbIteratorToken::WJB_VALUE
                | pg_sys::JsonbIteratorToken::WJB_ELEM => {}
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
                    self.add(usize::try_from(string.len).unwrap_or(0) + 2);
                }
                // `null`, or `true`.
                _ => self.add(4),
            }
            if self.excess().is_some() {
                return;
            }
        }
    }

    /// # Safety
    /// - `array` is a whole array; the caller owns nothing with a destructor.
    unsafe fn count_array(&mut self, array: *mut pg_sys::ArrayType) {
        // SAFETY: the caller's promise; the dimensions are behind the head (array.h).
        let dimensions = unsafe { array.add(1) }.cast::<c_int>();
        // SAFETY: as above.
        let head = unsafe { &*array };
        let (depth, element) = (head.ndim, head.elemtype);
        // SAFETY: as above.
        let count = unsafe { raw::ArrayGetNItems(depth, dimensions) };
        let items = usize::try_from(count).unwrap_or(0);
        // Their commas.
        self.add(items.saturating_sub(1));
        let kind = Kind::of(element);
        if matches!(kind, Kind::Plain) || self.bytes.saturating_add(items) > self.most {
            // A digit each, at the least.
            self.add(items);
            return;
        }
        let (mut length, mut is_by_value, mut alignment) = (0, false, 0);
        // SAFETY: fills all three.
        unsafe { raw::get_typlenbyvalalign(element, &mut length, &mut is_by_value, &mut alignment) };
        let (mut values, mut nulls, mut count) = (null_mut::<pg_sys::Datum>(), null_mut::<bool>(), 0);
        // SAFETY: a whole array of such elements; fills the last three.
        unsafe {
            raw::deconstruct_array(
                array,
                element,
                c_int::from(length),
                is_by_value,
                alignment,
                &mut values,
                &mut nulls,
                &mut count,
            );
        }
        // SAFETY: just filled.
        unsafe { self.count_all(usize::try_from(count).unwrap_or(0), values, nulls, kind) };
        // SAFETY: made above.
        unsafe { raw::pfree(values.cast()) };
        // SAFETY: as above.
        unsafe { raw::pfree(nulls.cast()) };
    }

    /// # Safety
    /// - As many values and nulls are there, of this kind; the caller owns nothing with a destructor.
    unsafe fn count_all(
        &mut self,
        count: usize,
        values: *const pg_sys::Datum,
        nulls: *const bool,
        kind: Kind,
    ) {
        for index in 0..count {
            // SAFETY: below the count.
            let is_null = unsafe { at(nulls, index) };
            if !is_null {
                // SAFETY: as above.
                let value = unsafe { at(values, index) };
                // SAFETY: as above.
                unsafe { self.count_kind(kind, value) };
            } else {
                self.add(4);
            }
            if self.excess().is_some() {
                return;
            }
        }
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
        for index in 0..count {
            // SAFETY: looked up above, and held.
            let attribute = unsafe { attribute(descriptor, index) };
            let Some((name_bytes, type_oid)) = attribute.filter(|_| self.excess().is_none()) else {
                continue;
            };
            // `"name":` and a digit, at the least.
            self.add(name_bytes + 4);
            // SAFETY: below the count.
            let is_null = unsafe { at(nulls, index) };
            if !is_null {
                // SAFETY: as above.
                let value = unsafe { at(values, index) };
                // SAFETY: as above.
                unsafe { self.count(type_oid, value) };
            }
        }
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
        // The others are written as text, without names.
        if !matches!(kind, Kind::Numeric | Kind::Jsonb) {
            return;
        }
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
    }

    /// # Safety
    /// - `multirange` is a whole one of ranges of this type; the caller owns nothing with a destructor.
    unsafe fn count_multirange(&mut self, range: pg_sys::Oid, multirange: *const c_void) {
        // The others are written as text, without names.
        if !matches!(Kind::of(raw::get_range_subtype(range)), Kind::Numeric | Kind::Jsonb) {
            return;
        }
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

/// How long a numeric is as text, from its head (numeric.c): no less.
fn numeric_bytes(numeric: &[u8]) -> usize {
    const SPECIAL: u16 = 0xC000;
    const SHORT: u16 = 0x8000;
    let word = |index: usize| {
        let bytes = numeric.get(2 * index..2 * index + 2)?;
        Some(u16::from_ne_bytes([bytes[0], bytes[1]]))
    };
    let head = word(0).unwrap_or(SPECIAL);
    let (weight, scale) = match head & SPECIAL {
        SPECIAL => return 3,
        // Seven bits, the highest of which is the sign.
        SHORT => (i16::from((head << 1) as u8 as i8 >> 1), (head & 0x1F80) >> 7),
        _ => (word(1).unwrap_or(0).cast_signed(), head & 0x3FFF),
    };
    // Four digits to each of base 10,000, of which the first may have one.
    let whole = usize::try_from(weight).map_or(1, |weight| 4 * weight + 1);
    whole + usize::from(scale)
}
