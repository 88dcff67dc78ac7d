//! The two hooks in which Postgres gives out shared memory: in one it is asked for, once, at server start; in
//! the other it is made, and made anew after a crash of a backend.
//!
//! Not for: what lies in it (`shmem.rs`, `call_slot.rs`).

use std::cell::Cell;

use pgrx::pg_sys;

use crate::guc;
use crate::pg::{call_bell, call_slot, shmem};

thread_local! {
    static PREVIOUS_REQUEST: Cell<pg_sys::shmem_request_hook_type> = const { Cell::new(None) };
    static PREVIOUS_STARTUP: Cell<pg_sys::shmem_startup_hook_type> = const { Cell::new(None) };
}

/// Asks for the shared memory at server start. To be called once, from `_PG_init` in the postmaster.
pub(crate) fn install() {
    // SAFETY: hooks are plain variables of the postmaster, which runs nothing else while it loads libraries.
    PREVIOUS_REQUEST.set(unsafe { pg_sys::shmem_request_hook });
    // SAFETY: as above.
    unsafe { pg_sys::shmem_request_hook = Some(request) };
    // SAFETY: as above.
    PREVIOUS_STARTUP.set(unsafe { pg_sys::shmem_startup_hook });
    // SAFETY: as above.
    unsafe { pg_sys::shmem_startup_hook = Some(startup) };
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn request() {
    if let Some(previous) = PREVIOUS_REQUEST.get() {
        // SAFETY: the hook that was installed before ours, called when Postgres calls us.
        unsafe { previous() };
    }
    // SAFETY: called by Postgres in the one phase in which it allows this (ipci.c).
    unsafe { pg_sys::RequestAddinShmemSpace(shmem::bytes_needed(guc::RING_SIZE.bytes())) };
    // SAFETY: as above.
    unsafe { pg_sys::RequestAddinShmemSpace(call_slot::bytes_needed(guc::call_worker_slots())) };
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn startup() {
    if let Some(previous) = PREVIOUS_STARTUP.get() {
        // SAFETY: the hook that was installed before ours, called when Postgres calls us.
        unsafe { previous() };
    }
    shmem::start_up(guc::RING_SIZE.bytes());
    call_slot::start_up(guc::call_worker_slots());
    if guc::call_worker_slots() > 0 {
        call_bell::start_up(guc::THREADS.count());
    }
}
