//! Whether row types still have the columns that a statement was made for (`sse_proto::call::RowVersion`).
//!
//! Not for what becomes of the call when they have not (`call_session.rs`).

use std::ffi::{CStr, c_int};

use pgrx::pg_sys;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use sse_proto::call::{ColumnDigest, RowVersion};

use super::{raw, receiver};

/// Raises an error when a row type has changed; sets `differs` before.
///
/// # Safety
/// - In a function that `try_catch::run` runs, in a transaction.
pub(super) unsafe fn require(rows: &[RowVersion], differs: &mut bool) {
    for row in rows {
        let oid = pg_sys::Oid::from(row.oid);
        let found = if row.is_routine { digest_of_routine(oid) } else { digest(oid) };
        if found != Some(row.digest) {
            *differs = true;
            let code = PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED;
            // SAFETY: the caller's promise; owns nothing here.
            unsafe { receiver::fail(code, c"a row type has changed") };
        }
    }
}

/// The digest of a row type's present columns, as the type cache has them: the code that reads and writes
/// rows looks there, too.
fn digest(oid: pg_sys::Oid) -> Option<u64> {
    // SAFETY: any number; what is no row type is NULL, what is gone raises.
    let descriptor = unsafe { raw::lookup_rowtype_tupdesc_noerror(oid, -1, true) };
    // SAFETY: NULL, or pinned by the call above.
    let count = unsafe { descriptor.as_ref() }?.natts;
    let digest = (1..=count).fold(ColumnDigest::default(), |digest, number| with(digest, descriptor, number));
    // SAFETY: pinned above; of a type it is always counted.
    unsafe { raw::DecrTupleDescRefCount(descriptor) };
    Some(digest.value())
}

/// The digest of a routine's present name and schema.
fn digest_of_routine(oid: pg_sys::Oid) -> Option<u64> {
    // SAFETY: any number; NULL, or a copy in the transaction's memory.
    let name = unsafe { raw::get_func_name(oid) };
    if name.is_null() {
        return None;
    }
    let schema = raw::get_func_namespace(oid);
    // SAFETY: just copied, NUL-terminated.
    let bytes = unsafe { CStr::from_ptr(name) };
    let digest = ColumnDigest::default().column(bytes.to_bytes().iter().copied(), schema.to_u32());
    // SAFETY: not used any more.
    unsafe { raw::pfree(name.cast()) };
    Some(digest.value())
}

fn with(digest: ColumnDigest, descriptor: pg_sys::TupleDesc, number: c_int) -> ColumnDigest {
    // SAFETY: the caller's descriptor has this column.
    let type_oid = unsafe { raw::SPI_gettypeid(descriptor, number) };
    // A dropped column has no type.
    if type_oid == pg_sys::InvalidOid {
        return digest;
    }
    // SAFETY: as above; a copy in the transaction's memory.
    let name = unsafe { raw::SPI_fname(descriptor, number) };
    if name.is_null() {
        return digest;
    }
    // SAFETY: just copied, NUL-terminated.
    let bytes = unsafe { CStr::from_ptr(name) };
    let digest = digest.column(bytes.to_bytes().iter().copied(), type_oid.to_u32());
    // SAFETY: not used any more.
    unsafe { raw::pfree(name.cast()) };
    digest
}
