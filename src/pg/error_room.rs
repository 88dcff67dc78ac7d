//! Room for an error that Postgres raises for want of memory, where pgrx catches it.
//!
//! pgrx copies what it catches into the memory context that was the current one, and from there into Rust's
//! memory. If there is no memory for the copy, that is an error within the error, which it catches, and
//! copies; with the fifth elog.c gives up, by a PANIC (`ERRORDATA_STACK_SIZE exceeded`), which ends every
//! session of the cluster.
//!
//! So some memory is held while Postgres is asked for something, and given back when it raises an error,
//! before pgrx sees that: elog.c calls whoever has entered an error context. And the current context is one
//! of its own, which needs little memory to grow.
//!
//! Not for what asks Postgres nothing, nor for frames that errors may jump over (`raw.rs`).

use std::ffi::c_void;
use std::ptr::{null_mut, replace};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicPtr, AtomicUsize};
use std::thread;

use pgrx::pg_sys;
use sse_proto::encoding::OutOfMemory;

/// Blocks of the context, the first of which it always has.
const BLOCK_BYTES: usize = 8 * 1024;

/// What is held: blocks for the copy of an error, and for telling it.
const HELD_BYTES: usize = 4 * BLOCK_BYTES;

/// The context, made by the postmaster and inherited by every process; NULL: the library is not preloaded.
static CONTEXT: AtomicPtr<pg_sys::MemoryContextData> = AtomicPtr::new(null_mut());

/// How many steps of [`with`] are under way, one within the other.
static STEPS: AtomicUsize = AtomicUsize::new(0);

/// To be called once, from `_PG_init` in the postmaster.
pub(super) fn install() {
    // SAFETY: set up at the start of the process.
    let parent = unsafe { pg_sys::TopMemoryContext };
    let (name, block) = (c"pg_sse errors".as_ptr(), BLOCK_BYTES);
    // SAFETY: a child of a context that is never reset, with a literal for its name.
    let context = unsafe { pg_sys::AllocSetContextCreateInternal(parent, name, block, block, block) };
    CONTEXT.store(context, Relaxed);
}

/// Runs a step that asks Postgres for something, in guarded code. What it allocates in the current context is
/// not there any more when it has returned.
///
/// # Errors
/// There is no memory for an error of it, or it says so itself.
pub(crate) fn with<T>(step: impl FnOnce() -> Result<T, OutOfMemory>) -> Result<T, OutOfMemory> {
    if CONTEXT.load(Relaxed).is_null() {
        return step();
    }
    // SAFETY: freed by `give_back`.
    let held = unsafe { libc::malloc(HELD_BYTES) };
    if held.is_null() {
        return Err(OutOfMemory);
    }
    // SAFETY: a variable of this process' one Postgres thread.
    let before = unsafe { pg_sys::CurrentMemoryContext };
    // SAFETY: as above.
    let previous = unsafe { pg_sys::error_context_stack };
    let mut room = Room { held, entry: pg_sys::ErrorContextCallback::default() };
    room.entry = pg_sys::ErrorContextCallback {
        previous,
        callback: Some(give_back),
        arg: (&raw mut room.held).cast(),
    };
    prepare();
    STEPS.fetch_add(1, Relaxed);
    // SAFETY: as above; the room stays where it is, and takes itself out when it is dropped.
    unsafe { pg_sys::error_context_stack = &raw mut room.entry };
    let result = step();
    // SAFETY: as above.
    unsafe { pg_sys::CurrentMemoryContext = before };
    drop(room);
    result
}

/// Makes sure that an error can be raised, by guarded code, without further memory.
pub(crate) fn prepare() {
    let context = CONTEXT.load(Relaxed);
    if context.is_null() {
        return;
    }
    if STEPS.load(Relaxed) == 0 {
        // SAFETY: nobody uses what was allocated there by an earlier step.
        unsafe { pg_sys::MemoryContextReset(context) };
    }
    // SAFETY: a variable of this process' one Postgres thread.
    unsafe { pg_sys::CurrentMemoryContext = context };
}

struct Room {
    held: *mut c_void,
    entry: pg_sys::ErrorContextCallback,
}

impl Drop for Room {
    fn drop(&mut self) {
        STEPS.fetch_sub(1, Relaxed);
        if thread::panicking() {
            // Where the error was caught, there may be no room for telling it.
            // SAFETY: a variable of this process' one Postgres thread.
            unsafe { pg_sys::CurrentMemoryContext = CONTEXT.load(Relaxed) };
        }
        // SAFETY: a variable of this process' one Postgres thread. What was entered later has been taken out,
        // or goes with the error that unwinds.
        unsafe { pg_sys::error_context_stack = self.entry.previous };
        // SAFETY: this room's own.
        unsafe { give_back((&raw mut self.held).cast()) };
    }
}

/// elog.c calls this for every message, before an error jumps.
unsafe extern "C-unwind" fn give_back(held: *mut c_void) {
    // SAFETY: the address of what a room holds, which is there as long as its entry.
    let memory = unsafe { replace(held.cast::<*mut c_void>(), null_mut()) };
    // SAFETY: NULL, or held until now.
    unsafe { libc::free(memory) };
}
