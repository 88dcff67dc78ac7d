//! What `sse.subscribers` says of a subscriber (C8.1).

use super::Slot;
use crate::between::listing::SubscriberInfo;
use crate::stream::stream_log::StreamLog;
use crate::stream::subscribe::Subscription;

impl Slot {
    pub(crate) fn info(&self, log: &StreamLog) -> SubscriberInfo {
        let Subscription { identity, address, path, topics, .. } = &*self.subscription;
        let identity = identity.as_deref();
        SubscriberInfo {
            address: *address,
            user_id: identity.and_then(|identity| identity.user_id()).map(str::to_owned),
            user_name: identity.and_then(|identity| identity.user_name()).map(str::to_owned),
            path: path.to_string(),
            topics: topics.iter().map(|topic| topic.as_str().to_owned()).collect(),
            connected_at: self.connected_at,
            events: self.events,
            bytes: self.bytes,
            last_event_id: log.id(self.position()).to_string(),
        }
    }
}
