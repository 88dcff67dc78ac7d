//! A gateway whose events come from the write-ahead log; the test is the log's reader.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use sse_gateway::{Config, Settings};
use sse_proto::place::{History, Place, Span};
use sse_proto::record::{LogLoss, Record, append_placed};

use super::peer::{Event, Stream};
use super::{TestGateway, config, raise, settings};

/// On the first timeline.
pub fn at(lsn: u64, index: u32) -> Place {
    Place::new(1, lsn, index)
}

/// The id of this place on the first timeline.
pub fn id(lsn: u64, index: u32) -> String {
    id_on(1, lsn, index)
}

pub fn id_on(timeline: u32, lsn: u64, index: u32) -> String {
    format!("w{timeline:x}-{lsn:x}-{index:x}")
}

/// Timelines, the present one first: each with where it begins. The end of one is the beginning of the next.
pub fn history(timelines: &[(u32, u64)]) -> History {
    let mut end = u64::MAX;
    let spans = timelines.iter().map(|&(timeline, begin)| {
        let span = Span { timeline, begin, end };
        end = begin;
        span
    });
    History::new(spans.collect()).unwrap()
}

pub fn placed(place: Place, record: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    append_placed(place, record, &mut bytes).unwrap();
    bytes
}

/// What a stream gets that has missed something.
pub fn gap(reason: &str, id: String) -> Event {
    let data = format!("{{\"reason\": \"{reason}\", \"missed\": null}}");
    Event { name: "sse.gap".to_owned(), data, id }
}

/// What is told first.
pub fn ready(id: String) -> Event {
    Event { name: "sse.ready".to_owned(), data: "{}".to_owned(), id }
}

pub struct PlacedGateway {
    pub gateway: TestGateway,
    /// Up to where the gateway knows the log to be written.
    pub log_end: &'static AtomicU64,
}

impl Deref for PlacedGateway {
    type Target = TestGateway;

    fn deref(&self) -> &TestGateway {
        &self.gateway
    }
}

impl PlacedGateway {
    /// It has read its log back, from this position on, in which nothing is.
    pub fn new(begin: u64) -> Self {
        Self::with(begin, settings())
    }

    pub fn with(begin: u64, settings: Settings) -> Self {
        let gateway = Self::over(|config| TestGateway::configured(config, settings));
        gateway.tell(&[(1, 0)], begin, true);
        gateway
    }

    /// One that knows nothing of its log yet.
    pub fn over(start: impl FnOnce(Config) -> TestGateway) -> Self {
        let log_end: &'static AtomicU64 = Box::leak(Box::default());
        let gateway = start(Config { threads: 2, log_end: Some(log_end), ..config() });
        Self { gateway, log_end }
    }

    /// What the log is ([`history`]), and from where on it is read.
    pub fn tell(&self, timelines: &[(u32, u64)], begin: u64, caught_up: bool) {
        let (history, begin) = (history(timelines), Place::behind(1, begin));
        let record = Record::LogState { history, begin, caught_up }.encode().unwrap();
        self.publish_batch(|batch| batch.push_record(&record));
    }

    pub fn knows(&self, end: u64) {
        self.log_end.store(end, Ordering::Relaxed);
    }

    /// An event for all, at this place.
    pub fn say_at(&self, place: Place, data: &str) {
        self.tell_at(place, &raise(data).record());
    }

    pub fn tell_at(&self, place: Place, record: &[u8]) {
        self.publish_batch(|batch| batch.push_record(&placed(place, record)));
    }

    pub fn lose(&self, loss: LogLoss, place: Place) {
        let record = Record::LogGap { loss, place }.encode().unwrap();
        self.publish_batch(|batch| batch.push_record(&record));
    }

    /// Comes with this id, which is good.
    pub fn resume(&self, id: &str) -> Stream {
        self.resume_at("/api/events/info", id)
    }

    pub fn resume_at(&self, target: &str, id: &str) -> Stream {
        let mut stream = Stream::get(self.port(), target, &format!("Last-Event-ID: {id}\r\n"));
        assert_eq!(stream.next(), ready(id.to_owned()));
        stream
    }
}
