//! Which streams there are, and which of them lag most: how the admin port asks the runtime threads (C8.2),
//! and has one of their streams ended.
//!
//! A thread looks at some of its slots in a round, between its other work (`stream/slab/survey.rs`), and
//! hands over what it has found when it has seen all: so fifteen thousand streams delay no event. Whoever
//! asks waits without holding a thread, and not for ever.
//!
//! Not for the list of all streams: that is `listing`.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// Streams that are told of, of all threads together: those that lag most. The rest is counted.
pub(crate) const MAX_STREAMS: usize = 500;

/// Paths whose streams are counted: those that were met first. Streams of further ones are not in the counts
/// by path.
pub(crate) const MAX_PATHS: usize = 4096;

/// Longest of these paths in bytes. A longer one is not in the counts by path either.
pub(crate) const MAX_PATH_BYTES: usize = 300;

/// Questions of each kind that wait for one runtime thread. The admin port asks one after the other; beyond
/// it a survey is made without this thread, and no stream of it is ended.
const MAX_WAITING: usize = 4;

/// How long a thread may take: it has always answered within milliseconds, unless it hangs.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Names one stream of one gateway: never another one, also when its slot is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamName {
    /// The runtime thread.
    pub(crate) thread: usize,
    /// Its slot, and which of the slot's streams.
    pub(crate) address: u64,
}

/// What is told of one stream. Its texts are cut.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StreamInfo {
    pub(crate) name: StreamName,
    /// Of its URL, without the query.
    pub(crate) path: String,
    /// Name, or else id, of its identity.
    pub(crate) user: Option<String>,
    pub(crate) address: IpAddr,
    pub(crate) since: SystemTime,
    pub(crate) delivered: u64,
    /// Items of the window that it has not come to, be they for it or not.
    pub(crate) lag_events: u64,
    /// Their bytes.
    pub(crate) lag_bytes: u64,
    pub(crate) topics: Vec<String>,
    pub(crate) protocol: &'static str,
    pub(crate) is_tls: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// How many streams there are.
    pub(crate) total: u64,
    /// Those that lag most, and then the newest.
    pub(crate) streams: Vec<StreamInfo>,
    /// How many there are of each path.
    pub(crate) by_path: HashMap<Box<str>, u64>,
}

impl Survey {
    pub(crate) fn count(&mut self, path: &str, streams: u64) {
        self.total += streams;
        if let Some(count) = self.by_path.get_mut(path) {
            *count += streams;
        } else if path.len() <= MAX_PATH_BYTES
            && self.by_path.len() < MAX_PATHS
            && self.by_path.try_reserve(1).is_ok()
        {
            self.by_path.insert(Box::from(path), streams);
        }
    }

    fn add(&mut self, other: Self) {
        let total = self.total + other.total;
        other.by_path.iter().for_each(|(path, streams)| self.count(path, *streams));
        self.total = total;
        if self.streams.try_reserve(other.streams.len()).is_ok() {
            self.streams.extend(other.streams);
        }
        self.streams.sort_by_key(|stream| Reverse((stream.lag_events, stream.since)));
        self.streams.truncate(MAX_STREAMS);
    }
}

/// One runtime thread is to look at its streams.
pub(crate) struct SurveyRequest {
    /// Of how many it is to tell.
    pub(crate) limit: usize,
    /// Has room for the answers of all threads.
    pub(crate) answer: mpsc::Sender<Survey>,
}

/// One runtime thread is to end a stream, and says whether it was there.
pub(crate) struct EndRequest {
    pub(crate) address: u64,
    pub(crate) answer: oneshot::Sender<bool>,
}

/// The questions that wait for one runtime thread.
struct Waiting {
    surveys: (Sender<SurveyRequest>, Receiver<SurveyRequest>),
    ends: (Sender<EndRequest>, Receiver<EndRequest>),
}

/// The same for all of them.
pub(crate) struct Questions(Vec<Waiting>);

impl Questions {
    pub(crate) fn new(threads: usize) -> Self {
        let waiting = |_| Waiting { surveys: bounded(MAX_WAITING), ends: bounded(MAX_WAITING) };
        Self((0..threads).map(waiting).collect())
    }

    /// What one runtime thread is asked.
    pub(crate) fn of_thread(&self, thread: usize) -> (Receiver<SurveyRequest>, Receiver<EndRequest>) {
        let Waiting { surveys, ends } = &self.0[thread];
        (surveys.1.clone(), ends.1.clone())
    }

    /// Has all threads look; they are to be rung.
    pub(crate) fn survey(&self, limit: usize) -> Answers {
        let (answer, answers) = mpsc::channel(self.0.len().max(1));
        let request = || SurveyRequest { limit: limit.min(MAX_STREAMS), answer: answer.clone() };
        let missing = self.0.iter().filter(|thread| thread.surveys.0.try_send(request()).is_ok()).count();
        Answers { answers, missing }
    }

    /// Has a stream ended; its thread is to be rung. `None`: that cannot be asked now.
    pub(crate) fn end(&self, name: StreamName) -> Option<EndAnswer> {
        let (answer, ended) = oneshot::channel();
        let Some(thread) = self.0.get(name.thread) else {
            return Some(EndAnswer(None));
        };
        let request = EndRequest { address: name.address, answer };
        thread.ends.0.try_send(request).ok().map(|()| EndAnswer(Some(ended)))
    }
}

/// What the threads find, as it comes in.
pub(crate) struct Answers {
    answers: mpsc::Receiver<Survey>,
    /// Threads that have not answered.
    missing: usize,
}

impl Answers {
    /// All that comes in time.
    pub(crate) async fn all(mut self) -> Survey {
        let until = Instant::now() + MAX_WAIT;
        let mut all = Survey::default();
        while self.missing > 0
            && let Ok(Some(found)) = timeout_at(until, self.answers.recv()).await
        {
            self.missing -= 1;
            all.add(found);
        }
        all
    }
}

/// What becomes of a stream that is to end.
pub(crate) struct EndAnswer(Option<oneshot::Receiver<bool>>);

impl EndAnswer {
    /// Whether it was there; `None`: its thread did not say so in time.
    pub(crate) async fn was_there(self) -> Option<bool> {
        let Some(answer) = self.0 else { return Some(false) };
        timeout_at(Instant::now() + MAX_WAIT, answer).await.ok()?.ok()
    }
}
