//! The socket of a connection: everything that reading requests and writing streams needs of it.
//!
//! Reading and writing are tried, and readiness is asked for apart from that, so that a stream needs neither
//! a task nor a buffer of its own. A socket that encrypts answers the same questions, and one more: whether
//! it still has to send what it has taken.
//!
//! Not for options: connections inherit theirs from the listening socket (`door/bind`).

mod bare;
mod carrier;
mod overhead;
mod tls;

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

pub(crate) use bare::StreamSocket;
pub(crate) use tls::TlsSocket;

/// An enum, not a trait object: a plain socket costs one comparison.
pub(crate) enum Socket {
    Plain(TcpStream),
    /// Boxed, so that a plain one is not as large.
    Tls(Box<TlsSocket>),
}

impl Socket {
    /// Whether the peer speaks HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.is_http2(),
        }
    }

    /// There may be something to read. Not for a socket that was read from by halves.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.tcp().readable().await
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.tcp().writable().await
    }

    /// # Errors
    /// `WouldBlock`, too.
    pub(crate) fn try_read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_read(space),
            Self::Tls(tls) => tls.try_read(space),
        }
    }

    /// Reads and throws away, and says how many bytes came; 0: the peer sends no more.
    ///
    /// # Errors
    /// `WouldBlock`, too.
    pub(crate) fn try_discard(&mut self, scratch: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_read(scratch),
            Self::Tls(tls) => tls.discard(),
        }
    }

    /// # Errors
    /// `WouldBlock`, too.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write(bytes),
            Self::Tls(tls) => tls.try_write(bytes),
        }
    }

    /// Whether it has taken bytes that it has not sent. They are sent before anything else.
    pub(crate) fn has_unsent(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.has_unsent(),
        }
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, space),
            Self::Tls(tls) => tls.poll_read(cx, space),
        }
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => tls.poll_write(cx, bytes),
        }
    }

    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, pieces),
            Self::Tls(tls) => tls.poll_write_vectored(cx, pieces),
        }
    }

    pub(crate) fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(_) => true,
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => tls.poll_flush(cx),
        }
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => tls.poll_shutdown(cx),
        }
    }

    /// Whether the peer has closed its sending side, seen without reading. If not, the waker is woken when
    /// that may have changed; not while bytes of the peer are unread, so whoever asks has to ask again from
    /// time to time.
    ///
    /// # Errors
    /// That of the socket: it was reset.
    pub(crate) fn poll_end(&self, cx: &mut Context<'_>) -> io::Result<bool> {
        let tcp = self.tcp();
        // A reset shows even while earlier bytes are unread.
        if let Some(error) = tcp.take_error()? {
            return Err(error);
        }
        let mut space = [0; 1];
        let Poll::Ready(peeked) = tcp.poll_peek(cx, &mut ReadBuf::new(&mut space)) else { return Ok(false) };
        if peeked? == 0 {
            return Ok(true);
        }
        // The end of the peer's sending is not seen by peeking while there are unread bytes before it.
        let ready = pin!(tcp.ready(Interest::READABLE)).poll(cx);
        Ok(matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed()))
    }

    /// From now on it is the socket of a stream: the peer has no more to say.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) fn into_stream(self) -> io::Result<StreamSocket> {
        Ok(match self {
            Self::Plain(tcp) => StreamSocket::Plain(carrier::bare(tcp)?),
            Self::Tls(tls) => StreamSocket::Tls(Box::new(tls.into_stream()?)),
        })
    }

    /// Tells the peer that nothing more comes, when everything is sent. It may still be read from.
    ///
    /// # Errors
    /// `WouldBlock` while there is something to send: to be called again.
    pub(crate) fn try_finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => SockRef::from(&*tcp).shutdown(Shutdown::Write),
            Self::Tls(tls) => tls.try_finish(),
        }
    }

    /// Makes closing a reset, so that the kernel drops at once what the peer never took.
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO))
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.tcp(),
        }
    }
}
