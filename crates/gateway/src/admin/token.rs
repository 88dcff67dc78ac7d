//! The token of the admin port: kept from logs and `Debug` output, compared in a time that does not depend on
//! what was guessed.
//!
//! Not for tokens of subscribers and callers: these are `auth`.

use std::fmt;
use std::fs::Metadata;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;

use super::AdminSettings;
use crate::auth::private_bytes;
use crate::between::outbox::{Outbox, Severity};
use crate::watched_file::{Look, Purpose, WatchedFile};

/// Shortest token in bytes: sixteen random ones cannot be guessed. A shorter one is refused.
const MIN_BYTES: usize = 16;

/// Pause between two looks at the file; looks are made only while requests with a token come.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What opens the admin port.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(Vec<u8>);

impl AdminToken {
    /// The bytes as they are: nothing is decoded or trimmed.
    ///
    /// # Errors
    /// [`AdminTokenTooShort`].
    pub fn try_new(bytes: impl Into<Vec<u8>>) -> Result<Self, AdminTokenTooShort> {
        let bytes = bytes.into();
        if bytes.len() < MIN_BYTES { Err(AdminTokenTooShort) } else { Ok(Self(bytes)) }
    }

    /// The token. Never for a log.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Compares digests, so that not even the length can be found out.
    fn is(&self, given: &[u8]) -> bool {
        let (own, given) = (digest(&SHA256, &self.0), digest(&SHA256, given));
        verify_slices_are_equal(own.as_ref(), given.as_ref()).is_ok()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(set)")
    }
}

/// A token of the admin port has fewer than 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminTokenTooShort;

impl fmt::Display for AdminTokenTooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a token of the admin port must have at least {MIN_BYTES} bytes")
    }
}

impl std::error::Error for AdminTokenTooShort {}

static FILE: Purpose<AdminToken> = Purpose {
    setting: "sse.admin_token_file",
    read: read_file,
    while_kept: "the token read from it before stays in use",
    while_missing: "no request with a token is let in by it",
};

fn read_file(bytes: Vec<u8>, metadata: &Metadata) -> Result<AdminToken, String> {
    AdminToken::try_new(private_bytes(bytes, metadata)?).map_err(|error| error.to_string())
}

/// The tokens that count.
#[derive(Default)]
pub(super) struct Keeper(Mutex<Known>);

#[derive(Default)]
struct Known {
    token: Option<AdminToken>,
    file: Option<WatchedFile<AdminToken>>,
    looked_at: Option<Instant>,
}

impl Keeper {
    /// Takes new settings and reads their file anew.
    pub(super) fn apply(&self, settings: &AdminSettings, outbox: &Outbox) {
        let mut known = self.0.lock();
        known.token.clone_from(&settings.token);
        let path = settings.token_file.clone();
        if known.file.as_ref().map(WatchedFile::path) != path.as_deref() {
            known.file = path.map(|path: PathBuf| WatchedFile::new(&FILE, path));
        }
        known.look(true, outbox);
    }

    /// Whether a request has one of the tokens. May read the file.
    pub(super) fn admits(&self, headers: &HeaderMap, outbox: &Outbox) -> bool {
        let Some(given) = bearer(headers) else { return false };
        let mut known = self.0.lock();
        if known.looked_at.is_none_or(|at| at.elapsed() >= LOOK_INTERVAL) {
            known.look(false, outbox);
        }
        let of_file = known.file.as_ref().and_then(WatchedFile::content);
        // Both are compared, whichever fits.
        known.token.iter().chain(of_file).fold(false, |found, token| token.is(given) | found)
    }
}

impl Known {
    fn look(&mut self, anew: bool, outbox: &Outbox) {
        self.looked_at = Some(Instant::now());
        match self.file.as_mut().map(|file| file.look(anew, SystemTime::now())) {
            None | Some(Look::Same | Look::Changed(None)) => {}
            Some(Look::Broken(line)) => drop(outbox.log(Severity::Warning, line)),
            Some(Look::Changed(Some(line))) => drop(outbox.log(Severity::Log, line)),
        }
    }
}

/// The token of the one `Authorization` header (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderValue;

    use super::*;
    use crate::between::outbox::errand_channel;

    #[test]
    fn a_token_has_sixteen_bytes_and_is_never_shown() {
        for (length, taken) in [(0, false), (15, false), (16, true), (17, true)] {
            assert_eq!(AdminToken::try_new(vec![b'x'; length]).is_ok(), taken, "{length}");
        }
        assert_eq!(format!("{:?}", AdminToken::try_new(vec![b'x'; 16])), "Ok(AdminToken(set))");
    }

    // Attack: whatever could be taken for the token.
    #[test]
    fn only_the_whole_token_in_one_bearer_header_opens() {
        let (outbox, _inbox) = errand_channel(Arc::default()).unwrap();
        let keeper = Keeper::default();
        let asks = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            keeper.admits(&headers, &outbox)
        };
        for values in [&["Bearer "][..], &["Bearer"], &[""], &[]] {
            assert!(!asks(values), "without a token set: {values:?}");
        }
        let token = Some(AdminToken::try_new("0123456789abcdef").unwrap());
        keeper.apply(&AdminSettings { token, ..AdminSettings::default() }, &outbox);
        for values in [
            &["Bearer 0123456789abcde"][..],
            &["Bearer 0123456789abcdef0"],
            &["Bearer 0123456789ABCDEF"],
            &["Basic 0123456789abcdef"],
            &["Bearer"],
            &["Bearer "],
            &["0123456789abcdef"],
            &["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"],
            &[],
        ] {
            assert!(!asks(values), "{values:?}");
        }
        assert!(asks(&["Bearer 0123456789abcdef"]) && asks(&["bearer 0123456789abcdef"]));
    }

    use std::sync::Arc;
}
