//! The token of the admin port: where it comes from, and whether a request has it, in a time that does not
//! depend on what was guessed.
//!
//! Not for tokens of subscribers and callers: these are `auth`.

use std::fs::Metadata;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::AdminSettings;
use crate::auth::{AdminToken, private_bytes};
use crate::between::outbox::{Outbox, Severity};
use crate::watched_file::{Look, Purpose, Reads, WatchedFile};

/// Pause between two looks at the file; looks are made only while requests with a token come, or something is
/// open that was opened with one.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a request waits for a look. A disk that hangs must not hold up the port; the look goes on, and no
/// other begins before it has ended.
const LOOK_TIME: Duration = Duration::from_secs(1);

static FILE: Purpose<AdminToken> = Purpose {
    setting: "sse.admin_token_file",
    read: read_file,
    while_kept: "the token read from it before stays in use",
    while_missing: "no request with a token is let in by it",
};

fn read_file(bytes: Vec<u8>, metadata: &Metadata) -> Result<AdminToken, String> {
    AdminToken::try_new(private_bytes(bytes, metadata)?).map_err(|error| error.to_string())
}

/// What a request has shown, as its digest. A token that is no longer set ends what was opened with it.
pub(super) struct Given(Digest);

impl Given {
    fn of(headers: &HeaderMap) -> Option<Self> {
        bearer(headers).map(|token| Self(digest(&SHA256, token)))
    }

    /// Compares digests, so that not even the length can be found out.
    fn is(&self, token: &AdminToken) -> bool {
        verify_slices_are_equal(digest(&SHA256, token.as_bytes()).as_ref(), self.0.as_ref()).is_ok()
    }
}

/// The tokens that count.
#[derive(Clone, Default)]
pub(super) struct Keeper {
    known: Arc<Mutex<Known>>,
    /// The file of new settings is to be read.
    is_asked: Arc<Notify>,
}

/// Whoever looks at the file has it; a disk that hangs keeps nobody else from what is known.
type File = Arc<Mutex<WatchedFile<AdminToken>>>;

#[derive(Default)]
struct Known {
    token: Option<AdminToken>,
    path: Option<PathBuf>,
    file: Option<File>,
    /// What the file had.
    of_file: Option<AdminToken>,
    looked_at: Option<Instant>,
}

impl Keeper {
    /// Takes new settings; their file is read by [`Keeper::read`], and by the next request.
    pub(super) fn apply(&self, settings: &AdminSettings) {
        let mut known = self.known.lock();
        known.token.clone_from(&settings.token);
        if known.path != settings.token_file {
            known.path.clone_from(&settings.token_file);
            let watched = |path| Arc::new(Mutex::new(WatchedFile::new(&FILE, path)));
            (known.file, known.of_file) = (settings.token_file.clone().map(watched), None);
        }
        known.looked_at = None;
        self.is_asked.notify_one();
    }

    /// Reads the file of new settings when there are some, so that its faults are said at the reload; without
    /// end.
    pub(super) async fn read(&self, outbox: &Arc<Outbox>) {
        loop {
            self.is_asked.notified().await;
            let Some(file) = self.known.lock().file.clone() else { continue };
            let (keeper, outbox) = (self.clone(), Arc::clone(outbox));
            _ = spawn_blocking(move || keeper.look(&file, Reads::Always, &outbox)).await;
        }
    }

    /// The token of a request, if it is one of those that count. May wait for the file to be read, but not
    /// for long.
    pub(super) async fn admits(&self, headers: &HeaderMap, outbox: &Arc<Outbox>) -> Option<Given> {
        let given = Given::of(headers)?;
        if let Some(look) = self.begin_look(outbox) {
            // What was known before counts meanwhile.
            _ = timeout(LOOK_TIME, look).await;
        }
        self.knows(&given).then_some(given)
    }

    /// Whether a token that was let in still counts. Waits for nothing: what the file has now counts the next
    /// time.
    pub(super) fn still_admits(&self, given: &Given, outbox: &Arc<Outbox>) -> bool {
        drop(self.begin_look(outbox));
        self.knows(given)
    }

    fn knows(&self, given: &Given) -> bool {
        let known = self.known.lock();
        // Both are compared, whichever fits.
        known.token.iter().chain(&known.of_file).fold(false, |found, token| given.is(token) | found)
    }

    /// Begins to look at the file, if it is time to.
    fn begin_look(&self, outbox: &Arc<Outbox>) -> Option<JoinHandle<()>> {
        let file = self.due()?;
        let (keeper, outbox) = (self.clone(), Arc::clone(outbox));
        Some(spawn_blocking(move || keeper.look(&file, Reads::IfChanged, &outbox)))
    }

    /// The file, if it is time to look at it.
    fn due(&self) -> Option<File> {
        let mut known = self.known.lock();
        let is_due = known.looked_at.is_none_or(|at| at.elapsed() >= LOOK_INTERVAL);
        let file = known.file.clone().filter(|_| is_due)?;
        known.looked_at = Some(Instant::now());
        Some(file)
    }

    /// Nothing where another look does not end.
    fn look(&self, file: &File, reads: Reads, outbox: &Outbox) {
        let Some(mut watched) = file.try_lock_for(LOOK_TIME) else { return };
        match watched.look(reads, SystemTime::now()) {
            Look::Same | Look::Changed(None) => {}
            Look::Broken(line) => drop(outbox.log(Severity::Warning, line)),
            Look::Changed(Some(line)) => drop(outbox.log(Severity::Log, line)),
        }
        let mut known = self.known.lock();
        if known.file.as_ref().is_some_and(|now| Arc::ptr_eq(now, file)) {
            known.of_file = watched.content().cloned();
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

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn a_look_at_the_file_that_does_not_end_holds_up_neither_requests_nor_a_reload() {
        let (outbox, _inbox) = errand_channel(Arc::default()).unwrap();
        let outbox = Arc::new(outbox);
        let keeper = Keeper::default();
        let token = Some(AdminToken::try_new("0123456789abcdef").unwrap());
        let settings =
            AdminSettings { token, token_file: Some("/nowhere".into()), ..AdminSettings::default() };
        keeper.apply(&settings);
        let file = keeper.known.lock().file.clone().unwrap();
        // As a look does whose disk does not answer.
        let _hangs = file.lock();
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer 0123456789abcdef"));
        for _ in 0..2 {
            keeper.known.lock().looked_at = None;
            assert!(block_on(keeper.admits(&headers, &outbox)).is_some());
            keeper.apply(&settings);
        }
    }
}
