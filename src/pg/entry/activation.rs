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
//! The script of `CREATE EXTENSION` or `ALTER EXTENSION` below a routine is on the stack, too: the threshold
//! is not lowered while a script is on top (see [`begin_script`]).
//!
//! Not for: what a message in an activation becomes (`publish/capture.rs`), and reading comments
//! (`publish/annotations.rs`).

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::rc::Rc;

use pgrx::{pg_guard, pg_sys};

use crate::pg::guc_shadow;
use crate::publish::annotations::{self, Routine};
use crate::publish::mistake;

unsafe extern "C-unwind" {
    // Declared here instead of called through pgrx, whose wrapper sets a jump buffer: these are called for
    // every message of the log, and for every call of an annotated routine. xact.c: each reads a variable,
    // and neither allocates nor reports errors.
    fn GetCurrentStatementStartTimestamp() -> i64;
    fn GetCurrentTransactionNestLevel() -> c_int;
}

thread_local! {
    static ACTIVATIONS: RefCell<Vec<Activation>> = const { RefCell::new(Vec::new()) };
    static PREVIOUS_NEEDS: Cell<pg_sys::needs_fmgr_hook_type> = const { Cell::new(None) };
    static PREVIOUS_FMGR: Cell<pg_sys::fmgr_hook_type> = const { Cell::new(None) };
    static PREVIOUS_STARTUP: Cell<pg_sys::shmem_startup_hook_type> = const { Cell::new(None) };
    /// Set in the postmaster, inherited by every process it forks.
    static IS_ON_TOP: Cell<bool> = const { Cell::new(false) };
}

struct Activation {
    kind: Kind,
    /// Nest level of transactions when it began.
    nest_level: c_int,
    /// Start of the client's message, or of the worker's task, that it belongs to.
    statement: i64,
}

enum Kind {
    /// A call through this call site; the address is only compared, never followed.
    Routine(Rc<Routine>, *const CallSite),
    /// An extension's script. Never the first of the stack.
    Script,
}

impl Activation {
    fn new(kind: Kind) -> Self {
        Self { kind, nest_level: nest_level(), statement: statement() }
    }
}

fn nest_level() -> c_int {
    // SAFETY: reads a variable of xact.c.
    unsafe { GetCurrentTransactionNestLevel() }
}

fn statement() -> i64 {
    // SAFETY: reads a variable of xact.c.
    unsafe { GetCurrentStatementStartTimestamp() }
}

/// What one call site keeps in the private Datum that fmgr.c gives each hook: how many of its calls are on
/// the stack (the annotation can change between START and END), and the Datum of the hook that was installed
/// before. Allocated with the `FmgrInfo`, as sepgsql does.
struct CallSite {
    pushed: u32,
    next: pg_sys::Datum,
}

/// To be called once, from `_PG_init` in the postmaster.
pub(crate) fn install() {
    // SAFETY: hooks are plain variables of the postmaster, which runs nothing else while it loads libraries.
    PREVIOUS_STARTUP.set(unsafe { pg_sys::shmem_startup_hook });
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
    if !IS_ON_TOP.replace(true) {
        go_on_top();
    }
}

fn go_on_top() {
    // SAFETY: hooks are plain variables of the postmaster, which runs nothing else while it makes shared
    // memory.
    PREVIOUS_NEEDS.set(unsafe { pg_sys::needs_fmgr_hook });
    // SAFETY: as above.
    unsafe { pg_sys::needs_fmgr_hook = Some(needs) };
    // SAFETY: as above.
    PREVIOUS_FMGR.set(unsafe { pg_sys::fmgr_hook });
    // SAFETY: as above.
    unsafe { pg_sys::fmgr_hook = Some(bracket) };
}

/// Whether no annotated routine is running, so that nothing that is raised can be an event. Also true when
/// this process is ending and the stack is gone already: Postgres logs to the very last.
pub(crate) fn none_running() -> bool {
    ACTIVATIONS
        .try_with(|activations| activations.try_borrow().is_ok_and(|activations| activations.is_empty()))
        .unwrap_or(true)
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

/// A routine begins; drops the activations of an earlier message before.
fn begin(activation: Activation) {
    ACTIVATIONS.with_borrow_mut(|activations| {
        if activations.last().is_some_and(|last| last.statement != activation.statement) {
            activations.clear();
        }
        activations.push(activation);
    });
    guc_shadow::lower();
}

/// Runs `find` over the running annotated routines, innermost first, until it answers.
pub(crate) fn search<T>(mut find: impl FnMut(&Rc<Routine>) -> Option<T>) -> Option<T> {
    let found = ACTIVATIONS.try_with(|activations| {
        activations.try_borrow().ok()?.iter().rev().find_map(|activation| match &activation.kind {
            Kind::Routine(routine, _) => find(routine),
            Kind::Script => None,
        })
    });
    found.ok().flatten()
}

/// An extension's script is about to run. extension.c reads the C variable of `log_min_messages` before each
/// script of an update path, and would take the lowered value for the setting.
pub(crate) fn begin_script() {
    drop_stale();
    if none_running() {
        return;
    }
    ACTIVATIONS.with_borrow_mut(|activations| activations.push(Activation::new(Kind::Script)));
    guc_shadow::restore();
}

/// The script has ended well: removes the marker of [`begin_script`], if it set one, and all that was left
/// above it.
pub(crate) fn end_script() {
    change(|activations| leave(activations, |kind| matches!(kind, Kind::Script)));
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

/// Ends the innermost activation of this kind, and with it all activations above it: they began later, and
/// have not ended.
fn leave(activations: &mut Vec<Activation>, is_it: impl Fn(&Kind) -> bool) -> bool {
    let place = activations.iter().rposition(|activation| is_it(&activation.kind));
    if let Some(place) = place {
        activations.truncate(place);
    }
    place.is_some()
}

/// Runs `change`, which may take activations away. If it did, lowers or restores the threshold by what is on
/// top then.
fn change(change: impl FnOnce(&mut Vec<Activation>) -> bool) {
    let _ = ACTIVATIONS.try_with(|activations| {
        let Ok(mut activations) = activations.try_borrow_mut() else { return };
        if !change(&mut activations) {
            return;
        }
        match activations.last().map(|activation| &activation.kind) {
            Some(Kind::Routine(..)) => guc_shadow::lower(),
            Some(Kind::Script) | None => guc_shadow::restore(),
        }
    });
}

/// fmgr.c asks this once for each `fmgr_info` of a function that is not built in.
#[pg_guard]
unsafe extern "C-unwind" fn needs(oid: pg_sys::Oid) -> bool {
    if let Some(previous) = PREVIOUS_NEEDS.get()
        // SAFETY: the hook that was installed before ours, called with what Postgres passed.
        && unsafe { previous(oid) }
    {
        return true;
    }
    annotations::lookup(oid).is_some()
}

#[pg_guard]
unsafe extern "C-unwind" fn bracket(
    event: pg_sys::FmgrHookEventType::Type,
    flinfo: *mut pg_sys::FmgrInfo,
    private: *mut pg_sys::Datum,
) {
    // SAFETY: fmgr.c passes the FmgrInfo of the running call.
    let flinfo = unsafe { &mut *flinfo };
    // SAFETY: fmgr.c passes the address of the Datum that it keeps for this call site.
    let private = unsafe { &mut *private };
    if event == pg_sys::FmgrHookEventType::FHET_START {
        let site = call_site(flinfo, private);
        // The other hook first: if it raises an error no ABORT follows, and nothing of ours may be left
        // behind.
        call_previous(event, flinfo, &mut site.next);
        if let Some(routine) = annotations::lookup(flinfo.fn_oid) {
            begin(Activation::new(Kind::Routine(routine, &raw const *site)));
            site.pushed += 1;
        }
        return;
    }
    let site = call_site(flinfo, private);
    if site.pushed > 0 {
        if event == pg_sys::FmgrHookEventType::FHET_ABORT {
            guc_shadow::remember_unwinding_error();
        }
        site.pushed -= 1;
        let site = &raw const *site;
        change(|activations| leave(activations, |kind| matches!(kind, Kind::Routine(_, of) if *of == site)));
        if event == pg_sys::FmgrHookEventType::FHET_ABORT && none_running() {
            mistake::forget();
        }
    }
    call_previous(event, flinfo, &mut site.next);
    if event == pg_sys::FmgrHookEventType::FHET_END {
        mistake::say();
    }
}

fn call_site<'a>(flinfo: &pg_sys::FmgrInfo, private: &'a mut pg_sys::Datum) -> &'a mut CallSite {
    if private.is_null() {
        // SAFETY: `fn_mcxt` is the context that this FmgrInfo's own data lives in, valid as long as it.
        let site = unsafe { pg_sys::MemoryContextAllocZero(flinfo.fn_mcxt, size_of::<CallSite>()) };
        *private = pg_sys::Datum::from(site);
    }
    // SAFETY: set above or by an earlier call of this function; zeroed memory is a valid CallSite, it lives
    // as long as the Datum that points to it, and the call is over before anybody else looks at it.
    unsafe { &mut *private.cast_mut_ptr::<CallSite>() }
}

fn call_previous(
    event: pg_sys::FmgrHookEventType::Type,
    flinfo: &mut pg_sys::FmgrInfo,
    private: &mut pg_sys::Datum,
) {
    if let Some(previous) = PREVIOUS_FMGR.get() {
        // SAFETY: the hook that was installed before ours, called with what Postgres passed and a Datum of
        // its own. pgrx' guard below turns its errors into unwinding, so that this frame is left properly.
        let call = || unsafe { previous(event, flinfo, private) };
        // SAFETY: this is the backend's one Postgres thread.
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(call) };
    }
}
