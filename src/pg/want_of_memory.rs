//! Memory for a step that cannot ask for it with `try_reserve`, because what it calls does not: Rust ends the
//! process where there is none, and with it every session of the cluster. So the step asks before it begins.
//!
//! Not for: shared memory (`shmem.rs`).

use std::hint::black_box;

use pgrx::prelude::*;
use sse_proto::encoding::OutOfMemory;

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
        ereport!(ERROR, PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY, "out of memory");
    })
}
