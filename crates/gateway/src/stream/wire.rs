//! What a stream is written to: a connection of its own, or its part of one that it shares with others.
//!
//! An enum around the enum of sockets, which the compiler makes one of: a plain socket costs one comparison.
//! Of a socket the slab is told what it is ready for; a pipe wakes the waker that it was given.
//!
//! Not for reading requests: that needs a `Socket`.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, Waker};

use crate::stream::pipe::PipeWriter;
use crate::stream::ready::Ready;
use crate::stream::socket::StreamSocket;

pub(crate) enum Wire {
    /// The stream has the connection to itself.
    Own(StreamSocket),
    /// It is one of the streams of a connection (HTTP/2).
    Shared(PipeWriter),
}

impl Wire {
    /// Reads and throws away, and says how many bytes came; 0: the peer sends no more. With nothing to read,
    /// the waker of a pipe is woken when there is.
    ///
    /// # Errors
    /// `WouldBlock`, too.
    pub(crate) fn try_discard(&mut self, scratch: &mut [u8], waker: &Waker) -> io::Result<usize> {
        match self {
            Self::Own(socket) => socket.try_discard(scratch),
            Self::Shared(pipe) => match pipe.poll_read_ready(&Context::from_waker(waker)) {
                Poll::Ready(Err(error)) => Err(error),
                _ => Err(io::ErrorKind::WouldBlock.into()),
            },
        }
    }

    /// Whether it may take bytes again, which its last write said it does not. If not, the waker of a pipe is
    /// woken when it does.
    ///
    /// # Errors
    /// It takes none any more.
    pub(crate) fn has_room(&self, ready: Ready, waker: &Waker) -> io::Result<bool> {
        match self {
            Self::Own(_) => Ok(ready.to_write),
            Self::Shared(pipe) => match pipe.poll_write_ready(&Context::from_waker(waker)) {
                Poll::Pending => Ok(false),
                Poll::Ready(ready) => ready.map(|()| true),
            },
        }
    }

    /// # Errors
    /// `WouldBlock`, too.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Own(socket) => socket.try_write(bytes),
            Self::Shared(pipe) => pipe.try_write(bytes),
        }
    }

    /// # Errors
    /// `WouldBlock`, too.
    pub(crate) fn try_write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Own(socket) => socket.try_write_vectored(pieces),
            Self::Shared(pipe) => pipe.try_write_vectored(pieces),
        }
    }

    /// Whether it has taken bytes that are to be sent, by [`Wire::try_send_some`], before anything else.
    pub(crate) fn has_unsent(&self) -> bool {
        match self {
            Self::Own(socket) => socket.has_unsent(),
            Self::Shared(_) => false,
        }
    }

    /// # Errors
    /// `WouldBlock`, too.
    pub(crate) fn try_send_some(&mut self) -> io::Result<()> {
        match self {
            Self::Own(socket) => socket.try_send_some(),
            Self::Shared(_) => Ok(()),
        }
    }

    /// Tells the peer that nothing more comes, when everything is sent.
    ///
    /// # Errors
    /// `WouldBlock` while there is something to send: to be called again.
    pub(crate) fn try_finish(&mut self) -> io::Result<()> {
        match self {
            Self::Own(socket) => socket.try_finish(),
            Self::Shared(pipe) => pipe.try_finish(),
        }
    }

    /// The same, and says whether nothing is left to do.
    pub(crate) fn is_finished(&mut self) -> bool {
        match self {
            Self::Own(socket) => socket.is_finished(),
            Self::Shared(pipe) => {
                !matches!(pipe.try_finish(), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
        }
    }

    /// The version of HTTP.
    pub(crate) fn protocol(&self) -> &'static str {
        match self {
            Self::Own(_) => "http/1.1",
            Self::Shared(_) => "http/2",
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        match self {
            Self::Own(socket) => socket.is_tls(),
            // It is spoken over nothing else.
            Self::Shared(_) => true,
        }
    }

    /// Whether its connection has given it up, and the slot is about to hear of that.
    pub(crate) fn is_cut_off(&self) -> bool {
        match self {
            Self::Own(_) => false,
            Self::Shared(pipe) => pipe.is_cut_off(),
        }
    }

    /// Makes closing a reset, so that what the peer never took is dropped at once. A stream that shares its
    /// connection is reset alone, when it is dropped.
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        match self {
            Self::Own(socket) => socket.reset_on_close(),
            Self::Shared(_) => Ok(()),
        }
    }
}
