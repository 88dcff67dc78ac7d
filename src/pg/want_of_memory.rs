//! Memory for a step that cannot ask for it with `try_reserve`, because what it calls does not: Rust ends the
//! process where there is none, and with it every session of the cluster. So the step asks before it begins.
//!
//! Not for: shared memory (`shmem.rs`).

use std::hint::black_box;

use pgrx::prelude::*;
use sse_proto::encoding::OutOfMemory;

use super::error_room;

/// Asks whether this much can be had now.
///
/// # Errors
/// It cannot.
pub(crate) fn ask_for(bytes: usize) -> Result<(), OutOfMemory> {
    let mut wanted = Vec::<u8>::new();
    wanted.try_reserve_exact(bytes).map_err(|_| OutOfMemory)?;
    // A compiler may leave out what nobody looks at.
    black_box(&wanted);
    Ok(())
}

/// What is there; without memory for it the error that Postgres raises where it finds none itself.
pub(crate) fn or_raise<T>(found: Result<T, OutOfMemory>) -> T {
    found.unwrap_or_else(|OutOfMemory| {
        error_room::prepare();
        ereport!(ERROR, PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY, "out of memory");
    })
}

/// The answer of an SQL function, if Postgres will find memory for it: pgrx asks it for that in the context
/// of the statement, where there may be no room for an error (`error_room.rs`).
pub(crate) fn answer(bytes: Vec<u8>) -> Vec<u8> {
    or_raise(ask_for(2 * bytes.len() + BLOCK_BYTES));
    bytes
}

/// A small context of Postgres grows by no more.
const BLOCK_BYTES: usize = 64 * 1024;
