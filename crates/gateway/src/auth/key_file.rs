//! A file with keys: read when it has changed, its last good keys kept while it is broken (C1.3).
//!
//! Reads block their thread, so it is never one that carries events: the main thread at a reload, else one that may wait for
//! a disk.
//!
//! Not for what is in it: that is `keys`.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Secret;
use super::keys::Key;
use crate::between::outbox::escaped;

/// Largest file with keys, in bytes: hundreds of keys fit. Beyond it the file is refused.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A file that was changed so shortly before it was read may be changed again without its times telling.
const SETTLED: Duration = Duration::from_secs(2);

/// What is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `sse.jwt_secret_file`
    Secret,
    /// `sse.jwt_key_file`
    PublicKeys,
}

impl Kind {
    fn setting(self) -> &'static str {
        match self {
            Self::Secret => "sse.jwt_secret_file",
            Self::PublicKeys => "sse.jwt_key_file",
        }
    }
}

/// What a change of a file cannot leave as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A file that is kept an eye on.
#[derive(Debug)]
pub(crate) struct KeyFile {
    kind: Kind,
    path: PathBuf,
    /// As it was when it was read; `None` when it has to be read again.
    stamp: Option<Stamp>,
    keys: Vec<Key>,
    /// What was said about it, so that it is said once.
    complaint: Option<String>,
}

/// What a look at a file has come to.
pub(crate) enum Look {
    Same,
    /// The keys are others now. With a line for the log if that mends what was complained about.
    Changed(Option<String>),
    /// It cannot be used: a line for the log.
    Broken(String),
}

impl KeyFile {
    pub(crate) fn new(kind: Kind, path: PathBuf) -> Self {
        Self { kind, path, stamp: None, keys: Vec::new(), complaint: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Reads it again if it has changed, or with `anew` in any case.
    pub(crate) fn look(&mut self, anew: bool, now: SystemTime) -> Look {
        let stamp = fs::metadata(&self.path).ok().map(|metadata| Stamp::of(&metadata));
        if !anew && stamp.is_some() && stamp == self.stamp {
            return Look::Same;
        }
        let setting = self.kind.setting();
        let path = escaped(&self.path.to_string_lossy());
        match self.read(now) {
            Ok(keys) => {
                self.keys = keys;
                let mended = self.complaint.take().is_some();
                Look::Changed(mended.then(|| format!("{setting} \"{path}\" is used again")))
            }
            Err(reason) => {
                if self.complaint.as_ref() == Some(&reason) {
                    return Look::Same;
                }
                let kept = match self.keys.is_empty() {
                    true => "tokens that need it are refused",
                    false => "the keys read from it before stay in use",
                };
                let line = format!("{setting} \"{path}\" cannot be used: {reason}; {kept}");
                self.complaint = Some(reason);
                Look::Broken(line)
            }
        }
    }

    /// # Errors
    /// For people; without anything of the file's content.
    fn read(&mut self, now: SystemTime) -> Result<Vec<Key>, String> {
        self.stamp = None;
        let (bytes, metadata) = read_small_file(&self.path)?;
        let keys = match self.kind {
            Kind::Secret => vec![Key::from_secret(&secret(bytes, &metadata)?)],
            Kind::PublicKeys if metadata.mode() & 0o002 != 0 => {
                return Err("everybody on the machine may write it".to_owned());
            }
            Kind::PublicKeys => {
                let text = String::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
                Key::parse_file(&text).map_err(|error| error.to_string())?
            }
        };
        let age = metadata.modified().ok().and_then(|modified| now.duration_since(modified).ok());
        self.stamp = age.is_some_and(|age| age >= SETTLED).then(|| Stamp::of(&metadata));
        Ok(keys)
    }
}

impl Secret {
    /// Reads a file as the gateway reads `sse.jwt_secret_file`: a regular file of the process' own user that nobody else
    /// may read or write; one line end at its end does not count.
    ///
    /// # Errors
    /// Why it cannot be used: a clause for people, without anything of the file's content.
    pub fn read_file(path: &Path) -> Result<Self, String> {
        let (bytes, metadata) = read_small_file(path)?;
        secret(bytes, &metadata)
    }
}

fn secret(mut bytes: Vec<u8>, metadata: &fs::Metadata) -> Result<Secret, String> {
    if metadata.mode() & 0o077 != 0 {
        return Err(
            "others than the server's user may read or write it; its mode must be 0600 or less".to_owned()
        );
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err("it does not belong to the server's user".to_owned());
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Secret::try_new(bytes).map_err(|error| error.to_string())
}

/// The metadata are those of what was read, whatever the path leads to by now.
fn read_small_file(path: &Path) -> Result<(Vec<u8>, fs::Metadata), String> {
    let io = |error: std::io::Error| error.kind().to_string();
    // Opening must not wait for the other end of a pipe.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(nonblocking).open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("it is larger than {MAX_FILE_BYTES} bytes"));
    }
    Ok((bytes, metadata))
}
