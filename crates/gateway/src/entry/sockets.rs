//! Which socket is closed for another one when all are taken, and how many sockets an address may keep busy.
//!
//! A socket without a request is worth least: its head has not come whole, or it waits for its next request.
//! When all sockets are taken and another peer connects, such a socket makes room. It is taken from the
//! address with the most sockets that are no streams, and there it is the one that has been without a request
//! for longest. So silent sockets, however many there are and however often they are renewed, displace each
//! other and not those of other addresses. This needs no setting, which behind a proxy would be a limit for
//! everybody together. A socket with a request is never closed for another one; an address has at most half
//! of all sockets busy like this.
//!
//! A connection over HTTP/2 carries many requests. Each counts as a busy socket does, for its address and for
//! all together; the connection itself is without a request while it has no stream of any kind.
//!
//! Not for streams: these have `sse.max_connections_per_address`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::network::network;

/// The sockets that are no streams, by address.
#[derive(Default)]
pub(crate) struct Sockets(Mutex<Table>);

#[derive(Default)]
struct Table {
    networks: HashMap<IpAddr, Network>,
    /// The networks that have a socket without a request, by their number of sockets.
    ranking: BTreeSet<(usize, IpAddr)>,
    /// Requests that share their socket with others (HTTP/2).
    sharing: usize,
    /// The last number given to a moment at which a socket was left without a request.
    last: u64,
}

/// The sockets of one network.
#[derive(Default)]
struct Network {
    busy: usize,
    /// Those without a request, by the number of the moment since when they are.
    idle: BTreeMap<u64, Arc<Notify>>,
}

impl Network {
    fn count(&self) -> usize {
        self.busy + self.idle.len()
    }
}

/// What a socket is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// Without a request since the moment of this number.
    Idle(u64),
    Busy,
    /// It is a stream, carries some (HTTP/2), was displaced, or has been closed.
    Nothing,
}

/// One socket in the table.
pub(crate) struct Place {
    network: IpAddr,
    doing: Mutex<Doing>,
    displaced: Arc<Notify>,
}

impl Sockets {
    /// A socket of a peer at this address ([`super::peer::Peer::address`]), without a request.
    pub(crate) fn enter(&self, address: IpAddr) -> Place {
        let network = network(address);
        let displaced = Arc::default();
        let mut table = self.0.lock();
        let number = table.rest(network, &displaced);
        drop(table);
        Place { network, doing: Mutex::new(Doing::Idle(number)), displaced }
    }

    /// Makes room for one more: tells the socket that is worth least to close. False when all have a request.
    pub(crate) fn displace(&self) -> bool {
        self.0.lock().displace()
    }

    /// A request has come. False when `limit` sockets of this address have one already, or when it has just
    /// been displaced.
    pub(crate) fn begin_request(&self, place: &Place, limit: usize) -> bool {
        let mut table = self.0.lock();
        let mut doing = place.doing.lock();
        match *doing {
            Doing::Idle(number) if table.has_idle(place.network, number) => {
                if table.networks.get(&place.network).is_some_and(|network| network.busy >= limit) {
                    return false;
                }
                table.change(place.network, |network| {
                    network.idle.remove(&number);
                    network.busy += 1;
                });
                *doing = Doing::Busy;
                true
            }
            // A second request that came before the first was answered.
            Doing::Busy => true,
            Doing::Idle(_) | Doing::Nothing => false,
        }
    }

    /// It has been answered.
    pub(crate) fn end_request(&self, place: &Place) {
        let mut table = self.0.lock();
        let mut doing = place.doing.lock();
        if *doing == Doing::Busy {
            table.change(place.network, |network| network.busy -= 1);
            *doing = Doing::Idle(table.rest(place.network, &place.displaced));
        }
    }

    /// It is closed, or a stream.
    pub(crate) fn leave(&self, place: &Place) {
        let mut table = self.0.lock();
        match std::mem::replace(&mut *place.doing.lock(), Doing::Nothing) {
            Doing::Idle(number) => table.change(place.network, |network| {
                network.idle.remove(&number);
            }),
            Doing::Busy => table.change(place.network, |network| network.busy -= 1),
            Doing::Nothing => {}
        }
    }

    /// A socket without a request carries its first stream. False when it has just been displaced.
    pub(crate) fn begin_streams(&self, place: &Place) -> bool {
        let mut table = self.0.lock();
        let mut doing = place.doing.lock();
        let Doing::Idle(number) = *doing else { return false };
        if !table.has_idle(place.network, number) {
            return false;
        }
        table.change(place.network, |network| drop(network.idle.remove(&number)));
        *doing = Doing::Nothing;
        true
    }

    /// The last of its streams has ended.
    pub(crate) fn end_streams(&self, place: &Place) {
        let mut table = self.0.lock();
        let mut doing = place.doing.lock();
        if *doing == Doing::Nothing {
            *doing = Doing::Idle(table.rest(place.network, &place.displaced));
        }
    }

    /// A request has come that shares its socket with others. False when `limit` sockets or such requests of
    /// this address are busy already, or `all` such requests of all addresses.
    pub(crate) fn begin_sharing(&self, address: IpAddr, limit: usize, all: usize) -> bool {
        let network = network(address);
        let mut table = self.0.lock();
        let busy = table.networks.get(&network).map_or(0, |network| network.busy);
        if busy >= limit || table.sharing >= all {
            return false;
        }
        table.sharing += 1;
        table.change(network, |network| network.busy += 1);
        true
    }

    /// It has been answered.
    pub(crate) fn end_sharing(&self, address: IpAddr) {
        let mut table = self.0.lock();
        table.sharing -= 1;
        table.change(network(address), |network| network.busy -= 1);
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        let table = self.0.lock();
        table.networks.is_empty() && table.ranking.is_empty()
    }
}

impl Place {
    /// Returns when this socket is to close for another one.
    pub(crate) async fn displaced(&self) {
        self.displaced.notified().await;
    }
}

impl Table {
    fn rest(&mut self, network: IpAddr, displaced: &Arc<Notify>) -> u64 {
        self.last += 1;
        let number = self.last;
        self.change(network, |network| {
            network.idle.insert(number, Arc::clone(displaced));
        });
        number
    }

    fn has_idle(&self, network: IpAddr, number: u64) -> bool {
        self.networks.get(&network).is_some_and(|network| network.idle.contains_key(&number))
    }

    fn displace(&mut self) -> bool {
        let Some(&(_, address)) = self.ranking.last() else { return false };
        let mut victim = None;
        self.change(address, |network| victim = network.idle.pop_first());
        victim.inspect(|(_, displaced)| displaced.notify_one()).is_some()
    }

    fn change(&mut self, address: IpAddr, change: impl FnOnce(&mut Network)) {
        let network = self.networks.entry(address).or_default();
        if !network.idle.is_empty() {
            self.ranking.remove(&(network.count(), address));
        }
        change(network);
        if !network.idle.is_empty() {
            self.ranking.insert((network.count(), address));
        } else if network.busy == 0 {
            self.networks.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    const MANY: usize = 1000;

    fn enter(sockets: &Sockets, address: &str) -> Place {
        sockets.enter(address.parse().unwrap())
    }

    async fn displaced(place: &Place) -> bool {
        timeout(Duration::ZERO, place.displaced()).await.is_ok()
    }

    // Silent sockets: renewed without end they must not displace those of others.
    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_socket_of_the_address_with_most_makes_room() {
        let sockets = Sockets::default();
        let other = enter(&sockets, "203.0.113.10");
        let many: Vec<_> = (0..3).map(|_| enter(&sockets, "203.0.113.9")).collect();
        assert!(sockets.begin_request(&many[0], MANY));
        assert!(sockets.displace());
        assert!(displaced(&many[1]).await, "the first has a request");
        assert!(!displaced(&many[2]).await && !displaced(&other).await);
        // One that is displaced gets no request any more.
        assert!(!sockets.begin_request(&many[1], MANY));
        sockets.end_request(&many[0]);
        assert!(sockets.displace());
        assert!(displaced(&many[2]).await, "idle for longer than the one whose request has ended");
        let another = enter(&sockets, "203.0.113.9");
        assert!(sockets.displace());
        assert!(displaced(&many[0]).await);
        for place in [&other, &another].into_iter().chain(&many) {
            sockets.leave(place);
        }
        assert!(!sockets.displace() && sockets.is_empty());
    }

    // HTTP/2: a hundred requests on each of many connections.
    #[test]
    fn requests_that_share_a_socket_are_counted_like_busy_sockets() {
        let sockets = Sockets::default();
        let [one, other] = ["203.0.113.9", "203.0.113.10"].map(|address| address.parse().unwrap());
        let place = enter(&sockets, "203.0.113.9");
        assert!(sockets.begin_request(&place, 3));
        for begun in [true, true, false] {
            assert_eq!(sockets.begin_sharing(one, 3, 4), begun);
        }
        assert!(sockets.begin_sharing(other, 3, 4) && sockets.begin_sharing(other, 3, 4));
        assert!(!sockets.begin_sharing(other, 3, 4), "four of all addresses");
        sockets.end_sharing(one);
        assert!(sockets.begin_sharing(other, 3, 4));
        sockets.end_sharing(one);
        (0..3).for_each(|_| sockets.end_sharing(other));
        sockets.leave(&place);
        assert!(sockets.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_carries_streams_is_not_displaced_until_the_last_has_ended() {
        let sockets = Sockets::default();
        let place = enter(&sockets, "203.0.113.9");
        assert!(sockets.begin_streams(&place));
        assert!(!sockets.displace());
        sockets.end_streams(&place);
        assert!(sockets.displace());
        assert!(displaced(&place).await);
        assert!(!sockets.begin_streams(&place), "it is to close");
        sockets.leave(&place);
        assert!(sockets.is_empty());
    }

    #[tokio::test]
    async fn sockets_with_a_request_are_not_displaced() {
        let sockets = Sockets::default();
        let busy: Vec<_> = (0..3).map(|_| enter(&sockets, "203.0.113.9")).collect();
        busy.iter().for_each(|place| assert!(sockets.begin_request(place, MANY)));
        assert!(!sockets.displace());
        let other = enter(&sockets, "203.0.113.10");
        assert!(sockets.displace());
        assert!(displaced(&other).await, "nobody else is idle");
        sockets.leave(&other);
        busy.iter().for_each(|place| sockets.leave(place));
        assert!(sockets.is_empty());
    }

    // Slow bodies, slow readers, slow calls: all sockets busy for one address.
    #[test]
    fn an_address_has_its_busy_sockets_and_not_one_more() {
        let sockets = Sockets::default();
        let places: Vec<_> = (0..3).map(|_| enter(&sockets, "2001:db8::1")).collect();
        assert!(sockets.begin_request(&places[0], 2));
        assert!(sockets.begin_request(&places[1], 2));
        assert!(!sockets.begin_request(&places[2], 2));
        let other = enter(&sockets, "2001:db8:0:1::1");
        assert!(sockets.begin_request(&other, 2));
        sockets.end_request(&places[0]);
        assert!(sockets.begin_request(&places[2], 2));
        assert!(!sockets.begin_request(&places[0], 2));
        places.iter().chain([&other]).for_each(|place| sockets.leave(place));
        assert!(sockets.is_empty());
    }
}
