//! How many sessions of one user were ended lately: one account that logs in and out without a pause must not
//! push everybody else's refusals out of memory.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How many sessions of one user are remembered one by one, within which time. Beyond either number each
/// further logout ends all older sessions of the user, which takes no more memory; nobody who logs out of
/// real sessions has so many. The second pair is for a patient attacker: a thousand an hour are
/// [`MAX_TOKENS`](super::MAX_TOKENS) after four days, and tokens live for fourteen.
const LIMITS: [(u32, Duration); 2] =
    [(1000, Duration::from_secs(3600)), (10_000, Duration::from_secs(14 * 24 * 3600))];

/// Users that are counted, in some hundred kilobytes. Beyond it all counts begin anew.
const MAX_USERS: usize = 10_000;

#[derive(Default)]
pub(crate) struct EndedSessions {
    /// For each of [`LIMITS`].
    counts: Mutex<[Counts; LIMITS.len()]>,
    hasher: RandomState,
}

#[derive(Default)]
struct Counts {
    since: Option<Instant>,
    /// By a hash of the user's id, which may be long.
    of: HashMap<u64, u32>,
}

impl EndedSessions {
    /// Counts one more session, and says whether there are too many to be remembered one by one.
    pub(crate) fn count(&self, user_id: &str, now: Instant) -> bool {
        let user = self.hasher.hash_one(user_id);
        let mut is_too_much = false;
        for (counts, (most, window)) in self.counts.lock().iter_mut().zip(LIMITS) {
            is_too_much |= counts.count(user, window, now) > most;
        }
        is_too_much
    }
}

impl Counts {
    fn count(&mut self, user: u64, window: Duration, now: Instant) -> u32 {
        let is_over = self.since.is_none_or(|since| now.duration_since(since) >= window);
        if is_over || (self.of.len() >= MAX_USERS && !self.of.contains_key(&user)) {
            *self = Self { since: Some(now), of: HashMap::new() };
        }
        let count = self.of.entry(user).or_insert(0);
        *count = count.saturating_add(1);
        *count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u32 = LIMITS[0].0;
    const WINDOW: Duration = LIMITS[0].1;

    /// Attack: one account logs in and out a thousand times an hour, until others' logouts are forgotten.
    #[test]
    fn ten_thousand_sessions_of_one_user_in_fourteen_days_are_no_more_than_that() {
        let (ended, start) = (EndedSessions::default(), Instant::now());
        let one_by_one = |at: Instant, count: u32| (0..count).filter(|_| !ended.count("eve", at)).count();
        for hour in 0..10 {
            assert_eq!(one_by_one(start + WINDOW * hour, 1100), if hour < 9 { 1000 } else { 100 }, "{hour}");
        }
        for hour in 10..14 * 24 {
            assert_eq!(one_by_one(start + WINDOW * hour, 1), 0, "{hour}");
        }
        assert!(!ended.count("alice", start + WINDOW * 20));
        assert_eq!(one_by_one(start + WINDOW * 14 * 24, 1001), 1000);
    }

    #[test]
    fn a_thousand_sessions_of_one_user_in_an_hour_are_no_more_than_that() {
        let (ended, now) = (EndedSessions::default(), Instant::now());
        for n in 1..=MOST {
            assert!(!ended.count("eve", now), "{n}");
        }
        assert!(ended.count("eve", now) && ended.count("eve", now + WINDOW - Duration::from_secs(1)));
        assert!(!ended.count("alice", now), "another one's are others");
        assert!(!ended.count("eve", now + WINDOW));
    }

    #[test]
    fn so_many_users_are_counted_and_then_it_begins_anew() {
        let (ended, now) = (EndedSessions::default(), Instant::now());
        assert!((0..MAX_USERS - 1).all(|n| !ended.count(&n.to_string(), now)));
        assert!((0..MOST).all(|_| !ended.count("eve", now)));
        assert!(ended.count("eve", now));
        assert_eq!(ended.counts.lock()[0].of.len(), MAX_USERS);
        assert!(!ended.count("one more", now) && !ended.count("eve", now));
        assert_eq!(ended.counts.lock()[0].of.len(), 2);
    }
}
