//! `pg_sse catalog`: connects to the served database, reads the routines that have a comment, hands them to
//! the gateway through the ring, and leaves (C1.4). It decides nothing: the gateway finds out what each
//! comment means, with the same pure code as every backend.

use std::time::Duration;

use pgrx::bgworkers::BackgroundWorker;
use sse_proto::call::CallRole;
use sse_proto::client_file::ClientFile;
use sse_proto::record::Record;
use sse_proto::route::Routine;
use sse_ring::{PushError, Replaced};

use crate::catalog::{self, basis, call_role};
use crate::client;
use crate::guc;
use crate::pg::shmem::{self, Shared};
use crate::pg::{backend, bgworker, clock, futex, spare};

/// How long the worker waits for the gateway to make room. A gateway that takes nothing for this long is
/// gone.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Pause while there is no room.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(1);

/// The routines take at most this part of the ring. The rest stays free for events, whoever publishes while
/// thousands of routines are handed over. Beyond it the worker waits, as it does for room. While events alone
/// take more than the rest, it goes on after half of [`MAX_WAIT`], because routes must not wait forever.
const SHARE: usize = 4;

/// What the gateway starts a worker for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Task {
    /// The routines alone.
    Routines,
    /// The routines, and after them the files for clients, if `sse.serve_client` is on.
    RoutinesAndFiles,
}

/// The number of a reading and what it is for, as the worker is given them.
pub(crate) fn argument(reading: u64, task: Task) -> u64 {
    reading << 1 | u64::from(task == Task::RoutinesAndFiles)
}

/// Main function of the worker, with its [`argument`].
pub(crate) fn run(argument: u64) {
    let (reading, makes_files) = (argument >> 1, argument & 1 == 1);
    let Some(shared) = shmem::shared() else { return };
    bgworker::attach_signals_of_a_backend();
    // The gateway asks for another reading.
    spare::leave_for_want_of(usize::MAX);
    bgworker::settle_transactions();
    bgworker::connect(Some(&guc::DATABASE.text()));
    // Before the snapshot: the snapshot contains every change announced up to here.
    let generation = shared.catalog_generation();
    let certain = shared.certain_changes();
    let (extension, role, routines, basis) = BackgroundWorker::transaction(|| {
        let reading = catalog::all();
        let basis = basis::of(&reading);
        reading.near.share(&shared);
        // Those beyond stay here: without a URL they are nothing to the gateway.
        (catalog::extension(), call_role::check(), reading.routines, basis)
    });
    // Before the routines are handed over: from now on, changes of what the new ones rest on are noticed.
    let max_wait = max_wait();
    let deadline = backend::Deadline::after(max_wait);
    loop {
        match shared.header.watched.try_replace(&basis, certain, generation) {
            Replaced::Yes => break,
            // A transaction may have changed, after this reading's snapshot, what it did not find in the set
            // before. So the catalog is read once more; that set is the same, unless something has changed.
            Replaced::ByAnother => break shared.announce_possible_change(),
            Replaced::Busy if deadline.has_passed() => bgworker::leave(1),
            Replaced::Busy => {}
        }
        pgrx::check_for_interrupts!();
        backend::pause();
    }
    shared.found_extension(generation, extension);
    let handing = Handing { shared, max_wait, reading };
    let mut handed_over = handing.hand_over(generation, role, &routines);
    let for_routines = clock::processor_time();
    if handed_over && makes_files && guc::SERVE_CLIENT.get() {
        // After the routines: they neither wait for it, nor are they lost where it fails. From here on the
        // gateway may have the routines read by another worker (`worker/gateway/reader.rs`).
        let files = BackgroundWorker::transaction(|| client_files(routines));
        handed_over = files.iter().all(|(file, text)| handing.hand_over_file(*file, text));
    }
    if handed_over && makes_files {
        // Says, too, that nothing is missing: whoever is ended while the client is made does not come here.
        // Not for routines alone: one that makes files may have told of them just before, unheard so far.
        let for_files = clock::processor_time().saturating_sub(for_routines);
        shared.header.last_reading.tell_files(reading, for_files);
    }
    shared.wake_gateway();
    bgworker::leave(i32::from(!handed_over));
}

/// [`MAX_WAIT`], unless a test has written another number of milliseconds into the data directory.
fn max_wait() -> Duration {
    #[cfg(feature = "faults")]
    if let Ok(text) = std::fs::read_to_string(backend::data_directory().join("pg_sse.max_wait"))
        && let Ok(milliseconds) = text.trim().parse()
    {
        return Duration::from_millis(milliseconds);
    }
    MAX_WAIT
}

/// Bytes of a part of a file, which finds room in the smallest ring.
const PART_BYTES: usize = 8 << 10;

/// How the records of a reading get into the ring.
struct Handing {
    shared: Shared,
    max_wait: Duration,
    reading: u64,
}

impl Handing {
    /// `false`: the gateway does not take it.
    fn hand_over(&self, generation: u64, role: CallRole, routines: &[Routine]) -> bool {
        let reading = self.reading;
        let count = u32::try_from(routines.len()).unwrap_or(u32::MAX);
        let all = self.push(&Record::CatalogBegin { reading, generation })
            && self.push(&Record::CallRole { reading, role })
            && routines
                .iter()
                .all(|routine| self.push(&Record::CatalogRoutine { reading, routine: routine.clone() }));
        // Before the last record: whoever has that knows this, and does not count what comes later.
        self.shared.header.last_reading.tell_routines(reading, clock::processor_time());
        all && self.push(&Record::CatalogEnd { reading, count })
    }

    /// Its parts, and an empty one after them. `false`: the gateway does not take it.
    fn hand_over_file(&self, file: ClientFile, mut text: &str) -> bool {
        loop {
            let (part, rest) = text.split_at(text.floor_char_boundary(PART_BYTES));
            if !self.push(&Record::CatalogClient { reading: self.reading, file, part }) {
                return false;
            }
            if part.is_empty() {
                return true;
            }
            text = rest;
        }
    }

    /// Pushes one record, waiting for room. `false`: the gateway does not take it.
    fn push(&self, record: &Record<'_>) -> bool {
        let (shared, max_wait) = (&self.shared, self.max_wait);
        let Ok(bytes) = record.encode() else { return false };
        let (deadline, patience) =
            (backend::Deadline::after(max_wait), backend::Deadline::after(max_wait / 2));
        let producer = shared.ring.producer();
        let mine = guc::RING_SIZE.bytes() / SHARE;
        loop {
            // A record that is larger than this share is pushed when the ring is empty.
            let may_push = producer.is_within(mine, bytes.len()) || patience.has_passed();
            let pushed = if may_push { producer.try_push(&bytes) } else { Err(PushError::Full) };
            match pushed {
                Ok(wake) => {
                    futex::wake_if(wake, shared);
                    return true;
                }
                Err(PushError::TooLarge) => return self.push_without_comment(record),
                Err(PushError::Full) => {
                    if deadline.has_passed() {
                        return false;
                    }
                    futex::wake(shared);
                    // Not a plain sleep: some statements (`DROP DATABASE` is one) wait until every process of
                    // the server has taken in an interrupt, and this wait may take as long as [`MAX_WAIT`].
                    bgworker::wait(NO_ROOM_PAUSE);
                }
            }
        }
    }

    /// A comment that does not fit into the ring has no annotation that a person wrote. The routine is
    /// counted, and has no URL.
    fn push_without_comment(&self, record: &Record<'_>) -> bool {
        let Record::CatalogRoutine { reading, routine } = record else { return false };
        if routine.comment.is_empty() {
            return false;
        }
        let routine = Routine { comment: String::new(), signature: None, ..routine.clone() };
        self.push(&Record::CatalogRoutine { reading: *reading, routine })
    }
}

/// What `sse.serve_client` serves; each is empty if it is too large.
fn client_files(mut routines: Vec<Routine>) -> [(ClientFile, String); ClientFile::ALL.len()] {
    routines.retain(|routine| guc::schema_is_served(&routine.schema));
    let model = client::model(&routines, None);
    ClientFile::ALL.map(|file| {
        let written = model.as_ref().ok().and_then(|model| client::written(model, file).ok());
        (file, written.unwrap_or_default())
    })
}
