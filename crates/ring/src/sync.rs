//! The atomics that the protocol is written with: the standard ones, or loom's when a model is checked.
//!
//! Not for statistics: counters that decide nothing stay standard atomics, so that a model has fewer steps to
//! permute.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
