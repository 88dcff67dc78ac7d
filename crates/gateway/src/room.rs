//! Memory that peers can make us hold: counted in all and by address, so that one address has at most half.
//!
//! Bodies that come in and answers that go out are counted apart, so that filling the one does not stop the
//! other.
//!
//! Not for what is small and bounded with its socket (heads, error answers); docs/limits.md adds all of it
//! up.

use std::collections::HashMap;
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::network::network;

/// Largest body of an answer, as the worker bounds it (`src/pg/receiver.rs`).
pub(crate) const MAX_BODY_BYTES: usize = 64 << 20;

/// What a frame has besides its body: its fields, and what a `Vec` may round up.
pub(crate) const FRAME_BYTES: usize = 4 << 10;

/// Bytes of answers that are held at a time, coming in from workers or being written: 128 MB, and one address
/// has half of it, which is one answer of the largest size. Beyond it the answer is thrown away, and its peer
/// gets 503.
pub(crate) const ANSWER_BYTES: usize = 2 * (MAX_BODY_BYTES + FRAME_BYTES);

/// A peer may take this long altogether over an answer, and a second more for each [`MIN_ANSWER_RATE`] bytes
/// that it has taken. To ask for any progress at all is not enough: a peer that takes a byte every half
/// minute would hold its answer for ever.
const ANSWER_GRACE: Duration = Duration::from_secs(10);

/// Bytes a second: a slow mobile connection.
pub(crate) const MIN_ANSWER_RATE: u32 = 16 << 10;

/// The longest time that a peer which has taken this many bytes of an answer may have needed for them.
pub(crate) fn slowest(taken: u64) -> Duration {
    ANSWER_GRACE + Duration::from_secs(taken) / MIN_ANSWER_RATE
}

/// What is taken of one kind of memory.
#[derive(Default, Clone)]
pub(crate) struct Rooms(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    bytes: usize,
    /// By network. Networks that hold nothing are not in it.
    by_network: HashMap<IpAddr, usize>,
}

impl Rooms {
    /// Room for something of `address`, none at first.
    pub(crate) fn room(&self, address: IpAddr) -> Room {
        Room { rooms: self.clone(), network: network(address), bytes: 0 }
    }

    /// Whether this many bytes are free for `address`, of `limit` in all.
    pub(crate) fn has(&self, address: IpAddr, bytes: usize, limit: usize) -> bool {
        self.0.lock().has(network(address), bytes, limit)
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let taken = self.0.lock();
        taken.bytes == 0 && taken.by_network.is_empty()
    }
}

impl Taken {
    fn has(&self, network: IpAddr, bytes: usize, limit: usize) -> bool {
        let own = self.by_network.get(&network).copied().unwrap_or(0);
        self.bytes.saturating_add(bytes) <= limit && own.saturating_add(bytes) <= limit / 2
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// Memory that is counted as taken; given back when dropped.
pub(crate) struct Room {
    rooms: Rooms,
    network: IpAddr,
    bytes: usize,
}

impl Room {
    /// Takes more; false when all of `limit`, or this address' half of it, is taken.
    pub(crate) fn try_grow(&mut self, bytes: usize, limit: usize) -> bool {
        let mut taken = self.rooms.0.lock();
        if !taken.has(self.network, bytes, limit) {
            return false;
        }
        taken.bytes += bytes;
        *taken.by_network.entry(self.network).or_default() += bytes;
        self.bytes += bytes;
        true
    }

    /// Gives back what is more than this.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.bytes.saturating_sub(bytes);
        if surplus == 0 {
            return;
        }
        let mut taken = self.rooms.0.lock();
        taken.bytes -= surplus;
        if let Some(own) = taken.by_network.get_mut(&self.network) {
            *own -= surplus;
            if *own == 0 {
                taken.by_network.remove(&self.network);
            }
        }
        self.bytes -= surplus;
    }

    /// Moves all of it out, leaving none here.
    pub(crate) fn take(&mut self) -> Self {
        let bytes = std::mem::take(&mut self.bytes);
        Self { rooms: self.rooms.clone(), network: self.network, bytes }
    }

    /// What is taken.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// Bytes of an answer that keep their room until the last of them is written.
pub(crate) fn held(bytes: Vec<u8>, room: Option<Room>) -> Bytes {
    struct Held(Vec<u8>, #[allow(dead_code)] Room);
    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    match room {
        None => bytes.into(),
        Some(room) => Bytes::from_owner(Held(bytes, room)),
    }
}

/// Whether this much memory can be had now. Asked before a step that cannot ask with `try_reserve`, where
/// want of memory would end the process, and with it every session of the cluster.
pub(crate) fn may_grow(bytes: usize) -> bool {
    let mut wanted = Vec::<u8>::new();
    let can_be_had = wanted.try_reserve_exact(bytes).is_ok();
    // A compiler may leave out what nobody looks at.
    black_box(&wanted);
    can_be_had
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    // As many peers as there are sockets make us keep something large each.
    #[test]
    fn an_address_has_half_of_the_room_and_all_together_have_all_of_it() {
        const LIMIT: usize = 1000;
        let rooms = Rooms::default();
        let room = |address: &str| rooms.room(address.parse().unwrap());
        let (mut one, mut same, mut other) = (room("203.0.113.9"), room("203.0.113.9"), room("203.0.113.10"));
        assert!(one.try_grow(LIMIT / 2 - 1, LIMIT));
        assert!(!same.try_grow(2, LIMIT));
        assert!(same.try_grow(1, LIMIT));
        assert!(!same.try_grow(1, LIMIT));
        assert!(other.try_grow(LIMIT / 2, LIMIT));
        assert!(!room("203.0.113.11").try_grow(1, LIMIT));
        assert!(!rooms.has("203.0.113.11".parse().unwrap(), 1, LIMIT));
        one.shrink_to(9);
        assert!(room("203.0.113.11").try_grow(LIMIT / 2 - 10, LIMIT));
        assert!(!room("203.0.113.11").try_grow(LIMIT / 2 - 9, LIMIT));
        drop((one, same, other));
        assert!(rooms.is_empty());
    }
}
