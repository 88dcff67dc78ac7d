//! How the write-ahead log lies in its files: pages, segments, and their names (xlog_internal.h).
//!
//! Not for: which timeline a segment is read from (`timelines.rs`), and reading it (`files.rs`).

use pgrx::pg_sys;

/// Bytes of a page (`XLOG_BLCKSZ`).
pub(super) const PAGE_BYTES: u64 = pg_sys::XLOG_BLCKSZ as u64;

/// Bytes in front of the first record of a page (`SizeOfXLogShortPHD`).
const PAGE_HEADER_BYTES: u64 = 24;

/// … and of the first page of a segment (`SizeOfXLogLongPHD`).
const SEGMENT_HEADER_BYTES: u64 = 40;

/// See the head of this file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    segment_bytes: u64,
}

impl Layout {
    /// The layout of this server, which is fixed by initdb.
    pub(crate) fn of_server() -> Self {
        // SAFETY: a variable of xlog.c that is set before any background worker starts.
        let bytes = unsafe { pg_sys::wal_segment_size };
        Self { segment_bytes: u64::try_from(bytes).unwrap_or(0).max(PAGE_BYTES) }
    }

    /// The number of the segment in which this position is.
    pub(crate) fn segment(self, position: u64) -> u64 {
        position / self.segment_bytes
    }

    /// Where this segment begins.
    pub(crate) fn start(self, segment: u64) -> u64 {
        segment.saturating_mul(self.segment_bytes)
    }

    /// As in a file of WAL: `000000010000000A000000FF`.
    pub(super) fn file_name(self, timeline: u32, segment: u64) -> String {
        let of_an_id = self.segments_of_an_id();
        format!("{timeline:08X}{:08X}{:08X}", segment / of_an_id, segment % of_an_id)
    }

    /// The number of the segment of a file with this name; `None`: it is no segment.
    pub(super) fn segment_of_file(self, name: &str) -> Option<u64> {
        if name.len() != 24
            || !name.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte))
        {
            return None;
        }
        let high = u64::from_str_radix(name.get(8..16)?, 16).ok()?;
        let low = u64::from_str_radix(name.get(16..24)?, 16).ok()?;
        Some(high * self.segments_of_an_id() + low)
    }

    /// The position of a record that would begin here: after the header, at the boundary of a page.
    pub(crate) fn behind_header(self, position: u64) -> u64 {
        if !position.is_multiple_of(PAGE_BYTES) {
            return position;
        }
        position + self.header_bytes(position)
    }

    /// The end of a record that reaches up to here: in front of the header, at the boundary of a page. The
    /// opposite of [`Layout::behind_header`].
    pub(crate) fn before_header(self, position: u64) -> u64 {
        let page = position - position % PAGE_BYTES;
        if position - page <= self.header_bytes(page) { page } else { position }
    }

    fn header_bytes(self, page: u64) -> u64 {
        if page.is_multiple_of(self.segment_bytes) { SEGMENT_HEADER_BYTES } else { PAGE_HEADER_BYTES }
    }

    fn segments_of_an_id(self) -> u64 {
        (1 << 32) / self.segment_bytes
    }
}
