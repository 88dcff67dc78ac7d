//! Events that wait for their transaction's commit, and the callbacks by which Postgres tells how it ends
//! (C5.1).
//!
//! One event's way: kept with the id of the subtransaction it was raised in; dropped when that one rolls
//! back; pushed into the ring, with the ticket that the transaction took before (`ticket.rs`) and its xid,
//! right after the transaction has become visible to others (xact.c calls XACT_EVENT_COMMIT after
//! ProcArrayEndTransaction). An error in that callback would be a PANIC of the whole cluster, so it only
//! copies bytes and adds to counters: nothing in it allocates, logs, or can fail. Everything that can is done
//! before the commit record is written, in XACT_EVENT_PRE_COMMIT.
//!
//! Not for: telling the gateway, after a commit, that routines have changed (`catalog_change.rs`).

use std::ffi::c_void;

use pgrx::prelude::*;
use pgrx::{pg_guard, pg_sys};
use sse_proto::record::Kind;
use sse_ring::Wake;

use super::activation;
use crate::guc;
use crate::pg::pending::{OutOfMemory, Pending};
use crate::pg::postgres_cell::PostgresCell;
use crate::pg::shmem::{self, Shared};
use crate::pg::{backend, effects, error_room, futex, ticket, wal};

unsafe extern "C-unwind" {
    // Declared here instead of called through pgrx, whose wrapper sets a jump buffer: called in the commit
    // callback, and for every event. xact.c: each reads a variable, and neither allocates nor reports errors.
    fn GetTopFullTransactionIdIfAny() -> pg_sys::FullTransactionId;
    fn GetCurrentSubTransactionId() -> pg_sys::SubTransactionId;
}

static PENDING: PostgresCell<Pending> = PostgresCell::new(Pending::new());

/// To be called once, from `_PG_init` in the postmaster; every backend inherits the callbacks.
pub(crate) fn install() {
    // SAFETY: registers a plain function with the life time of the library, which is never unloaded.
    unsafe { pg_sys::RegisterXactCallback(Some(at_transaction_event), std::ptr::null_mut()) };
    // SAFETY: as above.
    unsafe { pg_sys::RegisterSubXactCallback(Some(at_subtransaction_event), std::ptr::null_mut()) };
}

/// Keeps one record until the transaction commits. Beyond `sse.max_transaction_size`, which counts the
/// records and what is noted of each, nothing more is kept, and the transaction will fail before it commits.
///
/// # Errors
/// [`OutOfMemory`]; nothing is kept then.
pub(crate) fn keep_until_commit(record: &[u8]) -> Result<(), OutOfMemory> {
    // SAFETY: reads a variable of xact.c.
    let subtransaction = unsafe { GetCurrentSubTransactionId() };
    PENDING.with_mut(|pending| pending.keep(subtransaction, record, guc::MAX_TRANSACTION_SIZE.bytes()))
}

/// Keeps the end of a snapshot until the transaction commits: after the events of all transactions that it
/// saw.
///
/// # Errors
/// [`OutOfMemory`]; nothing is kept then.
pub(crate) fn keep_end_until_commit(record: &[u8]) -> Result<(), OutOfMemory> {
    if wal::is_on() {
        return PENDING.with_mut(|pending| pending.keep_local(record));
    }
    keep_until_commit(record)
}

/// Not guarded: see the head of this file. The arms that may raise errors are guarded functions of their own.
unsafe extern "C-unwind" fn at_transaction_event(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    use pg_sys::XactEvent as E;
    match event {
        // SAFETY: guarded; called where xact.c allows errors.
        E::XACT_EVENT_PRE_COMMIT => unsafe { before_commit() },
        // SAFETY: guarded; called where xact.c allows errors.
        E::XACT_EVENT_PRE_PREPARE => unsafe { before_prepare() },
        E::XACT_EVENT_COMMIT => {
            effects::add();
            if wal::is_on() {
                write_rest();
            } else {
                push_all();
            }
        }
        E::XACT_EVENT_ABORT | E::XACT_EVENT_PARALLEL_ABORT | E::XACT_EVENT_PARALLEL_COMMIT => forget_all(),
        _ => {}
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn before_commit() {
    let (has_events, beyond_limit) = PENDING.with(|pending| (!pending.is_empty(), pending.is_beyond_limit()));
    if beyond_limit {
        error_room::prepare();
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            "the events of this transaction exceed sse.max_transaction_size",
            format!(
                "The limit is {} bytes. Raise fewer or smaller events, use @sse_delivery immediate, or enlarge the limit.",
                guc::MAX_TRANSACTION_SIZE.bytes()
            )
        );
    }
    if has_events && let Some(shared) = shmem::shared() {
        if wal::is_on() {
            return PENDING.with_mut(|pending| wal::write::before_commit(&shared, pending, xid()));
        }
        wait_for_room(&shared);
        // As late as possible: the ticket must only be taken before the transaction becomes visible, and
        // fewer transactions wait for a later ticket.
        ticket::take(&shared.announced);
    }
}

/// Waits for room in the ring, at most `sse.publish_timeout`, interruptibly, before the commit record is
/// written. If not even an empty ring has room, waiting does not help: that transaction fails (C5.1). Other
/// publishers may take the room before the commit: then the events are dropped and counted, as without
/// waiting.
fn wait_for_room(shared: &Shared) {
    let timeout = guc::PUBLISH_TIMEOUT.duration();
    if timeout.is_zero() || !shared.has_had_gateway() {
        return;
    }
    let wanted = PENDING.with(Pending::need).bytes();
    let capacity = shared.ring.stats().capacity_bytes;
    if wanted as u64 > capacity {
        error_room::prepare();
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            "the events of this transaction do not fit into sse.ring_size",
            format!(
                "They need {wanted} bytes, the ring has {capacity}, and with sse.publish_timeout none may be lost. Raise fewer or smaller events, use @sse_delivery immediate, or enlarge the ring."
            )
        );
    }
    let deadline = backend::Deadline::after(timeout);
    let producer = shared.ring.producer();
    while producer.free_bytes() < wanted && !deadline.has_passed() {
        futex::wake(shared);
        backend::pause();
        pgrx::check_for_interrupts!();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn before_prepare() {
    if PENDING.with(|pending| pending.is_empty()) {
        return;
    }
    error_room::prepare();
    ereport!(
        ERROR,
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        "cannot PREPARE a transaction that has published events",
        "This session sends the events at the commit; a prepared transaction no longer belongs to it then."
    );
}

/// Copies every kept record into the ring. Allocates nothing, logs nothing, cannot fail: what finds no room
/// is counted, and the gateway tells the subscribers.
fn push_all() {
    let Some(shared) = shmem::shared() else { return };
    let mut wake = Wake::NotNeeded;
    PENDING.try_with_mut(|pending| {
        if pending.is_empty() {
            return;
        }
        pending.stamp(ticket::mine(&shared.announced), xid());
        let producer = shared.ring.producer();
        for record in pending.records() {
            // While more records follow, the gateway can make room.
            futex::wake_if(wake, &shared);
            effects::add_events(1);
            wake = match producer.try_push(record) {
                Ok(wake) => wake,
                // No event is lost with it: the end of a later run says the same and more.
                Err(_) if Kind::of(record) == Some(Kind::SnapshotEnd) => Wake::NotNeeded,
                Err(_) => producer.count_dropped(1),
            };
        }
        pending.clear();
    });
    ticket::done(&shared.announced);
    // After the announcement is taken back, so that the courier does not find it any more.
    futex::wake_if(wake, &shared);
}

/// With `sse.durability = wal`: as [`push_all`], for the log, and for what is this server's alone.
fn write_rest() {
    let Some(shared) = shmem::shared() else { return };
    PENDING.try_with_mut(|pending| {
        if !pending.is_empty() {
            wal::write::committed(&shared, pending, xid());
            effects::add_events(pending.count());
        }
        if pending.has_local()
            && let end = wal::position::end_of_log()
            && let Some(record) = pending.local(end, xid())
        {
            // The reader of the log comes there only when it is flushed.
            shared.wal.want_flush(end);
            shared.wal.wake_reader();
            // No event is lost with it: the end of a later run says the same and more.
            let wake = shared.ring.producer().try_push(record).unwrap_or(Wake::NotNeeded);
            futex::wake_if(wake, &shared);
        }
        pending.clear();
    });
}

/// The transaction's own id, whatever its savepoints have; 0: it has none, because it has changed nothing. It
/// is not given one for this. Asked after the commit, because a PRE_COMMIT callback that comes after ours
/// may still take one.
fn xid() -> u64 {
    // SAFETY: returns a variable of xact.c, which CommitTransaction clears after these callbacks.
    unsafe { GetTopFullTransactionIdIfAny() }.value
}

fn forget_all() {
    PENDING.try_with_mut(Pending::clear);
    if let Some(shared) = shmem::shared() {
        if wal::is_on() {
            wal::write::rolled_back(&shared);
        } else {
            ticket::done(&shared.announced);
        }
    }
}

unsafe extern "C-unwind" fn at_subtransaction_event(
    event: pg_sys::SubXactEvent::Type,
    subtransaction: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _: *mut c_void,
) {
    if event != pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        return;
    }
    PENDING.try_with_mut(|pending| pending.roll_back(subtransaction));
    activation::abort_subtransaction();
}
