//! Which calls of this thread wait for their own events, and from where to where these lie in the order of
//! events: where the stream of a call begins (C7.8), and what `SSE-Position` says (C7.9).
//!
//! A call is entered before it is queued, so before its first event comes; the log tells of each event that a
//! call has raised, and of its end, which comes after all of them. An end is told to every thread, and is
//! nothing to a thread that does not have the call. Nothing is kept of calls that nobody waits for.
//!
//! Not for running calls (`call`), nor for streams.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use sse_proto::admission::{Event, admits_caller};
use sse_proto::identity::Identity;
use sse_proto::sse::EventId;

/// The calls of one runtime thread.
#[derive(Default)]
pub(crate) struct CallEnds {
    /// By their numbers: at most as many as sockets have a request.
    calls: RefCell<HashMap<u64, Waiting>>,
    /// The newest item that this thread has.
    head: Cell<u64>,
}

struct Waiting {
    /// The caller's.
    identity: Option<Arc<Identity>>,
    /// The first event of the call, whoever may receive it; or a gap for everybody that came before it, and
    /// may stand for it.
    first: Option<u64>,
    /// The last event that the caller may receive by its scope.
    last: Option<EventId>,
    has_ended: bool,
    /// It is answered with a stream, for which its events are filed.
    has_stream: bool,
    /// Of the task that waits for the end.
    waker: Option<Waker>,
}

impl CallEnds {
    /// Watches a call, until what is returned is dropped.
    pub(crate) fn watch(self: &Rc<Self>, call: u64, identity: Option<Arc<Identity>>) -> CallWatch {
        let (first, last) = (None, None);
        let waiting = Waiting { identity, first, last, has_ended: false, has_stream: false, waker: None };
        self.calls.borrow_mut().insert(call, waiting);
        CallWatch { ends: Rc::clone(self), call }
    }

    /// Whether a call of this thread is answered with a stream.
    pub(crate) fn has_stream(&self, call: u64) -> bool {
        self.calls.borrow().get(&call).is_some_and(|waiting| waiting.has_stream)
    }

    /// A call has raised this event, which is this item and has this id.
    pub(crate) fn note(&self, call: u64, (sequence, id): (u64, EventId), event: &Event<'_>) {
        let mut calls = self.calls.borrow_mut();
        let Some(waiting) = calls.get_mut(&call) else { return };
        waiting.first.get_or_insert(sequence);
        if admits_caller(event, waiting.identity.as_deref()) {
            waiting.last = Some(id);
        }
    }

    /// There is a gap for everybody: what is missing may be any call's.
    pub(crate) fn note_gap(&self, sequence: u64) {
        for waiting in self.calls.borrow_mut().values_mut().filter(|waiting| waiting.has_stream) {
            waiting.first.get_or_insert(sequence);
        }
    }

    /// This thread has everything up to here.
    pub(crate) fn reached(&self, head: u64) {
        self.head.set(head);
    }

    /// All events of a call have been noted.
    pub(crate) fn ended(&self, call: u64) {
        if let Some(waiting) = self.calls.borrow_mut().get_mut(&call) {
            waiting.has_ended = true;
            if let Some(waker) = waiting.waker.take() {
                waker.wake();
            }
        }
    }
}

/// A call whose events are watched.
pub(crate) struct CallWatch {
    ends: Rc<CallEnds>,
    call: u64,
}

impl CallWatch {
    /// From now on its events are filed for the stream that answers it.
    pub(crate) fn for_stream(self) -> Self {
        if let Some(waiting) = self.ends.calls.borrow_mut().get_mut(&self.call) {
            waiting.has_stream = true;
        }
        self
    }

    /// After which item the stream begins that answers the call, now: the call's events are all after it,
    /// and nothing else that could leave the window while the call waits for its worker. `since`: the newest
    /// item of any thread when a worker got the call.
    pub(crate) fn begins_behind(&self, since: u64) -> u64 {
        let calls = self.ends.calls.borrow();
        let first = calls.get(&self.call).and_then(|waiting| waiting.first);
        first.map_or(self.ends.head.get(), |first| first - 1).max(since)
    }

    /// Waits until all of the call's events have come here, for ever if its end is never told. Returns the
    /// last one that the caller may receive by its scope.
    pub(crate) async fn ended(&self) -> Option<EventId> {
        poll_fn(|cx| match self.ends.calls.borrow_mut().get_mut(&self.call) {
            Some(waiting) if !waiting.has_ended => {
                waiting.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            waiting => Poll::Ready(waiting.and_then(|waiting| waiting.last)),
        })
        .await
    }
}

impl Drop for CallWatch {
    fn drop(&mut self) {
        self.ends.calls.borrow_mut().remove(&self.call);
    }
}
