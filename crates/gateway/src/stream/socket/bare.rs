//! The socket of a stream. It has left tokio, which keeps for each of its sockets more than the slab keeps
//! for a stream: nobody polls it, and the slab is told what it is ready for (`slab/ready`).
//!
//! Not for reading requests: that needs a [`Socket`](super::Socket).

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;
use socket2::SockRef;

use super::tls::TlsSocket;

/// An enum, not a trait object: a plain socket costs one comparison.
pub(crate) enum StreamSocket {
    Plain(TcpStream),
    /// Boxed, so that a plain one is not as large.
    Tls(Box<TlsSocket<TcpStream>>),
}

impl StreamSocket {
    /// Reads and throws away, and says how many bytes came; 0: the peer sends no more.
    ///
    /// # Errors
    /// `WouldBlock`, too.
    pub(crate) fn try_discard(&mut self, scratch: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(scratch),
            Self::Tls(tls) => tls.discard(),
        }
    }

    /// # Errors
    /// `WouldBlock`, too.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Tls(tls) => tls.try_write(bytes),
        }
    }

    /// # Errors
    /// `WouldBlock`, too.
    pub(crate) fn try_write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write_vectored(pieces),
            Self::Tls(tls) => tls.try_write_vectored(pieces),
        }
    }

    /// Whether it has taken bytes that it has not sent. They are sent before anything else.
    pub(crate) fn has_unsent(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.has_unsent(),
        }
    }

    /// Sends some of these.
    ///
    /// # Errors
    /// `WouldBlock`, too.
    pub(crate) fn try_send_some(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.send_some(),
        }
    }

    /// Tells the peer that nothing more comes, when everything is sent.
    ///
    /// # Errors
    /// `WouldBlock` while there is something to send: to be called again.
    pub(crate) fn try_finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.shutdown(Shutdown::Write),
            Self::Tls(tls) => tls.try_finish(),
        }
    }

    /// The same, and says whether nothing is left to do.
    pub(crate) fn is_finished(&mut self) -> bool {
        !self.has_unsent()
            && !matches!(self.try_finish(), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether it encrypts.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Makes closing a reset, so that the kernel drops at once what the peer never took.
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.tcp(),
        };
        SockRef::from(tcp).set_linger(Some(Duration::ZERO))
    }

    /// What tells when it is ready.
    pub(crate) fn source(&mut self) -> &mut impl Source {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.tcp_mut(),
        }
    }
}
