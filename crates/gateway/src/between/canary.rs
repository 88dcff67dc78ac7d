//! An event of nobody that shows that the way of events is free: asked for by the admin port, put into the
//! ring by the main thread, and seen by every runtime thread after what came before it.
//!
//! It has no place in the sequence and no counter of deliveries sees it. Not pushed by the thread that asks:
//! a thread that ends with its process in the middle of a push would leave a hole in the ring that nobody
//! passes, and only the main thread ends when it has done what it was at.
//!
//! Not for when it is asked for: that is `admin`.

use std::sync::atomic::{AtomicU64, Ordering};

use sse_proto::record::Record;

use super::endings::Pushed;

/// Where the canary is. All relaxed: each number orders nothing but itself.
#[derive(Debug)]
pub(crate) struct Canary {
    /// The latest that was asked for. Written by the admin thread.
    asked: AtomicU64,
    /// The latest that is in the ring. Written by the main thread.
    pushed: AtomicU64,
    /// For each runtime thread the latest that it has seen. Written by that thread.
    seen: Vec<AtomicU64>,
}

impl Canary {
    pub(crate) fn new(threads: usize) -> Self {
        let seen = (0..threads).map(|_| AtomicU64::new(0)).collect();
        Self { asked: AtomicU64::new(0), pushed: AtomicU64::new(0), seen }
    }

    /// Asks for one more; the main thread is to be woken. Returns its number.
    pub(crate) fn ask(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Pushes it, if one was asked for. One that finds no room is not tried again until another one is asked
    /// for: whoever waits for it learns that there is no room.
    pub(crate) fn hand_over(&self, push: impl FnOnce(&[u8]) -> Pushed) {
        let number = self.asked.load(Ordering::Relaxed);
        if number > self.pushed.swap(number, Ordering::Relaxed)
            && let Ok(record) = (Record::Canary { number }).encode()
        {
            let _ = push(&record);
        }
    }

    /// A runtime thread has served everything before this one.
    pub(crate) fn note(&self, thread: usize, number: u64) {
        if let Some(seen) = self.seen.get(thread) {
            seen.fetch_max(number, Ordering::Relaxed);
        }
    }

    /// Whether every runtime thread has seen it.
    pub(crate) fn has_come(&self, number: u64) -> bool {
        self.seen.iter().all(|seen| seen.load(Ordering::Relaxed) >= number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_pushed_once_and_has_come_when_every_thread_has_seen_it() {
        let canary = Canary::new(2);
        canary.hand_over(|_| panic!("nobody has asked"));
        let (first, second) = (canary.ask(), canary.ask());
        let mut pushed = Vec::new();
        for _ in 0..2 {
            canary.hand_over(|record| {
                pushed.push(record.to_vec());
                Pushed::Done
            });
        }
        assert_eq!(pushed.len(), 1, "the latest stands for those before it");
        canary.note(0, second);
        assert!(!canary.has_come(first));
        canary.note(1, second);
        assert!(canary.has_come(first) && canary.has_come(second));
    }
}
