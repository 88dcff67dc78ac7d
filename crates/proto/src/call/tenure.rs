//! How long a call worker serves (C7.2).
//!
//! Memory that Postgres and the languages keep for a session must not grow for ever, and state that the
//! clean-up after a call cannot undo (session variables of PL/Python) must not stay for ever. So a worker
//! that has served long enough is replaced when it has answered its call.
//!
//! Not for other reasons to replace one, nor for doing it.

use std::time::Duration;

/// Calls of one worker: a session that keeps a kilobyte of each has 100 MB at most. A new session costs some
/// milliseconds.
const MAX_CALLS: u64 = 100_000;

/// Age of one worker: what a worker with few calls keeps is gone by then.
const MAX_AGE: Duration = Duration::from_secs(3_600);

/// How long one worker has served, and how long it may.
#[derive(Clone, Copy, Debug)]
pub struct Tenure {
    calls: u64,
    max_calls: u64,
    max_age: Duration,
}

impl Default for Tenure {
    fn default() -> Self {
        Self::new(MAX_CALLS, MAX_AGE)
    }
}

impl Tenure {
    /// A worker that may serve this many calls, and this long.
    pub fn new(max_calls: u64, max_age: Duration) -> Self {
        Self { calls: 0, max_calls, max_age }
    }

    /// It is given a call.
    pub fn count_call(&mut self) {
        self.calls = self.calls.saturating_add(1);
    }

    /// Whether to replace the worker when it has no call; `age` is how long ago it was asked for.
    pub fn is_over(&self, age: Duration) -> bool {
        self.calls >= self.max_calls || age >= self.max_age
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_serves_a_hundred_thousand_calls() {
        let mut tenure = Tenure::default();
        for calls in 0..=100_001 {
            assert_eq!(tenure.is_over(Duration::ZERO), calls >= 100_000, "{calls} calls");
            tenure.count_call();
        }
    }

    #[test]
    fn a_worker_serves_an_hour() {
        let (hour, moment) = (Duration::from_secs(60 * 60), Duration::from_nanos(1));
        for (age, is_over) in
            [(Duration::ZERO, false), (hour - moment, false), (hour, true), (hour + moment, true)]
        {
            assert_eq!(Tenure::default().is_over(age), is_over, "{age:?}");
        }
    }
}
