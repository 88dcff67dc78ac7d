//! Who is let in: the counts of open sockets and streams, and their limits.
//!
//! Not for the answer to those who are not: that is `listener` (no request read) and `router` (request read).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::shared::Shared;
use crate::stats::Stats;

/// An open socket; counted down when dropped, also by a panic.
pub(crate) struct Connection(Arc<Shared>);

impl Connection {
    /// `None` when [`crate::Settings::max_sockets`] are open.
    pub(crate) fn try_new(shared: &Arc<Shared>) -> Option<Self> {
        let counter = &shared.stats.connections;
        let open = counter.fetch_add(1, Ordering::Relaxed);
        if open >= shared.settings().max_sockets() as u64 {
            Stats::subtract(counter, 1);
            return None;
        }
        Stats::add(&shared.stats.connections_total, 1);
        Some(Self(Arc::clone(shared)))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        Stats::subtract(&self.0.stats.connections, 1);
    }
}

/// An open stream; counted down when dropped.
pub(crate) struct Subscriber(Arc<Shared>);

impl Subscriber {
    /// `None` when `max_connections` streams are open. (The quarter that C1.3 keeps for authenticated subscribers is
    /// taken off here once there are any.)
    pub(crate) fn try_new(shared: &Arc<Shared>) -> Option<Self> {
        let counter = &shared.stats.subscribers;
        let open = counter.fetch_add(1, Ordering::Relaxed);
        if open >= shared.settings().max_connections as u64 {
            Stats::subtract(counter, 1);
            return None;
        }
        Stats::add(&shared.stats.subscribers_total, 1);
        Some(Self(Arc::clone(shared)))
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        Stats::subtract(&self.0.stats.subscribers, 1);
    }
}
