//! How much a peer may send over TLS that is not text: records of a byte or of none, and messages of the
//! protocol itself, of which each costs a decryption and no limit on heads or bodies sees any.
//!
//! Not for records that have not come whole: `tls.rs` bounds those.

use std::time::Instant;

/// Bytes that may come beyond what text excuses, once the handshake is completed: two thousand changes of
/// keys, or three thousand records of one byte. That costs about as much as ten handshakes. Of an honest peer
/// such bytes are some hundred. Beyond it the connection is broken off.
const MAX_BYTES: u64 = 64 << 10;

/// This many of them are forgiven in each second, in bytes: a connection may stay for weeks, and there are
/// protocols above whose messages are small.
const FORGIVEN_PER_SECOND: u64 = 1 << 10;

/// How many bytes each byte of text excuses, itself included: a record is 29 bytes longer than its text at
/// most, and what an honest peer has to say in one is seldom shorter than ten. The shortest that comes
/// without end is an acknowledgement of HTTP/2, of 13 bytes, in a record of its own: 42 bytes in TLS 1.2.
/// With two or three for each, who acknowledges a busy stream like this was cut off within a minute. How many
/// of them may come is bounded where they are understood (`door/http2/frames.rs`).
const BYTES_FOR_TEXT: u64 = 4;

/// Bytes of one connection.
pub(super) struct Overhead {
    bytes: u64,
    /// When they were last forgiven.
    since: Instant,
}

/// A peer has sent too many.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Overhead {
    pub(super) fn new(now: Instant) -> Self {
        Self { bytes: 0, since: now }
    }

    /// Counts bytes that have come, and the bytes of text in them.
    ///
    /// # Errors
    /// [`TooMany`]
    pub(super) fn take(&mut self, came: usize, text: usize, now: Instant) -> Result<(), TooMany> {
        let seconds = now.saturating_duration_since(self.since).as_secs();
        if seconds > 0 {
            self.bytes = self.bytes.saturating_sub(seconds.saturating_mul(FORGIVEN_PER_SECOND));
            self.since = now;
        }
        let excused = (text as u64).saturating_mul(BYTES_FOR_TEXT);
        self.bytes = self.bytes.saturating_add(came as u64).saturating_sub(excused);
        if self.bytes > MAX_BYTES { Err(TooMany) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    // Attack: records that cost a decryption each and bring next to nothing.
    #[test]
    fn bytes_without_text_are_let_pass_up_to_64_kb_at_once_and_1_kb_each_second_besides() {
        let max = MAX_BYTES as usize;
        let now = Instant::now();
        for (came, text, outcome) in [
            (max - 1, 0, Ok(())),
            (max, 0, Ok(())),
            (max + 1, 0, Err(TooMany)),
            (max + 3, 1, Ok(())),
            (max + 4, 1, Ok(())),
            (max + 5, 1, Err(TooMany)),
            (usize::MAX, usize::MAX, Ok(())),
        ] {
            assert_eq!(Overhead::new(now).take(came, text, now), outcome, "{came} {text}");
        }
        let mut overhead = Overhead::new(now);
        assert_eq!(overhead.take(max, 0, now), Ok(()));
        let later = now + Duration::from_millis(2999);
        assert_eq!(overhead.take(2048, 0, later), Ok(()));
        assert_eq!(overhead.take(1, 0, later), Err(TooMany));
    }

    #[test]
    fn an_honest_peer_is_let_pass_for_as_long_as_it_stays() {
        let mut now = Instant::now();
        let mut overhead = Overhead::new(now);
        // A head of 300 bytes, sixty messages of 13 bytes, a change of keys: each second for a week.
        for _ in 0..604_800 {
            now += Duration::from_secs(1);
            for (came, text, times) in [(330, 300, 1), (43, 13, 60), (27, 0, 1)] {
                for _ in 0..times {
                    assert_eq!(overhead.take(came, text, now), Ok(()));
                }
            }
        }
    }

    // Simple clients of HTTP/2 acknowledge each frame for the stream and for the connection.
    #[test]
    fn acknowledgements_in_records_of_their_own_are_let_pass_without_end_and_single_bytes_are_not() {
        let now = Instant::now();
        for (came, text, is_let_pass) in [(35, 13, true), (42, 13, true), (23, 1, false), (30, 1, false)] {
            let mut overhead = Overhead::new(now);
            let outcome = (0..1_000_000).try_for_each(|_| overhead.take(came, text, now));
            assert_eq!(outcome.is_ok(), is_let_pass, "{came} {text}");
        }
    }
}
