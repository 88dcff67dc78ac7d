//! Reads pages of the write-ahead log out of their files.
//!
//! Not by Postgres' `WALRead`, whose way to open a segment raises an error when the segment has gone: that is
//! nothing extraordinary here. So nothing in this file calls Postgres, and it runs within its reader.
//!
//! Not for: what the pages contain (`log_reader.rs`).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::layout::{Layout, PAGE_BYTES};
use super::timelines;
use sse_proto::place::History;

/// As much as is read at once: fewer system calls than one for each page, with which reading takes 3 % more.
const READ_BYTES: u64 = 128 << 10;

/// Why a page could not be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    /// It is not there (yet).
    Beyond,
    /// Its file has been removed or recycled, or is not there yet.
    NoFile,
    /// It cannot be read.
    Failed(io::ErrorKind),
}

/// See the head of this file.
pub(super) struct WalFiles {
    directory: PathBuf,
    layout: Layout,
    history: History,
    /// How far the log is valid.
    end: u64,
    open: Option<Segment>,
    buffer: Vec<u8>,
    /// The position of the first byte of the buffer.
    buffered_at: u64,
}

struct Segment {
    number: u64,
    timeline: u32,
    file: File,
}

impl WalFiles {
    pub(super) fn new(data_directory: &Path, layout: Layout, history: History) -> Self {
        Self {
            directory: data_directory.join("pg_wal"),
            layout,
            history,
            end: 0,
            open: None,
            buffer: Vec::new(),
            buffered_at: 0,
        }
    }

    /// Says how far the log is valid.
    pub(super) fn set_end(&mut self, end: u64) {
        self.end = end;
    }

    pub(super) fn set_history(&mut self, history: History) {
        self.history = history;
        self.forget();
    }

    /// Whatever was opened or read is looked for anew.
    pub(super) fn forget(&mut self) {
        self.open = None;
        self.buffer.clear();
    }

    /// Copies what is valid of the page at `page` into `out`, which is as long as a page; at least `needed`
    /// bytes. Returns how many there are, and the timeline of their file.
    ///
    /// # Errors
    /// [`Trouble`].
    pub(super) fn read(&mut self, page: u64, needed: u64, out: &mut [u8]) -> Result<(usize, u32), Trouble> {
        let valid = self.end.saturating_sub(page).min(PAGE_BYTES);
        if valid < needed || valid == 0 {
            return Err(Trouble::Beyond);
        }
        let valid = usize::try_from(valid).unwrap_or(0);
        if self.buffered(page, valid).is_none() {
            self.fill(page)?;
        }
        let timeline = self.open.as_ref().map_or(0, |segment| segment.timeline);
        let found = self.buffered(page, valid).ok_or(Trouble::NoFile)?;
        let Some(out) = out.get_mut(..valid) else { return Err(Trouble::Beyond) };
        out.copy_from_slice(found);
        Ok((valid, timeline))
    }

    fn buffered(&self, page: u64, bytes: usize) -> Option<&[u8]> {
        let start = usize::try_from(page.checked_sub(self.buffered_at)?).ok()?;
        self.buffer.get(start..start.checked_add(bytes)?)
    }

    /// Reads from this page on, within its segment and up to the end.
    fn fill(&mut self, page: u64) -> Result<(), Trouble> {
        self.buffer.clear();
        let number = self.layout.segment(page);
        self.open(number)?;
        let Some(segment) = &self.open else { return Err(Trouble::NoFile) };
        let end_of_segment = self.layout.start(number + 1);
        let bytes = self.end.min(end_of_segment).min(page + READ_BYTES).saturating_sub(page);
        self.buffer.resize(usize::try_from(bytes).unwrap_or(0), 0);
        self.buffered_at = page;
        let offset = page - self.layout.start(number);
        segment.file.read_exact_at(&mut self.buffer, offset).map_err(|error| {
            self.buffer.clear();
            Trouble::Failed(error.kind())
        })
    }

    fn open(&mut self, number: u64) -> Result<(), Trouble> {
        let timeline = timelines::of_file(&self.history, self.layout, number);
        if self.open.as_ref().is_some_and(|open| open.number == number && open.timeline == timeline) {
            return Ok(());
        }
        self.open = None;
        let name = self.layout.file_name(timeline, number);
        let file = File::open(self.directory.join(name)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Trouble::NoFile,
            kind => Trouble::Failed(kind),
        })?;
        self.open = Some(Segment { number, timeline, file });
        Ok(())
    }

    /// The oldest segment of our timelines that is still there, from this one on.
    pub(super) fn oldest(&self, from: u64) -> Option<u64> {
        let entries = fs::read_dir(&self.directory).ok()?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names
            .filter_map(|name| {
                let number = self.layout.segment_of_file(&name)?;
                // Recycled ones have names of segments that do not exist yet.
                let is_ours = name
                    == self.layout.file_name(timelines::of_file(&self.history, self.layout, number), number);
                (is_ours && number >= from && self.layout.start(number) < self.end).then_some(number)
            })
            .min()
    }
}
