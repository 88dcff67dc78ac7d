//! `pg_sse follower`: keeps in step what the servers of a replication tree have in common besides events,
//! where `sse.durability` is `wal` (C10.5).
//!
//! Refusals. Each server has a file of them, which its gateway reads. The table `sse._refusals` is
//! replicated. On the primary the follower puts into the table what comes into the file; on a standby it
//! appends to the file what comes into the table. Before anything else it appends what the table has and the
//! file has not: only then the gateway lets anybody in. A primary whose table is new (`CREATE EXTENSION`)
//! fills it from its file.
//!
//! The catalog, on a standby. Nobody announces a change there, but the startup process passes on the
//! invalidations that it replays. The follower takes them in as any session does, and announces what concerns
//! the served routines. Rejected: a record in the log for each change, which would have to be written before
//! the commit, when not all of the invalidations are known.
//!
//! It looks around all the time, in short transactions, and holds nothing in between. After a promotion it
//! goes on as the primary's.
//!
//! Not for the file (`sse_gateway::RefusalFile`), nor for reading the routines (`catalog.rs`).

mod table;

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pgrx::bgworkers::BackgroundWorker;
use pgrx::prelude::*;
use sse_gateway::{KeptRefusal, RefusalFile, RefusalReader};

use crate::guc;
use crate::pg::entry::{catalog_change, invalidation};
use crate::pg::shmem::{self, Extension, Shared};
use crate::pg::{backend, bgworker, clock, spare};
use table::Row;

/// How long it sleeps between two looks. What is replayed has to hold within a second, of which the reading
/// of the routines needs a part; a look takes less than a millisecond.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Refusals that are read or written at a time.
const PORTION: usize = 1000;

/// This many refusals are put into the table before those that are not needed any more are taken out of it.
const PRUNE_AFTER: usize = 10_000;

/// Of so many lines it is known, while file and table are compared, that the file has them: 30 MB. A line
/// beyond may be appended once more, which says nothing new.
const MAX_KNOWN: usize = 1_000_000;

struct Follower {
    shared: Shared,
    gateway: u32,
    file: RefusalFile,
    /// What this server was at the last look.
    was_standby: Option<bool>,
    /// The number of changes of the catalog at which the table was looked for.
    looked_at: Option<u64>,
    /// The table that the file has been brought together with.
    table: Option<u32>,
    /// The highest number of its rows that the file has.
    last: i64,
    /// What the table has of the file, on a primary.
    reader: RefusalReader,
    since_pruned: usize,
}

/// Main function of the worker, with the process id of its gateway.
pub(crate) fn run(argument: u64) {
    let Some(shared) = shmem::shared() else { return };
    bgworker::attach_signals_of_a_backend();
    // The gateway asks for another one.
    spare::leave_for_want_of(usize::MAX);
    bgworker::settle_transactions();
    bgworker::connect(Some(&guc::DATABASE.text()));
    let file = RefusalFile::new(backend::data_directory());
    let reader = RefusalReader::new(file.clone());
    let mut follower = Follower {
        shared,
        gateway: u32::try_from(argument).unwrap_or(0),
        file,
        was_standby: None,
        looked_at: None,
        table: None,
        last: 0,
        reader,
        since_pruned: PRUNE_AFTER,
    };
    while follower.may_stay() {
        bgworker::take_in_what_waits();
        follower.look();
        if !bgworker::idle(LOOK_INTERVAL) {
            break;
        }
    }
    bgworker::leave(0);
}

impl Follower {
    /// Its gateway is there, and nobody needs the database without it.
    fn may_stay(&self) -> bool {
        self.shared.header.gateway.pid.load(Relaxed) == self.gateway
            && self.shared.header.follower.leave_until() <= clock::now_microseconds()
    }

    fn look(&mut self) {
        let is_standby = backend::in_recovery();
        if self.was_standby != Some(is_standby) {
            if is_standby {
                invalidation::follow(catalog_change::catalog_changed);
                invalidation::watch_roles(catalog_change::roles_changed);
            }
            if is_standby || self.was_standby == Some(true) {
                // What was replayed before it was listened to, and between the last look and the promotion.
                self.shared.announce_catalog_change();
            }
            self.was_standby = Some(is_standby);
            self.table = None;
            self.looked_at = None;
        }
        if is_standby {
            // Takes in what was replayed, and announces it at its end.
            BackgroundWorker::transaction(|| {});
        }
        let generation = self.shared.catalog_generation();
        if self.looked_at != Some(generation) {
            let table = BackgroundWorker::transaction(table::find);
            if table != self.table {
                self.table = None;
            }
            if let Some(table) = table.filter(|_| self.table.is_none()) {
                self.bring_together(is_standby);
                self.table = Some(table);
            }
            self.looked_at = Some(generation);
        } else if self.table.is_some() && self.shared.extension() == Extension::Present {
            if is_standby { self.follow() } else { self.hand_on() }
        }
    }

    /// The file gets what the table has and the file has not; then the table what the file has.
    fn bring_together(&mut self, is_standby: bool) {
        let mut known = HashMap::new();
        self.reader = RefusalReader::new(self.file.clone());
        read(&mut self.reader, |refusals| {
            for refusal in refusals {
                let moment = refusal.moment;
                let key = (refusal.kind, refusal.name);
                if known.len() < MAX_KNOWN || known.contains_key(&key) {
                    let latest = known.entry(key).or_insert(0);
                    *latest = moment.max(*latest);
                }
            }
        });
        self.last = 0;
        self.take_rows(|refusal: &KeptRefusal| {
            known.get(&(refusal.kind, refusal.name.clone())).is_none_or(|moment| *moment < refusal.moment)
        });
        drop(known);
        self.shared.header.follower.refusals_are_known_to(self.gateway);
        self.shared.wake_gateway();
        self.reader = RefusalReader::new(self.file.clone());
        if !is_standby {
            self.hand_on();
        }
    }

    /// A standby: the file gets what is new in the table.
    fn follow(&mut self) {
        self.take_rows(|_| true);
    }

    fn take_rows(&mut self, is_new: impl Fn(&KeptRefusal) -> bool) {
        loop {
            let last = self.last;
            let rows = BackgroundWorker::transaction(|| table::after(last, PORTION));
            let is_all = rows.len() < PORTION;
            self.last = rows.last().map_or(last, |row| row.number);
            let now = now();
            let new: Vec<KeptRefusal> = rows
                .into_iter()
                .filter_map(|Row { refusal, .. }| refusal)
                .filter(|refusal| !refusal.is_over(now) && is_new(refusal))
                .collect();
            if !new.is_empty() {
                let appended = self.file.append(&new, || {
                    backend::pause();
                    pgrx::check_for_interrupts!();
                });
                if let Err(error) = appended {
                    error!("pg_sse: the file of refusals cannot be written: {error}");
                }
                self.shared.announce_revocation();
                self.shared.wake_gateway();
            }
            if is_all {
                return;
            }
        }
    }

    /// A primary: the table gets what is new in the file.
    fn hand_on(&mut self) {
        let mut count = 0;
        let now = now();
        read(&mut self.reader, |mut refusals| {
            refusals.retain(|refusal| !refusal.is_over(now));
            if !refusals.is_empty() {
                count += BackgroundWorker::transaction(|| table::add(&refusals));
            }
        });
        if count == 0 {
            return;
        }
        self.since_pruned += count;
        if self.since_pruned >= PRUNE_AFTER {
            self.since_pruned = 0;
            BackgroundWorker::transaction(|| table::prune(now));
        }
    }
}

fn read(reader: &mut RefusalReader, give: impl FnMut(Vec<KeptRefusal>)) {
    if let Err(error) = reader.read_on(PORTION, give) {
        error!("pg_sse: the file of refusals cannot be read: {error}");
    }
}

/// Microseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
