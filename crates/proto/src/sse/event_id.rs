//! The id of a position in the stream, and its text.
//!
//! Not for what an id means to a server: that is the gateway's stream log.

use std::fmt;

use super::{append_hex, hex_digits};
use crate::place::Place;

/// Id of a position in the stream: everything up to and including it has been seen.
///
/// Opaque to subscribers (C6.4). Numbers in lower-case hex with hyphens between them, a `w` before them if it
/// is a place in the write-ahead log, and an `s` after them if it is marked: printable ASCII, so that no
/// client drops or changes it, and nothing that a URL has to encode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId {
    /// Which position.
    pub position: Position,
    /// Whether resuming from here needs a fresh snapshot: what was sent up to here is the state only together
    /// with a snapshot that has not come yet, or that has seen events which follow.
    pub is_marked: bool,
}

/// A position in the stream of one server, or of all servers of a replication tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Position {
    /// With `sse.durability = memory`.
    Memory {
        /// Which life of the gateway: ids of another one are answered by a gap.
        epoch: u64,
        /// Number of the event; 0 is the position before the first.
        sequence: u64,
    },
    /// With `sse.durability = wal`.
    Log(Place),
}

/// Stands before a place in the log. No hex digit.
const LOG: u8 = b'w';

/// Stands after a marked id.
pub(super) const MARK: u8 = b's';

impl EventId {
    /// An id of this life of a gateway that is not marked.
    pub const fn new(epoch: u64, sequence: u64) -> Self {
        Self { position: Position::Memory { epoch, sequence }, is_marked: false }
    }

    /// The id of a place in the log that is not marked.
    pub const fn at(place: Place) -> Self {
        Self { position: Position::Log(place), is_marked: false }
    }

    /// The same position, marked.
    pub const fn marked(self) -> Self {
        Self { is_marked: true, ..self }
    }

    /// Parses exactly what [`fmt::Display`] writes; `None` for everything else, other spellings of the same
    /// number included.
    pub fn parse(text: &str) -> Option<Self> {
        let unmarked = text.strip_suffix(char::from(MARK));
        let is_marked = unmarked.is_some();
        let text = unmarked.unwrap_or(text);
        let position = match text.strip_prefix(char::from(LOG)) {
            None => {
                let (epoch, sequence) = text.split_once('-')?;
                Position::Memory { epoch: parse_hex(epoch)?, sequence: parse_hex(sequence)? }
            }
            Some(place) => {
                let (timeline, position) = place.split_once('-')?;
                let (lsn, index) = position.split_once('-')?;
                let short = |text| u32::try_from(parse_hex(text)?).ok();
                Position::Log(Place::new(short(timeline)?, parse_hex(lsn)?, short(index)?))
            }
        };
        Some(Self { position, is_marked })
    }

    /// Bytes of its text.
    pub(super) fn len(self) -> usize {
        let position = match self.position {
            Position::Memory { epoch, sequence } => hex_digits(epoch) + 1 + hex_digits(sequence),
            Position::Log(Place { timeline, lsn, index }) => {
                1 + hex_digits(timeline.into()) + 1 + hex_digits(lsn) + 1 + hex_digits(index.into())
            }
        };
        position + usize::from(self.is_marked)
    }

    /// Appends its text.
    pub(super) fn append(self, out: &mut Vec<u8>) {
        match self.position {
            Position::Memory { epoch, sequence } => {
                append_hex(out, epoch);
                out.push(b'-');
                append_hex(out, sequence);
            }
            Position::Log(Place { timeline, lsn, index }) => {
                out.push(LOG);
                append_hex(out, timeline.into());
                out.push(b'-');
                append_hex(out, lsn);
                out.push(b'-');
                append_hex(out, index.into());
            }
        }
        if self.is_marked {
            out.push(MARK);
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(self.len());
        self.append(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

fn parse_hex(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        && (text == "0" || !text.starts_with('0'));
    if !canonical {
        return None;
    }
    u64::from_str_radix(text, 16).ok()
}
