//! The shared memory of pg_sse: one header of plain atomic fields, the announcements of transactions that are
//! about to commit, the starts of those that write events into the log, then the ring. Requested at server
//! start, the same size until the server stops, mapped by every process that the postmaster forks.
//!
//! After a crash of a backend the postmaster makes shared memory anew and runs [`start_up`] again, so nothing
//! here is ever repaired. Only plain data lives in it: no pointers, no handles of one process.
//!
//! Not for: the protocol of the ring (`sse_ring`), and the hooks in which Postgres gives out shared memory
//! (`entry/memory.rs`).

use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed};

use pgrx::pg_sys;
use sse_gateway::Stats;
use sse_ring::Ring;

use super::follower::FollowerWords;
use super::last_reading::LastReading;
use super::latch;
use super::refusals::{Refusals, SaidOnce};
use super::state::states;
use super::ticket::{self, Announcements, Tickets};
use super::wal::words::{Wal, WalWords};
use super::watched::Watched;

/// The place in the process array that stands for "no gateway".
const NOBODY: u32 = u32::MAX;

/// Space for the header in front of the ring: a whole number of cache lines, so that the ring starts on one.
const HEADER_BYTES: usize = (size_of::<Header>() + 127) & !127;

/// As many bits as [`Extension`] needs.
const EXTENSION_BITS: u32 = 2;

states! {
    /// What is known of the extension in the served database. Stored in [`Header::extension`].
    pub(crate) enum Extension {
        /// Not looked at yet.
        Unknown,
        /// The extension is not installed in it.
        Absent,
        /// It is installed, in the version of this library.
        Present,
        /// It is installed, in another version.
        OtherVersion,
    }
}

states! {
    /// What the gateway is doing. Stored in [`GatewayFields::state`], shown in `sse.stat_gateway`.
    pub(crate) enum GatewayState {
        /// No gateway process.
        Stopped,
        /// The database that `sse.database` names does not exist.
        NoDatabase,
        /// The extension is not installed in it.
        NoExtension,
        /// The extension is installed in another version than the library's.
        OtherVersion,
        /// A setting in postgresql.conf was refused: everything is answered with 503.
        Misconfigured,
        /// It is not known yet which tokens the servers of the tree refuse.
        WaitingForRefusals,
        /// The port or an address cannot be had yet.
        WaitingForPort,
        /// The server has started with a certificate that cannot be used, so nothing listens.
        WaitingForCertificate,
        /// Streams are served.
        Serving,
    }
}

impl GatewayState {
    /// As `sse.stat_gateway` says it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::NoDatabase => "waiting for database",
            Self::NoExtension => "waiting for extension",
            Self::OtherVersion => "extension has another version",
            Self::Misconfigured => "misconfigured",
            Self::WaitingForRefusals => "waiting for refusals",
            Self::WaitingForPort => "waiting for port",
            Self::WaitingForCertificate => "waiting for certificate",
            Self::Serving => "serving",
        }
    }
}

/// Figures that the gateway copies here about once a second, for `sse.stat_gateway`. Written by the gateway
/// alone, read by any backend, relaxed: each is a figure of its own.
#[repr(C)]
#[derive(Default)]
pub(crate) struct GatewayFields {
    /// [`GatewayState`].
    pub state: AtomicU32,
    /// Port that is listened on, 0 while none is.
    pub port: AtomicU32,
    /// Process id, 0 without a gateway.
    pub pid: AtomicU32,
    /// Start of the process, microseconds since 2000-01-01 UTC.
    pub started_at: AtomicI64,
    /// Counters and gauges; `stats.rs` says which is which.
    pub counters: Counters,
}

/// One for each of the gateway's figures, zero at first. A type of its own, because an array has a default up
/// to a length of 32 only.
#[repr(transparent)]
pub(crate) struct Counters(pub [AtomicU64; Stats::FIGURES.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// Questions to the gateway that it answers with a file (`answer_file.rs`).
#[repr(C)]
#[derive(Default)]
pub(crate) struct Questions {
    /// Number of questions. Added to by backends (release), read by the gateway (acquire): an answer that is
    /// begun after the number was read answers all of them.
    pub asked: AtomicU64,
    /// The last question whose answer is in the file. Written by the gateway (release), read by backends
    /// (acquire): whoever sees the number sees the file.
    pub answered: AtomicU64,
}

/// The shared header.
#[repr(C)]
pub(crate) struct Header {
    /// The gateway's place in the process array or [`NOBODY`]. Written by the gateway (release) when it
    /// starts and leaves, read by every backend that wakes it (acquire: the place is set before it is used).
    gateway_place: AtomicU32,
    /// Oid of the served database; 0 while nobody has looked for it, or there is none. Written by the
    /// gateway, which leaves it there when it ends; read by every backend, relaxed: a backend that sees it
    /// late captures nothing yet, and nobody is subscribed yet either.
    database: AtomicU32,
    /// [`Extension`], in the lowest bits, and the generation of the reading that found it, so that an older
    /// reading says nothing any more. Written by the catalog worker, and by the gateway when it serves
    /// another database; read by gateway and backends, relaxed, as `database`.
    extension: AtomicU64,
    /// Number of committed changes that concern the served routines, or may concern them (`watched.rs`).
    /// Added to by the committing backend after its invalidations went out (release), read by gateway and
    /// catalog worker (acquire): whoever sees the number sees the change in a snapshot that is taken
    /// afterwards.
    catalog_generation: AtomicU64,
    /// Number of those changes that certainly concern the served routines. Added to by the committing backend
    /// before `catalog_generation`, read by every backend that changes something and by the catalog worker,
    /// sequentially consistent, because it is compared with the number for which `watched` holds.
    certain_changes: AtomicU64,
    /// What the last reading of the catalog took, and whose routines are many.
    pub last_reading: LastReading,
    /// The objects whose changes concern the served routines.
    pub watched: Watched,
    /// Number of calls of `sse.disconnect`. Added to by backends after the file is written (release), read by
    /// the gateway (acquire): whoever sees the number finds the user in the file.
    revocations: AtomicU64,
    /// Between the gateway and the follower.
    pub follower: FollowerWords,
    /// Questions for the list of subscribers.
    pub listing: Questions,
    /// Questions for the histograms.
    pub histograms: Questions,
    /// When the counters began: server start. Written once, by the postmaster.
    pub stats_reset: AtomicI64,
    /// Mistakes that were said already.
    pub said: SaidOnce,
    /// Counts of what was not published.
    pub refusals: Refusals,
    /// Figures of the gateway.
    pub gateway: GatewayFields,
    /// Tickets of transactions that commit.
    pub tickets: Tickets,
    /// Between backends and the reader of the write-ahead log.
    wal: WalWords,
}

/// The shared memory as one process sees it. Cheap to copy.
#[derive(Clone, Copy)]
pub(crate) struct Shared {
    /// The header, at the beginning of the shared memory.
    pub header: &'static Header,
    /// The announcements of transactions that are about to commit, by their place in the process array
    /// (`ticket.rs`).
    pub announced: Announcements,
    /// What backends and the reader of the write-ahead log tell each other (`wal/words.rs`).
    pub wal: Wal,
    /// The way of events from the backends to the gateway.
    pub ring: Ring<'static>,
}

/// Set in the postmaster, inherited by every process it forks. Never freed: once more after each crash of a
/// backend, a hundred bytes. Not thread-local, because that is a call for each access in a library.
static SHARED: AtomicPtr<Shared> = AtomicPtr::new(ptr::null_mut());

/// Any thread may have it.
const _: fn(&Shared) -> &dyn Sync = |shared| shared;

/// The shared memory, or `None` in a server that did not preload the library.
#[inline]
pub(crate) fn shared() -> Option<Shared> {
    // SAFETY: NULL, or what `start_up` has made, before there was a thread, and never changes or frees.
    unsafe { SHARED.load(Relaxed).as_ref() }.copied()
}

impl Shared {
    /// Whether this backend's routines are served: it is in the served database, and the extension is there.
    pub(crate) fn serves_this_database(&self) -> bool {
        // SAFETY: set once when the backend connects.
        let mine = unsafe { pg_sys::MyDatabaseId };
        mine != pg_sys::InvalidOid
            && self.header.database.load(Relaxed) == mine.to_u32()
            && (self.extension() == Extension::Present || cfg!(feature = "annotate_everything"))
    }

    /// Whether this backend is in the served database, with or without the extension; `None` while the
    /// gateway has not looked for it (the first moments of a server).
    pub(crate) fn is_served_database(&self) -> Option<bool> {
        // SAFETY: set once when the backend connects.
        let mine = unsafe { pg_sys::MyDatabaseId };
        match self.header.database.load(Relaxed) {
            0 => None,
            database => Some(database == mine.to_u32()),
        }
    }

    /// Oid of the served database, 0 if not known ([`Header`]).
    pub(crate) fn database(&self) -> u32 {
        self.header.database.load(Relaxed)
    }

    /// Says which database is served; 0: none.
    pub(crate) fn set_database(&self, oid: u32) {
        self.header.database.store(oid, Relaxed);
    }

    /// What is known of the extension ([`Header`]).
    pub(crate) fn extension(&self) -> Extension {
        Extension::of((self.header.extension.load(Relaxed) & ((1 << EXTENSION_BITS) - 1)) as u32)
    }

    /// A reading of this generation has found this of the extension. It counts unless a later one, or one as
    /// late, has been there: two of one generation differ only by a change that is not announced yet.
    pub(crate) fn found_extension(&self, generation: u64, extension: Extension) {
        self.header.extension.fetch_max(generation << EXTENSION_BITS | extension as u64, Relaxed);
    }

    /// Another database is served: nothing is known of its extension, and what a reading of the one before
    /// still finds does not concern it.
    pub(crate) fn forget_extension(&self) {
        self.announce_catalog_change();
        self.header.extension.store(self.catalog_generation() << EXTENSION_BITS, Relaxed);
    }

    /// Number of changes that concern the routines, or may ([`Header`]).
    pub(crate) fn catalog_generation(&self) -> u64 {
        self.header.catalog_generation.load(std::sync::atomic::Ordering::Acquire)
    }

    /// The word with [`Shared::catalog_generation`].
    pub(crate) fn changes(&self) -> &'static AtomicU64 {
        &self.header.catalog_generation
    }

    /// Number of changes that certainly concern the routines ([`Header`]).
    pub(crate) fn certain_changes(&self) -> u64 {
        self.header.certain_changes.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Tells the gateway that routines have changed, or what they rest on. Allocates nothing, cannot fail.
    pub(crate) fn announce_catalog_change(&self) {
        self.header.certain_changes.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.announce_possible_change();
    }

    /// Tells the gateway that something has changed on which routines may rest. Allocates nothing, cannot
    /// fail.
    pub(crate) fn announce_possible_change(&self) {
        self.header.catalog_generation.fetch_add(1, std::sync::atomic::Ordering::Release);
        self.wake_gateway();
    }

    /// Tells the gateway that the file of refusals has a new line.
    pub(crate) fn announce_revocation(&self) {
        self.header.revocations.fetch_add(1, std::sync::atomic::Ordering::Release);
    }

    /// Number of calls of `sse.disconnect` ([`Header`]).
    pub(crate) fn revocations(&self) -> u64 {
        self.header.revocations.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Whether there has been a gateway since the server started. A gateway that found no place among
    /// max_worker_processes never comes, so there is no use in waiting for it.
    pub(crate) fn has_had_gateway(&self) -> bool {
        self.header.gateway.started_at.load(Relaxed) != 0
    }

    /// Wakes the gateway's main thread, if there is one. Takes no lock, does not allocate, cannot fail.
    pub(crate) fn wake_gateway(&self) {
        if let Some(place) = self.gateway_place() {
            latch::wake(place);
        }
    }

    /// Says where the gateway is; `None`: it leaves.
    pub(crate) fn set_gateway_place(&self, place: Option<u32>) {
        self.header.gateway_place.store(place.unwrap_or(NOBODY), std::sync::atomic::Ordering::Release);
    }

    /// The gateway's place in the process array, if there is a gateway.
    pub(crate) fn gateway_place(&self) -> Option<u32> {
        let place = self.header.gateway_place.load(std::sync::atomic::Ordering::Acquire);
        (place != NOBODY).then_some(place)
    }
}

/// Space for the announcements between header and ring, and for the starts after them, each again a whole
/// number of cache lines.
fn announced_bytes() -> usize {
    (ticket::places() * size_of::<AtomicU64>() + 127) & !127
}

/// How much shared memory this file asks for, with a ring of this capacity.
pub(super) fn bytes_needed(ring_bytes: usize) -> usize {
    HEADER_BYTES + 2 * announced_bytes() + Ring::bytes_needed(ring_bytes)
}

/// Finds or makes the memory. Called from the startup hook of shared memory, in the postmaster.
pub(super) fn start_up(ring_bytes: usize) {
    let mut found = false;
    // No lock: only the postmaster runs this, before it starts any other process.
    // SAFETY: the size was requested above; name and flag outlive the call.
    let base = unsafe { pg_sys::ShmemInitStruct(c"pg_sse".as_ptr(), bytes_needed(ring_bytes), &mut found) };
    let Some(base) = NonNull::new(base.cast::<u8>()) else { return };
    let header = base.cast::<Header>();
    // SAFETY: fresh memory of at least that size, which nobody else knows yet.
    unsafe { header.write(Header::new()) };
    // SAFETY: `base` is `bytes_needed` long, of which the header is the first part.
    let announced_base = unsafe { base.add(HEADER_BYTES) };
    // SAFETY: as above; the announcements are the second part.
    let starts_base = unsafe { announced_base.add(announced_bytes()) };
    // SAFETY: as above; the starts are the third part.
    let ring_base = unsafe { starts_base.add(announced_bytes()) };
    // SAFETY: the second and third part, which nobody else knows yet.
    unsafe { announced_base.write_bytes(0, 2 * announced_bytes()) };
    // SAFETY: filled with zeros just now, a multiple of 128 after an address that is aligned as the ring
    // needs it; stays mapped until the process ends.
    let announced = unsafe { slice::from_raw_parts(announced_base.cast().as_ptr(), ticket::places()) };
    // SAFETY: as above.
    let starts = unsafe { slice::from_raw_parts(starts_base.cast().as_ptr(), ticket::places()) };
    // SAFETY: the rest of the segment is exactly what the ring asked for; the postmaster alone knows it, and
    // it is mapped at this address in every process that it forks, for as long as they run.
    let ring = unsafe { Ring::create(ring_base.as_ptr(), ring_bytes) };
    let ring = match ring {
        Ok(ring) => ring,
        Err(error) => pgrx::error!("pg_sse: the ring cannot be made: {error}"),
    };
    // SAFETY: just written; shared memory stays mapped until the process ends, and all fields are atomic.
    let header = unsafe { header.as_ref() };
    let announced = Announcements { tickets: &header.tickets, words: announced };
    let wal = Wal { words: &header.wal, starts };
    SHARED.store(Box::into_raw(Box::new(Shared { header, announced, wal, ring })), Relaxed);
}

impl Header {
    fn new() -> Self {
        Self {
            gateway_place: AtomicU32::new(NOBODY),
            database: AtomicU32::new(0),
            extension: AtomicU64::new(0),
            catalog_generation: AtomicU64::new(1),
            certain_changes: AtomicU64::new(1),
            last_reading: LastReading::default(),
            watched: Watched::default(),
            revocations: AtomicU64::new(0),
            follower: FollowerWords::default(),
            listing: Questions::default(),
            histograms: Questions::default(),
            stats_reset: AtomicI64::new(super::clock::now_microseconds()),
            said: SaidOnce::default(),
            refusals: Refusals::default(),
            gateway: GatewayFields::default(),
            tickets: Tickets::default(),
            wal: WalWords::default(),
        }
    }
}
