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

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) execution_id: String,
    pub(crate) topic: String,
    pub(crate) scope: Scope,
    /// The routine's `@authorize` list, if it has that rule.
    pub(crate) rule: Option<Vec<Listed>>,
    pub(crate) raiser: Raiser,
}

#[derive(Clone, Debug)]
pub(crate) struct Listener {
    /// `None`: anonymous.
    pub(crate) person: Option<Person>,
    pub(crate) topics: Vec<String>,
    pub(crate) execution_id: String,
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
    // C4.4: "Both present and different: not delivered."
    let both_present = !event.execution_id.is_empty() && !listener.execution_id.is_empty();
    if both_present && event.execution_id != listener.execution_id {
        return false;
    }
    // C4.5: "With none, the stream gets the events without a topic; with some, the events of those topics and
    // nothing else."
    if listener.topics.is_empty() {
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
