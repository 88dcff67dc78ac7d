//! The event stream format (WHATWG HTML §9.2) and its HTTP/1.1 chunk framing: bytes only.
//!
//! Rules for all of it (C6.3, and the needs of the clients that were tried): LF line ends, an id on every
//! event, no block without `data:`, `retry:` inside a block that has data, printable ASCII in ids.
//!
//! Not for who gets an event or when: that is the gateway's stream log.

use std::fmt;
use std::time::Duration;

mod event_id;
mod long_event;

use event_id::MARK;
pub use event_id::{EventId, Position};
pub use long_event::LongEvent;

/// Why a subscriber should read its state anew (C6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The `Last-Event-ID` is from before a restart of the gateway, or of another `sse.durability`.
    Restarted,
    /// The `Last-Event-ID` is older than the window.
    Expired,
    /// Events were dropped because the ring was full.
    Overflow,
    /// An event was refused for its size.
    TooLarge,
    /// The subscriber read so slowly that it fell out of the window.
    Slow,
    /// The `Last-Event-ID` was never sent by this gateway.
    Unknown,
    /// There should have been a snapshot.
    Snapshot,
    /// The `Last-Event-ID` is of a tail of the log that a failover lost: the subscriber has seen what never
    /// was.
    Rewound,
    /// The log has something that this version cannot read.
    Unreadable,
}

impl GapReason {
    /// The word of C6.5.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restarted => "restarted",
            Self::Expired => "expired",
            Self::Overflow => "overflow",
            Self::TooLarge => "too_large",
            Self::Slow => "slow",
            Self::Unknown => "unknown",
            Self::Snapshot => "snapshot",
            Self::Rewound => "rewound",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Appends one event as a block, ending with the blank line.
///
/// `data` is split at CR, LF and CRLF into one `data: ` line each (WHATWG HTML §9.2.6), so a payload cannot
/// open a field. Control characters in `event` (none passes `EventName::parse`) are written as U+FFFD for the
/// same reason. Adds exactly [`event_len`] bytes and makes room for them once.
pub fn append_event(out: &mut Vec<u8>, id: EventId, event: Option<&str>, data: &str) {
    out.reserve(event_len(id, event, data));
    append_id(out, id);
    if let Some(name) = event {
        out.extend_from_slice(b"event: ");
        append_name(out, name);
        out.push(b'\n');
    }
    let mut rest = data;
    loop {
        out.extend_from_slice(b"data: ");
        let Some(end) = line_end(rest) else {
            out.extend_from_slice(rest.as_bytes());
            break;
        };
        out.extend_from_slice(&rest.as_bytes()[..end]);
        out.push(b'\n');
        let broken_by = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[end + broken_by..];
    }
    out.extend_from_slice(b"\n\n");
}

/// Number of bytes that [`append_event`] adds: what a chunk's head must say before its first byte is written.
pub fn event_len(id: EventId, event: Option<&str>, data: &str) -> usize {
    let mut len = ID.len() + id.len() + 1;
    if let Some(name) = event {
        len += b"event: ".len() + name_len(name) + 1;
    }
    len += DATA.len() + data.len() + 2;
    // Most texts are one line, which is known quickly. From the first line end on each byte is looked at: a
    // search for each line would cost more where lines are short.
    let Some(first) = line_end(data) else { return len };
    let mut before = 0;
    for byte in &data.as_bytes()[first..] {
        match (before, *byte) {
            // The second half of a line end.
            (b'\r', b'\n') => len -= 1,
            (_, b'\r' | b'\n') => len += DATA.len(),
            _ => {}
        }
        before = *byte;
    }
    len
}

/// Appends the first event of every stream: `sse.ready` with the position it starts from (C6.2).
///
/// `retry:` is inside its block, before its other fields: in a block of its own it would be an empty event to
/// several clients.
pub fn append_ready(out: &mut Vec<u8>, id: EventId, retry: Duration) {
    out.extend_from_slice(format!("retry: {}\n", retry.as_millis()).as_bytes());
    append_event(out, id, Some("sse.ready"), "{}");
}

/// Appends a gap (C6.5). `id` is the position after it; `missed` is how many events, when that is known.
pub fn append_gap(out: &mut Vec<u8>, id: EventId, reason: GapReason, missed: Option<u64>) {
    append_event(out, id, Some("sse.gap"), &gap_data(reason, missed));
}

/// The data of a gap, for [`append_chunked_event`] with the name `sse.gap`.
pub fn gap_data(reason: GapReason, missed: Option<u64>) -> String {
    let missed = missed.map_or_else(|| "null".to_owned(), |missed| missed.to_string());
    format!("{{\"reason\": \"{reason}\", \"missed\": {missed}}}")
}

/// Appends a comment and its blank line: one `:` line per line of `text`.
pub fn append_comment(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    loop {
        let end = line_end(rest);
        let line = &rest[..end.unwrap_or(rest.len())];
        out.push(b':');
        if !line.is_empty() {
            out.push(b' ');
            out.extend_from_slice(line.as_bytes());
        }
        out.push(b'\n');
        let Some(end) = end else { break };
        let broken_by = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[end + broken_by..];
    }
    out.push(b'\n');
}

/// Ends a chunked body (RFC 9112 §7.1). Nothing may follow.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends what goes before `len` bytes of a chunk. `len` must not be 0: that would end the body.
pub fn append_chunk_head(out: &mut Vec<u8>, len: usize) {
    debug_assert_ne!(len, 0, "a chunk of no bytes ends the body");
    append_hex(out, len as u64);
    out.extend_from_slice(b"\r\n");
}

/// Appends what follows the bytes of a chunk.
pub fn append_chunk_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Appends `bytes` as one chunk.
pub fn append_chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    append_chunk_head(out, bytes.len());
    out.extend_from_slice(bytes);
    append_chunk_end(out);
}

/// Appends one event as one chunk: [`chunked_event_len`] bytes, each written once.
pub fn append_chunked_event(out: &mut Vec<u8>, id: EventId, event: Option<&str>, data: &str) {
    append_chunk_head(out, event_len(id, event, data));
    append_event(out, id, event, data);
    append_chunk_end(out);
}

/// Number of bytes that [`append_chunked_event`] adds.
pub fn chunked_event_len(id: EventId, event: Option<&str>, data: &str) -> usize {
    let len = event_len(id, event, data);
    hex_digits(len as u64) + 2 + len + 2
}

/// Appends the beginning of a chunk that [`append_chunked_event`] has written, up to the end of its id, with
/// that id marked; and says how many bytes of the chunk it stands for. The rest of the chunk follows it as it
/// is. 0 and nothing for anything else.
pub fn append_marked_head(out: &mut Vec<u8>, chunk: &[u8]) -> usize {
    let lines = chunk.split_inclusive(|b| *b == b'\n').map(<[u8]>::len);
    let Some([head, id]) = lines.take(2).collect::<Vec<_>>().first_chunk().copied() else { return 0 };
    append_chunk_head(out, chunk_payload(chunk).len() + 1);
    append_marked_id(out, &chunk[head..head + id]);
    head + id
}

/// The same for an event without a chunk around it.
pub fn append_marked_id_of(out: &mut Vec<u8>, event: &[u8]) -> usize {
    let id = event.iter().position(|b| *b == b'\n').map_or(0, |end| end + 1);
    append_marked_id(out, &event[..id]);
    id
}

fn append_marked_id(out: &mut Vec<u8>, line: &[u8]) {
    let Some((end, id)) = line.split_last() else { return };
    out.extend_from_slice(id);
    out.extend_from_slice(&[MARK, *end]);
}

/// The bytes inside one chunk written by [`append_chunk`] or [`append_chunked_event`]; empty for anything
/// else.
pub fn chunk_payload(chunk: &[u8]) -> &[u8] {
    // At most 16 digits and CR come before the first LF.
    let Some(end) = chunk.iter().take(18).position(|b| *b == b'\n') else {
        return &[];
    };
    chunk.get(end + 1..chunk.len().saturating_sub(2)).unwrap_or(&[])
}

const ID: &[u8] = b"id: ";
const DATA: &[u8] = b"data: ";

fn append_id(out: &mut Vec<u8>, id: EventId) {
    out.extend_from_slice(ID);
    id.append(out);
    out.push(b'\n');
}

fn append_name(out: &mut Vec<u8>, name: &str) {
    if !name.contains(char::is_control) {
        out.extend_from_slice(name.as_bytes());
        return;
    }
    for c in name.chars() {
        let c = if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

fn name_len(name: &str) -> usize {
    let as_written =
        |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER.len_utf8() } else { c.len_utf8() };
    name.chars().map(as_written).sum()
}

/// Written by hand because it runs for every event and `format!` would allocate.
fn append_hex(out: &mut Vec<u8>, number: u64) {
    for digit in (0..hex_digits(number)).rev() {
        let nibble = (number >> (digit * 4)) & 0xf;
        out.push(b"0123456789abcdef"[nibble as usize]);
    }
}

fn hex_digits(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(4)
}

/// Most texts have none. So blocks are asked as a whole, which the compiler does with a few instructions for
/// many bytes: an eighth of those that it takes to look at one byte after the other. Rejected: memchr, which
/// is as quick, but many times slower where dependencies are built without optimisation, as for tests.
fn line_end(text: &str) -> Option<usize> {
    let (blocks, _) = text.as_bytes().as_chunks::<32>();
    let has_none = |block: &&[u8; 32]| {
        block.iter().fold(0, |found, byte| found | u8::from(*byte == b'\n') | u8::from(*byte == b'\r')) == 0
    };
    let passed = 32 * blocks.iter().take_while(has_none).count();
    let rest = &text.as_bytes()[passed..];
    rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).map(|place| passed + place)
}

#[cfg(test)]
mod tests;
