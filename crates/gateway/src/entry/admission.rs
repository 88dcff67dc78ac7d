//! Whether a socket or a stream is let in: the counts of open ones, and their limits.
//!
//! Not for the answer to peers that are not let in: that is `listener` (no request read) and `router`
//! (request read).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::entry::peer::Peer;
use crate::entry::sockets::{Place, Sockets};
use crate::network::network;
use crate::stats::Stats;

/// What one gateway has open.
#[derive(Default)]
pub(crate) struct Counts {
    stats: Arc<Stats>,
    /// Sockets that are no streams.
    pub(crate) sockets: Sockets,
    /// Connections that are being told that there is no room for them.
    told: AtomicU64,
    /// Streams by address.
    addresses: Addresses,
}

impl Counts {
    pub(crate) fn new(stats: Arc<Stats>) -> Self {
        Self { stats, ..Self::default() }
    }
}

/// The right to an open socket that is no stream; given back when dropped, also by a panic.
pub(crate) struct SocketPermit {
    seat: Seat,
    open: OpenSocket,
}

/// A socket's place in the table of those that are no streams, which it leaves when dropped.
struct Seat {
    counts: Arc<Counts>,
    place: Place,
}

/// What is left of the permit when the socket is a stream.
pub(crate) struct OpenSocket(Arc<Counts>);

impl SocketPermit {
    /// `None` when `limit` sockets ([`crate::Settings::max_sockets`]) are open and each of them has a
    /// request. Otherwise a socket without a request makes room: its task closes it as soon as it runs, and
    /// until then one more is open.
    pub(crate) fn try_new(counts: &Arc<Counts>, limit: usize, peer: Peer) -> Option<Self> {
        let stats = &counts.stats;
        if !count_up(&stats.connections, limit) {
            if !counts.sockets.displace() {
                return None;
            }
            Stats::add(&stats.displaced_total, 1);
            Stats::add(&stats.connections, 1);
        }
        Stats::add(&stats.connections_total, 1);
        let seat = Seat { counts: Arc::clone(counts), place: counts.sockets.enter(peer.address) };
        Some(Self { seat, open: OpenSocket(Arc::clone(counts)) })
    }

    /// A request has come. `limit` is how many sockets of this address may have a request at a time.
    pub(crate) fn begin_request(&self, limit: usize) -> bool {
        self.seat.counts.sockets.begin_request(&self.seat.place, limit)
    }

    /// The request has been answered.
    pub(crate) fn end_request(&self) {
        self.seat.counts.sockets.end_request(&self.seat.place);
    }

    /// The socket has become a stream.
    pub(crate) fn become_stream(self) -> OpenSocket {
        self.open
    }

    /// The socket carries its first stream (HTTP/2). False when it is to close.
    pub(crate) fn begin_streams(&self) -> bool {
        self.seat.counts.sockets.begin_streams(&self.seat.place)
    }

    /// The last of them has ended.
    pub(crate) fn end_streams(&self) {
        self.seat.counts.sockets.end_streams(&self.seat.place);
    }

    /// Returns when the socket is to close to make room for another.
    pub(crate) async fn displaced(&self) {
        self.seat.place.displaced().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.counts.sockets.leave(&self.place);
    }
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        Stats::subtract(&self.0.stats.connections, 1);
    }
}

/// The right to a request that shares its socket with others (HTTP/2); given back when dropped.
pub(crate) struct SharePermit {
    counts: Arc<Counts>,
    address: IpAddr,
}

impl SharePermit {
    /// `None` when `limit` sockets or such requests of this address are busy, or `all` such requests in all.
    pub(crate) fn try_new(counts: &Arc<Counts>, address: IpAddr, limit: usize, all: usize) -> Option<Self> {
        let begun = counts.sockets.begin_sharing(address, limit, all);
        begun.then(|| Self { counts: Arc::clone(counts), address })
    }
}

impl Drop for SharePermit {
    fn drop(&mut self) {
        self.counts.sockets.end_sharing(self.address);
    }
}

/// Connections beyond [`crate::Settings::max_sockets`] that are told so at a time, of all threads and
/// addresses; each holds a descriptor for up to two seconds. Further ones are just closed.
const MAX_TOLD: usize = 64;

/// The right to tell a connection that there is no room for it; given back when dropped.
pub(crate) struct RefusalPermit(Arc<Counts>);

impl RefusalPermit {
    /// `None` when [`MAX_TOLD`] are being told.
    pub(crate) fn try_new(counts: &Arc<Counts>) -> Option<Self> {
        count_up(&counts.told, MAX_TOLD).then(|| Self(Arc::clone(counts)))
    }
}

impl Drop for RefusalPermit {
    fn drop(&mut self) {
        Stats::subtract(&self.0.told, 1);
    }
}

/// Why a stream does not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// `max_connections` streams are open, or the part of these that anonymous subscribers may have.
    Full,
    /// `max_connections_per_address` streams of this address are open.
    Address,
}

/// How many streams there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamLimits {
    pub(crate) all: usize,
    /// Of these, of subscribers without an identity.
    pub(crate) anonymous: usize,
    /// Of one address; 0 = no limit.
    pub(crate) of_address: usize,
}

/// The right to an open stream; given back when dropped.
pub(crate) struct StreamPermit {
    counts: Arc<Counts>,
    address: IpAddr,
    is_anonymous: bool,
}

impl StreamPermit {
    /// # Errors
    /// [`NoRoom`]; each variant as it is described there.
    pub(crate) fn try_new(
        counts: &Arc<Counts>,
        limits: StreamLimits,
        address: IpAddr,
        is_anonymous: bool,
    ) -> Result<Self, NoRoom> {
        let stats = &counts.stats;
        if !counts.addresses.count_up(address, limits.of_address) {
            return Err(NoRoom::Address);
        }
        if !count_up(&stats.subscribers, limits.all) {
            counts.addresses.count_down(address);
            return Err(NoRoom::Full);
        }
        if is_anonymous && !count_up(&stats.anonymous_subscribers, limits.anonymous) {
            Stats::subtract(&stats.subscribers, 1);
            counts.addresses.count_down(address);
            return Err(NoRoom::Full);
        }
        Stats::add(&stats.subscribers_total, 1);
        Ok(Self { counts: Arc::clone(counts), address, is_anonymous })
    }

    /// The address that it counts for: the peer's, or what a trusted proxy says it is.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        Stats::subtract(&self.counts.stats.subscribers, 1);
        if self.is_anonymous {
            Stats::subtract(&self.counts.stats.anonymous_subscribers, 1);
        }
        self.counts.addresses.count_down(self.address);
    }
}

/// Adds one unless there are `limit` already.
fn count_up(counter: &AtomicU64, limit: usize) -> bool {
    if counter.fetch_add(1, Ordering::Relaxed) >= limit as u64 {
        Stats::subtract(counter, 1);
        return false;
    }
    true
}

/// Open streams by address. Counted even while there is no limit, because one may be set at any time.
#[derive(Default)]
pub(crate) struct Addresses(Mutex<HashMap<IpAddr, usize>>);

impl Addresses {
    /// `limit` 0 = none.
    fn count_up(&self, address: IpAddr, limit: usize) -> bool {
        let mut streams = self.0.lock();
        let count = streams.entry(network(address)).or_default();
        if limit > 0 && *count >= limit {
            return false;
        }
        *count += 1;
        true
    }

    fn count_down(&self, address: IpAddr) {
        let mut streams = self.0.lock();
        let network = network(address);
        if let Some(count) = streams.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                streams.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_is_counted_up_to_its_limit_and_forgotten_with_its_last_stream() {
        let addresses = Addresses::default();
        let address = "203.0.113.9".parse().unwrap();
        for taken in [true, true, false, false] {
            assert_eq!(addresses.count_up(address, 2), taken);
        }
        assert!(addresses.count_up("203.0.113.10".parse().unwrap(), 2));
        addresses.count_down(address);
        assert!(addresses.count_up(address, 2));
        assert!(addresses.count_up(address, 0), "no limit");
        for _ in 0..3 {
            addresses.count_down(address);
        }
        assert_eq!(addresses.0.lock().len(), 1);
    }

    // An IPv6 subscriber has 2^64 addresses.
    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let addresses = Addresses::default();
        assert!(addresses.count_up("2001:db8:0:1::1".parse().unwrap(), 1));
        assert!(!addresses.count_up("2001:db8:0:1:ffff::2".parse().unwrap(), 1));
        assert!(addresses.count_up("2001:db8:0:2::1".parse().unwrap(), 1));
    }
}
