//! Takes the rows of a statement: a DestReceiver of our own.
//!
//! Rows are appended as they come, so that a large answer is in memory once; beyond [`MAX_ANSWER_BYTES`] the
//! statement fails and its transaction is rolled back, before anything was sent.
//!
//! The callbacks run in Postgres' executor. They own nothing with a destructor while they call something that
//! may raise.

use std::ffi::{CStr, CString, c_int};
use std::marker::PhantomData;

use pgrx::pg_sys;
use pgrx::pg_sys::elog::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use sse_proto::call::AnswerShape;

use super::raw;
use super::try_catch::{self, Raised, raised};

/// Largest answer, in bytes of UTF-8, brackets included. A larger one does not belong in one HTTP answer,
/// which is held in memory in the worker and in the gateway.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// What is made of the rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// They are counted.
    Discarded,
    /// The text of the first row's one column.
    First,
    /// A JSON array of the one column of each row.
    Array,
    /// A JSON object of the first row's columns, under the given names.
    Object,
}

impl Shape {
    /// The shape that an answer needs.
    pub(super) fn of(answer: AnswerShape) -> Self {
        match answer {
            AnswerShape::Nothing => Self::Discarded,
            AnswerShape::Text | AnswerShape::Json | AnswerShape::Object => Self::First,
            AnswerShape::Array => Self::Array,
            AnswerShape::ProcedureRow => Self::Object,
        }
    }
}

/// Where the rows go.
pub(super) struct Rows<'a> {
    /// What is made of them.
    pub shape: Shape,
    /// Names of an [`Shape::Object`]'s fields.
    pub names: &'a [CString],
    /// Whether the database's encoding is not UTF-8, so that texts must be converted.
    pub converts: bool,
    /// The number of rows so far.
    pub count: u64,
    /// The answer, in UTF-8.
    pub body: Vec<u8>,
    /// The first row's one column was NULL.
    pub is_null: bool,
    /// The columns of an [`Shape::Object`]; made when the first row comes.
    descriptor: pg_sys::TupleDesc,
}

impl<'a> Rows<'a> {
    /// No rows yet.
    pub(super) fn new(shape: Shape, names: &'a [CString], converts: bool) -> Self {
        Self {
            shape,
            names,
            converts,
            count: 0,
            body: Vec::new(),
            is_null: false,
            descriptor: std::ptr::null_mut(),
        }
    }

    /// Call this when all rows have come: it ends an array. Allocates nothing: the room is there.
    pub(super) fn close(&mut self) {
        if self.shape == Shape::Array {
            self.body.extend_from_slice(if self.count == 0 { b"[]" } else { b"]" });
        }
    }
}

/// See the head of this file. Postgres knows its first field.
#[repr(C)]
pub(super) struct Receiver<'r, 'a> {
    base: pg_sys::DestReceiver,
    rows: *mut Rows<'a>,
    borrow: PhantomData<&'r mut Rows<'a>>,
}

impl<'r, 'a> Receiver<'r, 'a> {
    /// A receiver that puts the rows there.
    pub(super) fn new(rows: &'r mut Rows<'a>) -> Self {
        let base = pg_sys::DestReceiver {
            receiveSlot: Some(receive),
            rStartup: Some(start_up),
            rShutdown: Some(nothing),
            rDestroy: Some(nothing),
            mydest: pg_sys::CommandDest::DestSPI,
        };
        Self { base, rows, borrow: PhantomData }
    }

    /// The receiver as Postgres takes it; valid while this exists.
    pub(super) fn destination(&mut self) -> *mut pg_sys::DestReceiver {
        (&raw mut *self).cast()
    }
}

unsafe extern "C-unwind" fn nothing(_: *mut pg_sys::DestReceiver) {}

/// The rows of a receiver.
///
/// # Safety
/// - `receiver` is one of [`Receiver::destination`], and its run is not over.
unsafe fn rows_of<'r>(receiver: *mut pg_sys::DestReceiver) -> &'r mut Rows<'static> {
    // SAFETY: the caller's promise: it is the first field of ours.
    let rows = unsafe { (*receiver.cast::<Receiver<'_, 'static>>()).rows };
    // SAFETY: borrowed by the receiver for as long as it lives.
    unsafe { &mut *rows }
}

unsafe extern "C-unwind" fn start_up(
    receiver: *mut pg_sys::DestReceiver,
    _operation: c_int,
    descriptor: pg_sys::TupleDesc,
) {
    // SAFETY: Postgres hands back what `destination` gave.
    let rows = unsafe { rows_of(receiver) };
    if rows.shape != Shape::Object {
        return;
    }
    // The descriptor of the slots is not always this one, and its names are the routine's own, so a row type
    // of our own names is made.
    let count = c_int::try_from(rows.names.len()).unwrap_or(0);
    // SAFETY: valid for this call.
    let actual = unsafe { (*descriptor).natts };
    if actual != count {
        // SAFETY: owns nothing here.
        unsafe { fail(PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH, c"the procedure has changed") };
    }
    let named = raw::CreateTemplateTupleDesc(count);
    for (number, name) in (1..).zip(rows.names) {
        // SAFETY: `number` is one of its columns.
        let type_oid = unsafe { raw::SPI_gettypeid(descriptor, number) };
        let number = i16::try_from(number).unwrap_or(i16::MAX);
        // SAFETY: as above, with a NUL-terminated name, which is copied.
        unsafe { raw::TupleDescInitEntry(named, number, name.as_ptr(), type_oid, -1, 0) };
    }
    // SAFETY: complete.
    rows.descriptor = unsafe { raw::BlessTupleDesc(named) };
}

unsafe extern "C-unwind" fn receive(
    slot: *mut pg_sys::TupleTableSlot,
    receiver: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: Postgres hands back what `destination` gave.
    let rows = unsafe { rows_of(receiver) };
    let is_first = rows.count == 0;
    rows.count += 1;
    match rows.shape {
        Shape::Discarded => return true,
        Shape::First | Shape::Object if !is_first => return true,
        Shape::First => {
            // SAFETY: the statement has a column, and the slot is valid for this call.
            match unsafe { column(slot, 0) } {
                // SAFETY: a text or JSON, as the statement has it.
                Some(datum) => unsafe { append_text(rows, datum) },
                None => rows.is_null = true,
            }
        }
        Shape::Array => {
            // SAFETY: owns nothing here.
            unsafe { append(rows, if is_first { b"[" } else { b"," }) };
            // SAFETY: as above.
            match unsafe { column(slot, 0) } {
                // SAFETY: as above.
                Some(datum) => unsafe { append_text(rows, datum) },
                // SAFETY: owns nothing here.
                None => unsafe { append(rows, b"null") },
            }
        }
        // SAFETY: the slot is valid for this call.
        Shape::Object => unsafe { append_object(rows, slot) },
    }
    true
}

/// # Safety
/// - `slot` is the slot that the receiver was given, with more than `index` columns.
unsafe fn column(slot: *mut pg_sys::TupleTableSlot, index: usize) -> Option<pg_sys::Datum> {
    // SAFETY: the caller's promise.
    let valid = unsafe { (*slot).tts_nvalid };
    if usize::try_from(valid).unwrap_or(0) <= index {
        // SAFETY: as above.
        unsafe { raw::slot_getsomeattrs_int(slot, c_int::try_from(index + 1).unwrap_or(1)) };
    }
    // SAFETY: as above.
    let nulls = unsafe { (*slot).tts_isnull };
    // SAFETY: filled for this column.
    let null_at = unsafe { nulls.add(index) };
    // SAFETY: as above.
    if unsafe { *null_at } {
        return None;
    }
    // SAFETY: as above.
    let values = unsafe { (*slot).tts_values };
    // SAFETY: as above.
    let value_at = unsafe { values.add(index) };
    // SAFETY: as above.
    Some(unsafe { *value_at })
}

/// A value of a row, as plain bytes.
struct Plain<'a> {
    bytes: &'a [u8],
    /// Taken out of TOAST or unpacked. Each such copy must be freed, or it stays until the statement ends.
    copy: Option<*mut pg_sys::varlena>,
}

/// # Safety
/// - `datum` is a text, json or the like, not NULL.
unsafe fn text_of<'a>(datum: pg_sys::Datum) -> Plain<'a> {
    let stored = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: the caller's promise.
    let plain = unsafe { raw::pg_detoast_datum_packed(stored) };
    // SAFETY: as above, neither compressed nor outside any more.
    let length = unsafe { pgrx::varlena::varsize_any_exhdr(plain) };
    // SAFETY: as above.
    let start = unsafe { pgrx::varlena::vardata_any(plain) };
    // SAFETY: this many bytes are there; they live until the row's memory is reset or the copy is freed.
    let bytes = unsafe { std::slice::from_raw_parts(start.cast(), length) };
    Plain { bytes, copy: (plain != stored).then_some(plain) }
}

/// # Safety
/// - As [`text_of`]; owns nothing when it raises.
unsafe fn append_text(rows: &mut Rows<'_>, datum: pg_sys::Datum) {
    // SAFETY: the caller's promise.
    let plain = unsafe { text_of(datum) };
    let mut converted = std::ptr::null_mut();
    if rows.converts {
        let length = c_int::try_from(plain.bytes.len()).unwrap_or(0);
        let utf8 = pg_sys::pg_enc::PG_UTF8 as c_int;
        // SAFETY: this many bytes are there.
        converted = unsafe { raw::pg_server_to_any(plain.bytes.as_ptr().cast(), length, utf8) };
    }
    if converted.is_null() || converted.cast_const().cast() == plain.bytes.as_ptr() {
        // SAFETY: owns nothing here.
        unsafe { append(rows, plain.bytes) };
    } else {
        // SAFETY: another text than the one given is a NUL-terminated copy.
        let text = unsafe { CStr::from_ptr(converted) };
        // SAFETY: owns nothing here.
        unsafe { append(rows, text.to_bytes()) };
        // SAFETY: palloc'd by the conversion, not used any more.
        unsafe { raw::pfree(converted.cast()) };
    }
    if let Some(copy) = plain.copy {
        // SAFETY: palloc'd by the detoasting, not used any more.
        unsafe { raw::pfree(copy.cast()) };
    }
}

/// # Safety
/// - `slot` is the slot that the receiver was given, `rows.descriptor` was made for its columns.
unsafe fn append_object(rows: &mut Rows<'_>, slot: *mut pg_sys::TupleTableSlot) {
    if !rows.names.is_empty() {
        // SAFETY: fills all columns; the last one's value does not matter.
        unsafe { column(slot, rows.names.len() - 1) };
    }
    // SAFETY: the caller's promise.
    let values = unsafe { (*slot).tts_values };
    // SAFETY: as above.
    let nulls = unsafe { (*slot).tts_isnull };
    // SAFETY: as many values as the descriptor has columns.
    let tuple = unsafe { raw::heap_form_tuple(rows.descriptor, values, nulls) };
    // SAFETY: just formed.
    let header = unsafe { (*tuple).t_data };
    // SAFETY: as above; its descriptor is blessed.
    let row = unsafe { raw::HeapTupleHeaderGetDatum(header) };
    let function = pg_sys::Oid::from(pg_sys::F_ROW_TO_JSON_RECORD);
    // SAFETY: row_to_json(record) with a record.
    let json = unsafe { raw::OidFunctionCall1Coll(function, pg_sys::InvalidOid, row) };
    // SAFETY: a JSON text.
    unsafe { append_text(rows, json) };
}

/// # Safety
/// - The caller owns nothing with a destructor: this may raise.
unsafe fn append(rows: &mut Rows<'_>, bytes: &[u8]) {
    // The bracket that ends an array comes when nothing may fail any more (`Rows::close`).
    let closing = usize::from(rows.shape == Shape::Array);
    if rows.body.len() + bytes.len() + closing > MAX_ANSWER_BYTES {
        let code = PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED;
        // SAFETY: the caller's promise.
        unsafe { fail(code, c"the answer of the call exceeds 64 MB") };
    }
    if !has_memory(&mut rows.body, bytes.len() + closing) {
        // SAFETY: the caller's promise.
        unsafe { fail(PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY, c"out of memory") };
    }
    rows.body.extend_from_slice(bytes);
}

/// Makes room for this many more bytes: doubles the memory, so that an answer is not moved for each row, or
/// takes only these bytes when there is no more memory.
fn has_memory(buffer: &mut Vec<u8>, more: usize) -> bool {
    buffer.try_reserve(more).is_ok() || buffer.try_reserve_exact(more).is_ok()
}

/// Raises an error.
///
/// # Safety
/// - As [`append`].
pub(super) unsafe fn fail(code: PgSqlErrorCode, message: &CStr) {
    // SAFETY: begins an error; elog.c's way.
    if unsafe { raw::errstart(PgLogLevel::ERROR as c_int, std::ptr::null()) } {
        // SAFETY: between errstart and errfinish.
        unsafe { raw::errcode(code as c_int) };
        // SAFETY: between errstart and errfinish, with NUL-terminated texts.
        unsafe { raw::errmsg_internal(c"%s".as_ptr(), message.as_ptr()) };
        // SAFETY: ends what errstart began; it does not return.
        unsafe { raw::errfinish(c"receiver.rs".as_ptr(), 0, c"pg_sse".as_ptr()) };
    }
}

/// Raises an error that there is no memory.
///
/// # Safety
/// - Run by `try_catch::run`.
pub(super) unsafe extern "C-unwind" fn out_of_memory(_: *mut ()) {
    // SAFETY: owns nothing here.
    unsafe { fail(PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY, c"out of memory") };
}

/// Raises that error and catches it: for want of memory in what is no such function.
pub(super) fn no_memory() -> Raised {
    // SAFETY: the function owns nothing.
    raised(unsafe { try_catch::run(out_of_memory, &mut ()) }).err().unwrap_or(Raised)
}
