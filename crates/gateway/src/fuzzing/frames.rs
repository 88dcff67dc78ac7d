//! What the gateway counts of the frames that a peer sends over HTTP/2.
//!
//! Not for what they say: that is hyper's.

use std::time::{Duration, Instant};

use crate::door::http2::frames::Frames;

/// The frames of one connection, whose times are counted from its beginning.
pub struct FrameCounter {
    frames: Frames,
    began: Instant,
}

impl FrameCounter {
    /// A connection on which nothing has come yet.
    #[expect(clippy::new_without_default, reason = "it begins now")]
    pub fn new() -> Self {
        let began = Instant::now();
        Self { frames: Frames::new(began), began }
    }

    /// Takes in what came at this time.
    pub fn follow(&mut self, bytes: &[u8], at: Duration) {
        self.frames.follow(bytes, self.began + at);
    }

    /// A part of an answer went out.
    pub fn excuse(&mut self) {
        self.frames.excuse();
    }

    /// Whether too many have come that bring nothing.
    pub fn is_flooded(&self) -> bool {
        self.frames.is_flooded()
    }

    /// Since when the head of a request has been coming.
    pub fn head_since(&self) -> Option<Duration> {
        self.frames.head_since().map(|since| since - self.began)
    }
}
