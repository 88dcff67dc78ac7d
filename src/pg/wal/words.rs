//! What backends, the reader of the write-ahead log and the courier tell each other in shared memory
//! (`sse.durability = wal`).
//!
//! A *position* is a place in the write-ahead log (XLogRecPtr); 0 is none.
//!
//! Where to begin reading, after a restart, is settled by *starts*. A backend announces the position at which
//! its first record of events can be at the earliest, before it writes that record ([`Wal::announce_start`]),
//! and takes it back when its transaction has ended ([`Wal::end`]). The lowest of them, and of the end of the
//! log, is a *safe start* ([`Wal::safe_start`]): whoever has written a record of events before it has written
//! the commit before the safe start was found. Because: if the announcement was seen, its records are not
//! before the safe start. If it was not there yet, the records come after the end of the log as it was read
//! before the search. If it was taken back, the transaction had ended.
//!
//! Not for: what is done with all that (`worker/wal_reader.rs`).

use std::sync::atomic::{
    AtomicI64, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};

use crate::pg::latch;

/// The place in the process array that stands for "no reader".
const NOBODY: u32 = u32::MAX;

unsafe extern "C-unwind" {
    // Declared here instead of called through pgrx, whose wrapper sets a jump buffer: called at commits.
    // xlog.c: takes a spinlock, does not allocate and reports no errors. Not for a server in recovery.
    safe fn GetXLogInsertRecPtr() -> u64;
}

/// The part of the shared header.
#[repr(C)]
pub(crate) struct WalWords {
    /// The reader's place in the process array or [`NOBODY`]. Written by the reader (release) when it starts
    /// and leaves, read by everybody who wakes it (acquire).
    reader_place: AtomicU32,
    /// All events with a position up to this one are in the ring. Written by the reader, release, after
    /// their push; read by the courier, acquire, before it empties the ring: so it has them then.
    read_to: AtomicU64,
    /// Somebody waits until the log is flushed up to here. Raised by backends (release), read by the reader
    /// (acquire), which alone flushes.
    flush_wanted: AtomicU64,
    /// Up to where this server knows the log to be written, by itself or by its primary. Written by the
    /// reader, read by the gateway, relaxed: a figure of its own.
    pub known_end: AtomicU64,
    /// How often a gateway has begun to listen, and has wanted to be told everything anew. Added to by the
    /// courier (release), read by the reader (acquire).
    reading_wanted: AtomicU32,
    /// The place up to which everything is in the ring, for a reader that follows on one that has left:
    /// reading, position, index. Written and read by readers alone, of which there is one at a time.
    told: [AtomicU64; 3],
    /// For the same: all that it has not told begins in the log after this position, 0 = not known.
    rest_at: AtomicU64,
    /// For the same: the last reading whose window was read back, 0 = none.
    read_back: AtomicU32,
    /// Up to here nothing is held any more, whoever reads it again: in this life of the server it was
    /// visible, and the synchronous standbys had it if there were to be any. Written and read by readers
    /// alone.
    let_go: AtomicU64,
    /// What `sse.stat_wal` shows.
    pub figures: WalFigures,
}

/// Figures of the reader for `sse.stat_wal`. Written by the reader alone, relaxed: each is one of its own.
#[repr(C)]
#[derive(Default)]
pub(crate) struct WalFigures {
    /// Process id, 0 without a reader.
    pub pid: AtomicU32,
    /// The timeline that is read.
    pub timeline: AtomicU32,
    /// Up to where the log has been read.
    pub position: AtomicU64,
    /// Up to where it could be read: flushed on a primary, replayed on a standby.
    pub end: AtomicU64,
    /// From here on everything in the window is complete; 0 = not known yet.
    pub begin: AtomicU64,
    /// 1 when it has read what was there when it started.
    pub caught_up: AtomicU32,
    /// 1 while not everything that it could read has been told.
    pub is_behind: AtomicU32,
    /// When everything was told last, microseconds since 2000-01-01 UTC; 0: never.
    pub up_to_date_at: AtomicI64,
    /// Since when a commit is held because its changes are not visible yet, microseconds as above; 0: none.
    pub held_since: AtomicI64,
    /// The process id of who commits it; 0: not known, or synchronous standbys are waited for.
    pub held_by: AtomicU32,
    /// Events handed over.
    pub events_total: AtomicU64,
    /// Marks written.
    pub marks_total: AtomicU64,
    /// Records of events that could not be read (C10.6).
    pub unreadable_total: AtomicU64,
    /// Records that only look like ours.
    pub foreign_total: AtomicU64,
    /// The oldest position that is still there.
    pub oldest: AtomicU64,
}

impl Default for WalWords {
    fn default() -> Self {
        Self {
            reader_place: AtomicU32::new(NOBODY),
            read_to: AtomicU64::new(0),
            flush_wanted: AtomicU64::new(0),
            known_end: AtomicU64::new(0),
            reading_wanted: AtomicU32::new(0),
            told: Default::default(),
            rest_at: AtomicU64::new(0),
            read_back: AtomicU32::new(0),
            let_go: AtomicU64::new(0),
            figures: WalFigures::default(),
        }
    }
}

/// The words as one process sees them. Cheap to copy.
#[derive(Clone, Copy)]
pub(crate) struct Wal {
    /// In the shared header.
    pub words: &'static WalWords,
    /// A word for each place of the process array (`ticket::places`): the start that its process has
    /// announced, 0 = none. Written by that process alone; sequentially consistent, because two sides each
    /// write and then read.
    pub starts: &'static [AtomicU64],
}

impl Wal {
    /// Whether events go through the log.
    pub(crate) fn is_on(&self) -> bool {
        super::is_on()
    }

    /// To be called before this process writes its first record of events of a transaction; not in recovery.
    /// Allocates nothing, cannot fail.
    pub(crate) fn announce_start(&self) {
        let Some(word) = self.my_start() else { return };
        if word.load(Relaxed) == 0 {
            word.store(GetXLogInsertRecPtr(), SeqCst);
            // Whoever does not find it, because it looked before this, has read an end of the log before
            // this.
            fence(SeqCst);
        }
    }

    /// Whether this process has announced a start.
    pub(crate) fn is_announced(&self) -> bool {
        self.my_start().is_some_and(|word| word.load(Relaxed) != 0)
    }

    /// This process' transaction has ended, and all of its records are written. Allocates nothing, cannot
    /// fail.
    pub(crate) fn end(&self) {
        if let Some(word) = self.my_start() {
            word.store(0, Release);
        }
    }

    /// A safe start, from the end of the log as of before this call; not in recovery.
    pub(crate) fn safe_start(&self) -> u64 {
        let end = GetXLogInsertRecPtr();
        fence(SeqCst);
        let announced = self.starts.iter().map(|word| word.load(SeqCst)).filter(|start| *start != 0);
        announced.min().map_or(end, |lowest| lowest.min(end))
    }

    /// Asks for a flush of the log up to a position: of a record whose writer did not wait for the disk, or
    /// because [`Wal::read_to`] is waited for. Allocates nothing, cannot fail; to be followed by
    /// [`Wal::wake_reader`].
    pub(crate) fn want_flush(&self, position: u64) {
        self.words.flush_wanted.fetch_max(position, Release);
    }

    /// Up to where a flush was asked for.
    pub(crate) fn flush_wanted(&self) -> u64 {
        self.words.flush_wanted.load(Acquire)
    }

    /// Wakes the reader, if there is one: there is something new in the log. Takes no lock, does not
    /// allocate, cannot fail.
    pub(crate) fn wake_reader(&self) {
        let place = self.words.reader_place.load(Acquire);
        if place != NOBODY {
            latch::wake(place);
        }
    }

    /// Says where the reader is; `None`: it leaves.
    pub(crate) fn set_reader_place(&self, place: Option<u32>) {
        self.words.reader_place.store(place.unwrap_or(NOBODY), Release);
    }

    /// All events with a position up to this one are in the ring.
    pub(crate) fn read_to(&self) -> u64 {
        self.words.read_to.load(Acquire)
    }

    /// See [`Wal::read_to`]. For the reader, which wakes the courier afterwards.
    pub(crate) fn set_read_to(&self, position: u64) {
        self.words.read_to.store(position, Release);
    }

    /// Asks the reader to tell everything anew, from a `LogState` on that is not caught up. For the courier.
    pub(crate) fn want_reading(&self) {
        self.words.reading_wanted.fetch_add(1, Release);
        self.wake_reader();
    }

    /// The number of the reading that is wanted; 0: none yet.
    pub(crate) fn reading_wanted(&self) -> u32 {
        self.words.reading_wanted.load(Acquire)
    }

    /// Up to which position and index the events of this reading are in the ring, if it was begun.
    pub(crate) fn told(&self, reading: u32) -> Option<(u64, u32)> {
        let [of, position, index] = &self.words.told;
        let index = u32::try_from(index.load(Relaxed)).unwrap_or(u32::MAX);
        (of.load(Relaxed) == u64::from(reading)).then(|| (position.load(Relaxed), index))
    }

    /// See [`Wal::told`].
    pub(crate) fn set_told(&self, reading: u32, position: u64, index: u32) {
        let [of, at, number] = &self.words.told;
        at.store(position, Relaxed);
        number.store(u64::from(index), Relaxed);
        of.store(u64::from(reading), Relaxed);
    }

    /// Where to begin for all that was not told of the reading, 0 = not known.
    pub(crate) fn rest_at(&self) -> u64 {
        self.words.rest_at.load(Relaxed)
    }

    /// See [`Wal::rest_at`].
    pub(crate) fn set_rest_at(&self, position: u64) {
        self.words.rest_at.store(position, Relaxed);
    }

    /// Whether the window of this reading was read back.
    pub(crate) fn is_read_back(&self, reading: u32) -> bool {
        self.words.read_back.load(Relaxed) == reading
    }

    /// See [`Wal::is_read_back`].
    pub(crate) fn set_read_back(&self, reading: u32) {
        self.words.read_back.store(reading, Relaxed);
    }

    /// Up to where nothing is held any more.
    pub(crate) fn let_go(&self) -> u64 {
        self.words.let_go.load(Relaxed)
    }

    /// What is at this position was not held any more.
    pub(crate) fn set_let_go(&self, position: u64) {
        self.words.let_go.fetch_max(position, Relaxed);
    }

    fn my_start(&self) -> Option<&'static AtomicU64> {
        let place = latch::my_place().and_then(|place| usize::try_from(place).ok())?;
        self.starts.get(place)
    }
}
