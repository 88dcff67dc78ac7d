//! The honest subscriber: reads everything at once, and comes back as a browser does.
//!
//! Not for judging what it saw: `sequence`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;
use cluster::http::{Client, Event, EventStream, StreamError};
use cluster::{Clock, PATIENCE, wait_until};

use super::{Ends, publisher::LAST};
use crate::ground::Ground;
use crate::sequence::Item;

/// Its stream.
const STREAM: &str = "/api/say/info";

/// How often it looks whether the run is over.
const LOOK: Duration = Duration::from_millis(250);

/// The pause before it comes back. Browsers wait as long as `retry:` says, and recovery is to be measured
/// more closely.
const RETRY: Duration = Duration::from_millis(100);

/// Starts it, and returns when it has a stream.
pub(super) fn start(ground: &Arc<Ground>, clock: Clock, ends: Arc<Ends>) -> Result<JoinHandle<Vec<Item>>> {
    let client = ground.client.within(Duration::from_secs(5));
    wait_until(PATIENCE, "the gateway serves the honest stream", || client.events(STREAM).is_ok())?;
    let first = client.events(STREAM)?;
    let reader = Reader { client, clock, ends, items: vec![], last_id: String::new() };
    super::spawn("subscriber", move || reader.read(first))
}

struct Reader {
    client: Client,
    clock: Clock,
    ends: Arc<Ends>,
    items: Vec<Item>,
    last_id: String,
}

impl Reader {
    fn read(mut self, first: EventStream) -> Vec<Item> {
        let mut stream = Some(first);
        loop {
            if let Some(open) = stream.take() {
                self.items.push(Item::Opened { at: self.clock.now() });
                if self.follow(open) {
                    return self.items;
                }
            }
            if self.ends.waiting.load(Relaxed) {
                return self.items;
            }
            thread::sleep(RETRY);
            match self.client.events_after(STREAM, &self.last_id) {
                Ok(open) => stream = Some(open),
                Err(error) => self.close(&format!("{error:#}")),
            }
        }
    }

    /// Reads until it ends; `true` when it has seen the last event, or need not wait longer.
    fn follow(&mut self, mut stream: EventStream) -> bool {
        loop {
            match stream.next(LOOK) {
                Ok(event) if event.data == LAST => return true,
                Ok(event) => self.take(event),
                Err(StreamError::TimedOut) if self.ends.waiting.load(Relaxed) => return true,
                Err(StreamError::TimedOut) => {}
                Err(error) => {
                    self.close(&error.to_string());
                    return false;
                }
            }
            stream.forget_bytes();
        }
    }

    fn take(&mut self, event: Event) {
        let at = self.clock.now();
        if !event.id.is_empty() {
            self.last_id = event.id;
        }
        let item = match (event.event.as_str(), event.data.parse()) {
            ("sse.ready", _) => return,
            ("sse.gap", _) => Item::Gap { reason: event.data, at },
            (_, Ok(number)) => {
                self.ends.seen.fetch_add(1, Relaxed);
                Item::Event { number, at }
            }
            _ => Item::Strange { text: event.data.chars().take(100).collect(), at },
        };
        self.items.push(item);
    }

    /// The same reason several times in a row is one item.
    fn close(&mut self, why: &str) {
        let why: String = why.chars().take(200).collect();
        if !matches!(self.items.last(), Some(Item::Closed { why: last, .. }) if *last == why) {
            self.items.push(Item::Closed { why, at: self.clock.now() });
        }
    }
}
