//! Who may take records out of the ring: only the gateway process, once.

use sse_ring::{Consumer, Corrupt};

use super::shmem::Shared;

/// The ring's one consumer.
///
/// # Errors
/// [`Corrupt`] when the ring's positions contradict each other.
pub(crate) fn take(shared: &Shared) -> Result<Consumer<'static>, Corrupt> {
    // SAFETY: only the gateway's main function calls this, once in a process; the postmaster registers one
    // gateway and starts another only after the last one has ended (bgworker.c).
    unsafe { shared.ring.consumer() }
}
