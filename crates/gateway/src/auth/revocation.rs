//! Tokens that are refused although they are good: older tokens of users who were disconnected (C4.8), and
//! tokens that somebody has logged out with (C7.5).
//!
//! Kept in memory alone: `refusals` reads the file, and tells this list what is in it.
//!
//! **Time alone forgets no refusal whose token may still be good.** A token's entry goes when the token has
//! expired. A user's entry never goes by time: some issuer's token may be good until the year 9999, and one
//! without `iat` does not say how old it is. So users are bounded by number, and the log says when one is
//! forgotten.
//!
//! Not for ending streams: the slab checks its streams when [`Revocations::version`] has moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::RwLock;

use super::by_time::{ByTime, Inserted, Weight};

/// Users that are remembered: some 20 MB, without their ids. Beyond it the user that was disconnected longest
/// ago is forgotten, whose older tokens have had the most time to expire.
pub(crate) const MAX_USERS: usize = 100_000;

/// Bytes of their ids together: 160 for each of [`MAX_USERS`], or a thousand ids of the greatest length in a
/// token. Beyond it users are forgotten as beyond [`MAX_USERS`].
const MAX_USER_BYTES: usize = 16 << 20;

/// Tokens that are remembered of users with an id, and as many of those without: some 20 MB each. Beyond it
/// those that have expired are forgotten, and if there are none the one of the others that would expire
/// first: a logout always counts, until the next one.
///
/// The two are apart, because sessions without an id are counted for nobody (`ended.rs`): who logs in and out
/// without one pushes out others of that kind only, who are nobody in particular either.
pub(crate) const MAX_TOKENS: usize = 100_000;

/// Expired tokens that are forgotten with each new one. More than one, so that their number falls; few,
/// because requests wait meanwhile.
const FORGOTTEN_AT_ONCE: usize = 4;

/// Names a token without revealing it: the SHA-256 of its header and claims as they stand in it. Not of its
/// signature, because some algorithms have another good one for the same message (ECDSA: s and n - s).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn to_text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl Weight for TokenDigest {}

impl Weight for Arc<str> {
    fn weight(&self) -> usize {
        self.len()
    }
}

/// Somebody or something that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NewRefusal {
    /// Tokens of this user that were issued before this.
    User { id: Arc<str>, before: SystemTime },
    /// This token, which would be good until then.
    Token { digest: TokenDigest, until: SystemTime, bearer: Bearer },
}

impl Weight for NewRefusal {
    fn weight(&self) -> usize {
        match self {
            Self::User { id, .. } => id.weight(),
            Self::Token { digest, .. } => digest.weight(),
        }
    }
}

/// Whose a token is, as far as it matters for forgetting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bearer {
    /// A user with an id.
    Known,
    /// It has no user id.
    Nameless,
}

pub(crate) struct Revocations {
    /// Raised after a refusal was written (release), so that a thread that sees the new version (acquire)
    /// sees the refusal.
    version: AtomicU64,
    /// By user id: tokens issued before this are refused. Written by the keeper of the file and the main
    /// thread.
    before: RwLock<ByTime<Arc<str>>>,
    /// Tokens of users that are refused, and until when they would be good. Written by every thread.
    tokens: RwLock<ByTime<TokenDigest>>,
    /// Those without a user id.
    nameless: RwLock<ByTime<TokenDigest>>,
}

impl Default for Revocations {
    fn default() -> Self {
        Self {
            version: AtomicU64::new(0),
            before: RwLock::new(ByTime::new(MAX_USERS, MAX_USER_BYTES)),
            tokens: RwLock::new(ByTime::new(MAX_TOKENS, 0)),
            nameless: RwLock::new(ByTime::new(MAX_TOKENS, 0)),
        }
    }
}

/// What taking in refusals has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TakenIn {
    /// Something was not known: streams may have to end.
    pub(crate) changed: bool,
    /// A user had to be forgotten for want of room.
    pub(crate) forgot_user: bool,
    /// A token that has not expired had to be forgotten.
    pub(crate) forgot_token: bool,
}

impl Revocations {
    /// Takes in refusals that the file keeps. The lock is held for one refusal at a time, so that requests
    /// get their turn between two.
    pub(crate) fn take_in(&self, refusals: impl IntoIterator<Item = NewRefusal>, now: SystemTime) -> TakenIn {
        self.take(refusals, now, false)
    }

    /// Takes in a refusal that somebody asks for now. If one must be forgotten it is not this one.
    pub(crate) fn take_in_first(&self, refusal: NewRefusal, now: SystemTime) -> TakenIn {
        self.take([refusal], now, true)
    }

    fn take(
        &self,
        refusals: impl IntoIterator<Item = NewRefusal>,
        now: SystemTime,
        makes_room: bool,
    ) -> TakenIn {
        let mut taken = TakenIn::default();
        for refusal in refusals {
            let inserted = match refusal {
                NewRefusal::User { id, before } => {
                    let mut users = self.before.write();
                    if makes_room && users.get::<str>(&id).is_none() {
                        taken.forgot_user |= users.make_room(id.weight());
                    }
                    let inserted = users.insert(id, before);
                    taken.forgot_user |= inserted == Inserted::Forgetting;
                    inserted
                }
                NewRefusal::Token { until, .. } if until <= now => continue,
                NewRefusal::Token { digest, until, bearer } => {
                    let mut tokens = self.tokens_of(bearer).write();
                    tokens.forget_until(now, FORGOTTEN_AT_ONCE);
                    if tokens.get(&digest).is_none() {
                        if !makes_room && tokens.has_no_place_for(until) {
                            taken.forgot_token = true;
                            continue;
                        }
                        taken.forgot_token |= makes_room && tokens.make_room(0);
                    }
                    let inserted = tokens.insert(digest, until);
                    taken.forgot_token |= inserted == Inserted::Forgetting;
                    inserted
                }
            };
            taken.changed |= inserted != Inserted::Known;
        }
        if taken.changed {
            self.version.fetch_add(1, Ordering::Release);
        }
        taken
    }

    /// The users after `last`, in the order in which they are forgotten.
    pub(crate) fn users(
        &self,
        last: Option<&(SystemTime, Arc<str>)>,
        most: usize,
    ) -> Vec<(SystemTime, Arc<str>)> {
        self.before.read().page(last, most)
    }

    /// The tokens after `last`, in the order in which they are forgotten.
    pub(crate) fn tokens(
        &self,
        bearer: Bearer,
        last: Option<&(SystemTime, TokenDigest)>,
        most: usize,
    ) -> Vec<(SystemTime, TokenDigest)> {
        self.tokens_of(bearer).read().page(last, most)
    }

    pub(crate) fn is_refused_token(&self, token: &TokenDigest) -> bool {
        [&self.tokens, &self.nameless].into_iter().any(|tokens| tokens.read().get(token).is_some())
    }

    fn tokens_of(&self, bearer: Bearer) -> &RwLock<ByTime<TokenDigest>> {
        match bearer {
            Bearer::Known => &self.tokens,
            Bearer::Nameless => &self.nameless,
        }
    }

    /// Moves with every revocation.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// A token that does not say when it was issued counts as old; one that says so in whole seconds counts
    /// from their beginning, so one from the very second of the call may be refused, but none slips through.
    pub(crate) fn is_refused(&self, user_id: Option<&str>, issued_at: Option<SystemTime>) -> bool {
        let Some(user_id) = user_id else { return false };
        let before = self.before.read().get(user_id);
        before.is_some_and(|before| issued_at.is_none_or(|issued_at| issued_at < before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    fn user(id: &str, before: SystemTime) -> NewRefusal {
        NewRefusal::User { id: Arc::from(id), before }
    }

    fn token(n: usize, until: SystemTime) -> NewRefusal {
        NewRefusal::Token { digest: TokenDigest::of(&n.to_string()), until, bearer: Bearer::Known }
    }

    #[test]
    fn tokens_from_before_the_call_are_refused_and_later_ones_are_not() {
        let revocations = Revocations::default();
        let (now, version) = (at(1_000_500), revocations.version());
        assert!(revocations.take_in([user("alice", now)], now).changed);
        assert_ne!(revocations.version(), version);
        for (user, issued_at, refused) in [
            (Some("alice"), Some(1_000_499), true),
            (Some("alice"), Some(1_000_000), true),
            (Some("alice"), None, true),
            (Some("alice"), Some(1_000_500), false),
            (Some("alice"), Some(1_001_000), false),
            (Some("Alice"), Some(0), false),
            (Some("bob"), None, false),
            (None, None, false),
        ] {
            assert_eq!(revocations.is_refused(user, issued_at.map(at)), refused, "{user:?} {issued_at:?}");
        }
        assert!(!revocations.take_in([user("alice", at(0))], now).changed, "an older call is no news");
        assert!(revocations.is_refused(Some("alice"), Some(at(1_000_499))), "and takes nothing back");
    }

    #[test]
    fn what_is_known_moves_no_version() {
        let revocations = Revocations::default();
        let told = || [user("alice", at(5)), token(1, at(9_000))];
        assert!(revocations.take_in(told(), at(0)).changed);
        let version = revocations.version();
        assert_eq!(revocations.take_in(told(), at(0)), TakenIn::default());
        assert_eq!(revocations.version(), version, "else every stream would be looked at again");
    }

    #[test]
    fn a_hundred_thousand_users_are_remembered_and_the_oldest_is_forgotten_beyond() {
        let revocations = Revocations::default();
        // Told backwards, as a file that was written anew may be.
        let told = (1..=MAX_USERS as u64).rev().map(|n| user(&n.to_string(), at(n)));
        assert!(!revocations.take_in(told, at(0)).forgot_user);
        assert!(revocations.take_in([user("older than all", at(0))], at(0)).forgot_user);
        assert!(!revocations.is_refused(Some("older than all"), None));
        assert!(revocations.is_refused(Some("1"), None));
        assert!(revocations.take_in([user("x", SystemTime::now())], at(0)).forgot_user);
        assert!(!revocations.is_refused(Some("1"), None));
        assert!(revocations.is_refused(Some("2"), None));
        assert!(revocations.is_refused(Some("x"), None));
    }

    // Attack: a logout by which all of a user's sessions up to an old token's end, where all others were
    // disconnected later.
    #[test]
    fn who_ends_older_sessions_than_anybody_else_is_refused_all_the_same() {
        let revocations = Revocations::default();
        let told = (1..=MAX_USERS as u64).map(|n| user(&n.to_string(), at(9_000 + n)));
        assert!(!revocations.take_in(told, at(0)).forgot_user);
        let taken = revocations.take_in_first(user("eve", at(5)), at(0));
        assert!(taken.changed && taken.forgot_user);
        assert!(revocations.is_refused(Some("eve"), Some(at(4))));
        assert!(!revocations.is_refused(Some("1"), None) && revocations.is_refused(Some("2"), None));
        // It is a later moment of somebody who is known: nobody has to go.
        assert!(!revocations.take_in_first(user("eve", at(6)), at(0)).forgot_user);
        assert!(revocations.is_refused(Some("eve"), Some(at(5))) && revocations.is_refused(Some("2"), None));
    }

    #[test]
    fn long_user_ids_do_not_make_it_larger() {
        let revocations = Revocations::default();
        let id = |n: usize| format!("{n:016384}");
        let most = MAX_USER_BYTES / id(0).len();
        let told = (0..most).map(|n| user(&id(n), at(n as u64)));
        assert!(!revocations.take_in(told, at(0)).forgot_user);
        assert!(revocations.take_in([user("x", at(9_000_000))], at(0)).forgot_user);
        assert!(!revocations.is_refused(Some(&id(0)), None));
        assert!(revocations.is_refused(Some(&id(1)), None));
    }

    #[test]
    fn a_token_that_was_logged_out_with_is_refused_and_others_are_not() {
        let revocations = Revocations::default();
        let (now, digest) = (SystemTime::now(), TokenDigest::of("header.claims"));
        let refusal = |until| [NewRefusal::Token { digest, until, bearer: Bearer::Known }];
        let version = revocations.version();
        assert!(!revocations.is_refused_token(&digest));
        assert!(revocations.take_in(refusal(now + Duration::from_secs(9)), now).changed);
        assert_ne!(revocations.version(), version);
        assert!(revocations.is_refused_token(&digest));
        assert!(!revocations.is_refused_token(&TokenDigest::of("header.claimt")));
        assert!(!revocations.take_in(refusal(now + Duration::from_secs(1)), now).changed);
        assert_eq!(TokenDigest::parse(&digest.to_text()), Some(digest));
        assert_eq!(digest.to_text().len(), 43);
        assert_eq!(TokenDigest::parse("x"), None);
    }

    #[test]
    fn beyond_a_hundred_thousand_tokens_those_that_have_expired_are_forgotten_first() {
        let revocations = Revocations::default();
        let told = (1..=MAX_TOKENS).map(|n| token(n, at(n as u64)));
        assert_eq!(revocations.take_in(told, at(0)), TakenIn { changed: true, ..TakenIn::default() });
        let is_refused = |n: usize| revocations.is_refused_token(&TokenDigest::of(&n.to_string()));
        // Number 1 has expired.
        assert!(!revocations.take_in([token(MAX_TOKENS + 1, at(900_000))], at(1)).forgot_token);
        assert!(!is_refused(1) && is_refused(2));
        assert!(revocations.take_in([token(MAX_TOKENS + 2, at(900_000))], at(1)).forgot_token);
        assert!(!is_refused(2) && is_refused(3));
        assert!(!revocations.take_in([token(0, at(1))], at(1)).changed, "one that has expired is no news");
        // Attack: sessions of a long life, ended by the thousand, so that nobody else's logout counts.
        assert!(revocations.take_in_first(token(MAX_TOKENS + 3, at(2)), at(1)).forgot_token);
        assert!(is_refused(MAX_TOKENS + 3) && !is_refused(3) && is_refused(4));
        // Read from the file once more, what was forgotten takes nobody's place who comes after it.
        assert!(revocations.take_in([token(3, at(2)), token(2, at(2))], at(1)).forgot_token);
        assert!(is_refused(4) && is_refused(MAX_TOKENS + 3));
    }

    // Attack: logins without a user id, which are counted for nobody, and a logout of each, until others'
    // logouts are forgotten.
    #[test]
    fn sessions_without_a_user_id_push_out_each_other_and_nobody_elses_logout() {
        let revocations = Revocations::default();
        let nameless = |n: usize| {
            let digest = TokenDigest::of(&format!("nameless {n}"));
            NewRefusal::Token { digest, until: at(900_000 + n as u64), bearer: Bearer::Nameless }
        };
        let is_refused = |what: &str| revocations.is_refused_token(&TokenDigest::of(what));
        // The first to be forgotten, if anybody's.
        assert!(revocations.take_in_first(token(1, at(9)), at(0)).changed);
        for n in 1..=MAX_TOKENS {
            assert!(!revocations.take_in_first(nameless(n), at(0)).forgot_token, "{n}");
        }
        assert!(is_refused("1") && is_refused("nameless 1"));
        assert!(revocations.take_in_first(nameless(MAX_TOKENS + 1), at(0)).forgot_token);
        assert!(is_refused("1") && !is_refused("nameless 1") && is_refused("nameless 2"));
        // Nor the other way round: where users with an id have taken all of theirs, one without still counts.
        let told = (2..=MAX_TOKENS).map(|n| token(n, at(900_000)));
        assert!(!revocations.take_in(told, at(0)).forgot_token);
        assert!(revocations.take_in_first(token(MAX_TOKENS + 1, at(900_000)), at(0)).forgot_token);
        assert!(!is_refused("1") && is_refused("nameless 2"));
    }
}
