//! The files for clients that are served, as their parts come from the catalog worker, after the routines
//! that they are for. Until another one is complete, the one before is served.
//!
//! Not for making them (`client.rs`), nor for answering requests (`sse_gateway`).

use bytes::Bytes;
use sse_gateway::Routes;
use sse_proto::client_file::ClientFile;

/// See the head of this file.
#[derive(Default)]
pub(super) struct ServedClient {
    /// The reading of the parts that come.
    reading: u64,
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
    /// Takes a part of a file of this reading. An empty one is after the last: another file is complete
    /// then, and served. Parts of an earlier reading are too late.
    pub(super) fn take(&mut self, reading: u64, file: ClientFile, part: &str, routes: Option<&Routes>) {
        if reading < self.reading {
            return;
        }
        if reading > self.reading {
            self.reading = reading;
            self.files.iter_mut().for_each(Served::begin);
        }
        if self.files[file as usize].take(part)
            && let Some(routes) = routes
        {
            routes.set_client(file, self.present(file));
        }
    }

    pub(super) fn serve(&self, routes: &Routes) {
        for file in ClientFile::ALL {
            routes.set_client(file, self.present(file));
        }
    }

    /// The last one that is complete. Empty: it would be too large.
    pub(super) fn present(&self, file: ClientFile) -> Option<&Bytes> {
        self.files[file as usize].present.as_ref()
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
