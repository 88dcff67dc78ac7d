//! Who is listening: how the main thread asks the runtime threads for their streams, for `sse.subscribers`
//! (C8.1).
//!
//! A thread looks at some of its slots per round, between its other work, and answers when it has seen all,
//! so a list of ten thousand delays no event. Each line of the list was true when its stream was looked at.
//!
//! Not for counting: that is `stats`.

use std::net::IpAddr;
use std::time::SystemTime;

use crossbeam_channel::{Receiver, Sender, bounded};

/// Requests for a list that wait for one runtime thread. Beyond it [`crate::Gateway::subscribers`] answers
/// with what the other threads have.
const MAX_WAITING: usize = 16;

/// Slots that are looked at per round.
const SLOTS_PER_ROUND: usize = 256;

/// One open stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriberInfo {
    /// The peer's, or what a trusted proxy says it is.
    pub address: IpAddr,
    /// User id of its identity, if it has one.
    pub user_id: Option<String>,
    /// User name of its identity, if it has one.
    pub user_name: Option<String>,
    /// Path of its URL, without the query string.
    pub path: String,
    /// Its topics (C4.5).
    pub topics: Vec<String>,
    /// When it began.
    pub connected_at: SystemTime,
    /// Events that were handed to its socket.
    pub events: u64,
    /// Bytes that were handed to its socket.
    pub bytes: u64,
    /// Id of the position that the stream has reached: everything up to there was sent, or is not for it.
    pub last_event_id: String,
}

/// The answers to [`crate::Gateway::subscribers`], as they come in.
#[derive(Debug)]
pub struct Subscribers {
    answers: Receiver<Vec<SubscriberInfo>>,
    /// Threads that have not answered.
    missing: usize,
    limit: usize,
    found: Vec<SubscriberInfo>,
}

impl Subscribers {
    /// The streams, once every runtime thread has answered; `None` before. Never waits.
    pub fn poll(&mut self) -> Option<Vec<SubscriberInfo>> {
        while self.missing > 0 {
            match self.answers.try_recv() {
                Ok(found) => self.take(found),
                Err(error) if error.is_empty() => return None,
                // A thread that has ended will not answer.
                Err(_) => self.missing = 0,
            }
        }
        Some(std::mem::take(&mut self.found))
    }

    fn take(&mut self, found: Vec<SubscriberInfo>) {
        self.missing -= 1;
        let room = self.limit.saturating_sub(self.found.len());
        self.found.extend(found.into_iter().take(room));
    }
}

/// What one runtime thread is asked.
struct ListRequest {
    limit: usize,
    /// Has room for the lists of all threads.
    answer: Sender<Vec<SubscriberInfo>>,
}

/// For each runtime thread the requests for its list.
pub(crate) struct ListRequests(Vec<(Sender<ListRequest>, Receiver<ListRequest>)>);

impl ListRequests {
    pub(crate) fn new(threads: usize) -> Self {
        Self((0..threads).map(|_| bounded(MAX_WAITING)).collect())
    }

    pub(crate) fn ask(&self, limit: usize) -> Subscribers {
        let (answer, answers) = bounded(self.0.len());
        let asked = |(sender, _): &&(Sender<ListRequest>, _)| {
            sender.try_send(ListRequest { limit, answer: answer.clone() }).is_ok()
        };
        let missing = self.0.iter().filter(asked).count();
        Subscribers { answers, missing, limit, found: Vec::new() }
    }

    pub(crate) fn lister(&self, thread: usize) -> Lister {
        Lister { requests: self.0[thread].1.clone(), open: None }
    }
}

/// Makes the lists of one runtime thread.
pub(crate) struct Lister {
    requests: Receiver<ListRequest>,
    open: Option<OpenList>,
}

struct OpenList {
    request: ListRequest,
    /// The slot to be looked at next.
    next: usize,
    found: Vec<SubscriberInfo>,
}

impl Lister {
    /// Goes on with the list that is being made, or begins one; `info` describes a slot. Says whether there
    /// is more to do.
    pub(crate) fn work<T>(&mut self, slots: &[Option<T>], info: impl Fn(&T) -> SubscriberInfo) -> bool {
        let begin = |request| OpenList { request, next: 0, found: Vec::new() };
        let Some(mut list) = self.open.take().or_else(|| self.requests.try_recv().ok().map(begin)) else {
            return false;
        };
        let end = slots.len().min(list.next + SLOTS_PER_ROUND);
        let room = list.request.limit - list.found.len();
        let looked_at = slots.get(list.next..end).unwrap_or(&[]);
        list.found.extend(looked_at.iter().flatten().take(room).map(info));
        list.next = end;
        if end < slots.len() && list.found.len() < list.request.limit {
            self.open = Some(list);
            return true;
        }
        // The main thread may have given up waiting.
        let _ = list.request.answer.try_send(list.found);
        !self.requests.is_empty()
    }
}
