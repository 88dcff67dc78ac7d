//! What the admin port learns of the server, from shared memory alone: it asks on a thread of its own, which
//! must not call Postgres.
//!
//! Not for what it shows of the gateway, which it is shown itself.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sse_gateway::{Admin, AdminConfig, AdminSettings, Facts, Figure, Stats, View};

use crate::pg::call_slot::{self, CallHeader};
use crate::pg::call_state::CallState;
use crate::pg::shmem::{Extension, GatewayState, Shared};
use crate::pg::{bgworker, guc_secret};
use crate::{guc, stats};

/// From 1970 to 2000, when the clock of Postgres begins.
const POSTGRES_EPOCH: Duration = Duration::from_secs(946_684_800);

struct Surroundings {
    shared: Shared,
    /// `sse.database`, which changes at a restart alone. Read here, because settings are the main thread's.
    database: String,
    /// `None`: there are no calls.
    calls: Option<&'static CallHeader>,
}

/// Starts the admin port, if there is to be one.
///
/// # Errors
/// When the process has no descriptor or thread left.
pub(super) fn start(shared: Shared) -> std::io::Result<Option<Admin>> {
    let port = u16::try_from(guc::ADMIN_PORT.count()).unwrap_or(0);
    if port == 0 {
        return Ok(None);
    }
    let listen_addresses = guc::admin_listen_addresses();
    let calls = call_slot::memory().map(|memory| memory.header);
    let surroundings = Surroundings { shared, database: guc::DATABASE.text(), calls };
    let config = AdminConfig { listen_addresses, port };
    bgworker::with_signals_blocked(|| Admin::start(config, settings(), surroundings)).map(Some)
}

/// The settings of the admin port that are taken on reload.
pub(super) fn settings() -> AdminSettings {
    AdminSettings {
        server_names: guc::SERVER_NAMES.list(),
        token: guc_secret::admin_token(),
        token_file: guc::ADMIN_TOKEN_FILE.optional().map(Into::into),
    }
}

impl sse_gateway::Surroundings for Surroundings {
    fn figures(&self, stats: Option<&Stats>) -> Vec<Figure> {
        let of = |view| move |(column, value)| Figure { view, column, value };
        let gateway = stats::gateway(stats, &self.shared.header.gateway).into_iter();
        let calls = self.calls.into_iter().flat_map(stats::calls);
        let ring = stats::ring(&self.shared).into_iter();
        let wal = &self.shared.wal;
        let wal = if wal.is_on() { stats::wal(&wal.words.figures, now_microseconds()) } else { Vec::new() };
        let rest = gateway.chain(calls).map(of(View::Gateway)).chain(wal.into_iter().map(of(View::Wal)));
        ring.map(of(View::Ring)).chain(rest).collect()
    }

    fn facts(&self) -> Facts {
        let ring = self.shared.ring.stats();
        let started_at = u64::try_from(self.shared.header.gateway.started_at.load(Relaxed)).unwrap_or(0);
        Facts {
            database: if self.shared.database() == 0 {
                Err("the database that sse.database names does not exist")
            } else {
                Ok(())
            },
            extension: match self.shared.extension() {
                Extension::Present => Ok(()),
                Extension::Unknown => Err("the database has not been looked at yet"),
                Extension::Absent => Err("the extension is not installed in the served database"),
                Extension::OtherVersion => {
                    Err("the extension has another version than the library: ALTER EXTENSION pg_sse UPDATE")
                }
            },
            call_role: self.call_role(),
            ring_used_bytes: ring.used_bytes,
            ring_capacity_bytes: ring.capacity_bytes,
            started_at: UNIX_EPOCH
                .checked_add(POSTGRES_EPOCH + Duration::from_micros(started_at))
                .filter(|_: &SystemTime| started_at > 0),
        }
    }

    fn state(&self) -> &'static str {
        GatewayState::of(self.shared.header.gateway.state.load(Relaxed)).as_str()
    }

    fn database(&self) -> &str {
        &self.database
    }

    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}

/// Since 2000-01-01 UTC. Not by Postgres' clock, which is the main thread's to ask.
fn now_microseconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH + POSTGRES_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

impl Surroundings {
    fn call_role(&self) -> Result<(), &'static str> {
        match self.calls.map(|header| CallState::of(header.state.load(Relaxed))) {
            // While nothing is served they are off, too, and another check says so.
            None | Some(CallState::Off | CallState::Ready) => Ok(()),
            Some(CallState::Checking) => Err("the role that sse.call_role names is being looked at"),
            Some(CallState::Refused) => {
                Err("the role that sse.call_role names cannot be used (sse.stat_gateway says why)")
            }
            Some(CallState::Starting) => Err("no call worker is ready"),
        }
    }
}
