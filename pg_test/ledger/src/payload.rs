//! The text of an event: who raised it as which number, and a filler that shows whether all of it came.
//!
//! `schema.sql` writes it, this reads it. Not for deciding anything: check/.

use crate::history::Delivery;

/// The filler of an event of one line, and of several.
const UNITS: [&[u8; 8]; 2] = [b"abcdefgh", b"abcdefg\n"];

/// What an event says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) writer: u16,
    pub(crate) number: u32,
    pub(crate) delivery: Delivery,
    pub(crate) audience: usize,
    /// What the counter's row said in the raising transaction.
    pub(crate) counter: Option<u64>,
}

impl Payload {
    /// `None` for a text that no writer has written, one cut short included.
    pub(crate) fn parse(data: &str) -> Option<Self> {
        let (head, filler) = data.split_once('|')?;
        let mut words = head.split(' ');
        let writer = words.next()?.parse().ok()?;
        let number = words.next()?.parse().ok()?;
        let delivery = match words.next()? {
            "c" => Delivery::Commit,
            "i" => Delivery::Immediate,
            _ => return None,
        };
        let audience = words.next()?.parse().ok()?;
        let counter = Some(words.next()?.parse().ok()?).filter(|counter| *counter > 0);
        let length: usize = words.next()?.parse().ok()?;
        let lines: usize = words.next()?.parse().ok()?;
        let unit = UNITS.get(lines)?;
        let is_whole = words.next().is_none() && filler.len() == length;
        let is_ours = || filler.bytes().zip(unit.iter().cycle()).all(|(found, expected)| found == *expected);
        (is_whole && is_ours()).then_some(Self { writer, number, delivery, audience, counter })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_writer_writes_is_read_and_nothing_else() {
        let payload = Payload::parse("3 17 c 5 9 10 1|abcdefg\nab").unwrap();
        assert_eq!((payload.writer, payload.number, payload.audience), (3, 17, 5));
        assert_eq!((payload.delivery, payload.counter), (Delivery::Commit, Some(9)));
        assert_eq!(Payload::parse("3 17 i 5 0 0 0|").unwrap().counter, None);
        for broken in ["", "3 17 c 5 9 10 1|abcdefg\na", "3 17 c 5 9 10 1|abcdefghab", "3 17 x 5 9 0 0|"] {
            assert_eq!(Payload::parse(broken), None, "{broken:?}");
        }
    }
}
