//! Where to begin reading the log after a restart: a small file in the data directory with *starts*, each a
//! safe start, the position from which on everything is complete for who reads from there, and when it was
//! found (`pg/wal/words.rs` says what is safe about it).
//!
//! Written at most once a second, never flushed: after a crash of the machine it is older, or missing, and
//! then more is read; without it, all that is there. It speaks of the log alone, so it is as right in a base
//! backup and after pg_rewind.
//!
//! Not for: finding starts (`marks.rs`).

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

const FILE_NAME: &str = "pg_sse.starts";
const NEW_FILE_NAME: &str = "pg_sse.starts.new";

/// In front of the rest, so that another version that writes something else is not misunderstood.
const FIRST_LINE: &str = "pg_sse starts 1";

/// As many starts are kept. Beyond it every other one of the older half goes: then a little more than the
/// window is read.
const MOST: usize = 256;

/// The file is not read beyond this: it was not written by us.
const MOST_BYTES: u64 = 64 << 10;

/// See the head of this file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Start {
    /// Where to begin.
    pub start: u64,
    /// All events with a later position than this are then found.
    pub complete: u64,
    /// No event lies between this place (position and index) and `complete`: the last event, as far as that
    /// is known. So who has everything up to here has missed nothing, however long ago that was.
    pub nothing_since: (u64, u32),
    /// When this was found, in seconds since 1970.
    pub found_at: u64,
}

/// The starts of this server, the oldest first.
pub(super) struct Starts {
    directory: PathBuf,
    all: Vec<Start>,
    /// The oldest one was found in this life of the reader: the file had none of this log.
    has_lost: bool,
}

impl Starts {
    /// Those of the file; none if it is missing or damaged.
    pub(super) fn read(data_directory: &Path) -> Self {
        let path = data_directory.join(FILE_NAME);
        let is_small = fs::metadata(&path).is_ok_and(|metadata| metadata.len() <= MOST_BYTES);
        let text = if is_small { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
        let all = parse(&text).unwrap_or_default();
        Self { directory: data_directory.to_owned(), all, has_lost: false }
    }

    /// Adds one, and writes the file.
    ///
    /// # Errors
    /// The file cannot be written; the one that was there stays.
    pub(super) fn add(&mut self, start: Start) -> io::Result<()> {
        // After pg_rewind or a promotion, those behind the new one speak of something that never was.
        self.all.retain(|other| other.complete < start.complete);
        self.has_lost |= self.all.is_empty();
        self.all.push(start);
        if self.all.len() > MOST {
            let mut number = 0;
            self.all.retain(|_| {
                number += 1;
                number > MOST / 2 || number % 2 == 1
            });
        }
        self.write()
    }

    /// The start for a window that goes back this long, in a log that ends here: the newest that is old
    /// enough, or else the oldest. `None`: what came before the oldest is not known.
    pub(super) fn for_window(&self, now: u64, age: Duration, end: u64) -> Option<Start> {
        let since = now.saturating_sub(age.as_secs().saturating_add(1));
        let mut of_this_log = self.all.iter().filter(|start| start.complete <= end);
        let oldest = of_this_log.next()?;
        if self.has_lost && oldest.found_at > since {
            return None;
        }
        Some(*of_this_log.take_while(|start| start.found_at <= since).last().unwrap_or(oldest))
    }

    /// The newest start for who has everything up to this position.
    pub(super) fn for_rest(&self, position: u64) -> Option<Start> {
        self.all.iter().rev().find(|start| start.complete <= position).copied()
    }

    fn write(&self) -> io::Result<()> {
        let mut text = format!("{FIRST_LINE}\n");
        for start in &self.all {
            let Start { start, complete, nothing_since: (position, index), found_at } = start;
            text += &format!("{start:x} {complete:x} {position:x} {index:x} {found_at}\n");
        }
        let new = self.directory.join(NEW_FILE_NAME);
        fs::File::create(&new)?.write_all(text.as_bytes())?;
        fs::rename(new, self.directory.join(FILE_NAME))
    }
}

fn parse(text: &str) -> Option<Vec<Start>> {
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return None;
    }
    let all: Vec<Start> = lines.map(line).collect::<Option<_>>()?;
    let is_sorted = all.is_sorted_by(|one, next| one.complete < next.complete);
    (is_sorted && all.iter().all(|start| start.start.max(start.nothing_since.0) <= start.complete))
        .then_some(all)
}

fn line(line: &str) -> Option<Start> {
    let mut words = line.split(' ');
    let start = u64::from_str_radix(words.next()?, 16).ok()?;
    let complete = u64::from_str_radix(words.next()?, 16).ok()?;
    let position = u64::from_str_radix(words.next()?, 16).ok()?;
    let nothing_since = (position, u32::from_str_radix(words.next()?, 16).ok()?);
    let found_at = words.next()?.parse().ok()?;
    words.next().is_none().then_some(Start { start, complete, nothing_since, found_at })
}
