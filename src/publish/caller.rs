//! The HTTP call that this process runs, for scope `caller` (C4.2): who is behind the events that the call
//! raises. And the end of the call in the order of events.
//!
//! Only a call worker sets it, from the frame in which the gateway queued the call: when the call begins, for
//! all of its transactions, until it ends. No setting changes it, and no other process has it: neither one
//! that the call starts nor one that it connects to. What is raised there is no call's.
//!
//! Not for: identities that sessions say themselves (`emitter.rs`).

use sse_proto::call::EventsEnd;
use sse_proto::caller::Caller;
use sse_proto::record::Record;
use sse_proto::scope::Scope;

use crate::guc;
use crate::pg::postgres_cell::PostgresCell;
use crate::pg::shmem::Shared;
use crate::pg::{effects, futex, wal};

/// What is known of the running call. Its texts keep their memory for the next call.
struct Held {
    /// `None`: no call is running.
    call: Option<Facts>,
    user_id: String,
    execution_id: String,
}

#[derive(Clone, Copy)]
struct Facts {
    number: u64,
    is_authenticated: bool,
    has_made_id: bool,
    /// [`effects::events`] when it began.
    events: u64,
}

static HELD: PostgresCell<Held> =
    PostgresCell::new(Held { call: None, user_id: String::new(), execution_id: String::new() });

/// There is no memory for the call's facts.
#[derive(Debug)]
pub(crate) struct OutOfMemory;

/// A call begins. `None`: nobody is behind it.
///
/// # Errors
/// [`OutOfMemory`]; the call must not be run then.
pub(crate) fn begin(caller: Option<&Caller<'_>>) -> Result<(), OutOfMemory> {
    HELD.with_mut(|held| {
        held.call = None;
        let Some(caller) = caller else { return Ok(()) };
        let texts = [(&mut held.user_id, caller.user_id), (&mut held.execution_id, caller.execution_id)];
        for (text, given) in texts {
            let given = given.unwrap_or_default();
            text.clear();
            text.try_reserve(given.len()).map_err(|_| OutOfMemory)?;
            text.push_str(given);
        }
        held.call = Some(Facts {
            number: caller.call,
            is_authenticated: caller.is_authenticated,
            has_made_id: caller.has_made_id,
            events: effects::events(),
        });
        Ok(())
    })
}

/// The call has ended, with all of its transactions. Tells after its events that it has, if it has sent any.
/// Waits for nothing: without room in the ring the gateway tells it.
pub(crate) fn end(shared: &Shared) -> EventsEnd {
    let facts = HELD.with_mut(|held| held.call.take());
    match facts.filter(|facts| effects::events() != facts.events) {
        None => EventsEnd::NoEvents,
        Some(facts) if push_end(facts.number, shared) => EventsEnd::Told,
        Some(_) => EventsEnd::Untold,
    }
}

/// Runs `read` with the call that this process runs. Allocates nothing.
pub(crate) fn with<T>(read: impl FnOnce(Option<Caller<'_>>) -> T) -> T {
    HELD.with(|held| {
        let present = |text: &'_ String| !text.is_empty();
        read(held.call.map(|facts| Caller {
            call: facts.number,
            is_authenticated: facts.is_authenticated,
            user_id: Some(&held.user_id).filter(|text| present(text)).map(String::as_str),
            execution_id: Some(&held.execution_id).filter(|text| present(text)).map(String::as_str),
            has_made_id: facts.has_made_id,
        }))
    })
}

/// Whose execution id an event has for which nobody gave one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdOf {
    /// The session's: a setting.
    Session,
    /// For scope `caller` that of the call, whatever the routine has set (C4.2).
    Call,
}

impl IdOf {
    pub(crate) fn of(scope: &Scope) -> Self {
        if *scope == Scope::Caller { Self::Call } else { Self::Session }
    }

    /// Runs `read` with the id.
    pub(crate) fn with<T>(self, read: impl FnOnce(Option<&str>) -> T) -> T {
        match self {
            Self::Session => guc::with_execution_id(read),
            Self::Call => with(|caller| read(caller.and_then(|caller| caller.execution_id))),
        }
    }
}

/// Pushes the end of a call after whatever it has sent; `false`: there is no room or no memory for it.
fn push_end(call: u64, shared: &Shared) -> bool {
    let Ok(mut bytes) = (Record::CallEnd { call }).encode() else { return false };
    if wal::is_on() {
        let Some(placed) = wal::position::placed(&bytes, wal::write::last_end()) else { return false };
        bytes = placed;
    }
    let pushed = shared.ring.producer().try_push(&bytes);
    // No event is lost with it, so nothing is counted. The courier is awake while the ring is full.
    pushed.is_ok_and(|wake| {
        futex::wake_if(wake, shared);
        true
    })
}
