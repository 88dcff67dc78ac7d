//! The file itself: appending to it, reading on in it, and writing it anew.
//!
//! Lines are appended, and the file replaced, under a lock, which is a file beside it. The lock is not held
//! during the flush of appended lines, so that one writer's slow disk delays no other writer. Reading needs
//! no lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::SystemTime;

use super::line;
use crate::auth::NewRefusal;

const FILE_NAME: &str = "pg_sse.revocations";
const LOCK_NAME: &str = "pg_sse.revocations.lock";
const NEW_FILE_NAME: &str = "pg_sse.revocations.new";

/// Bytes that are read or written at once.
const BUFFER_BYTES: usize = 64 << 10;

/// The file of refusals in a data directory.
#[derive(Debug, Clone)]
pub struct RefusalFile {
    directory: PathBuf,
}

/// How far the file has been read.
#[derive(Default)]
pub(super) struct Place {
    /// Kept open, so that no other file can get its inode number.
    file: Option<File>,
    identity: (u64, u64),
    /// Where the first unread line begins.
    offset: u64,
    /// The reader is in the middle of a line that is longer than any of ours.
    overlong: bool,
}

/// A file that is to replace the one there is.
pub(super) struct NewFile {
    writer: BufWriter<File>,
    len: u64,
    /// The file that it is to replace, and up to which offset it has that file's refusals.
    identity: (u64, u64),
    offset: u64,
}

/// What became of replacing the file.
pub(super) enum Replaced {
    /// The new file is in place: where to read on in it, and its length.
    Done(Place, u64),
    /// Somebody has the lock.
    Locked(NewFile),
    /// The file is no longer the one that was read.
    Overtaken,
}

/// Held while lines are appended.
struct Lock {
    _file: File,
}

impl RefusalFile {
    /// The file in this directory; it need not exist yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Refuses tokens that were issued to the user before this, durably when it returns. While somebody else
    /// has the lock, `pause` is called again and again; it may leave by unwinding.
    ///
    /// # Errors
    /// The file cannot be written or flushed. If it could not be written, nothing has changed.
    pub fn refuse_user(&self, user_id: &str, before: SystemTime, pause: impl FnMut()) -> io::Result<()> {
        self.append_lines(&line::user(user_id, before), pause)
    }

    /// Appends lines, durably when it returns.
    pub(super) fn append_lines(&self, lines: &str, mut pause: impl FnMut()) -> io::Result<()> {
        loop {
            if let Some(file) = self.try_append(lines)? {
                return file.sync_all();
            }
            pause();
        }
    }

    /// Appends lines, and returns the file, to be flushed. `None`: somebody else has the lock.
    pub(super) fn try_append(&self, lines: &str) -> io::Result<Option<File>> {
        let Some(_lock) = self.try_lock()? else { return Ok(None) };
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(self.path(FILE_NAME))?;
        let len = file.metadata()?.len();
        let mut last = [b'\n'];
        if len > 0 {
            file.read_exact_at(&mut last, len - 1)?;
        }
        // What a crash has cut off must not swallow the next line.
        let end = if last == [b'\n'] { "" } else { "\n" };
        if let Err(error) = file.write_all(format!("{end}{lines}").as_bytes()) {
            // A full disk: a part of the lines must not stay.
            let _ = file.set_len(len);
            return Err(error);
        }
        if len == 0 {
            self.sync_directory()?;
        }
        Ok(Some(file))
    }

    fn try_lock(&self) -> io::Result<Option<Lock>> {
        let mut options = OpenOptions::new();
        let file = options.create(true).write(true).truncate(false).mode(0o600).open(self.path(LOCK_NAME))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Begins a new file for the refusals of the present one up to `place`. To be filled, and then given to
    /// [`RefusalFile::replace`]. `None`: there is no file yet.
    pub(super) fn begin_new(&self, place: &Place) -> io::Result<Option<NewFile>> {
        if place.file.is_none() {
            return Ok(None);
        }
        let mut options = OpenOptions::new();
        let file = options
            .create(true)
            .read(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path(NEW_FILE_NAME))?;
        let Place { identity, offset, .. } = *place;
        Ok(Some(NewFile { writer: BufWriter::with_capacity(BUFFER_BYTES, file), len: 0, identity, offset }))
    }

    /// Appends the lines that came meanwhile to the new file, and puts it in the old one's place.
    pub(super) fn replace(&self, mut new: NewFile) -> io::Result<Replaced> {
        let Some(_lock) = self.try_lock()? else { return Ok(Replaced::Locked(new)) };
        let mut old = File::open(self.path(FILE_NAME))?;
        if identity(&old.metadata()?) != new.identity {
            return Ok(Replaced::Overtaken);
        }
        old.seek(SeekFrom::Start(new.offset))?;
        let tail = io::copy(&mut old, &mut new.writer)?;
        let file = new.writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        fs::rename(self.path(NEW_FILE_NAME), self.path(FILE_NAME))?;
        // The new file's name must be durable before the next line is written.
        self.sync_directory()?;
        let identity = identity(&file.metadata()?);
        let place = Place { file: Some(file), identity, offset: new.len, overlong: false };
        Ok(Replaced::Done(place, new.len + tail))
    }

    /// Removes what a replacement that failed has left.
    pub(super) fn forget_new(&self) {
        let _ = fs::remove_file(self.path(NEW_FILE_NAME));
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl NewFile {
    pub(super) fn write(&mut self, lines: &str) -> io::Result<()> {
        self.writer.write_all(lines.as_bytes())?;
        self.len += lines.len() as u64;
        Ok(())
    }

    /// Flushes what was written, before the lock is taken.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.writer.flush()?;
        self.writer.get_ref().sync_all()
    }
}

impl Place {
    /// Bytes that were read.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads what is new, and hands it to `tell` in portions of at most `portion`; all of the file when it is
    /// another one than before. A last line without an end is left for the next time.
    ///
    /// # Errors
    /// The file exists and cannot be read; portions that were handed over stay read.
    pub(super) fn read_on(
        &mut self,
        of: &RefusalFile,
        portion: usize,
        mut give: impl FnMut(Vec<NewRefusal>),
    ) -> io::Result<()> {
        let file = match File::open(of.path(FILE_NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *self = Self::default();
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        let identity = identity(&metadata);
        if self.file.is_none() || identity != self.identity || metadata.len() < self.offset {
            *self = Self { file: Some(file), identity, offset: 0, overlong: false };
        }
        let Some(mut file) = self.file.as_ref() else { return Ok(()) };
        file.seek(SeekFrom::Start(self.offset))?;
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
        let mut bytes = Vec::new();
        let mut refusals = Vec::new();
        loop {
            bytes.clear();
            let read = reader.by_ref().take(line::MAX_BYTES).read_until(b'\n', &mut bytes)? as u64;
            let is_whole = bytes.last() == Some(&b'\n');
            if !is_whole && read < line::MAX_BYTES {
                break;
            }
            self.offset += read;
            let is_line = is_whole && !self.overlong;
            self.overlong = !is_whole;
            if is_line {
                refusals.extend(line::parse(&bytes));
            }
            if refusals.len() >= portion {
                give(std::mem::take(&mut refusals));
            }
        }
        give(refusals);
        Ok(())
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
