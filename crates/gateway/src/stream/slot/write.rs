//! Writing to a subscriber's socket, and where its cursor stands afterwards.
//!
//! Not for what to do when the socket takes no more: that is `Slot::visit`.

use std::io::{IoSlice, Result};

use super::{Slot, Tally};
use crate::stream::posting::Member;
use crate::stream::stream_log::{Cursor, Run, StreamLog};

/// Pieces of one write: each event of the private lane is one, and so is each run of the public lane between
/// them.
const MAX_PIECES: usize = 32;

/// One run of a write.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) from: Cursor,
    pub(super) end: Cursor,
}

impl Slot {
    pub(super) fn write_pending(&mut self) -> Result<usize> {
        let n = self.wire.try_write(self.pending.get(self.pending_written as usize..).unwrap_or(&[]))?;
        self.pending_written += n as u32;
        if self.pending_written as usize >= self.pending.len() {
            self.pending = Vec::new();
            self.pending_written = 0;
        }
        Ok(n)
    }

    /// Writes a run, and with it those that follow when it ends because another lane goes on.
    pub(super) fn write_run(
        &mut self,
        log: &StreamLog,
        member: &Member,
        first: Piece<'_>,
        stop: u64,
        tally: &mut Tally,
    ) -> Result<usize> {
        self.cursor = first.from;
        let next_piece = |before: Cursor| {
            // After the head nothing is, and it is not searched for: so it is for a stream that keeps up.
            let is_there = before.next <= log.head();
            match is_there.then(|| log.run_before(before, member, self.framing, stop)) {
                Some(Run::Bytes { bytes, from, end }) => Some(Piece { bytes, from, end }),
                _ => None,
            }
        };
        let Some(second) = next_piece(first.end) else {
            let n = self.wire.try_write(first.bytes)?;
            self.progress(log, &[first], n, tally);
            return Ok(n);
        };
        let mut pieces = [first; MAX_PIECES];
        pieces[1] = second;
        let mut count = 2;
        while count < MAX_PIECES
            && let Some(piece) = next_piece(pieces[count - 1].end)
        {
            pieces[count] = piece;
            count += 1;
        }
        let slices = pieces.map(|piece| IoSlice::new(piece.bytes));
        let n = self.wire.try_write_vectored(&slices[..count])?;
        self.progress(log, &pieces[..count], n, tally);
        Ok(n)
    }

    /// Writes what is left of the event that it is in the middle of, and nothing of those after it.
    pub(super) fn write_rest(&mut self, log: &StreamLog, tally: &mut Tally) -> Result<usize> {
        let from = self.cursor;
        let bytes = log.rest(from, self.framing);
        let n = self.wire.try_write(bytes)?;
        if n < bytes.len() {
            self.cursor.written += n as u32;
            return Ok(n);
        }
        self.cursor = from.behind();
        let events = log.events_between(from, self.cursor);
        tally.deliveries += events;
        self.events += events;
        Ok(n)
    }

    /// Moves the cursor past the `n` bytes of these pieces that were written, and says whether the slot has
    /// caught up.
    fn progress(&mut self, log: &StreamLog, pieces: &[Piece<'_>], n: usize, tally: &mut Tally) {
        let mut rest = n;
        for piece in pieces {
            let whole = rest >= piece.bytes.len();
            self.cursor = if whole { piece.end } else { log.advance(piece.from, rest, self.framing) };
            let events = log.events_between(piece.from, self.cursor);
            tally.deliveries += events;
            self.events += events;
            if !whole {
                return;
            }
            rest -= piece.bytes.len();
        }
        // What is known here, the visit need not find out by searching once more.
        self.has_caught_up = self.cursor.next > log.head();
    }
}
