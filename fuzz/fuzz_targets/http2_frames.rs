//! What a peer sends over HTTP/2 (docs/limits.md), in any portions, at any pace: never a panic, and how many
//! frames bring nothing, and since when a head has been coming, is what a model says that reads byte by byte.
//!
//! The input: the length of a portion, the milliseconds between two, every how many of them we send
//! something, how often everything is repeated; then the bytes.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sse_gateway::fuzzing::FrameCounter;

/// Frames that bring nothing: so many at once, one more in each of so many milliseconds, eight for each part
/// that goes out, of which so many are kept.
const AT_ONCE: u64 = 1000;
const MILLISECONDS: u64 = 10;
const EXCUSED_BY_PART: u64 = 8;
const MAX_EXCUSED: u64 = 100_000;

/// DATA and pieces of heads that have fewer bytes bring nothing, but the last.
const FEW_BYTES: usize = 32;

struct Model {
    /// Bytes to be passed over.
    rest: usize,
    head: Vec<u8>,
    /// The frame passed over is the end of a request's head.
    ends_head: bool,
    head_since: Option<u64>,
    /// Milliseconds of patience, each frame takes ten.
    patience: u64,
    patient_at: u64,
    excused: u64,
    is_flooded: bool,
}

impl Model {
    fn take(&mut self, byte: u8, now: u64) {
        if self.rest > 0 {
            self.rest -= 1;
        } else {
            self.head.push(byte);
            if self.head.len() < 9 {
                return;
            }
            let head = std::mem::take(&mut self.head);
            self.rest = head[..3].iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
            self.count(head[3], head[4], now);
        }
        if self.rest == 0 && self.ends_head {
            (self.ends_head, self.head_since) = (false, None);
        }
    }

    fn count(&mut self, kind: u8, flags: u8, now: u64) {
        let brings_something = match kind {
            // DATA, with END_STREAM.
            0 => flags & 1 != 0 || self.rest >= FEW_BYTES,
            // HEADERS and CONTINUATION, with END_HEADERS.
            1 | 9 => {
                self.head_since = self.head_since.or(Some(now));
                self.ends_head = flags & 4 != 0;
                self.ends_head || self.rest >= FEW_BYTES
            }
            _ => false,
        };
        if brings_something {
        } else if self.excused > 0 {
            self.excused -= 1;
        } else {
            self.patience = (self.patience + now - self.patient_at).min(AT_ONCE * MILLISECONDS);
            self.patient_at = now;
            match self.patience.checked_sub(MILLISECONDS) {
                Some(rest) => self.patience = rest,
                None => self.is_flooded = true,
            }
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&[portion, pause, sends, repeats], bytes)) = input.split_first_chunk() else { return };
    let mut frames = FrameCounter::new();
    let mut model = Model {
        // The preface.
        rest: 24,
        head: Vec::new(),
        ends_head: false,
        head_since: None,
        patience: AT_ONCE * MILLISECONDS,
        patient_at: 0,
        excused: 0,
        is_flooded: false,
    };
    let mut now = 0;
    // Nothing is read after a flood.
    let portions = (0..=repeats).flat_map(|_| bytes.chunks(usize::from(portion) + 1));
    for (n, part) in portions.enumerate() {
        frames.follow(part, Duration::from_millis(now));
        part.iter().for_each(|byte| model.take(*byte, now));
        assert_eq!(frames.is_flooded(), model.is_flooded, "{n}");
        if model.is_flooded {
            return;
        }
        assert_eq!(frames.head_since(), model.head_since.map(Duration::from_millis), "{n}");
        now += u64::from(pause);
        if sends > 0 && n % usize::from(sends) == 0 {
            frames.excuse();
            model.excused = (model.excused + EXCUSED_BY_PART).min(MAX_EXCUSED);
        }
    }
});
