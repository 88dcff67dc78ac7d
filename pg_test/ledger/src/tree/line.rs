//! What a stream tells, line by line, small enough to keep hours of it: place, what it is, and a digest of
//! all of it.
//!
//! Not for what is right: `verdict`.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};

use cluster::http::Event;

use crate::history::{Key, Reason};
use crate::payload::Payload;

/// A place in the log, as its id says it (C10.2): the order of the stream is that of positions. The stream
/// says that ids are opaque; whoever checks the stream may look inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) lsn: u64,
    pub(super) index: u32,
    pub(super) timeline: u32,
}

impl Place {
    /// `wTIMELINE-POSITION-INDEX`, in hexadecimal.
    pub(super) fn parse(id: &str) -> Option<Self> {
        let mut parts = id.strip_prefix('w')?.split('-');
        let mut next = || u64::from_str_radix(parts.next()?, 16).ok();
        let (timeline, lsn, index) = (next()?, next()?, next()?);
        let place = Self { lsn, index: u32::try_from(index).ok()?, timeline: u32::try_from(timeline).ok()? };
        parts.next().is_none().then_some(place)
    }
}

/// Something with a place of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) at: Place,
    pub(super) what: What,
    /// Of the name and all of the data.
    pub(super) digest: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Event {
        key: Key,
        audience: usize,
        counter: Option<u64>,
    },
    /// An event above `sse.max_event_size` has left this in its place.
    TooLarge,
    /// Nothing that pg_sse or a writer makes.
    Malformed(String),
}

/// What comes on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Came {
    Line(Line),
    /// Something may be missing up to the place of its id, after which the stream goes on.
    Gap {
        at: Place,
        reason: Option<Reason>,
        told: String,
    },
}

/// What the text of something malformed is cut to.
const MAX_TOLD_CHARS: usize = 120;

impl Came {
    /// `None`: only the beginning of a stream.
    pub(super) fn of(event: &Event) -> Option<Self> {
        if event.event == "sse.ready" {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        (&event.event, &event.data).hash(&mut hasher);
        let line = |at, what| Self::Line(Line { at, what, digest: hasher.finish() });
        let Some(at) = Place::parse(&event.id) else {
            let nowhere = Place { lsn: 0, index: 0, timeline: 0 };
            return Some(line(nowhere, malformed(event)));
        };
        if event.event == "sse.gap" {
            let data: Option<serde_json::Value> = serde_json::from_str(&event.data).ok();
            let reason = data.and_then(|data| Reason::parse(data["reason"].as_str()?));
            if reason == Some(Reason::TooLarge) {
                return Some(line(at, What::TooLarge));
            }
            let told = format!("{} {}", event.id, event.data);
            return Some(Self::Gap { at, reason, told });
        }
        let payload = (event.event == "message").then(|| Payload::parse(&event.data)).flatten();
        Some(match payload {
            Some(Payload { writer, number, delivery, audience, counter }) => {
                let key = Key { writer, delivery, number };
                line(at, What::Event { key, audience, counter })
            }
            None => line(at, malformed(event)),
        })
    }
}

fn malformed(event: &Event) -> What {
    let text = format!("{} {} {:?}", event.id, event.event, event.data);
    What::Malformed(text.chars().take(MAX_TOLD_CHARS).collect())
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{:x}-{:x}-{:x}", self.timeline, self.lsn, self.index)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.at)?;
        match &self.what {
            What::Event { key, audience, counter: None } => write!(f, "{key}, audience {audience}"),
            What::Event { key, audience, counter: Some(counter) } => {
                write!(f, "{key}, audience {audience}, counter {counter}")
            }
            What::TooLarge => f.write_str("gap too_large"),
            What::Malformed(text) => write!(f, "malformed: {text}"),
        }
    }
}

impl fmt::Display for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => line.fmt(f),
            Self::Gap { told, .. } => write!(f, "gap {told}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_and_written_as_its_id() {
        let place = Place { lsn: 0x1f, index: 2, timeline: 0xa };
        assert_eq!(Place::parse("wa-1f-2"), Some(place));
        assert_eq!(place.to_string(), "wa-1f-2");
        for id in ["a-1f-2", "wa-1f", "wa-1f-2-3", "wa-1f-x"] {
            assert_eq!(Place::parse(id), None, "{id}");
        }
    }
}
