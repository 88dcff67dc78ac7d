//! What the runtime threads of a gateway have ready for the inspector of the admin port (C8.2).
//!
//! Nothing of it but the last calls is kept unless somebody asks, and nothing can be held up by who asks.
//!
//! Not for figures: these are `stats` and `measures`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::between::live::Live;
use crate::between::recent_calls::RecentCalls;
use crate::between::survey::Questions;

/// See the head of this file.
pub(crate) struct Inspection {
    pub(crate) questions: Questions,
    /// The publisher looks at it, too.
    pub(crate) live: Arc<Live>,
    pub(crate) calls: RecentCalls,
    began: Instant,
    /// When the oldest item of the window came, in milliseconds since `began`, and one more; 0: the window is
    /// empty. Written by one runtime thread.
    oldest: AtomicU64,
}

impl Inspection {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            questions: Questions::new(threads),
            live: Arc::default(),
            calls: RecentCalls::default(),
            began: Instant::now(),
            oldest: AtomicU64::new(0),
        }
    }

    /// When the oldest item of the window came.
    pub(crate) fn set_oldest(&self, at: Option<Instant>) {
        let since = at.map(|at| at.saturating_duration_since(self.began).as_millis() as u64 + 1);
        self.oldest.store(since.unwrap_or(0), Ordering::Relaxed);
    }

    /// How long ago that was; zero while the window is empty.
    pub(crate) fn window_age(&self) -> Duration {
        match self.oldest.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => self.began.elapsed().saturating_sub(Duration::from_millis(since - 1)),
        }
    }
}
