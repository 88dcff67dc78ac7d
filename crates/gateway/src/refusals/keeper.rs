//! The thread that reads and writes the file of refusals. It never calls Postgres: its log lines go through
//! the main thread.

use std::io;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::file::{NewFile, Place, RefusalFile, Replaced};
use super::line;
use crate::auth::{Bearer, Knowledge, NewRefusal};
use crate::between::outbox::Severity;
use crate::shared::Shared;

/// A shorter file is not written anew: it has fifty thousand lines at most, which are read in a moment.
const MIN_REWRITE_BYTES: u64 = 4 << 20;

/// Refusals that are told, or written anew, at a time. No lock that requests wait for is held for longer than
/// one portion takes.
const MAX_PORTION: usize = 1000;

/// Tokens that are written with one flush: a megabyte. Further ones wait on the desk.
const MAX_BATCH: usize = 10_000;

/// Bytes of the user ids among them. A character may take six bytes in the file.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// Pause after an error of the disk; it doubles with each one that follows, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Pause while somebody else has the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Looks at the lock, [`LOCK_PAUSE`] apart, before writing anew is put off.
const MAX_LOCK_LOOKS: usize = 100;

/// Held by the keeper that writes the new file, of which there is one name for all keepers of this process.
static WRITING_ANEW: Mutex<()> = Mutex::new(());

struct Keeper<'s> {
    shared: &'s Shared,
    file: RefusalFile,
    place: Place,
    /// The file is to be read.
    look: bool,
    /// Lines that are not in the file yet.
    unwritten: String,
    /// Length of the file when it was written anew; 0 = not since this thread began.
    compacted: u64,
    reading: Trouble,
    writing: Trouble,
    compacting: Trouble,
}

/// When something that has failed is tried again.
#[derive(Default)]
struct Trouble {
    not_before: Option<Instant>,
    pause: Duration,
}

impl Trouble {
    fn is_over(&self) -> bool {
        self.not_before.is_none_or(|moment| Instant::now() >= moment)
    }

    fn failed(&mut self, longest: Duration) {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, longest);
        self.not_before = Some(Instant::now() + self.pause);
    }

    /// Says whether it had failed before.
    fn ended(&mut self) -> bool {
        self.pause = Duration::ZERO;
        self.not_before.take().is_some()
    }

    fn remaining(&self) -> Duration {
        self.not_before.map_or(Duration::ZERO, |moment| moment.saturating_duration_since(Instant::now()))
    }
}

/// Runs until the desk says that it is over.
pub(super) fn run(shared: &Shared, file: RefusalFile) {
    let mut keeper = Keeper {
        shared,
        file,
        place: Place::default(),
        look: false,
        unwritten: String::new(),
        compacted: 0,
        reading: Trouble::default(),
        writing: Trouble::default(),
        compacting: Trouble::default(),
    };
    loop {
        keeper.read();
        keeper.write();
        keeper.compact();
        let desk = &shared.refusals;
        if let Some(until) = desk.stopping() {
            keeper.take();
            if keeper.unwritten.is_empty() || Instant::now() >= until {
                return;
            }
        }
        keeper.rest();
    }
}

impl Keeper<'_> {
    /// Waits for something to do, or for the moment at which something is tried again.
    fn rest(&self) {
        const LONG: Duration = Duration::from_secs(3600);
        if self.shared.refusals.stopping().is_some() {
            return std::thread::sleep(LOCK_PAUSE);
        }
        let wait =
            |due: bool, trouble: &Trouble| if due { trouble.remaining().max(LOCK_PAUSE) } else { LONG };
        let has_unwritten = !self.unwritten.is_empty();
        let pause = wait(self.look, &self.reading)
            .min(wait(has_unwritten, &self.writing))
            .min(wait(self.is_long(), &self.compacting));
        self.shared.refusals.wait(pause, !has_unwritten);
    }

    /// Reads what is new in the file, and tells it.
    fn read(&mut self) {
        self.look |= self.shared.refusals.take_look();
        if !self.look || !self.reading.is_over() {
            return;
        }
        let Self { shared, file, place, .. } = self;
        let tell = |refusals| {
            shared.refuse(refusals);
        };
        match place.read_on(file, MAX_PORTION, tell) {
            Ok(()) => {
                self.look = false;
                self.reading.ended();
                self.shared.refusals.set(Knowledge::Known);
            }
            Err(error) => {
                // Nobody can say who is refused.
                self.shared.refusals.set(Knowledge::Unreadable);
                if self.reading.not_before.is_none() {
                    self.warn(format!(
                        "the file of refusals cannot be read: {error}; nothing is served until it can be read: pg_sse.revocations in the data directory"
                    ));
                }
                // Nothing is served meanwhile.
                self.reading.failed(FIRST_PAUSE);
            }
        }
    }

    /// Takes what was put on the desk, when there is nothing left of what was taken before.
    fn take(&mut self) {
        if !self.unwritten.is_empty() {
            return;
        }
        for refusal in self.shared.refusals.take_kept(MAX_BATCH, MAX_BATCH_BYTES) {
            self.unwritten.push_str(&match refusal {
                NewRefusal::User { id, before } => line::user(&id, before),
                NewRefusal::Token { digest, until, bearer } => line::token(digest, until, bearer),
            });
        }
    }

    fn write(&mut self) {
        self.take();
        if self.unwritten.is_empty() || !self.writing.is_over() {
            return;
        }
        let appended = self.file.try_append(&self.unwritten);
        match appended.and_then(|file| file.map(|file| file.sync_all()).transpose()) {
            Ok(None) => {}
            Ok(Some(())) => {
                self.unwritten = String::new();
                // To learn the file's new length; telling these refusals again changes nothing.
                self.look = true;
                if self.writing.ended() {
                    self.say("refusals are written again".to_owned());
                }
            }
            Err(error) => {
                if self.writing.not_before.is_none() {
                    self.warn(format!(
                        "the file of refusals cannot be written: {error}; it is tried again, and until then a token \
                         that was logged out would be accepted again after a restart"
                    ));
                }
                self.writing.failed(LONGEST_PAUSE);
            }
        }
    }

    fn is_long(&self) -> bool {
        self.place.offset() > MIN_REWRITE_BYTES.max(2 * self.compacted)
    }

    /// Writes the file anew when it has become twice as long as after the last time.
    fn compact(&mut self) {
        if !self.is_long() || !self.compacting.is_over() || self.shared.refusals.stopping().is_some() {
            return;
        }
        // The keeper of an earlier gateway may still hang there.
        let Some(_alone) = WRITING_ANEW.try_lock() else { return self.compacting.failed(LONGEST_PAUSE) };
        match self.write_anew() {
            Ok(Some(len)) => {
                self.compacted = len;
                self.compacting.ended();
            }
            Ok(None) => {
                self.file.forget_new();
                self.compacting.failed(LONGEST_PAUSE);
            }
            Err(error) => {
                self.file.forget_new();
                if self.compacting.not_before.is_none() {
                    self.warn(format!(
                        "the file of refusals cannot be shortened: {error}; it is tried again"
                    ));
                }
                self.compacting.failed(LONGEST_PAUSE);
            }
        }
    }

    /// `None`: it was put off.
    fn write_anew(&mut self) -> io::Result<Option<u64>> {
        let Some(mut new) = self.file.begin_new(&self.place)? else { return Ok(None) };
        let mut last = None;
        self.copy(&mut new, |shared| {
            let page = shared.auth.revocations().users(last.as_ref(), MAX_PORTION);
            last = Some(page.last()?.clone());
            Some(page.iter().map(|(before, id)| line::user(id, *before)).collect())
        })?;
        let now = SystemTime::now();
        for bearer in [Bearer::Known, Bearer::Nameless] {
            let mut last = None;
            self.copy(&mut new, |shared| {
                let page = shared.auth.revocations().tokens(bearer, last.as_ref(), MAX_PORTION);
                last = Some(*page.last()?);
                let good = page.into_iter().filter(|(until, _)| *until > now);
                Some(good.map(|(until, digest)| line::token(digest, until, bearer)).collect())
            })?;
        }
        new.sync()?;
        for _ in 0..MAX_LOCK_LOOKS {
            match self.file.replace(new)? {
                Replaced::Done(place, len) => {
                    self.place = place;
                    self.look = true;
                    return Ok(Some(len));
                }
                Replaced::Overtaken => {
                    self.look = true;
                    return Ok(None);
                }
                Replaced::Locked(again) => new = again,
            }
            if self.shared.refusals.stopping().is_some() {
                return Ok(None);
            }
            std::thread::sleep(LOCK_PAUSE);
            self.read();
        }
        Ok(None)
    }

    /// Writes pages until there are no more. New lines of the old file are read and told meanwhile.
    fn copy(&mut self, new: &mut NewFile, mut page: impl FnMut(&Shared) -> Option<String>) -> io::Result<()> {
        while let Some(lines) = page(self.shared) {
            new.write(&lines)?;
            self.read();
        }
        Ok(())
    }

    fn warn(&self, line: String) {
        self.shared.outbox.log(Severity::Warning, line);
    }

    fn say(&self, line: String) {
        self.shared.outbox.log(Severity::Log, line);
    }
}
