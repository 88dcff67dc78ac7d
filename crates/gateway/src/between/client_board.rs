//! The files that `sse.serve_client` serves: made whenever the routes are, kept as bytes (C7.7, C7.10).
//!
//! Not for making them, nor for who may fetch them.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use sse_proto::client_file::ClientFile;

/// One of them, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Present {
    /// Nothing was read yet.
    Unread,
    /// It would be larger than it may be.
    TooLarge,
    Made(Arc<Made>),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) text: Bytes,
    /// Another for every other text, the same on every server.
    pub(crate) tag: String,
}

/// In the order of [`ClientFile::ALL`].
pub(crate) struct ClientBoard([RwLock<Present>; ClientFile::ALL.len()]);

impl ClientBoard {
    pub(crate) fn new() -> Self {
        Self(ClientFile::ALL.map(|_| RwLock::new(Present::Unread)))
    }

    pub(crate) fn present(&self, file: ClientFile) -> Present {
        self.0[file as usize].read().clone()
    }

    /// `None`: it is not served. An empty text is that of a file that is too large.
    pub(crate) fn set(&self, file: ClientFile, text: Option<&Bytes>) {
        let present = match text {
            None => Present::Unread,
            Some(text) if text.is_empty() => Present::TooLarge,
            Some(text) => {
                let mut hasher = DefaultHasher::new();
                hasher.write(text);
                Present::Made(Arc::new(Made {
                    text: text.clone(),
                    tag: format!("\"{:016x}\"", hasher.finish()),
                }))
            }
        };
        let before = std::mem::replace(&mut *self.0[file as usize].write(), present);
        // Freed outside of the lock.
        drop(before);
    }
}
