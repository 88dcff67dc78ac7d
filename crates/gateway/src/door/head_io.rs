//! The socket as hyper sees it while it reads heads and writes ordinary answers.
//!
//! It adds three things for which hyper has no setting. Hyper answers a head that it cannot read by itself,
//! with an empty body; `HeadIo` notices such an answer and writes a whole problem answer in its place (C6.1).
//! It notes when bytes come and when the peer takes some, so that `progress` can limit both. And it finds out
//! whether the peer goes away while its request is answered: hyper would take a peer that has closed its
//! sending side for one that has gone, or, told not to (`half_close`), never notice that a peer goes.
//!
//! A peer that has closed its sending side and one that has closed altogether look the same until something
//! is sent to them. So while such a peer waits for its answer it is sent `100 Continue`, which a client must
//! be able to skip (RFC 9110 §15.2): the machine of a peer that has gone answers with a reset. HTTP/1.0 has
//! no interim answers; there a closed socket is noticed only when the answer is written.
//!
//! How hyper's own answer is recognised: it is a write that consists of nothing but a head with status 400,
//! 414 or 431 and `content-length: 0`, without the `x-content-type-options` that every answer of ours has. If
//! a later hyper writes it differently, peers get hyper's empty body, and a test fails.
//!
//! Not used for streams: their sockets are taken out of it.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::StatusCode;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::ReadBuf;

use crate::content::problem::unreadable;
use crate::door::progress::Progress;
use crate::stream::socket::Socket;

pub(crate) struct HeadIo {
    socket: Socket,
    progress: Rc<Progress>,
    line: Line,
    /// A problem answer in place of hyper's, and how much of it is written.
    instead: Vec<u8>,
    instead_written: usize,
}

/// The interim answer that asks a peer whether it is still there.
const PROBE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The line of the head that is being received.
enum Line {
    /// The request line, or the empty lines that may come before it.
    First,
    /// A later line, and how many bytes of it have come.
    Later(usize),
}

impl HeadIo {
    pub(crate) fn new(socket: Socket, progress: Rc<Progress>) -> Self {
        Self { socket, progress, line: Line::First, instead: Vec::new(), instead_written: 0 }
    }

    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Follows the lines of heads. Until a request is answered the lines of its body are taken for a head's,
    /// and the beginning of a next head that has come by then is not seen. That only costs the peer a better
    /// status for a mistake.
    fn follow(&mut self, bytes: &[u8]) {
        if self.progress.takes_anew() {
            self.line = Line::First;
        }
        let now = Instant::now();
        for byte in bytes {
            self.line = match (&self.line, byte) {
                (Line::First, b'\n') if !self.progress.is_inside_head() => Line::First,
                (Line::First, b'\n') => Line::Later(0),
                (Line::First, b'\r') => Line::First,
                (Line::First, _) => {
                    self.progress.begin_head(now);
                    Line::First
                }
                (Line::Later(0), b'\n') => {
                    self.progress.end_head();
                    Line::First
                }
                (Line::Later(_), b'\n') => Line::Later(0),
                (Line::Later(n), b'\r') => Line::Later(*n),
                (Line::Later(n), _) => Line::Later(n + 1),
            };
        }
    }

    /// The status of an answer that is hyper's own.
    fn own_answer(bytes: &[u8]) -> Option<StatusCode> {
        let head = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?;
        let status = ["400", "414", "431"]
            .contains(&status)
            .then(|| StatusCode::from_bytes(status.as_bytes()).ok())??;
        let (mut is_empty, mut is_ours) = (false, false);
        for line in lines {
            is_empty |= line.eq_ignore_ascii_case("content-length: 0");
            is_ours |=
                line.len() >= 22 && line.as_bytes()[..22].eq_ignore_ascii_case(b"x-content-type-options");
        }
        (is_empty && !is_ours).then_some(status)
    }

    fn replace(&mut self, status: StatusCode) {
        let gave_up_in_target = matches!(self.line, Line::First) && self.progress.is_inside_head();
        let status = match status {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE if gave_up_in_target => StatusCode::URI_TOO_LONG,
            status => status,
        };
        self.progress.end_head();
        self.instead = unreadable(status).into_bytes();
        self.instead_written = 0;
    }

    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.instead_written < self.instead.len() {
            let rest = &self.instead[self.instead_written..];
            let n = ready!(self.socket.poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead_written += n;
            self.progress.take(n, Instant::now());
        }
        Poll::Ready(Ok(()))
    }

    fn note(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &outcome {
            Poll::Pending => self.progress.block(Instant::now()),
            Poll::Ready(Ok(n)) => self.progress.take(*n, Instant::now()),
            Poll::Ready(Err(_)) => {}
        }
        outcome
    }

    /// While a request is answered hyper reads nothing. Finds out whether the peer has gone, and what to send
    /// it to find out.
    fn look_for_peer(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.socket.poll_end(cx)? {
            self.progress.close_half(Instant::now());
        }
        if self.progress.is_probe_due(Instant::now()) && self.instead_written == self.instead.len() {
            self.instead = PROBE.to_vec();
            self.instead_written = 0;
        }
        Ok(())
    }
}

impl Read for HeadIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut space = [0; 4096];
        let len = buf.remaining().min(space.len());
        let mut received = ReadBuf::new(&mut space[..len]);
        ready!(self.socket.poll_read(cx, &mut received))?;
        self.follow(received.filled());
        buf.put_slice(received.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for HeadIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(status) = Self::own_answer(buf) {
            self.replace(status);
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(self.poll_instead(cx))?;
        let outcome = self.socket.poll_write(cx, buf);
        self.note(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs {
            return self.poll_write(cx, only);
        }
        ready!(self.poll_instead(cx))?;
        let outcome = self.socket.poll_write_vectored(cx, bufs);
        self.note(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.progress.is_serving.get() {
            self.look_for_peer(cx)?;
        }
        let outcome = self.poll_instead(cx);
        if outcome.is_pending() {
            self.progress.block(Instant::now());
        }
        ready!(outcome)?;
        // What is sealed counts as taken when the peer takes it.
        let had_unsent = self.socket.has_unsent();
        let outcome = self.socket.poll_flush(cx);
        if outcome.is_pending() {
            self.progress.block(Instant::now());
        } else if had_unsent {
            self.progress.take(0, Instant::now());
        }
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(cx))?;
        self.socket.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_error_head_of_hypers_own_is_replaced() {
        let own =
            b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(HeadIo::own_answer(own), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        for other in [
            &b"HTTP/1.1 400 Bad Request\r\nx-content-type-options: nosniff\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\nx",
            b"",
        ] {
            assert_eq!(HeadIo::own_answer(other), None);
        }
    }
}
