//! How a call worker wakes the runtime thread of the gateway that waits for its answer.
//!
//! There is an eventfd for each runtime thread. The postmaster makes them, and every process that it forks
//! inherits them, like Postgres' own pipe that tells of the postmaster's end. The runtime thread has its own
//! in the set that it waits for, beside its sockets: so an answer wakes the thread that writes it, and no
//! other. Nobody reads them: a thread waits for the next write, not for a number (epoll(7), `EPOLLET`),
//! because two gateways of one process may wait for the same bell for a moment, while one ends and the next
//! begins.
//!
//! They are made before Postgres counts how many files a process may open (postmaster.c, `set_max_safe_fds`),
//! so they are not among those that it promises to have.
//!
//! Where there is no eventfd (macOS), there are no bells, and the main thread is woken.
//!
//! Not for the way to the worker, which is woken by its latch (`latch.rs`).

use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

/// Made once in the life of the postmaster, which also outlives shared memory.
static BELLS: OnceLock<Vec<Arc<OwnedFd>>> = OnceLock::new();

/// Makes so many bells, or none. Called from the startup hook of shared memory, in the postmaster.
pub(super) fn start_up(count: usize) {
    BELLS.get_or_init(|| {
        let bells: Option<Vec<_>> = (0..count).map(|_| system::bell().map(Arc::new)).collect();
        bells.unwrap_or_default()
    });
}

/// One for each runtime thread, or none at all.
pub(crate) fn all() -> Vec<Arc<OwnedFd>> {
    BELLS.get().cloned().unwrap_or_default()
}

/// Wakes the runtime thread with this number. `false`: it has no bell. Takes no lock, does not allocate, does
/// not wait, cannot fail.
pub(super) fn ring(number: usize) -> bool {
    let bell = BELLS.get().and_then(|bells| bells.get(number));
    bell.is_some_and(|bell| system::ring(bell))
}

#[cfg(target_os = "linux")]
mod system {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    pub(super) fn bell() -> Option<OwnedFd> {
        // SAFETY: makes a descriptor (eventfd(2)).
        let bell = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        // SAFETY: just made, and known to nobody else.
        (bell >= 0).then(|| unsafe { OwnedFd::from_raw_fd(bell) })
    }

    pub(super) fn ring(bell: &OwnedFd) -> bool {
        let one = 1_u64;
        // SAFETY: reads the eight bytes of `one`; the descriptor is open for as long as the process lives. It
        // would fail when the number is full, after 2^64 rings.
        unsafe { libc::write(bell.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
        true
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::os::fd::OwnedFd;

    pub(super) fn bell() -> Option<OwnedFd> {
        None
    }

    pub(super) fn ring(_bell: &OwnedFd) -> bool {
        false
    }
}
