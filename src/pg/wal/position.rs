//! Positions of the log as this server has it.

use std::ptr;

use pgrx::pg_sys;

use sse_proto::place::Place;
use sse_proto::record;

use crate::pg::backend;

/// `SizeOfXLogShortPHD`: what the header of a page takes.
const PAGE_HEADER_BYTES: u64 = 24;

/// `SizeOfXLogLongPHD`: the same of the first page of a segment.
const SEGMENT_HEADER_BYTES: u64 = 40;

unsafe extern "C-unwind" {
    // Declared here instead of called through pgrx, whose wrappers set a jump buffer: called at commits.
    // xlog.c, xlogrecovery.c: each takes a spinlock, allocates nothing and reports no errors.
    safe fn GetXLogInsertRecPtr() -> u64;
    fn GetCurrentReplayRecPtr(timeline: *mut pg_sys::TimeLineID) -> u64;
}

/// The end of the last record that this server has written, or replayed, or is replaying. Everything that a
/// snapshot of this process can see has been committed before it: a replayed transaction becomes visible in
/// the middle of the replay of its commit (xact.c, `xact_redo_commit`), before `GetXLogReplayRecPtr` says so.
pub(crate) fn end_of_log() -> u64 {
    if backend::in_recovery() {
        // SAFETY: NULL: the timeline is not wanted.
        return unsafe { GetCurrentReplayRecPtr(ptr::null_mut()) };
    }
    // SAFETY: set at server start.
    let segment_bytes = unsafe { pg_sys::wal_segment_size };
    last_end(GetXLogInsertRecPtr(), u64::try_from(segment_bytes).unwrap_or(u64::MAX))
}

/// The end of the last record, if the next one will begin here. At the beginning of a page the two differ by
/// the page's header (xlog.c, `XLogBytePosToRecPtr`), and nothing can be flushed up to a place after it.
fn last_end(next: u64, segment_bytes: u64) -> u64 {
    let page_bytes = u64::from(pg_sys::XLOG_BLCKSZ);
    match next {
        next if next % segment_bytes == SEGMENT_HEADER_BYTES => next - SEGMENT_HEADER_BYTES,
        next if next % page_bytes == PAGE_HEADER_BYTES => next - PAGE_HEADER_BYTES,
        next => next,
    }
}

/// A record of this server's own, to be handed on after a position; `None`: there is no memory for it.
pub(crate) fn placed(record: &[u8], position: u64) -> Option<Vec<u8>> {
    let mut placed = Vec::new();
    let place = Place { timeline: 0, lsn: position, index: 0 };
    record::append_placed(place, record, &mut placed).ok().map(|()| placed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_a_page_is_no_record() {
        const SEGMENT: u64 = 16 << 20;
        assert_eq!(last_end(5 * SEGMENT + 40, SEGMENT), 5 * SEGMENT);
        assert_eq!(last_end(5 * SEGMENT + 8192 + 24, SEGMENT), 5 * SEGMENT + 8192);
        for end in [8192 + 40, 5 * SEGMENT + 48, 5 * SEGMENT + 8192, 5 * SEGMENT + 8192 + 32] {
            assert_eq!(last_end(end, SEGMENT), end);
        }
    }
}
