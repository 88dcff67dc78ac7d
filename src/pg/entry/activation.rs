//! Which annotated routines are running in this backend, innermost last: kept by `fmgr_hook`.
//!
//! fmgr.c (`fmgr_security_definer`) brackets every call of a function for which [`needs`] said yes: START
//! before, END after, ABORT when the call is left by an error. Its PG_TRY balances the three, even through
//! COMMIT and ROLLBACK inside procedures, so no callback of a transaction may empty the stack. But its PG_TRY
//! begins after START. If another library's hook calls ours and then raises (a policy that denies), an
//! activation is left without an end; the same happens if it raises at END before it calls ours. An
//! activation that outlived its call would publish what no annotated routine raised. So:
//!
//! * our hook is installed after those of all preloaded libraries. It is called first, and calls the others
//!   before an activation begins and after one has ended;
//! * for a library that comes later (`LOAD`, session_preload_libraries), activations that cannot be running
//!   any more are dropped: those of an earlier message of the client, those of a subtransaction that rolls
//!   back, and those above an activation that ends. An error ends the message, or is caught by a
//!   subtransaction; and no call lives from one message to the next (a half-read cursor has none).
//!
//! Comparing stack addresses was considered and rejected: a call that is over and the next call have the same
//! depth.
//!
//! A call for which there is no memory is on the stack all the same, in a place that is kept free for it: as
//! one of which nothing is known ([`Running::Unknown`]). Without it, what it raises would be an event of
//! whoever has called it. It stands for all that is called below it without memory for a further place. The
//! ends of these must not be taken for those of calls further out through the same `FmgrInfo` (an index has
//! one for all who use it): they come from deeper in the processor's stack, of which nothing else has a
//! place.
//!
//! The script of `CREATE EXTENSION` or `ALTER EXTENSION` below a routine is on the stack, too: the threshold
//! is not lowered while a script is on top (see [`begin_script`]).
//!
//! Not for: what a message in an activation becomes (`publish/capture.rs`), and reading comments
//! (`publish/annotations.rs`).

use std::ffi::c_int;
use std::ptr;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pgrx::pg_sys::panic::pgrx_extern_c_guard;
use pgrx::{pg_guard, pg_sys};
use sse_proto::encoding::OutOfMemory;

use crate::pg::error_room;
use crate::pg::guc_shadow;
use crate::pg::postgres_cell::PostgresCell;
use crate::publish::annotations::{self, Routine};
use crate::publish::mistake;

unsafe extern "C-unwind" {
    // Declared here instead of called through pgrx, whose wrapper sets a jump buffer: these are called for
    // every message of the log, and for every call of an annotated routine. xact.c: each reads a variable,
    // and neither allocates nor reports errors.
    fn GetCurrentStatementStartTimestamp() -> i64;
    fn GetCurrentTransactionNestLevel() -> c_int;
}

static ACTIVATIONS: PostgresCell<Vec<Activation>> = PostgresCell::new(Vec::new());

// Written once, by the postmaster, and inherited by every process it forks. Not thread-local, because that is
// a call for each access in a library.
static PREVIOUS_NEEDS: OnceLock<unsafe extern "C-unwind" fn(pg_sys::Oid) -> bool> = OnceLock::new();
static PREVIOUS_FMGR: OnceLock<FmgrHook> = OnceLock::new();
static PREVIOUS_STARTUP: OnceLock<unsafe extern "C-unwind" fn()> = OnceLock::new();
static IS_ON_TOP: AtomicBool = AtomicBool::new(false);

type FmgrHook =
    unsafe extern "C-unwind" fn(pg_sys::FmgrHookEventType::Type, *mut pg_sys::FmgrInfo, *mut pg_sys::Datum);

struct Activation {
    kind: Kind,
    /// The routine; 0: a script.
    oid: u32,
    /// Nest level of transactions when it began.
    nest_level: c_int,
    /// Start of the client's message, or of the worker's task, that it belongs to.
    statement: i64,
}

enum Kind {
    /// A call through this `FmgrInfo`, which stays where it is as long as the call; the address is only
    /// compared, never followed.
    Routine(Rc<Routine>, *const pg_sys::FmgrInfo),
    /// A call for which there was no memory, and from where on the stack it is called.
    Unknown(Depth, *const pg_sys::FmgrInfo),
    /// An extension's script. Never the first of the stack.
    Script,
}

/// Where on the processor's stack a call is made: an address within the frame that fmgr.c has called, which
/// is the same at the beginning and the end of the call. Only compared, never followed.
#[derive(Clone, Copy)]
struct Depth(usize);

impl Depth {
    /// Whether it is below another call. The stack grows towards lower addresses. A frame of fmgr.c, with its
    /// jump buffer, has hundreds of bytes.
    fn is_below(self, other: Self) -> bool {
        const SAME_FRAME: usize = 256;
        self.0.saturating_add(SAME_FRAME) < other.0
    }
}

/// A running routine.
pub(crate) enum Running<'a> {
    /// It is annotated.
    Routine(&'a Rc<Routine>),
    /// There was no memory for what is known of it, nor perhaps of those that it calls: whether what they
    /// raise is an event cannot be said.
    Unknown,
}

/// Places that the postmaster gives to the stack of every process. So that there always is one to spare.
const FIRST_PLACES: usize = 8;

fn nest_level() -> c_int {
    // SAFETY: reads a variable of xact.c.
    unsafe { GetCurrentTransactionNestLevel() }
}

fn statement() -> i64 {
    // SAFETY: reads a variable of xact.c.
    unsafe { GetCurrentStatementStartTimestamp() }
}

/// To be called once, from `_PG_init` in the postmaster.
pub(crate) fn install() {
    ACTIVATIONS.with_mut(|activations| activations.reserve(FIRST_PLACES));
    // SAFETY: hooks are plain variables of the postmaster, which runs nothing else while it loads libraries.
    keep(&PREVIOUS_STARTUP, unsafe { pg_sys::shmem_startup_hook });
    // SAFETY: as above.
    unsafe { pg_sys::shmem_startup_hook = Some(all_are_loaded) };
}

/// Postgres makes shared memory when all of shared_preload_libraries are loaded, and again after a crash.
#[pg_guard]
unsafe extern "C-unwind" fn all_are_loaded() {
    if let Some(previous) = PREVIOUS_STARTUP.get() {
        // SAFETY: the hook that was installed before ours, called when Postgres calls us.
        unsafe { previous() };
    }
    if !IS_ON_TOP.swap(true, Relaxed) {
        go_on_top();
    }
}

fn go_on_top() {
    // SAFETY: hooks are plain variables of the postmaster, which runs nothing else while it makes shared
    // memory.
    keep(&PREVIOUS_NEEDS, unsafe { pg_sys::needs_fmgr_hook });
    // SAFETY: as above.
    unsafe { pg_sys::needs_fmgr_hook = Some(needs) };
    // SAFETY: as above.
    keep(&PREVIOUS_FMGR, unsafe { pg_sys::fmgr_hook });
    // SAFETY: as above.
    unsafe { pg_sys::fmgr_hook = Some(bracket) };
}

fn keep<T>(place: &OnceLock<T>, previous: Option<T>) {
    if let Some(previous) = previous {
        let _ = place.set(previous);
    }
}

/// Whether no annotated routine is running, so that nothing that is raised can be an event.
pub(crate) fn none_running() -> bool {
    ACTIVATIONS.try_with(Vec::is_empty).unwrap_or(true)
}

/// Drops the activations of an earlier message: see the head of this file. All activations above such an
/// activation are as old, because this is called before each START. Allocates nothing, cannot fail.
pub(crate) fn drop_stale() {
    change(|activations| {
        let is_stale = activations.last().is_some_and(|last| last.statement != statement());
        if is_stale {
            activations.clear();
        }
        is_stale
    });
}

/// A routine begins; drops the activations of an earlier message before. `None`: there was no memory for what
/// is known of it. Cannot fail.
fn begin(routine: Option<Rc<Routine>>, flinfo: *const pg_sys::FmgrInfo, oid: pg_sys::Oid, depth: Depth) {
    ACTIVATIONS.try_with_mut(|activations| {
        let statement = statement();
        if activations.last().is_some_and(|last| last.statement != statement) {
            activations.clear();
        }
        let places = places(activations);
        let kind = match routine {
            Some(routine) if places > 1 => Kind::Routine(routine, flinfo),
            _ => Kind::Unknown(depth, flinfo),
        };
        // Without a place the last one, which is unknown then, stands for this call, too.
        if places > 0 {
            activations.push(Activation { kind, oid: oid.to_u32(), nest_level: nest_level(), statement });
        }
        guc_shadow::lower();
    });
}

/// How many places are free, of which the last is for a call that finds no memory for another one.
fn places(activations: &mut Vec<Activation>) -> usize {
    let free = activations.capacity() - activations.len();
    if free > 1 { free } else { grown(activations, free) }
}

#[cold]
fn grown(activations: &mut Vec<Activation>, free: usize) -> usize {
    if activations.try_reserve(2).is_ok() { 2 } else { free }
}

/// A call is over, of a routine that may be none of ours, or have been none when the call began: whether it
/// is on the stack tells. Its oid has to be the same, too: an activation that was left behind may have the
/// address of a call site that came later. Allocates nothing, cannot fail.
fn end(flinfo: *const pg_sys::FmgrInfo, oid: pg_sys::Oid, depth: Depth, by_error: bool) {
    let mut is_last = false;
    change(|activations| {
        let mut rest = activations.as_slice();
        let place = loop {
            let [further_out @ .., activation] = rest else { return false };
            match activation.kind {
                // It is below that one, and has no place of its own.
                Kind::Unknown(begun, _) if depth.is_below(begun) => return false,
                Kind::Routine(_, of) | Kind::Unknown(_, of)
                    if ptr::eq(of, flinfo) && activation.oid == oid.to_u32() =>
                {
                    break further_out.len();
                }
                _ => rest = further_out,
            }
        };
        if by_error {
            guc_shadow::remember_unwinding_error();
        }
        activations.truncate(place);
        is_last = place == 0;
        true
    });
    if by_error && is_last {
        mistake::forget();
    }
}

/// Runs `find` over the running annotated routines, innermost first, until it answers.
pub(crate) fn search<T>(mut find: impl FnMut(Running<'_>) -> Option<T>) -> Option<T> {
    let found = ACTIVATIONS.try_with(|activations| {
        activations.iter().rev().find_map(|activation| match &activation.kind {
            Kind::Routine(routine, _) => find(Running::Routine(routine)),
            Kind::Unknown(..) => find(Running::Unknown),
            Kind::Script => None,
        })
    });
    found.flatten()
}

/// An extension's script is about to run. extension.c reads the C variable of `log_min_messages` before each
/// script of an update path, and would take the lowered value for the setting.
///
/// # Errors
/// There is no memory for its marker; the script must not be run then.
pub(crate) fn begin_script() -> Result<(), OutOfMemory> {
    drop_stale();
    if none_running() {
        return Ok(());
    }
    ACTIVATIONS.with_mut(|activations| {
        if places(activations) < 2 {
            return Err(OutOfMemory);
        }
        let (nest_level, statement) = (nest_level(), statement());
        activations.push(Activation { kind: Kind::Script, oid: 0, nest_level, statement });
        guc_shadow::restore();
        Ok(())
    })
}

/// The script has ended well: removes the marker of [`begin_script`], if it set one, and all that was left
/// above it.
pub(crate) fn end_script() {
    change(|activations| {
        let script = activations.iter().rposition(|activation| matches!(activation.kind, Kind::Script));
        if let Some(place) = script {
            activations.truncate(place);
        }
        script.is_some()
    });
}

/// A subtransaction rolls back: an exception block has caught an error, and what began in the subtransaction
/// is over. Routines have already been left through FHET_ABORT, scripts have not. Allocates nothing, cannot
/// fail.
pub(crate) fn abort_subtransaction() {
    let current = nest_level();
    change(|activations| {
        let before = activations.len();
        while activations.pop_if(|activation| activation.nest_level >= current).is_some() {}
        activations.len() < before
    });
}

/// Runs `change`, which may take activations away. If it did, lowers or restores the threshold by what is on
/// top then.
fn change(change: impl FnOnce(&mut Vec<Activation>) -> bool) {
    ACTIVATIONS.try_with_mut(|activations| {
        if !change(activations) {
            return;
        }
        match activations.last().map(|activation| &activation.kind) {
            Some(Kind::Routine(..) | Kind::Unknown(..)) => guc_shadow::lower(),
            Some(Kind::Script) | None => guc_shadow::restore(),
        }
    });
}

/// fmgr.c asks this once for each `fmgr_info` of a function that is not built in. Not guarded, as
/// [`bracket`].
unsafe extern "C-unwind" fn needs(oid: pg_sys::Oid) -> bool {
    if let Some(previous) = PREVIOUS_NEEDS.get()
        // SAFETY: the hook that was installed before ours, called with what Postgres passed.
        && unsafe { previous(oid) }
    {
        return true;
    }
    !matches!(annotated(oid), Ok(None))
}

/// fmgr.c calls this at the beginning and the end of each call. Not guarded by pgrx, whose guard would be a
/// good part of the work: nothing here panics, and what may raise an error runs where this frame, and that of
/// [`needs`], owns nothing with a destructor, so the jump may go over it. That is the hook that was installed
/// before ours, and what has a guard of its own.
///
/// The private Datum that fmgr.c keeps for each call site is left to the hook that was installed before: a
/// library that is loaded in the middle of a call is told of its end, and takes what it finds there for its
/// own.
unsafe extern "C-unwind" fn bracket(
    event: pg_sys::FmgrHookEventType::Type,
    flinfo: *mut pg_sys::FmgrInfo,
    private: *mut pg_sys::Datum,
) {
    let frame = 0_u8;
    let depth = Depth((&raw const frame).addr());
    // SAFETY: fmgr.c passes the FmgrInfo of the running call.
    let oid = unsafe { (*flinfo).fn_oid };
    if event != pg_sys::FmgrHookEventType::FHET_START {
        end(flinfo, oid, depth, event == pg_sys::FmgrHookEventType::FHET_ABORT);
    }
    // Outside of the activation: if the other hook raises an error at START no ABORT follows, and nothing of
    // ours may be left behind.
    if let Some(previous) = PREVIOUS_FMGR.get() {
        // SAFETY: the hook that was installed before ours, called with what Postgres passed; its errors may
        // jump over this frame, which has no destructors.
        unsafe { previous(event, flinfo, private) };
    }
    if event == pg_sys::FmgrHookEventType::FHET_START {
        match annotated(oid) {
            Ok(None) => {}
            Ok(routine) => begin(routine, flinfo, oid, depth),
            Err(OutOfMemory) => begin(None, flinfo, oid, depth),
        }
    } else if event == pg_sys::FmgrHookEventType::FHET_END && mistake::is_to_be_said() {
        // SAFETY: what the attribute `pg_guard` makes of a function: an error leaves it over this frame and
        // fmgr.c's, without destructors.
        unsafe { pgrx_extern_c_guard(mistake::say_if_possible) };
    }
}

/// The annotated routine of this oid; may read the catalog, and raise an error.
fn annotated(oid: pg_sys::Oid) -> Result<Option<Rc<Routine>>, OutOfMemory> {
    match annotations::known(oid) {
        Some(routine) => Ok(routine),
        None => looked_up(oid),
    }
}

#[cold]
fn looked_up(oid: pg_sys::Oid) -> Result<Option<Rc<Routine>>, OutOfMemory> {
    // SAFETY: what the attribute `pg_guard` makes of a function: an error leaves it over this frame and those
    // of its callers up to `needs` or `bracket`, without destructors.
    unsafe { pgrx_extern_c_guard(move || error_room::with(|| annotations::lookup(oid))) }
}
