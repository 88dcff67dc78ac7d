//! The body of an answer over HTTP/2: an ordinary one in parts that a peer's window has room for, or what the
//! slab writes to a stream.
//!
//! Not for ordinary bodies themselves: that is `content/body`.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::io::Traffic;
use super::streams::Watch;
use crate::content::body::Body;
use crate::stream::pipe::{PIECE_BYTES, PipeReader};

/// Notes when hyper asks for a part: it has sent the one before.
pub(super) struct WatchedBody {
    pub(super) source: Source,
    pub(super) watch: Rc<Watch>,
    pub(super) traffic: Rc<Traffic>,
}

pub(super) enum Source {
    Answer {
        body: Body,
        /// Its last byte, which is a part of its own.
        last: Bytes,
    },
    Stream {
        pipe: PipeReader,
        has_said_end: bool,
    },
}

/// What a stream ends with: after a whole event, and a slot says its end nowhere else, an empty line is
/// nothing.
const END_OF_STREAM: Bytes = Bytes::from_static(b"\n");

/// hyper asks for the next part when there is room for a byte of it: then there was room for all those
/// before. But it leaves the last one as it is handed over, with whoever looks after it: after a window that
/// stays shut it would wait for ever, and with it the memory of the whole answer. So the last part is a byte.
impl Source {
    pub(super) fn answer(body: Body) -> Self {
        Self::Answer { body, last: Bytes::new() }
    }

    pub(super) fn stream(pipe: PipeReader) -> Self {
        Self::Stream { pipe, has_said_end: false }
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let (body, last) = match self {
            Self::Stream { pipe, has_said_end } => {
                let piece = ready!(pipe.poll_piece(cx));
                let end = || (!std::mem::replace(has_said_end, true)).then_some(END_OF_STREAM);
                return Poll::Ready(piece.or_else(end).map(Ok));
            }
            Self::Answer { last, .. } if !last.is_empty() => {
                return Poll::Ready(Some(Ok(std::mem::take(last))));
            }
            Self::Answer { body, last } => (body, last),
        };
        let mut part = match body {
            Body::Bytes(bytes) if bytes.len() > PIECE_BYTES => bytes.split_to(PIECE_BYTES),
            _ => match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                end => return Poll::Ready(end.map(|frame| frame.map(|_| Bytes::new()))),
            },
        };
        if part.len() > 1 && body.is_end_stream() {
            *last = part.split_off(part.len() - 1);
        }
        Poll::Ready(Some(Ok(part)))
    }
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.watch.take(Instant::now());
        let part = ready!(self.source.poll_part(cx));
        if let Some(Ok(bytes)) = &part {
            self.traffic.gives();
            self.watch.give(bytes.len(), Instant::now());
        }
        Poll::Ready(part.map(|part| part.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Answer { body, last } => last.is_empty() && body.is_end_stream(),
            Source::Stream { has_said_end, .. } => *has_said_end,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            // It is asked before the first part is.
            Source::Answer { body, .. } => body.size_hint(),
            Source::Stream { .. } => SizeHint::default(),
        }
    }
}
