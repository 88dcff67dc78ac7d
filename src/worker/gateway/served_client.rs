//! The files for clients that are served, as their parts come from the catalog worker, behind the routines
//! that they are for. Until another one is complete, the one before is served.
//!
//! Not for making them (`client.rs`), nor for answering requests (`sse_gateway`).

use bytes::Bytes;
use sse_gateway::Routes;
use sse_proto::client_file::ClientFile;

/// See the head of this file.
#[derive(Default)]
pub(super) struct ServedClient {
    /// In the order of [`ClientFile::ALL`].
    files: [Served; ClientFile::ALL.len()],
}

#[derive(Default)]
struct Served {
    coming: Vec<u8>,
    /// There was no memory for what comes.
    is_lost: bool,
    /// Empty: it would be too large.
    present: Option<Bytes>,
}

impl ServedClient {
    /// Others begin to come, if they come.
    pub(super) fn begin(&mut self) {
        self.files.iter_mut().for_each(Served::begin);
    }

    /// Takes a part of a file. An empty one is behind the last: another file is complete then, and served.
    pub(super) fn take(&mut self, file: ClientFile, part: &str, routes: Option<&Routes>) {
        let served = &mut self.files[file as usize];
        if served.take(part)
            && let Some(routes) = routes
        {
            routes.set_client(file, served.present.as_ref());
        }
    }

    pub(super) fn serve(&self, routes: &Routes) {
        for (file, served) in ClientFile::ALL.into_iter().zip(&self.files) {
            routes.set_client(file, served.present.as_ref());
        }
    }
}

impl Served {
    fn begin(&mut self) {
        (self.coming, self.is_lost) = (Vec::new(), false);
    }

    /// Whether another file is complete then.
    fn take(&mut self, part: &str) -> bool {
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
}
