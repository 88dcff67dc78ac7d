//! How many bytes have been counted, and how many may be there besides.
//!
//! Not for: finding the values (`row_size.rs`).

/// Bytes so far. Counting stops as soon as there are too many.
pub(super) struct Sum {
    bytes: usize,
    most: usize,
    /// As many bytes may be there besides, of what was not looked at.
    unread: usize,
    /// How many texts this is inside of: a range is one, and what is composed of others in it. Each puts a
    /// second one before every quote and backslash that is in it. Composites have no names in them.
    pub(super) depth: u32,
}

/// This much of a row's JSON may be there without being counted. Together with what may be counted, of which
/// texts are up to six times as long as JSON (`publish/changes.rs`, `MOST_BYTES`), it is less than a
/// gigabyte. Beyond it, every value is written down on its own, and counted.
const UNREAD: usize = 64 * 1024 * 1024;

/// What is counted is at most so many times as long when it is written down: a control character. A text of
/// which more could come, by what it is inside of, has to fit into [`UNREAD`].
const TEXT_FACTOR: usize = 6;

/// A quote or a backslash of a text is at most so long in JSON …
pub(super) const QUOTED: usize = 2;

/// … and one of a string in a jsonb that is a text there.
pub(super) const QUOTED_IN_JSON: usize = 4;

impl Sum {
    pub(super) fn new(most: usize) -> Self {
        Self { bytes: 0, most, unread: 0, depth: 0 }
    }

    /// What has been counted, if that is too much.
    pub(super) fn excess(&self) -> Option<usize> {
        (self.bytes > self.most).then_some(self.bytes)
    }

    pub(super) fn would_exceed(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes) > self.most
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) fn add_too_much(&mut self) {
        self.add(self.most.saturating_add(1));
    }

    /// Counts a text of whose bytes each becomes at most `quoted` where it is not inside of another one, or
    /// six.
    pub(super) fn add_text(&mut self, bytes: usize, quoted: usize) {
        let is_bounded = self.in_texts(quoted) <= TEXT_FACTOR;
        if is_bounded || self.leave(bytes.saturating_mul(TEXT_FACTOR)) {
            self.add(bytes);
        } else {
            self.add_too_much();
        }
    }

    /// Whether so much, longer by the texts that it is inside of, can be left uncounted.
    pub(super) fn leave(&mut self, longest: usize) -> bool {
        let unread = self.unread.saturating_add(self.in_texts(longest));
        let may_leave = unread <= UNREAD;
        if may_leave {
            self.unread = unread;
        }
        may_leave
    }

    /// What is within a composed value comes: inside of a text that is a text itself.
    pub(super) fn enter(&mut self) {
        self.depth += u32::from(self.depth > 0);
    }

    fn in_texts(&self, bytes: usize) -> usize {
        bytes.saturating_mul(1_usize.checked_shl(self.depth).unwrap_or(usize::MAX))
    }
}
