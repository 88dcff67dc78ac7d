//! Signals of a call worker.
//!
//! Postgres' own handlers are made for backends that read commands: in an idle background worker,
//! `pg_cancel_backend` is an error that nobody catches. So a cancel counts only while a call runs, and the
//! gateway's cancel counts only for the call that it names.
//!
//! Handlers read atomics, and set Postgres' flags and the latch; they do nothing else.

use std::ffi::{c_int, c_void};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicPtr};

use pgrx::pg_sys;

use super::call_slot::Slot;
use super::compat;

// Declared here: pgrx' items are Rust functions of their own and cannot be handlers. All three are
// async-signal-safe (postgres.c, interrupt.c, latch.c).
unsafe extern "C-unwind" {
    fn die(signal: c_int);
    fn SignalHandlerForConfigReload(signal: c_int);
    fn SetLatch(latch: *mut c_void);
}

/// This process' slot; set once, before the handlers are installed.
static SLOT: AtomicPtr<Slot> = AtomicPtr::new(std::ptr::null_mut());

/// SIGTERM has come.
static LEAVE: AtomicBool = AtomicBool::new(false);

/// The worker is cleaning up after a call.
static CLEANS: AtomicBool = AtomicBool::new(false);

/// The worker is connected and leaves by itself when it is told to.
static SERVES: AtomicBool = AtomicBool::new(false);

/// Installs the handlers and lets signals in.
pub(crate) fn install(slot: &'static Slot) {
    SLOT.store(std::ptr::from_ref(slot).cast_mut(), Relaxed);
    compat::on_signal(libc::SIGTERM, terminate);
    compat::on_signal(libc::SIGINT, cancel_any);
    compat::on_signal(libc::SIGUSR2, cancel_one);
    compat::on_signal(libc::SIGHUP, SignalHandlerForConfigReload);
    // SAFETY: the handlers are in place.
    unsafe { pg_sys::BackgroundWorkerUnblockSignals() };
}

/// From here on the worker checks [`told_to_leave`] before it waits or takes a call.
pub(crate) fn serves() {
    SERVES.store(true, Relaxed);
}

/// The call is over, and what it left is being undone. From here on a signal to leave or to cancel does not
/// end the process, but interrupts the clean-up with an error: the outcome of the call is known, and the
/// caller has to be told.
pub(crate) fn cleans() {
    CLEANS.store(true, Relaxed);
    if let Some(slot) = slot() {
        slot.set_running(0);
    }
    // A cancel that came too late for the call is forgotten.
    forget_cancel();
    // But not a signal to leave: one that came just before would be forgotten with it.
    if told_to_leave() {
        request_cancel();
    }
}

/// The clean-up is over: all that the call left is undone, or the worker is about to leave.
pub(crate) fn has_cleaned() {
    CLEANS.store(false, Relaxed);
    forget_cancel();
}

/// Whether the worker was told to leave.
pub(crate) fn told_to_leave() -> bool {
    LEAVE.load(Relaxed)
}

/// Makes the running statement end as `pg_cancel_backend` does, at its next check for interrupts.
pub(crate) fn request_cancel() {
    // SAFETY: a flag of globals.c for this very purpose.
    unsafe { pg_sys::QueryCancelPending = 1 };
    // SAFETY: as above.
    unsafe { pg_sys::InterruptPending = 1 };
}

/// Forgets a cancel that came too late.
pub(crate) fn forget_cancel() {
    // SAFETY: as above.
    unsafe { pg_sys::QueryCancelPending = 0 };
}

fn slot() -> Option<&'static Slot> {
    // SAFETY: NULL, or the reference to shared memory that `install` was given.
    unsafe { SLOT.load(Relaxed).as_ref() }
}

fn running() -> u64 {
    slot().map_or(0, Slot::running)
}

fn wake_myself() {
    // SAFETY: set at the start of the process, NULL only at its very end.
    let latch = unsafe { pg_sys::MyLatch };
    if !latch.is_null() {
        // SAFETY: this process' own latch.
        unsafe { SetLatch(latch.cast()) };
    }
}

/// SIGTERM. An idle worker leaves by itself and in silence; in a call, or before it serves, it ends like any
/// backend.
unsafe extern "C-unwind" fn terminate(signal: c_int) {
    let _errno = Errno::keep();
    LEAVE.store(true, Relaxed);
    if CLEANS.load(Relaxed) {
        request_cancel();
    } else if running() != 0 || !SERVES.load(Relaxed) {
        // SAFETY: postgres.c's handler, called as one.
        unsafe { die(signal) };
        return;
    }
    wake_myself();
}

/// `pg_cancel_backend`, and the timeouts of a statement and of waiting for a lock.
unsafe extern "C-unwind" fn cancel_any(_signal: c_int) {
    let _errno = Errno::keep();
    if running() != 0 || CLEANS.load(Relaxed) {
        request_cancel();
    }
    wake_myself();
}

/// The gateway's cancel: the client of the call has gone.
unsafe extern "C-unwind" fn cancel_one(_signal: c_int) {
    let _errno = Errno::keep();
    if let Some(slot) = slot()
        && slot.running() != 0
        && slot.running() == slot.to_be_cancelled()
    {
        request_cancel();
    }
    wake_myself();
}

/// The code that a handler interrupts may be about to read its `errno`.
struct Errno(c_int);

impl Errno {
    fn keep() -> Self {
        Self(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }
}

impl Drop for Errno {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        // SAFETY: answers the place of this thread's own variable.
        let place = unsafe { libc::__errno_location() };
        #[cfg(target_os = "macos")]
        // SAFETY: as above.
        let place = unsafe { libc::__error() };
        // SAFETY: as above.
        unsafe { *place = self.0 };
    }
}
