//! `sse.subscribers`: who is listening, as the gateway knows it.
//!
//! A backend raises a number in shared memory and wakes the gateway; the gateway writes the list into a file
//! of `pg_stat_tmp` and answers with the number. (A list of ten thousand has no place in fixed shared memory;
//! other extensions keep their statistics in that folder, too.)
//!
//! Not for counters: `stats.rs`.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, UNIX_EPOCH};

use pgrx::prelude::*;
use serde_json::{Value, json};
use sse_gateway::{Gateway, SubscriberInfo, Subscribers};

use crate::pg::backend;
use crate::pg::shmem::{Listing as Numbers, Shared};

/// At most this many streams are in one list; the rest are left out. `sse.stat_gateway` has the number of
/// all.
const MAX_ROWS: usize = 100_000;

/// How long a backend waits for the gateway.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The gateway's side: a list that is being made.
#[derive(Default)]
pub(crate) struct Listing {
    under_way: Option<(u64, Subscribers)>,
}

impl Listing {
    /// Starts a list when one is asked for, and hands over a list that is complete.
    pub(crate) fn tend(&mut self, shared: &Shared, gateway: Option<&Gateway>) {
        let numbers = &shared.header.listing;
        if self.under_way.is_none() {
            let asked = numbers.asked.load(Acquire);
            if asked == numbers.answered.load(Relaxed) {
                return;
            }
            let Some(gateway) = gateway else { return answer(numbers, asked, &[]) };
            self.under_way = Some((asked, gateway.subscribers(MAX_ROWS)));
        }
        let Some((asked, subscribers)) = &mut self.under_way else { return };
        if let Some(rows) = subscribers.poll() {
            answer(numbers, *asked, &rows);
            self.under_way = None;
        }
    }

    /// Whether a list is being made.
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }
}

fn answer(numbers: &Numbers, asked: u64, rows: &[SubscriberInfo]) {
    let list = Value::Array(rows.iter().map(row).collect());
    if let Err(error) = write(&list.to_string()) {
        log!("pg_sse gateway: cannot write the list of subscribers: {error}");
        // Without the file the question is answered with an empty list. An old file would be answered with
        // streams that are gone.
        let _ = fs::remove_file(path());
    }
    numbers.answered.store(asked, Release);
}

fn row(subscriber: &SubscriberInfo) -> Value {
    let connected_at = subscriber.connected_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let address = match subscriber.address {
        IpAddr::V6(address) => address.to_ipv4_mapped().map_or(subscriber.address, IpAddr::V4),
        IpAddr::V4(_) => subscriber.address,
    };
    json!({
        "address": address.to_string(),
        "user_id": subscriber.user_id,
        "user_name": subscriber.user_name,
        "url": subscriber.path,
        "topics": subscriber.topics,
        "connected_at": connected_at,
        "events": subscriber.events,
        "bytes": subscriber.bytes,
        "last_event_id": subscriber.last_event_id,
    })
}

fn write(text: &str) -> io::Result<()> {
    let unfinished = path().with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&unfinished)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    fs::rename(unfinished, path())
}

/// A backend's side: asks for the list, waits for it, and returns it as a JSON array.
pub(crate) fn ask(shared: &Shared) -> String {
    let numbers = &shared.header.listing;
    let mine = numbers.asked.fetch_add(1, Release) + 1;
    shared.wake_gateway();
    let deadline = backend::Deadline::after(MAX_WAIT);
    while numbers.answered.load(Acquire) < mine {
        if deadline.has_passed() {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "could not get the list of subscribers from the gateway",
                "It may be restarting; sse.stat_gateway shows its state."
            );
        }
        backend::pause();
        pgrx::check_for_interrupts!();
    }
    fs::read_to_string(path()).unwrap_or_else(|_| "[]".to_owned())
}

fn path() -> PathBuf {
    backend::data_directory().join("pg_stat_tmp/pg_sse.subscribers")
}
