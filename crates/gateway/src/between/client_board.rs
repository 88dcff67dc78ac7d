//! The client in TypeScript that `sse.serve_client` serves: made whenever the routes are, kept as bytes
//! (C7.7).
//!
//! Not for making it, nor for who may fetch it.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

/// A client, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// Nothing was read yet.
    Unread,
    /// It would be larger than a client may be.
    TooLarge,
    Made(Arc<Made>),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) text: Bytes,
    /// Another for every other text, the same on every server.
    pub(crate) tag: String,
}

pub(crate) struct ClientBoard(RwLock<Client>);

impl ClientBoard {
    pub(crate) fn new() -> Self {
        Self(RwLock::new(Client::Unread))
    }

    pub(crate) fn present(&self) -> Client {
        self.0.read().clone()
    }

    /// `None`: it is not served. An empty text is that of a client that is too large.
    pub(crate) fn set(&self, text: Option<&Bytes>) {
        let client = match text {
            None => Client::Unread,
            Some(text) if text.is_empty() => Client::TooLarge,
            Some(text) => {
                let mut hasher = DefaultHasher::new();
                hasher.write(text);
                Client::Made(Arc::new(Made {
                    text: text.clone(),
                    tag: format!("\"{:016x}\"", hasher.finish()),
                }))
            }
        };
        let before = std::mem::replace(&mut *self.0.write(), client);
        // Freed outside of the lock.
        drop(before);
    }
}
