//! Wakes the main thread of another process, at any point of a transaction.
//!
//! Shared memory holds places in the process array, never pointers to latches: a place stays valid when its
//! process has gone (the wake then reaches whoever took it, which every user of a latch must expect).
//!
//! Threads that never call Postgres may wake **other** processes, too: `SetLatch` then uses that latch alone
//! (`is_set`, `maybe_sleeping`, `owner_pid`), with barriers, reads `MyProcPid`, which is set before there are
//! threads, and sends a signal (latch.c of 15 to 18). Only for a latch of one's own process it looks at what
//! the main thread has. A signal by hand would not do: a process that sleeps goes back to sleep while its
//! latch is not set.
//!
//! Not for: deciding whether a wake is needed, which the sleeping flag of a ring does (`sse_ring`); and the
//! thread that takes events out of their ring, which `futex.rs` wakes.

use std::ffi::c_void;

use pgrx::pg_sys;

// Declared here instead of called through pgrx: its wrappers set a jump buffer and may unwind, and this runs
// in commit callbacks and in the log hook, where nothing may. latch.c: SetLatch takes no lock, does not
// allocate and does not report errors; it is called from signal handlers.
unsafe extern "C-unwind" {
    fn SetLatch(latch: *mut c_void);
}

/// Wakes the process that has this place in the process array. Takes no lock, does not allocate, cannot fail.
pub(crate) fn wake(place: u32) {
    // SAFETY: set up by the postmaster before any backend exists, never changed afterwards.
    let header = unsafe { pg_sys::ProcGlobal };
    // SAFETY: as above; NULL only outside of a server, where there is no shared memory of ours either.
    let Some(header) = (unsafe { header.as_ref() }) else { return };
    if place >= header.allProcCount {
        return;
    }
    // SAFETY: `place` is below the number of entries of the array.
    let process = unsafe { header.allProcs.add(place as usize) };
    // SAFETY: `process` is a valid entry of the process array; only the address of its latch is taken.
    let latch = unsafe { &raw mut (*process).procLatch };
    // SAFETY: latches in the process array are initialised at server start (proc.c, InitProcGlobal) and stay.
    // A thread that is not the main thread passes the place of another process (head of this file).
    unsafe { SetLatch(latch.cast()) };
}

/// This process' place in the process array: what [`wake`] takes.
pub(crate) fn my_place() -> Option<u32> {
    // SAFETY: as in `wake`.
    let header = unsafe { pg_sys::ProcGlobal };
    // SAFETY: as in `wake`.
    let header = unsafe { header.as_ref() }?;
    // SAFETY: set at the start of this process.
    let me = unsafe { pg_sys::MyProc };
    if me.is_null() {
        return None;
    }
    // SAFETY: `me` points into the array `allProcs`, as proc.c (InitProcess) guarantees.
    let distance = unsafe { me.offset_from(header.allProcs) };
    u32::try_from(distance).ok()
}
