//! Events for the inspector of the admin port, as they reach their streams (C8.2).
//!
//! While no inspector is open an event costs one load. While one is, the beginning of each event is copied
//! into a queue of its own, if that has room: else the event is counted as missed, before anything is copied.
//! Neither waits for the other: there is no lock here that a thread that carries events takes.
//!
//! How many streams an event was for is known when all runtime threads have served it. So the batch counts
//! that ([`Reach`]), and the last thread offers its events.
//!
//! Not for what a subscriber gets: that is the slab's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Inspectors that can watch at a time; a further one is refused.
pub(crate) const MAX_FEEDS: usize = 4;

/// Events that wait for one of them. Beyond it they are counted.
pub(crate) const MAX_WAITING: usize = 256;

/// Bytes of an event's data that are copied: enough to see what it is.
pub(crate) const MAX_DATA_BYTES: usize = 1000;

/// Events between two news of missed ones, while there are more events.
const MISSED_PAUSE: u32 = 64;

/// What is shown of an event. Its texts are cut.
#[derive(Debug, PartialEq)]
pub(crate) struct SeenEvent {
    pub(crate) id: String,
    /// When it was raised, or its transaction had committed.
    pub(crate) at: SystemTime,
    pub(crate) event: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) scope: String,
    /// Of its data.
    pub(crate) bytes: usize,
    /// How many it was for.
    pub(crate) streams: u64,
    /// Until it had been handed to their sockets; `None`: it is not known when it was raised.
    pub(crate) delay: Option<Duration>,
    /// The beginning.
    pub(crate) data: String,
}

/// Who watches.
#[derive(Debug)]
pub(crate) struct Live {
    /// How many places are taken. Relaxed: an event more or less is not missed by anybody.
    open: AtomicUsize,
    places: [Place; MAX_FEEDS],
}

#[derive(Debug)]
struct Place {
    is_open: AtomicBool,
    missed: AtomicU64,
    sender: mpsc::Sender<Arc<SeenEvent>>,
    /// Whoever watches has it. Locked by the admin thread alone.
    receiver: Mutex<Option<mpsc::Receiver<Arc<SeenEvent>>>>,
}

impl Default for Live {
    fn default() -> Self {
        let place = |_| {
            let (sender, receiver) = mpsc::channel(MAX_WAITING);
            let (is_open, missed) = (AtomicBool::new(false), AtomicU64::new(0));
            Place { is_open, missed, sender, receiver: Mutex::new(Some(receiver)) }
        };
        Self { open: AtomicUsize::new(0), places: std::array::from_fn(place) }
    }
}

impl Live {
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }

    /// `None`: all places are taken.
    pub(crate) fn open(self: &Arc<Self>) -> Option<Feed> {
        for (number, place) in self.places.iter().enumerate() {
            let Some(mut receiver) = place.receiver.lock().take() else { continue };
            // What a thread has left that had not seen that the feed before was closed.
            while receiver.try_recv().is_ok() {}
            place.missed.store(0, Ordering::Relaxed);
            place.is_open.store(true, Ordering::Relaxed);
            self.open.fetch_add(1, Ordering::Relaxed);
            return Some(Feed {
                live: Arc::clone(self),
                place: number,
                receiver: Some(receiver),
                since_missed: 0,
            });
        }
        None
    }

    /// Leaves an event for all who watch and have room; `make` is called if anybody has.
    pub(crate) fn offer(&self, make: impl FnOnce() -> Option<SeenEvent>) {
        let permits = self.places.each_ref().map(|place| {
            if !place.is_open.load(Ordering::Relaxed) {
                return None;
            }
            let permit = place.sender.try_reserve().ok();
            if permit.is_none() {
                place.missed.fetch_add(1, Ordering::Relaxed);
            }
            permit
        });
        if permits.iter().all(Option::is_none) {
            return;
        }
        let Some(event) = make().map(Arc::new) else { return };
        permits.into_iter().flatten().for_each(|permit| permit.send(Arc::clone(&event)));
    }
}

/// What one inspector watches.
pub(crate) struct Feed {
    live: Arc<Live>,
    place: usize,
    /// Always there until it is dropped.
    receiver: Option<mpsc::Receiver<Arc<SeenEvent>>>,
    /// Events since the last news of missed ones.
    since_missed: u32,
}

/// What comes next.
#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    Event(Arc<SeenEvent>),
    /// This many were missed.
    Missed(u64),
}

impl Feed {
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Seen> {
        let missed = &self.live.places[self.place].missed;
        let next = match &mut self.receiver {
            Some(receiver) if self.since_missed < MISSED_PAUSE => receiver.poll_recv(cx),
            // Something is there, or will not be waited for.
            _ => Poll::Pending,
        };
        if let Poll::Ready(Some(event)) = next {
            self.since_missed += 1;
            return Poll::Ready(Seen::Event(event));
        }
        self.since_missed = 0;
        match missed.swap(0, Ordering::Relaxed) {
            0 => match &mut self.receiver {
                Some(receiver) => receiver.poll_recv(cx).map(|event| match event {
                    Some(event) => Seen::Event(event),
                    None => Seen::Missed(0),
                }),
                None => Poll::Pending,
            },
            count => Poll::Ready(Seen::Missed(count)),
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let place = &self.live.places[self.place];
        place.is_open.store(false, Ordering::Relaxed);
        self.live.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(mut receiver) = self.receiver.take() {
            while receiver.try_recv().is_ok() {}
            *place.receiver.lock() = Some(receiver);
        }
    }
}

/// For how many streams each item of a batch is, of all runtime threads together. Empty unless somebody
/// watches; it is no part of what a batch is.
#[derive(Debug, Default)]
pub(crate) struct Reach(Option<Counts>);

#[derive(Debug)]
struct Counts {
    /// Threads that have not served the batch.
    missing: AtomicUsize,
    streams: Vec<AtomicU64>,
}

impl Reach {
    /// Nothing without memory for it.
    pub(crate) fn of(items: usize, threads: usize) -> Self {
        let mut streams = Vec::new();
        if streams.try_reserve_exact(items).is_err() {
            return Self(None);
        }
        streams.resize_with(items, || AtomicU64::new(0));
        Self(Some(Counts { missing: AtomicUsize::new(threads), streams }))
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.0.is_some()
    }

    /// A thread has served the batch, each item for so many streams. Says whether it was the last.
    pub(crate) fn served(&self, streams: impl Iterator<Item = u64>) -> bool {
        let Some(counts) = &self.0 else { return false };
        for (all, own) in counts.streams.iter().zip(streams) {
            all.fetch_add(own, Ordering::Relaxed);
        }
        counts.missing.fetch_sub(1, Ordering::AcqRel) == 1
    }

    pub(crate) fn streams(&self, item: usize) -> u64 {
        let count = self.0.as_ref().and_then(|counts| counts.streams.get(item));
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

impl Clone for Reach {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Reach {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Reach {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::task::Waker;

    use super::*;

    fn seen(number: usize) -> SeenEvent {
        SeenEvent {
            id: number.to_string(),
            at: SystemTime::UNIX_EPOCH,
            event: None,
            topic: None,
            scope: String::new(),
            bytes: 0,
            streams: 0,
            delay: None,
            data: String::new(),
        }
    }

    fn next(feed: &mut Feed) -> Option<Seen> {
        match feed.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(seen) => Some(seen),
            Poll::Pending => None,
        }
    }

    /// Everything that waits: the numbers of events, and how many were missed.
    fn all(feed: &mut Feed) -> (Vec<usize>, u64) {
        let (mut numbers, mut missed) = (Vec::new(), 0);
        while let Some(seen) = next(feed) {
            match seen {
                Seen::Event(event) => numbers.push(event.id.parse().unwrap()),
                Seen::Missed(count) => missed += count,
            }
        }
        (numbers, missed)
    }

    // Attack: an inspector that has stopped reading makes the gateway keep all events, or wait.
    #[test]
    fn of_a_feed_that_is_not_read_256_events_are_kept_and_the_rest_is_counted_uncopied() {
        for (offered, kept, missed) in [(255, 255, 0), (256, 256, 0), (257, 256, 1), (1000, 256, 744)] {
            let live = Arc::new(Live::default());
            let mut feed = live.open().unwrap();
            let mut made = 0;
            for number in 0..offered {
                live.offer(|| {
                    made += 1;
                    Some(seen(number))
                });
            }
            assert_eq!(made, kept);
            assert_eq!(all(&mut feed), ((0..kept).collect(), missed), "{offered}");
            live.offer(|| Some(seen(7)));
            assert_eq!(all(&mut feed), (vec![7], 0), "it goes on");
        }
    }

    #[test]
    fn a_fifth_feed_finds_no_place_and_one_that_closes_leaves_its_own_empty() {
        let live = Arc::new(Live::default());
        live.offer(|| panic!("nobody watches"));
        let mut feeds: Vec<Feed> = (0..4).map(|_| live.open().unwrap()).collect();
        assert!(live.open().is_none());
        live.offer(|| Some(seen(1)));
        assert!(feeds.iter_mut().all(|feed| next(feed) == Some(Seen::Event(Arc::new(seen(1))))));
        live.offer(|| Some(seen(2)));
        drop(feeds.remove(2));
        let mut fourth = live.open().unwrap();
        assert_eq!(all(&mut fourth), (vec![], 0));
        assert!(live.open().is_none() && live.is_open());
        drop((feeds, fourth));
        assert!(!live.is_open());
        live.offer(|| panic!("nobody watches"));
    }

    #[test]
    fn a_batch_is_complete_when_every_thread_has_served_it() {
        assert!(!Reach::default().served(std::iter::once(1)));
        let reach = Reach::of(2, 3);
        assert!(!reach.served([1, 2].into_iter()) && !reach.served([10, 20].into_iter()));
        assert!(reach.served([100, 200].into_iter()));
        assert_eq!([0, 1, 2].map(|item| reach.streams(item)), [111, 222, 0]);
    }
}
