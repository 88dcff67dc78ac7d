//! The socket of a connection: everything that reading requests and writing streams needs of it.
//!
//! Reading and writing are tried, and readiness is asked for apart from that, so that a stream needs neither
//! a task nor a buffer of its own. A kind of socket that encrypts has to answer the same questions.
//!
//! Not for options: connections inherit theirs from the listening socket (`door/bind`).

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// An enum, not a trait object: with one kind it costs nothing, and another one makes the compiler name every
/// place here.
pub(crate) enum Socket {
    Plain(TcpStream),
}

impl Socket {
    /// `Pending`: the waker is woken when there is something to read. One waker at a time, the last.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self::Plain(tcp) = self;
        tcp.poll_read_ready(cx)
    }

    /// The same for room to write.
    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self::Plain(tcp) = self;
        tcp.poll_write_ready(cx)
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        let Self::Plain(tcp) = self;
        tcp.readable().await
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        let Self::Plain(tcp) = self;
        tcp.writable().await
    }

    /// # Errors
    /// `WouldBlock`, too.
    pub(crate) fn try_read(&self, space: &mut [u8]) -> io::Result<usize> {
        let Self::Plain(tcp) = self;
        tcp.try_read(space)
    }

    /// # Errors
    /// `WouldBlock`, too.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let Self::Plain(tcp) = self;
        tcp.try_write(bytes)
    }

    /// # Errors
    /// `WouldBlock`, too.
    pub(crate) fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let Self::Plain(tcp) = self;
        tcp.try_write_vectored(pieces)
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self::Plain(tcp) = self;
        Pin::new(tcp).poll_read(cx, space)
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self::Plain(tcp) = self;
        Pin::new(tcp).poll_write(cx, bytes)
    }

    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self::Plain(tcp) = self;
        Pin::new(tcp).poll_write_vectored(cx, pieces)
    }

    pub(crate) fn is_write_vectored(&self) -> bool {
        let Self::Plain(tcp) = self;
        tcp.is_write_vectored()
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self::Plain(tcp) = self;
        Pin::new(tcp).poll_flush(cx)
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self::Plain(tcp) = self;
        Pin::new(tcp).poll_shutdown(cx)
    }

    /// Whether the peer has closed its sending side, seen without reading. If not, the waker is woken when
    /// that may have changed; not while bytes of the peer are unread, so whoever asks has to ask again from
    /// time to time.
    ///
    /// # Errors
    /// That of the socket: it was reset.
    pub(crate) fn poll_end(&self, cx: &mut Context<'_>) -> io::Result<bool> {
        let Self::Plain(tcp) = self;
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

    /// Tells the peer that nothing more comes. It may still be read from.
    pub(crate) fn shutdown(&self) -> io::Result<()> {
        let Self::Plain(tcp) = self;
        SockRef::from(tcp).shutdown(Shutdown::Write)
    }

    /// Makes closing a reset, so that the kernel drops at once what the peer never took.
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        let Self::Plain(tcp) = self;
        SockRef::from(tcp).set_linger(Some(Duration::ZERO))
    }
}
