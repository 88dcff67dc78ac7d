//! How often a login from an address has failed lately (C1.3 `login_failures`): whoever guesses passwords
//! gets few guesses a minute, however many he sends at a time.
//!
//! Not for what a login is, nor for how many requests an address may have at a time.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// For how long a failure counts.
const MINUTE: Duration = Duration::from_secs(60);

/// Failures that are kept, of all addresses, in less than a megabyte. Beyond it the oldest are forgotten: who
/// has so many addresses has as many guesses as these.
const MAX_KEPT: usize = 10_000;

/// The failures of the last minute.
#[derive(Default)]
pub(crate) struct LoginFailures(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// The earliest first.
    all: VecDeque<(Instant, IpAddr)>,
    /// The same by address; never empty.
    of: HashMap<IpAddr, VecDeque<Instant>>,
}

impl LoginFailures {
    /// Whether logins from `address` ([`network`](crate::network::network)) are answered.
    ///
    /// # Errors
    /// `limit` or more of them have failed within a minute; how long until there are fewer.
    pub(crate) fn check(&self, address: IpAddr, limit: usize, now: Instant) -> Result<(), Duration> {
        let mut kept = self.0.lock();
        kept.forget_until(now);
        let Some(failures) = kept.of.get(&address) else { return Ok(()) };
        // The one that must be over for the number to be below the limit.
        let Some(last) = failures.len().checked_sub(limit).and_then(|index| failures.get(index)) else {
            return Ok(());
        };
        Err(MINUTE.saturating_sub(now.saturating_duration_since(*last)))
    }

    /// One more has failed.
    pub(crate) fn count(&self, address: IpAddr, now: Instant) {
        let mut kept = self.0.lock();
        kept.forget_until(now);
        if kept.all.len() >= MAX_KEPT {
            kept.forget_first();
        }
        kept.all.push_back((now, address));
        kept.of.entry(address).or_default().push_back(now);
    }
}

impl Kept {
    fn forget_until(&mut self, now: Instant) {
        let is_over = |(at, _): &(Instant, IpAddr)| now.saturating_duration_since(*at) >= MINUTE;
        while self.all.front().is_some_and(is_over) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((_, address)) = self.all.pop_front() else { return };
        let Some(failures) = self.of.get_mut(&address) else { return };
        failures.pop_front();
        if failures.is_empty() {
            self.of.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LIMIT: usize = 3;

    fn address(last: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + last).into())
    }

    #[test]
    fn a_login_is_refused_at_the_limit_until_the_first_failure_is_a_minute_old() {
        let (failures, start) = (LoginFailures::default(), Instant::now());
        let at = |second: u64| start + Duration::from_secs(second);
        for second in [0, 10, 20] {
            assert_eq!(failures.check(address(1), LIMIT, at(second)), Ok(()));
            failures.count(address(1), at(second));
        }
        assert_eq!(failures.check(address(1), LIMIT, at(20)), Err(Duration::from_secs(40)));
        assert_eq!(failures.check(address(1), LIMIT, at(59)), Err(Duration::from_secs(1)));
        assert_eq!(failures.check(address(1), LIMIT, at(60)), Ok(()));
        failures.count(address(1), at(60));
        assert_eq!(failures.check(address(1), LIMIT, at(60)), Err(Duration::from_secs(10)));
        // A limit that was lowered meanwhile.
        assert_eq!(failures.check(address(1), 1, at(60)), Err(Duration::from_secs(60)));
    }

    #[test]
    fn addresses_are_counted_apart() {
        let (failures, now) = (LoginFailures::default(), Instant::now());
        (0..LIMIT).for_each(|_| failures.count(address(1), now));
        assert!(failures.check(address(1), LIMIT, now).is_err());
        assert_eq!(failures.check(address(2), LIMIT, now), Ok(()));
    }

    // Attack: failures from as many addresses as there are, to fill the memory.
    #[test]
    fn the_oldest_failures_are_forgotten_at_the_bound_and_not_below_it() {
        let (failures, now) = (LoginFailures::default(), Instant::now());
        failures.count(address(0), now);
        for other in 1..MAX_KEPT {
            failures.count(address(other as u32), now);
        }
        assert!(failures.check(address(0), 1, now).is_err());
        failures.count(address(u32::from(u16::MAX) + 9), now);
        assert_eq!(failures.check(address(0), 1, now), Ok(()));
        let kept = failures.0.lock();
        assert_eq!((kept.all.len(), kept.of.len()), (MAX_KEPT, MAX_KEPT));
        drop(kept);
        assert_eq!(failures.check(address(1), 1, now + MINUTE), Ok(()));
        assert!(failures.0.lock().of.is_empty());
    }
}
