//! A request for a stream: who asks, what for, and where in the stream it begins.
//!
//! Not for whether it may: that is `router`. Not for reading query strings: that is `sse_proto::query`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use sse_proto::identity::Identity;
use sse_proto::query::Query;
use sse_proto::route::Route;
use sse_proto::sse::{EventId, GapReason};
use sse_proto::word::{ExecutionId, Topic};
use tokio::net::TcpStream;

use crate::admission::{Connection, Subscriber};
use crate::auth::Verified;
use crate::stream_log::{Cursor, Framing, StreamLog};

/// A stream that is to begin: handed from its connection's task to the slab.
pub(crate) struct Newcomer {
    pub(crate) socket: TcpStream,
    pub(crate) framing: Framing,
    /// Head of the answer.
    pub(crate) head: Vec<u8>,
    pub(crate) subscription: Box<Subscription>,
    pub(crate) last_event_id: Vec<u8>,
    pub(crate) subscriber: Subscriber,
    pub(crate) connection: Connection,
}

/// Who subscribes to what: everything that decides what a stream is sent, and when it ends.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    /// `None` = anonymous.
    pub(crate) identity: Option<Arc<Identity>>,
    /// The stream ends when this passes (C4.7). `None` for the anonymous alone: a token always has an `exp`.
    pub(crate) expires_at: Option<SystemTime>,
    /// When the token was issued, if it says so; for `sse.disconnect` (C4.8), which counts a token that does not say
    /// so as old. Whole seconds are their beginning.
    pub(crate) issued_at: Option<SystemTime>,
    /// The routine's own and those of the request, each once (C4.5). Empty = events without a topic.
    pub(crate) topics: Vec<Topic>,
    /// C4.4.
    pub(crate) execution_id: Option<ExecutionId>,
    /// The peer's, or what a trusted proxy says it is.
    pub(crate) address: IpAddr,
    /// The route's path, without the query string (which may carry a token).
    pub(crate) path: Box<str>,
}

impl Subscription {
    pub(crate) fn new(route: &Route, query: Query, login: Option<Verified>, address: IpAddr) -> Self {
        let mut topics: Vec<Topic> = route.topic.iter().cloned().collect();
        topics.extend(query.topics.into_iter().filter(|topic| route.topic.as_ref() != Some(topic)));
        let (identity, expires_at, issued_at) = match login {
            None => (None, None, None),
            Some(login) => (Some(Arc::new(login.identity)), Some(login.expires_at), login.issued_at),
        };
        Self {
            identity,
            expires_at,
            issued_at,
            topics,
            execution_id: query.execution_id,
            address,
            path: Box::from(route.path.as_str()),
        }
    }
}

/// Where a stream begins (C6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    /// What `sse.ready` and a gap carry: everything up to here has been seen, or is covered by the gap.
    pub(crate) position: u64,
    pub(crate) gap: Option<GapReason>,
}

impl Start {
    /// `published` is the newest sequence that any runtime thread may have sent. This thread's log may lag behind it;
    /// such an id is waited for, not refused.
    pub(crate) fn find(last_event_id: &[u8], log: &StreamLog, published: u64) -> Self {
        let live = |gap| Self { position: log.head(), gap };
        if last_event_id.is_empty() {
            return live(None);
        }
        let Some(id) = std::str::from_utf8(last_event_id).ok().and_then(EventId::parse) else {
            return live(Some(GapReason::Unknown));
        };
        if id.epoch != log.id(0).epoch {
            return live(Some(GapReason::Restarted));
        }
        if id.sequence > published.max(log.head()) {
            return live(Some(GapReason::Unknown));
        }
        if id.sequence + 1 < log.base() {
            return live(Some(GapReason::Expired));
        }
        Self { position: id.sequence, gap: None }
    }

    pub(crate) fn cursor(self) -> Cursor {
        Cursor::before(self.position + 1)
    }
}
