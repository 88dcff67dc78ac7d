//! Keeps `log_min_messages` truthful while the threshold that elog.c tests is lowered inside annotated
//! routines.
//!
//! `emit_log_hook` sees only messages that are bound for the server log, so with stock settings `RAISE INFO`
//! and `RAISE NOTICE` never reach it. Inside an annotated routine the threshold is therefore lowered to
//! `INFO`. Writing the C variable alone would corrupt the setting: guc.c saves and restores the variable it
//! was given, so it would save the lowered value. So the setting is given another variable, [`SETTING`];
//! `SHOW`, `SET LOCAL`, `SET` clauses, rollback and reload work on that one, and the C variable becomes what
//! it effectively is, a derived value. Readers of the C variable in PostgreSQL 15 to 18: elog.c
//! (`should_output_to_server`) and commands/extension.c (`execute_extension_script`, see
//! `pg/entry/activation.rs`).
//!
//! Not for: any other setting. The settings of pg_sse itself are in `guc.rs`.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};

use pgrx::pg_sys;

use super::compat;

const INFO: c_int = pg_sys::INFO as c_int;
const ERROR: c_int = pg_sys::elog::PgLogLevel::ERROR as c_int;

/// What the administrator set. Written by guc.c through the pointer that [`install`] gives it, and by
/// [`assign`]; read by this backend's only Postgres thread. Atomic so that no `static mut` is needed; there
/// is no second thread.
static SETTING: AtomicI32 = AtomicI32::new(pg_sys::WARNING as c_int);

// Atomic as SETTING is, and not thread-local: in a library that is a call for each access, and these are
// accessed at the beginning and the end of every call of an annotated routine.
static INSTALLED: AtomicBool = AtomicBool::new(false);
static LOWERED: AtomicBool = AtomicBool::new(false);
/// An error is unwinding that elog.c marked for the log only because the threshold was lowered.
static ERROR_UNWANTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static PREVIOUS_ASSIGN: Cell<pg_sys::GucEnumAssignHook> = const { Cell::new(None) };
}

/// Why the threshold cannot be lowered: capture stays off then, and nothing else happens.
#[derive(Debug)]
pub(crate) struct Unsupported;

/// Gives the setting its own variable. To be called once, in the postmaster, from `_PG_init`.
///
/// # Errors
/// [`Unsupported`] when this server's `log_min_messages` is not the enum with the storage that this was
/// written for (PostgreSQL 19 changes it); nothing has been touched then.
pub(crate) fn install() -> Result<(), Unsupported> {
    let generic = compat::guc_variable(c"log_min_messages").ok_or(Unsupported)?;
    // SAFETY: `generic` points to an entry of guc.c's table, which lives as long as the process.
    let vartype = unsafe { (*generic).vartype };
    if vartype != pg_sys::config_type::PGC_ENUM {
        return Err(Unsupported);
    }
    let entry = generic.cast::<pg_sys::config_enum>();
    // SAFETY: an entry of type PGC_ENUM is the first member of a `config_enum` (guc_tables.h).
    let variable = unsafe { (*entry).variable };
    if variable != &raw mut pg_sys::log_min_messages {
        return Err(Unsupported);
    }
    // SAFETY: `variable` is the C variable itself, checked above.
    SETTING.store(unsafe { *variable }, Relaxed);
    // SAFETY: as above, the entry is valid.
    PREVIOUS_ASSIGN.set(unsafe { (*entry).assign_hook });
    // SAFETY: the entry is writable, and nobody else runs in the postmaster while it loads libraries.
    unsafe { (*entry).variable = SETTING.as_ptr() };
    // SAFETY: as the line above.
    unsafe { (*entry).assign_hook = Some(assign) };
    INSTALLED.store(true, Relaxed);
    Ok(())
}

/// Lowers the threshold so that every `RAISE` from `INFO` up reaches the log hook.
pub(crate) fn lower() {
    LOWERED.store(true, Relaxed);
    recompute();
}

/// Puts the administrator's own threshold back.
pub(crate) fn restore() {
    LOWERED.store(false, Relaxed);
    recompute();
}

/// An annotated routine is left by an error. elog.c has already decided, by the lowered threshold, whether
/// the error goes into the server log, but reports it only when no routine is running any more.
pub(crate) fn remember_unwinding_error() {
    if LOWERED.load(Relaxed) && !would_log(ERROR) {
        ERROR_UNWANTED.store(true, Relaxed);
    }
}

/// Whether this message is the error of [`remember_unwinding_error`], which belongs to no log.
pub(crate) fn take_unwanted_error(elevel: c_int) -> bool {
    elevel == ERROR && ERROR_UNWANTED.swap(false, Relaxed)
}

/// Derives the C variable anew from the setting and from whether the threshold is lowered.
fn recompute() {
    if !INSTALLED.load(Relaxed) {
        return;
    }
    let setting = SETTING.load(Relaxed);
    let lower = LOWERED.load(Relaxed) && !would_log_at(INFO, setting);
    store(if lower { INFO } else { setting });
}

/// Whether the administrator's own setting asks for a message of this level.
pub(crate) fn would_log(elevel: c_int) -> bool {
    would_log_at(elevel, SETTING.load(Relaxed))
}

/// elog.c, `is_log_level_output`: `LOG` sorts between `ERROR` and `FATAL`.
fn would_log_at(elevel: c_int, threshold: c_int) -> bool {
    const LOG: c_int = pg_sys::LOG as c_int;
    const LOG_SERVER_ONLY: c_int = pg_sys::LOG_SERVER_ONLY as c_int;
    const FATAL: c_int = pg_sys::FATAL as c_int;
    const WARNING_CLIENT_ONLY: c_int = pg_sys::WARNING_CLIENT_ONLY as c_int;
    match (elevel, threshold) {
        (LOG | LOG_SERVER_ONLY, _) => threshold == LOG || threshold <= ERROR,
        (WARNING_CLIENT_ONLY, _) => false,
        (_, LOG) => elevel >= FATAL,
        _ => elevel >= threshold,
    }
}

fn store(value: c_int) {
    // SAFETY: a C int of this process that only its one Postgres thread, this one, reads or writes.
    unsafe { pg_sys::log_min_messages = value };
}

/// guc.c calls this before it stores `newval` into the setting's variable.
unsafe extern "C-unwind" fn assign(newval: c_int, extra: *mut c_void) {
    if let Some(previous) = PREVIOUS_ASSIGN.get() {
        // SAFETY: the hook that stood in the entry before, called with the arguments that guc.c passed.
        unsafe { previous(newval, extra) };
    }
    SETTING.store(newval, Relaxed);
    // Errors raised from here on are decided by this value, as without us.
    ERROR_UNWANTED.store(false, Relaxed);
    recompute();
}
