//! `sse.subscribers`: who is listening, as the gateway knows it.
//!
//! Not for counters: `stats.rs`.

use std::net::IpAddr;
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};
use sse_gateway::{Gateway, SubscriberInfo, Subscribers};

use crate::answer_file::AnswerFile;
use crate::pg::shmem::Shared;

const FILE: AnswerFile = AnswerFile { name: "pg_sse.subscribers", what: "list of subscribers" };

/// At most this many streams are in one list; the rest are left out. `sse.stat_gateway` has the number of
/// all.
const MAX_ROWS: usize = 100_000;

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
            let Some(question) = AnswerFile::question(numbers) else { return };
            let Some(gateway) = gateway else { return FILE.answer(numbers, question, "[]") };
            self.under_way = Some((question, gateway.subscribers(MAX_ROWS)));
        }
        let Some((question, subscribers)) = &mut self.under_way else { return };
        if let Some(rows) = subscribers.poll() {
            FILE.answer(numbers, *question, &Value::Array(rows.iter().map(row).collect()).to_string());
            self.under_way = None;
        }
    }

    /// Whether a list is being made.
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }
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

/// A backend's side: the list as a JSON array.
pub(crate) fn ask(shared: &Shared) -> String {
    FILE.ask(&shared.header.listing, shared)
}
