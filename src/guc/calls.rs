//! The settings of HTTP calls (C1.3, C7), in the order of `docs/settings.md`.

use std::ffi::CString;
use std::time::Duration;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

use super::{Text, milliseconds, size, text};
use crate::pg::guc_text;

static CALL_ROLE: Text = GucSetting::<Option<CString>>::new(Some(c""));
static CALL_WORKERS: GucSetting<i32> = GucSetting::<i32>::new(2);
static CALL_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(30_000);
static CALL_QUEUE_SIZE: GucSetting<i32> = GucSetting::<i32>::new(1_000);
static MAX_BODY_SIZE: GucSetting<i32> = GucSetting::<i32>::new(1024 * 1024);
static USER_PARAMETERS: GucSetting<bool> = GucSetting::<bool>::new(false);

/// Most workers: each takes a place of `max_worker_processes`, and 300 kB of shared memory.
const MAX_WORKERS: i32 = 256;

/// Defines them.
pub(super) fn define() {
    use GucContext::{Postmaster, Sighup};
    let none = GucFlags::default();
    GucRegistry::define_string_guc(
        c"sse.call_role",
        c"Role that HTTP calls of routines run as.",
        c"Empty: there are no calls. It needs LOGIN, and may not be a superuser, have BYPASSRLS, or be a member of a role that is or has. Takes effect at server start.",
        &CALL_ROLE,
        Postmaster,
        none,
    );
    GucRegistry::define_int_guc(
        c"sse.call_workers",
        c"Background workers that run HTTP calls: so many calls run at a time.",
        c"Each takes a place of max_worker_processes and holds a database connection, which does not count against max_connections. Takes effect at server start.",
        &CALL_WORKERS,
        1,
        MAX_WORKERS,
        Postmaster,
        none,
    );
    GucRegistry::define_int_guc(
        c"sse.call_timeout",
        c"How long an HTTP call may run, and how long it may wait for a worker.",
        c"A statement that runs longer is cancelled and answered with 504; a call that waits longer is answered with 503. 0: no limit but statement_timeout of the role. Takes effect on reload.",
        &CALL_TIMEOUT,
        0,
        3_600_000,
        Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"sse.call_queue_size",
        c"Most HTTP calls that wait for a worker.",
        c"A further one is answered with 503; one address holds at most half of the queue. Takes effect on reload.",
        &CALL_QUEUE_SIZE,
        1,
        1_000_000,
        Sighup,
        none,
    );
    GucRegistry::define_int_guc(
        c"sse.max_body_size",
        c"Largest body of an HTTP call.",
        c"A larger one is answered with 413. Takes effect on reload.",
        &MAX_BODY_SIZE,
        1,
        64 * 1024 * 1024,
        Sighup,
        GucFlags::UNIT_BYTE,
    );
    GucRegistry::define_bool_guc(
        c"sse.user_parameters",
        c"Fills _user_id, _user_name, _user_roles, _user_claims and _ip_address of every called routine.",
        c"As @user_parameters does for one: from the identity of the caller, never from the request. Takes effect on reload.",
        &USER_PARAMETERS,
        Sighup,
        none,
    );
}

/// `sse.call_role`, unless it is empty.
pub(crate) fn role() -> Option<String> {
    Some(text(&CALL_ROLE)).filter(|role| !role.is_empty())
}

/// Workers that there is shared memory for: `sse.call_workers`, if there are calls at all.
pub(crate) fn worker_slots() -> usize {
    let is_on = guc_text::with(&CALL_ROLE, |role| !role.is_empty());
    if is_on { size(CALL_WORKERS.get()) } else { 0 }
}

/// `sse.call_timeout`; zero: none.
pub(super) fn timeout() -> Duration {
    milliseconds(&CALL_TIMEOUT)
}

/// `sse.call_queue_size`
pub(super) fn queue_size() -> usize {
    size(CALL_QUEUE_SIZE.get())
}

/// `sse.max_body_size`, in bytes.
pub(super) fn max_body_bytes() -> usize {
    size(MAX_BODY_SIZE.get())
}

/// `sse.user_parameters`
pub(crate) fn user_parameters() -> bool {
    USER_PARAMETERS.get()
}
