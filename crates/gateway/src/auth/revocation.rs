//! Users that were disconnected: their older tokens are refused (C4.8).
//!
//! Kept in memory alone. Who calls [`crate::Gateway::disconnect`] repeats what is to outlive a restart.
//!
//! Not for ending streams: the slab asks for each of its own when [`Revocations::version`] has moved.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::RwLock;

use crate::subscribe::Subscription;

/// Users that are remembered: some megabytes. Beyond it the one that was disconnected longest ago is forgotten, whose
/// older tokens have had the most time to expire.
const MAX_USERS: usize = 100_000;

#[derive(Default)]
pub(crate) struct Revocations {
    /// Written by the main thread alone, after `before` (release), so that who sees it move (acquire) sees why.
    version: AtomicU64,
    /// By user id: tokens issued before this are refused.
    before: RwLock<HashMap<Box<str>, SystemTime>>,
}

impl Revocations {
    /// Returns a user who had to be forgotten for want of room, as whether there was one.
    pub(crate) fn revoke(&self, user_id: &str, issued_before: SystemTime) -> bool {
        let mut before = self.before.write();
        let known = before.entry(Box::from(user_id)).or_insert(issued_before);
        *known = issued_before.max(*known);
        let mut forgotten = false;
        if before.len() > MAX_USERS
            && let Some(oldest) = before.iter().min_by_key(|(_, before)| **before).map(|(id, _)| id.clone())
        {
            before.remove(&oldest);
            forgotten = true;
        }
        drop(before);
        self.version.fetch_add(1, Ordering::Release);
        forgotten
    }

    /// Moves with every revocation.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// A token that does not say when it was issued counts as old; one that says so in whole seconds counts from their
    /// beginning, so one from the very second of the call may be refused, but none slips through.
    pub(crate) fn is_refused(&self, user_id: Option<&str>, issued_at: Option<SystemTime>) -> bool {
        let Some(user_id) = user_id else { return false };
        let before = self.before.read();
        before.get(user_id).is_some_and(|before| issued_at.is_none_or(|issued_at| issued_at < *before))
    }

    /// Whether a stream that is open is to end.
    pub(crate) fn is_revoked(&self, subscription: &Subscription) -> bool {
        let user_id = subscription.identity.as_ref().and_then(|identity| identity.user_id());
        self.is_refused(user_id, subscription.issued_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn tokens_from_before_the_call_are_refused_and_later_ones_are_not() {
        let revocations = Revocations::default();
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_500);
        let version = revocations.version();
        assert!(!revocations.revoke("alice", now));
        assert_ne!(revocations.version(), version);
        let at = |millis| Some(SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
        for (user, issued_at, refused) in [
            (Some("alice"), at(1_000_499), true),
            (Some("alice"), at(1_000_000), true),
            (Some("alice"), None, true),
            (Some("alice"), at(1_000_500), false),
            (Some("alice"), at(1_001_000), false),
            (Some("Alice"), at(0), false),
            (Some("bob"), None, false),
            (None, None, false),
        ] {
            assert_eq!(revocations.is_refused(user, issued_at), refused, "{user:?} {issued_at:?}");
        }
        revocations.revoke("alice", SystemTime::UNIX_EPOCH);
        assert!(revocations.is_refused(Some("alice"), at(1_000_499)), "an older call takes nothing back");
    }

    #[test]
    fn a_hundred_thousand_users_are_remembered_and_the_oldest_is_forgotten_beyond() {
        let revocations = Revocations::default();
        for n in 0..MAX_USERS as u64 {
            let forgotten =
                revocations.revoke(&n.to_string(), SystemTime::UNIX_EPOCH + Duration::from_secs(n));
            assert!(!forgotten);
        }
        assert!(revocations.revoke("x", SystemTime::now()));
        assert!(!revocations.is_refused(Some("0"), None));
        assert!(revocations.is_refused(Some("1"), None));
        assert!(revocations.is_refused(Some("x"), None));
    }
}
