//! The sleep of the courier, the thread of the gateway that takes records out of the ring
//! (`worker/gateway/courier.rs`), and how any process wakes it.
//!
//! The courier sleeps on the word in the ring's header by which it asks for a wake
//! (`sse_ring::Ring::sleep_word`), with the kernel's futex. Not on a latch, because a latch wakes the main
//! thread, which may just be busy with something else. The word is in shared memory, so the futex is not
//! private to a process (no `FUTEX_PRIVATE_FLAG`).
//!
//! Where the system has no futex, the main thread's latch is set, and the main thread passes the wake on
//! ([`pass_on`]). Events then wait for the main thread, for a second at most.
//!
//! Not for: whether a wake is needed (`sse_ring`); the main thread's own sleep, and the rings of calls
//! (`latch.rs`).

use std::thread::Thread;
use std::time::Duration;

use sse_ring::Wake;

use super::shmem::Shared;

/// Wakes the courier if the ring says that it sleeps.
pub(crate) fn wake_if(wake: Wake, shared: &Shared) {
    if wake == Wake::Needed {
        self::wake(shared);
    }
}

/// Wakes the courier if it sleeps, for whatever reason: for publishers that wait for room. Takes no lock,
/// does not allocate, cannot fail, and leaves `errno` as it is, because it is called in commit callbacks and
/// in the log hook.
pub(crate) fn wake(shared: &Shared) {
    system::wake(shared);
}

/// Sleeps until another process wakes this thread, or the time has passed, or for no reason; not at all when
/// the ring's word is no longer `expected`. For the courier.
pub(crate) fn wait(shared: &Shared, expected: u32, timeout: Duration) {
    system::wait(shared, expected, timeout);
}

/// Passes a wake that the main thread got on to the courier. Does nothing where there are futexes.
pub(crate) fn pass_on(courier: &Thread) {
    system::pass_on(courier);
}

#[cfg(target_os = "linux")]
mod system {
    use super::{Duration, Shared, Thread};

    pub(super) fn wake(shared: &Shared) {
        let word = shared.ring.sleep_word().as_ptr();
        // SAFETY: the address of this thread's own variable.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: as above.
        let before = unsafe { errno.read() };
        // SAFETY: wakes at most one who sleeps on an address in shared memory, which stays mapped; reads and
        // writes nothing there. A system call that does not wait (futex(2)).
        unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, 1) };
        // SAFETY: as above.
        unsafe { errno.write(before) };
    }

    pub(super) fn wait(shared: &Shared, expected: u32, timeout: Duration) {
        let word = shared.ring.sleep_word().as_ptr();
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            // Below a thousand million.
            tv_nsec: timeout.subsec_nanos() as libc::c_long,
        };
        // SAFETY: the kernel reads the word, which is in shared memory and stays mapped, and the time, which
        // is ours (futex(2)). All its errors mean "look again": the word has changed, the time has passed.
        unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, expected, &raw const timeout) };
    }

    pub(super) fn pass_on(_courier: &Thread) {}
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::sync::atomic::Ordering::Relaxed;

    use super::{Duration, Shared, Thread};

    pub(super) fn wake(shared: &Shared) {
        shared.wake_gateway();
    }

    /// A wake that was passed on before is not lost: the thread has a token for it.
    pub(super) fn wait(shared: &Shared, expected: u32, timeout: Duration) {
        if shared.ring.sleep_word().load(Relaxed) == expected {
            std::thread::park_timeout(timeout);
        }
    }

    pub(super) fn pass_on(courier: &Thread) {
        courier.unpark();
    }
}
