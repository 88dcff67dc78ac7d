//! A value of a column as JSON, as `row_to_json` writes it.
//!
//! `row_to_json` asks the catalog about each column of each row; that is most of what it costs. So the
//! answers are kept for the types of every day, and their values are written with the functions that it uses
//! itself: the type's output function, `escape_json`, `JsonEncodeDateTime`. All other types (arrays,
//! composites, domains, enums, whatever may have a cast to json) are left to it: it gets a row of that column
//! alone.
//!
//! Not for: which columns (`row.rs`).

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char};

use pgrx::pg_sys;

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
    /// Its output is a number, except `NaN` and the infinities, which are strings.
    Number(Function),
    /// Its output is JSON.
    Json(Function),
    /// Its output becomes a string.
    Text(Function),
    /// A date or timestamp of this type.
    Instant(pg_sys::Oid),
    /// By `row_to_json`, of a row with this descriptor.
    Row(Descriptor),
}

/// The output function of a type, looked up once. Boxed, because functions may point to what calls them;
/// the ones in question keep nothing there.
struct Function(Box<UnsafeCell<pg_sys::FmgrInfo>>);

/// A descriptor of ours alone, in TopMemoryContext and registered in the type cache, so that `row_to_json`
/// finds its equal.
struct Descriptor(pg_sys::TupleDesc);

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: ours alone, and not counted: made by CreateTupleDescCopy.
        unsafe { pg_sys::FreeTupleDesc(self.0) };
    }
}

impl Writer {
    /// The writer of a column.
    pub(super) fn new(column: &Column) -> Self {
        use pg_sys as p;
        let type_oid = column.type_oid;
        let way = match type_oid {
            p::BOOLOID => Way::Bool,
            p::INT2OID | p::INT4OID | p::INT8OID | p::FLOAT4OID | p::FLOAT8OID | p::NUMERICOID => {
                Way::Number(Function::output_of(type_oid))
            }
            p::JSONOID | p::JSONBOID => Way::Json(Function::output_of(type_oid)),
            p::TEXTOID | p::VARCHAROID | p::BPCHAROID | p::BYTEAOID | p::UUIDOID => {
                Way::Text(Function::output_of(type_oid))
            }
            p::DATEOID | p::TIMESTAMPOID | p::TIMESTAMPTZOID => Way::Instant(type_oid),
            _ => Way::Row(Descriptor::of(column)),
        };
        Self { name: escaped(&column.name), way }
    }

    /// Appends name and value; `None` is NULL. May raise: what the type's own output or cast raises.
    ///
    /// # Safety
    /// - `value` is one of the column; the caller owns nothing with a destructor.
    pub(super) unsafe fn write(&self, text: pg_sys::StringInfo, value: Option<pg_sys::Datum>) {
        // SAFETY: the caller's promise.
        unsafe { append(text, &self.name) };
        let Some(value) = value else {
            // SAFETY: as above.
            unsafe { append(text, b"null") };
            return;
        };
        match &self.way {
            Way::Bool => {
                let word: &[u8] = if value.value() as u8 != 0 { b"true" } else { b"false" };
                // SAFETY: as above.
                unsafe { append(text, word) };
            }
            Way::Number(function) => {
                // SAFETY: as above.
                let output = unsafe { function.call(value) };
                // SAFETY: NUL-terminated, in the memory of the row.
                let bytes = unsafe { CStr::from_ptr(output) }.to_bytes();
                if is_number(bytes) {
                    // SAFETY: as above.
                    unsafe { append(text, bytes) };
                } else {
                    // SAFETY: as above.
                    unsafe { raw::escape_json(text, output) };
                }
            }
            Way::Json(function) => {
                // SAFETY: as above.
                let output = unsafe { function.call(value) };
                // SAFETY: NUL-terminated, in the memory of the row.
                let json = unsafe { CStr::from_ptr(output) };
                // SAFETY: as above.
                unsafe { append(text, json.to_bytes()) };
            }
            Way::Text(function) => {
                // SAFETY: as above.
                let output = unsafe { function.call(value) };
                // SAFETY: as above.
                unsafe { raw::escape_json(text, output) };
            }
            // SAFETY: as above.
            Way::Instant(type_oid) => unsafe { append_instant(text, value, *type_oid) },
            // SAFETY: as above.
            Way::Row(descriptor) => unsafe { append_by_row(text, value, descriptor, self.name.len()) },
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

    /// The output for a value, in the current memory. May raise.
    ///
    /// # Safety
    /// - `value` is one of the type; the caller owns nothing with a destructor.
    unsafe fn call(&self, value: pg_sys::Datum) -> *mut c_char {
        // SAFETY: filled by `output_of`; the rest is the caller's promise.
        unsafe { raw::OutputFunctionCall(self.0.get(), value) }
    }
}

impl Descriptor {
    fn of(column: &Column) -> Self {
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
        Self(unsafe { pgrx::PgMemoryContexts::TopMemoryContext.switch_to(copy) })
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

/// What a text has so far.
///
/// # Safety
/// - `text` is valid, and nothing is appended to it while the result is used.
pub(super) unsafe fn bytes_of<'a>(text: pg_sys::StringInfo) -> &'a [u8] {
    // SAFETY: the caller's promise.
    let text = unsafe { &*text };
    let length = usize::try_from(text.len).unwrap_or(0);
    // SAFETY: as many bytes are there (stringinfo.h).
    unsafe { std::slice::from_raw_parts(text.data.cast(), length) }
}

/// Appends bytes. May raise for want of memory.
///
/// # Safety
/// - `text` is valid; the caller owns nothing with a destructor.
pub(super) unsafe fn append(text: pg_sys::StringInfo, bytes: &[u8]) {
    // A value has less than a gigabyte.
    let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
    // SAFETY: as many bytes are there.
    unsafe { raw::appendBinaryStringInfo(text, bytes.as_ptr().cast(), length) };
}

/// As json.c tells numbers from `NaN` and the infinities.
fn is_number(output: &[u8]) -> bool {
    output.strip_prefix(b"-").unwrap_or(output).first().is_some_and(u8::is_ascii_digit)
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
unsafe fn append_by_row(
    text: pg_sys::StringInfo,
    mut value: pg_sys::Datum,
    descriptor: &Descriptor,
    name_bytes: usize,
) {
    let mut null = false;
    // SAFETY: one value, as the descriptor has it.
    let tuple = unsafe { raw::heap_form_tuple(descriptor.0, &mut value, &mut null) };
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
    // A brace and the name before it, a brace behind it.
    let inside = object.get(1 + name_bytes..object.len().saturating_sub(1)).unwrap_or(b"null");
    // SAFETY: the caller's promise.
    unsafe { append(text, inside) };
}
