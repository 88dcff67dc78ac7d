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
use crate::pg::{backend, bgworker, clock, futex};

/// How long the worker waits for the gateway to make room. A gateway that takes nothing for this long is
/// gone.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Pause while there is no room.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(1);

/// The routines take at most this part of the ring. The rest stays free for events, whoever publishes while
/// thousands of routines are handed over. Beyond it the worker waits, as it does for room. While events alone
/// take more than the rest, it goes on after half of [`MAX_WAIT`], because routes must not wait forever.
const SHARE: usize = 4;

/// Main function of the worker.
pub(crate) fn run() {
    let Some(shared) = shmem::shared() else { return };
    bgworker::attach_signals_of_a_backend();
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
    let mut handed_over = hand_over(&shared, max_wait, generation, role, &routines);
    if handed_over && guc::SERVE_CLIENT.get() {
        // Behind the routines: they neither wait for it, nor are they lost where it fails.
        let files = BackgroundWorker::transaction(|| client_files(routines));
        handed_over =
            files.iter().all(|(file, text)| hand_over_file(&shared, max_wait, generation, *file, text));
    }
    if handed_over {
        // Says, too, that nothing is missing: whoever is ended while the client is made does not come here.
        shared.header.last_reading.tell_work(clock::processor_time());
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

fn hand_over(
    shared: &Shared,
    max_wait: Duration,
    generation: u64,
    role: CallRole,
    routines: &[Routine],
) -> bool {
    let count = u32::try_from(routines.len()).unwrap_or(u32::MAX);
    let push = |record: &Record<'_>| push(shared, max_wait, record);
    push(&Record::CatalogBegin { generation })
        && push(&Record::CallRole { generation, role })
        && routines
            .iter()
            .all(|routine| push(&Record::CatalogRoutine { generation, routine: routine.clone() }))
        && push(&Record::CatalogEnd { generation, count })
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

/// Bytes of a part of a file, which finds room in the smallest ring.
const PART_BYTES: usize = 8 << 10;

/// Its parts, and an empty one behind them.
fn hand_over_file(
    shared: &Shared,
    max_wait: Duration,
    generation: u64,
    file: ClientFile,
    mut text: &str,
) -> bool {
    loop {
        let (part, rest) = text.split_at(text.floor_char_boundary(PART_BYTES));
        if !push(shared, max_wait, &Record::CatalogClient { generation, file, part }) {
            return false;
        }
        if part.is_empty() {
            return true;
        }
        text = rest;
    }
}

/// Pushes one record, waiting for room. `false`: the gateway does not take it.
fn push(shared: &Shared, max_wait: Duration, record: &Record<'_>) -> bool {
    let Ok(bytes) = record.encode() else { return false };
    let (deadline, patience) = (backend::Deadline::after(max_wait), backend::Deadline::after(max_wait / 2));
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
            Err(PushError::TooLarge) => return push_without_comment(shared, max_wait, record),
            Err(PushError::Full) => {
                if deadline.has_passed() {
                    return false;
                }
                futex::wake(shared);
                // Not a plain sleep: some statements (`DROP DATABASE` is one) wait until every process of the
                // server has taken in an interrupt, and this wait may take as long as [`MAX_WAIT`].
                bgworker::wait(NO_ROOM_PAUSE);
            }
        }
    }
}

/// A comment that does not fit into the ring has no annotation that a person wrote. The routine is counted,
/// and has no URL.
fn push_without_comment(shared: &Shared, max_wait: Duration, record: &Record<'_>) -> bool {
    let Record::CatalogRoutine { generation, routine } = record else { return false };
    if routine.comment.is_empty() {
        return false;
    }
    let routine = Routine { comment: String::new(), signature: None, ..routine.clone() };
    push(shared, max_wait, &Record::CatalogRoutine { generation: *generation, routine })
}
