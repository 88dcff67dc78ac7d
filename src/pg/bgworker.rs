//! The life of our background workers as Postgres sees it: registration, signals, waiting, leaving.
//!
//! Not for: their main functions (`entry/mains.rs`), and what the workers do (`worker/`).

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_long};
use std::fs;
use std::time::{Duration, Instant};

use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, BgWorkerStartTime, SignalWakeFlags};
use pgrx::pg_sys;

use super::backend::data_directory;
use super::{compat, latch, wal};

pub(crate) use pgrx::bgworkers::{BackgroundWorkerStatus, DynamicBackgroundWorker};

/// How long the postmaster waits before it starts a gateway again that has left with code 1.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// The line of postmaster.pid with the state of the postmaster (miscadmin.h, LOCK_FILE_LINE_PM_STATUS).
const STATUS_LINE: usize = 8;

// Declared here, because pgrx' bindings disagree between versions on whether it returns.
unsafe extern "C-unwind" {
    fn proc_exit(code: c_int) -> !;
    // pgrx' item is a Rust function of its own and cannot be a handler. It is async-signal-safe (postgres.c).
    fn die(signal: c_int);
}

/// Registers the gateway. To be called once, from `_PG_init` in the postmaster, before any other worker of
/// ours.
pub(crate) fn register_gateway() {
    // SAFETY: set before libraries are loaded.
    if unsafe { pg_sys::IsBinaryUpgrade } {
        return;
    }
    BackgroundWorkerBuilder::new("pg_sse gateway")
        .set_type("pg_sse gateway")
        .set_library("pg_sse")
        .set_function("pg_sse_gateway_main")
        .enable_spi_access()
        // Where events go through the log, standbys serve.
        .set_start_time(match wal::is_on() {
            true => BgWorkerStartTime::ConsistentState,
            false => BgWorkerStartTime::RecoveryFinished,
        })
        .set_restart_time(Some(RESTART_AFTER))
        .load();
}

/// Registers the reader of the write-ahead log. As [`register_gateway`].
pub(crate) fn register_wal_reader() {
    // SAFETY: set before libraries are loaded.
    if unsafe { pg_sys::IsBinaryUpgrade } {
        return;
    }
    BackgroundWorkerBuilder::new("pg_sse wal reader")
        .set_type("pg_sse wal reader")
        .set_library("pg_sse")
        .set_function("pg_sse_wal_reader_main")
        .enable_spi_access()
        .set_start_time(BgWorkerStartTime::ConsistentState)
        .set_restart_time(Some(RESTART_AFTER))
        .load();
}

/// Asks the postmaster for a worker that reads the routines once. `argument` is passed to its main function.
///
/// # Errors
/// `max_worker_processes` is used up.
pub(crate) fn start_catalog_worker(argument: u64) -> Result<DynamicBackgroundWorker, NoWorkerSlot> {
    start("pg_sse catalog", "pg_sse catalog", "pg_sse_catalog_main", argument)
}

/// Asks the postmaster for a call worker. `argument` is passed to its main function.
///
/// # Errors
/// `max_worker_processes` is used up.
pub(crate) fn start_call_worker(
    number: usize,
    argument: u64,
) -> Result<DynamicBackgroundWorker, NoWorkerSlot> {
    start(&format!("pg_sse call worker {number}"), "pg_sse call worker", "pg_sse_call_main", argument)
}

/// Asks the postmaster for the follower. `argument` is passed to its main function.
///
/// # Errors
/// `max_worker_processes` is used up.
pub(crate) fn start_follower(argument: u64) -> Result<DynamicBackgroundWorker, NoWorkerSlot> {
    start("pg_sse follower", "pg_sse follower", "pg_sse_follower_main", argument)
}

fn start(name: &str, kind: &str, main: &str, argument: u64) -> Result<DynamicBackgroundWorker, NoWorkerSlot> {
    // SAFETY: set at the start of this process.
    let me = unsafe { pg_sys::MyProcPid };
    BackgroundWorkerBuilder::new(name)
        .set_type(kind)
        .set_library("pg_sse")
        .set_function(main)
        .enable_spi_access()
        // On a standby as well: the gateway, which asks for it, may be there.
        .set_start_time(BgWorkerStartTime::ConsistentState)
        .set_restart_time(None)
        .set_argument(Some(pg_sys::Datum::from(argument)))
        .set_notify_pid(me)
        .load_dynamic()
        .map_err(|_| NoWorkerSlot)
}

/// No background worker could be registered.
#[derive(Debug)]
pub(crate) struct NoWorkerSlot;

/// Runs `at_exit` when this process ends, however it ends, while shared memory is still there. Call it once,
/// with a function that cannot fail.
pub(crate) fn before_exit(at_exit: fn()) {
    thread_local! {
        static AT_EXIT: Cell<Option<fn()>> = const { Cell::new(None) };
    }
    unsafe extern "C-unwind" fn run(_code: c_int, _argument: pg_sys::Datum) {
        if let Some(at_exit) = AT_EXIT.get() {
            at_exit();
        }
    }
    AT_EXIT.set(Some(at_exit));
    // SAFETY: a plain function of a library that is never unloaded.
    unsafe { pg_sys::before_shmem_exit(Some(run), pg_sys::Datum::from(0)) };
}

/// Makes this process end without the handlers of `exit`, after everything that Postgres does at its end. If
/// it ended by an error, those handlers would run beside live threads and free what these use. Call it before
/// there are threads, and before anything else registers for the end: what registered earlier does not run
/// any more.
pub(crate) fn end_without_exit_handlers() {
    unsafe extern "C-unwind" fn end(code: c_int, _argument: pg_sys::Datum) {
        // SAFETY: ends the process. Shared memory has been left already (ipc.c, proc_exit_prepare).
        unsafe { libc::_exit(code) };
    }
    // SAFETY: a plain function of a library that is never unloaded.
    unsafe { pg_sys::on_proc_exit(Some(end), pg_sys::Datum::from(0)) };
}

/// `max_worker_processes`
pub(crate) fn max_worker_processes() -> i32 {
    // SAFETY: a setting that is fixed at server start.
    unsafe { pg_sys::max_worker_processes }
}

/// Background workers that Postgres itself registers before ours: the logical replication launcher, unless it
/// is switched off.
pub(crate) fn workers_before_us() -> i32 {
    // SAFETY: a NUL-terminated name of a setting that every server has; NULL would be answered for a missing
    // one.
    let launched =
        unsafe { pg_sys::GetConfigOption(c"max_logical_replication_workers".as_ptr(), true, false) };
    if launched.is_null() {
        return 0;
    }
    // SAFETY: NUL-terminated, valid until the next call of the same function.
    let launched = unsafe { CStr::from_ptr(launched) };
    i32::from(launched != c"0")
}

/// Background workers that pg_sse needs at the same time besides call workers: the gateway, and the worker
/// that reads the routines; with `sse.durability = wal`, the follower and the reader of
/// the log, too. One more, which makes the files for
/// clients, is ended where it is in the way.
pub(crate) fn workers() -> i32 {
    if wal::is_on() { 4 } else { 2 }
}

/// The number of call workers for which there is a place, as far as Postgres and pg_sse itself are concerned.
pub(crate) fn places_for_calls() -> usize {
    usize::try_from(max_worker_processes() - workers() - workers_before_us()).unwrap_or(0)
}

/// Fixes the transaction settings of this worker, whatever the defaults of the cluster, the database and the
/// role are. Those are meant for people's sessions and could make the worker's own queries wait or fail. The
/// autovacuum launcher does the same. Call it before connecting. Not for workers that run people's
/// statements.
pub(crate) fn settle_transactions() {
    let everywhere = [
        (c"default_transaction_isolation", c"read committed"),
        (c"default_transaction_read_only", c"off"),
        (c"default_transaction_deferrable", c"off"),
        (c"lock_timeout", c"0"),
    ];
    for (name, value) in everywhere.iter().chain(compat::FURTHER_TIMEOUTS_OFF) {
        let (context, source) = (pg_sys::GucContext::PGC_SUSET, pg_sys::GucSource::PGC_S_OVERRIDE);
        // SAFETY: settings that every server of this version has, with values that they take; outside of
        // transactions.
        unsafe { pg_sys::SetConfigOption(name.as_ptr(), value.as_ptr(), context, source) };
    }
}

/// Connects this worker to a database, or with `None` to none, as the logical replication launcher does.
pub(crate) fn connect(database: Option<&str>) {
    BackgroundWorker::connect_worker_to_spi(database, None);
}

/// Connects this worker to a database as a role. Ends the process when the role may not connect.
pub(crate) fn connect_as(database: &str, role: &str) {
    BackgroundWorker::connect_worker_to_spi(Some(database), Some(role));
}

/// Does what waits for a process to be idle: reads changed configuration files, and takes in other sessions'
/// changes of the catalog.
pub(crate) fn take_in_what_waits() {
    // SAFETY: a flag of interrupt.c that a signal handler sets.
    if unsafe { pg_sys::ConfigReloadPending } != 0 {
        // SAFETY: as above.
        unsafe { pg_sys::ConfigReloadPending = 0 };
        // SAFETY: allowed in the main loop of a worker, outside of transactions.
        unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) };
    }
    // SAFETY: a flag of sinval.c that a signal handler sets.
    if unsafe { pg_sys::catchupInterruptPending } != 0 {
        // SAFETY: allowed in the main loop of a worker, outside of transactions.
        unsafe { pg_sys::ProcessCatchupInterrupt() };
    }
}

/// Takes in interrupts (barriers, catalog invalidation) that Postgres wants every process to take in, and
/// notices that the postmaster has died: for who works for long without waiting.
pub(crate) fn take_in_interrupts() {
    wait(Duration::ZERO);
}

/// Sets what pg_stat_activity says of this worker: a call, or nothing.
pub(crate) fn report_activity(what: Option<&CStr>) {
    use pg_sys::BackendState;
    match what {
        // SAFETY: NUL-terminated; copied into this process' own entry.
        Some(text) => unsafe { pg_sys::pgstat_report_activity(BackendState::STATE_RUNNING, text.as_ptr()) },
        // SAFETY: as above.
        None => unsafe { pg_sys::pgstat_report_activity(BackendState::STATE_IDLE, std::ptr::null()) },
    }
}

/// When statistics are handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Handover {
    /// When a second or more has passed since the last time, as Postgres does between two statements.
    Soon,
    /// At once, as Postgres does in an idle session: nothing would hand them over later.
    Now,
}

/// Hands this worker's statistics to the statistics system. `Some`: not yet; call it again after this time.
pub(crate) fn hand_over_statistics(when: Handover) -> Option<Duration> {
    // SAFETY: allowed outside of transactions.
    let wait = unsafe { pg_sys::pgstat_report_stat(when == Handover::Now) };
    u64::try_from(wait).ok().filter(|wait| *wait > 0).map(Duration::from_millis)
}

/// From here on SIGTERM, SIGHUP and SIGINT (`pg_cancel_backend`) set flags and wake the latch.
pub(crate) fn attach_signals() {
    BackgroundWorker::attach_signal_handlers(
        SignalWakeFlags::SIGTERM | SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGINT,
    );
}

/// As [`attach_signals`], but SIGTERM ends the process at its next check for interrupts, as it ends any
/// backend: also while a query runs or waits for a lock.
pub(crate) fn attach_signals_of_a_backend() {
    compat::on_signal(libc::SIGTERM, die);
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGINT);
}

/// Whether this worker was told to leave. It is said once: the caller has to remember it.
pub(crate) fn told_to_leave() -> bool {
    BackgroundWorker::sigterm_received()
}

/// Reads changed configuration files, if a reload was asked for. Returns whether it was.
pub(crate) fn reload_configuration() -> bool {
    if !BackgroundWorker::sighup_received() {
        return false;
    }
    // SAFETY: allowed in the main loop of a worker, outside of transactions.
    unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) };
    true
}

/// Waits for the latch, or until the time has passed; then does what [`woken`] does.
pub(crate) fn wait(timeout: Duration) {
    woken(wait_for_latch(timeout));
}

/// As [`wait`]. `false`: this process was told to leave. For workers with [`attach_signals_of_a_backend`],
/// which leave so without an error.
pub(crate) fn idle(timeout: Duration) -> bool {
    let events = wait_for_latch(timeout);
    let flag = &raw const pg_sys::ProcDiePending;
    // SAFETY: a static variable of globals.c, which a signal handler sets.
    if unsafe { flag.read_volatile() } != 0 {
        return false;
    }
    woken(events);
    true
}

fn wait_for_latch(timeout: Duration) -> u32 {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_POSTMASTER_DEATH;
    let events = i32::try_from(events).unwrap_or(0);
    let timeout = c_long::try_from(timeout.as_millis()).unwrap_or(c_long::MAX);
    // SAFETY: set at the start of this process.
    let latch = unsafe { pg_sys::MyLatch };
    // SAFETY: this process' own latch.
    let events = unsafe { pg_sys::WaitLatch(latch, events, timeout, pg_sys::PG_WAIT_EXTENSION) };
    u32::try_from(events).unwrap_or(0)
}

/// Waits until `is_done`, at most this long. Meanwhile it does what [`woken`] does, so that a session that
/// needs something of every process (`DROP DATABASE` does) need not wait for this one.
pub(crate) fn wait_until(limit: Duration, mut is_done: impl FnMut() -> bool) {
    const RECHECK: Duration = Duration::from_millis(5);
    let until = Instant::now() + limit;
    while !is_done() && Instant::now() < until {
        wait(RECHECK);
    }
    // The latch may have been set for something else meanwhile.
    if let Some(place) = latch::my_place() {
        latch::wake(place);
    }
}

/// Follows every wait. Ends the process when the postmaster has died. Takes in interrupts (barriers, catalog
/// invalidation) that Postgres wants every process to take in.
pub(super) fn woken(events: u32) {
    if events & pg_sys::WL_POSTMASTER_DEATH != 0 {
        // Without exit handlers: runtime threads are alive, and there is no server left to tell.
        // SAFETY: ends the process.
        unsafe { libc::_exit(1) };
    }
    // SAFETY: set at the start of this process.
    let latch = unsafe { pg_sys::MyLatch };
    // SAFETY: this process' own latch.
    unsafe { pg_sys::ResetLatch(latch) };
    let _ = BackgroundWorker::sigint_received();
    pgrx::check_for_interrupts!();
}

/// Runs `start` while all signals are blocked, so that the threads it starts never handle one.
pub(crate) fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> T {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: fills the set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: both sets are valid for this call; the first was filled above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    let result = start();
    // SAFETY: `before` was filled by the call above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    result
}

/// Whether the server is being stopped, as opposed to this worker alone being terminated.
pub(crate) fn server_is_stopping() -> bool {
    let Ok(text) = fs::read_to_string(data_directory().join("postmaster.pid")) else { return true };
    text.lines().nth(STATUS_LINE - 1).is_none_or(|status| status.trim() == "stopping")
}

/// Ends the process. With 0 the postmaster does not start it again, with 1 it does; the cluster goes on in
/// both cases.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: called on the Postgres thread, outside of transactions.
    unsafe { proc_exit(code) }
}
