//! How much room records take together: asked before the first of them is pushed.
//!
//! Not for pushing, and no promise: other producers take room, too.

use crate::layout::{ALIGN, footprint};

/// The room that some records need in a ring, wherever its positions stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    footprints: usize,
    largest: usize,
}

impl Need {
    /// With one more record of this many bytes.
    #[must_use]
    pub const fn with(self, record_bytes: usize) -> Self {
        let own = footprint(record_bytes);
        let largest = if own > self.largest { own } else { self.largest };
        Self { footprints: self.footprints.saturating_add(own), largest }
    }

    /// Bytes that must be free so that all records find room: their own, and a pad before the record that
    /// meets the end of the data. The pad is at least [`ALIGN`] bytes smaller than that record's footprint.
    /// Records that together need no more than the capacity meet the end once.
    pub const fn bytes(self) -> usize {
        self.footprints.saturating_add(self.largest.saturating_sub(ALIGN))
    }
}
