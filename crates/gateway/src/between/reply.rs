//! An answer on its way from a call worker to its peer: its memory is counted from its first byte until the
//! last one is written or the peer has gone. Without a count, answers that nobody reads could fill any
//! memory, because a worker is free as soon as its answer has crossed the ring.
//!
//! Not for what the bytes mean (`sse_proto::call`).

use sse_proto::call::{CallAnswer, DecodeError};

use crate::room::{ANSWER_BYTES, Room};

/// With less than this left for an address its calls are not begun, because their answers would hardly fit.
pub(crate) const MIN_FREE_BYTES: usize = 64 << 10;

/// Where the answer to one call is collected, part by part.
pub struct Reply {
    bytes: Vec<u8>,
    room: Room,
    /// The answer did not fit: further parts are thrown away.
    has_overflowed: bool,
    /// A part has come.
    has_begun: bool,
}

impl Reply {
    pub(crate) fn new(room: Room) -> Self {
        Self { bytes: Vec::new(), room, has_overflowed: false, has_begun: false }
    }

    /// Takes the next bytes. When there is no room or no memory for them the whole answer is thrown away at
    /// once, and later parts as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.has_begun = true;
        if self.has_overflowed {
            return;
        }
        if !self.reserve(bytes.len()) {
            self.has_overflowed = true;
            self.bytes = Vec::new();
            self.room.shrink_to(0);
            return;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes room first, then memory: a quarter more than there is, so that a large answer is not moved with
    /// each part; or exactly what is needed, if only that is left.
    fn reserve(&mut self, more: usize) -> bool {
        let needed = self.bytes.len() + more;
        if needed <= self.bytes.capacity() {
            return true;
        }
        let generous = needed.max(self.bytes.capacity() + self.bytes.capacity() / 4);
        for capacity in [generous, needed] {
            let added = capacity - self.room.bytes().min(capacity);
            if !self.room.try_grow(added, ANSWER_BYTES) {
                continue;
            }
            if self.bytes.try_reserve_exact(capacity - self.bytes.len()).is_ok() {
                return true;
            }
            self.room.shrink_to(self.bytes.capacity());
        }
        false
    }

    /// Whether no part has come yet.
    pub fn is_empty(&self) -> bool {
        !self.has_begun
    }

    /// The answer, once its last part has been pushed. Leaves nothing here. `None`: it did not fit, and is
    /// gone.
    ///
    /// # Errors
    /// [`DecodeError`]: the bytes are no answer.
    pub fn finish(&mut self) -> Result<Option<Answered>, DecodeError> {
        self.has_begun = false;
        if std::mem::replace(&mut self.has_overflowed, false) {
            return Ok(None);
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut room = self.room.take();
        bytes.shrink_to_fit();
        room.shrink_to(bytes.capacity());
        let answer = CallAnswer::decode(bytes)?;
        Ok(Some(Answered { answer, room: Some(room) }))
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// A worker's answer, and the room that it takes.
pub struct Answered {
    pub(crate) answer: CallAnswer,
    pub(crate) room: Option<Room>,
}

impl Answered {
    /// The number of its call, as the worker gives it.
    pub fn id(&self) -> u64 {
        self.answer.id
    }
}

/// An answer whose memory is not counted.
impl From<CallAnswer> for Answered {
    fn from(answer: CallAnswer) -> Self {
        Self { answer, room: None }
    }
}

impl std::fmt::Debug for Answered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answered").field("id", &self.answer.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::room::{FRAME_BYTES, MAX_BODY_BYTES, Rooms, held};
    use sse_proto::call::{EventsEnd, Outcome};

    fn reply(rooms: &Rooms, address: &str) -> Reply {
        Reply::new(rooms.room(address.parse().unwrap()))
    }

    /// Pushes a frame with a body of this many bytes, in parts as they come out of a ring.
    fn push(reply: &mut Reply, body: usize) {
        let outcome = Outcome::Done { rows: 1, body: vec![b'x'; body], is_null: false };
        CallAnswer { id: 7, end: EventsEnd::NoEvents, cut: None, outcome }
            .encode()
            .unwrap()
            .chunks(32 << 10)
            .for_each(|part| reply.push(part));
    }

    fn body(answered: Answered) -> (Vec<u8>, Option<Room>) {
        let Outcome::Done { body, .. } = answered.answer.outcome else { panic!("no body") };
        (body, answered.room)
    }

    // Answers that nobody reads, of one address and of many.
    #[test]
    fn answers_have_a_room_of_which_one_address_has_half() {
        let rooms = Rooms::default();
        // The largest answer has room by itself.
        let mut largest = reply(&rooms, "203.0.113.9");
        push(&mut largest, MAX_BODY_BYTES);
        let (bytes, room) = body(largest.finish().unwrap().unwrap());
        assert_eq!(bytes.len(), MAX_BODY_BYTES);
        assert!(room.as_ref().unwrap().bytes() >= bytes.capacity());
        let written = held(bytes, room);
        // The same address has none left but what rounding left over; another has.
        let mut same = reply(&rooms, "203.0.113.9");
        push(&mut same, FRAME_BYTES + 1);
        assert!(same.finish().unwrap().is_none());
        let mut other = reply(&rooms, "203.0.113.10");
        push(&mut other, MAX_BODY_BYTES);
        assert!(!other.is_empty());
        let other = other.finish().unwrap().unwrap();
        // Now all of it is taken.
        let mut third = reply(&rooms, "203.0.113.11");
        push(&mut third, 2 * FRAME_BYTES + 1);
        assert!(third.finish().unwrap().is_none());
        // One that is written, or whose peer has gone, makes room.
        drop(written);
        let mut same = reply(&rooms, "203.0.113.9");
        push(&mut same, MAX_BODY_BYTES / 2);
        let same = same.finish().unwrap().unwrap();
        let mut one_below = reply(&rooms, "203.0.113.9");
        push(&mut one_below, MAX_BODY_BYTES / 2);
        let one_below = one_below.finish().unwrap().unwrap();
        let mut above = reply(&rooms, "203.0.113.9");
        push(&mut above, 2 * FRAME_BYTES);
        assert!(above.finish().unwrap().is_none());
        drop((other, same, one_below));
        assert!(rooms.is_empty());
    }

    #[test]
    fn an_answer_that_does_not_fit_leaves_nothing_behind_while_the_rest_of_it_comes() {
        let rooms = Rooms::default();
        let mut reply = reply(&rooms, "::1");
        push(&mut reply, MAX_BODY_BYTES + FRAME_BYTES);
        assert!(reply.has_overflowed && rooms.is_empty());
        reply.push(b"and the rest");
        assert!(reply.finish().unwrap().is_none());
    }

    #[test]
    fn what_is_no_answer_is_said_to_be_none() {
        let rooms = Rooms::default();
        let mut reply = reply(&rooms, "::1");
        reply.push(b"\0");
        assert!(reply.finish().is_err());
        assert!(rooms.is_empty());
    }
}
