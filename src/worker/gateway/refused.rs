//! Whether the gateway has been told of everybody who was refused (`sse.disconnect`).
//!
//! Not for the file that says who: a thread of the gateway has that, so that no disk and no lock is waited for here.

use sse_gateway::Gateway;

use crate::pg::shmem::Shared;

/// What a gateway was told. A new gateway reads the file by itself.
#[derive(Default)]
pub(super) struct Refused {
    /// Calls of `sse.disconnect`.
    told: u64,
}

impl Refused {
    /// Has the file read on after each call of `sse.disconnect`.
    pub(super) fn tend(&mut self, shared: &Shared, gateway: &Gateway) {
        let announced = shared.revocations();
        if self.told != announced {
            self.told = announced;
            gateway.read_refusals();
        }
    }
}
