//! Who a subscriber is: finds the token of a request and says whose it is (C4.7).
//!
//! A request without a token is anonymous; one with a token that is not believed is refused, never taken for
//! anonymous. Secrets, tokens and claims are in no log line, no `Debug` output and no answer.
//!
//! Not for what the identity may see or open: that is `sse_proto::admission`.

mod by_time;
mod cookie;
mod credential;
mod desk;
mod disbelief;
mod ended;
mod key_file;
mod keys;
mod login_failures;
mod revocation;
mod secret;
mod settings;
pub mod token;
mod verify;

pub use secret::{AdminToken, Hidden, MIN_ADMIN_TOKEN_BYTES, MIN_SECRET_BYTES, Secret, TooShort};
pub use settings::{AuthSettings, CookieName, CookieNameError, SameSite};

pub(crate) use cookie::{cleared_cookie, session_cookie};
pub(crate) use credential::{Credential, Source, has_bearer, has_cookie};
pub(crate) use desk::{Desk, Knowledge};
pub(crate) use ended::EndedSessions;
pub(crate) use key_file::private_bytes;
pub(crate) use login_failures::LoginFailures;
pub(crate) use revocation::{Bearer, MAX_TOKENS, NewRefusal, Revocations, TakenIn, TokenDigest};
pub(crate) use settings::NoSecret;
pub(crate) use verify::{MAX_TOKEN_BYTES, Verified};

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::{Mutex, RwLock};

use crate::between::outbox::{Outbox, Severity};
use crate::content::problem::Problem;
use crate::entry::peer::Transport;
use crate::watched_file::{Look, Purpose, Reads};
use disbelief::Disbelief;
use key_file::KeyFile;
use keys::{Effort, Key};
use verify::verify;

/// Pause between two looks at whether a file has changed; looks are made only while requests come.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Knows the keys.
pub(crate) struct Authenticator {
    /// Locked while files are read, so no thread with events may wait for it.
    sources: Mutex<Sources>,
    /// A thread is looking at the files, or about to: set by the thread that sends it, cleared by itself.
    is_looking: AtomicBool,
    /// All keys together, replaced as a whole. Written with `sources` locked, read once per token.
    keys: RwLock<Arc<[Key]>>,
    revocations: Revocations,
}

/// Where keys come from.
#[derive(Default)]
struct Sources {
    secret: Option<Secret>,
    secret_file: Option<KeyFile>,
    key_file: Option<KeyFile>,
    looked_at: Option<Instant>,
}

/// How the files with keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    /// There are none, or all can be read.
    Good,
    /// One cannot be read any more; its keys stay in use.
    Kept,
    /// One could never be read: tokens that need it are refused.
    Missing,
}

/// A request whose token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) source: Source,
    pub(crate) reason: Disbelief,
}

impl Authenticator {
    /// Without keys; [`Authenticator::apply`] gives it some.
    pub(crate) fn new() -> Self {
        Self {
            sources: Mutex::default(),
            is_looking: AtomicBool::new(false),
            keys: RwLock::new(Arc::from([])),
            revocations: Revocations::default(),
        }
    }

    /// As a look does whose disk does not answer, until the answer is dropped.
    #[cfg(test)]
    pub(crate) fn hang(&self) -> impl Drop + '_ {
        self.sources.lock()
    }

    pub(crate) fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Takes new settings and reads their files anew, on a thread that may wait for a disk. Keys of a file
    /// that is no longer named are dropped; keys of a file that cannot be read stay if the file is still the
    /// one named.
    pub(crate) fn apply(&self, settings: &AuthSettings, outbox: &Outbox) {
        let mut sources = self.sources.lock();
        sources.secret.clone_from(&settings.jwt_secret);
        replace(&mut sources.secret_file, &key_file::SECRET, settings.jwt_secret_file.as_deref());
        replace(&mut sources.key_file, &key_file::PUBLIC_KEYS, settings.jwt_key_file.as_deref());
        sources.look(Reads::Always, outbox);
        *self.keys.write() = sources.keys();
    }

    /// Whether anybody can be authenticated.
    pub(crate) fn has_keys(&self) -> bool {
        !self.keys.read().is_empty()
    }

    /// Whether each file with keys that is named has keys in use, and whether each can be read.
    pub(crate) fn files(&self) -> Files {
        let sources = self.sources.lock();
        let mut files = sources.secret_file.iter().chain(&sources.key_file);
        if files.clone().any(|file| file.content().is_none()) {
            return Files::Missing;
        }
        if files.any(KeyFile::is_broken) { Files::Kept } else { Files::Good }
    }

    /// Verifies the sender of a request; `None` = anonymous.
    ///
    /// # Errors
    /// [`Refused`] when there is a token and it is not believed.
    pub(crate) fn authenticate(
        &self,
        credential: Option<Credential<'_>>,
        settings: &AuthSettings,
        now: SystemTime,
    ) -> Result<Option<Verified>, Refused> {
        let Some(Credential { source, tokens }) = credential else { return Ok(None) };
        let verified = tokens.and_then(|tokens| only_one(self.judge(&tokens, settings, now)));
        verified.map(Some).map_err(|reason| Refused { source, reason })
    }

    /// All believed tokens in a request's cookies, of whatever users.
    pub(crate) fn cookies(
        &self,
        headers: &HeaderMap,
        settings: &AuthSettings,
        transport: Transport,
        now: SystemTime,
    ) -> Vec<Verified> {
        let Some(Ok(tokens)) = credential::cookies(headers, settings, transport) else { return Vec::new() };
        self.judge(&tokens, settings, now).into_iter().flatten().collect()
    }

    fn judge(
        &self,
        tokens: &[&str],
        settings: &AuthSettings,
        now: SystemTime,
    ) -> Vec<Result<Verified, Disbelief>> {
        let keys = Arc::clone(&self.keys.read());
        let mut effort = Effort::default();
        let judge = |token: &&str| {
            let verified = verify(token, &keys, settings, now, &mut effort)?;
            let user_id = verified.identity.user_id();
            let is_refused = self.revocations.is_refused(user_id, verified.issued_at)
                || self.revocations.is_refused_token(&verified.digest);
            if is_refused { Err(Disbelief::Revoked) } else { Ok(verified) }
        };
        tokens.iter().map(judge).collect()
    }

    /// Whether the caller is to have [`Authenticator::look`] run, on a thread that may wait for a disk: once
    /// in [`LOOK_INTERVAL`], and not while the last one is at it.
    pub(crate) fn is_look_due(&self) -> bool {
        let Some(sources) = self.sources.try_lock() else { return false };
        let has_files = sources.secret_file.is_some() || sources.key_file.is_some();
        let was_now = sources.looked_at.is_some_and(|at| at.elapsed() < LOOK_INTERVAL);
        has_files && !was_now && !self.is_looking.swap(true, Ordering::Relaxed)
    }

    /// Takes in files that have changed.
    pub(crate) fn look(&self, outbox: &Outbox) {
        let mut sources = self.sources.lock();
        if sources.look(Reads::IfChanged, outbox) {
            *self.keys.write() = sources.keys();
        }
        drop(sources);
        self.is_looking.store(false, Ordering::Relaxed);
    }
}

/// Of several tokens the one that counts: the only believed one, or the latest of one user's. Two believed
/// tokens of different users, or two of which one names no user, are refused: another site of the same domain
/// can plant a cookie.
fn only_one(judged: Vec<Result<Verified, Disbelief>>) -> Result<Verified, Disbelief> {
    let mut outcome: Result<Verified, _> = Err(Disbelief::Malformed);
    for one in judged {
        outcome = match (outcome, one) {
            (Ok(known), Ok(other)) => {
                let is_same = known.identity.user_id().is_some()
                    && known.identity.user_id() == other.identity.user_id();
                if !is_same {
                    return Err(Disbelief::Ambiguous);
                }
                Ok(if other.issued_at > known.issued_at { other } else { known })
            }
            (Ok(known), Err(_)) => Ok(known),
            (Err(_), one) => one,
        };
    }
    outcome
}

fn replace(file: &mut Option<KeyFile>, purpose: &'static Purpose<Vec<Key>>, path: Option<&Path>) {
    if file.as_ref().map(KeyFile::path) != path {
        *file = path.map(|path| KeyFile::new(purpose, path.to_owned()));
    }
}

impl Sources {
    /// Returns whether keys may have changed.
    fn look(&mut self, reads: Reads, outbox: &Outbox) -> bool {
        self.looked_at = Some(Instant::now());
        let mut changed = false;
        for file in self.secret_file.iter_mut().chain(&mut self.key_file) {
            match file.look(reads, SystemTime::now()) {
                Look::Same => {}
                Look::Broken(line) => drop(outbox.log(Severity::Warning, line)),
                Look::Changed(line) => {
                    changed = true;
                    line.map(|line| outbox.log(Severity::Log, line));
                }
            }
        }
        changed
    }

    fn keys(&self) -> Arc<[Key]> {
        let own = self.secret.iter().map(Key::from_secret);
        let files = self.secret_file.iter().chain(&self.key_file);
        own.chain(files.filter_map(KeyFile::content).flatten().cloned()).collect()
    }
}

impl Refused {
    /// 401 (RFC 6750 §3.1). A bad cookie is cleared, with the attributes it was set with, so that the page is
    /// not locked out until it expires.
    pub(crate) fn into_problem(self, settings: &AuthSettings, transport: Transport) -> Problem {
        let problem = Problem::new(StatusCode::UNAUTHORIZED, "The token is not valid (any more).").header(
            http::header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer error=\"invalid_token\""),
        );
        match self.source {
            Source::Cookie => match cleared_cookie(settings, transport) {
                Some(cookie) => problem.header(http::header::SET_COOKIE, cookie),
                None => problem,
            },
            Source::Header | Source::Parameter => problem,
        }
    }
}

#[cfg(test)]
mod bounds;
#[cfg(test)]
mod tests;
