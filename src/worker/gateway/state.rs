//! What the views and the log say of the gateway: whether it serves, and why not.
//!
//! Not for the words of the log: messages.rs.

use std::sync::atomic::Ordering::Relaxed;

use sse_gateway::Gateway;

use super::messages;
use crate::pg::config_file;
use crate::pg::shmem::{GatewayState, Shared};

pub(super) struct State {
    shared: Shared,
    shown: GatewayState,
}

impl State {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared, shown: GatewayState::Stopped }
    }

    /// How the gateway serves now, which is there.
    pub(super) fn show(&mut self, gateway: &Gateway) {
        let stats = gateway.stats();
        let state = if gateway.awaits_certificate() {
            GatewayState::WaitingForCertificate
        } else if !stats.listening.load(Relaxed) {
            GatewayState::WaitingForPort
        } else if config_file::any_refused() {
            GatewayState::Misconfigured
        } else {
            GatewayState::Serving
        };
        let is_up = |state| matches!(state, GatewayState::Serving | GatewayState::Misconfigured);
        let has_begun = is_up(state) && !is_up(self.shown);
        self.set(state);
        if has_begun {
            messages::serving(stats.port.load(Relaxed));
        }
    }

    /// Shows the state, and says once why nothing is served.
    pub(super) fn set(&mut self, state: GatewayState) {
        self.shared.header.gateway.state.store(state as u32, Relaxed);
        if state != self.shown {
            self.shown = state;
            messages::state(state);
        }
    }
}
