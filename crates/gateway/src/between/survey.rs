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

/// Paths whose streams are counted: those that were met first. How many streams others have is not known
/// then.
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
    by_path: HashMap<Box<str>, u64>,
    /// There are streams of other paths, too.
    has_uncounted: bool,
}

impl Survey {
    pub(crate) fn count(&mut self, path: &str, streams: u64) {
        self.total += streams;
        if path.len() <= MAX_PATH_BYTES {
            self.count_path(path, streams);
        }
    }

    /// How many streams a path has, if that is known.
    pub(crate) fn of_path(&self, path: &str) -> Option<u64> {
        let uncounted = (path.len() <= MAX_PATH_BYTES && !self.has_uncounted).then_some(0);
        self.by_path.get(path).copied().or(uncounted)
    }

    fn count_path(&mut self, path: &str, streams: u64) {
        if let Some(count) = self.by_path.get_mut(path) {
            *count += streams;
        } else if self.by_path.len() < MAX_PATHS && self.by_path.try_reserve(1).is_ok() {
            self.by_path.insert(Box::from(path), streams);
        } else {
            self.has_uncounted = true;
        }
    }

    /// What another thread has found. Of a path that one of both has not counted, nothing is known.
    fn add(&mut self, other: Self) {
        self.total += other.total;
        if other.has_uncounted {
            self.by_path.retain(|path, _| other.by_path.contains_key(path));
        }
        let had_uncounted = self.has_uncounted;
        self.has_uncounted |= other.has_uncounted;
        for (path, streams) in &other.by_path {
            if !had_uncounted || self.by_path.contains_key(path) {
                self.count_path(path, *streams);
            }
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// One stream of each of these paths.
    fn found(numbers: std::ops::Range<usize>) -> Survey {
        let mut survey = Survey::default();
        numbers.for_each(|number| survey.count(&format!("/{number}"), 1));
        survey
    }

    // Attack: as many URLs as a role likes, with a stream each.
    #[test]
    fn of_4096_paths_each_is_counted_and_of_one_more_nothing_is_known() {
        for paths in [4095, 4096, 4097] {
            let mut survey = found(0..paths);
            survey.count("/0", 5);
            let known = survey.by_path.len();
            assert_eq!((known, survey.total), (paths.min(4096), paths as u64 + 5));
            let uncounted = (paths <= 4096).then_some(0);
            let counts = ["/0", "/4094", "/4096", "/none"].map(|path| survey.of_path(path));
            assert_eq!(counts, [Some(6), Some(1), uncounted, uncounted], "{paths}");
        }
        let mut survey = Survey::default();
        for (bytes, known) in [(299, Some(7)), (300, Some(7)), (301, None)] {
            let path = "x".repeat(bytes);
            survey.count(&path, 7);
            assert_eq!(survey.of_path(&path), known, "{bytes}");
        }
    }

    #[test]
    fn a_count_of_several_threads_is_told_only_if_every_thread_has_it() {
        let all = |threads: &[std::ops::Range<usize>]| {
            threads.iter().fold(Survey::default(), |mut all, thread| {
                all.add(found(thread.clone()));
                all
            })
        };
        let whole = all(&[0..3000, 2000..4096]);
        assert_eq!(
            [0, 2500, 4000, 5000].map(|path| whole.of_path(&format!("/{path}"))),
            [1, 2, 1, 0].map(Some)
        );
        // One of both has not counted 4,096.
        for threads in [[0..4097, 4000..5000], [4000..5000, 0..4097]] {
            let some = all(&threads);
            let counts = [0, 4095, 4096, 4999, 9999].map(|path| some.of_path(&format!("/{path}")));
            assert_eq!(counts, [Some(1), Some(2), None, None, None], "{threads:?}");
            assert_eq!(some.total, 5097);
            ensure_bounded(&some);
        }
        // Together they are too many.
        let many = all(&[0..3000, 3000..6000, 0..10]);
        assert_eq!((many.of_path("/5"), many.total), (Some(2), 6010));
        ensure_bounded(&many);
    }

    fn ensure_bounded(survey: &Survey) {
        assert!(survey.by_path.len() <= MAX_PATHS);
    }
}
