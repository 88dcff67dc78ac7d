//! A socket that speaks TLS: reads and writes plain text for others, and sealed records for the peer.
//!
//! A record that is sealed must be sent as it is: sealing other bytes would use its nonce a second time. So
//! what is sealed counts as written, and what the peer has not taken of it waits here: nothing most of the
//! time, one record at most. Nothing is sealed while it waits, nor while the socket is known to be full.
//!
//! Buffers for work in progress are the thread's, not the connection's: an idle stream has none.
//!
//! Not for the protocol: that is `tls::Session`.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use socket2::SockRef;
use tokio::io::{AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

use crate::stream::socket::carrier::{Carrier, bare};
use crate::stream::socket::overhead::Overhead;
use crate::tls::{Config, MAX_PLAIN_BYTES, MAX_RECORD_BYTES, Session};

/// Plain text of one record for a peer that has not taken the last one at once, in bytes: so much of it, and
/// not [`MAX_PLAIN_BYTES`], is kept for a peer that stalls again.
const SLOW_PLAIN_BYTES: usize = 4 << 10;

/// What is kept of a record that has not come whole, in bytes, of a peer whose stream has begun. A browser
/// sends alerts and key updates then, of 30 bytes. Beyond it the connection is closed.
const MAX_REST_BYTES_OF_STREAM: usize = 1 << 10;

/// Read at a time, together with what is left of a record from before.
const READ_BYTES: usize = MAX_RECORD_BYTES + MAX_PLAIN_BYTES;

/// What a thread works in.
struct Scratch {
    incoming: Vec<u8>,
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        incoming: vec![0; READ_BYTES],
        plain: Vec::with_capacity(MAX_PLAIN_BYTES),
        sealed: Vec::with_capacity(MAX_RECORD_BYTES),
    });
}

pub(crate) struct TlsSocket<T = TcpStream> {
    tcp: T,
    session: Session,
    /// Sealed bytes that the socket has not taken, and how many of them it has.
    unsent: Vec<u8>,
    sent: usize,
    /// Bytes that are kept of what has not come whole.
    max_rest: usize,
    /// Text that has come and is not read, and how much of it is.
    plain: Vec<u8>,
    read: usize,
    overhead: Overhead,
    /// The peer has not taken its last record at once.
    is_slow: bool,
    /// The peer has said, or shown, that nothing more comes.
    has_ended: bool,
    /// We have said so.
    has_closed: bool,
}

impl TlsSocket<TcpStream> {
    /// The server's side of a connection on which nothing has been read yet.
    ///
    /// # Errors
    /// The configuration cannot begin a connection.
    pub(crate) fn new(tcp: TcpStream, config: Arc<Config>) -> io::Result<Self> {
        Ok(Self {
            tcp,
            session: Session::new(config).map_err(|_| broken())?,
            unsent: Vec::new(),
            sent: 0,
            max_rest: MAX_RECORD_BYTES,
            plain: Vec::new(),
            read: 0,
            overhead: Overhead::new(Instant::now()),
            is_slow: false,
            has_ended: false,
            has_closed: false,
        })
    }

    /// Whether the handshake is still to be completed, by [`TlsSocket::receive`] and sending.
    pub(crate) fn is_shaking(&self) -> bool {
        self.session.is_shaking()
    }

    /// Whether the handshake chose HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.session.is_http2()
    }

    /// There may be something to read.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.tcp.readable().await
    }

    /// Sends all that waits, however long that takes.
    pub(crate) async fn send_all(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// From now on the peer is only written to: text of it that is not read is dropped.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) fn into_stream(self) -> io::Result<TlsSocket<mio::net::TcpStream>> {
        Ok(TlsSocket {
            tcp: bare(self.tcp)?,
            session: self.session,
            unsent: self.unsent,
            sent: self.sent,
            max_rest: MAX_REST_BYTES_OF_STREAM,
            plain: Vec::new(),
            read: 0,
            overhead: self.overhead,
            is_slow: self.is_slow,
            has_ended: self.has_ended,
            has_closed: self.has_closed,
        })
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let n = self.take_plain(space.initialize_unfilled());
            space.advance(n);
            if n > 0 || self.has_ended {
                return Poll::Ready(Ok(()));
            }
            ready!(self.tcp.poll_read_ready(cx))?;
            match self.receive() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                outcome => drop(outcome?),
            }
        }
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, text: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_by(cx, |socket| socket.try_write(text))
    }

    pub(super) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_by(cx, |socket| socket.try_write_vectored(pieces))
    }

    fn poll_write_by(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&mut Self) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.tcp.poll_write_ready(cx))?;
            match write(self) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.has_unsent() {
            ready!(self.tcp.poll_write_ready(cx))?;
            none_if_full(self.send_some().map(|()| 0))?;
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.say_end();
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl<T: Carrier> TlsSocket<T> {
    pub(super) fn tcp(&self) -> &T {
        &self.tcp
    }

    pub(super) fn tcp_mut(&mut self) -> &mut T {
        &mut self.tcp
    }

    /// Whether the socket has not taken all that is sealed.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Reads once, and says how many bytes came, text or not; 0 when the peer has ended.
    ///
    /// # Errors
    /// Those of the socket, `WouldBlock` too; `InvalidData` when the peer breaks the protocol.
    pub(crate) fn receive(&mut self) -> io::Result<usize> {
        if self.has_ended {
            return Ok(0);
        }
        SCRATCH.with_borrow_mut(|Scratch { incoming, sealed, .. }| {
            let before = self.session.rest().len();
            incoming[..before].copy_from_slice(self.session.rest());
            let came = self.tcp.try_read(&mut incoming[before..])?;
            if came == 0 {
                self.has_ended = true;
                return Ok(0);
            }
            sealed.clear();
            let (was_shaking, text_before) = (self.session.is_shaking(), self.plain.len());
            let fed =
                self.session.feed(&mut incoming[..before + came], &mut self.plain, sealed, self.max_rest);
            let sent = self.send(sealed);
            fed.map_err(|_| broken())?;
            sent?;
            if !was_shaking {
                let text = self.plain.len() - text_before;
                self.overhead.take(came, text, Instant::now()).map_err(|_| broken())?;
            }
            self.has_ended = self.session.is_closed_by_peer();
            Ok(came)
        })
    }

    /// The same; text that came is dropped.
    pub(super) fn discard(&mut self) -> io::Result<usize> {
        if self.session.is_over() {
            return SCRATCH.with_borrow_mut(|Scratch { incoming, .. }| self.tcp.try_read(incoming));
        }
        let came = self.receive();
        self.plain = Vec::new();
        self.read = 0;
        // Its last record may have been the notice of that.
        if self.has_ended { Ok(0) } else { came }
    }

    /// # Errors
    /// As [`TlsSocket::receive`].
    pub(super) fn try_read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.take_plain(space);
            if n > 0 || self.receive()? == 0 {
                return Ok(n);
            }
        }
    }

    fn take_plain(&mut self, space: &mut [u8]) -> usize {
        let rest = &self.plain[self.read..];
        let n = rest.len().min(space.len());
        space[..n].copy_from_slice(&rest[..n]);
        self.read += n;
        if self.read == self.plain.len() {
            self.plain = Vec::new();
            self.read = 0;
        }
        n
    }

    /// Seals and sends text, as much as fits into one record, and says how much that was. What the socket
    /// does not take of it is sent before anything else.
    ///
    /// # Errors
    /// Those of the socket; `WouldBlock` when nothing was sealed.
    pub(super) fn try_write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.send_rest()?;
        if text.is_empty() {
            return Ok(0);
        }
        let plain = &text[..text.len().min(self.record())];
        SCRATCH.with_borrow_mut(|Scratch { sealed, .. }| self.seal(plain, text.len(), sealed))
    }

    /// The same for pieces.
    pub(super) fn try_write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send_rest()?;
        let record = self.record();
        SCRATCH.with_borrow_mut(|Scratch { plain, sealed, .. }| {
            plain.clear();
            for piece in pieces {
                let room = record - plain.len();
                plain.extend_from_slice(&piece[..piece.len().min(room)]);
            }
            if plain.is_empty() {
                return Ok(0);
            }
            self.seal(plain, pieces.iter().map(|piece| piece.len()).sum(), sealed)
        })
    }

    fn record(&self) -> usize {
        if self.is_slow { SLOW_PLAIN_BYTES } else { MAX_PLAIN_BYTES }
    }

    /// `offered` is how much text there is in all.
    fn seal(&mut self, plain: &[u8], offered: usize, sealed: &mut Vec<u8>) -> io::Result<usize> {
        // Otherwise a record would be made of text for which there may be no room for long.
        self.tcp.may_take()?;
        sealed.clear();
        self.session.seal(plain, sealed).map_err(|_| broken())?;
        self.send(sealed)?;
        self.is_slow = self.has_unsent() || self.is_slow && plain.len() < offered;
        Ok(plain.len())
    }

    /// Sends sealed bytes, after those that wait; what the socket does not take waits.
    fn send(&mut self, sealed: &[u8]) -> io::Result<()> {
        let sent = if self.has_unsent() { 0 } else { none_if_full(self.tcp.try_write(sealed))? };
        if sent < sealed.len() {
            self.unsent.extend_from_slice(&sealed[sent..]);
        }
        Ok(())
    }

    /// Sends of what waits as much as the socket takes now.
    ///
    /// # Errors
    /// Those of the socket; `WouldBlock` when it takes nothing.
    pub(super) fn send_some(&mut self) -> io::Result<()> {
        if self.has_unsent() {
            self.sent += self.tcp.try_write(&self.unsent[self.sent..])?;
            if self.sent == self.unsent.len() {
                self.unsent = Vec::new();
                self.sent = 0;
            }
        }
        Ok(())
    }

    /// Sends all that waits.
    ///
    /// # Errors
    /// Those of the socket; `WouldBlock` when it does not take all.
    fn send_rest(&mut self) -> io::Result<()> {
        while self.has_unsent() {
            self.send_some()?;
        }
        Ok(())
    }

    /// Says that nothing more comes, and closes the socket for writing.
    ///
    /// # Errors
    /// Those of the socket; `WouldBlock` while it does not take what waits: to be called again.
    pub(super) fn try_finish(&mut self) -> io::Result<()> {
        self.say_end();
        self.send_rest()?;
        SockRef::from(&self.tcp).shutdown(Shutdown::Write)
    }

    fn say_end(&mut self) {
        if !std::mem::replace(&mut self.has_closed, true) {
            // During the handshake there is nothing to say it with.
            let _ = self.session.close(&mut self.unsent);
        }
    }
}

fn none_if_full(outcome: io::Result<usize>) -> io::Result<usize> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        outcome => outcome,
    }
}

fn broken() -> io::Error {
    ErrorKind::InvalidData.into()
}
