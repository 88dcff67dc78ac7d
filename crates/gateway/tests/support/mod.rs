//! A gateway without Postgres, and a peer that shares no code with it.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

pub mod calls;
#[cfg(target_os = "linux")]
pub mod footprint;
pub mod gaps;
pub mod guarded;
pub mod h2;
pub mod peer;
pub mod people;
pub mod places;
pub mod streamed;
pub mod tls;
pub mod tokens;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use sse_gateway::{
    AuthSettings, Batch, CallDesk, Config, Errand, Gateway, Publisher, RefusalFile, Secret, Settings, Stats,
};
use sse_proto::caller::Caller;
use sse_proto::record::{Envelope, Record};
use sse_proto::route::{RouteTable, Routine};
use sse_proto::scope::Scope;
use sse_proto::word::Level;

pub const EPOCH: u64 = 0xe;

pub fn id(sequence: u64) -> String {
    format!("{EPOCH:x}-{sequence:x}")
}

/// How long anything may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Polls until it is so.
pub fn eventually(what: &str, is_so: impl FnMut() -> bool) {
    within(DEADLINE, what, is_so);
}

/// Polls this long until it is so.
pub fn within(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < until, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until the gateway holds no connection any more.
pub fn all_gone(gateway: &TestGateway) {
    eventually("all sockets are given back", || gateway.count(|stats| &stats.connections) == 0);
}

pub fn settings() -> Settings {
    Settings { heartbeat_interval: Duration::ZERO, max_connections: 2000, ..Settings::default() }
}

/// Tokens signed with [`tokens::SECRET`] are believed.
pub fn auth() -> AuthSettings {
    AuthSettings { jwt_secret: Some(Secret::try_new(tokens::SECRET).unwrap()), ..AuthSettings::default() }
}

pub fn config() -> Config {
    Config { epoch: EPOCH, ..Config::default() }
}

/// Routes of routines named like this with these comments.
pub fn routes(routines: &[(&str, &str)]) -> Arc<RouteTable> {
    let routines: Vec<Routine> = routines
        .iter()
        .enumerate()
        .map(|(n, (name, comment))| Routine::new(n as u32 + 1, "public", *name, *comment))
        .collect();
    let table = RouteTable::build(&routines, "/api", Level::Info);
    assert!(table.endpoints().all(|endpoint| endpoint.problems.is_empty()), "{table:?}");
    Arc::new(table)
}

/// What tests publish.
#[derive(Clone)]
pub struct Raise {
    pub scope: Scope,
    pub topic: Option<String>,
    pub event: Option<String>,
    pub execution_id: Option<String>,
    /// The call that raised it.
    pub caller: Option<Caller<'static>>,
    pub data: String,
    pub too_large: bool,
}

pub fn raise(data: impl Into<String>) -> Raise {
    Raise {
        scope: Scope::All,
        topic: None,
        event: None,
        execution_id: None,
        caller: None,
        data: data.into(),
        too_large: false,
    }
}

/// The same, by the call of this number, whose caller is nobody.
pub fn raised(call: u64, data: impl Into<String>) -> Raise {
    let (is_authenticated, has_made_id) = (false, false);
    let caller = Caller { call, is_authenticated, user_id: None, execution_id: None, has_made_id };
    Raise { caller: Some(caller), ..raise(data) }
}

impl Raise {
    pub fn record(&self) -> Vec<u8> {
        let envelope = Envelope {
            scope: Cow::Borrowed(&self.scope),
            topic: self.topic.as_deref(),
            event: self.event.as_deref(),
            execution_id: self.execution_id.as_deref(),
            caller: self.caller,
            ..Envelope::for_all()
        };
        let record = if self.too_large {
            Record::TooLarge { envelope }
        } else {
            Record::Event { envelope, data: &self.data }
        };
        record.encode().unwrap()
    }
}

/// A running gateway with a stand-in for Postgres' main thread: it collects errands and answers those for
/// routes.
pub struct TestGateway {
    pub gateway: Arc<Gateway>,
    pub publisher: Mutex<Publisher>,
    next_sequence: AtomicU64,
    pub errands: Arc<Mutex<VecDeque<Errand>>>,
    pub answer_refreshes: Arc<AtomicBool>,
    quit: Arc<AtomicBool>,
    main: Option<JoinHandle<()>>,
}

impl TestGateway {
    pub fn new() -> Self {
        Self::with(settings())
    }

    pub fn with(settings: Settings) -> Self {
        Self::configured(config(), settings)
    }

    /// With the route `/api/events/info` and listening.
    pub fn configured(config: Config, settings: Settings) -> Self {
        let started = Self::start(config, settings);
        started.gateway.set_routes(routes(&[("events", "@sse")]), 1);
        eventually("listening", || started.stats().listening.load(Ordering::Relaxed));
        started
    }

    pub fn start(config: Config, settings: Settings) -> Self {
        let (gateway, publisher) = Gateway::start(config, Arc::new(settings)).unwrap();
        let (gateway, publisher) = (Arc::new(gateway), Mutex::new(publisher));
        let quit = Arc::new(AtomicBool::new(false));
        let answer_refreshes = Arc::new(AtomicBool::new(true));
        let errands: Arc<Mutex<VecDeque<Errand>>> = Arc::default();
        let main = std::thread::spawn({
            let (gateway, quit, errands) = (Arc::clone(&gateway), Arc::clone(&quit), Arc::clone(&errands));
            let answer_refreshes = Arc::clone(&answer_refreshes);
            move || {
                while !quit.load(Ordering::Relaxed) {
                    while let Some(errand) = gateway.poll_errand() {
                        let question = match errand {
                            Errand::RefreshRoutes { question } => Some(question),
                            _ => None,
                        };
                        // Before the answer, since whoever has that may look.
                        errands.lock().unwrap().push_back(errand);
                        if let Some(question) = question
                            && answer_refreshes.load(Ordering::Relaxed)
                        {
                            gateway.routes_are_fresh(question);
                        }
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let next_sequence = AtomicU64::new(1);
        Self { gateway, publisher, next_sequence, errands, answer_refreshes, quit, main: Some(main) }
    }

    pub fn port(&self) -> u16 {
        self.stats().port.load(Ordering::Relaxed)
    }

    pub fn stats(&self) -> &Stats {
        self.gateway.stats()
    }

    pub fn count(&self, counter: impl Fn(&Stats) -> &AtomicU64) -> u64 {
        counter(self.stats()).load(Ordering::Relaxed)
    }

    pub fn subscribers(&self) -> u64 {
        self.count(|stats| &stats.subscribers)
    }

    /// Publishes one batch, waiting for room; returns the sequence of its first item.
    pub fn publish_batch(&self, fill: impl FnOnce(&mut Batch)) -> u64 {
        let mut batch = Batch::new(self.next_sequence.load(Ordering::Relaxed));
        fill(&mut batch);
        self.next_sequence.store(batch.next_sequence(), Ordering::Relaxed);
        let first = batch.first_sequence;
        while let Err(back) = self.publisher.lock().unwrap().try_publish(batch) {
            batch = back;
            std::thread::yield_now();
        }
        first
    }

    pub fn publish(&self, raises: &[Raise]) -> u64 {
        self.publish_batch(|batch| raises.iter().for_each(|raise| batch.push_record(&raise.record())))
    }

    pub fn say(&self, data: &str) -> u64 {
        self.publish(&[raise(data)])
    }

    /// Calls as a worker sees them.
    pub fn desk(&self) -> CallDesk<'_> {
        self.gateway.call_desk()
    }

    /// The lines that were logged so far.
    pub fn log(&self) -> Vec<String> {
        let errands = self.errands.lock().unwrap();
        let line = |errand: &Errand| match errand {
            Errand::Log { message, .. } => Some(message.clone()),
            _ => None,
        };
        errands.iter().filter_map(line).collect()
    }

    pub fn refreshes(&self) -> usize {
        let errands = self.errands.lock().unwrap();
        errands.iter().filter(|errand| matches!(errand, Errand::RefreshRoutes { .. })).count()
    }

    /// Stops it and says how long that took.
    pub fn stop(mut self, deadline: Duration) -> Duration {
        self.end_main();
        let gateway = Arc::clone(&self.gateway);
        drop(self);
        let gateway = Arc::into_inner(gateway).unwrap();
        let before = Instant::now();
        gateway.stop(deadline);
        before.elapsed()
    }

    fn end_main(&mut self) {
        self.quit.store(true, Ordering::Relaxed);
        if let Some(main) = self.main.take() {
            main.join().unwrap();
        }
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        self.end_main();
        let died = self.errands.lock().unwrap().iter().any(|errand| matches!(errand, Errand::Died(_)));
        assert!(
            !died || std::thread::panicking(),
            "a runtime thread has died: {:?}",
            self.errands.lock().unwrap()
        );
    }
}

/// Disconnects a user whose tokens are from before this, as `sse.disconnect` does: by the file, of which the
/// gateway is told.
pub fn disconnect(gateway: &TestGateway, directory: &Path, user: &str, before: SystemTime) {
    RefusalFile::new(directory).refuse_user(user, before, std::thread::yield_now).unwrap();
    gateway.gateway.read_refusals();
}

/// A folder that is removed again.
pub fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    (folder, path)
}
