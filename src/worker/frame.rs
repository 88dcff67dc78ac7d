//! A request or an answer on its way through a ring: cut into parts, because a record has a maximum.
//!
//! A part is one byte, [`MORE`] or [`LAST`], and bytes of the frame behind it.
//!
//! Not for what the bytes mean (`sse_proto::call`).

/// Further parts follow.
const MORE: u8 = 0;
/// The frame ends with this part.
const LAST: u8 = 1;

/// Bytes of a part, at most: several fit into a ring, so that one side fills while the other takes.
const PART_BYTES: usize = 32 * 1024;

/// What became of a part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// There was none.
    Nothing,
    /// More parts follow.
    More,
    /// The frame is complete.
    Complete,
}

/// The parts of a frame, at least one.
pub(super) fn parts(frame: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..count(frame)).map(|index| part(frame, index))
}

/// Number of parts of a frame.
pub(super) fn count(frame: &[u8]) -> usize {
    frame.len().div_ceil(PART_BYTES).max(1)
}

/// One part, by number below [`count`].
pub(super) fn part(frame: &[u8], index: usize) -> Vec<u8> {
    let rest = frame.get(index * PART_BYTES..).unwrap_or_default();
    let bytes = rest.get(..PART_BYTES).unwrap_or(rest);
    let mut part = Vec::with_capacity(1 + bytes.len());
    part.push(if bytes.len() == rest.len() { LAST } else { MORE });
    part.extend_from_slice(bytes);
    part
}

/// Takes what a part has of the frame that it belongs to.
pub(super) fn take(part: &[u8], append: impl FnOnce(&[u8])) -> Progress {
    let Some((kind, bytes)) = part.split_first() else { return Progress::More };
    append(bytes);
    if *kind == LAST { Progress::Complete } else { Progress::More }
}
