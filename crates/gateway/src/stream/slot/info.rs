//! What `sse.subscribers` (C8.1) and the inspector of the admin port (C8.2) say of a subscriber.

use std::net::IpAddr;
use std::time::SystemTime;

use super::Slot;
use crate::between::listing::SubscriberInfo;
use crate::between::shown::cut;
use crate::between::survey::{StreamInfo, StreamName};
use crate::stream::audience::Recipient;
use crate::stream::stream_log::StreamLog;

impl Slot {
    /// The peer's, or what a trusted proxy says it is.
    pub(crate) fn address(&self) -> IpAddr {
        self.stream_permit.address()
    }

    pub(crate) fn info(&self, log: &StreamLog) -> SubscriberInfo {
        let Recipient { identity, topics, .. } = &*self.subscription.recipient;
        let identity = identity.as_deref();
        SubscriberInfo {
            address: self.address(),
            user_id: identity.and_then(|identity| identity.user_id()).map(str::to_owned),
            user_name: identity.and_then(|identity| identity.user_name()).map(str::to_owned),
            path: self.subscription.ground.path.to_string(),
            topics: topics.iter().map(|topic| topic.as_str().to_owned()).collect(),
            connected_at: self.connected_at,
            events: self.events,
            bytes: self.bytes,
            last_event_id: log.id(self.position()).to_string(),
        }
    }
}

/// Longest path, user or topic that the inspector is told, in bytes; a longer one is cut.
const MAX_TEXT_BYTES: usize = 300;

/// Topics that the inspector is told of one stream.
const MAX_TOPICS: usize = 16;

impl Slot {
    /// How far it lags, and since when it is there.
    pub(crate) fn rank(&self, log: &StreamLog) -> (u64, SystemTime) {
        (self.lag(log), self.connected_at)
    }

    /// Items of the window that it has not come to, be they for it or not. Costs nothing.
    fn lag(&self, log: &StreamLog) -> u64 {
        if self.is_live() { 0 } else { log.head().saturating_sub(self.position()) }
    }

    /// What the inspector of the admin port is told (C8.2).
    pub(crate) fn about(&self, log: &StreamLog, name: StreamName) -> StreamInfo {
        let Recipient { identity, topics, .. } = &*self.subscription.recipient;
        let user = identity.as_deref().and_then(|identity| identity.user_name().or(identity.user_id()));
        let lag_events = self.lag(log);
        StreamInfo {
            name,
            path: cut(&self.subscription.ground.path, MAX_TEXT_BYTES),
            user: user.map(|user| cut(user, MAX_TEXT_BYTES)),
            address: self.address(),
            since: self.connected_at,
            delivered: self.events,
            lag_events,
            lag_bytes: log.bytes_of_newest(lag_events),
            topics: topics.iter().take(MAX_TOPICS).map(|topic| cut(topic.as_str(), MAX_TEXT_BYTES)).collect(),
            protocol: self.wire.protocol(),
            is_tls: self.wire.is_tls(),
        }
    }
}
