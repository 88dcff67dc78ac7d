//! The last calls that were answered, for the inspector of the admin port (C8.2).
//!
//! They are always noted, so that who opens the inspector sees what went wrong before. A thread that answers
//! a call leaves it in a channel, and takes the oldest out when that is full: it takes no lock, and waits for
//! nobody who looks.
//!
//! Not for counting: that is `measures`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;

/// Calls that are kept; the oldest goes. Their texts are cut, so they take some 200 kB at most, twice that
/// while the inspector is used.
pub(crate) const MAX_CALLS: usize = 200;

/// A call that was answered. Its texts are cut.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RecentCall {
    pub(crate) at: SystemTime,
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) took: Duration,
    /// What the answer says of a failure, or for an error of Postgres its SQLSTATE and message.
    pub(crate) error: Option<String>,
}

pub(crate) struct RecentCalls {
    coming: (Sender<RecentCall>, Receiver<RecentCall>),
    /// What was taken out of the channel, the oldest first. Locked by the admin thread alone.
    kept: Mutex<VecDeque<Arc<RecentCall>>>,
}

impl Default for RecentCalls {
    fn default() -> Self {
        Self { coming: bounded(MAX_CALLS), kept: Mutex::default() }
    }
}

impl RecentCalls {
    /// A call was answered.
    pub(crate) fn note(&self, mut call: RecentCall) {
        // Other threads may take the place that was made; in the end the call is not noted.
        for _ in 0..4 {
            match self.coming.0.try_send(call) {
                Err(TrySendError::Full(back)) => {
                    drop(self.coming.1.try_recv());
                    call = back;
                }
                _ => return,
            }
        }
    }

    /// The newest first.
    pub(crate) fn all(&self) -> Vec<Arc<RecentCall>> {
        let mut kept = self.kept.lock();
        while let Ok(call) = self.coming.1.try_recv() {
            if kept.len() >= MAX_CALLS {
                kept.pop_front();
            }
            kept.push_back(Arc::new(call));
        }
        kept.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_hundred_calls_are_kept_the_newest_first_whenever_somebody_looks() {
        let call = |status| RecentCall {
            at: SystemTime::UNIX_EPOCH,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            status,
            took: Duration::ZERO,
            error: None,
        };
        for looks_between in [false, true] {
            for (noted, first) in [(199, 1), (200, 1), (201, 2), (450, 251)] {
                let calls = RecentCalls::default();
                for number in 1..=noted {
                    calls.note(call(number));
                    if looks_between && number % 90 == 0 {
                        calls.all();
                    }
                }
                for _ in 0..2 {
                    let statuses: Vec<u16> = calls.all().iter().map(|call| call.status).collect();
                    assert_eq!(statuses, (first..=noted).rev().collect::<Vec<u16>>(), "{looks_between}");
                }
            }
        }
    }
}
