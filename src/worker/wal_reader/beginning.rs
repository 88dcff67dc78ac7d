//! Where a reading begins in the log that is there, and from where on it has everything: by a known start, or
//! by a mark that it comes to.
//!
//! Not for: what a start is (`starts.rs`), and how starts are found (`marks.rs`).

use sse_proto::place::Place;

use super::marks::now_seconds;
use super::starts::{Start, Starts, Window};
use crate::guc;
use crate::pg::wal::layout::Layout;
use crate::pg::wal::log_reader::LogReader;

/// What is to be read.
pub(super) enum Beginning<'s> {
    /// The window, for a gateway that has nothing.
    OfWindow(&'s Starts),
    /// What a reader before this one has not told.
    Behind {
        /// The gateway has everything up to this place.
        told: (u64, u32),
        /// All that it has not told begins after this position; 0: that is not known.
        rest_at: u64,
        /// Whether it has read the window back.
        is_read_back: bool,
        /// A start for that, if one is known.
        start: Option<Start>,
    },
}

/// See the head of this file.
pub(super) struct Begin {
    /// Where the first record is that is read.
    pub start: u64,
    /// Events after this place, position and index, are complete. `None`: it is not known yet.
    pub place: Option<(u64, u32)>,
    /// A start that lies further on.
    known: Option<Start>,
}

impl Begin {
    /// In a log that ends here. `None`: it cannot be read yet.
    pub(super) fn find(beginning: &Beginning<'_>, log: &mut LogReader, end: u64) -> Option<Self> {
        let oldest = log.oldest(0)?;
        let (start, place, known) = match *beginning {
            Beginning::OfWindow(starts) => {
                match starts.for_window(now_seconds(), guc::WINDOW_AGE.duration(), oldest..end) {
                    Window::From(start) => (start.start, Some(start.nothing_since), None),
                    Window::Older(known) => (log.find_from(oldest)?, None, known),
                }
            }
            Beginning::Behind { told, rest_at, start, .. } => {
                // Some events of that position may not be told.
                let place = (told.0.saturating_sub(1), Place::BEHIND_ALL);
                match start {
                    _ if rest_at >= oldest => (rest_at, Some(place), None),
                    Some(start) if start.start >= oldest => (start.start, Some(start.nothing_since), None),
                    _ if told.0 >= oldest => (log.find_from(oldest)?, Some(place), None),
                    // It has gone, which is told when it is to be read.
                    gone => (gone.map_or(told.0, |start| start.start), Some(place), None),
                }
            }
        };
        Some(Self { start, place, known })
    }

    /// What is told next is at this position. True: now it is known from where on everything is.
    pub(super) fn come_to(&mut self, position: u64) -> bool {
        let Some(known) = self.known.take_if(|known| known.complete < position) else { return false };
        let is_new = self.place.is_none();
        self.place.get_or_insert(known.nothing_since);
        is_new
    }

    /// A mark with this start was read, which ends here, and nothing is held that lies before it. True as
    /// above.
    pub(super) fn take_mark(&mut self, start: u64, end: u64, layout: Layout) -> bool {
        if self.come_to(end) {
            return true;
        }
        if self.place.is_some() || layout.behind_header(start) < self.start {
            return false;
        }
        // A known start may say that there was nothing for long.
        let known =
            self.known.map(|known| known.nothing_since).filter(|nothing_since| nothing_since.0 <= end);
        self.place = Some(known.unwrap_or((end, Place::BEHIND_ALL)));
        true
    }

    /// Everything was read, up to this position, and nobody knows more: what is complete begins here.
    pub(super) fn settle(&mut self, position: u64) {
        self.place.get_or_insert((position, Place::BEHIND_ALL));
    }
}
