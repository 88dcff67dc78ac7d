//! Tokens that are refused although they are good: the older ones of users who were disconnected (C4.8), and those that
//! somebody has logged out with (C7.5).
//!
//! Kept in memory alone. Who calls [`crate::Gateway::disconnect`] and [`crate::Gateway::refuse_token`] repeats what is to
//! outlive a restart.
//!
//! Not for ending streams: the slab asks for each of its own when [`Revocations::version`] has moved.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::RwLock;

use crate::subscribe::Subscription;

/// Users that are remembered: some megabytes. Beyond it the one that was disconnected longest ago is forgotten, whose
/// older tokens have had the most time to expire.
const MAX_USERS: usize = 100_000;

/// Tokens that are remembered: some megabytes. Beyond it those that have expired are forgotten, and if there are none the
/// one that would expire first.
const MAX_TOKENS: usize = 100_000;

/// Names a token without being one: the SHA-256 of its header and claims as they stand in it. Not of its signature,
/// which can be changed into another good one for some algorithms (of ECDSA: s and n - s).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenDigest([u8; SHA256_OUTPUT_LEN]);

impl TokenDigest {
    /// `message` is what is signed: everything before the last dot.
    pub(crate) fn of(message: &str) -> Self {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(digest(&SHA256, message.as_bytes()).as_ref());
        Self(bytes)
    }

    /// Reads what [`TokenDigest::to_text`] wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    pub(crate) fn to_text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

#[derive(Default)]
pub(crate) struct Revocations {
    /// Moved after what it tells of was written (release), so that who sees it move (acquire) sees why.
    version: AtomicU64,
    /// By user id: tokens issued before this are refused. Written by the main thread alone.
    before: RwLock<HashMap<Box<str>, SystemTime>>,
    /// Tokens that are refused, and until when they would be good. Written by every thread.
    tokens: RwLock<HashMap<TokenDigest, SystemTime>>,
}

/// What became of refusing a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusedToken {
    New,
    Known,
    /// New, and another one had to be forgotten for want of room.
    Forgetting,
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

    /// Refuses this token until it has expired anyway.
    pub(crate) fn refuse(&self, token: TokenDigest, until: SystemTime, now: SystemTime) -> RefusedToken {
        let mut tokens = self.tokens.write();
        if tokens.insert(token, until).is_some() {
            return RefusedToken::Known;
        }
        let mut outcome = RefusedToken::New;
        if tokens.len() > MAX_TOKENS {
            tokens.retain(|_, until| *until > now);
            if tokens.len() > MAX_TOKENS
                && let Some(first) = tokens.iter().min_by_key(|(_, until)| **until).map(|(token, _)| *token)
            {
                tokens.remove(&first);
                outcome = RefusedToken::Forgetting;
            }
        }
        drop(tokens);
        self.version.fetch_add(1, Ordering::Release);
        outcome
    }

    pub(crate) fn is_refused_token(&self, token: &TokenDigest) -> bool {
        self.tokens.read().contains_key(token)
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
            || subscription.token.as_ref().is_some_and(|token| self.is_refused_token(token))
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

    #[test]
    fn a_token_that_was_logged_out_with_is_refused_and_others_are_not() {
        let revocations = Revocations::default();
        let (now, token) = (SystemTime::now(), TokenDigest::of("header.claims"));
        let version = revocations.version();
        assert!(!revocations.is_refused_token(&token));
        assert_eq!(revocations.refuse(token, now + Duration::from_secs(9), now), RefusedToken::New);
        assert_ne!(revocations.version(), version);
        assert!(revocations.is_refused_token(&token));
        assert!(!revocations.is_refused_token(&TokenDigest::of("header.claimt")));
        assert_eq!(revocations.refuse(token, now, now), RefusedToken::Known);
        assert_eq!(TokenDigest::parse(&token.to_text()), Some(token));
        assert_eq!(token.to_text().len(), 43);
        assert_eq!(TokenDigest::parse("x"), None);
    }

    #[test]
    fn beyond_a_hundred_thousand_tokens_those_that_have_expired_are_forgotten_first() {
        let revocations = Revocations::default();
        let now = SystemTime::now();
        let token = |n: usize| TokenDigest::of(&n.to_string());
        let later = |n: usize| now + Duration::from_secs(n as u64);
        for n in 0..MAX_TOKENS {
            assert_eq!(revocations.refuse(token(n), later(n), now), RefusedToken::New);
        }
        // Number 0 has expired.
        assert_eq!(revocations.refuse(token(MAX_TOKENS), later(MAX_TOKENS), now), RefusedToken::New);
        assert!(!revocations.is_refused_token(&token(0)));
        assert_eq!(revocations.refuse(token(MAX_TOKENS + 1), later(5), now), RefusedToken::Forgetting);
        assert!(!revocations.is_refused_token(&token(1)));
        assert!(revocations.is_refused_token(&token(2)));
    }
}
