//! What a message raised below an annotated routine becomes: a record for the ring, now or at commit, or
//! nothing.
//!
//! Runs inside `emit_log_hook` ([`capture`]) and in `sse.publish` ([`publish`]). In the hook there is no
//! catalog, no error and no logging, so everything that decides who gets the event was resolved before: the
//! annotation is in this backend's cache, the rest are settings. What cannot be published is counted, by
//! reason.
//!
//! Not for: which routine is running (`pg/entry/activation.rs`), transactions (`pg/entry/xact.rs`), the
//! ring's protocol (`sse_ring`).

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sse_proto::admission;
use sse_proto::annotation::Access;
use sse_proto::caller::Caller;
use sse_proto::encoding::{self, Encoding};
use sse_proto::identity::Emission;
use sse_proto::record::{self, Emitter, EncodeError, Envelope, Record};
use sse_proto::scope::{Hint, Scope};
use sse_proto::word::{Delivery, Level};
use sse_ring::PushError;

use super::annotations::{Published, Role, Routine};
use super::caller::{self, IdOf};
use super::emitter;
use super::mistake::{self, Mistake};
use crate::guc;
use crate::pg::backend::NoGateway;
use crate::pg::entry::activation::{self, Running};
use crate::pg::entry::xact;
use crate::pg::error_data::{Message, Origin};
use crate::pg::postgres_cell::PostgresCell;
use crate::pg::shmem::{self, Shared};
use crate::pg::{backend, clock, effects, futex, wal};

/// The record being written; kept, so that publishing does not allocate each time.
static RECORD: PostgresCell<Vec<u8>> = PostgresCell::new(Vec::new());
/// Message text in UTF-8 when the database has another encoding.
static TEXT: PostgresCell<String> = PostgresCell::new(String::new());
static HINT: PostgresCell<String> = PostgresCell::new(String::new());

/// Scratch memory beyond this is given back after a record: a single large event must not cost the backend
/// memory for life.
const KEPT_SCRATCH_BYTES: usize = 256 * 1024;

/// What happened to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// In the ring.
    Sent,
    /// Waits for this transaction's commit.
    WaitsForCommit,
    /// Above `sse.max_event_size`: the subscribers get a gap in its place.
    TooLarge,
    /// No room in the ring within `sse.publish_timeout`: the subscribers get a gap.
    Dropped,
    /// Scope `matching`, and nobody whom it could match: refused and counted.
    Unmatched,
    /// Scope `caller`, and no HTTP call: refused and counted.
    Uncalled,
    /// Refused and counted, for another reason.
    Refused,
}

/// What decides who gets an event, and when.
pub(crate) struct Target<'a> {
    /// Who may receive it.
    pub scope: Cow<'a, Scope>,
    /// Topic, if it has one.
    pub topic: Option<&'a str>,
    /// The `event:` field, if it has one.
    pub event: Option<&'a str>,
    /// Execution id, if it has one.
    pub execution_id: Option<&'a str>,
    /// The publishing routine's own rule.
    pub access: &'a Access,
    /// When it is sent.
    pub delivery: Delivery,
}

/// Looks at one message of an annotated routine; publishes it when it is an event.
pub(crate) fn capture(message: &Message<'_>) {
    let Some(level) = message.level() else { return };
    let Some(shared) = shmem::shared() else { return };
    match message.origin() {
        Origin::Server => return,
        Origin::Raise if !backend::in_parallel_worker() => {}
        Origin::Raise | Origin::RaiseOfParallelWorker => {
            // The leader sees each such message again, and counts it if an activation of its own would have
            // published it. So the worker counts it only if an activation of the worker would have.
            if publisher(level).is_some() {
                add(&shared.header.refusals.parallel_total, 1);
            }
            return;
        }
    }
    match publisher(level) {
        Some(Publisher::Routine(routine)) => {
            if let Role::Publisher(published) = &routine.role {
                let _ = raise(&shared, routine.oid, published, message);
            }
        }
        // It may have been one.
        Some(Publisher::Unknown) => {
            let _ = out_of_memory(&shared);
        }
        None => {}
    }
}

enum Publisher {
    Routine(Rc<Routine>),
    /// Cannot be said for want of memory.
    Unknown,
}

/// The routine whose event a message of this level is: the innermost running one with that level. The search
/// stops earlier at a routine with a mistake or with `@sse_subscribe` alone (C3.1), or of which nothing is
/// known.
fn publisher(level: Level) -> Option<Publisher> {
    let mut unbound = 0;
    let found = activation::search(|running| {
        let Running::Routine(routine) = running else { return Some(Some(Publisher::Unknown)) };
        match &routine.role {
            Role::Barrier => Some(None),
            Role::Publisher(published) if published.level_or(guc::default_level()) == level => {
                Some(Some(Publisher::Routine(Rc::clone(routine))))
            }
            Role::Publisher(_) => None,
            Role::Unbound => {
                if unbound == 0 {
                    unbound = routine.oid;
                }
                None
            }
        }
    });
    if found.is_none() && unbound != 0 && level == guc::default_level() {
        mistake::note(Mistake::Unbound, unbound);
    }
    found.flatten()
}

fn raise(shared: &Shared, routine: u32, published: &Published, message: &Message<'_>) -> Outcome {
    let encoding = backend::database_encoding();
    let refusals = &shared.header.refusals;
    TEXT.with_mut(|text_scratch| {
        let Ok((text, replaced)) = encoding::to_utf8(message.text(), encoding, text_scratch) else {
            return out_of_memory(shared);
        };
        if replaced > 0 {
            add(&refusals.replaced_characters_total, replaced as u64);
        }
        let scope = match hint_scope(message.hint(), encoding) {
            HintScope::None => Cow::Borrowed(&published.scope),
            HintScope::Scope(scope) => Cow::Owned(scope),
            HintScope::Slip => {
                add(&refusals.misspelt_hint_total, 1);
                mistake::note(Mistake::MisspeltHint, routine);
                return Outcome::Refused;
            }
        };
        IdOf::of(&scope).with(|execution_id| {
            let target = Target {
                scope,
                topic: published.topic.as_ref().map(|topic| topic.as_str()),
                event: published.event.as_ref().map(|event| event.as_str()),
                execution_id,
                access: &published.access,
                delivery: published.delivery.unwrap_or_else(guc::default_delivery),
            };
            let outcome = publish(shared, &target, text);
            match outcome {
                Outcome::Unmatched => mistake::note(Mistake::Unmatched, routine),
                Outcome::Uncalled => mistake::note(Mistake::Uncalled, routine),
                _ => {}
            }
            outcome
        })
    })
}

enum HintScope {
    None,
    Scope(Scope),
    Slip,
}

fn hint_scope(hint: &[u8], encoding: Encoding) -> HintScope {
    if hint.is_empty() {
        return HintScope::None;
    }
    HINT.with_mut(|scratch| match encoding::to_utf8(hint, encoding, scratch) {
        Ok((hint, 0)) => match Hint::parse(hint) {
            Hint::Scope(scope) => HintScope::Scope(scope),
            Hint::Prose => HintScope::None,
            Hint::Slip => HintScope::Slip,
        },
        // A hint that cannot be read may have been meant to narrow, so the event goes to nobody.
        Ok(_) | Err(_) => HintScope::Slip,
    })
}

/// Publishes one event: encodes it, and hands it to the ring or to the transaction. Never fails the
/// statement. Where nobody will empty the ring, as on a standby, nothing is put into it.
pub(crate) fn publish(shared: &Shared, target: &Target<'_>, data: &str) -> Outcome {
    publish_data(shared, target, Data::Text(data))
}

/// The same for an event that was not even written down, because it would have this many bytes at the least,
/// more than `sse.max_event_size`.
pub(crate) fn publish_too_large(shared: &Shared, target: &Target<'_>, bytes: usize) -> Outcome {
    publish_data(shared, target, Data::TooLarge(bytes))
}

#[derive(Clone, Copy)]
enum Data<'a> {
    Text(&'a str),
    TooLarge(usize),
}

fn publish_data(shared: &Shared, target: &Target<'_>, data: Data<'_>) -> Outcome {
    if let Some(reason) = backend::no_gateway() {
        if wal::is_on() && reason == NoGateway::Standby {
            add(&shared.header.refusals.standby_total, 1);
            mistake::note_standby();
        }
        return Outcome::Refused;
    }
    // Only `matching` asks who raises.
    let emission = match *target.scope {
        Scope::Matching => emitter::emission(),
        _ => Ok(Emission::None),
    };
    let Ok(emission) = emission else { return out_of_memory(shared) };
    if *target.scope == Scope::Matching && admission::nobody_matches(target.access, &emission) {
        add(&shared.header.refusals.unmatched_total, 1);
        return Outcome::Unmatched;
    }
    let emitter = match emission.as_emitter() {
        Emission::Known(emitter) => Some(emitter),
        Emission::None | Emission::Undecidable => None,
    };
    caller::with(|caller| {
        if *target.scope == Scope::Caller && caller.is_none() {
            add(&shared.header.refusals.unmatched_total, 1);
            return Outcome::Uncalled;
        }
        RECORD.with_mut(|buffer| {
            let outcome =
                publish_through(buffer, shared, target.envelope(emitter, caller), target.delivery, data);
            if buffer.capacity() > KEPT_SCRATCH_BYTES {
                *buffer = Vec::new();
            }
            outcome
        })
    })
}

fn publish_through(
    buffer: &mut Vec<u8>,
    shared: &Shared,
    envelope: Envelope<'_>,
    delivery: Delivery,
    data: Data<'_>,
) -> Outcome {
    let bytes = match data {
        Data::Text(text) => text.len(),
        Data::TooLarge(bytes) => bytes,
    };
    // A gap goes the same way in place of the event, so that exactly those learn of it who would have got the
    // event.
    let gap = match data {
        Data::Text(data) if bytes <= guc::MAX_EVENT_SIZE.bytes() => {
            let event = Record::Event { envelope, data };
            if encode(&event, buffer).is_err() {
                return out_of_memory(shared);
            }
            if buffer.len() <= max_record_bytes(shared) {
                return send(shared, delivery, buffer);
            }
            let Record::Event { envelope, .. } = event else { return Outcome::Refused };
            Record::TooLarge { envelope }
        }
        Data::Text(_) | Data::TooLarge(_) => Record::TooLarge { envelope },
    };
    if encode(&gap, buffer).is_err() {
        return out_of_memory(shared);
    }
    let _ = send(shared, delivery, buffer);
    add(&shared.header.refusals.too_large_total, 1);
    mistake::note_too_large(bytes);
    Outcome::TooLarge
}

fn encode(record: &Record<'_>, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
    buffer.clear();
    record::encode_into(record, buffer)
}

impl Target<'_> {
    fn envelope<'a>(&'a self, emitter: Option<Emitter<'a>>, caller: Option<Caller<'a>>) -> Envelope<'a> {
        Envelope {
            scope: Cow::Borrowed(&*self.scope),
            topic: self.topic,
            event: self.event,
            execution_id: self.execution_id,
            emitter,
            caller,
            xid: None,
            access: Cow::Borrowed(self.access),
        }
    }
}

/// The largest record that the ring takes; what comes from the log has its place in front there.
pub(crate) fn max_record_bytes(shared: &Shared) -> usize {
    let front = if wal::is_on() { record::PLACE_BYTES } else { 0 };
    shared.ring.producer().max_record_bytes().saturating_sub(front)
}

fn send(shared: &Shared, delivery: Delivery, record: &mut [u8]) -> Outcome {
    match delivery {
        Delivery::Immediate => {
            record::set_raised_at(record, clock::monotonic_nanoseconds());
            if wal::is_on() {
                wal::write::immediate(shared, record);
                effects::add();
                effects::add_events(1);
                return Outcome::Sent;
            }
            push_waiting(shared, record)
        }
        Delivery::Commit => match xact::keep_until_commit(record) {
            Ok(()) => Outcome::WaitsForCommit,
            Err(_) => out_of_memory(shared),
        },
    }
}

/// Pushes into the ring; waits for room at most `sse.publish_timeout`, and no longer when the statement is
/// being cancelled or the session ended: this is not the place to act on it.
fn push_waiting(shared: &Shared, record: &[u8]) -> Outcome {
    // The clock is asked only if there is no room.
    let mut deadline = None;
    let mut may_wait = || {
        let timeout = || backend::Deadline::after(guc::PUBLISH_TIMEOUT.duration());
        !deadline.get_or_insert_with(timeout).has_passed()
    };
    loop {
        match shared.ring.producer().try_push(record) {
            Ok(wake) => {
                futex::wake_if(wake, shared);
                effects::add();
                effects::add_events(1);
                return Outcome::Sent;
            }
            Err(PushError::Full) if shared.has_had_gateway() && !backend::is_being_ended() && may_wait() => {
                futex::wake(shared);
                backend::pause();
            }
            Err(_) => {
                futex::wake_if(shared.ring.producer().count_dropped(1), shared);
                effects::add_events(1);
                return Outcome::Dropped;
            }
        }
    }
}

/// Counts a fault of pg_sse itself that was caught in the log hook.
pub(crate) fn count_internal_fault() {
    if let Some(shared) = shmem::shared() {
        let _ = lost(&shared, &shared.header.refusals.internal_total);
    }
}

/// An event for which this backend has no memory.
pub(crate) fn out_of_memory(shared: &Shared) -> Outcome {
    lost(shared, &shared.header.refusals.out_of_memory_total)
}

/// An event that is lost for a reason in this backend: counted, and told to the subscribers by a gap.
fn lost(shared: &Shared, counter: &AtomicU64) -> Outcome {
    add(counter, 1);
    futex::wake_if(shared.ring.producer().count_dropped(1), shared);
    Outcome::Refused
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}
