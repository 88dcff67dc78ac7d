//! A request or an answer on its way through a ring: cut into parts, because a record has a maximum.
//!
//! A part is one byte, [`MORE`] or [`LAST`], followed by bytes of the frame.
//!
//! Not for what the bytes mean (`sse_proto::call`).

/// Further parts follow.
const MORE: u8 = 0;
/// The frame ends with this part.
const LAST: u8 = 1;

/// At most this many bytes of the frame are in one part: several parts fit into a ring, so that one side
/// fills it while the other takes from it.
const PART_BYTES: usize = 32 * 1024;

/// How far a frame is after taking a part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// There was none.
    Nothing,
    /// More parts follow.
    More,
    /// The frame is complete.
    Complete,
}

/// Number of parts of a frame of this many bytes; at least one.
pub(super) fn count(length: usize) -> usize {
    length.div_ceil(PART_BYTES).max(1)
}

/// Room for a part: made once, so that want of memory is no question when a call has one to send.
pub(super) struct Room(Vec<u8>);

impl Room {
    /// With all that it needs.
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(1 + PART_BYTES))
    }

    /// One part, by number below [`count`], of a frame whose bytes are `head` followed by `tail`. They are
    /// given separately, because an answer has up to tens of megabytes, and there may be no room for another
    /// copy.
    pub(super) fn part(&mut self, head: &[u8], tail: &[u8], index: usize) -> &[u8] {
        write_part(&mut self.0, head, tail, index);
        &self.0
    }
}

fn write_part(part: &mut Vec<u8>, head: &[u8], tail: &[u8], index: usize) {
    let length = head.len() + tail.len();
    let begin = (index * PART_BYTES).min(length);
    let end = length.min(begin + PART_BYTES);
    part.clear();
    part.push(if end == length { LAST } else { MORE });
    let within = |position: usize, bytes: &[u8]| position.min(bytes.len());
    let of_head = head.get(within(begin, head)..within(end, head));
    let (begin, end) = (begin.saturating_sub(head.len()), end.saturating_sub(head.len()));
    let of_tail = tail.get(within(begin, tail)..within(end, tail));
    part.extend_from_slice(of_head.unwrap_or_default());
    part.extend_from_slice(of_tail.unwrap_or_default());
}

/// Gives `append` the bytes of the frame that are in a part.
pub(super) fn take(part: &[u8], append: impl FnOnce(&[u8])) -> Progress {
    let Some((kind, bytes)) = part.split_first() else { return Progress::More };
    append(bytes);
    if *kind == LAST { Progress::Complete } else { Progress::More }
}
