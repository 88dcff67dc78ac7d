//! Whether a subscriber gets an event, and whether a subscriber may open a stream (C4.1, C4.2, C4.7).
//!
//! The only place that says yes. Anything that finds subscribers faster (an index by audience) must agree
//! with [`admits`]: if in doubt it may leave a subscriber out, and never add one. What cannot be decided is a
//! no.
//!
//! Not for settings that ask more at the door (`sse.require_authentication`), nor for gaps that everybody is
//! told of.

use crate::annotation::Access;
use crate::caller::Caller;
use crate::identity::{Emission, Identity};
use crate::record::{Emitter, Envelope};
use crate::route::Snapshot;
use crate::scope::{Scope, ScopeValue};
use crate::word::{ExecutionId, Topic};

mod value_set;

pub use value_set::ValueSet;

/// The parts of an event that decide who gets it. Empty texts are absent.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Execution id of the publisher (C4.4).
    pub execution_id: Option<&'a str>,
    /// Topic (C4.5).
    pub topic: Option<&'a str>,
    /// Scope: the annotation's, or the hint's in its place (C4.2, C4.3).
    pub scope: &'a Scope,
    /// The routine's access rule.
    pub access: &'a Access,
    /// Who raised it (C4.6).
    pub emission: Emission<&'a Emitter<'a>>,
    /// The HTTP call that raised it.
    pub caller: Option<Caller<'a>>,
}

impl<'a> From<&'a Envelope<'_>> for Event<'a> {
    fn from(envelope: &'a Envelope<'_>) -> Self {
        Self {
            execution_id: envelope.execution_id,
            topic: envelope.topic,
            scope: &envelope.scope,
            access: &envelope.access,
            emission: envelope.emitter.as_ref().map_or(Emission::None, Emission::Known),
            caller: envelope.caller,
        }
    }
}

/// Who listens, and to what.
#[derive(Clone, Copy, Debug)]
pub struct Subscriber<'a> {
    /// `None` is anonymous. An identity with nothing in it is authenticated all the same.
    pub identity: Option<&'a Identity>,
    /// Its routine's topic and those of its URL.
    pub topics: &'a [Topic],
    /// Execution id of its URL.
    pub execution_id: Option<&'a ExecutionId>,
    /// The call whose answer the stream is (C7.8); `None`: it is no call's.
    pub call: Option<u64>,
}

/// Whether `subscriber` gets `event`: execution id, topic and scope must all let it pass, in this order
/// (C4.1).
///
/// A stream that is the answer of a call gets what this call raised and its caller may receive, whatever its
/// topic and whatever execution id the routine has set (C7.8), and nothing else.
pub fn admits(event: &Event<'_>, subscriber: &Subscriber<'_>) -> bool {
    admits_of(event, None, subscriber)
}

/// The same, with a set of the scope's values, if somebody has made one ([`ValueSet::of`]).
pub fn admits_of(event: &Event<'_>, values: Option<&ValueSet>, subscriber: &Subscriber<'_>) -> bool {
    let is_asked_for = match subscriber.call {
        Some(call) => event.caller.is_some_and(|caller| caller.call == call),
        None => {
            execution_id_passes(present(event.execution_id), subscriber.execution_id)
                && (skips_topic(event) || topic_passes(present(event.topic), subscriber.topics))
        }
    };
    is_asked_for
        && match (event.scope, values, subscriber.identity) {
            (Scope::Authorize(_), Some(values), Some(identity)) => values.lists(identity),
            _ => scope_passes(event, subscriber),
        }
}

/// Whether `matching` reaches nobody, whoever listens: a case that C4.2 wants counted and reported. A
/// publisher can tell from this before anything is sent.
pub fn nobody_matches(access: &Access, emission: &Emission) -> bool {
    match (emission, access) {
        (Emission::Known(_), _) => false,
        (Emission::None, Access::Authorize(values)) => {
            !values.is_empty() && values.iter().all(|value| value.text().is_empty())
        }
        (Emission::None, Access::Unspecified | Access::Anonymous) | (Emission::Undecidable, _) => true,
    }
}

/// Whether whoever made the call that raised `event` may receive it by its scope on a stream of the right
/// topic and execution id (C7.9, `SSE-Position`). `identity` is that of the call.
pub fn admits_caller(event: &Event<'_>, identity: Option<&Identity>) -> bool {
    if *event.scope == Scope::Caller {
        return event.caller.is_some_and(|caller| caller.can_be_followed());
    }
    scope_passes(event, &Subscriber { identity, topics: &[], execution_id: None, call: None })
}

/// What the door of a stream answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Come in.
    Open,
    /// 401: the subscriber must authenticate first.
    Unauthenticated,
    /// 403: the subscriber is authenticated, and not on the list.
    Forbidden,
}

/// Whether this identity may open the stream of a routine with this rule (C4.7, last but one sentence).
pub fn may_open(access: &Access, identity: Option<&Identity>) -> Door {
    match (access, identity) {
        (Access::Unspecified | Access::Anonymous, _) => Door::Open,
        (Access::Authorize(_), None) => Door::Unauthenticated,
        (Access::Authorize(values), Some(identity)) if is_listed(values, identity) => Door::Open,
        (Access::Authorize(_), Some(_)) => Door::Forbidden,
    }
}

/// Whether a subscriber who may open the stream of a route with the rule `access` gets its snapshot (C7.6):
/// who passes the scope of the routine's events, as far as it does not depend on who raises them, and the
/// function's own rule.
pub fn may_have_snapshot(snapshot: &Snapshot, access: &Access, identity: Option<&Identity>) -> bool {
    let (scope, emission) = (&snapshot.scope, Emission::None);
    let event = Event { execution_id: None, topic: None, scope, access, emission, caller: None };
    scope_passes(&event, &Subscriber { identity, topics: &[], execution_id: None, call: None })
        && may_open(&snapshot.call.access, identity) == Door::Open
}

fn present(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// C4.4: keeps an event out only if both ids are there and differ.
fn execution_id_passes(event: Option<&str>, subscriber: Option<&ExecutionId>) -> bool {
    match (event, subscriber) {
        (Some(event), Some(subscriber)) => event == subscriber.as_str(),
        _ => true,
    }
}

/// C4.5: a stream without topics gets the events without one; with topics, the events of these.
fn topic_passes(event: Option<&str>, subscriber: &[Topic]) -> bool {
    match event {
        None => subscriber.is_empty(),
        Some(event) => subscriber.iter().any(|topic| topic.as_str() == event),
    }
}

fn scope_passes(event: &Event<'_>, subscriber: &Subscriber<'_>) -> bool {
    match (event.scope, subscriber.identity) {
        (Scope::All, _) => true,
        (Scope::Caller, _) => event.caller.is_some_and(|caller| is_caller(&caller, subscriber)),
        (Scope::Nobody, _) | (Scope::Authorize(_) | Scope::Matching, None) => false,
        (Scope::Authorize(values), Some(identity)) => is_listed(values, identity),
        (Scope::Matching, Some(identity)) => match event.emission {
            Emission::Undecidable => false,
            Emission::Known(emitter) if !is_nobody(emitter) => is_alike(emitter, identity),
            Emission::Known(_) | Emission::None => match event.access {
                Access::Authorize(values) => is_listed(values, identity),
                Access::Unspecified | Access::Anonymous => false,
            },
        },
    }
}

/// C7.9: a stream gets events of scope `caller` only if it presents the call's execution id, and then its
/// topics are not asked.
fn skips_topic(event: &Event<'_>) -> bool {
    *event.scope == Scope::Caller
}

/// Whether a stream is the caller's (C4.2): the answer of the call; or one that presents the execution id,
/// and is of the same user, or has the id from the gateway. An id that somebody chose proves nothing, and a
/// token without a user id names nobody.
fn is_caller(caller: &Caller<'_>, subscriber: &Subscriber<'_>) -> bool {
    if subscriber.call.is_some() {
        return subscriber.call == Some(caller.call);
    }
    let presents_id = subscriber.execution_id.map(ExecutionId::as_str) == caller.execution_id;
    let has_user_id = |id| subscriber.identity.is_some_and(|identity| has_id(identity, id));
    caller.can_be_followed()
        && presents_id
        && (!caller.is_authenticated || caller.user_id.is_some_and(has_user_id))
}

/// An empty list is everybody who is authenticated; a list of empty values is nobody.
fn is_listed(values: &[ScopeValue], identity: &Identity) -> bool {
    values.is_empty() || values.iter().any(|value| is_named(value, identity))
}

fn is_named(value: &ScopeValue, identity: &Identity) -> bool {
    match value {
        ScopeValue::Any(text) => {
            has_id(identity, text) || has_name(identity, text) || has_role(identity, text)
        }
        ScopeValue::Id(text) => has_id(identity, text),
        ScopeValue::Name(text) => has_name(identity, text),
        ScopeValue::Role(text) => has_role(identity, text),
    }
}

/// Whether nothing of the emitter is known.
fn is_nobody(emitter: &Emitter<'_>) -> bool {
    let values = || emitter.user_id.iter().chain(&emitter.user_name).chain(&emitter.roles);
    values().all(|value| value.is_empty())
}

fn is_alike(emitter: &Emitter<'_>, identity: &Identity) -> bool {
    emitter.user_id.is_some_and(|id| has_id(identity, id))
        || emitter.user_name.is_some_and(|name| has_name(identity, name))
        || emitter.roles.iter().any(|role| has_role(identity, role))
}

// An identity holds no empty value, so an empty text is found in none.

fn has_id(identity: &Identity, id: &str) -> bool {
    identity.user_id() == Some(id)
}

fn has_name(identity: &Identity, name: &str) -> bool {
    identity.user_name().is_some_and(|own| own.eq_ignore_ascii_case(name))
}

fn has_role(identity: &Identity, role: &str) -> bool {
    identity.roles().iter().any(|own| own.eq_ignore_ascii_case(role))
}
