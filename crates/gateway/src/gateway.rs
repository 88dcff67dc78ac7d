//! The main thread's handle on the running gateway. Nothing here waits, except [`Gateway::stop`].
//!
//! Not for what runtime threads do: that begins in `shard`; nor for events: `publisher` hands them over.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::bounded;
use sse_proto::client_file::ClientFile;
use sse_proto::route::RouteTable;

use crate::admin::Admin;
use crate::between::endings::Pushed;
use crate::between::listing::Subscribers;
use crate::between::outbox::{Errand, Inbox, errand_channel};
use crate::between::publisher::{MAX_WAITING_BATCHES, Published, Publisher, RuntimeThread};
use crate::between::queue::CallAvailability;
use crate::between::workers::{CallDesk, CallWorkers};
use crate::door::bind::Listeners;
use crate::door::file_limit;
use crate::measures::HistogramReading;
use crate::refusals::{KeeperHandle, RefusalFile};
use crate::settings::{Config, Settings};
use crate::shard;
use crate::shared::Shared;
use crate::stats::Stats;

/// How long stopping waits for refusals that are not on disk when the streams have ended. It takes that long
/// only while a disk hangs or somebody holds the file's lock.
const LAST_REFUSALS: Duration = Duration::from_millis(300);

/// Replaces the routes of a gateway, from any thread.
pub struct Routes(Arc<Shared>);

impl Routes {
    /// See [`Gateway::set_routes`].
    pub fn set(&self, routes: Arc<RouteTable>, generation: u64) {
        self.0.set_routes(routes, generation);
    }

    /// Replaces a file that is served for clients; `None`: there is none, empty: it is too large.
    pub fn set_client(&self, file: ClientFile, text: Option<&Bytes>) {
        self.0.client.set(file, text);
    }
}

/// The HTTP server: its threads, their listening sockets, their streams.
///
/// Dropped without [`Gateway::stop`], its streams are cut off rather than ended.
pub struct Gateway {
    shared: Arc<Shared>,
    inbox: Inbox,
    threads: Vec<JoinHandle<()>>,
    /// With a data directory.
    keeper: Option<KeeperHandle>,
}

impl Gateway {
    /// Starts the runtime threads and returns at once, with the [`Publisher`] that hands them events. The
    /// threads bind the addresses, with retries (`Stats::port` says when).
    ///
    /// The threads inherit the caller's signal mask: block all signals around this call. Until the first
    /// [`Gateway::set_routes`] stream URLs are answered with 503 after a short wait.
    ///
    /// # Errors
    /// When the process has no descriptor or thread left.
    pub fn start(config: Config, settings: Arc<Settings>) -> io::Result<(Self, Publisher)> {
        let stats: Arc<Stats> = Arc::default();
        let (outbox, inbox) = errand_channel(Arc::clone(&stats))?;
        let threads = config.threads.max(1);
        let data_directory = config.data_directory.clone();
        let shared = Shared::new(config.epoch, data_directory, threads, settings, stats, outbox);
        let shared = Arc::new(shared.publishing(Published::new(config.log_end)));
        file_limit::raise(&shared);
        let mut gateway = Self { shared, inbox, threads: Vec::new(), keeper: None };
        if let Some(directory) = config.data_directory {
            let file = RefusalFile::new(directory);
            gateway.keeper = Some(KeeperHandle::start(file, Arc::clone(&gateway.shared))?);
        }
        let mut channels = Vec::new();
        let listeners = Listeners::new(config.listen_addresses, config.port);
        for number in 0..threads {
            let (sender, receiver) = bounded(MAX_WAITING_BATCHES);
            let call_bell = config.call_bells.get(number).cloned();
            let thread =
                shard::spawn(number, Arc::clone(&gateway.shared), receiver, listeners.clone(), call_bell)?;
            let bell = Arc::clone(&gateway.shared.bells[number]);
            channels.push(RuntimeThread { channel: sender, bell });
            gateway.threads.push(thread);
        }
        let publisher = Publisher::new(
            Arc::clone(&gateway.shared.stats),
            Arc::clone(&gateway.shared.published),
            Arc::clone(&gateway.shared.inspection.live),
            channels,
        );
        Ok((gateway, publisher))
    }

    /// Replaces the routes. An older generation than the last one given is ignored.
    pub fn set_routes(&self, routes: Arc<RouteTable>, generation: u64) {
        self.shared.set_routes(routes, generation);
    }

    /// A handle for a thread that builds the routes. It must be dropped before the gateway is stopped.
    pub fn routes(&self) -> Routes {
        Routes(Arc::clone(&self.shared))
    }

    /// Gives the gateway the number that generations of routes are compared with: a session that changes a
    /// routine raises it before its COMMIT returns. From then on a call that may have failed only because of
    /// outdated routes waits for fresh ones.
    pub fn follow_changes(&self, changes: &'static AtomicU64) {
        self.shared.routes.follow(changes);
    }

    /// Answers [`Errand::RefreshRoutes`]: the last routes given contain everything that had committed when
    /// this question was taken out of [`Gateway::poll_errand`]. Answers all earlier questions, too.
    pub fn routes_are_fresh(&self, question: u64) {
        self.shared.routes.answered(question);
    }

    /// Takes new settings, and the files that they name, which a thread of the gateway reads. Waits a second
    /// for that at most: a disk may hang. No stream is cut.
    pub fn apply(&self, settings: Arc<Settings>) {
        self.shared.apply(settings);
        file_limit::raise(&self.shared);
    }

    /// The file of refusals has new lines: refuses the users and tokens in them, and ends their streams
    /// (C4.8, C7.5). At the start the file is read without this call; until then every request is answered
    /// with 503.
    pub fn read_refusals(&self) {
        self.shared.refusals.look();
    }

    /// Tells the gateway whether calls can run. At first they are [`CallAvailability::Off`].
    pub fn set_calls(&self, calls: CallAvailability) {
        self.shared.set_calls(calls);
    }

    /// The threads that have calls give them to these workers themselves. `None`: they leave them to the main
    /// thread, as at first; when this returns, no thread uses the workers before any more.
    pub fn set_call_workers(&self, workers: Option<Arc<dyn CallWorkers>>) {
        self.shared.set_call_workers(workers);
    }

    /// Calls as those see them who have workers.
    ///
    /// A call for which no worker is ready ([`Gateway::set_call_workers`]) makes [`Gateway::wake_fd`]
    /// readable; ask [`Gateway::poll_errand`] until it has nothing **before** [`CallDesk::take`], else a wake
    /// may be lost.
    pub fn call_desk(&self) -> CallDesk<'_> {
        self.shared.call_desk()
    }

    /// A call that was taken and whose peer has gone since: cancel its statement if it still runs. Wakes as
    /// [`Gateway::call_desk`] says.
    pub fn poll_cancelled(&self) -> Option<u64> {
        self.shared.calls.poll_cancelled()
    }

    /// Puts records of the gateway's own into the ring: ends of calls that nobody else tells (C7.9). False:
    /// some wait for room; call it again soon. Wakes as [`Gateway::call_desk`] says.
    pub fn hand_over_endings(&self, push: impl FnMut(&[u8]) -> Pushed) -> bool {
        self.shared.endings.hand_over(push)
    }

    /// Puts the canary into the ring, if the admin port waits for one. Wakes as [`Gateway::call_desk`] says.
    pub fn hand_over_canary(&self, push: impl FnOnce(&[u8]) -> Pushed) {
        self.shared.canary.hand_over(push);
    }

    /// Shows this gateway on the admin port, in place of the one before.
    pub fn show_to(&self, admin: &Admin) {
        admin.show(Some(Arc::clone(&self.shared)));
    }

    /// Asks who is listening (C8.1); the answer has at most `limit` streams. Delays no event.
    pub fn subscribers(&self, limit: usize) -> Subscribers {
        let subscribers = self.shared.list_requests.ask(limit);
        self.shared.ring_all();
        subscribers
    }

    /// Whether nothing listens because the certificate of the first settings cannot be used (C1.6).
    pub fn awaits_certificate(&self) -> bool {
        self.shared.awaits_certificate()
    }

    /// The histograms of events and calls.
    pub fn histograms(&self) -> Vec<HistogramReading> {
        self.shared.measures.readings()
    }

    /// `Some(reason)`: every request is answered with 503, streams that are open go on. The reason is not
    /// told to peers.
    pub fn set_unavailable(&self, reason: Option<String>) {
        self.shared.set_unavailable(reason);
    }

    /// Says whether this server is a standby: there, calls that write are sent to the primary (C10.5). Not
    /// one unless it is said.
    pub fn set_standby(&self, is_standby: bool) {
        self.shared.set_standby(is_standby);
    }

    /// Readable when [`Gateway::poll_errand`] has something; for the main thread's wait set. Never read it
    /// directly.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.inbox.fd()
    }

    /// The next errand for the main thread. `None` makes [`Gateway::wake_fd`] unreadable again.
    pub fn poll_errand(&self) -> Option<Errand> {
        let errand = self.inbox.poll(&self.shared.outbox)?;
        if let Errand::RefreshRoutes { question } = errand {
            self.shared.routes.taken(question);
        }
        Some(errand)
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Ends every stream cleanly after what was published, and joins the threads. Peers that do not take
    /// their last bytes within `deadline` are cut off. Returns at the latest shortly after it.
    pub fn stop(mut self, deadline: Duration) {
        let until = Instant::now() + deadline;
        self.shared.stop(until);
        for thread in self.threads.drain(..) {
            // Its panic, if any, was told by `Errand::Died`.
            let _ = thread.join();
        }
        // Nobody can log out any more.
        let until = Instant::now() + LAST_REFUSALS;
        self.shared.refusals.stop(until);
        if let Some(keeper) = &self.keeper {
            keeper.wait_until(until);
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shared.stop(Instant::now());
        self.shared.refusals.stop(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::auth::{AuthSettings, Secret};

    // A disk that hangs, with the keys or the certificate on it: the main thread, for which other processes
    // may wait, hung with it.
    #[test]
    fn a_reload_goes_on_while_a_disk_hangs_and_its_files_count_when_the_disk_answers() {
        let (gateway, _publisher) = Gateway::start(Config::default(), Arc::default()).unwrap();
        let auth = AuthSettings {
            jwt_secret: Some(Secret::try_new([b's'; 32]).unwrap()),
            ..AuthSettings::default()
        };
        let settings = Arc::new(Settings { auth, max_connections: 7, ..Settings::default() });
        let hangs = gateway.shared.auth.hang();
        let before = Instant::now();
        gateway.apply(Arc::clone(&settings));
        gateway.apply(settings);
        assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
        assert_eq!(gateway.shared.settings().max_connections, 7);
        assert!(!gateway.shared.auth.has_keys());
        drop(hangs);
        while !gateway.shared.auth.has_keys() {
            assert!(before.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
