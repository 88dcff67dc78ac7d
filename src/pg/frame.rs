//! Which annotated routines are running in this backend, innermost last: kept by `fmgr_hook`.
//!
//! fmgr.c (`fmgr_security_definer`) brackets every call of a function for which [`needs`] said yes: START before,
//! END after, ABORT when the call is left by an error. The three are balanced by its PG_TRY, through COMMIT and
//! ROLLBACK inside procedures too, so they alone maintain the stack; nothing may reset it from a transaction callback.
//! The script of `CREATE EXTENSION` or `ALTER EXTENSION` below a routine stands on the stack too: the threshold is not
//! lowered while a script is on top (see [`begin_script`]).
//!
//! Not for: what a message in a frame becomes (`capture.rs`), and reading comments (`annotations.rs`).

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::rc::Rc;

use pgrx::{pg_guard, pg_sys};

use super::guc_shadow;
use crate::annotations::{self, Routine};
use crate::capture;

thread_local! {
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
    static PREVIOUS_NEEDS: Cell<pg_sys::needs_fmgr_hook_type> = const { Cell::new(None) };
    static PREVIOUS_FMGR: Cell<pg_sys::fmgr_hook_type> = const { Cell::new(None) };
}

enum Frame {
    Routine(Rc<Routine>),
    /// An extension's script, run at this nest level of transactions. Never the first of the stack.
    Script {
        nest_level: c_int,
    },
}

/// What one call site keeps in the private Datum that fmgr.c gives each hook: how many of its calls are on the stack
/// (the annotation can change between START and END), and the Datum of the hook that was installed before.
/// Allocated with the `FmgrInfo`, as sepgsql does.
struct CallSite {
    pushed: u32,
    next: pg_sys::Datum,
}

/// To be called once, from `_PG_init` in the postmaster.
pub(crate) fn install() {
    // SAFETY: hooks are plain variables of the postmaster, which runs nothing else while it loads libraries.
    PREVIOUS_NEEDS.set(unsafe { pg_sys::needs_fmgr_hook });
    // SAFETY: as above.
    unsafe { pg_sys::needs_fmgr_hook = Some(needs) };
    // SAFETY: as above.
    PREVIOUS_FMGR.set(unsafe { pg_sys::fmgr_hook });
    // SAFETY: as above.
    unsafe { pg_sys::fmgr_hook = Some(bracket) };
}

/// Whether no annotated routine is running: nothing that is raised can be an event. True, too, when this process is
/// ending and the stack is gone already: Postgres logs to the very last.
pub(crate) fn none_running() -> bool {
    FRAMES.try_with(|frames| frames.try_borrow().is_ok_and(|frames| frames.is_empty())).unwrap_or(true)
}

/// Runs `find` over the running annotated routines, innermost first, until it answers.
pub(crate) fn search<T>(mut find: impl FnMut(&Rc<Routine>) -> Option<T>) -> Option<T> {
    let found = FRAMES.try_with(|frames| {
        frames.try_borrow().ok()?.iter().rev().find_map(|frame| match frame {
            Frame::Routine(routine) => find(routine),
            Frame::Script { .. } => None,
        })
    });
    found.ok().flatten()
}

/// An extension's script is about to run. extension.c reads the C variable of `log_min_messages` before each script of
/// an update path, and would take the lowered value for the setting.
pub(crate) fn begin_script() {
    if none_running() {
        return;
    }
    // SAFETY: reads a variable of xact.c.
    let nest_level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
    FRAMES.with_borrow_mut(|frames| frames.push(Frame::Script { nest_level }));
    guc_shadow::restore();
}

/// The script has ended well: the marker of [`begin_script`], if it set one, is on top again.
pub(crate) fn end_script() {
    pop_while(|frame| matches!(frame, Frame::Script { .. }), Count::One);
}

/// A subtransaction rolls back: an exception block has caught an error, and scripts that ran in it are over. What they
/// called has been left through FHET_ABORT already. Allocates nothing, cannot fail.
pub(crate) fn abort_subtransaction() {
    // SAFETY: reads a variable of xact.c.
    let current = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
    pop_while(|frame| matches!(frame, Frame::Script { nest_level } if *nest_level >= current), Count::All);
}

#[derive(PartialEq)]
enum Count {
    One,
    All,
}

/// Pops from the top while `goes` says so, and lowers or restores the threshold by what is on top then.
fn pop_while(goes: impl Fn(&Frame) -> bool, count: Count) {
    let _ = FRAMES.try_with(|frames| {
        let Ok(mut frames) = frames.try_borrow_mut() else { return };
        while frames.last().is_some_and(&goes) {
            frames.pop();
            if count == Count::One {
                break;
            }
        }
        match frames.last() {
            Some(Frame::Routine(_)) => guc_shadow::lower(),
            Some(Frame::Script { .. }) | None => guc_shadow::restore(),
        }
    });
}

/// fmgr.c asks once per `fmgr_info` of a function that is not built in.
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
        // The other hook first: when it raises an error no ABORT follows, and nothing of ours may be left behind.
        call_previous(event, flinfo, &mut site.next);
        if let Some(routine) = annotations::lookup(flinfo.fn_oid) {
            FRAMES.with_borrow_mut(|frames| frames.push(Frame::Routine(routine)));
            site.pushed += 1;
            guc_shadow::lower();
        }
        return;
    }
    let site = call_site(flinfo, private);
    if site.pushed > 0 {
        if event == pg_sys::FmgrHookEventType::FHET_ABORT {
            guc_shadow::remember_unwinding_error();
        }
        site.pushed -= 1;
        // A script that failed below this routine has left its marker.
        pop_while(|frame| matches!(frame, Frame::Script { .. }), Count::All);
        pop_while(|frame| matches!(frame, Frame::Routine(_)), Count::One);
        if none_running() && event == pg_sys::FmgrHookEventType::FHET_ABORT {
            capture::forget_refused_events();
        }
    }
    call_previous(event, flinfo, &mut site.next);
    if event == pg_sys::FmgrHookEventType::FHET_END {
        capture::warn_of_refused_events();
    }
}

fn call_site<'a>(flinfo: &pg_sys::FmgrInfo, private: &'a mut pg_sys::Datum) -> &'a mut CallSite {
    if private.is_null() {
        // SAFETY: `fn_mcxt` is the context that this FmgrInfo's own data lives in, valid as long as it.
        let site = unsafe { pg_sys::MemoryContextAllocZero(flinfo.fn_mcxt, size_of::<CallSite>()) };
        *private = pg_sys::Datum::from(site);
    }
    // SAFETY: set above or by an earlier call of this function; zeroed memory is a valid CallSite, it lives as long
    // as the Datum that points to it, and the call is over before anybody else looks at it.
    unsafe { &mut *private.cast_mut_ptr::<CallSite>() }
}

fn call_previous(
    event: pg_sys::FmgrHookEventType::Type,
    flinfo: &mut pg_sys::FmgrInfo,
    private: &mut pg_sys::Datum,
) {
    if let Some(previous) = PREVIOUS_FMGR.get() {
        // SAFETY: the hook that was installed before ours, called with what Postgres passed and a Datum of its own.
        // pgrx' guard below turns its errors into unwinding, so that this frame is left properly.
        let call = || unsafe { previous(event, flinfo, private) };
        // SAFETY: this is the backend's one Postgres thread.
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(call) };
    }
}
