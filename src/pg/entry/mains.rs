//! The main functions of our background workers, by the names under which `bgworker.rs` registers them.
//!
//! Not for: what the workers do (`worker/`).

use pgrx::{pg_guard, pg_sys};

#[pg_guard]
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pg_sse_gateway_main(_argument: pg_sys::Datum) {
    crate::worker::gateway::run();
}

#[pg_guard]
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pg_sse_wal_reader_main(_argument: pg_sys::Datum) {
    crate::worker::wal_reader::run();
}

#[pg_guard]
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pg_sse_catalog_main(argument: pg_sys::Datum) {
    crate::worker::catalog::run(argument.value() as u64);
}

#[pg_guard]
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pg_sse_follower_main(argument: pg_sys::Datum) {
    crate::worker::follower::run(argument.value() as u64);
}

#[pg_guard]
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pg_sse_call_main(argument: pg_sys::Datum) {
    crate::worker::call::run(argument.value() as u64);
}
