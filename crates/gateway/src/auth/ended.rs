//! How many sessions of one user were ended lately: one account that logs in and out without a pause must not push
//! everybody else's refusals out of memory.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Sessions of one user that are ended one by one within [`WINDOW`]. Beyond it the user's older ones are ended with each, which
/// takes no more room: nobody has so many who logs out of them.
const MOST: u32 = 1000;

const WINDOW: Duration = Duration::from_secs(3600);

/// Users that are counted: some hundred kilobytes. Beyond it the count begins anew.
const MAX_USERS: usize = 10_000;

#[derive(Default)]
pub(crate) struct EndedSessions {
    counts: Mutex<Counts>,
    hasher: RandomState,
}

#[derive(Default)]
struct Counts {
    since: Option<Instant>,
    /// By a hash of the user's id, which may be long.
    of: HashMap<u64, u32>,
}

impl EndedSessions {
    /// Counts one more; whether these are too many to be remembered one by one.
    pub(crate) fn count(&self, user_id: &str, now: Instant) -> bool {
        let user = self.hasher.hash_one(user_id);
        let mut counts = self.counts.lock();
        let is_over = counts.since.is_none_or(|since| now.duration_since(since) >= WINDOW);
        if is_over || (counts.of.len() >= MAX_USERS && !counts.of.contains_key(&user)) {
            *counts = Counts { since: Some(now), of: HashMap::new() };
        }
        let count = counts.of.entry(user).or_insert(0);
        *count += 1;
        *count > MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(ended.counts.lock().of.len(), MAX_USERS);
        assert!(!ended.count("one more", now) && !ended.count("eve", now));
        assert_eq!(ended.counts.lock().of.len(), 2);
    }
}
