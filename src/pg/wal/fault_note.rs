//! Notes at which record of the log this process dies of a fault (a crash of the decoder), so that the next
//! one passes over the record: the log outlives the crash, and would crash every reader again (C10.6).
//!
//! A fault is a signal that the code itself has caused, or a panic. Whoever is killed from outside notes
//! nothing.
//!
//! Not for: passing over it (`worker/wal_reader/reading.rs`).

use std::ffi::c_int;
use std::fs::{self, OpenOptions};
use std::os::fd::IntoRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};
use std::thread;

use crate::pg::compat;

const FILE_NAME: &str = "pg_sse.unreadable";

/// More positions are not looked at; each stands for a crash.
const MOST: usize = 1000;

/// The record that is being looked at, 0 = none. Of this process' main thread; a signal handler reads it.
static POSITION: AtomicU64 = AtomicU64::new(0);

/// The file, -1 = there is none.
static FILE: AtomicI32 = AtomicI32::new(-1);

/// The positions that were noted in this data directory.
pub(crate) fn read(data_directory: &Path) -> Vec<u64> {
    let text = fs::read_to_string(data_directory.join(FILE_NAME)).unwrap_or_default();
    text.lines().take(MOST).filter_map(|line| u64::from_str_radix(line, 16).ok()).collect()
}

/// From here on faults of this process are noted. Without the file they are not.
pub(crate) fn install(data_directory: &Path) {
    let file = OpenOptions::new().append(true).create(true).open(data_directory.join(FILE_NAME));
    let Ok(file) = file else { return };
    FILE.store(file.into_raw_fd(), Relaxed);
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT] {
        compat::on_signal(signal, note_and_die);
    }
}

/// A record is being looked at until this is dropped.
pub(crate) struct Note(());

/// The record that begins here is being looked at.
pub(crate) fn at(position: u64) -> Note {
    POSITION.store(position, Relaxed);
    Note(())
}

impl Drop for Note {
    fn drop(&mut self) {
        if thread::panicking() {
            note();
        }
        POSITION.store(0, Relaxed);
    }
}

/// In a signal handler: only what is allowed there (signal-safety(7)).
unsafe extern "C-unwind" fn note_and_die(signal: c_int) {
    note();
    // SAFETY: the fault happens again then, or the signal that follows ends the process as it would have.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // SAFETY: as above.
    unsafe { libc::raise(signal) };
}

fn note() {
    let (position, file) = (POSITION.load(Relaxed), FILE.load(Relaxed));
    if position == 0 || file < 0 {
        return;
    }
    let mut line = [b'\n'; 17];
    for (digit, byte) in line.iter_mut().take(16).enumerate() {
        *byte = b"0123456789abcdef"[(position >> (60 - 4 * digit) & 0xf) as usize];
    }
    // SAFETY: a descriptor of ours, and bytes of this frame.
    unsafe { libc::write(file, line.as_ptr().cast(), line.len()) };
}

/// For a test: an event with this text in it crashes who looks at it.
#[cfg(feature = "faults")]
pub(crate) fn provoke_if_asked(payload: &[u8]) {
    let has = |text: &[u8]| payload.windows(text.len()).any(|window| window == text);
    if has(b"deadly to the reader of the log") {
        // SAFETY: ends this process.
        unsafe { libc::raise(libc::SIGSEGV) };
    }
    assert!(!has(b"makes the reader of the log panic"), "asked to");
}
