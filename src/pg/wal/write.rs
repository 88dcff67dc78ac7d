//! Writes events into the log: records that every server replays as logical messages and that only pg_sse
//! reads (`sse_proto::log_record`, C10).
//!
//! * With a transaction that has an xid: before its commit record, in the phase in which it can still fail.
//!   The log has them exactly when it has the commit record.
//! * *Lazily*, when the transaction has none, so has changed nothing: after its commit, because nothing can
//!   make it fail then, neither its NOTIFY nor being serializable. There is no commit record, so nobody waits
//!   for the disk; the reader of the log has it flushed. Of a long body all but the last part are written
//!   before the commit, where that can be cancelled: a body counts with its last part.
//! * *At once*, for `immediate` events.
//!
//! `LogLogicalMessage` is not used: it would write the database's oid, as SQL does (C10.6).
//!
//! Not for which events these are (`entry/xact.rs`, `publish/capture.rs`).

use std::cell::Cell;
use std::ffi::{c_char, c_int};

use pgrx::pg_sys;
use sse_proto::log_record::{self, Delivery, LENGTH_BYTES, MAX_PART_BYTES, Part};

use crate::pg::latch;
use crate::pg::pending::Pending;
use crate::pg::shmem::Shared;

/// `XLOG_LOGICAL_MESSAGE` (`replication/message.h`), the only kind of record of that resource manager.
const LOGICAL_MESSAGE: u8 = 0;

/// `SYNCHRONOUS_COMMIT_LOCAL_FLUSH` (xact.h): whoever has set this or less waits for no standby.
const LOCAL_FLUSH: c_int = 1;

unsafe extern "C-unwind" {
    // Declared here instead of called through pgrx, whose wrappers set a jump buffer and may unwind: they are
    // called in the log hook and in commit callbacks. xloginsert.c: on these ways they allocate nothing. They
    // report errors for a record that was begun twice, for more than 20 pieces (`XLR_NORMAL_RDATAS`), for
    // more than a gigabyte (since 16), and in recovery: callers see to all four. A log that cannot be written
    // is a PANIC, as for any commit.
    fn XLogBeginInsert();
    // `len` is unsigned since 16, `data` const since 18.
    fn XLogRegisterData(data: *const c_char, len: c_int);
    fn XLogInsert(resource_manager: u8, info: u8) -> u64;
}

thread_local! {
    /// The end of what this process has written last, or of the commit record that followed it.
    static LAST_END: Cell<u64> = const { Cell::new(0) };
    /// The events of the running transaction that the log has await its commit record.
    static AWAITS_COMMIT: Cell<bool> = const { Cell::new(false) };
    /// The running transaction has begun a lazy body and not ended it.
    static IS_LAZY: Cell<bool> = const { Cell::new(false) };
}

/// The position after which everything is that this process has published, 0: nothing yet.
pub(crate) fn last_end() -> u64 {
    LAST_END.get()
}

/// Where the pieces of a body come from.
type Pieces<'a> = [&'a [u8]; 2];

/// Writes one record of ours: `head`, and up to two pieces after it; all together far below a gigabyte.
/// Returns its end. Not in recovery.
fn insert(is_transactional: bool, head: &[u8], pieces: Pieces<'_>) -> u64 {
    let message_head = log_record::message_head(is_transactional);
    // SAFETY: not in recovery (the callers), and no other record is begun: Postgres begins and inserts
    // records without calling anybody in between.
    unsafe { XLogBeginInsert() };
    for piece in [&message_head, head].into_iter().chain(pieces).filter(|piece| !piece.is_empty()) {
        let bytes = c_int::try_from(piece.len()).unwrap_or(c_int::MAX);
        // SAFETY: the bytes live until the record is inserted, below; four pieces at most.
        unsafe { XLogRegisterData(piece.as_ptr().cast(), bytes) };
    }
    // The xid of the running transaction comes into the record by itself, if it has one.
    // SAFETY: begun above.
    let end = unsafe { XLogInsert(pg_sys::RmgrIds::RM_LOGICALMSG_ID as u8, LOGICAL_MESSAGE) };
    LAST_END.set(end);
    end
}

/// Writes one record of ours that has no body: a mark. Returns its end. Not in recovery.
pub(crate) fn insert_small(is_transactional: bool, payload: &[u8]) -> u64 {
    insert(is_transactional, payload, [&[], &[]])
}

fn insert_part(delivery: Delivery, is_first: bool, is_last: bool, pieces: Pieces<'_>) {
    let place = latch::my_place().unwrap_or(u32::MAX);
    // SAFETY: a setting, written by guc.c on this thread; `SET LOCAL` is in force until after the callbacks
    // of the commit (CommitTransaction).
    let ignores_standbys = unsafe { pg_sys::synchronous_commit } <= LOCAL_FLUSH;
    let part = Part { delivery, place, is_first, is_last, ignores_standbys, bytes: &[] };
    insert(delivery == Delivery::Commit, &log_record::part_head(&part), pieces);
}

/// Before the commit of a transaction with events, where it may still fail: not in recovery. May raise an
/// error, when the session is cancelled.
pub(crate) fn before_commit(shared: &Shared, pending: &mut Pending, xid: u64) {
    pending.stamp(0, xid);
    if xid == 0 {
        while pending.unwritten().len() > MAX_PART_BYTES {
            pgrx::check_for_interrupts!();
            shared.wal.announce_start();
            let is_first = !IS_LAZY.replace(true);
            let part = pending.unwritten().get(..MAX_PART_BYTES).unwrap_or_default();
            insert_part(Delivery::Lazy, is_first, false, [part, &[]]);
            pending.set_written(MAX_PART_BYTES);
        }
        return;
    }
    shared.wal.announce_start();
    let body = pending.unwritten();
    for range in log_record::parts(body.len()) {
        pgrx::check_for_interrupts!();
        let (is_first, is_last) = (range.start == 0, range.end == body.len());
        insert_part(Delivery::Commit, is_first, is_last, [body.get(range).unwrap_or_default(), &[]]);
    }
    AWAITS_COMMIT.set(true);
    pending.set_written(usize::MAX);
}

/// The transaction has committed, and others see it. Writes what the log does not have yet: all that is left
/// of a lazy body, or what was raised after everything was ready for the commit. Then it takes back the
/// announcement and wakes the reader. Allocates nothing, logs nothing, cannot fail.
pub(crate) fn committed(shared: &Shared, pending: &mut Pending, xid: u64) {
    if AWAITS_COMMIT.take() {
        // SAFETY: a variable of xlog.c, set by this commit, which has a record because it has an xid.
        LAST_END.set(unsafe { pg_sys::XactLastCommitEnd });
    }
    pending.stamp(0, xid);
    let body = pending.unwritten();
    let continues = IS_LAZY.take();
    if !body.is_empty() || continues {
        if !continues && body.len() > MAX_PART_BYTES {
            shared.wal.announce_start();
        }
        for range in log_record::parts(body.len()) {
            let (is_first, is_last) = (range.start == 0 && !continues, range.end == body.len());
            insert_part(Delivery::Lazy, is_first, is_last, [body.get(range).unwrap_or_default(), &[]]);
        }
    }
    shared.wal.end();
    tell_reader(shared);
}

/// The transaction has rolled back. A lazy body that was begun is made an empty one, so that no reader keeps
/// it. Allocates nothing, logs nothing, cannot fail.
pub(crate) fn rolled_back(shared: &Shared) {
    if IS_LAZY.take() {
        insert_part(Delivery::Lazy, true, true, [&[], &[]]);
    }
    AWAITS_COMMIT.set(false);
    shared.wal.end();
}

/// Writes one event that waits for no commit. Not in recovery. Allocates nothing, logs nothing, cannot fail.
pub(crate) fn immediate(shared: &Shared, record: &[u8]) {
    // A record has less than nearly half of the ring, which has a gigabyte at most.
    let length = (record.len() as u32).to_le_bytes();
    let body_bytes = LENGTH_BYTES + record.len();
    let is_cut = body_bytes > MAX_PART_BYTES;
    let is_announced = shared.wal.is_announced();
    if is_cut {
        shared.wal.announce_start();
    }
    for range in log_record::parts(body_bytes) {
        let (is_first, is_last) = (range.start == 0, range.end == body_bytes);
        let of_record = range.start.saturating_sub(LENGTH_BYTES)..range.end - LENGTH_BYTES;
        let front: &[u8] = if is_first { &length } else { &[] };
        let pieces = [front, record.get(of_record).unwrap_or_default()];
        insert_part(Delivery::Immediate, is_first, is_last, pieces);
    }
    if is_cut && !is_announced {
        shared.wal.end();
    }
    tell_reader(shared);
}

/// Has the reader look, and flush what nobody has waited for.
fn tell_reader(shared: &Shared) {
    shared.wal.want_flush(last_end());
    shared.wal.wake_reader();
}
