//! C4.1 to C4.5 a second time: slow, plain, and written from the contract's sentences, not from
//! `admission.rs`.
//!
//! Everything is made into sets of lower-case strings first, and each sentence is a line.

use std::collections::BTreeSet;

#[derive(Clone, Debug)]
pub(crate) enum Scope {
    All,
    Authorize(Vec<Listed>),
    Matching,
    Caller,
    Nobody,
}

/// A listed value: its kind (`""`, `id`, `name`, `role`) and its text.
pub(crate) type Listed = (&'static str, String);

#[derive(Clone, Debug, Default)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) roles: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum Raiser {
    Nobody,
    Somebody(Person),
    Garbled,
}

/// An HTTP call, as the gateway queued it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) number: u64,
    /// The user id of an authenticated caller, perhaps empty; `None`: anonymous.
    pub(crate) user_id: Option<String>,
    pub(crate) execution_id: String,
    /// The gateway made that id.
    pub(crate) has_made_id: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) execution_id: String,
    pub(crate) topic: String,
    pub(crate) scope: Scope,
    /// The routine's `@authorize` list, if it has that rule.
    pub(crate) rule: Option<Vec<Listed>>,
    pub(crate) raiser: Raiser,
    /// The call that raised it, if one did.
    pub(crate) call: Option<Call>,
}

#[derive(Clone, Debug)]
pub(crate) struct Listener {
    /// `None`: anonymous.
    pub(crate) person: Option<Person>,
    pub(crate) topics: Vec<String>,
    pub(crate) execution_id: String,
    /// The call whose streamed answer it is.
    pub(crate) call: Option<u64>,
}

impl Person {
    /// Everything that is there, as `kind=value`. "Ids compare exactly, names and roles without regard to the
    /// case of ASCII letters." "Empty values are absent."
    fn traits(&self) -> BTreeSet<String> {
        let mut traits = BTreeSet::new();
        if !self.id.is_empty() {
            traits.insert(format!("id={}", self.id));
        }
        if !self.name.is_empty() {
            traits.insert(format!("name={}", self.name.to_ascii_lowercase()));
        }
        for role in &self.roles {
            if !role.is_empty() {
                traits.insert(format!("role={}", role.to_ascii_lowercase()));
            }
        }
        traits
    }
}

/// "An authenticated one whose user id, user name or one of whose roles equals a listed value; `id:42`,
/// `name:alice`, `role:admin` compare with that kind only." No list: "every authenticated one".
pub(crate) fn is_authorized(list: &[Listed], person: Option<&Person>) -> bool {
    let Some(person) = person else { return false };
    if list.is_empty() {
        return true;
    }
    let mut wanted = BTreeSet::new();
    for (kind, text) in list {
        for of in ["id", "name", "role"] {
            if !text.is_empty() && (kind.is_empty() || *kind == of) {
                let text = if of == "id" { text.clone() } else { text.to_ascii_lowercase() };
                wanted.insert(format!("{of}={text}"));
            }
        }
    }
    !wanted.is_disjoint(&person.traits())
}

pub(crate) fn receives(event: &Event, listener: &Listener) -> bool {
    // C7.8: "the events that this very call publishes and its caller may receive (whatever their topic)".
    let is_answer = listener.call.is_some();
    if is_answer && listener.call != event.call.as_ref().map(|call| call.number) {
        return false;
    }
    // C4.4: "Both present and different: not delivered."
    let both_present = !event.execution_id.is_empty() && !listener.execution_id.is_empty();
    if !is_answer && both_present && event.execution_id != listener.execution_id {
        return false;
    }
    // C4.5: "With none, the stream gets the events without a topic; with some, the events of those topics and
    // nothing else."
    // C7.9: "For streams that present the execution id, events of scope `caller` skip the topic check."
    let presents_id = event
        .call
        .as_ref()
        .is_some_and(|call| !call.execution_id.is_empty() && call.execution_id == listener.execution_id);
    if is_answer || (presents_id && matches!(event.scope, Scope::Caller)) {
        // Not asked.
    } else if listener.topics.is_empty() {
        if !event.topic.is_empty() {
            return false;
        }
    } else if event.topic.is_empty() || !listener.topics.contains(&event.topic) {
        return false;
    }
    // C4.2.
    let person = listener.person.as_ref();
    match &event.scope {
        Scope::All => true,
        Scope::Nobody => false,
        // "The HTTP call that raised it and nobody else: its streamed answer, and streams that present its
        // execution id and (a) when the caller was authenticated, have the same non-empty user id, without
        // one nobody; (b) when it was anonymous, only if the gateway made that id itself."
        Scope::Caller => event.call.as_ref().is_some_and(|call| match &call.user_id {
            _ if is_answer => true,
            _ if !presents_id => false,
            None => call.has_made_id,
            Some(id) => !id.is_empty() && person.is_some_and(|person| person.id == *id),
        }),
        Scope::Authorize(list) => is_authorized(list, person),
        Scope::Matching => {
            let raiser = match &event.raiser {
                // C4.6: "make it undecidable: `matching` reaches nobody".
                Raiser::Garbled => return false,
                Raiser::Nobody => BTreeSet::new(),
                Raiser::Somebody(raiser) => raiser.traits(),
            };
            if raiser.is_empty() {
                // "Where the emitter has no identity the routine's `@authorize` rule decides, and without one
                // nobody receives it."
                return event.rule.as_ref().is_some_and(|list| is_authorized(list, person));
            }
            // "Same user id, or same user name, or a role in common."
            person.is_some_and(|person| !raiser.is_disjoint(&person.traits()))
        }
    }
}
