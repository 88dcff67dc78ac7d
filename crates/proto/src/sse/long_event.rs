//! One event whose data is too long to be encoded at once, as the bytes of [`super::append_event`] piece by
//! piece: encoded, data of nothing but line breaks is seven times as long.
//!
//! Not for chunks: whoever writes a piece frames it.

use super::{EventId, append_name};

/// An event that is being written. `D` is its data, as it is, in UTF-8.
#[derive(Debug)]
pub struct LongEvent<D> {
    name: &'static str,
    data: D,
    /// Bytes of the data that were encoded.
    at: usize,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Data,
    Over,
}

impl<D: AsRef<[u8]>> LongEvent<D> {
    /// `name` is its `event:` field.
    pub const fn new(name: &'static str, data: D) -> Self {
        Self { name, data, at: 0, stage: Stage::Head }
    }

    /// Whether a piece was taken out of it, and another one follows.
    pub fn is_in_the_middle(&self) -> bool {
        self.stage == Stage::Data
    }

    /// Bytes of the data that were not encoded yet.
    pub fn rest(&self) -> usize {
        self.data.as_ref().len() - self.at
    }

    /// Appends the next piece: `max_bytes`, nine more at most, and in the first piece the head of the event,
    /// which has the id. False: none is left, and nothing was appended.
    pub fn append_piece(&mut self, out: &mut Vec<u8>, id: EventId, max_bytes: usize) -> bool {
        match self.stage {
            Stage::Over => return false,
            Stage::Head => {
                super::append_id(out, id);
                out.extend_from_slice(b"event: ");
                append_name(out, self.name);
                out.extend_from_slice(b"\ndata: ");
                self.stage = Stage::Data;
            }
            Stage::Data => {}
        }
        let limit = out.len().saturating_add(max_bytes);
        let data = self.data.as_ref();
        while self.at < data.len() && out.len() < limit {
            let rest = &data[self.at..];
            let within = &rest[..rest.len().min(limit - out.len())];
            match within.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
                None => {
                    out.extend_from_slice(within);
                    self.at += within.len();
                }
                Some(end) => {
                    out.extend_from_slice(&within[..end]);
                    out.extend_from_slice(b"\ndata: ");
                    self.at += end + if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
                }
            }
        }
        if self.at == data.len() {
            out.extend_from_slice(b"\n\n");
            self.stage = Stage::Over;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::append_event;
    use super::*;

    const ID: EventId = EventId::new(0xe, 0x1f);

    fn pieces(data: &str, max_bytes: usize) -> Vec<Vec<u8>> {
        let mut event = LongEvent::new("sse.result", data);
        let mut pieces = Vec::new();
        loop {
            let mut piece = Vec::new();
            if !event.append_piece(&mut piece, ID, max_bytes) {
                return pieces;
            }
            pieces.push(piece);
        }
    }

    #[test]
    fn pieces_of_any_size_are_the_event_whole() {
        for data in [
            "",
            "x",
            "\n",
            "\r",
            "\r\n",
            "\n\r\n\r",
            "a\r\nb\nc\rd",
            "\u{e4}\u{1f600}\r\n",
            "a\n\n",
            "data: x\nid: 1",
        ] {
            let mut whole = Vec::new();
            append_event(&mut whole, ID, Some("sse.result"), data);
            for max_bytes in 1..30 {
                assert_eq!(pieces(data, max_bytes).concat(), whole, "{data:?} by {max_bytes}");
            }
        }
    }

    // Attack: a result of nothing but line breaks, which is seven times as long on the wire.
    #[test]
    fn no_piece_is_longer_than_was_asked_for() {
        let head = pieces("", 1)[0].len();
        for data in ["\n".repeat(10_000), "x".repeat(10_000), "x\r\n".repeat(5_000)] {
            let pieces = pieces(&data, 1000);
            assert!(pieces.len() >= 10);
            assert!(pieces[0].len() <= head + 1000 + 7);
            assert!(pieces[1..].iter().all(|piece| piece.len() <= 1000 + 7 + 2), "{:?}", data.len());
        }
    }

    #[test]
    fn it_knows_whether_it_is_in_the_middle() {
        let mut event = LongEvent::new("sse.error", "abc");
        assert!(!event.is_in_the_middle() && event.rest() == 3);
        let mut out = Vec::new();
        assert!(event.append_piece(&mut out, ID, 2));
        assert!(event.is_in_the_middle() && event.rest() == 1);
        assert!(event.append_piece(&mut out, ID, 2));
        assert!(!event.is_in_the_middle());
        assert!(!event.append_piece(&mut out, ID, 2));
    }
}
