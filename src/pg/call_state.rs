//! Whether calls run, as a figure.
//!
//! Not for when they do: `worker/calls.rs` decides that.

use super::state::states;

states! {
    /// Whether calls run. Stored in the header of the call workers' memory (`call_slot.rs`), shown in
    /// `sse.stat_gateway`.
    pub(crate) enum CallState {
        /// `sse.call_role` is empty, or nothing is served.
        Off,
        /// The role has not been checked yet.
        Checking,
        /// The role may not be used.
        Refused,
        /// No worker is ready: they are being started, or there is no place for them.
        Starting,
        /// Calls run.
        Ready,
    }
}

impl CallState {
    /// As `sse.stat_gateway` says it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Checking => "checking",
            Self::Refused => "refused",
            Self::Starting => "starting",
            Self::Ready => "ready",
        }
    }
}
