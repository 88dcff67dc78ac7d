//! What the main thread and the runtime threads of one gateway share.
//!
//! Not for events: these go through a channel per runtime thread, and take no lock of this file on their way.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use http::{Method, StatusCode};
use parking_lot::{Condvar, Mutex, RwLock};
use sse_proto::route::RouteTable;
use tokio::sync::watch;

use crate::auth::{Authenticator, Bearer, Desk, EndedSessions, LoginFailures, NewRefusal, TakenIn, Verified};
use crate::bell::Bell;
use crate::between::canary::Canary;
use crate::between::client_board::ClientBoard;
use crate::between::endings::Endings;
use crate::between::inspection::Inspection;
use crate::between::listing::ListRequests;
use crate::between::outbox::{Outbox, Severity};
use crate::between::publisher::Published;
use crate::between::queue::{CallAvailability, CallQueue};
use crate::between::recent_calls::RecentCall;
use crate::between::route_board::RouteBoard;
use crate::between::shown::cut;
use crate::between::snapshots::SnapshotDesk;
use crate::between::workers::{CallDesk, CallWorkers, Taken, Workers};
use crate::entry::admission::{Counts, StreamLimits};
use crate::measures::Measures;
use crate::settings::Settings;
use crate::stats::Stats;
use crate::tls::Tls;

/// How long a reload waits for the files that its settings name: a disk takes milliseconds. Beyond it the
/// main thread goes on, and keys and certificate are those of before until the disk answers.
const FILES_PATIENCE: Duration = Duration::from_secs(1);

/// Longest text of a call that is kept for the inspector, in bytes; a longer one is cut.
const MAX_SHOWN_BYTES: usize = 300;

pub(crate) struct Shared {
    pub(crate) epoch: u64,
    pub(crate) data_directory: Option<PathBuf>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) routes: RouteBoard,
    pub(crate) client: ClientBoard,
    pub(crate) auth: Authenticator,
    pub(crate) tls: Tls,
    /// The last settings whose files have been read, by their version. `None`: those of the start are not
    /// read yet, and nothing listens.
    files_of: Mutex<Option<u64>>,
    files_are_read: Condvar,
    /// Between the threads that refuse somebody and the file that keeps the refusals.
    pub(crate) refusals: Desk,
    /// Counted by every runtime thread, when somebody logs in or out.
    ended_sessions: EndedSessions,
    /// Counted by every runtime thread.
    pub(crate) login_failures: LoginFailures,
    /// Peers whose `X-Forwarded-For` is not believed, and of which the log says so.
    pub(crate) told_of_forwarding: Mutex<Vec<IpAddr>>,
    /// How long things take, counted by every runtime thread.
    pub(crate) measures: Measures,
    /// Whether events come through, asked by the admin port.
    pub(crate) canary: Canary,
    /// Who is listening, asked by the main thread, answered by each runtime thread.
    pub(crate) list_requests: ListRequests,
    /// What the inspector of the admin port asks for.
    pub(crate) inspection: Inspection,
    /// Calls on their way to a worker and back.
    pub(crate) calls: Arc<CallQueue>,
    /// Written by the main thread, which waits until nobody uses them any more; read by whoever has a call.
    call_workers: RwLock<Option<Arc<dyn CallWorkers>>>,
    /// Ends of calls on their way to the main thread.
    pub(crate) endings: Arc<Endings>,
    /// Snapshots on their way to a call worker and back.
    pub(crate) snapshots: SnapshotDesk,
    /// Whether calls can run; written by the main thread, read once per request.
    call_state: RwLock<CallAvailability>,
    /// Sockets and streams that are open.
    pub(crate) counts: Arc<Counts>,
    pub(crate) published: Arc<Published>,
    /// Written by the main thread, read once per request and by the slab when `settings_version` has moved.
    settings: RwLock<Arc<Settings>>,
    settings_version: watch::Sender<u64>,
    /// This server is a standby: nothing can be written. Written by the main thread, false for good after a
    /// promotion; read once per call, relaxed: a call that comes too early is run as on a standby.
    is_standby: AtomicBool,
    /// Why every answer is 503, for the log alone; peers are never told.
    unavailable: RwLock<Option<String>>,
    /// Every bound address is a loopback one (C1.5). True until something else is bound.
    pub(crate) loopback_only: AtomicBool,
    /// Set once by `stop`: by when streams must have ended.
    stop: watch::Sender<Option<Instant>>,
    /// One per runtime thread, rung when there is something for its slab.
    pub(crate) bells: Vec<Arc<Bell>>,
}

impl Shared {
    pub(crate) fn new(
        epoch: u64,
        data_directory: Option<PathBuf>,
        threads: usize,
        settings: Arc<Settings>,
        stats: Arc<Stats>,
        outbox: Outbox,
    ) -> Self {
        let outbox = Arc::new(outbox);
        let refusals = Desk::new(data_directory.is_some());
        let bells: Vec<Arc<Bell>> = (0..threads).map(|_| Arc::default()).collect();
        Self {
            epoch,
            data_directory,
            routes: RouteBoard::new(),
            client: ClientBoard::new(),
            auth: Authenticator::new(),
            tls: Tls::new(),
            files_of: Mutex::new(None),
            files_are_read: Condvar::new(),
            refusals,
            ended_sessions: EndedSessions::default(),
            login_failures: LoginFailures::default(),
            told_of_forwarding: Mutex::default(),
            measures: Measures::new(threads),
            canary: Canary::new(threads),
            list_requests: ListRequests::new(threads),
            inspection: Inspection::new(threads),
            calls: Arc::new(CallQueue::new(epoch, Arc::clone(&stats), Arc::clone(&outbox))),
            call_workers: RwLock::default(),
            endings: Arc::default(),
            snapshots: SnapshotDesk::new(&bells),
            call_state: RwLock::new(CallAvailability::Off),
            counts: Arc::new(Counts::new(Arc::clone(&stats))),
            stats,
            outbox,
            published: Arc::default(),
            settings: RwLock::new(settings),
            settings_version: watch::Sender::new(0),
            is_standby: AtomicBool::new(false),
            unavailable: RwLock::new(None),
            loopback_only: AtomicBool::new(true),
            stop: watch::Sender::new(None),
            bells,
        }
    }

    /// The same, before anything was published.
    pub(crate) fn publishing(self, published: Published) -> Self {
        Self { published: Arc::new(published), ..self }
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read())
    }

    /// Takes new settings, and waits until the files that they name have been read, but no longer than
    /// [`FILES_PATIENCE`].
    pub(crate) fn apply(&self, settings: Arc<Settings>) {
        *self.settings.write() = settings;
        self.settings_version.send_modify(|version| *version += 1);
        self.ring_all();
        let version = *self.settings_version.borrow();
        let is_older = |read: &mut Option<u64>| read.is_none_or(|read| read < version);
        let until = Instant::now() + FILES_PATIENCE;
        self.files_are_read.wait_while_until(&mut self.files_of.lock(), is_older, until);
    }

    /// Reads the files that the present settings name. On a thread that may wait for a disk.
    pub(crate) fn read_files(&self) {
        // The version first: the settings may be newer, but not older.
        let version = *self.settings_version.borrow();
        let settings = self.settings();
        // Keys first: with the certificate it is decided that the gateway listens.
        self.auth.apply(&settings.auth, &self.outbox);
        self.tls.apply(&settings.tls, &self.outbox);
        *self.files_of.lock() = Some(version);
        self.files_are_read.notify_all();
    }

    /// Whether nothing listens because the certificate of the start cannot be used, or not be read.
    pub(crate) fn awaits_certificate(&self) -> bool {
        self.tls.is_undecided() && self.settings().tls.is_wanted()
    }

    /// A quarter of the streams is reserved for authenticated subscribers. Without a token key there can be
    /// none, so nothing is reserved.
    pub(crate) fn stream_limits(&self) -> StreamLimits {
        let settings = self.settings();
        let all = settings.max_connections;
        let anonymous = if self.auth.has_keys() { settings.max_anonymous() } else { all };
        StreamLimits { all, anonymous, of_address: settings.max_connections_per_address }
    }

    /// Lets a thread that may wait for a disk look at the files with keys, when it is time. To be called on a
    /// runtime thread.
    pub(crate) fn look_at_keys(self: &Arc<Self>) {
        if self.auth.is_look_due() {
            let shared = Arc::clone(self);
            drop(tokio::task::spawn_blocking(move || shared.auth.look(&shared.outbox)));
        }
    }

    /// Its value changes whenever settings are applied.
    pub(crate) fn settings_changes(&self) -> watch::Receiver<u64> {
        self.settings_version.subscribe()
    }

    pub(crate) fn set_unavailable(&self, reason: Option<String>) {
        *self.unavailable.write() = reason;
    }

    pub(crate) fn set_standby(&self, is_standby: bool) {
        self.is_standby.store(is_standby, Relaxed);
    }

    pub(crate) fn is_standby(&self) -> bool {
        self.is_standby.load(Relaxed)
    }

    pub(crate) fn is_unavailable(&self) -> bool {
        self.unavailable.read().is_some() || !self.refusals.is_known()
    }

    /// Takes in refusals and ends the streams concerned, in memory alone. Says whether any of them was new.
    pub(crate) fn refuse(&self, refusals: impl IntoIterator<Item = NewRefusal>) -> bool {
        self.has_taken_in(self.auth.revocations().take_in(refusals, SystemTime::now()))
    }

    fn has_taken_in(&self, taken: TakenIn) -> bool {
        if taken.forgot_user {
            self.outbox.log_limited("revocations", Severity::Warning, || {
                "too many users were disconnected: tokens of the first of them are accepted again".to_owned()
            });
        }
        if taken.forgot_token {
            self.outbox.log_limited("refusals", Severity::Warning, || {
                "too many sessions were ended: tokens of the first of them are accepted again".to_owned()
            });
        }
        if taken.changed {
            self.ring_all();
        }
        taken.changed
    }

    /// Refuses the session's token from now on, ends its streams, and has the refusal written to disk. Does
    /// not wait for that.
    pub(crate) fn end_session(&self, session: &Verified) {
        let refusal = match session.identity.user_id() {
            Some(id) if self.ended_sessions.count(id, Instant::now()) => {
                self.outbox.log_limited("ended sessions", Severity::Log, || {
                    "a user has ended more sessions than are kept one by one (1000 in an hour, 10,000 in 14 days): each further logout also ends the user's older sessions"
                        .to_owned()
                });
                let issued_at = session.issued_at.unwrap_or_else(SystemTime::now);
                NewRefusal::User { id: Arc::from(id), before: issued_at + Duration::from_micros(1) }
            }
            user => {
                let bearer = if user.is_some() { Bearer::Known } else { Bearer::Nameless };
                NewRefusal::Token { digest: session.digest, until: session.refused_until(), bearer }
            }
        };
        let taken = self.auth.revocations().take_in_first(refusal.clone(), SystemTime::now());
        if self.has_taken_in(taken) && !self.refusals.keep(refusal) {
            self.outbox.log_limited("waiting refusals", Severity::Warning, || {
                "the disk takes no refusals: further tokens that are logged out will be accepted again after a restart"
                    .to_owned()
            });
        }
    }

    /// A call was answered: measures it, and keeps it for the inspector.
    pub(crate) fn note_call(
        &self,
        method: &Method,
        path: &str,
        (status, error): (StatusCode, Option<String>),
        took: Duration,
    ) {
        self.measures.call(method, status, took);
        self.inspection.calls.note(RecentCall {
            at: SystemTime::now(),
            method: cut(method.as_str(), MAX_SHOWN_BYTES),
            path: cut(path, MAX_SHOWN_BYTES),
            status: status.as_u16(),
            took,
            error,
        });
    }

    pub(crate) fn set_calls(&self, calls: CallAvailability) {
        *self.call_state.write() = calls;
    }

    pub(crate) fn call_state(&self) -> CallAvailability {
        *self.call_state.read()
    }

    /// From now on these workers run calls; `None`: nobody uses those before any more when this returns.
    pub(crate) fn set_call_workers(&self, workers: Option<Arc<dyn CallWorkers>>) {
        *self.call_workers.write() = workers;
    }

    /// Calls as those see them who have workers.
    pub(crate) fn call_desk(&self) -> CallDesk<'_> {
        let workers = self.settings().call_workers;
        CallDesk { calls: &self.calls, published: &self.published, outbox: &self.outbox, workers }
    }

    /// A call waits: a worker that is free gets it, or whichever was there before it. The main thread decides
    /// where no worker is ready.
    pub(crate) fn call_waits(&self) {
        let workers = self.call_workers.read();
        let after = workers.as_ref().map_or(Workers::None, |workers| workers.hand_out(&self.call_desk()));
        if after == Workers::None {
            self.outbox.wake_main();
        }
    }

    /// A worker has rung for this runtime thread.
    pub(crate) fn take_answers(&self, thread: usize) -> Taken {
        let workers = self.call_workers.read();
        workers.as_ref().map_or(Taken::All, |workers| workers.take_answers(thread, &self.call_desk()))
    }

    pub(crate) fn stop(&self, until: Instant) {
        self.stop.send_replace(Some(until));
        self.ring_all();
    }

    pub(crate) fn stopping(&self) -> Option<Instant> {
        *self.stop.borrow()
    }

    pub(crate) fn stop_changes(&self) -> watch::Receiver<Option<Instant>> {
        self.stop.subscribe()
    }

    /// Puts routes in force, for streams that are open, too.
    pub(crate) fn set_routes(&self, routes: Arc<RouteTable>, generation: u64) {
        self.routes.set(routes, generation);
        self.ring_all();
    }

    pub(crate) fn ring_all(&self) {
        for bell in &self.bells {
            bell.ring();
        }
    }
}
