//! Any events, written by pg_sse and read by an independent parser, are the events that were written.
#![no_main]

mod chunked;
mod whatwg;

use arbitrary::Arbitrary;
use chunked::Body;
use libfuzzer_sys::fuzz_target;
use sse_proto::place::Place;
use sse_proto::sse::{self, EventId, GapReason};
use std::time::Duration;
use whatwg::{Event, Parsed};

#[derive(Arbitrary, Debug)]
enum Part<'a> {
    Event { id: Id, name: Option<&'a str>, data: &'a str },
    Ready { id: Id, retry: Duration },
    Gap { id: Id, missed: Option<u64> },
    Comment { text: &'a str },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Id {
    Memory { epoch: u64, sequence: u64 },
    Log { timeline: u32, lsn: u64, index: u32 },
    MarkedLog { timeline: u32, lsn: u64, index: u32 },
}

impl Id {
    fn written(self) -> EventId {
        match self {
            Self::Memory { epoch, sequence } => EventId::new(epoch, sequence),
            Self::Log { timeline, lsn, index } => EventId::at(Place::new(timeline, lsn, index)),
            Self::MarkedLog { timeline, lsn, index } => {
                EventId::at(Place::new(timeline, lsn, index)).marked()
            }
        }
    }
}

fuzz_target!(|parts: Vec<Part<'_>>| {
    let (mut stream, mut chunked) = (Vec::new(), Vec::new());
    let mut expected = Parsed::default();
    for part in &parts {
        let before = stream.len();
        match *part {
            Part::Event { id, name, data } => {
                let id = id.written();
                assert_eq!(EventId::parse(&id.to_string()), Some(id));
                sse::append_event(&mut stream, id, name, data);
                assert_eq!(stream.len() - before, sse::event_len(id, name, data));
                expected.events.push(Event {
                    name: expected_name(name),
                    data: data.replace("\r\n", "\n").replace('\r', "\n"),
                    last_event_id: id.to_string(),
                });
                let chunk = chunked.len();
                sse::append_chunked_event(&mut chunked, id, name, data);
                assert_eq!(chunked.len() - chunk, sse::chunked_event_len(id, name, data));
                assert_eq!(sse::chunk_payload(&chunked[chunk..]), &stream[before..]);
                continue;
            }
            Part::Ready { id, retry } => {
                let id = id.written();
                sse::append_ready(&mut stream, id, retry);
                expected.retry = Some(retry.as_millis());
                expected.events.push(event("sse.ready", "{}", id));
            }
            Part::Gap { id, missed } => {
                let id = id.written();
                sse::append_gap(&mut stream, id, GapReason::Overflow, missed);
                expected.events.push(event("sse.gap", &sse::gap_data(GapReason::Overflow, missed), id));
            }
            Part::Comment { text } => {
                sse::append_comment(&mut stream, text);
                expected.comments += lines(text);
            }
        }
        sse::append_chunk(&mut chunked, &stream[before..]);
    }
    chunked.extend_from_slice(sse::LAST_CHUNK);

    assert!(!stream.contains(&b'\r'), "line ends are LF");
    assert_eq!(whatwg::parse(&stream), expected);
    assert_eq!(chunked::decode(&chunked), Body { bytes: stream, is_whole: true, has_ended: true });
});

fn event(name: &str, data: &str, id: EventId) -> Event {
    Event { name: name.to_owned(), data: data.to_owned(), last_event_id: id.to_string() }
}

/// Names come from `EventName`, which has no control characters; others must at least stay within their line.
fn expected_name(name: Option<&str>) -> String {
    let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    match name {
        None | Some("") => "message".to_owned(),
        Some(name) => name.chars().map(shown).collect(),
    }
}

fn lines(text: &str) -> usize {
    text.replace("\r\n", "\n").replace('\r', "\n").split('\n').count()
}
