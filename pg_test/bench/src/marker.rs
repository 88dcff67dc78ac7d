//! What each event carries, so that whoever gets it can tell whose it is, which one, and when it was sent.
//!
//! Not for how an event is framed: the reader looks for the marker wherever it is.

use std::sync::LazyLock;
use std::time::Instant;

/// Bytes of a marker: `@PPP:NNNNNNNNNN:TTTTTTTTTTTTTTT@`. Nothing else of a stream may contain an `@`.
pub(crate) const LENGTH: usize = 32;

/// The first and the last byte of a marker.
pub(crate) const EDGE: u8 = b'@';

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Publisher, number of the event from 0 on, and when it was sent, in microseconds of [`now`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) publisher: usize,
    pub(crate) number: u64,
    pub(crate) sent: u64,
}

/// Microseconds since the first look. Sender and reader are threads of one process.
pub(crate) fn now() -> u64 {
    u64::try_from(START.elapsed().as_micros()).unwrap_or(u64::MAX)
}

impl Marker {
    /// The payload of an event that is sent now, of `size` bytes, or as many as a marker needs.
    pub(crate) fn payload(publisher: usize, number: u64, size: usize) -> String {
        let sent = now();
        let mut payload = format!("@{publisher:03}:{number:010}:{sent:015}@");
        payload.extend(std::iter::repeat_n('x', size.saturating_sub(LENGTH)));
        payload
    }

    /// Reads a marker that begins at the first of these bytes.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let marker = bytes.get(..LENGTH)?;
        if [marker[0], marker[4], marker[15], marker[31]] != *b"@::@" {
            return None;
        }
        Some(Self {
            publisher: usize::try_from(number(&marker[1..4])?).ok()?,
            number: number(&marker[5..15])?,
            sent: number(&marker[16..31])?,
        })
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number: u64, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        let payload = Marker::payload(63, 1_234_567, 200);
        assert_eq!(payload.len(), 200);
        let marker = Marker::read(payload.as_bytes()).expect("a marker");
        assert_eq!((marker.publisher, marker.number), (63, 1_234_567));
        assert_eq!(Marker::read(&payload.as_bytes()[..LENGTH - 1]), None);
        assert_eq!(Marker::read(&payload.as_bytes()[1..]), None);
    }
}
