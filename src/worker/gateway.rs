//! `pg_sse gateway`: supplies the threads that serve HTTP with routes, settings and calls, and writes what
//! they have to say into the server log.
//!
//! The main thread runs this loop and is the only one that may call Postgres. Like the logical replication
//! launcher it is connected to no database, so it stands in nobody's way. It leaves with code 1 to be started
//! again, and with 0 when the server stops.
//!
//! Not for: events. They do not go through this thread, because it may have to wait for something
//! (`gateway/courier.rs`). Nor for sockets and streams (`sse_gateway`), and reading the catalog
//! (`worker/gateway/reader.rs`).

mod between;
mod client_rules;
mod courier;
mod disconnects;
#[cfg(feature = "faults")]
mod fault;
mod follower;
mod messages;
mod misconfigured;
mod reader;
mod routing;
mod served_client;
mod state;
mod surroundings;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use sse_gateway::{Admin, Config, Errand, Gateway};

use super::calls::{self, Calls};
use crate::pg::database::Found;
use crate::pg::shmem::{self, Extension, GatewayState, Shared};
use crate::pg::waiter::Waiter;
use crate::pg::{backend, bgworker, call_bell, clock, consumer, database, latch, spare};
use crate::subscribers::Listing;
use crate::{guc, histograms, stats};
use client_rules::ClientRules;
use courier::{Courier, Heard};
use disconnects::Disconnects;
use follower::Follower;
use misconfigured::Saying;
use reader::CatalogReader;
use routing::{Rules, Task};
use state::State;

/// How long the loop sleeps when nothing happens. Once in this time the figures are copied, and the database
/// is looked for.
const BEAT: Duration = Duration::from_secs(1);

/// Whatever is larger is asked for, and refused to the peer that it is for: bodies and answers.
const SMALL_BYTES: usize = 1024 * 1024;

/// Pause while a list of subscribers is being made.
const LISTING_PAUSE: Duration = Duration::from_millis(2);

/// How long the runtime threads get to take what is left in the ring before streams end. Together with
/// [`STOP_TIMEOUT`] and the server's own work this is well below two seconds.
const LAST_DRAIN: Duration = Duration::from_millis(300);

/// How long streams get to end when the server stops or the extension is dropped.
const STOP_TIMEOUT: Duration = Duration::from_millis(800);

struct Worker {
    shared: Shared,
    reader: CatalogReader,
    database: Option<u32>,
    /// It has descriptors of the gateway and the courier, so it must be dropped before them.
    waiter: Waiter,
    gateway: Option<Gateway>,
    /// It stands whatever becomes of the gateway.
    admin: Option<Admin>,
    courier: Courier,
    listing: Listing,
    follower: Follower,
    disconnects: Disconnects,
    calls: Calls,
    client: ClientRules,
    state: State,
    next_beat: Instant,
}

/// Main function of the worker.
pub(crate) fn run() {
    let Some(shared) = shmem::shared() else { return };
    bgworker::attach_signals();
    bgworker::end_without_exit_handlers();
    spare::leave_for_want_of(SMALL_BYTES);
    bgworker::settle_transactions();
    bgworker::connect(None);
    let consumer = match consumer::take(&shared) {
        Ok(consumer) => consumer,
        Err(corrupt) => {
            messages::corrupt(&corrupt);
            bgworker::leave(1)
        }
    };
    let courier = match Courier::start(shared, consumer, guc::RING_SIZE.bytes()) {
        Ok(courier) => courier,
        Err(error) => {
            messages::no_threads(&error);
            bgworker::leave(1)
        }
    };
    let admin = match surroundings::start(shared) {
        Ok(admin) => admin,
        Err(error) => {
            messages::no_threads(&error);
            bgworker::leave(1)
        }
    };
    shared.set_gateway_place(latch::my_place());
    let fields = &shared.header.gateway;
    fields.pid.store(backend::my_pid(), Relaxed);
    fields.started_at.store(clock::now_microseconds(), Relaxed);
    let code = Worker::new(shared, courier, admin).serve();
    stats::copy(None, fields);
    leave(&shared, code);
}

/// The served database stays known: its sessions go on capturing, and COMMENTs there go on sending
/// invalidations.
fn leave(shared: &Shared, code: i32) -> ! {
    shared.set_gateway_place(None);
    let fields = &shared.header.gateway;
    fields.pid.store(0, Relaxed);
    fields.state.store(GatewayState::Stopped as u32, Relaxed);
    bgworker::leave(code);
}

impl Worker {
    fn new(shared: Shared, courier: Courier, admin: Option<Admin>) -> Self {
        let waiter = waiter(&courier, admin.as_ref(), None);
        Self {
            shared,
            reader: CatalogReader::new(shared),
            database: None,
            waiter,
            gateway: None,
            admin,
            courier,
            listing: Listing::default(),
            follower: Follower::new(shared),
            disconnects: Disconnects::default(),
            client: ClientRules::present(),
            calls: Calls::new(shared),
            state: State::new(shared),
            next_beat: Instant::now(),
        }
    }

    /// Runs until the worker has to leave; returns its exit code.
    fn serve(mut self) -> i32 {
        loop {
            if bgworker::told_to_leave() {
                return self.stop();
            }
            if bgworker::reload_configuration() {
                self.reload();
            }
            if spare::is_short() {
                // At once: threads that wait for memory may have what ending in order needs.
                leave(&self.shared, 1);
            }
            if Instant::now() >= self.next_beat {
                self.beat();
            }
            if self.hear_courier() == Heard::ItHasEnded {
                return 1;
            }
            if let Some(message) = self.do_errands() {
                messages::died(&message);
                return 1;
            }
            if self.database.is_some() {
                self.follower.tend();
                self.reader.tend(&mut self.courier);
                self.follow_extension();
                self.answer_question();
            }
            if let Some(gateway) = &self.gateway {
                self.disconnects.tend(&self.shared, gateway);
                gateway.hand_over_canary(|record| calls::push(&self.shared, record));
            }
            self.listing.tend(&self.shared, self.gateway.as_ref());
            histograms::tend(&self.shared, self.gateway.as_ref());
            // After `do_errands`, which makes the descriptor unreadable.
            self.calls.tend(self.gateway.as_ref());
            self.sleep();
        }
    }

    fn sleep(&mut self) {
        let mut pause = self.next_beat.saturating_duration_since(Instant::now());
        if self.database.is_some() {
            pause = self.reader.pause(pause);
        }
        let Some(mut pause) = self.calls.prepare_to_sleep(pause) else { return };
        if self.listing.is_under_way() {
            pause = pause.min(LISTING_PAUSE);
        }
        self.waiter.wait(pause);
    }

    /// `Some`: a runtime thread has died, and why.
    fn do_errands(&mut self) -> Option<String> {
        while let Some(errand) = self
            .gateway
            .as_ref()
            .and_then(Gateway::poll_errand)
            .or_else(|| self.admin.as_ref().and_then(Admin::poll_errand))
        {
            match errand {
                Errand::Log { severity, message } => messages::line(severity, &message),
                Errand::RefreshRoutes { question } => {
                    if let (Some(question), Some(gateway)) = (self.reader.ask(question), &self.gateway) {
                        gateway.routes_are_fresh(question);
                    }
                }
                Errand::Died(message) => return Some(message),
            }
        }
        None
    }

    fn answer_question(&mut self) {
        if let Some(gateway) = &self.gateway
            && let Some(question) = self.reader.answered()
        {
            gateway.routes_are_fresh(question);
        }
    }

    /// What is done once a second.
    fn beat(&mut self) {
        self.next_beat = Instant::now() + BEAT;
        self.follow_database();
        stats::copy(self.gateway.as_ref().map(Gateway::stats), &self.shared.header.gateway);
        if let Some(gateway) = &self.gateway {
            gateway.set_standby(backend::in_recovery());
            self.state.show(gateway);
        }
    }

    /// Finds the database by its name. Repeated, because it may be created, dropped or renamed at any time.
    fn follow_database(&mut self) {
        let Found::Database(database) = database::find(&guc::DATABASE.text()) else { return };
        if database == self.database && database.is_some() {
            return;
        }
        if database != self.database {
            self.close();
            self.reader.reset();
            self.follower.end();
            self.courier.give(Task::Forget);
            if self.shared.database() != database.unwrap_or(0) {
                self.shared.forget_extension();
                self.shared.set_database(database.unwrap_or(0));
            }
            self.database = database;
        }
        if database.is_none() {
            self.state.set(GatewayState::NoDatabase);
        }
    }

    /// Serves while the extension is installed.
    fn follow_extension(&mut self) {
        if !self.reader.has_read() {
            return;
        }
        match (self.shared.extension(), &self.gateway) {
            (Extension::Present, None) if self.follower.refusals_are_known() => self.open(),
            (Extension::Present, None) => self.state.set(GatewayState::WaitingForRefusals),
            (Extension::Absent, _) => {
                self.close();
                self.state.set(GatewayState::NoExtension);
            }
            (Extension::OtherVersion, _) => {
                self.close();
                self.state.set(GatewayState::OtherVersion);
            }
            _ => {}
        }
    }

    fn open(&mut self) {
        let config = Config {
            listen_addresses: guc::listen_addresses(),
            port: guc::port(),
            threads: guc::THREADS.count(),
            epoch: clock::now_microseconds().unsigned_abs(),
            data_directory: Some(backend::data_directory()),
            log_end: self.shared.wal.is_on().then_some(&self.shared.wal.words.known_end),
            call_bells: call_bell::all(),
        };
        let settings = Arc::new(guc::gateway_settings());
        match bgworker::with_signals_blocked(|| Gateway::start(config, settings)) {
            Ok((gateway, publisher)) => {
                // Before anybody is let in, so that nobody misses an event.
                self.courier.open(publisher);
                misconfigured::apply(&gateway, Saying::Aloud);
                gateway.set_standby(backend::in_recovery());
                self.waiter = waiter(&self.courier, self.admin.as_ref(), Some(&gateway));
                self.admin.iter().for_each(|admin| gateway.show_to(admin));
                gateway.follow_changes(self.shared.changes());
                self.courier.give(Task::Serve(gateway.routes()));
                self.calls.serve(&gateway);
                self.state.show(&gateway);
                self.gateway = Some(gateway);
            }
            Err(error) => {
                messages::no_threads(&error);
                // The postmaster tries again in a second.
                bgworker::leave(1);
            }
        }
    }

    fn close(&mut self) {
        // First, so that the events of calls that were answered are in the ring.
        if let Some(gateway) = &self.gateway {
            self.calls.close(gateway);
        }
        self.waiter = waiter(&self.courier, self.admin.as_ref(), None);
        self.admin.iter().for_each(Admin::show_none);
        self.reader.forget_question();
        if let Some(gateway) = self.gateway.take() {
            // Events that were published before the end are sent before it.
            self.courier.close(LAST_DRAIN);
            self.courier.give(Task::Close);
            // Stopping waits for the runtime threads. The main thread does not, because other processes may
            // wait for it to take in an interrupt.
            let stop = move || gateway.stop(STOP_TIMEOUT);
            // If no thread can be started for this, the streams are cut.
            if let Ok(stopping) = bgworker::with_signals_blocked(|| thread::Builder::new().spawn(stop)) {
                bgworker::wait_until(STOP_TIMEOUT * 2, || stopping.is_finished());
            }
            stats::copy(None, &self.shared.header.gateway);
        }
    }

    fn reload(&mut self) {
        #[cfg(feature = "faults")]
        fault::provoke_if_asked(&self.shared, &self.courier, &mut self.calls);
        self.calls.reload();
        self.courier.give(Task::Rules(Rules::present()));
        let client = ClientRules::present();
        if client != self.client {
            self.client = client;
            self.reader.outdate_files();
        }
        self.admin.iter().for_each(|admin| admin.apply(surroundings::settings()));
        let Some(gateway) = &self.gateway else { return };
        gateway.apply(Arc::new(guc::gateway_settings()));
        misconfigured::apply(gateway, Saying::Quietly);
        self.state.show(gateway);
    }

    /// Told to leave: ends the streams. 0 when the server stops, else 1, so that the postmaster starts the
    /// worker again.
    fn stop(mut self) -> i32 {
        let code = i32::from(!bgworker::server_is_stopping());
        self.close();
        self.courier.stop();
        code
    }
}

/// For everybody who may wake the main thread.
fn waiter(courier: &Courier, admin: Option<&Admin>, gateway: Option<&Gateway>) -> Waiter {
    let others = admin.map(Admin::wake_fd).into_iter().chain(gateway.map(Gateway::wake_fd));
    Waiter::new(&[courier.wake_fd()].into_iter().chain(others).collect::<Vec<_>>())
}
