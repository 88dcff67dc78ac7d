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

use std::cell::RefCell;
use std::ffi::c_void;

use pgrx::prelude::*;
use pgrx::{pg_guard, pg_sys};
use sse_proto::record::{self, Kind};
use sse_ring::{Need, Wake};

use super::activation;
use crate::guc;
use crate::pg::shmem::{self, Shared};
use crate::pg::{backend, clock, effects, futex, ticket};

/// Memory that is kept for the next transaction; more is given back.
const KEPT_BYTES: usize = 64 * 1024;
const KEPT_ENTRIES: usize = 1024;

/// The events of the running transaction, one after the other.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    subtransaction: pg_sys::SubTransactionId,
    start: usize,
    /// The limit was passed here: nothing is kept from here on, and the transaction cannot commit.
    beyond_limit: bool,
}

unsafe extern "C-unwind" {
    // Declared here instead of called through pgrx, whose wrapper sets a jump buffer: called in the commit
    // callback.
    fn GetTopFullTransactionIdIfAny() -> pg_sys::FullTransactionId;
}

thread_local! {
    static PENDING: RefCell<Pending> = const { RefCell::new(Pending { bytes: Vec::new(), entries: Vec::new() }) };
}

/// This backend has no memory for the event.
#[derive(Debug)]
pub(crate) struct OutOfMemory;

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
    let subtransaction = unsafe { pg_sys::GetCurrentSubTransactionId() };
    PENDING.with_borrow_mut(|pending| {
        if pending.entries.last().is_some_and(|entry| entry.beyond_limit) {
            return Ok(());
        }
        let start = pending.bytes.len();
        let entries_bytes = (pending.entries.len() + 1) * size_of::<Entry>();
        let beyond_limit = start + record.len() + entries_bytes > guc::MAX_TRANSACTION_SIZE.bytes();
        pending.entries.try_reserve(1).map_err(|_| OutOfMemory)?;
        if !beyond_limit {
            pending.bytes.try_reserve(record.len()).map_err(|_| OutOfMemory)?;
            pending.bytes.extend_from_slice(record);
        }
        pending.entries.push(Entry { subtransaction, start, beyond_limit });
        Ok(())
    })
}

impl Pending {
    /// Forgets everything from the first event of the given subtransaction on. Subtransactions end last in,
    /// first out, and ids grow. So what it and its children raised is at the end, and what was raised before
    /// has smaller ids. The cost is that of the events forgotten: thousands of savepoints may roll back one
    /// by one.
    fn roll_back(&mut self, subtransaction: pg_sys::SubTransactionId) {
        while let Some(entry) = self.entries.pop_if(|entry| entry.subtransaction >= subtransaction) {
            self.bytes.truncate(entry.start);
        }
    }

    /// Writes the ticket, the xid and the time of the commit into each record. Allocates nothing, cannot
    /// fail.
    fn stamp(&mut self, ticket: u64, xid: u64) {
        let now = clock::monotonic_nanoseconds();
        for entry in &self.entries {
            if let Some(record) = self.bytes.get_mut(entry.start..) {
                record::set_ticket(record, ticket);
                record::set_xid(record, xid);
                record::set_raised_at(record, now);
            }
        }
    }

    /// The records, in order. Allocates nothing.
    fn records(&self) -> impl Iterator<Item = &[u8]> {
        let ends =
            self.entries.iter().skip(1).map(|entry| entry.start).chain(std::iter::once(self.bytes.len()));
        self.entries.iter().zip(ends).filter_map(|(entry, end)| self.bytes.get(entry.start..end))
    }

    /// The room that they take in the ring.
    fn need(&self) -> Need {
        self.records().fold(Need::default(), |need, record| need.with(record.len()))
    }

    /// Forgets everything, and gives back the memory that the next transaction is unlikely to need. Freeing
    /// cannot fail; nothing is allocated.
    fn clear(&mut self) {
        if self.bytes.capacity() > KEPT_BYTES || self.entries.capacity() > KEPT_ENTRIES {
            *self = Self::default();
            return;
        }
        self.bytes.clear();
        self.entries.clear();
    }
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
            push_all();
        }
        E::XACT_EVENT_ABORT | E::XACT_EVENT_PARALLEL_ABORT | E::XACT_EVENT_PARALLEL_COMMIT => forget_all(),
        _ => {}
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn before_commit() {
    let (has_events, beyond_limit) = PENDING.with_borrow(|pending| {
        let last = pending.entries.last();
        (last.is_some(), last.is_some_and(|entry| entry.beyond_limit))
    });
    if beyond_limit {
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
    let wanted = PENDING.with_borrow(Pending::need).bytes();
    let capacity = shared.ring.stats().capacity_bytes;
    if wanted as u64 > capacity {
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
    if PENDING.with_borrow(|pending| pending.entries.is_empty()) {
        return;
    }
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
    let _ = PENDING.try_with(|pending| {
        let Ok(mut pending) = pending.try_borrow_mut() else { return };
        if pending.entries.is_empty() {
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

/// The transaction's own id, whatever its savepoints have; 0: it has none, because it has changed nothing. It
/// is not given one for this. Asked behind the commit, because a PRE_COMMIT callback that comes after ours
/// may still take one.
fn xid() -> u64 {
    // SAFETY: returns a variable of xact.c, which CommitTransaction clears behind these callbacks.
    unsafe { GetTopFullTransactionIdIfAny() }.value
}

fn forget_all() {
    let _ = PENDING.try_with(|pending| {
        if let Ok(mut pending) = pending.try_borrow_mut() {
            pending.clear();
        }
    });
    if let Some(shared) = shmem::shared() {
        ticket::done(&shared.announced);
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
    let _ = PENDING.try_with(|pending| {
        if let Ok(mut pending) = pending.try_borrow_mut() {
            pending.roll_back(subtransaction);
        }
    });
    activation::abort_subtransaction();
}
