//! Facts about this process, its server and its database; and a wait that is safe wherever a message may be
//! raised.

use std::ffi::CStr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pgrx::pg_sys;
use sse_proto::encoding::Encoding;

use super::postgres_cell::PostgresCell;

/// How long [`pause`] sleeps. Only publishers that wait for room use it often; a millisecond keeps their
/// polling below one percent of a core, and their delay below what anybody notices.
const POLL_EVERY: Duration = Duration::from_millis(1);

unsafe extern "C-unwind" {
    // Declared here instead of called through pgrx, whose wrapper sets a jump buffer: this is called in the
    // log hook. xlog.c: it takes no lock, does not allocate and reports no errors.
    fn RecoveryInProgress() -> bool;
}

/// Whether this process helps another backend's parallel query.
pub(crate) fn in_parallel_worker() -> bool {
    // SAFETY: a variable of parallel.c, set once at the start of such a worker.
    let number = unsafe { pg_sys::ParallelWorkerNumber };
    number >= 0
}

/// The encoding of the database that this backend is connected to. SQL_ASCII while it is connected to none.
/// Cannot change while it is connected.
pub(crate) fn database_encoding() -> Encoding {
    static ENCODING: PostgresCell<Option<Encoding>> = PostgresCell::new(None);
    if let Some(known) = ENCODING.try_with(|known| *known).flatten() {
        return known;
    }
    // SAFETY: reads a variable of mbutils.c and a constant table; needs no catalog.
    let name = unsafe { pg_sys::GetDatabaseEncodingName() };
    // SAFETY: an entry of that table, NUL-terminated, lives as long as the process.
    let name = unsafe { CStr::from_ptr(name) }.to_str().unwrap_or("SQL_ASCII");
    let encoding = Encoding::parse(name).unwrap_or_default();
    // SQL_ASCII is also the answer of every process that is not connected yet, and child processes inherit
    // what the postmaster has kept, which asks when postgresql.conf has a byte that is not UTF-8. So this
    // answer is not kept; asking again is cheap.
    if name != "SQL_ASCII" {
        ENCODING.try_with_mut(|known| *known = Some(encoding));
    }
    encoding
}

/// Why, in this state of the server, nothing will empty the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoGateway {
    /// A standby, until it is promoted: the gateway starts when recovery has ended.
    Standby,
    /// A server without background workers.
    SingleUser,
}

/// Whether the server is in a state in which there is no gateway and none will come. A gateway that is about
/// to start, or to start again, is no such state: what is published then waits in the ring.
pub(crate) fn no_gateway() -> Option<NoGateway> {
    // SAFETY: a variable of globals.c, set at the start of every process.
    if !unsafe { pg_sys::IsUnderPostmaster } {
        return Some(NoGateway::SingleUser);
    }
    in_recovery().then_some(NoGateway::Standby)
}

/// Whether this server is a standby, until it is promoted: nothing can be written. It never becomes one again
/// without a restart.
pub(crate) fn in_recovery() -> bool {
    // SAFETY: reads a variable of this process, or of shared memory as long as recovery was going on.
    unsafe { RecoveryInProgress() }
}

/// Whether the statement is being cancelled, or the session ended. Not `InterruptPending`: that is set for
/// much that ends nothing, such as a file that all are to close for a `DROP DATABASE` (procsignal.c,
/// ProcSignalBarrierPending), and stays set until it is acted on. A `transaction_timeout` (17 and newer) is
/// not among them: it is acted on when the wait is over.
pub(crate) fn is_being_ended() -> bool {
    // Flags that signal handlers set; a stale value only delays by one pause.
    let flags = [
        &raw const pg_sys::QueryCancelPending,
        &raw const pg_sys::ProcDiePending,
        &raw const pg_sys::ClientConnectionLost,
    ];
    // SAFETY: static variables of globals.c.
    flags.into_iter().any(|flag| unsafe { flag.read_volatile() } != 0)
}

/// Sleeps for a moment, shown in pg_stat_activity as an `Extension` wait event (C8.3). Also allowed inside
/// error handling, because it calls nothing of Postgres.
pub(crate) fn pause() {
    report_wait_event(pg_sys::PG_WAIT_EXTENSION);
    std::thread::sleep(POLL_EVERY);
    report_wait_event(0);
}

/// What `pgstat_report_wait_start` does (wait_event.h), which is an inline function.
fn report_wait_event(event: u32) {
    // SAFETY: a variable that points into shared memory or to a local word, from the start of every process.
    let place = unsafe { pg_sys::my_wait_event_info };
    // SAFETY: as above; a word that only this process writes.
    unsafe { place.write_volatile(event) };
}

/// The data directory.
pub(crate) fn data_directory() -> PathBuf {
    // SAFETY: set by the postmaster at its start, never changed.
    let directory = unsafe { pg_sys::DataDir };
    // SAFETY: NUL-terminated, as set by miscinit.c.
    PathBuf::from(unsafe { CStr::from_ptr(directory) }.to_string_lossy().into_owned())
}

/// Process id of this process.
pub(crate) fn my_pid() -> u32 {
    std::process::id()
}

/// A time until which somebody waits.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// This long from now.
    pub(crate) fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    /// Whether the time is over.
    pub(crate) fn has_passed(self) -> bool {
        Instant::now() >= self.0
    }
}
