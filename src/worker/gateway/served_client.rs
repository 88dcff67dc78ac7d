//! The client that is served, as its parts come from the catalog worker, behind the routines that it is for.
//! Until another one is complete, the one before is served.
//!
//! Not for making it (`client.rs`), nor for answering requests (`sse_gateway`).

use bytes::Bytes;
use sse_gateway::Routes;

/// See the head of this file.
#[derive(Default)]
pub(super) struct ServedClient {
    coming: Vec<u8>,
    /// There was no memory for what comes.
    is_lost: bool,
    /// Empty: it would be too large.
    present: Option<Bytes>,
}

impl ServedClient {
    /// Another one begins to come, if it comes.
    pub(super) fn begin(&mut self) {
        (self.coming, self.is_lost) = (Vec::new(), false);
    }

    /// Takes a part. An empty one is behind the last: says whether another client is complete then.
    pub(super) fn take(&mut self, part: &str) -> bool {
        if part.is_empty() {
            let text = std::mem::take(&mut self.coming);
            if self.is_lost {
                return false;
            }
            self.present = Some(text.into());
            return true;
        }
        if self.is_lost || self.coming.try_reserve(part.len()).is_err() {
            self.begin();
            self.is_lost = true;
        } else {
            self.coming.extend_from_slice(part.as_bytes());
        }
        false
    }

    pub(super) fn serve(&self, routes: &Routes) {
        routes.set_client(self.present.as_ref());
    }
}
