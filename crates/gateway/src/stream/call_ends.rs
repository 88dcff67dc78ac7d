//! Which calls of this thread wait for their own events, and up to where these lie in the order of events:
//! what `SSE-Position` says (C7.9).
//!
//! A call is entered before it is queued, so before its first event comes; the log tells of each event that a
//! call has raised, and of its end, which comes behind all of them. An end is told to every thread, and is
//! nothing to a thread that does not have the call. Nothing is kept of calls that nobody waits for.
//!
//! Not for running calls (`call`), nor for streams.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use sse_proto::admission::{Event, admits_caller};
use sse_proto::identity::Identity;
use sse_proto::sse::EventId;

/// The calls of one runtime thread, by their numbers: at most as many as sockets have a request.
#[derive(Default)]
pub(crate) struct CallEnds(RefCell<HashMap<u64, Waiting>>);

struct Waiting {
    /// The caller's.
    identity: Option<Arc<Identity>>,
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
        let waiting = Waiting { identity, last: None, has_ended: false, has_stream: false, waker: None };
        self.0.borrow_mut().insert(call, waiting);
        CallWatch { ends: Rc::clone(self), call }
    }

    /// Whether a call of this thread is answered with a stream.
    pub(crate) fn has_stream(&self, call: u64) -> bool {
        self.0.borrow().get(&call).is_some_and(|waiting| waiting.has_stream)
    }

    /// A call has raised this event, which has this id.
    pub(crate) fn note(&self, call: u64, id: EventId, event: &Event<'_>) {
        if let Some(waiting) = self.0.borrow_mut().get_mut(&call)
            && admits_caller(event, waiting.identity.as_deref())
        {
            waiting.last = Some(id);
        }
    }

    /// All events of a call have been noted.
    pub(crate) fn ended(&self, call: u64) {
        if let Some(waiting) = self.0.borrow_mut().get_mut(&call) {
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
        if let Some(waiting) = self.ends.0.borrow_mut().get_mut(&self.call) {
            waiting.has_stream = true;
        }
        self
    }

    /// Waits until all of the call's events have come here, for ever if its end is never told. Returns the
    /// last one that the caller may receive by its scope.
    pub(crate) async fn ended(&self) -> Option<EventId> {
        poll_fn(|cx| match self.ends.0.borrow_mut().get_mut(&self.call) {
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
        self.ends.0.borrow_mut().remove(&self.call);
    }
}
