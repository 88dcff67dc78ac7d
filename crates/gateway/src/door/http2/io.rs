//! The socket as hyper sees it while it speaks HTTP/2: follows the frames that come, lets one connection read
//! so much in a turn, and notes since when the peer takes nothing.
//!
//! Not for what the frames say: that is hyper's.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::ReadBuf;

use super::frames::Frames;
use crate::door::progress::HEAD_TIMEOUT;
use crate::stream::socket::Socket;

/// Bytes that a connection reads before others get their turn: three thousand of the smallest frames, a
/// millisecond of work.
const BYTES_PER_TURN: usize = 32 << 10;

/// What a connection and its socket tell each other.
pub(super) struct Traffic {
    /// Bytes that may still be read in this turn.
    turn: Cell<usize>,
    /// Since when the peer has taken nothing.
    blocked_since: Cell<Option<Instant>>,
    /// When the peer last said something.
    heard_at: Cell<Instant>,
    frames: RefCell<Frames>,
}

impl Traffic {
    pub(super) fn new(now: Instant) -> Self {
        let frames = RefCell::new(Frames::new(now));
        Self { turn: Cell::new(0), blocked_since: Cell::new(None), heard_at: Cell::new(now), frames }
    }

    pub(super) fn begin_turn(&self) {
        self.turn.set(BYTES_PER_TURN);
    }

    /// A part of an answer or of a stream goes out, which a peer acknowledges.
    pub(super) fn gives(&self) {
        self.frames.borrow_mut().excuse();
    }

    /// Whether too many frames have come that bring nothing. Nothing more is read then.
    pub(super) fn is_flooded(&self) -> bool {
        self.frames.borrow().is_flooded()
    }

    /// Whether the peer has taken nothing for so long, or a head has been coming for too long.
    pub(super) fn is_overdue(&self, now: Instant, write_timeout: Duration) -> bool {
        let passed = |since: Option<Instant>, limit| {
            since.is_some_and(|since| now.saturating_duration_since(since) >= limit)
        };
        passed(self.blocked_since.get(), write_timeout)
            || passed(self.frames.borrow().head_since(), HEAD_TIMEOUT)
    }

    pub(super) fn heard_at(&self) -> Instant {
        self.heard_at.get()
    }

    /// Whether something waits to be written that the peer does not take.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked_since.get().is_some()
    }

    fn note<T>(&self, outcome: Poll<T>) -> Poll<T> {
        match outcome {
            Poll::Ready(_) => self.blocked_since.set(None),
            Poll::Pending if self.blocked_since.get().is_none() => {
                self.blocked_since.set(Some(Instant::now()));
            }
            Poll::Pending => {}
        }
        outcome
    }
}

pub(super) struct Io {
    /// Shared with the task, which closes it when hyper has gone.
    pub(super) socket: Rc<RefCell<Socket>>,
    pub(super) traffic: Rc<Traffic>,
}

impl Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let turn = self.traffic.turn.get();
        if turn == 0 {
            // Others first.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut space = [0; 4096];
        let len = buf.remaining().min(space.len()).min(turn);
        let mut received = ReadBuf::new(&mut space[..len]);
        ready!(self.socket.borrow_mut().poll_read(cx, &mut received))?;
        let received = received.filled();
        self.traffic.turn.set(turn - received.len());
        let now = Instant::now();
        self.traffic.heard_at.set(now);
        let mut frames = self.traffic.frames.borrow_mut();
        frames.follow(received, now);
        if frames.is_flooded() {
            return Poll::Ready(Err(ErrorKind::InvalidData.into()));
        }
        buf.put_slice(received);
        Poll::Ready(Ok(()))
    }
}

impl Write for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = self.socket.borrow_mut().poll_write(cx, bytes);
        self.traffic.note(outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.socket.borrow_mut().poll_write_vectored(cx, pieces);
        self.traffic.note(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.borrow().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = self.socket.borrow_mut().poll_flush(cx);
        self.traffic.note(outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.borrow_mut().poll_shutdown(cx)
    }
}
