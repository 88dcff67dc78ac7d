//! The file: what is appended, read, and written anew. Its thread is tested from outside, in
//! `tests/refusals.rs`.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::file::{Place, RefusalFile, Replaced};
use super::line;
use crate::auth::NewRefusal;

struct Folder {
    path: PathBuf,
    file: RefusalFile,
    _folder: tempfile::TempDir,
}

fn folder() -> Folder {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_path_buf();
    Folder { file: RefusalFile::new(&path), path, _folder: folder }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

impl Folder {
    fn add(&self, id: &str) {
        self.file.refuse_user(id, at(1), || panic!("nobody has the lock")).unwrap();
    }

    fn raw(&self, text: &str) {
        let path = self.path.join("pg_sse.revocations");
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn read_on(&self, place: &mut Place) -> Vec<String> {
        let mut ids = Vec::new();
        let read = place.read_on(&self.file, 2, |refusals| {
            assert!(refusals.len() <= 2);
            ids.extend(refusals.into_iter().map(|refusal| match refusal {
                NewRefusal::User { id, .. } => id.to_string(),
                NewRefusal::Token { digest, .. } => digest.to_text(),
            }));
        });
        read.unwrap();
        ids
    }

    fn lock(&self) -> File {
        let mut options = OpenOptions::new();
        let path = self.path.join("pg_sse.revocations.lock");
        let file = options.create(true).write(true).truncate(false).open(path).unwrap();
        file.lock().unwrap();
        file
    }
}

#[test]
fn only_what_is_new_is_read() {
    let folder = folder();
    let mut place = Place::default();
    assert!(folder.read_on(&mut place).is_empty(), "there is no file");
    ["a", "b", "c"].into_iter().for_each(|id| folder.add(id));
    assert_eq!(folder.read_on(&mut place), ["a", "b", "c"]);
    assert!(folder.read_on(&mut place).is_empty());
    folder.add("d");
    assert_eq!(folder.read_on(&mut place), ["d"]);
    let mode = fs::metadata(folder.path.join("pg_sse.revocations")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_line_that_is_being_written_is_read_when_it_is_whole() {
    let folder = folder();
    let mut place = Place::default();
    let line = line::user("a", at(1));
    folder.raw(&line[..9]);
    assert!(folder.read_on(&mut place).is_empty());
    folder.raw(&line[9..]);
    assert_eq!(folder.read_on(&mut place), ["a"]);
}

// A crash in the middle of a line: the next refusal would be appended to that line, and be lost with it.
#[test]
fn a_line_that_a_crash_has_cut_off_does_not_swallow_the_next() {
    let folder = folder();
    folder.add("a");
    folder.raw("{\"user_id\":\"b\",\"bef");
    folder.add("c");
    folder.add("d");
    assert_eq!(folder.read_on(&mut Place::default()), ["a", "c", "d"]);
}

#[test]
fn a_line_longer_than_any_of_ours_is_passed_over() {
    let folder = folder();
    let mut place = Place::default();
    for length in [line::MAX_BYTES - 1, line::MAX_BYTES, line::MAX_BYTES + 1, 3 * line::MAX_BYTES] {
        folder.raw(&"x".repeat(length as usize));
        assert!(folder.read_on(&mut place).is_empty());
        folder.raw("\n");
        folder.add("a");
        assert_eq!(folder.read_on(&mut place), ["a"], "{length}");
    }
}

#[test]
fn another_file_is_read_from_its_beginning() {
    let folder = folder();
    let mut place = Place::default();
    folder.add("a");
    assert_eq!(folder.read_on(&mut place), ["a"]);
    // Twice, because the second one may get the inode of the first.
    for id in ["b", "c"] {
        fs::write(folder.path.join("other"), line::user(id, at(1))).unwrap();
        fs::rename(folder.path.join("other"), folder.path.join("pg_sse.revocations")).unwrap();
        assert_eq!(folder.read_on(&mut place), [id]);
    }
    fs::write(folder.path.join("pg_sse.revocations"), "").unwrap();
    assert!(folder.read_on(&mut place).is_empty());
    folder.add("d");
    assert_eq!(folder.read_on(&mut place), ["d"], "a shorter one, too");
    fs::remove_file(folder.path.join("pg_sse.revocations")).unwrap();
    assert!(folder.read_on(&mut place).is_empty());
}

#[test]
fn lines_that_come_while_the_file_is_written_anew_are_not_lost() {
    let folder = folder();
    let mut place = Place::default();
    assert!(folder.file.begin_new(&place).unwrap().is_none(), "there is nothing to write anew");
    ["a", "a", "a", "b"].into_iter().for_each(|id| folder.add(id));
    folder.read_on(&mut place);
    let mut new = folder.file.begin_new(&place).unwrap().unwrap();
    folder.add("c");
    new.write(&format!("{}{}", line::user("a", at(1)), line::user("b", at(1)))).unwrap();
    new.sync().unwrap();
    // Read meanwhile: they are copied all the same.
    assert_eq!(folder.read_on(&mut place), ["c"]);
    folder.add("d");
    let Replaced::Done(mut place, len) = folder.file.replace(new).unwrap() else { panic!("not replaced") };
    assert_eq!(len, fs::metadata(folder.path.join("pg_sse.revocations")).unwrap().len());
    assert_eq!(folder.read_on(&mut place), ["c", "d"]);
    assert_eq!(folder.read_on(&mut Place::default()), ["a", "b", "c", "d"]);
    folder.add("e");
    assert_eq!(folder.read_on(&mut place), ["e"]);
}

#[test]
fn a_file_that_was_replaced_meanwhile_or_is_locked_is_not_replaced() {
    let folder = folder();
    let mut place = Place::default();
    folder.add("a");
    folder.read_on(&mut place);
    let new = folder.file.begin_new(&place).unwrap().unwrap();
    let lock = folder.lock();
    let Replaced::Locked(new) = folder.file.replace(new).unwrap() else { panic!("not locked") };
    drop(lock);
    fs::write(folder.path.join("other"), line::user("b", at(1))).unwrap();
    fs::rename(folder.path.join("other"), folder.path.join("pg_sse.revocations")).unwrap();
    assert!(matches!(folder.file.replace(new).unwrap(), Replaced::Overtaken));
    assert_eq!(folder.read_on(&mut place), ["b"]);
}

// A stopped process that holds the lock: a process that waits for it must be able to leave.
#[test]
fn whoever_waits_for_the_lock_is_asked_again_and_again_and_may_leave() {
    let folder = folder();
    let lock = folder.lock();
    let pauses = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let waiting = std::panic::AssertUnwindSafe(|| {
        folder.file.refuse_user("a", at(1), || {
            if pauses.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 3 {
                std::panic::resume_unwind(Box::new("cancelled"));
            }
        })
    });
    assert!(std::panic::catch_unwind(waiting).is_err());
    let mut lock = Some(lock);
    folder.file.refuse_user("b", at(1), || drop(lock.take())).unwrap();
    assert_eq!(folder.read_on(&mut Place::default()), ["b"]);
}
