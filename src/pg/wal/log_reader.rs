//! Reads the write-ahead log, record by record, with Postgres' own reader (xlogreader.c), and passes on those
//! that concern pg_sse.
//!
//! Everything that may raise an error runs in `try_catch::run`; the pages come from `files.rs`, which calls
//! nothing of Postgres.
//!
//! Not for: what the records mean (`worker/wal_reader/`).

use std::ffi::{CStr, c_char, c_int};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::slice;

use pgrx::pg_sys;
use sse_proto::place::History;

use super::files::{Trouble, WalFiles};
use super::layout::{Layout, PAGE_BYTES};
use super::log_error;
use crate::pg::try_catch::{self, Ended};

/// Records that are passed over in one go, before interrupts are looked at: less than a millisecond of work.
const AT_ONCE: u32 = 4096;

/// rmgrlist.h
const RM_XLOG: u8 = 0;
const RM_XACT: u8 = 1;
const RM_LOGICALMSG: u8 = 21;

/// xact.h, `XLOG_XACT_OPMASK` and what it leaves.
const XACT_OPMASK: u8 = 0x70;
const XACT_COMMIT: u8 = 0x00;
const XACT_ABORT: u8 = 0x20;

/// xlogrecord.h, `XLR_INFO_MASK`: bits of `xl_info` that do not belong to the kind of record.
const INFO_MASK: u8 = 0x0f;

/// pg_control.h
const CHECKPOINT_SHUTDOWN: u8 = 0x00;
const END_OF_RECOVERY: u8 = 0x90;

// Raw, as those of `raw.rs`.
unsafe extern "C-unwind" {
    fn XLogReadRecord(
        reader: *mut pg_sys::XLogReaderState,
        message: *mut *mut c_char,
    ) -> *mut pg_sys::XLogRecord;
    fn XLogFindNextRecord(reader: *mut pg_sys::XLogReaderState, position: u64) -> u64;
    fn XLogBeginRead(reader: *mut pg_sys::XLogReaderState, position: u64);
}

/// What a record is to pg_sse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What<'r> {
    /// A logical message, of whomever.
    Message(&'r [u8]),
    /// A transaction has committed.
    Commit,
    /// A transaction has rolled back.
    Abort,
    /// No transaction that has begun before this goes on after it.
    Break,
    /// Some records that do not concern pg_sse.
    Nothing,
}

/// A record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry<'r> {
    /// See [`What`].
    pub what: What<'r>,
    /// The transaction that wrote it, 0 = none.
    pub xid: u32,
    /// Where it begins.
    pub begin: u64,
    /// Where it ends.
    pub end: u64,
}

/// Why there is no record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum NoRecord {
    /// Everything is read.
    End,
    /// Its file is not there.
    NoFile,
    /// Something is wrong with it, as this says.
    Invalid(String),
    /// Postgres has raised an error, which is logged. This reader is not to be used any more.
    Raised,
}

/// See the head of this file.
pub(crate) struct LogReader {
    state: *mut pg_sys::XLogReaderState,
    /// Made of a box, because the callback has a pointer to it, too; it is used by one of the two at a time.
    source: *mut Source,
    layout: Layout,
    /// Where the next record begins, or at the boundary before it.
    position: u64,
    /// The reader of Postgres has to be told the position.
    is_off: bool,
}

struct Source {
    files: WalFiles,
    trouble: Option<Trouble>,
}

impl LogReader {
    /// To be sent somewhere first ([`LogReader::go_to`]). `None`: there is no memory.
    pub(crate) fn new(data_directory: &Path, history: History) -> Option<Self> {
        let layout = Layout::of_server();
        let files = WalFiles::new(data_directory, layout, history);
        let source = Box::into_raw(Box::new(Source { files, trouble: None }));
        let mut routine = pg_sys::XLogReaderRoutine {
            page_read: Some(read_page),
            segment_open: Some(open_segment),
            segment_close: Some(close_segment),
        };
        let segment_bytes = c_int::try_from(layout.start(1)).unwrap_or(0);
        // SAFETY: a context that lives as long as this process; Postgres' reader lives in it.
        let top = unsafe { pg_sys::TopMemoryContext };
        // SAFETY: as above.
        unsafe { pg_sys::CurrentMemoryContext = top };
        // SAFETY: copies the routine (xlogreader.c); answers NULL without memory.
        let state =
            unsafe { pg_sys::XLogReaderAllocate(segment_bytes, null(), &raw mut routine, source.cast()) };
        let reader = Self { state, source, layout, position: 0, is_off: true };
        (!state.is_null()).then_some(reader)
    }

    /// Everything before this position may be read.
    pub(crate) fn set_end(&mut self, end: u64) {
        self.source().files.set_end(end);
    }

    /// The log goes on on another timeline.
    pub(crate) fn set_history(&mut self, history: History) {
        self.source().files.set_history(history);
        self.is_off = true;
    }

    /// Everything before this is read.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Goes on somewhere else, where a record begins.
    pub(crate) fn go_to(&mut self, position: u64) {
        self.position = position;
        self.is_off = true;
    }

    /// Where the oldest segment begins that is there, from the one of this position on.
    pub(crate) fn oldest(&mut self, from: u64) -> Option<u64> {
        let layout = self.layout;
        let segment = self.source().files.oldest(layout.segment(from))?;
        Some(layout.start(segment))
    }

    /// The first record that begins after this position, or there. `None`: there is none yet.
    pub(crate) fn find_from(&mut self, position: u64) -> Option<u64> {
        unsafe extern "C-unwind" fn run(job: *mut Find) {
            // SAFETY: `try_catch::run` passes its borrow.
            let job = unsafe { &mut *job };
            // SAFETY: the reader is alive; its callback is ours.
            job.found = unsafe { XLogFindNextRecord(job.state, job.from) };
        }
        self.source().files.forget();
        let mut job = Find { state: self.state, from: position.max(1), found: 0 };
        // SAFETY: the body has no destructors, and does not panic; `forget` follows.
        let ended = unsafe { try_catch::run(run, &mut job) };
        self.is_off = true;
        if ended == Ended::ByError {
            log_error::forget();
            return None;
        }
        (job.found != 0).then_some(job.found)
    }

    /// The next record that concerns pg_sse, or after some others [`What::Nothing`].
    ///
    /// # Errors
    /// [`NoRecord`]; the next call tries the same position again.
    pub(crate) fn next(&mut self) -> Result<Entry<'_>, NoRecord> {
        let position = self.layout.behind_header(self.position);
        let begin_at = if std::mem::take(&mut self.is_off) { position } else { 0 };
        self.source().trouble = None;
        let mut job =
            Read { state: self.state, begin_at, left: AT_ONCE, end: 0, found: null(), message: null() };
        // SAFETY: the body has no destructors, and does not panic; `forget` follows.
        let ended = unsafe { try_catch::run(read_on, &mut job) };
        if job.end != 0 {
            self.position = job.end;
        }
        if ended == Ended::ByError {
            log_error::forget();
            return Err(NoRecord::Raised);
        }
        if job.found.is_null() {
            self.is_off = true;
            return Err(self.why(job.message));
        }
        // SAFETY: what `XLogReadRecord` has returned last: valid until it is called again, and `self` is
        // borrowed until then.
        let record = unsafe { &*job.found };
        Ok(entry(record))
    }

    fn why(&mut self, message: *const c_char) -> NoRecord {
        let trouble = self.source().trouble.take();
        if trouble != Some(Trouble::Beyond) {
            // A file that was removed or recycled may still be open, or in the buffer.
            self.source().files.forget();
        }
        match trouble {
            Some(Trouble::Beyond) => NoRecord::End,
            Some(Trouble::NoFile) => NoRecord::NoFile,
            Some(Trouble::Failed(kind)) => NoRecord::Invalid(format!("it cannot be read: {kind}")),
            None if message.is_null() => NoRecord::End,
            None => {
                // SAFETY: NUL-terminated, in the buffer of the reader.
                NoRecord::Invalid(unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned())
            }
        }
    }

    fn source(&mut self) -> &mut Source {
        // SAFETY: made by `new`, freed by `drop`. Only the callback has another pointer, and it runs only
        // within calls of this type's, none of which holds this borrow.
        unsafe { &mut *self.source }
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        if !self.state.is_null() {
            // SAFETY: made by `new`, used by nobody else.
            unsafe { pg_sys::XLogReaderFree(self.state) };
        }
        // SAFETY: as above; made of a box.
        drop(unsafe { Box::from_raw(self.source) });
    }
}

struct Find {
    state: *mut pg_sys::XLogReaderState,
    from: u64,
    found: u64,
}

struct Read {
    state: *mut pg_sys::XLogReaderState,
    /// Where to begin; 0: after the last record.
    begin_at: u64,
    left: u32,
    /// The end of the last record that was read, 0 = none was.
    end: u64,
    found: *const pg_sys::DecodedXLogRecord,
    message: *const c_char,
}

unsafe extern "C-unwind" fn read_on(job: *mut Read) {
    // SAFETY: `try_catch::run` passes its borrow.
    let job = unsafe { &mut *job };
    if job.begin_at != 0 {
        // SAFETY: the reader is alive.
        unsafe { XLogBeginRead(job.state, job.begin_at) };
    }
    loop {
        let mut message = null_mut();
        // SAFETY: as above; its callback is ours.
        let record = unsafe { XLogReadRecord(job.state, &raw mut message) };
        if record.is_null() {
            job.found = null();
            job.message = message;
            return;
        }
        // SAFETY: as above.
        job.found = unsafe { (*job.state).record };
        // SAFETY: as above.
        job.end = unsafe { (*job.state).EndRecPtr };
        job.left -= 1;
        // SAFETY: just returned.
        let record = unsafe { &*record };
        if concerns(record.xl_rmid, record.xl_info) || job.left == 0 {
            return;
        }
    }
}

fn concerns(manager: u8, info: u8) -> bool {
    match manager {
        RM_LOGICALMSG => true,
        RM_XACT => matches!(info & XACT_OPMASK, XACT_COMMIT | XACT_ABORT),
        RM_XLOG => matches!(info & !INFO_MASK, CHECKPOINT_SHUTDOWN | END_OF_RECOVERY),
        _ => false,
    }
}

fn entry(record: &pg_sys::DecodedXLogRecord) -> Entry<'_> {
    let header = &record.header;
    let what = match header.xl_rmid {
        manager if !concerns(manager, header.xl_info) => What::Nothing,
        RM_LOGICALMSG if record.main_data.is_null() => What::Message(&[]),
        RM_LOGICALMSG => {
            let (data, length) = (record.main_data.cast(), record.main_data_len as usize);
            // SAFETY: as long as the reader says, and valid as long as the record is.
            What::Message(unsafe { slice::from_raw_parts(data, length) })
        }
        RM_XACT if header.xl_info & XACT_OPMASK == XACT_COMMIT => What::Commit,
        RM_XACT => What::Abort,
        _ => What::Break,
    };
    Entry { what, xid: header.xl_xid.into_inner(), begin: record.lsn, end: record.next_lsn }
}

/// Called by xlogreader.c for each page. Neither raises nor panics.
unsafe extern "C-unwind" fn read_page(
    state: *mut pg_sys::XLogReaderState,
    page: u64,
    needed: c_int,
    _record: u64,
    out: *mut c_char,
) -> c_int {
    // SAFETY: what `LogReader::new` gave it.
    let source = unsafe { (*state).private_data }.cast::<Source>();
    // SAFETY: as above; nobody else uses it meanwhile.
    let source = unsafe { &mut *source };
    // SAFETY: xlogreader.c has room for a page there.
    let out = unsafe { slice::from_raw_parts_mut(out.cast::<u8>(), PAGE_BYTES as usize) };
    match source.files.read(page, u64::try_from(needed).unwrap_or(0), out) {
        Ok((bytes, timeline)) => {
            // SAFETY: the reader's own state, which it wants to have set.
            unsafe { (*state).seg.ws_tli = timeline };
            c_int::try_from(bytes).unwrap_or(-1)
        }
        Err(trouble) => {
            source.trouble = Some(trouble);
            -1
        }
    }
}

/// Never called: `read_page` opens and closes.
unsafe extern "C-unwind" fn open_segment(_: *mut pg_sys::XLogReaderState, _: u64, _: *mut u32) {}

/// As `open_segment`.
unsafe extern "C-unwind" fn close_segment(_: *mut pg_sys::XLogReaderState) {}
