//! Bodies of the admin port: whole, or of events that are still to come.
//!
//! Not for what is in them: `router`, `api`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::api::Events;
use crate::content::body::Body;

pub(super) enum AdminBody {
    Whole(Body),
    Events(Pin<Box<Events>>),
}

impl From<Body> for AdminBody {
    fn from(body: Body) -> Self {
        Self::Whole(body)
    }
}

impl From<Events> for AdminBody {
    fn from(events: Events) -> Self {
        Self::Events(Box::pin(events))
    }
}

impl HttpBody for AdminBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut *self {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Events(events) => {
                events.as_mut().poll_block(cx).map(|block| block.map(|block| Ok(Frame::data(block))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Events(_) => SizeHint::default(),
        }
    }
}
