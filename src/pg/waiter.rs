//! Waits for the latch and descriptors, again and again.
//!
//! `WaitLatchOrSocket` makes a set of what it waits for, and closes it, at each wait: seven system calls
//! around the one that counts, twice for every HTTP call and once for most events. So the set is made once,
//! as core's own latch set is.
//!
//! Not for waiting for the latch alone: `bgworker::wait`.

use std::ffi::{c_int, c_long};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::Duration;

use pgrx::pg_sys;

use super::{bgworker, compat};

/// The latch of this process, the postmaster's death, and descriptors.
pub(crate) struct Waiter {
    /// The set. Only this process uses it.
    set: *mut pg_sys::WaitEventSet,
}

impl Waiter {
    /// Drop this before closing any of the descriptors: a set does not notice when a number comes to mean
    /// another file.
    pub(crate) fn new(descriptors: &[BorrowedFd<'_>]) -> Self {
        let room = c_int::try_from(descriptors.len() + 2).unwrap_or(c_int::MAX);
        let waiter = Self { set: compat::create_wait_event_set(room) };
        // SAFETY: set at the start of this process.
        let latch = unsafe { pg_sys::MyLatch };
        waiter.add(pg_sys::WL_LATCH_SET, -1, latch);
        waiter.add(pg_sys::WL_POSTMASTER_DEATH, -1, ptr::null_mut());
        for descriptor in descriptors {
            waiter.add(pg_sys::WL_SOCKET_READABLE, descriptor.as_raw_fd(), ptr::null_mut());
        }
        waiter
    }

    /// Waits for one of these, or until the time has passed; then does what [`bgworker::wait`] does.
    pub(crate) fn wait(&self, timeout: Duration) {
        let timeout = c_long::try_from(timeout.as_millis()).unwrap_or(c_long::MAX);
        let mut event = MaybeUninit::<pg_sys::WaitEvent>::zeroed();
        let room = event.as_mut_ptr();
        // SAFETY: the set is alive; there is room for one event.
        let count =
            unsafe { pg_sys::WaitEventSetWait(self.set, timeout, room, 1, pg_sys::PG_WAIT_EXTENSION) };
        // SAFETY: plain data, zeroed before.
        let event = unsafe { event.assume_init() };
        bgworker::woken(if count > 0 { event.events } else { 0 });
    }

    fn add(&self, events: u32, fd: i32, latch: *mut pg_sys::Latch) {
        // SAFETY: `new` has made the set for all of them; the latch is this process' own, a descriptor is
        // open.
        unsafe { pg_sys::AddWaitEventToSet(self.set, events, fd, latch, ptr::null_mut()) };
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // SAFETY: made by `new`, used by nobody else.
        unsafe { pg_sys::FreeWaitEventSet(self.set) };
    }
}
