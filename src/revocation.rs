//! Users whose tokens are refused from some moment on (`sse.disconnect`, C4.8): a file in the data directory, because a
//! refusal must outlive the server's restart, and the gateway has no database connection.
//!
//! A line for each call: the user id and the moment, as JSON. Written by the backend that runs `sse.disconnect`, under a
//! lock, flushed before it returns; read whole by the gateway when it starts and after each call. Past
//! [`COMPACT_BYTES`] it is written anew with one line a user.
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

/// Refuses tokens that were issued to the user before now, durably.
///
/// # Errors
/// The file cannot be written; the user's tokens are as good as before then.
pub(crate) fn add(user_id: &str) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    let lock = open(LOCK, false)?;
    lock.lock()?;
    let mut file = open(FILE, true)?;
    if file.metadata()?.len() > COMPACT_BYTES {
        file = compact()?;
    }
    let line = format!("{}\n", line(user_id, now));
    file.write_all(line.as_bytes())?;
    file.sync_all()
    // The lock ends with its file.
}

/// The users, each with the moment before which a token of theirs must not have been issued. Nobody without the file.
///
/// # Errors
/// The file is there and cannot be read.
pub(crate) fn read() -> io::Result<Vec<(String, SystemTime)>> {
    let text = match fs::read_to_string(path(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(newest(&text).into_iter().map(|(user_id, at)| (user_id, UNIX_EPOCH + at)).collect())
}

fn compact() -> io::Result<File> {
    let newest = newest(&fs::read_to_string(path(FILE))?);
    let mut file = open(NEW, false)?;
    file.set_len(0)?;
    let lines: String = newest.iter().map(|(user_id, at)| format!("{}\n", line(user_id, *at))).collect();
    file.write_all(lines.as_bytes())?;
    file.sync_all()?;
    fs::rename(path(NEW), path(FILE))?;
    // The name itself has to be durable, too.
    File::open(bgworker::data_directory())?.sync_all()?;
    open(FILE, true)
}

/// A line that was cut off by a crash says nothing: its call had not returned.
fn newest(text: &str) -> HashMap<String, Duration> {
    let mut newest: HashMap<String, Duration> = HashMap::new();
    for line in text.lines() {
        let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
        let (Some(user_id), Some(at)) = (value["user_id"].as_str(), value["before"].as_u64()) else {
            continue;
        };
        let at = Duration::from_micros(at);
        let known = newest.entry(user_id.to_owned()).or_insert(at);
        *known = at.max(*known);
    }
    newest
}

fn line(user_id: &str, at: Duration) -> Value {
    json!({ "user_id": user_id, "before": u64::try_from(at.as_micros()).unwrap_or(u64::MAX) })
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
