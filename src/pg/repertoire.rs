//! Which characters exist in the database's encoding.
//!
//! Not for converting (`call_texts.rs`).

use std::ffi::c_int;

use pgrx::pg_sys;

use super::raw;

/// Bytes that a character may take in any encoding, and a NUL (pg_wchar.h, MAX_CONVERSION_GROWTH: four for
/// each byte).
const ROOM: usize = 4 * 4 + 1;

/// Input and result of [`look`].
pub(super) struct Characters<'a> {
    /// The characters in question.
    pub asked: &'a [char],
    /// For each of them, whether it exists.
    pub fit: &'a mut [bool],
}

/// Asks the conversion function of the database's encoding. Where there is none, as from UTF-8 to SQL_ASCII,
/// every character counts as existing.
///
/// # Safety
/// - Run by `try_catch::run`, outside of transactions. It owns nothing.
pub(super) unsafe extern "C-unwind" fn look(job: *mut Characters<'_>) {
    raw::StartTransactionCommand();
    // SAFETY: `try_catch::run` passes its borrow.
    let job = unsafe { &mut *job };
    let utf8 = pg_sys::pg_enc::PG_UTF8 as c_int;
    // SAFETY: reads a variable of mbutils.c.
    let server = unsafe { pg_sys::GetDatabaseEncoding() };
    let function = raw::FindDefaultConversionProc(utf8, server);
    for (c, fits) in job.asked.iter().zip(&mut *job.fit) {
        let mut given = [0; 4];
        let length = c.encode_utf8(&mut given).len() as c_int;
        let mut made = [0; ROOM];
        *fits = function == pg_sys::InvalidOid
            // SAFETY: this many bytes are there, and room for what they become; no error is raised for the
            // text.
            || length == unsafe {
                raw::pg_do_encoding_conversion_buf(
                    function,
                    utf8,
                    server,
                    given.as_mut_ptr(),
                    length,
                    made.as_mut_ptr(),
                    ROOM as c_int,
                    true,
                )
            };
    }
    raw::CommitTransactionCommand();
}
