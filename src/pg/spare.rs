//! Small memory where the system has none: for what is too small to be asked for (`want_of_memory.rs`), and
//! for what others' code allocates without asking: pgrx copies the message of each error that it catches,
//! and a panic allocates what it carries. Rust would end the process, and with it every session of the
//! cluster.
//!
//! Every allocation of this library is made here. What the system refuses is given out of some pieces that
//! every process has; they come back when they are freed. What is larger than a piece must be asked for.
//!
//! A process that serves no session need not come to its end as a crash: it leaves, and is started again
//! ([`leave_for_want_of`]).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::{copy_nonoverlapping, null_mut, write_bytes};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::thread;
use std::time::Duration;

use super::bgworker;
use super::postgres_cell::is_postgres_thread;

#[global_allocator]
static ALLOCATOR: WithSpare = WithSpare;

/// Bytes of a piece: more than any message that Postgres makes by itself.
pub(crate) const PIECE_BYTES: usize = 2048;

/// As many as [`TAKEN`] has bits.
const PIECES: usize = u64::BITS as usize;

#[repr(C, align(2048))]
struct Pieces(UnsafeCell<[[u8; PIECE_BYTES]; PIECES]>);

// SAFETY: a piece is used by whoever has set its bit, and by nobody else until that bit is cleared.
unsafe impl Sync for Pieces {}

/// Takes room in no process before it is used.
static SPARE: Pieces = Pieces(UnsafeCell::new([[0; PIECE_BYTES]; PIECES]));

/// Which of them are given out, a bit each. Set with acquire and cleared with release: what one thread has
/// written into a piece is over before another thread has it.
static TAKEN: AtomicU64 = AtomicU64::new(0);

struct WithSpare;

// SAFETY: memory is the system's, or a piece that nobody else has; a piece is as large and as aligned as is
// asked for. Nothing here unwinds.
unsafe impl GlobalAlloc for WithSpare {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let memory = unsafe { System.alloc(layout) };
        if memory.is_null() { refused(layout) } else { memory }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let memory = unsafe { System.alloc_zeroed(layout) };
        if !memory.is_null() {
            return memory;
        }
        let memory = refused(layout);
        if !memory.is_null() {
            // SAFETY: it has as many bytes.
            unsafe { write_bytes(memory, 0, layout.size()) };
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        match number(memory) {
            Some(number) => give_back(number),
            // SAFETY: the caller's promise; it is none of ours, so it is the system's.
            None => unsafe { System.dealloc(memory, layout) },
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        if number(memory).is_none() {
            // SAFETY: the caller's promise; it is none of ours, so it is the system's.
            let moved = unsafe { System.realloc(memory, layout, bytes) };
            if !moved.is_null() {
                return moved;
            }
        }
        // SAFETY: the caller's promise.
        unsafe { self.moved(memory, layout, bytes) }
    }
}

impl WithSpare {
    /// From or into a piece.
    ///
    /// # Safety
    /// - As [`GlobalAlloc::realloc`].
    #[cold]
    unsafe fn moved(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let Ok(wanted) = Layout::from_size_align(bytes, layout.align()) else { return null_mut() };
        // SAFETY: not of size 0, as the caller promises.
        let moved = unsafe { self.alloc(wanted) };
        if !moved.is_null() {
            // SAFETY: both have as many bytes, and are two.
            unsafe { copy_nonoverlapping(memory, moved, layout.size().min(bytes)) };
            // SAFETY: the caller's promise; not used any more.
            unsafe { self.dealloc(memory, layout) };
        }
        moved
    }
}

/// What a process that leaves for want of memory leaves for, in bytes; 0: it does not.
static LEAVES_BELOW: AtomicUsize = AtomicUsize::new(0);

/// Some thread of it waits for memory.
static IS_SHORT: AtomicBool = AtomicBool::new(false);

/// It leaves.
static IS_LEAVING: AtomicBool = AtomicBool::new(false);

/// From now on this process, a background worker that is started again, leaves with code 1 where there is no
/// memory for so many bytes: its Postgres thread at once; what another one wants waits until that one, which
/// has to look at [`is_short`], has left. Larger things must be asked for.
pub(crate) fn leave_for_want_of(bytes: usize) {
    LEAVES_BELOW.store(bytes, Relaxed);
}

/// Whether a thread of this process waits for memory. The process should leave.
pub(crate) fn is_short() -> bool {
    IS_SHORT.load(Relaxed)
}

/// How long a thread waits that the process leaves. The Postgres thread may be waiting for it.
const PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(5);

#[cold]
fn refused(layout: Layout) -> *mut u8 {
    let piece = take(layout);
    if !piece.is_null() || layout.size() > LEAVES_BELOW.load(Relaxed) {
        return piece;
    }
    if is_postgres_thread() {
        if !IS_LEAVING.swap(true, Relaxed) {
            bgworker::leave(1);
        }
        return null_mut();
    }
    IS_SHORT.store(true, Relaxed);
    for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
        thread::sleep(STEP);
        // SAFETY: not of size 0, as the caller of the allocator promises.
        let memory = unsafe { System.alloc(layout) };
        if !memory.is_null() {
            return memory;
        }
    }
    null_mut()
}

/// A piece, if there is one left and it is large enough.
fn take(layout: Layout) -> *mut u8 {
    if layout.size() > PIECE_BYTES || layout.align() > PIECE_BYTES {
        return null_mut();
    }
    let first_free = |taken: u64| (taken != u64::MAX).then(|| taken | (taken + 1));
    let Ok(before) = TAKEN.fetch_update(Acquire, Relaxed, first_free) else { return null_mut() };
    let number = before.trailing_ones() as usize;
    SPARE.0.get().cast::<u8>().wrapping_add(number * PIECE_BYTES)
}

fn give_back(number: usize) {
    TAKEN.fetch_and(!(1 << number), Release);
}

/// Which piece this memory is, if it is one.
#[inline]
fn number(memory: *const u8) -> Option<usize> {
    let distance = memory.addr().wrapping_sub(SPARE.0.get().addr());
    (distance < PIECES * PIECE_BYTES).then_some(distance / PIECE_BYTES)
}
