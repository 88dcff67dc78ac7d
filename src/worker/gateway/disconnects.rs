//! Whether the gateway has been told of every call of `sse.disconnect`.
//!
//! Not for the file of refusals: a thread of the gateway reads it, so that the main thread waits for no
//! disk and no lock.

use sse_gateway::Gateway;

use crate::pg::shmem::Shared;

/// What this gateway was told. A new gateway reads the file by itself.
#[derive(Default)]
pub(super) struct Disconnects {
    /// Calls of `sse.disconnect`.
    told: u64,
}

impl Disconnects {
    /// Makes the gateway read on in the file after each call of `sse.disconnect`.
    pub(super) fn tend(&mut self, shared: &Shared, gateway: &Gateway) {
        let announced = shared.revocations();
        if self.told != announced {
            self.told = announced;
            gateway.read_refusals();
        }
    }
}
