//! Bodies of ordinary answers: nothing, a few bytes, or a file in bounded pieces; and the answer that has
//! none.
//!
//! Not for streams: these are written by the slab, hyper never sees their bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{ALLOW, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};

use crate::room::Room;

/// What is read from a file at a time. The peer's pace decides when the next piece is read.
const PIECE_BYTES: usize = 32 << 10;

/// What a file that is sent holds: a piece, and tokio's copy of one.
pub(crate) const FILE_BYTES: usize = 2 * PIECE_BYTES;

/// Body of an answer that hyper writes.
pub(crate) enum Body {
    Bytes(Bytes),
    /// The first `remaining` bytes of a file from where it stands.
    File {
        file: File,
        remaining: u64,
        /// What its pieces are counted in.
        _room: Room,
    },
}

impl Body {
    pub(crate) const EMPTY: Self = Self::Bytes(Bytes::new());
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// Methods of what can only be read: a stream, a file.
pub(crate) const READ_METHODS: &str = "GET, HEAD, OPTIONS";

/// The answer to `OPTIONS`.
pub(crate) fn allowed(methods: &str) -> Response<Body> {
    let mut response = Response::new(Body::EMPTY);
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(methods) = HeaderValue::from_str(methods) {
        response.headers_mut().insert(ALLOW, methods);
    }
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut *self {
            Self::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::File { remaining: 0, .. } => Poll::Ready(None),
            Self::File { file, remaining, .. } => {
                let len = PIECE_BYTES.min(usize::try_from(*remaining).unwrap_or(PIECE_BYTES));
                let mut piece = Vec::new();
                piece.try_reserve_exact(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
                piece.resize(len, 0);
                let mut buffer = ReadBuf::new(&mut piece);
                ready!(Pin::new(file).poll_read(cx, &mut buffer))?;
                let n = buffer.filled().len();
                if n == 0 {
                    // The file has become shorter than its Content-Length: the connection must break.
                    return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                }
                piece.truncate(n);
                *remaining -= n as u64;
                Poll::Ready(Some(Ok(Frame::data(piece.into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::File { remaining, .. } => *remaining == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { remaining, .. } => *remaining,
        })
    }
}
