//! What could not be published, as shared memory has it: counts by reason, and which mistakes were said
//! already.
//!
//! Not for: what is said (`publish/mistake.rs`).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of what publishers could not publish. Written by any backend with relaxed additions, read by
/// `sse.stat_ring`; each is a figure of its own, so no ordering is needed.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Refusals {
    /// Raised in a parallel worker (C3.1).
    pub parallel_total: AtomicU64,
    /// Above `sse.max_event_size` (C3.6).
    pub too_large_total: AtomicU64,
    /// The hint was a misspelt scope: delivered to nobody (C3.3).
    pub misspelt_hint_total: AtomicU64,
    /// `matching` without anybody whom it could match (C4.2).
    pub unmatched_total: AtomicU64,
    /// This backend had no memory for the event.
    pub out_of_memory_total: AtomicU64,
    /// A fault of pg_sse itself that was caught.
    pub internal_total: AtomicU64,
    /// A row changed, and its trigger of `sse.publish_change()` cannot publish any more (C3.5).
    pub unfit_trigger_total: AtomicU64,
    /// Published on a standby, which cannot write it into the log (C10.5).
    pub standby_total: AtomicU64,
    /// Characters that could not be converted to UTF-8 and were replaced (C3.2): not a refusal of the event.
    pub replaced_characters_total: AtomicU64,
}

/// The mistakes of routines and triggers that were said already, each of which is said once until the server
/// is restarted: a set of marks, 0 = free place. A mark is added by any backend with one compare-and-swap and
/// never removed; relaxed, because a mark stands for itself.
#[repr(C)]
pub(crate) struct SaidOnce {
    marks: [AtomicU64; SAID_PLACES],
}

/// The mistakes of this many routines and triggers are said; further ones are only counted.
const SAID_PLACES: usize = 512;

impl Default for SaidOnce {
    fn default() -> Self {
        Self { marks: [const { AtomicU64::new(0) }; SAID_PLACES] }
    }
}

impl SaidOnce {
    /// Whether this mistake is new, and there is room to remember it. `what` tells kinds of mistakes apart,
    /// from 1.
    pub(crate) fn is_first(&self, what: u32, of: u32) -> bool {
        let mark = u64::from(what) << 32 | u64::from(of);
        let start = of as usize % SAID_PLACES;
        for place in self.marks[start..].iter().chain(&self.marks[..start]) {
            match place.compare_exchange(0, mark, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(present) if present == mark => return false,
                Err(_) => {}
            }
        }
        false
    }
}
