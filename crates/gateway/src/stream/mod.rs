//! From a batch of events to the sockets of the subscribers that they are for.
//!
//! Not for whether a stream may begin: that is `router`.

pub(crate) mod answer;
pub(crate) mod audience;
pub(crate) mod call_ends;
pub(crate) mod of_call;
pub(crate) mod overlap;
pub(crate) mod parcel;
pub(crate) mod pipe;
pub(crate) mod posting;
pub(crate) mod ready;
pub(crate) mod slab;
pub(crate) mod slot;
pub(crate) mod socket;
pub(crate) mod stream_log;
pub(crate) mod subscribe;
pub(crate) mod terms;
pub(crate) mod wire;
