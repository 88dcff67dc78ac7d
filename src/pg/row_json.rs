//! A value of a column as JSON, as `row_to_json` writes it.
//!
//! `row_to_json` asks the catalog about each column of each row; that is most of what it costs. So the
//! answers are kept for the types of every day and for arrays of them, and their values are written with the
//! functions that it uses itself: the type's output function, `JsonEncodeDateTime`. All other types
//! (composites, domains, enums, whatever may have a cast to json) are left to it: it gets a row of that
//! column alone.
//!
//! Not for: which columns (`row.rs`), arrays (`row_json/array.rs`), and what is a text or a number already
//! (`row_json/text.rs`).

mod array;
mod text;

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char};

use pgrx::pg_sys;

use self::array::Elements;
use self::text::{Append, append_escaped, append_integer, append_stored};
pub(super) use self::text::{append, bytes_of};
use super::raw;
use super::table::Column;

/// How the values of one column are written.
pub(super) struct Writer {
    /// The name, as it stands in front of each value: `"name":`, in the database's encoding.
    name: Vec<u8>,
    way: Way,
}

enum Way {
    Bool,
    /// Of so many bytes.
    Integer(Width),
    /// Its output is a number, except `NaN` and the infinities, which are strings.
    Number(Function),
    /// A jsonb: its output is JSON.
    Jsonb(Function),
    /// What is stored is JSON.
    Json,
    /// What is stored becomes a string.
    Text,
    /// Its output becomes a string.
    Output(Function),
    /// A date or timestamp of this type.
    Instant(pg_sys::Oid),
    /// An array of elements that are written in one of the ways above.
    Array(Box<Elements>, Descriptor),
    /// By `row_to_json`, of a row with this descriptor.
    Row(Descriptor),
}

/// Of an integer.
#[derive(Clone, Copy)]
enum Width {
    Two,
    Four,
    Eight,
}

/// The output function of a type, looked up once. Boxed, because functions may point to what calls them;
/// the ones in question keep nothing there.
struct Function(Box<UnsafeCell<pg_sys::FmgrInfo>>);

/// A descriptor of ours alone, in TopMemoryContext and registered in the type cache, so that `row_to_json`
/// finds its equal.
struct Descriptor {
    tuple: pg_sys::TupleDesc,
    /// Bytes of the column's name as JSON, with its colon.
    name_bytes: usize,
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: ours alone, and not counted: made by CreateTupleDescCopy.
        unsafe { pg_sys::FreeTupleDesc(self.tuple) };
    }
}

impl Writer {
    /// The writer of a column.
    pub(super) fn new(column: &Column) -> Self {
        let name = escaped(&column.name);
        let way = Way::of_plain(column.type_oid).unwrap_or_else(|| {
            let descriptor = Descriptor::of(column, name.len());
            match Elements::of(column.type_oid) {
                Some(elements) => Way::Array(Box::new(elements), descriptor),
                None => Way::Row(descriptor),
            }
        });
        Self { name, way }
    }

    /// Appends name and value; `None` is NULL. May raise: what the type's own output or cast raises.
    ///
    /// # Safety
    /// - `value` is one of the column; the caller owns nothing with a destructor.
    pub(super) unsafe fn write(&self, text: pg_sys::StringInfo, value: Option<pg_sys::Datum>) {
        // SAFETY: the caller's promise.
        unsafe { append(text, &self.name) };
        // SAFETY: as above.
        unsafe { self.way.write(text, value) };
    }
}

impl Way {
    /// For the types of every day.
    fn of_plain(type_oid: pg_sys::Oid) -> Option<Self> {
        use pg_sys as p;
        Some(match type_oid {
            p::BOOLOID => Self::Bool,
            p::INT2OID => Self::Integer(Width::Two),
            p::INT4OID => Self::Integer(Width::Four),
            p::INT8OID => Self::Integer(Width::Eight),
            p::FLOAT4OID | p::FLOAT8OID | p::NUMERICOID => Self::Number(Function::output_of(type_oid)),
            p::JSONBOID => Self::Jsonb(Function::output_of(type_oid)),
            p::JSONOID => Self::Json,
            p::TEXTOID | p::VARCHAROID | p::BPCHAROID => Self::Text,
            p::BYTEAOID | p::UUIDOID => Self::Output(Function::output_of(type_oid)),
            p::DATEOID | p::TIMESTAMPOID | p::TIMESTAMPTZOID => Self::Instant(type_oid),
            _ => return None,
        })
    }

    /// Appends a value; `None` is NULL.
    ///
    /// # Safety
    /// - As [`Writer::write`]; the value's type is the one that the way was made for.
    unsafe fn write(&self, text: pg_sys::StringInfo, value: Option<pg_sys::Datum>) {
        let Some(value) = value else {
            // SAFETY: the caller's promise.
            unsafe { append(text, b"null") };
            return;
        };
        match self {
            Self::Bool => {
                let word: &[u8] = if value.value() as u8 != 0 { b"true" } else { b"false" };
                // SAFETY: as above.
                unsafe { append(text, word) };
            }
            Self::Integer(width) => {
                let integer = match width {
                    Width::Two => i64::from(value.value() as i16),
                    Width::Four => i64::from(value.value() as i32),
                    Width::Eight => value.value() as i64,
                };
                // SAFETY: as above.
                unsafe { append_integer(text, integer) };
            }
            // SAFETY: as above.
            Self::Number(function) => unsafe { function.write(text, value, append_number) },
            // SAFETY: as above.
            Self::Jsonb(function) => unsafe { function.write(text, value, append) },
            // SAFETY: as above.
            Self::Json => unsafe { append_stored(text, value, append) },
            // SAFETY: as above.
            Self::Text => unsafe { append_stored(text, value, append_escaped) },
            // SAFETY: as above.
            Self::Output(function) => unsafe { function.write(text, value, append_escaped) },
            // SAFETY: as above.
            Self::Instant(type_oid) => unsafe { append_instant(text, value, *type_oid) },
            Self::Array(elements, descriptor) => {
                // SAFETY: as above.
                let is_written = unsafe { elements.write(text, value) };
                if !is_written {
                    // SAFETY: as above.
                    unsafe { append_by_row(text, value, descriptor) };
                }
            }
            // SAFETY: as above.
            Self::Row(descriptor) => unsafe { append_by_row(text, value, descriptor) },
        }
    }
}

impl Function {
    fn output_of(type_oid: pg_sys::Oid) -> Self {
        let (mut output, mut is_varying) = (pg_sys::InvalidOid, false);
        // SAFETY: a type of the catalog, as a table has it; fills both.
        unsafe { pg_sys::getTypeOutputInfo(type_oid, &mut output, &mut is_varying) };
        let function = Box::new(UnsafeCell::new(pg_sys::FmgrInfo::default()));
        // SAFETY: a context that lives as long as this process.
        let context = unsafe { pg_sys::TopMemoryContext };
        // SAFETY: fills what is ours.
        unsafe { pg_sys::fmgr_info_cxt(output, function.get(), context) };
        Self(function)
    }

    /// Appends the output for a value in one of the ways of `row_json/text.rs`. May raise.
    ///
    /// # Safety
    /// - `value` is one of the type; `text` is valid; the caller owns nothing with a destructor.
    unsafe fn write(&self, text: pg_sys::StringInfo, value: pg_sys::Datum, append: Append) {
        // SAFETY: filled by `output_of`; the rest is the caller's promise.
        let output = unsafe { raw::OutputFunctionCall(self.0.get(), value) };
        // SAFETY: NUL-terminated.
        let bytes = unsafe { CStr::from_ptr(output) }.to_bytes();
        // SAFETY: the caller's promise.
        unsafe { append(text, bytes) };
        // An array may have millions of elements.
        // SAFETY: just made, used by nobody any more.
        unsafe { raw::pfree(output.cast()) };
    }
}

impl Descriptor {
    fn of(column: &Column, name_bytes: usize) -> Self {
        // SAFETY: one column.
        let made = unsafe { pg_sys::CreateTemplateTupleDesc(1) };
        let (name, type_oid) = (column.name.as_ptr(), column.type_oid);
        // SAFETY: its one column, with a NUL-terminated name, which is copied.
        unsafe { pg_sys::TupleDescInitEntry(made, 1, name, type_oid, column.modifier, 0) };
        // SAFETY: complete.
        let made = unsafe { pg_sys::BlessTupleDesc(made) };
        let copy = |_: &mut pgrx::PgMemoryContexts| {
            // SAFETY: just made; the copy has the number under which it is registered.
            unsafe { pg_sys::CreateTupleDescCopy(made) }
        };
        // SAFETY: a context that lives as long as this process.
        let tuple = unsafe { pgrx::PgMemoryContexts::TopMemoryContext.switch_to(copy) };
        Self { tuple, name_bytes }
    }
}

/// A name as JSON, with its colon.
fn escaped(name: &CStr) -> Vec<u8> {
    // SAFETY: in the current memory.
    let text = unsafe { pg_sys::makeStringInfo() };
    // SAFETY: just made; the name is NUL-terminated.
    let escape = || unsafe { raw::escape_json(text, name.as_ptr()) };
    // SAFETY: this is the backend's one Postgres thread.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(escape) };
    // SAFETY: as above.
    let mut bytes = unsafe { bytes_of(text) }.to_vec();
    bytes.push(b':');
    bytes
}

/// A number as it is; `NaN` and the infinities as strings.
///
/// # Safety
/// - As [`append`].
unsafe fn append_number(text: pg_sys::StringInfo, output: &[u8]) {
    // As json.c tells them apart.
    let is_number = output.strip_prefix(b"-").unwrap_or(output).first().is_some_and(u8::is_ascii_digit);
    let append = if is_number { append } else { append_escaped };
    // SAFETY: the caller's promise.
    unsafe { append(text, output) };
}

/// # Safety
/// - As [`Writer::write`]; the value is of this type.
unsafe fn append_instant(text: pg_sys::StringInfo, value: pg_sys::Datum, type_oid: pg_sys::Oid) {
    // MAXDATELEN, and a NUL (datetime.h).
    let mut buffer = [0 as c_char; 129];
    // SAFETY: the caller's promise; as long as it has to be.
    unsafe { raw::JsonEncodeDateTime(buffer.as_mut_ptr(), value, type_oid, std::ptr::null()) };
    // SAFETY: the caller's promise.
    unsafe { append(text, b"\"") };
    // SAFETY: filled, NUL-terminated.
    let written = unsafe { CStr::from_ptr(buffer.as_ptr()) };
    // SAFETY: the caller's promise.
    unsafe { append(text, written.to_bytes()) };
    // SAFETY: the caller's promise.
    unsafe { append(text, b"\"") };
}

/// Takes the value out of `{"name":value}`.
///
/// # Safety
/// - As [`Writer::write`]; the descriptor is that of the column.
unsafe fn append_by_row(text: pg_sys::StringInfo, mut value: pg_sys::Datum, descriptor: &Descriptor) {
    let mut null = false;
    // SAFETY: one value, as the descriptor has it.
    let tuple = unsafe { raw::heap_form_tuple(descriptor.tuple, &mut value, &mut null) };
    // SAFETY: just formed.
    let header = unsafe { (*tuple).t_data };
    // SAFETY: as above; its descriptor is blessed.
    let datum = unsafe { raw::HeapTupleHeaderGetDatum(header) };
    let function = pg_sys::Oid::from(pg_sys::F_ROW_TO_JSON_RECORD);
    // SAFETY: row_to_json(record) with a record.
    let json = unsafe { raw::OidFunctionCall1Coll(function, pg_sys::InvalidOid, datum) };
    let json = json.cast_mut_ptr::<pg_sys::varlena>().cast_const();
    // SAFETY: a fresh text: neither compressed nor elsewhere.
    let length = unsafe { pgrx::varlena::varsize_any_exhdr(json) };
    // SAFETY: as above.
    let start = unsafe { pgrx::varlena::vardata_any(json) };
    // SAFETY: this many bytes are there.
    let object = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) };
    // A brace and the name before it, a brace after it.
    let inside = object.get(1 + descriptor.name_bytes..object.len().saturating_sub(1)).unwrap_or(b"null");
    // SAFETY: the caller's promise.
    unsafe { append(text, inside) };
}
