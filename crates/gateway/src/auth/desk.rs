//! Between the threads that refuse somebody and the file that keeps the refusals: runtime threads and the
//! main thread leave work here, and see here whether the whole file has been read and told. Only the file's
//! thread waits here.
//!
//! Not for the file: that is `refusals`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::by_time::Weight as _;
use super::revocation::{MAX_TOKENS, NewRefusal};

/// Refusals that wait to be written: as many tokens as are remembered, 8 MB. Beyond it a token is refused in
/// memory alone, and the log says so: by then the disk has taken nothing for minutes.
const MAX_WAITING: usize = MAX_TOKENS;

/// Bytes of the user ids among them, each of which may have 16 kB: forty for each of [`MAX_WAITING`]. Beyond
/// it as beyond that.
const MAX_WAITING_BYTES: usize = 4 << 20;

/// Where runtime threads and the main thread leave work for the keeper.
pub(crate) struct Desk {
    /// There is a file, and so a keeper.
    has_file: bool,
    /// Written by the keeper, read by every request; under a lock, so that a request that is let in sees
    /// every refusal told before.
    knowledge: watch::Sender<Knowledge>,
    work: Mutex<Work>,
    bell: Condvar,
}

/// Whether all refusals in the file have been told. Until then it is not known who is refused, so nobody is
/// let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// The file is being read for the first time: a matter of milliseconds, unless a disk hangs.
    Unread,
    Known,
    /// The file cannot be read.
    Unreadable,
}

/// What is to be done.
#[derive(Default)]
struct Work {
    /// The file may have more lines.
    look: bool,
    kept: VecDeque<NewRefusal>,
    /// Bytes of the user ids in `kept`.
    kept_bytes: usize,
    /// Write what waits, then end; at this moment at the latest.
    stop: Option<Instant>,
}

impl Desk {
    pub(crate) fn new(has_file: bool) -> Self {
        Self {
            has_file,
            knowledge: watch::Sender::new(if has_file { Knowledge::Unread } else { Knowledge::Known }),
            work: Mutex::new(Work { look: has_file, ..Work::default() }),
            bell: Condvar::new(),
        }
    }

    /// Whether all refusals in the file have been told.
    pub(crate) fn is_known(&self) -> bool {
        *self.knowledge.borrow() == Knowledge::Known
    }

    /// Waits for at most `most` until the file was read, or could not be. A browser that comes back right
    /// after a start waits these milliseconds, because an `EventSource` gives up for good at a 503 (WHATWG
    /// HTML §9.2.3, "fail the connection").
    pub(crate) async fn looked_at(&self, most: Duration) {
        if *self.knowledge.borrow() == Knowledge::Unread {
            let mut knowledge = self.knowledge.subscribe();
            let settled = knowledge.wait_for(|knowledge| *knowledge != Knowledge::Unread);
            // Whether time is over or the keeper has ended: the caller asks `is_known`.
            let _ = tokio::time::timeout(most, settled).await;
        }
    }

    pub(crate) fn set(&self, knowledge: Knowledge) {
        self.knowledge.send_replace(knowledge);
    }

    /// Makes the keeper read what is new in the file.
    pub(crate) fn look(&self) {
        self.work.lock().look = true;
        self.bell.notify_one();
    }

    /// Has a refusal written. Returns whether there was room.
    pub(crate) fn keep(&self, refusal: NewRefusal) -> bool {
        if !self.has_file {
            return true;
        }
        let mut work = self.work.lock();
        let bytes = work.kept_bytes + refusal.weight();
        if work.kept.len() >= MAX_WAITING || bytes > MAX_WAITING_BYTES || work.kept.try_reserve(1).is_err() {
            return false;
        }
        work.kept_bytes = bytes;
        work.kept.push_back(refusal);
        drop(work);
        self.bell.notify_one();
        true
    }

    pub(crate) fn stop(&self, until: Instant) {
        self.work.lock().stop = Some(until);
        self.bell.notify_one();
    }

    /// Waits for work, at most for `pause`. Refusals to write count as work only if `for_kept`.
    pub(crate) fn wait(&self, pause: Duration, for_kept: bool) {
        let mut work = self.work.lock();
        let has_kept = for_kept && !work.kept.is_empty();
        if !work.look && !has_kept && work.stop.is_none() {
            self.bell.wait_for(&mut work, pause);
        }
    }

    pub(crate) fn take_look(&self) -> bool {
        std::mem::take(&mut self.work.lock().look)
    }

    /// Takes the first of those that wait: at most this many, of which all but the last have less than this
    /// many bytes of ids together.
    pub(crate) fn take_kept(&self, most: usize, most_bytes: usize) -> Vec<NewRefusal> {
        let mut work = self.work.lock();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < most
            && bytes < most_bytes
            && let Some(refusal) = work.kept.pop_front()
        {
            bytes += refusal.weight();
            taken.push(refusal);
        }
        work.kept_bytes -= bytes;
        taken
    }

    /// `Some` when the keeper is to end, by this moment at the latest.
    pub(crate) fn stopping(&self) -> Option<Instant> {
        self.work.lock().stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Bearer, TokenDigest};
    use std::time::SystemTime;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    // Attack: a hanging disk, and logouts by the thousand: what waits for the disk must not grow without an
    // end.
    #[test]
    fn a_hundred_thousand_logouts_wait_for_the_disk_and_further_ones_are_not_kept() {
        let desk = Desk::new(true);
        let refusal =
            || NewRefusal::Token { digest: TokenDigest::of("x"), until: at(1), bearer: Bearer::Known };
        for n in 1..=MAX_WAITING {
            assert!(desk.keep(refusal()), "{n}");
        }
        assert!(!desk.keep(refusal()));
        assert_eq!(desk.take_kept(1, 1).len(), 1);
        assert!(desk.keep(refusal()) && !desk.keep(refusal()));
        assert!(!desk.is_known(), "and nobody has read the file");
        let without = Desk::new(false);
        assert!(without.keep(refusal()) && without.take_kept(1, 1).is_empty() && without.is_known());
    }

    // Attack: a hanging disk, and users with the longest of ids who end session after session.
    #[test]
    fn four_megabytes_of_user_ids_wait_for_the_disk_and_further_ones_are_not_kept() {
        let desk = Desk::new(true);
        let user = |bytes: usize| NewRefusal::User { id: "x".repeat(bytes).into(), before: at(1) };
        for n in 1..256 {
            assert!(desk.keep(user(16 << 10)), "{n}");
        }
        assert!(!desk.keep(user((16 << 10) + 1)), "one above");
        assert!(desk.keep(user((16 << 10) - 1)), "one below");
        assert!(desk.keep(user(1)), "at the bound");
        assert!(!desk.keep(user(1)));
        let token = NewRefusal::Token { digest: TokenDigest::of("x"), until: at(1), bearer: Bearer::Known };
        assert!(desk.keep(token), "it has no id");
        // What is written with one flush is bounded in the same way.
        assert_eq!(desk.take_kept(1000, 1 << 20).len(), 64);
        assert_eq!(desk.take_kept(1000, (1 << 20) + 1).len(), 65);
        assert!(desk.keep(user(16 << 10)));
        assert_eq!(desk.take_kept(3, usize::MAX).len(), 3);
        assert_eq!(desk.take_kept(1000, usize::MAX).len(), 255 - 64 - 65 + 4 - 3);
        assert_eq!(desk.work.lock().kept_bytes, 0);
    }
}
