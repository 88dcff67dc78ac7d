//! What ties a stream to the call that it answers (C7.8): the event that it ends with, and the news that it
//! has gone.
//!
//! Not for what the last event says, nor for waiting for the call: that is `call`. Which events are the
//! call's: `call_ends`.

use bytes::Bytes;
use sse_proto::sse::LongEvent;
use tokio::sync::oneshot;

/// The last event of a call's stream. Its data is counted memory (`room::held`).
pub(crate) type LastEvent = LongEvent<Bytes>;

/// The stream's side. However the stream ends, this is dropped, and the task that owns the call sees it.
#[derive(Debug)]
pub(crate) struct CallTie {
    /// After this item the stream begins.
    pub(crate) since: u64,
    pub(crate) last: oneshot::Receiver<LastEvent>,
}
