//! A session on a standby that looks for the row of each event, over and over while one is on its way: so
//! that it is known when an event could be told there at the earliest.
//!
//! Both ends of a look are kept. That a look did not find a row says that the row was not visible when the
//! look began; so the time over replay is counted from there, which is at most a look too much and never
//! too little.
//!
//! Not for the events themselves: `line.rs`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Statement};

use crate::marker;
use crate::publisher;

/// How long rows may take to the standby when nothing is published any more.
const PATIENCE: Duration = Duration::from_secs(120);

/// While nothing is on its way it waits to be told; this only bounds what a lost word costs.
const REST: Duration = Duration::from_millis(100);

/// When a row became visible, in microseconds of [`marker::now`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Visible {
    /// The beginning of the last look before.
    pub(super) after: u64,
    /// The end of the look that found it.
    pub(super) by: u64,
}

/// See the head of this file.
pub(super) struct Looker {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<Vec<Visible>>>,
}

struct Shared {
    /// The number after that of the last event that was sent. Written by the publisher before it sends.
    next: AtomicU64,
    /// Written when nothing is sent any more.
    is_over: AtomicBool,
}

impl Looker {
    /// Looks for the row of event `first` and all after it, with a pause between looks.
    pub(super) fn start(standby: &Path, first: u64, pause: Duration) -> Result<Self> {
        let session = Session::start(standby)?;
        ensure!(session.highest()?.is_none_or(|highest| highest < first), "rows of later events are there");
        let shared = Arc::new(Shared { next: AtomicU64::new(first), is_over: AtomicBool::new(false) });
        let told = Arc::clone(&shared);
        let thread = thread::spawn(move || look(&session, first, pause, &told));
        Ok(Self { shared, thread })
    }

    /// The events before this number are sent, or are about to be.
    pub(super) fn expect(&self, next: u64) {
        self.shared.next.store(next, SeqCst);
        self.thread.thread().unpark();
    }

    /// When each row became visible, as soon as all are.
    pub(super) fn finish(self) -> Result<Vec<Visible>> {
        self.shared.is_over.store(true, SeqCst);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_else(|_| bail!("the session that looks panicked"))
    }
}

fn look(session: &Session, first: u64, pause: Duration, shared: &Shared) -> Result<Vec<Visible>> {
    let mut visible = Vec::new();
    let mut last = marker::now();
    let mut over_at = None;
    loop {
        // In this order: what was sent before the end is looked for.
        let is_over = shared.is_over.load(SeqCst);
        let wanted = shared.next.load(SeqCst) - first;
        if visible.len() as u64 >= wanted {
            if is_over {
                return Ok(visible);
            }
            thread::park_timeout(REST);
            continue;
        }
        if is_over && over_at.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            bail!("{} of {wanted} rows have come to the standby", visible.len());
        }
        let begun = marker::now();
        let found = session.highest()?.map_or(0, |highest| (highest + 1).saturating_sub(first));
        let seen = Visible { after: last, by: marker::now() };
        visible.resize(visible.len().max(usize::try_from(found)?), seen);
        last = begun;
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
}

struct Session {
    runtime: Runtime,
    client: Client,
    statement: Statement,
}

impl Session {
    fn start(standby: &Path) -> Result<Self> {
        let (runtime, client) = publisher::connect(standby)?;
        let statement = runtime.block_on(client.prepare("select max(number) from told"))?;
        Ok(Self { runtime, client, statement })
    }

    /// The highest number among the rows.
    fn highest(&self) -> Result<Option<u64>> {
        let row = self.runtime.block_on(self.client.query_one(&self.statement, &[]))?;
        Ok(row.try_get::<_, Option<i64>>(0)?.map(u64::try_from).transpose()?)
    }
}
