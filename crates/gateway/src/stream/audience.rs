//! Who may get an event, and who listens, in the forms in which the two are kept; and whether they fit.
//!
//! The decision is `sse_proto::admission::admits` and nothing else (C4.1). The form kept of an event borrows
//! from nothing: `matching` becomes the list of the values it stands for. That list admits the same
//! subscribers (a property test compares), and comparing it needs no memory.
//!
//! Not for finding candidates: that is `posting`.

use std::sync::Arc;

use sse_proto::admission::{Event, Subscriber, ValueSet, admits_of};
use sse_proto::annotation::Access;
use sse_proto::caller::Caller;
use sse_proto::identity::{Emission, Identity};
use sse_proto::record::{Emitter, Envelope};
use sse_proto::scope::{Scope, ScopeValue};
use sse_proto::word::{ExecutionId, Topic};

/// Who may get an event. Its texts are never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Audience {
    pub(crate) execution_id: Option<Box<str>>,
    pub(crate) topic: Option<Box<str>>,
    /// Never `Matching`.
    pub(crate) scope: Scope,
    /// The call that raised it.
    raised_by: Option<Box<RaisedBy>>,
    /// The scope's values for fast look-up, if there are many.
    values: Option<Box<ValueSet>>,
}

/// A call that raised an event. Who has made the call is kept for scope `caller` alone.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RaisedBy {
    call: u64,
    is_authenticated: bool,
    user_id: Option<Box<str>>,
    execution_id: Option<Box<str>>,
    has_made_id: bool,
}

impl RaisedBy {
    fn new(caller: &Caller<'_>, scope: &Scope) -> Self {
        let kept = |text: Option<&str>| {
            text.filter(|text| *scope == Scope::Caller && !text.is_empty()).map(Box::from)
        };
        Self {
            call: caller.call,
            is_authenticated: caller.is_authenticated,
            user_id: kept(caller.user_id),
            execution_id: kept(caller.execution_id),
            has_made_id: caller.has_made_id,
        }
    }

    fn heap_bytes(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        size_of::<Self>() + text(&self.user_id) + text(&self.execution_id)
    }
}

impl Audience {
    pub(crate) fn of(envelope: &Envelope<'_>) -> Self {
        Self::new(&Event::from(envelope))
    }

    fn new(event: &Event<'_>) -> Self {
        let scope = match event.scope {
            Scope::Matching => matching(event.access, &event.emission),
            scope => scope.clone(),
        };
        let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(Box::from);
        let values = match &scope {
            Scope::Authorize(values) => ValueSet::of(values).map(Box::new),
            _ => None,
        };
        let raised_by = event.caller.map(|caller| Box::new(RaisedBy::new(&caller, &scope)));
        Self { execution_id: text(event.execution_id), topic: text(event.topic), scope, raised_by, values }
    }

    /// Whether the event is for every stream without topics, whoever listens: then it lies in the public
    /// lane.
    pub(crate) fn is_public(&self) -> bool {
        self.execution_id.is_none() && self.topic.is_none() && self.scope == Scope::All
    }

    /// The call that raised it. Who has made the call is said of scope `caller` alone.
    pub(crate) fn caller(&self) -> Option<Caller<'_>> {
        self.raised_by.as_ref().map(|raised_by| Caller {
            call: raised_by.call,
            is_authenticated: raised_by.is_authenticated,
            user_id: raised_by.user_id.as_deref(),
            execution_id: raised_by.execution_id.as_deref(),
            has_made_id: raised_by.has_made_id,
        })
    }

    pub(crate) fn admits(&self, recipient: &Recipient) -> bool {
        let event = Event {
            execution_id: self.execution_id.as_deref(),
            topic: self.topic.as_deref(),
            scope: &self.scope,
            access: &Access::Unspecified,
            emission: Emission::None,
            caller: self.caller(),
        };
        admits_of(&event, self.values.as_deref(), &recipient.as_subscriber())
    }

    /// Heap memory that it holds, besides its own size.
    pub(crate) fn heap_bytes(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        let values = match &self.scope {
            Scope::Authorize(values) => {
                values.iter().map(|value| size_of::<ScopeValue>() + value.text().len()).sum()
            }
            _ => 0,
        };
        let set = self.values.as_ref().map_or(0, |set| size_of::<ValueSet>() + set.heap_bytes());
        let raised_by = self.raised_by.as_ref().map_or(0, |raised_by| raised_by.heap_bytes());
        text(&self.execution_id) + text(&self.topic) + values + set + raised_by
    }
}

/// The scope that `matching` stands for (C4.2).
fn matching(access: &Access, emission: &Emission<&Emitter<'_>>) -> Scope {
    let listed = match emission {
        Emission::Undecidable => return Scope::Nobody,
        Emission::Known(emitter) => {
            let id = emitter.user_id.map(|id| ScopeValue::Id(id.to_owned()));
            let name = emitter.user_name.map(|name| ScopeValue::Name(name.to_owned()));
            let roles = emitter.roles.iter().map(|role| ScopeValue::Role((*role).to_owned()));
            id.into_iter().chain(name).chain(roles).filter(|value| !value.text().is_empty()).collect()
        }
        Emission::None => Vec::new(),
    };
    match access {
        _ if !listed.is_empty() => Scope::Authorize(listed),
        Access::Authorize(values) => Scope::Authorize(values.clone()),
        Access::Unspecified | Access::Anonymous => Scope::Nobody,
    }
}

/// Who listens, and to what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recipient {
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) topics: Box<[Topic]>,
    pub(crate) execution_id: Option<ExecutionId>,
    /// The call whose answer the stream is (C7.8).
    pub(crate) call: Option<u64>,
}

impl Recipient {
    fn as_subscriber(&self) -> Subscriber<'_> {
        Subscriber {
            identity: self.identity.as_deref(),
            topics: &self.topics,
            execution_id: self.execution_id.as_ref(),
            call: self.call,
        }
    }

    /// Whether it gets the events of the public lane (C4.5). The answer of a call gets those of its call
    /// alone.
    pub(crate) fn takes_public(&self) -> bool {
        self.topics.is_empty() && self.call.is_none()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use sse_proto::admission::admits;

    // The form that is kept must not admit a subscriber that the event itself keeps out, whatever is known of
    // its emitter.
    #[test]
    fn what_is_kept_of_an_event_admits_whom_the_event_admits() {
        let list = |text: &str| match Scope::parse(text).unwrap() {
            Scope::Authorize(values) => values,
            _ => Vec::new(),
        };
        let alice = Emitter { user_id: Some("1"), user_name: Some("Alice"), roles: vec!["", "STAFF"] };
        let blank = Emitter { user_id: Some(""), user_name: None, roles: vec![""] };
        let emissions =
            [Emission::None, Emission::Undecidable, Emission::Known(&alice), Emission::Known(&blank)];
        let accesses = [
            Access::Unspecified,
            Access::Anonymous,
            Access::Authorize(Vec::new()),
            Access::Authorize(list("authorize role:ops, 1")),
            Access::Authorize(vec![ScopeValue::Any(String::new())]),
        ];
        let scopes = [
            Scope::All,
            Scope::Matching,
            Scope::Caller,
            Scope::Nobody,
            Scope::Authorize(list("authorize bob")),
        ];
        let people = [
            None,
            Some(Identity::default()),
            Some(Identity::try_new(Some("1"), None, &["x"]).unwrap()),
            Some(Identity::try_new(Some("2"), Some("ALICE"), &["ops"]).unwrap()),
            Some(Identity::try_new(Some("STAFF"), Some("Bob"), &["Staff"]).unwrap()),
        ];
        for (scope, access, emission) in scopes
            .iter()
            .flat_map(|scope| accesses.iter().map(move |access| (scope, access)))
            .flat_map(|(scope, access)| emissions.iter().map(move |emission| (scope, access, *emission)))
        {
            let (id, topic) = (Some(""), Some(""));
            let event = Event { execution_id: id, topic, scope, access, emission, caller: None };
            let audience = Audience::new(&event);
            assert_ne!(audience.scope, Scope::Matching);
            for identity in &people {
                let identity = identity.clone().map(Arc::new);
                let recipient =
                    Recipient { identity, topics: Box::default(), execution_id: None, call: None };
                let expected = admits(&event, &recipient.as_subscriber());
                assert_eq!(audience.admits(&recipient), expected, "{event:?} {recipient:?}");
                assert!(!audience.is_public() || expected);
            }
        }
    }
}
