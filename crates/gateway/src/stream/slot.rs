//! One subscriber in the slab: its socket, its cursor, and the few bytes that it alone gets.
//!
//! Not for choosing which slot to serve: that is `slab`.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::SystemTime;

use sse_proto::sse::{LAST_CHUNK, append_chunk};

use crate::entry::admission::{OpenSocket, StreamPermit};
use crate::stream::posting::Member;
use crate::stream::ready::Ready;
use crate::stream::stream_log::{Cursor, Framing, Run, StreamLog};
use crate::stream::subscribe::Subscription;
use crate::stream::wire::Wire;

mod follow;
mod info;
mod last;
mod mail;
mod opening;
mod waker;
mod window;
mod write;

use follow::{Ahead, Follower};
use last::Last;
use mail::Mail;
pub(crate) use opening::Opening;
pub(crate) use waker::SlotWaker;
use write::Piece;

/// Bytes that a peer may send after its request before it is disconnected. No browser sends any.
pub(crate) const MAX_JUNK_BYTES: u32 = 64 << 10;

/// Writes to one subscriber before the next one gets its turn; a subscriber that lags far behind goes on
/// after the others.
const MAX_WRITES_PER_VISIT: usize = 4;

/// What is kept for a subscriber that was in the middle of an event when the event left the window. With more
/// left it is disconnected: ten thousand stalled subscribers must not hold ten thousand copies of a large
/// event.
const MAX_REST_BYTES: usize = 16 << 10;

/// What a visit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visit {
    /// Nothing left to write.
    Live,
    /// The socket takes no more; its waker is armed.
    Blocked,
    /// There is more to write, and the socket may take it.
    Lagging,
    /// It is to be freed: the peer has hung up or its socket has failed, it has sent more than
    /// [`MAX_JUNK_BYTES`], or the stream was ended and everything is sent.
    Closed,
}

/// Counted here and added to the shared counters once per round.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) deliveries: u64,
    pub(crate) bytes: u64,
    pub(crate) gaps: u64,
    pub(crate) junk: u64,
    pub(crate) write_timeouts: u64,
    pub(crate) asked: u64,
    pub(crate) woken: u64,
    /// Items that a stream did not get because its snapshot has seen them.
    pub(crate) covered: u64,
}

/// How far a stream's end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It goes on.
    No,
    /// It gets everything up to the head, then its end.
    WhenCaughtUp,
    /// It gets the rest of what it is in the middle of, then its end, and nothing more from the log.
    AfterRest,
    /// `pending` holds the last bytes that it will ever get.
    Said,
}

pub(crate) struct Slot {
    /// Where the stream goes on. Stale while the slot has caught up.
    cursor: Cursor,
    /// It has got everything that it was told of ([`Slot::refresh`]).
    has_caught_up: bool,
    /// Armed for writing: the walk leaves it alone until its waker says otherwise.
    is_blocked: bool,
    /// Has taken nothing since `progress_at`.
    has_stalled: bool,
    end: End,
    framing: Framing,
    /// When it last took a byte, or was first found to take none (the slab's milliseconds).
    progress_at: u32,
    /// When it was last sent anything.
    sent_at: u32,
    junk_bytes: u32,
    pending_written: u32,
    /// Bytes that come before what the cursor points at: the head of the answer, `sse.ready`, a gap, a
    /// heartbeat, the rest of an evicted event. Empty and without memory most of the time.
    pending: Vec<u8>,
    /// Bytes from elsewhere, and whether it is held.
    mail: Option<Box<Mail>>,
    /// The stream is the answer of a call, whose last event is still to come or not written yet.
    last: Option<Last>,
    /// Of a stream with a snapshot.
    follower: Option<Box<Follower>>,
    /// Of a stream that is woken by something else than its own socket.
    waker: Option<Arc<SlotWaker>>,
    wire: Wire,
    /// What it asked for and who it is.
    pub(crate) subscription: Subscription,
    connected_at: SystemTime,
    /// What another rule of its route brings comes after this item.
    pub(crate) floor: u64,
    pub(crate) events: u64,
    bytes: u64,
    /// Both are counted down when the slot is dropped, however that comes.
    stream_permit: StreamPermit,
    /// `None`: the connection is not its own.
    _open_socket: Option<OpenSocket>,
}

impl Slot {
    /// Writes until nothing is left, the socket takes no more, or the slot has had its turn. `member` is
    /// `None` for a slot that gets nothing more from the log. Long because it is one list of what may go out
    /// next, the more urgent first.
    pub(crate) fn visit(
        &mut self,
        log: &StreamLog,
        member: Option<&Member>,
        now: u32,
        tally: &mut Tally,
    ) -> Visit {
        for _ in 0..MAX_WRITES_PER_VISIT {
            let outcome = if self.wire.has_unsent() {
                self.wire.try_send_some().map(|()| 0)
            } else if !self.pending.is_empty() {
                self.write_pending()
            } else if self.has_begun_last() {
                self.queue_last(log);
                continue;
            } else if self.has_open_parcel() {
                self.write_parcel()
            } else if self.open_parcel() {
                continue;
            } else if self.has_more_than_the_log() && self.cursor.written > 0 && !self.is_live() {
                self.write_rest(log, tally)
            } else if self.is_held() {
                if self.end == End::No {
                    return Visit::Live;
                }
                // What it is held for does not come any more.
                self.forget_mail();
                self.end = End::AfterRest;
                continue;
            } else if let Some(member) = member.filter(|_| !self.is_live()) {
                let Ahead::Clear(stop) = self.look_ahead(log, member, tally) else { continue };
                match log.run_before(self.cursor, member, self.framing, stop) {
                    Run::Bytes { bytes, from, end } => {
                        self.write_run(log, member, Piece { bytes, from, end }, stop, tally)
                    }
                    Run::CaughtUp(cursor) => {
                        self.cursor = cursor;
                        self.has_caught_up = stop > log.head();
                        continue;
                    }
                    Run::FellOut => {
                        self.fall_out(log, member, tally);
                        continue;
                    }
                    Run::Paused(cursor) => {
                        self.cursor = cursor;
                        continue;
                    }
                }
            } else if self.begin_last(now) {
                continue;
            } else if self.end == End::No || self.awaits_last() {
                return Visit::Live;
            } else if self.framing == Framing::Bare || self.end == End::Said {
                match self.wire.try_finish() {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Err(error),
                    _ => return Visit::Closed,
                }
            } else {
                self.pending.extend_from_slice(LAST_CHUNK);
                self.end = End::Said;
                continue;
            };
            match outcome {
                Ok(n) => {
                    tally.bytes += n as u64;
                    self.bytes += n as u64;
                    self.has_stalled = false;
                    self.progress_at = now;
                    self.sent_at = now;
                    if self.end == End::Said && self.pending.is_empty() && self.wire.is_finished() {
                        return Visit::Closed;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => match self.arm_write(now) {
                    Visit::Lagging => {}
                    visit => return visit,
                },
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Visit::Closed,
            }
        }
        Visit::Lagging
    }

    /// Takes note of what its socket is ready for, or of a wake: reads and throws away what the peer sends,
    /// and finds out whether the socket takes bytes. `None` while it is still blocked.
    pub(crate) fn wake(&mut self, ready: Ready, scratch: &mut [u8], tally: &mut Tally) -> Option<Visit> {
        // Before looking: a wake that comes while we look must be queued again.
        if let Some(waker) = &self.waker {
            waker.taken();
        }
        let waker = self.waker();
        while ready.to_read || self.waker.is_some() {
            match self.wire.try_discard(scratch, &waker) {
                // A peer that closes its half is gone: no EventSource does that and reads on.
                Ok(0) => return Some(Visit::Closed),
                Ok(n) => {
                    self.junk_bytes = self.junk_bytes.saturating_add(n as u32);
                    if self.junk_bytes > MAX_JUNK_BYTES {
                        tally.junk += 1;
                        return Some(Visit::Closed);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Some(Visit::Closed),
            }
        }
        if self.is_blocked {
            match self.wire.has_room(ready, &waker) {
                Ok(false) => return None,
                Ok(true) => self.is_blocked = false,
                Err(_) => return Some(Visit::Closed),
            }
        }
        Some(Visit::Lagging)
    }

    /// Whether what it gets is not simply what lies in the log.
    fn has_more_than_the_log(&self) -> bool {
        self.mail.is_some() || self.follower.is_some()
    }

    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Whether it has got everything that the log has for it, or gets nothing more from there.
    pub(crate) fn is_live(&self) -> bool {
        self.has_caught_up || self.end == End::AfterRest
    }

    /// Whether it has got everything up to this item, which is the newest.
    pub(crate) fn has_got(&self, head: u64) -> bool {
        self.has_caught_up && self.cursor.next > head
    }

    /// Everything up to this item was sent, or is not for it.
    pub(crate) fn position(&self) -> u64 {
        self.cursor.next.saturating_sub(1)
    }

    /// The same, and it may be in the middle of this item.
    pub(crate) fn reached(&self) -> u64 {
        if self.cursor.written > 0 { self.cursor.next } else { self.position() }
    }

    /// There are new items for it, `first` being the oldest that came in this round.
    pub(crate) fn refresh(&mut self, first: u64) {
        if std::mem::replace(&mut self.has_caught_up, false) {
            self.cursor = self.cursor.refreshed(first);
        }
    }

    /// There is an item for it that the public lane does not bring it.
    pub(crate) fn expect(&mut self, sequence: u64, first: u64) {
        self.refresh(first);
        self.cursor.expect(sequence);
    }

    /// Whether it has taken nothing for `timeout` although there was something, and nobody has seen that yet.
    pub(crate) fn is_stalled(&self, now: u32, timeout: u32) -> bool {
        self.has_stalled && now.wrapping_sub(self.progress_at) >= timeout && !self.wire.is_cut_off()
    }

    /// Queues a heartbeat if nothing was sent for `interval`, and says whether it did.
    pub(crate) fn beat(&mut self, now: u32, interval: u32) -> bool {
        let idle = now.wrapping_sub(self.sent_at) >= interval;
        if !idle
            || self.is_blocked
            || self.end != End::No
            || !self.pending.is_empty()
            || self.has_open_parcel()
            || self.cursor.written > 0
            || self.has_begun_last()
        {
            return false;
        }
        self.sent_at = now;
        self.queue(b":\n\n");
        true
    }

    /// From now on the stream gets everything up to the head, then a clean end.
    pub(crate) fn end(&mut self) {
        if self.end == End::No {
            self.end = End::WhenCaughtUp;
        }
    }

    /// From now on the stream gets the rest of the event that it is in the middle of, then a clean end. Says
    /// whether that is possible.
    pub(crate) fn finish(&mut self, log: &StreamLog) -> bool {
        if self.end == End::Said {
            return true;
        }
        if !self.is_live() && !self.keep_rest(log) || !self.forget_last() {
            return false;
        }
        self.forget_mail();
        self.end = End::AfterRest;
        true
    }

    /// Whether [`Slot::finish`] is possible now for a stream that is not the answer of a call.
    pub(crate) fn can_finish(&self, log: &StreamLog) -> bool {
        self.is_live() || self.can_keep_rest(log)
    }

    /// The same, with this as its last block.
    pub(crate) fn finish_saying(&mut self, log: &StreamLog, block: &[u8], now: u32) -> bool {
        if self.is_ending() || !self.finish(log) {
            return self.is_ending();
        }
        if !block.is_empty() {
            self.give_last(block, now);
        }
        true
    }

    /// Whether nothing comes any more but what it is in the middle of.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.end, End::AfterRest | End::Said)
    }

    /// Closes with a reset, so that the kernel drops at once what the peer never took.
    pub(crate) fn reset(&self) {
        // A failure leaves an ordinary close.
        let _ = self.wire.reset_on_close();
    }

    fn queue(&mut self, block: &[u8]) {
        match self.framing {
            Framing::Chunked => append_chunk(&mut self.pending, block),
            Framing::Bare => self.pending.extend_from_slice(block),
        }
    }

    /// Asks to be woken when the socket takes more. `Visit::Lagging` when it does so already.
    fn arm_write(&mut self, now: u32) -> Visit {
        if !self.has_stalled {
            self.has_stalled = true;
            self.progress_at = now;
        }
        match self.wire.has_room(Ready::default(), &self.waker()) {
            Ok(false) => {
                self.is_blocked = true;
                Visit::Blocked
            }
            Ok(true) => Visit::Lagging,
            Err(_) => Visit::Closed,
        }
    }
}
