//! Where the bytes of events lie: large segments, one after another.
//!
//! Not for which event lies where: that is the index of the stream log.

use std::collections::VecDeque;

/// Bytes of a segment. Large enough that a backlog is a handful of writes, small enough that an idle gateway
/// holds little. A larger event has a segment of its own size.
pub(super) const SEGMENT_BYTES: usize = 256 << 10;

#[derive(Default)]
pub(super) struct Lane {
    segments: VecDeque<Segment>,
    /// Number of `segments[0]`; numbers are never used twice (they wrap after a petabyte).
    first: u32,
    /// The last segment that was dropped, to be used again.
    spare: Option<Vec<u8>>,
}

pub(super) struct Segment {
    /// Sequence of the first item that was appended to it.
    first_sequence: u64,
    /// Never grows beyond its first capacity.
    pub(super) buffer: Vec<u8>,
}

impl Lane {
    /// Makes the last segment one with room for `len` bytes, and returns its number and itself.
    pub(super) fn make_room(&mut self, len: usize, sequence: u64) -> (u32, &mut Vec<u8>) {
        let fits = |segment: &Segment| segment.buffer.capacity() - segment.buffer.len() >= len;
        if !self.segments.back().is_some_and(fits) {
            let spare = if len <= SEGMENT_BYTES { self.spare.take() } else { None };
            let buffer = spare.unwrap_or_else(|| Vec::with_capacity(len.max(SEGMENT_BYTES)));
            self.segments.push_back(Segment { first_sequence: sequence, buffer });
        }
        let number = self.first.wrapping_add(self.segments.len() as u32 - 1);
        let last = self.segments.len() - 1;
        (number, &mut self.segments[last].buffer)
    }

    /// Drops the segments before this one; all for `None`.
    pub(super) fn drop_before(&mut self, first: Option<u32>) {
        while !self.segments.is_empty() && first != Some(self.first) {
            self.first = self.first.wrapping_add(1);
            if let Some(mut segment) = self.segments.pop_front()
                && segment.buffer.capacity() == SEGMENT_BYTES
            {
                segment.buffer.clear();
                self.spare = Some(segment.buffer);
            }
        }
    }

    pub(super) fn segment(&self, number: u32) -> Option<&Segment> {
        self.segments.get(number.wrapping_sub(self.first) as usize)
    }

    /// The first sequence after a segment, when another one follows.
    pub(super) fn segment_end(&self, number: u32) -> Option<u64> {
        Some(self.segment(number.wrapping_add(1))?.first_sequence)
    }

    pub(super) fn bytes(&self, segment: u32, offset: u32, len: u32) -> &[u8] {
        let buffer = self.segment(segment).map_or(&[][..], |segment| &segment.buffer);
        buffer.get(offset as usize..offset as usize + len as usize).unwrap_or(&[])
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.segments.len()
    }
}
