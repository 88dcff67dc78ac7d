//! Words in shared memory between the gateway, the follower and sessions that want both out of their way.
//!
//! Not for: what the follower does (`worker/follower.rs`).

use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicI64, AtomicU32};

/// See the head of this file.
#[repr(C)]
#[derive(Default)]
pub(crate) struct FollowerWords {
    /// Process id of the gateway for which the file of refusals and their table have been brought together;
    /// 0: of none. Written by the follower after the file is written (release), read by the gateway
    /// (acquire): whoever sees its own number finds in the file what the table had.
    refusals_known_to: AtomicU32,
    /// Until this time (microseconds since 2000-01-01) no worker may stay connected, because somebody drops,
    /// renames or copies the served database. Written by that backend (release), read by the gateway and the
    /// follower (acquire).
    leave_until: AtomicI64,
}

impl FollowerWords {
    /// The file of refusals has what their table has, for this gateway.
    pub(crate) fn refusals_are_known_to(&self, gateway: u32) {
        self.refusals_known_to.store(gateway, Release);
    }

    /// The gateway for which that is so.
    pub(crate) fn who_knows_refusals(&self) -> u32 {
        self.refusals_known_to.load(Acquire)
    }

    /// Until when workers must stay away.
    pub(crate) fn leave_until(&self) -> i64 {
        self.leave_until.load(Acquire)
    }

    /// Makes workers stay away until this time; 0: they may come back.
    pub(super) fn set_leave_until(&self, time: i64) {
        self.leave_until.store(time, Release);
    }
}
