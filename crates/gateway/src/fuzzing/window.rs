//! The window of recent events with subscribers that read from it, each at its own pace.
//!
//! Not for sockets: how many bytes are written at a time is the fuzzer's choice.

use std::sync::Arc;
use std::time::Duration;

use sse_proto::identity::Identity;
use sse_proto::sse::GapReason;
use sse_proto::word::{ExecutionId, Topic};

use crate::between::batch::Batch;
use crate::stream::audience::Recipient;
use crate::stream::posting::PUBLIC;
use crate::stream::stream_log::{Cursor, Framing, Run, StreamLog};
use crate::stream::subscribe::{Gap, Start};

/// A stream log and its subscribers, driven as slab and slot drive it.
pub struct Window {
    log: StreamLog,
    readers: Vec<Option<Reader>>,
}

/// Who listens, and to what.
#[derive(Debug, Clone)]
pub struct Listening {
    /// `None` = anonymous.
    pub identity: Option<Identity>,
    /// C4.5.
    pub topics: Vec<Topic>,
    /// C4.4.
    pub execution_id: Option<ExecutionId>,
    /// Without chunks.
    pub is_http_10: bool,
}

/// Where a subscriber begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// Its slot.
    pub slot: usize,
    /// Everything up to this sequence it has seen, or is told by the gap that it has not.
    pub position: u64,
    /// C6.4, with the number of events that are known to be missing.
    pub gap: Option<(GapReason, Option<u64>)>,
}

/// What reading came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All bytes that were allowed were written, and there may be more.
    More,
    /// There is nothing left for it.
    Live,
    /// What it should have got has left the window; it goes on after the newest item.
    FellOut {
        /// How many events it misses, when that is known.
        missed: Option<u64>,
    },
}

struct Reader {
    framing: Framing,
    cursor: Cursor,
    live: bool,
    /// The rest of an event that has left the window.
    pending: Vec<u8>,
}

impl Window {
    /// An empty one. The first sequence is 1.
    pub fn new(epoch: u64) -> Self {
        Self { log: StreamLog::new(epoch), readers: Vec::new() }
    }

    /// Takes in a batch at a time in milliseconds, which wraps, and tells the subscribers concerned.
    pub fn append(&mut self, batch: &Batch, now: u32) {
        let first = self.log.head() + 1;
        let appended = self.log.append(batch, now);
        if appended.has_public {
            for slot in self.log.postings.slots(PUBLIC) {
                let Some(Some(reader)) = self.readers.get_mut(*slot as usize) else { continue };
                reader.refresh(first);
            }
        }
        for sequence in first..=self.log.head() {
            for list in self.log.lists(sequence) {
                for slot in self.log.postings.slots(*list) {
                    let member = self.log.postings.member(*slot);
                    if !member.is_some_and(|member| self.log.admits(sequence, member)) {
                        continue;
                    }
                    let Some(Some(reader)) = self.readers.get_mut(*slot as usize) else { continue };
                    reader.refresh(first);
                    reader.cursor.expect(sequence);
                }
            }
        }
    }

    /// A subscriber comes, with the bytes of its `Last-Event-ID`. `published` is the newest sequence that
    /// anybody may have been sent.
    pub fn subscribe(&mut self, listening: Listening, last_event_id: &[u8], published: u64) -> Begun {
        let free = self.readers.iter().position(Option::is_none);
        let slot = free.unwrap_or_else(|| {
            self.readers.push(None);
            self.readers.len() - 1
        });
        let recipient = Recipient {
            identity: listening.identity.map(Arc::new),
            topics: Box::from(listening.topics),
            execution_id: listening.execution_id,
            call: None,
        };
        let start = Start::find(last_event_id, &self.log, published, &recipient);
        self.log.postings.join(slot as u32, recipient);
        let framing = if listening.is_http_10 { Framing::Bare } else { Framing::Chunked };
        let (cursor, pending) = (start.cursor(), Vec::new());
        self.readers[slot] = Some(Reader { framing, cursor, live: false, pending });
        let gap = start.gap.map(|Gap { reason, missed }| (reason, missed));
        Begun { slot, position: start.position, gap }
    }

    /// A subscriber goes.
    pub fn leave(&mut self, slot: usize) {
        if self.readers.get_mut(slot).and_then(Option::take).is_some() {
            self.log.postings.leave(slot as u32);
        }
    }

    /// Writes at most `max_bytes` to a subscriber.
    pub fn read(&mut self, slot: usize, max_bytes: usize, out: &mut Vec<u8>) -> Progress {
        let (Some(Some(reader)), Some(member)) =
            (self.readers.get_mut(slot), self.log.postings.member(slot as u32))
        else {
            return Progress::Live;
        };
        let mut left = max_bytes;
        let kept = left.min(reader.pending.len());
        out.extend(reader.pending.drain(..kept));
        left -= kept;
        while left > 0 && !reader.live {
            match self.log.run(reader.cursor, member, reader.framing) {
                Run::CaughtUp(cursor) => (reader.cursor, reader.live) = (cursor, true),
                Run::Paused(cursor) => reader.cursor = cursor,
                Run::FellOut => {
                    let missed = self.log.missed_since(reader.cursor.next - 1, &member.recipient);
                    reader.cursor = Cursor::before(self.log.head() + 1);
                    return Progress::FellOut { missed };
                }
                Run::Bytes { bytes, from, end } => {
                    assert!(!bytes.is_empty(), "a write of nothing would look like a closed socket");
                    let n = bytes.len().min(left);
                    out.extend_from_slice(&bytes[..n]);
                    left -= n;
                    reader.cursor =
                        if n == bytes.len() { end } else { self.log.advance(from, n, reader.framing) };
                }
            }
        }
        if reader.live && reader.pending.is_empty() { Progress::Live } else { Progress::More }
    }

    /// Drops what is too much or too old.
    pub fn evict(&mut self, now: u32, window_size: usize, window_age: Duration) {
        let sequence = self.log.eviction(now, window_size, window_age);
        if sequence <= self.log.base() {
            return;
        }
        for (slot, reader) in self.readers.iter_mut().enumerate() {
            let (Some(reader), Some(member)) = (reader, self.log.postings.member(slot as u32)) else {
                continue;
            };
            if reader.live || reader.cursor.next >= sequence || reader.cursor.next < self.log.base() {
                continue;
            }
            if reader.cursor.written > 0 {
                reader.pending.extend_from_slice(self.log.rest(reader.cursor, reader.framing));
                reader.cursor = Cursor::before(reader.cursor.next + 1);
            }
            match self.log.run(reader.cursor, member, reader.framing) {
                Run::Bytes { from, .. } => reader.cursor = from,
                Run::CaughtUp(cursor) | Run::Paused(cursor) => reader.cursor = cursor,
                Run::FellOut => {}
            }
        }
        self.log.evict_to(sequence);
    }

    /// The oldest sequence that is still there; one more than the newest when none is.
    pub fn base(&self) -> u64 {
        self.log.base()
    }

    /// The newest sequence.
    pub fn head(&self) -> u64 {
        self.log.head()
    }

    /// What the window counts itself as holding.
    pub fn bytes(&self) -> usize {
        self.log.bytes()
    }

    /// Lists of names that are kept: two when nothing is in the window and nobody listens.
    pub fn lists(&self) -> usize {
        self.log.postings.len()
    }
}

impl Reader {
    fn refresh(&mut self, first: u64) {
        if std::mem::replace(&mut self.live, false) {
            self.cursor = self.cursor.refreshed(first);
        }
    }
}
