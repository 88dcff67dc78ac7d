//! The admin port (C8.2): whether the gateway lives and is ready, and what it does in numbers.
//!
//! It has a thread and a runtime of its own, with less priority than those that carry events, and stands
//! whatever becomes of the gateway: it also answers where there is no database, no extension, or no key that
//! can be read, since that is when somebody looks. So it is started once, by the main thread, and is shown
//! the gateway that serves at the time ([`crate::Gateway::show_to`]).
//!
//! What it knows of Postgres it reads through [`Surroundings`], from shared memory.
//!
//! Not for `/healthz` of the main port: that is `router`.

mod api;
mod inspector;
mod listen;
mod methods;
mod metrics;
mod names;
mod ready;
mod router;
mod seats;
mod surroundings;
mod token;

use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::Builder;

use parking_lot::RwLock;
use tokio::task::LocalSet;

pub use surroundings::{Facts, Figure, Surroundings, View};

use crate::auth::AdminToken;
use crate::between::outbox::{Errand, Inbox, Outbox, errand_channel};
use crate::priority::yield_to_events;
use crate::shared::Shared;
use crate::supervise::{BLOCKING_THREADS_NAME, BLOCKING_THREADS_STAY, message};
use api::Api;
use ready::Readiness;
use token::Keeper;

/// Where to listen (C1.3, settings that take effect at start).
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// `sse.admin_listen_addresses`, split at commas.
    pub listen_addresses: Vec<String>,
    /// `sse.admin_port`, not 0.
    pub port: u16,
}

/// What changes on reload.
#[derive(Debug, Clone, Default)]
pub struct AdminSettings {
    /// `sse.server_names`: further names that a `Host` may have.
    pub server_names: Vec<String>,
    /// `sse.admin_token`
    pub token: Option<AdminToken>,
    /// `sse.admin_token_file`
    pub token_file: Option<PathBuf>,
}

/// The admin port, as the main thread has it.
pub struct Admin {
    board: Arc<Board>,
    inbox: Inbox,
}

/// What the main thread and the admin thread share.
struct Board {
    /// Written by the main thread, read once per request.
    settings: RwLock<AdminSettings>,
    tokens: Keeper,
    /// The gateway that serves. Written by the main thread.
    gateway: RwLock<Option<Arc<Shared>>>,
    surroundings: Box<dyn Surroundings>,
    readiness: Readiness,
    api: Api,
    outbox: Arc<Outbox>,
}

impl Admin {
    /// Starts the thread and returns at once; it binds the addresses, with retries. It inherits the caller's
    /// signal mask: block all signals around this call. It ends with the process.
    ///
    /// # Errors
    /// When the process has no descriptor or thread left.
    pub fn start(
        config: AdminConfig,
        settings: AdminSettings,
        surroundings: impl Surroundings,
    ) -> io::Result<Self> {
        let (outbox, inbox) = errand_channel(Arc::default())?;
        let board = Arc::new(Board {
            tokens: Keeper::default(),
            settings: RwLock::default(),
            gateway: RwLock::default(),
            surroundings: Box::new(surroundings),
            readiness: Readiness::default(),
            api: Api::default(),
            outbox: Arc::new(outbox),
        });
        let admin = Self { board, inbox };
        admin.apply(settings);
        let board = Arc::clone(&admin.board);
        Builder::new().name("sse-admin".to_owned()).spawn(move || {
            yield_to_events();
            match catch_unwind(AssertUnwindSafe(|| run(&board, config))) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => board.outbox.died(format!("the admin thread could not start: {error}")),
                Err(panic) => board.outbox.died(message(&*panic)),
            }
        })?;
        Ok(admin)
    }

    /// Takes new settings. The file that they name is read by the admin thread.
    pub fn apply(&self, settings: AdminSettings) {
        self.board.tokens.apply(&settings);
        *self.board.settings.write() = settings;
    }

    /// There is no gateway any more.
    pub fn show_none(&self) {
        self.show(None);
    }

    /// Readable when [`Admin::poll_errand`] has something; for the main thread's wait set.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.inbox.fd()
    }

    /// The next errand for the main thread. `None` makes [`Admin::wake_fd`] unreadable again.
    pub fn poll_errand(&self) -> Option<Errand> {
        self.inbox.poll(&self.board.outbox)
    }

    pub(crate) fn show(&self, gateway: Option<Arc<Shared>>) {
        *self.board.gateway.write() = gateway;
    }
}

impl Board {
    fn gateway(&self) -> Option<Arc<Shared>> {
        self.gateway.read().clone()
    }
}

fn run(board: &Arc<Board>, config: AdminConfig) -> io::Result<()> {
    // Blocking threads read files with keys and tokens.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(2)
        .thread_name(BLOCKING_THREADS_NAME)
        .thread_keep_alive(BLOCKING_THREADS_STAY)
        .on_thread_start(yield_to_events)
        .build()?;
    // The first of them.
    drop(runtime.spawn_blocking(|| ()));
    let reads = Arc::clone(board);
    let tasks = LocalSet::new();
    tasks.spawn_local(async move { reads.tokens.read(&reads.outbox).await });
    tasks.block_on(&runtime, listen::serve(Arc::clone(board), config));
    Ok(())
}
