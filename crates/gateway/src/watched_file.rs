//! A file of a setting: read when it has changed, its last good content kept while it is broken (C1.3), and
//! each fault reported once.
//!
//! Reads block their thread, so it is one that may wait for a disk: never one that carries events, nor the
//! main thread.
//!
//! Not for its content, which [`Purpose`] reads, nor for when to look.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::between::outbox::escaped;

/// Largest file, in bytes: hundreds of keys fit. Beyond it the file is refused.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A file that was changed so shortly before it was read may be changed again without its times telling. The
/// time of modification does not say it: a copy may keep the old one, and anybody may set it.
const SETTLED: Duration = Duration::from_secs(2);

/// What a file is for.
#[derive(Debug)]
pub(crate) struct Purpose<T> {
    /// The setting that names it.
    pub(crate) setting: &'static str,
    /// What is in it. An error is a clause for people, without anything of the file's content.
    pub(crate) read: fn(Vec<u8>, &Metadata) -> Result<T, String>,
    /// What the log says of a file that has become unusable.
    pub(crate) while_kept: &'static str,
    /// And of one that never was usable.
    pub(crate) while_missing: &'static str,
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
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_settled(&self, now: SystemTime) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let since = u64::try_from(seconds).ok().zip(u32::try_from(nanoseconds).ok());
        let changed = since.and_then(|(seconds, rest)| UNIX_EPOCH.checked_add(Duration::new(seconds, rest)));
        let age = changed.and_then(|changed| now.duration_since(changed).ok());
        age.is_some_and(|age| age >= SETTLED)
    }
}

/// A watched file.
#[derive(Debug)]
pub(crate) struct WatchedFile<T: 'static> {
    purpose: &'static Purpose<T>,
    path: PathBuf,
    /// As it was when it was read; `None` when it has to be read again.
    stamp: Option<Stamp>,
    content: Option<T>,
    /// What was said about it, so that it is said once.
    complaint: Option<String>,
}

/// When a look reads the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    IfChanged,
    Always,
}

/// What a look at a file has come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Same,
    /// Its content is another one now. With a line for the log if that mends what was complained about.
    Changed(Option<String>),
    /// It cannot be used: a line for the log.
    Broken(String),
}

impl<T: 'static> WatchedFile<T> {
    /// Not read yet.
    pub(crate) fn new(purpose: &'static Purpose<T>, path: PathBuf) -> Self {
        Self { purpose, path, stamp: None, content: None, complaint: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The last good one; `None` before the first.
    pub(crate) fn content(&self) -> Option<&T> {
        self.content.as_ref()
    }

    /// Whether it could not be used when it was last looked at.
    pub(crate) fn is_broken(&self) -> bool {
        self.complaint.is_some()
    }

    /// Reads it again, if it has changed or is read always.
    pub(crate) fn look(&mut self, reads: Reads, now: SystemTime) -> Look {
        let stamp = fs::metadata(&self.path).ok().map(|metadata| Stamp::of(&metadata));
        if reads == Reads::IfChanged && stamp.is_some() && stamp == self.stamp {
            return Look::Same;
        }
        let Purpose { setting, while_kept, while_missing, .. } = self.purpose;
        let path = escaped(&self.path.to_string_lossy());
        match self.read(now) {
            Ok(content) => {
                self.content = Some(content);
                let mended = self.complaint.take().is_some();
                Look::Changed(mended.then(|| format!("{setting} \"{path}\" is used again")))
            }
            Err(reason) => {
                if self.complaint.as_ref() == Some(&reason) {
                    return Look::Same;
                }
                let meanwhile = if self.content.is_some() { while_kept } else { while_missing };
                let line = format!("{setting} \"{path}\" cannot be used: {reason}; {meanwhile}");
                self.complaint = Some(reason);
                Look::Broken(line)
            }
        }
    }

    fn read(&mut self, now: SystemTime) -> Result<T, String> {
        self.stamp = None;
        let (bytes, metadata) = read_small_file(&self.path)?;
        let content = (self.purpose.read)(bytes, &metadata)?;
        let stamp = Stamp::of(&metadata);
        self.stamp = stamp.is_settled(now).then_some(stamp);
        Ok(content)
    }
}

/// The metadata are those of what was read, whatever the path leads to by now.
///
/// # Errors
/// As those of [`Purpose::read`].
pub(crate) fn read_small_file(path: &Path) -> Result<(Vec<u8>, Metadata), String> {
    let regular = |metadata: io::Result<Metadata>| {
        let metadata = metadata.map_err(words)?;
        if metadata.is_file() { Ok(metadata) } else { Err("it is not a regular file".to_owned()) }
    };
    // Opening something else may do more than open it: it lets a writer of a pipe go on, rewinds a tape.
    regular(fs::metadata(path))?;
    // And by now it may be another one. Opening must not wait for the other end of a pipe.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(nonblocking).open(path).map_err(words)?;
    let metadata = regular(file.metadata())?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(words)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("it is larger than {MAX_FILE_BYTES} bytes"));
    }
    Ok((bytes, metadata))
}

/// Not the system's own words, which depend on the server's locale; its number says what these leave open.
fn words(error: io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{} (system error {number})", error.kind()),
        None => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    static NUMBERS: Purpose<u32> = Purpose {
        setting: "sse.number_file",
        read: |bytes, _| {
            String::from_utf8_lossy(&bytes).trim().parse().map_err(|_| "it is no number".to_owned())
        },
        while_kept: "the old one counts",
        while_missing: "none counts",
    };

    #[test]
    fn the_last_good_content_of_a_broken_file_is_kept_and_what_is_wrong_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        let later = SystemTime::now() + Duration::from_secs(60);
        let mut file = WatchedFile::new(&NUMBERS, path.clone());
        let broken = |reason: &str, meanwhile: &str| {
            Look::Broken(format!(
                "sse.number_file \"{}\" cannot be used: {reason}; {meanwhile}",
                path.display()
            ))
        };
        let absent = broken("entity not found (system error 2)", "none counts");
        assert_eq!((file.look(Reads::Always, later), file.content()), (absent, None));
        assert_eq!(file.look(Reads::IfChanged, later), Look::Same);
        fs::write(&path, "x").unwrap();
        assert_eq!(file.look(Reads::IfChanged, later), broken("it is no number", "none counts"));
        fs::write(&path, "12").unwrap();
        let mended = format!("sse.number_file \"{}\" is used again", path.display());
        assert_eq!(
            (file.look(Reads::IfChanged, later), file.content()),
            (Look::Changed(Some(mended)), Some(&12))
        );
        assert_eq!(file.look(Reads::IfChanged, later), Look::Same, "unchanged");
        assert_eq!(file.look(Reads::Always, later), Look::Changed(None), "asked to");
        fs::write(&path, "twelve").unwrap();
        let kept = broken("it is no number", "the old one counts");
        assert_eq!((file.look(Reads::IfChanged, later), file.content()), (kept, Some(&12)));
        assert_eq!(
            (file.look(Reads::Always, later), file.content()),
            (Look::Same, Some(&12)),
            "said already"
        );
        fs::write(&path, "13").unwrap();
        assert!(matches!(file.look(Reads::IfChanged, later), Look::Changed(Some(_))));
        assert_eq!(file.content(), Some(&13));
    }

    #[test]
    fn a_file_that_has_just_been_changed_is_read_again_until_its_times_can_tell() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        fs::write(&path, "1").unwrap();
        // Whatever its time of modification says: a copy may have brought it along.
        for modified in [SystemTime::now() - DAY, SystemTime::now() + DAY] {
            File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
            let mut file = WatchedFile::new(&NUMBERS, path.clone());
            let settled = changed(&path) + SETTLED;
            for _ in 0..2 {
                assert_eq!(
                    file.look(Reads::IfChanged, settled - Duration::from_nanos(1)),
                    Look::Changed(None)
                );
            }
            assert_eq!(file.look(Reads::IfChanged, settled), Look::Changed(None));
            assert_eq!(file.look(Reads::IfChanged, settled), Look::Same);
        }
    }

    const DAY: Duration = Duration::from_secs(86_400);

    fn changed(path: &Path) -> SystemTime {
        let metadata = fs::metadata(path).unwrap();
        UNIX_EPOCH + Duration::new(metadata.ctime() as u64, metadata.ctime_nsec() as u32)
    }

    #[test]
    fn other_content_of_the_same_size_and_time_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        fs::write(&path, "1").unwrap();
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let mut file = WatchedFile::new(&NUMBERS, path.clone());
        let later = SystemTime::now() + DAY;
        assert_eq!((file.look(Reads::IfChanged, later), file.content()), (Look::Changed(None), Some(&1)));
        let before = changed(&path);
        while changed(&path) == before {
            fs::write(&path, "2").unwrap();
        }
        File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert_eq!((file.look(Reads::IfChanged, later), file.content()), (Look::Changed(None), Some(&2)));
    }

    // Each stands for a while in the place of a good file, and then the file is back.
    #[test]
    fn what_is_no_file_is_told_by_its_kind_and_ends_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        let other = folder.path().join("other");
        let later = SystemTime::now() + DAY;
        let mut file = WatchedFile::new(&NUMBERS, path.clone());
        fs::write(&path, "1").unwrap();
        assert_eq!(file.look(Reads::IfChanged, later), Look::Changed(None));
        type Make<'m> = (&'m dyn Fn(), &'m str);
        let kinds: [Make<'_>; 7] = [
            (&|| fs::create_dir(&path).unwrap(), "it is not a regular file"),
            (&|| drop(std::os::unix::net::UnixListener::bind(&path).unwrap()), "it is not a regular file"),
            (&|| pipe(&path), "it is not a regular file"),
            (&|| std::os::unix::fs::symlink("/dev/zero", &path).unwrap(), "it is not a regular file"),
            (&|| std::os::unix::fs::symlink(&path, &path).unwrap(), "(system error "),
            (&|| std::os::unix::fs::symlink(&other, &path).unwrap(), "entity not found (system error 2)"),
            (&|| File::create(&path).unwrap().set_len(100 << 20).unwrap(), "it is larger than 1048576 bytes"),
        ];
        for (make, reason) in kinds {
            fs::remove_file(&path).unwrap();
            make();
            let look = file.look(Reads::IfChanged, later);
            assert!(matches!(&look, Look::Broken(line) if line.contains(reason)), "{reason}: {look:?}");
            assert_eq!(file.look(Reads::IfChanged, later), Look::Same, "{reason}: said once");
            assert_eq!(file.content(), Some(&1));
            if fs::remove_file(&path).is_err() {
                fs::remove_dir(&path).unwrap();
            }
            fs::write(&path, "1").unwrap();
            assert!(matches!(file.look(Reads::IfChanged, later), Look::Changed(Some(_))), "{reason}");
        }
    }

    fn pipe(path: &Path) {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    #[test]
    fn a_file_has_up_to_its_limit_of_bytes_and_not_one_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bytes");
        let limit = MAX_FILE_BYTES as usize;
        for (bytes, fits) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
            fs::write(&path, vec![b'x'; bytes]).unwrap();
            let read = read_small_file(&path).map(|(bytes, _)| bytes.len());
            assert_eq!(read.ok(), fits.then_some(bytes), "{bytes}");
        }
    }
}
