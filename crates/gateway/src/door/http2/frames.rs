//! Follows the frames that a peer sends, by their heads alone (RFC 9113 §4.1): how many come that bring
//! nothing, and since when a request's head has been coming.
//!
//! Each PING, SETTINGS, RST_STREAM, WINDOW_UPDATE, PRIORITY, unknown or nearly empty DATA frame costs a peer
//! a few bytes and us as much as a request's. hyper bounds what some of them make us hold, not how many there
//! are. A browser sends a few a minute, and acknowledges what it gets.
//!
//! Not for whether a frame is valid: hyper finds out.

use std::time::{Duration, Instant};

/// Frames that bring nothing which may come at once, and how many more a second. Beyond it the connection is
/// cut.
const MAX_IDLE_FRAMES: u32 = 1000;
const IDLE_FRAMES_PER_SECOND: u32 = 100;

/// Such frames that each part of an answer or stream excuses: it goes out in two or three frames when a
/// window ends in its middle, and simple clients acknowledge each frame twice, for the stream and for the
/// connection.
const FRAMES_FOR_PART: u32 = 8;

/// What parts excuse is kept for later up to so many frames: a client that was busy for a second acknowledges
/// all of its hundred streams at once. Reading so many takes a fraction of a second, in turns with others.
const MAX_EXCUSED_FRAMES: u32 = 100_000;

/// DATA with fewer bytes brings nothing, unless it is the last.
const MIN_DATA_BYTES: usize = 32;

/// What a client says first (RFC 9113 §3.4).
const PREFACE_BYTES: usize = 24;

const HEAD_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

pub(crate) struct Frames {
    /// Bytes that still come of the preface, or of the frame whose head is known.
    rest: usize,
    head: [u8; HEAD_BYTES],
    /// How much of the head has come.
    filled: usize,
    head_since: Option<Instant>,
    /// The frame that is coming is the last of a request's head.
    ends_head: bool,
    /// Frames without use that may still come, as of then.
    allowed: u32,
    allowed_at: Instant,
    /// The same of those that parts excuse.
    excused: u32,
    is_flooded: bool,
}

impl Frames {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            rest: PREFACE_BYTES,
            head: [0; HEAD_BYTES],
            filled: 0,
            head_since: None,
            ends_head: false,
            allowed: MAX_IDLE_FRAMES,
            allowed_at: now,
            excused: 0,
            is_flooded: false,
        }
    }

    pub(crate) fn is_flooded(&self) -> bool {
        self.is_flooded
    }

    /// Since when the head of a request has been coming.
    pub(crate) fn head_since(&self) -> Option<Instant> {
        self.head_since
    }

    pub(crate) fn excuse(&mut self) {
        self.excused = (self.excused + FRAMES_FOR_PART).min(MAX_EXCUSED_FRAMES);
    }

    pub(crate) fn follow(&mut self, mut bytes: &[u8], now: Instant) {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let n = self.rest.min(bytes.len());
                self.rest -= n;
                bytes = &bytes[n..];
            } else {
                let n = (HEAD_BYTES - self.filled).min(bytes.len());
                self.head[self.filled..self.filled + n].copy_from_slice(&bytes[..n]);
                self.filled += n;
                bytes = &bytes[n..];
                if self.filled < HEAD_BYTES {
                    return;
                }
                self.filled = 0;
                self.begin(now);
            }
            if self.rest == 0 && std::mem::take(&mut self.ends_head) {
                self.head_since = None;
            }
        }
    }

    /// The head of a frame is known.
    fn begin(&mut self, now: Instant) {
        let [a, b, c, kind, flags, ..] = self.head;
        self.rest = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let brings_something = match kind {
            HEADERS | CONTINUATION => {
                self.head_since.get_or_insert(now);
                self.ends_head = flags & END_HEADERS != 0;
                self.ends_head || self.rest >= MIN_DATA_BYTES
            }
            DATA => flags & END_STREAM != 0 || self.rest >= MIN_DATA_BYTES,
            _ => false,
        };
        if !brings_something {
            self.spend(now);
        }
    }

    fn spend(&mut self, now: Instant) {
        if let Some(excused) = self.excused.checked_sub(1) {
            self.excused = excused;
            return;
        }
        let since = now.saturating_duration_since(self.allowed_at).as_millis();
        let more = since * u128::from(IDLE_FRAMES_PER_SECOND) / 1000;
        if u128::from(MAX_IDLE_FRAMES - self.allowed) > more {
            self.allowed += more as u32;
            // What is left of the time counts next time.
            self.allowed_at += Duration::from_secs(1) / IDLE_FRAMES_PER_SECOND * more as u32;
        } else {
            (self.allowed, self.allowed_at) = (MAX_IDLE_FRAMES, now);
        }
        match self.allowed.checked_sub(1) {
            Some(allowed) => self.allowed = allowed,
            None => self.is_flooded = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;

    fn frame(kind: u8, flags: u8, len: usize) -> Vec<u8> {
        let mut frame = vec![(len >> 16) as u8, (len >> 8) as u8, len as u8, kind, flags, 0, 0, 0, 1];
        frame.resize(HEAD_BYTES + len, 0);
        frame
    }

    fn open(now: Instant) -> Frames {
        let mut frames = Frames::new(now);
        frames.follow(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", now);
        frames
    }

    // Floods of PING, SETTINGS, RST_STREAM, WINDOW_UPDATE, empty DATA, tiny CONTINUATION.
    #[test]
    fn frames_that_bring_nothing_may_come_a_thousand_at_once_and_a_hundred_a_second() {
        let now = Instant::now();
        for kind in [PING, 4, 3, WINDOW_UPDATE, 2, DATA, CONTINUATION, 99] {
            let mut frames = open(now);
            for n in 0..=MAX_IDLE_FRAMES {
                assert!(!frames.is_flooded(), "{kind}: {n}");
                frames.follow(&frame(kind, 0, 8), now);
            }
            assert!(frames.is_flooded(), "{kind}");
        }
        let mut frames = open(now);
        (0..MAX_IDLE_FRAMES).for_each(|_| frames.follow(&frame(PING, 0, 8), now));
        let later = now + Duration::from_secs(1);
        (0..IDLE_FRAMES_PER_SECOND).for_each(|_| frames.follow(&frame(PING, 0, 8), later));
        assert!(!frames.is_flooded());
        frames.follow(&frame(PING, 0, 8), later);
        assert!(frames.is_flooded());
    }

    // Field: a client that sends as many as it may, at odd moments, was cut off after half a minute.
    #[test]
    fn a_hundred_a_second_may_come_for_ever_however_they_are_spread() {
        let mut now = Instant::now();
        let mut frames = open(now);
        (1..MAX_IDLE_FRAMES).for_each(|_| frames.follow(&frame(PING, 0, 8), now));
        for pause in [5, 14, 11].into_iter().cycle().take(9_000) {
            now += Duration::from_millis(pause);
            frames.follow(&frame(PING, 0, 8), now);
        }
        assert!(!frames.is_flooded());
        // A pause is not saved up beyond a thousand.
        now += Duration::from_secs(3600);
        (0..MAX_IDLE_FRAMES).for_each(|_| frames.follow(&frame(PING, 0, 8), now));
        assert!(!frames.is_flooded());
        frames.follow(&frame(PING, 0, 8), now);
        assert!(frames.is_flooded());
    }

    #[test]
    fn what_acknowledges_our_parts_is_excused_and_what_brings_something_is_not_counted() {
        let now = Instant::now();
        let mut frames = open(now);
        for _ in 0..3 * MAX_IDLE_FRAMES {
            frames.excuse();
            (0..FRAMES_FOR_PART).for_each(|_| frames.follow(&frame(WINDOW_UPDATE, 0, 4), now));
            frames.follow(&frame(HEADERS, END_HEADERS, 20), now);
            frames.follow(&frame(DATA, 0, MIN_DATA_BYTES), now);
            frames.follow(&frame(DATA, END_STREAM, 0), now);
        }
        assert!(!frames.is_flooded());
    }

    #[test]
    fn acknowledgements_may_come_late_and_all_at_once_up_to_their_bound() {
        let now = Instant::now();
        let bound = MAX_EXCUSED_FRAMES + MAX_IDLE_FRAMES;
        for (parts, frames_come, is_flooded) in [
            (1000, 8 * 1000 + MAX_IDLE_FRAMES, false),
            (1000, 8 * 1000 + MAX_IDLE_FRAMES + 1, true),
            (MAX_EXCUSED_FRAMES, bound - 1, false),
            (MAX_EXCUSED_FRAMES, bound, false),
            (MAX_EXCUSED_FRAMES, bound + 1, true),
        ] {
            let mut frames = open(now);
            (0..parts).for_each(|_| frames.excuse());
            (0..frames_come).for_each(|_| frames.follow(&frame(WINDOW_UPDATE, 0, 4), now));
            assert_eq!(frames.is_flooded(), is_flooded, "{parts} {frames_come}");
        }
    }

    // A head that comes in pieces without end.
    #[test]
    fn a_head_is_timed_from_its_first_frame_to_the_end_of_its_last_wherever_it_is_cut() {
        let now = Instant::now();
        let mut bytes = frame(DATA, END_STREAM, 3);
        bytes.extend(frame(HEADERS, 0, 40));
        bytes.extend(frame(CONTINUATION, END_HEADERS, 5));
        let begun = frame(DATA, END_STREAM, 3).len() + HEAD_BYTES;
        for cut in 1..bytes.len() {
            let mut frames = open(now);
            frames.follow(&bytes[..cut], now);
            assert_eq!(frames.head_since().is_some(), cut >= begun, "{cut}");
            frames.follow(&bytes[cut..], now + Duration::from_secs(1));
            assert_eq!(frames.head_since(), None, "{cut}");
        }
    }
}
