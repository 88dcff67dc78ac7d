//! Tickets of transactions with events: in which order they were about to commit, and which of them others
//! can already see although they have not pushed yet. `sse_proto::order` has the protocol and why it is
//! enough (C5.3).
//!
//! Shared fields, all of which stay valid when a process has gone:
//!
//! * [`Tickets::next`]: added to by committing backends, AcqRel. Each addition continues the chain of those
//!   before it: what a backend knew when it took its ticket, whoever sees a later ticket knows too.
//! * [`Announcements::words`], a word for each place of the process array: the ticket of the transaction that
//!   is about to commit there, 0 = none. Written by the backend of that place alone, Release: the ticket
//!   before the transaction becomes visible, 0 after its events are in the ring. Read by the gateway,
//!   Acquire: whoever sees 0, or a later ticket, sees the events in the ring.
//! * `PGPROC.xid`, a word of Postgres' (proc.h): set before the transaction's first change, which may come
//!   before or after the announcement; set to 0 under `ProcArrayLock`, in one step with the transaction's
//!   becoming visible (procarray.c, `ProcArrayEndTransactionInternal`). Read by the gateway without the lock,
//!   which is enough: it only has to know of transactions that somebody *saw* whose event it has already
//!   taken out of the ring. The process that saw it held the lock after the 0 was written, and pushed after
//!   that; the gateway acquired that push. So it reads the 0, or what was written later. Asking
//!   `TransactionIdIsInProgress` would take the lock for every announcement, and say the same.
//!
//! An announcement costs two stores into a cache line that 8 backends share. With a line for each backend,
//! the gateway would have to read 64 bytes for each of `MaxBackends` places, for every commit it hears of.
//!
//! Not for: what is done with tickets (`worker/gateway/courier/order.rs`).

use std::cell::Cell;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
    fence,
};

use pgrx::pg_sys;

use super::latch;

/// The part of the shared header.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Tickets {
    /// How many tickets were taken. 64 bits do not wrap within the life of a server.
    next: AtomicU64,
    /// Transactions whose events were no longer waited for (`worker/gateway/courier/order.rs`). Written by
    /// the gateway, relaxed; read by `sse.stat_ring`.
    pub given_up_total: AtomicU64,
    /// Records that were begun and not completed for seconds (`worker/gateway/courier/stall.rs`). Written by
    /// the gateway, relaxed; read by `sse.stat_ring`.
    pub stalls_total: AtomicU64,
}

/// The tickets as one process sees them. Cheap to copy.
#[derive(Clone, Copy)]
pub(crate) struct Announcements {
    /// Tickets in the shared header.
    pub tickets: &'static Tickets,
    /// What transactions that are about to commit announce, by their place in the process array.
    pub words: &'static [AtomicU64],
}

thread_local! {
    /// The ticket of the transaction that this backend is about to commit, 0 = none.
    static MINE: Cell<u64> = const { Cell::new(0) };
    /// Where it is announced.
    static PLACE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// How many places there are for announcements: every process that can run a transaction has its place in the
/// process array below this number (proc.c, InitProcGlobal). Known before shared memory is asked for, and
/// fixed until the server ends.
pub(crate) fn places() -> usize {
    // SAFETY: a variable of globals.c, set before shmem_request_hook is called, never changed afterwards.
    let places = unsafe { pg_sys::MaxBackends };
    usize::try_from(places).unwrap_or(0)
}

/// Takes a ticket for this transaction, which is about to commit with events, and announces it. Cannot fail.
///
/// A transaction without an xid announces, too. It has changed nothing yet, but it still may: NOTIFY takes an
/// xid after us, and so does a library whose PRE_COMMIT callback comes after ours and writes. Whoever sees
/// that must be told later. While a transaction has no xid, it cannot be told from one that others already
/// see, so later events are held back until it has pushed: for the microseconds of a commit that has nothing
/// to write.
pub(crate) fn take(announced: &Announcements) {
    MINE.set(next(announced));
    let place = latch::my_place().and_then(|place| usize::try_from(place).ok());
    if let Some(place) = place
        && let Some(word) = announced.words.get(place)
    {
        PLACE.set(Some(place));
        word.store(MINE.get(), Release);
    }
}

/// The ticket of this transaction, which has committed. A transaction that has none, because its first event
/// was raised after everything was ready for the commit, gets one now. Allocates nothing, cannot fail.
pub(crate) fn mine(announced: &Announcements) -> u64 {
    match MINE.get() {
        0 => next(announced),
        mine => mine,
    }
}

/// The events of this transaction are in the ring, or it has ended without any. Allocates nothing, cannot
/// fail.
pub(crate) fn done(announced: &Announcements) {
    MINE.set(0);
    if let Some(place) = PLACE.take()
        && let Some(word) = announced.words.get(place)
    {
        word.store(0, Release);
    }
}

fn next(announced: &Announcements) -> u64 {
    announced.tickets.next.fetch_add(1, AcqRel) + 1
}

/// For the gateway: the announced tickets below `highest` of transactions without an xid. These are visible
/// to others or were rolled back, and are about to push or to take back the announcement; or they have not
/// changed anything yet.
pub(crate) fn blockers(announced: &Announcements, highest: u64) -> Vec<u64> {
    let places = announced.words.iter().enumerate();
    places.filter_map(|(place, word)| blocker(place, word, highest)).collect()
}

fn blocker(place: usize, word: &AtomicU64, highest: u64) -> Option<u64> {
    loop {
        let ticket = word.load(Acquire);
        if ticket == 0 || ticket >= highest {
            return None;
        }
        let runs = has_xid(place);
        // The xid is read before the second look at the announcement: if the xid is that of the next
        // transaction in this place, the announcement has been taken back by then.
        fence(Acquire);
        if word.load(Acquire) == ticket {
            return (!runs).then_some(ticket);
        }
    }
}

/// Whether a transaction with an xid runs in the process of this place.
fn has_xid(place: usize) -> bool {
    xid_at(place).is_some_and(|xid| xid != pg_sys::InvalidTransactionId.into_inner())
}

/// The xid of the transaction that runs in the process of this place, 0 = none; `None`: no such place.
pub(super) fn xid_at(place: usize) -> Option<u32> {
    let process = process(place)?;
    // SAFETY: an entry of the process array, which stays mapped; only the address of the word is taken.
    let xid = unsafe { &raw const (*process).xid };
    // SAFETY: an aligned word of 32 bits, which is read and written whole. See the head of this file for what
    // a reading without the lock is worth.
    Some(unsafe { xid.read_volatile() }.into_inner())
}

/// The process id of the backend that announced a ticket, if the announcement is still there.
pub(crate) fn announcer(announced: &Announcements, ticket: u64) -> Option<i32> {
    let place = announced.words.iter().position(|word| word.load(Relaxed) == ticket)?;
    pid_at(place)
}

/// The id of the process of this place.
pub(super) fn pid_at(place: usize) -> Option<i32> {
    let process = process(place)?;
    // SAFETY: as in `xid_at`.
    let pid = unsafe { &raw const (*process).pid };
    // SAFETY: as in `xid_at`.
    Some(unsafe { pid.read_volatile() })
}

fn process(place: usize) -> Option<*const pg_sys::PGPROC> {
    // SAFETY: set up by the postmaster before any other process exists, never changed afterwards.
    let header = unsafe { pg_sys::ProcGlobal };
    // SAFETY: as above; NULL only outside of a server.
    let header = unsafe { header.as_ref() }?;
    if place >= header.allProcCount as usize {
        return None;
    }
    // SAFETY: `place` is below the number of entries of the array.
    Some(unsafe { header.allProcs.add(place) })
}
