//! Whose tokens are refused: users from some moment on (`sse.disconnect`, C4.8), and single tokens that somebody has logged
//! out with (`@logout`, C7.5). A file in the data directory, because a refusal must outlive the server's restart, and the
//! gateway has no database connection.
//!
//! A line for each, as JSON. Users are written by the backend that runs `sse.disconnect`, under a lock, flushed before it
//! returns; tokens by the gateway in the same way. It is read whole by the gateway when it starts and after each call. Past
//! [`COMPACT_BYTES`] it is written anew with one line a user, without tokens that have expired.
//!
//! Not for ending streams: the gateway does that (`sse_gateway::Gateway::disconnect`). A file system copy of the data
//! directory has the file; logical dumps, `pg_upgrade` and standbys do not.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::pg::bgworker;

const FILE: &str = "pg_sse.revocations";
const LOCK: &str = "pg_sse.revocations.lock";
const NEW: &str = "pg_sse.revocations.new";

/// Length past which the file is written anew.
const COMPACT_BYTES: u64 = 4 << 20;

/// What the file says.
#[derive(Default)]
pub(crate) struct Refusals {
    /// Users, each with the moment before which a token of theirs must not have been issued.
    pub users: HashMap<String, SystemTime>,
    /// Digests of tokens that have not expired, each with the moment at which it does.
    pub tokens: HashMap<String, SystemTime>,
}

/// Refuses tokens that were issued to the user before now, durably.
///
/// # Errors
/// The file cannot be written; the user's tokens are as good as before then.
pub(crate) fn add(user_id: &str) -> io::Result<()> {
    append(&user_line(user_id, SystemTime::now()))
}

/// Refuses one token, durably.
///
/// # Errors
/// The file cannot be written; the refusal ends with the gateway then.
pub(crate) fn add_token(digest: &str, until: SystemTime) -> io::Result<()> {
    append(&token_line(digest, until))
}

fn append(line: &Value) -> io::Result<()> {
    let lock = open(LOCK, false)?;
    lock.lock()?;
    let mut file = open(FILE, true)?;
    if file.metadata()?.len() > COMPACT_BYTES {
        file = compact()?;
    }
    let line = format!("{line}\n");
    file.write_all(line.as_bytes())?;
    file.sync_all()
    // The lock ends with its file.
}

/// What the file says; nothing without one.
///
/// # Errors
/// The file is there and cannot be read.
pub(crate) fn read() -> io::Result<Refusals> {
    match fs::read_to_string(path(FILE)) {
        Ok(text) => Ok(refusals(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Refusals::default()),
        Err(error) => Err(error),
    }
}

fn compact() -> io::Result<File> {
    let refusals = refusals(&fs::read_to_string(path(FILE))?);
    let mut file = open(NEW, false)?;
    file.set_len(0)?;
    let users = refusals.users.iter().map(|(user_id, at)| user_line(user_id, *at));
    let tokens = refusals.tokens.iter().map(|(digest, until)| token_line(digest, *until));
    let lines: String = users.chain(tokens).map(|line| format!("{line}\n")).collect();
    file.write_all(lines.as_bytes())?;
    file.sync_all()?;
    fs::rename(path(NEW), path(FILE))?;
    // The name itself has to be durable, too.
    File::open(bgworker::data_directory())?.sync_all()?;
    open(FILE, true)
}

/// A line that was cut off by a crash says nothing: its call had not returned. Of two lines the later moment counts.
fn refusals(text: &str) -> Refusals {
    let mut refusals = Refusals::default();
    let now = SystemTime::now();
    for line in text.lines() {
        let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
        let at = |key: &str| value[key].as_u64().map(|at| UNIX_EPOCH + Duration::from_micros(at));
        if let (Some(user_id), Some(before)) = (value["user_id"].as_str(), at("before")) {
            later(&mut refusals.users, user_id, before);
        } else if let (Some(digest), Some(until)) = (value["token"].as_str(), at("until"))
            && until > now
        {
            later(&mut refusals.tokens, digest, until);
        }
    }
    refusals
}

fn later(times: &mut HashMap<String, SystemTime>, name: &str, at: SystemTime) {
    let known = times.entry(name.to_owned()).or_insert(at);
    *known = at.max(*known);
}

fn user_line(user_id: &str, before: SystemTime) -> Value {
    json!({ "user_id": user_id, "before": microseconds(before) })
}

fn token_line(digest: &str, until: SystemTime) -> Value {
    json!({ "token": digest, "until": microseconds(until) })
}

fn microseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn open(name: &str, appends: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600);
    if appends {
        options.append(true)
    } else {
        options.write(true).truncate(false)
    };
    options.open(path(name))
}

fn path(name: &str) -> PathBuf {
    bgworker::data_directory().join(name)
}
