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
    Answer(Body),
    Stream(PipeReader),
}

impl Source {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match self {
            Self::Stream(pipe) => pipe.poll_piece(cx).map(|piece| piece.map(Ok)),
            Self::Answer(Body::Bytes(bytes)) if bytes.len() > PIECE_BYTES => {
                Poll::Ready(Some(Ok(bytes.split_to(PIECE_BYTES))))
            }
            Self::Answer(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default())))
            }
        }
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
            Source::Answer(body) => body.is_end_stream(),
            Source::Stream(pipe) => pipe.has_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Answer(body) => body.size_hint(),
            Source::Stream(_) => SizeHint::default(),
        }
    }
}
