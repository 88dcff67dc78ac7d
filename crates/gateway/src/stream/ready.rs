//! What the sockets of streams are ready for. They are no sockets of tokio, which keeps 300 bytes for each
//! and wakes a waker for each: one descriptor watches all sockets of a thread, and tokio watches that one.
//!
//! Each change is told once: whoever is told reads, or writes, until the socket says that it would block.
//!
//! Not for what the slab does then.

use std::io;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mio::event::Source;
use mio::{Events, Interest, Token};
use tokio::io::unix::AsyncFd;

use crate::stream::parcel::SlotAddress;

/// Sockets that are told of at a time: other tasks of the thread get a turn before the next ones.
const AT_A_TIME: usize = 256;

/// What a socket may be ready for since it was told of last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ready {
    pub(crate) to_read: bool,
    pub(crate) to_write: bool,
}

pub(crate) struct ReadySockets {
    /// Of mio, whose sockets name their slots.
    poll: AsyncFd<mio::Poll>,
    events: Events,
}

impl ReadySockets {
    /// To be called in the runtime whose thread serves them.
    ///
    /// # Errors
    /// There is no descriptor.
    // What replaces `AsyncFd::new` is unsafe, because a descriptor could be closed while it is watched. This
    // one is owned by what is given, and goes with it.
    #[allow(deprecated)]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { poll: AsyncFd::new(mio::Poll::new()?)?, events: Events::with_capacity(AT_A_TIME) })
    }

    /// From now on this socket is told of, until it is closed. A stream that begins later in the same slot
    /// has another address.
    ///
    /// # Errors
    /// The system has no room for it.
    pub(crate) fn watch(&self, socket: &mut impl Source, slot: SlotAddress) -> io::Result<()> {
        let token = Token(slot.to_bits() as usize);
        self.poll.get_ref().registry().register(socket, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Returns when there is something to tell.
    pub(crate) async fn some(&self) {
        if self.poll.readable().await.is_err() {
            // The runtime ends.
            std::future::pending::<()>().await;
        }
    }

    /// Tells of some, each by its slot. Says whether there may be more.
    pub(crate) fn take(&mut self, told: &mut Vec<(SlotAddress, Ready)>) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(mut ready)) = self.poll.poll_read_ready_mut(&mut cx) else { return false };
        if ready.get_inner_mut().poll(&mut self.events, Some(Duration::ZERO)).is_err() {
            return true;
        }
        told.extend(self.events.iter().map(|event| {
            let is_over = event.is_error() || event.is_read_closed() || event.is_write_closed();
            let slot = SlotAddress::from_bits(event.token().0 as u64);
            (
                slot,
                Ready { to_read: event.is_readable() || is_over, to_write: event.is_writable() || is_over },
            )
        }));
        let has_more = self.events.iter().count() == AT_A_TIME;
        if !has_more {
            ready.clear_ready();
        }
        has_more
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{Read as _, Write as _};

    use mio::net::UnixStream;

    use super::*;

    /// Sockets that are watched, each with its peer.
    fn pairs(ready: &ReadySockets, many: usize) -> Vec<(UnixStream, UnixStream)> {
        let pair = |n| {
            let (mut own, peer) = UnixStream::pair().unwrap();
            ready.watch(&mut own, SlotAddress { index: n as u32, generation: 7 }).unwrap();
            (own, peer)
        };
        (0..many).map(pair).collect()
    }

    /// All that is told until nothing is, and in how many turns.
    async fn all(ready: &mut ReadySockets) -> (Vec<(SlotAddress, Ready)>, usize) {
        let (mut told, mut turns) = (Vec::new(), 1);
        ready.some().await;
        while ready.take(&mut told) {
            turns += 1;
            ready.some().await;
        }
        told.sort_by_key(|(slot, _)| slot.index);
        (told, turns)
    }

    #[tokio::test]
    async fn each_socket_is_told_of_once_and_others_have_a_turn_in_between() {
        for many in [1, AT_A_TIME - 1, AT_A_TIME + 1] {
            let mut ready = ReadySockets::new().unwrap();
            let mut pairs = pairs(&ready, many);
            // They may be written to.
            let (told, _) = all(&mut ready).await;
            assert!(told.iter().all(|(_, ready)| ready.to_write && !ready.to_read));
            for (_, peer) in &mut pairs {
                peer.write_all(b"x").unwrap();
            }
            let (told, turns) = all(&mut ready).await;
            let slots: Vec<_> = told.iter().map(|(slot, _)| (slot.index as usize, slot.generation)).collect();
            assert_eq!(slots, (0..many).map(|n| (n, 7)).collect::<Vec<_>>());
            assert!(told.iter().all(|(_, ready)| ready.to_read));
            assert_eq!(turns, many / AT_A_TIME + 1);
            assert!(!ready.take(&mut Vec::new()));
        }
    }

    #[tokio::test]
    async fn a_full_socket_is_told_of_when_it_takes_bytes_again_and_a_closed_one_as_both() {
        let mut ready = ReadySockets::new().unwrap();
        let mut pairs = pairs(&ready, 1);
        all(&mut ready).await;
        let (own, peer) = &mut pairs[0];
        while own.write(&[0; 4096]).is_ok() {}
        while peer.read(&mut [0; 4096]).is_ok() {}
        assert!(all(&mut ready).await.0[0].1.to_write);
        pairs.iter_mut().for_each(|(_, peer)| peer.shutdown(std::net::Shutdown::Both).unwrap());
        let told = all(&mut ready).await.0;
        assert!(told[0].1.to_read && told[0].1.to_write);
    }
}
