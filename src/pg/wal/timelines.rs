//! The timelines that lead to the one of this server, and which position belongs to which (timeline.c).
//!
//! Read from the file of history itself, as pg_rewind does: Postgres' own function for it may raise an error,
//! and asks the archive only in the startup process.
//!
//! Not for: which timeline the server is on (`log_end.rs`).

use std::path::Path;
use std::{fs, io};

use sse_proto::place::{History, Span};

use super::layout::Layout;

/// Reads those that lead to this one. Without a file of history it has no parents, as far as anybody knows.
///
/// # Errors
/// The file cannot be read, or is not what Postgres writes.
pub(crate) fn read(data_directory: &Path, current: u32) -> io::Result<History> {
    let path = data_directory.join("pg_wal").join(format!("{current:08X}.history"));
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    parse(&text, current).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// The file has a line for each that has ended, the oldest first: its number, its end, and why.
fn parse(text: &str, current: u32) -> Option<History> {
    let mut spans = Vec::new();
    let mut begin = 0;
    for line in text.lines().map(str::trim_start) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        let timeline = words.next()?.parse().ok()?;
        let (high, low) = words.next()?.split_once('/')?;
        let (high, low) = (u32::from_str_radix(high, 16).ok()?, u32::from_str_radix(low, 16).ok()?);
        let end = u64::from(high) << 32 | u64::from(low);
        spans.push(Span { timeline, begin, end });
        begin = end;
    }
    spans.push(Span { timeline: current, begin, end: u64::MAX });
    if !spans.is_sorted_by(|one, next| one.timeline < next.timeline && one.end <= next.end) {
        return None;
    }
    spans.reverse();
    History::new(spans)
}

/// The timeline in whose file a segment is read. The segment of a switch is copied into the new timeline, and
/// the old file may go.
pub(super) fn of_file(history: &History, layout: Layout, segment: u64) -> u32 {
    history.timeline_at(layout.start(segment.saturating_add(1)).saturating_sub(1))
}
