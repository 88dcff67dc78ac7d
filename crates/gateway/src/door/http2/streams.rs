//! The streams of one connection over HTTP/2, whatever they carry: how many there are, what each waits for,
//! and the tasks that hyper makes of them.
//!
//! Not for what they answer: that is `requests`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::rt::Executor;
use tokio::sync::Notify;
use tokio::task::spawn_local;

use crate::entry::admission::SharePermit;
use crate::room::slowest;
use crate::shared::Shared;
use crate::stream::pipe::Fate;
use crate::supervise::supervised;

/// All of one connection.
pub(super) struct Streams {
    /// By the number of their coming.
    open: RefCell<BTreeMap<u64, Rc<Watch>>>,
    last: Cell<u64>,
    /// When the last one ended; before the first, when the connection was accepted.
    rests_since: Cell<Instant>,
    /// The connection counts as one that carries streams.
    carries: Cell<bool>,
    /// The one that hyper is about to make a task of.
    next: RefCell<Option<(u64, Rc<Watch>)>>,
    /// Told when the last has ended.
    ended: Notify,
}

/// One stream: what it waits for.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) fate: Rc<Fate>,
    /// While it is a request that counts as busy.
    pub(super) request: RefCell<Option<SharePermit>>,
    /// It is an ordinary answer, which has to be taken at its rate.
    pub(super) is_paced: Cell<bool>,
    /// Since when a part waits to be taken.
    waits_since: Cell<Option<Instant>>,
    /// How long the parts before it waited, and how many bytes they had.
    waited: Cell<Duration>,
    taken: Cell<u64>,
    part: Cell<usize>,
}

impl Watch {
    /// hyper asks for the next part: the last one is taken.
    pub(super) fn take(&self, now: Instant) {
        if let Some(since) = self.waits_since.take() {
            self.waited.set(self.waited.get() + now.saturating_duration_since(since));
            self.taken.set(self.taken.get() + self.part.get() as u64);
        }
    }

    /// It has got a part.
    pub(super) fn give(&self, bytes: usize, now: Instant) {
        self.part.set(bytes);
        self.waits_since.set(Some(now));
    }

    fn is_overdue(&self, now: Instant, write_timeout: Duration) -> bool {
        let Some(since) = self.waits_since.get() else { return false };
        let waits = now.saturating_duration_since(since);
        waits >= write_timeout
            || self.is_paced.get() && self.waited.get() + waits >= slowest(self.taken.get())
    }
}

impl Streams {
    pub(super) fn new(accepted: Instant) -> Self {
        Self {
            open: RefCell::default(),
            last: Cell::new(0),
            rests_since: Cell::new(accepted),
            carries: Cell::new(false),
            next: RefCell::default(),
            ended: Notify::new(),
        }
    }

    /// A stream that has come. Its task is the next that hyper makes.
    pub(super) fn begin(&self) -> Rc<Watch> {
        let number = self.last.get() + 1;
        self.last.set(number);
        let watch = Rc::<Watch>::default();
        self.open.borrow_mut().insert(number, Rc::clone(&watch));
        self.next.replace(Some((number, Rc::clone(&watch))));
        watch
    }

    /// Says once when there was none and now there is one.
    pub(super) fn have_begun(&self) -> bool {
        !self.carries.replace(true)
    }

    /// Says once when the last has ended.
    pub(super) fn have_ended(&self) -> bool {
        self.open.borrow().is_empty() && self.carries.replace(false)
    }

    /// Returns when there is none.
    pub(super) async fn have_rest(&self) {
        while !self.open.borrow().is_empty() {
            self.ended.notified().await;
        }
    }

    /// Since when there is none.
    pub(super) fn rests_since(&self) -> Option<Instant> {
        self.open.borrow().is_empty().then(|| self.rests_since.get())
    }

    /// Whether there ever was one.
    pub(super) fn has_served(&self) -> bool {
        self.last.get() > 0
    }

    /// Cuts those off whose peer takes nothing, or too slowly. Says how many of them were no ordinary
    /// answers.
    pub(super) fn cut_overdue(&self, now: Instant, write_timeout: Duration) -> u64 {
        let open = self.open.borrow();
        let overdue = open.values().filter(|watch| watch.is_overdue(now, write_timeout));
        overdue.map(|watch| u64::from(watch.fate.cut() && !watch.is_paced.get())).sum()
    }

    fn end(&self, number: u64) {
        let watch = self.open.borrow_mut().remove(&number);
        // Only now: what goes with it may ask us.
        drop(watch);
        self.rests_since.set(Instant::now());
        if self.open.borrow().is_empty() {
            self.ended.notify_one();
        }
    }
}

/// Takes a stream out of the list, however its task ends.
struct Listed {
    streams: Rc<Streams>,
    number: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.streams.end(self.number);
    }
}

/// Runs what hyper makes of streams.
#[derive(Clone)]
pub(super) struct Tasks {
    pub(super) streams: Rc<Streams>,
    pub(super) shared: Arc<Shared>,
}

impl<Task: Future<Output = ()> + 'static> Executor<Task> for Tasks {
    fn execute(&self, task: Task) {
        // hyper makes nothing else of a connection than a task for each stream.
        let Some((number, watch)) = self.streams.next.take() else { return };
        let listed = Listed { streams: Rc::clone(&self.streams), number };
        let task = async move {
            let _listed = listed;
            let mut task = pin!(task);
            poll_fn(|cx| {
                // Dropped unfinished, it resets its stream.
                if watch.fate.is_cut(cx) { Poll::Ready(()) } else { task.as_mut().poll(cx) }
            })
            .await;
        };
        spawn_local(supervised(Arc::clone(&self.shared), task));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::MIN_ANSWER_RATE;

    const WRITE: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_part_has_the_write_timeout_and_only_while_it_waits() {
        let (watch, now) = (Watch::default(), Instant::now());
        assert!(!watch.is_overdue(now + 1000 * SECOND, WRITE), "nothing is to be taken");
        watch.give(100, now);
        assert!(!watch.is_overdue(now + WRITE - Duration::from_millis(1), WRITE));
        assert!(watch.is_overdue(now + WRITE, WRITE));
        watch.take(now + WRITE);
        assert!(!watch.is_overdue(now + 1000 * SECOND, WRITE));
    }

    // Slow readers: a byte of window now and then holds an answer for ever.
    #[test]
    fn an_answer_is_taken_at_its_rate_after_ten_seconds_and_a_stream_need_not_be() {
        for (is_paced, bytes, cut_after) in [
            (true, 1, Some(10)),
            (true, MIN_ANSWER_RATE / 2, Some(20)),
            (true, MIN_ANSWER_RATE, None),
            (false, 1, None),
        ] {
            let (watch, began) = (Watch::default(), Instant::now());
            watch.is_paced.set(is_paced);
            let cut = (1..100).find(|second| {
                let now = began + *second * SECOND;
                watch.give(bytes as usize, now - SECOND);
                let is_overdue = watch.is_overdue(now, WRITE);
                watch.take(now);
                is_overdue
            });
            let near = |seconds: u32| cut.is_some_and(|cut| cut.abs_diff(seconds) <= 1);
            assert!(cut_after.map_or(cut.is_none(), near), "{is_paced} {bytes}: {cut:?}");
        }
    }
}
