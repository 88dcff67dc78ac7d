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
use std::ops::Range;
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

/// Where to begin for a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Window {
    /// At this start.
    From(Start),
    /// Before all starts, with all the log that is there. The oldest start in it, if there is one.
    Older(Option<Start>),
}

/// The starts of this server, the oldest first.
pub(super) struct Starts {
    directory: PathBuf,
    all: Vec<Start>,
}

impl Starts {
    /// Those of the file; none if it is missing or damaged.
    pub(super) fn read(data_directory: &Path) -> Self {
        let path = data_directory.join(FILE_NAME);
        let is_small = fs::metadata(&path).is_ok_and(|metadata| metadata.len() <= MOST_BYTES);
        let text = if is_small { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
        let all = parse(&text).unwrap_or_default();
        Self { directory: data_directory.to_owned(), all }
    }

    /// Adds one, and writes the file.
    ///
    /// # Errors
    /// The file cannot be written; the one that was there stays.
    pub(super) fn add(&mut self, start: Start) -> io::Result<()> {
        // After pg_rewind or a promotion, those after the new one speak of something that never was.
        self.all.retain(|other| other.complete < start.complete);
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

    /// For a window that goes back this long, in the log that is there: the newest start that is old enough.
    pub(super) fn for_window(&self, now: u64, age: Duration, log: Range<u64>) -> Window {
        let since = now.saturating_sub(age.as_secs().saturating_add(1));
        let is_of_this_log = |start: &&Start| log.start <= start.start && start.complete <= log.end;
        let of_this_log = self.all.iter().filter(is_of_this_log).copied();
        let old_enough = of_this_log.clone().take_while(|start| start.found_at <= since).last();
        old_enough.map_or_else(|| Window::Older(of_this_log.clone().next()), Window::From)
    }

    /// The newest start for who has everything up to this place.
    pub(super) fn for_rest(&self, told: (u64, u32)) -> Option<Start> {
        self.all.iter().rev().find(|start| start.nothing_since <= told).copied()
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
    // Of a number that is torn something is left that is a number.
    let text = text.strip_suffix('\n')?;
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
