//! Who listens, and whom an event is for: written out by hand, so that it is independent of the code under
//! test.
//!
//! Not for how many of each there are: run.rs.

use std::fmt;

/// Somebody with a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) roles: &'static [&'static str],
}

pub(crate) const ALICE: Person = Person { id: "1", name: "alice", roles: &[] };
pub(crate) const BOB: Person = Person { id: "2", name: "bob", roles: &["staff"] };
pub(crate) const CAROL: Person = Person { id: "3", name: "carol", roles: &["staff", "admin"] };

/// Everybody who gets a token.
pub(crate) const PEOPLE: [&Person; 3] = [&ALICE, &BOB, &CAROL];

/// Whom an event is for. Events name an audience by its place in [`AUDIENCES`].
pub(crate) struct Audience {
    /// As it stands in a hint.
    pub(crate) scope: &'static str,
    /// What that means.
    pub(crate) allows: fn(Option<&Person>) -> bool,
    /// Empty = none.
    pub(crate) topic: &'static str,
    /// Empty = none.
    pub(crate) execution_id: &'static str,
    /// `request.user_id` of the raising transaction; empty = none.
    pub(crate) emitter: &'static str,
    /// Raised in an HTTP call, for its caller: for streams that present the execution id, whatever they ask
    /// for besides.
    pub(crate) is_of_call: bool,
}

const EVERYBODY: Audience =
    Audience { scope: "all", allows: |_| true, topic: "", execution_id: "", emitter: "", is_of_call: false };

/// The audiences that the writers choose from, followed by those of the marks and that of calls.
pub(crate) const AUDIENCES: [Audience; 20] = [
    EVERYBODY,
    EVERYBODY,
    Audience { scope: "authorize", allows: |person| person.is_some(), ..EVERYBODY },
    Audience { scope: "authorize id:1", allows: |person| person.is_some_and(|p| p.id == "1"), ..EVERYBODY },
    Audience {
        scope: "authorize role:STAFF",
        allows: |person| person.is_some_and(|p| p.roles.contains(&"staff")),
        ..EVERYBODY
    },
    Audience {
        scope: "authorize admin, alice",
        allows: |person| person.is_some_and(|p| p.name == "alice" || p.roles.contains(&"admin")),
        ..EVERYBODY
    },
    Audience {
        scope: "matching",
        allows: |person| person.is_some_and(|p| p.id == "2"),
        emitter: "2",
        ..EVERYBODY
    },
    Audience { topic: NEWS, ..EVERYBODY },
    Audience {
        scope: "authorize role:admin",
        allows: |person| person.is_some_and(|p| p.roles.contains(&"admin")),
        topic: NEWS,
        ..EVERYBODY
    },
    Audience { execution_id: "batch-1", ..EVERYBODY },
    Audience {
        scope: "authorize id:2",
        allows: |person| person.is_some_and(|p| p.id == "2"),
        execution_id: "batch-2",
        ..EVERYBODY
    },
    Audience { topic: NEWS, execution_id: "batch-1", ..EVERYBODY },
    Audience { topic: FLOOD, ..EVERYBODY },
    EVERYBODY,
    Audience { topic: NEWS, ..EVERYBODY },
    Audience { topic: FLOOD, ..EVERYBODY },
    EVERYBODY,
    Audience { topic: NEWS, ..EVERYBODY },
    Audience { topic: FLOOD, ..EVERYBODY },
    Audience {
        scope: "caller",
        allows: |person| person.is_some_and(|p| p.id == "1"),
        execution_id: "batch-1",
        is_of_call: true,
        ..EVERYBODY
    },
];

/// The topic that some listen to.
pub(crate) const NEWS: &str = "news";
/// The topic that carries much, to few.
pub(crate) const FLOOD: &str = "flood";

/// Places in [`AUDIENCES`] that ordinary events are for.
pub(crate) const ORDINARY: std::ops::Range<usize> = 0..12;
/// Those of them that are narrowed by no topic.
pub(crate) const WITHOUT_TOPIC: std::ops::Range<usize> = 0..7;
/// The audience of what is large and much.
pub(crate) const FLOODED: usize = 12;
/// The audiences of the events by which a reader is seen to have caught up: each reader gets at least one of
/// them.
pub(crate) const SETTLING: std::ops::Range<usize> = 13..16;
/// The audiences of each writer's last events: each reader gets at least one of them.
pub(crate) const MARKS: std::ops::Range<usize> = 16..19;

/// The audience of what is raised in calls, which alice makes.
pub(crate) const CALLED: usize = 19;

/// What a reader asks for, and as whom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listener {
    pub(crate) person: Option<&'static Person>,
    pub(crate) topics: Vec<&'static str>,
    /// Empty = none.
    pub(crate) execution_id: &'static str,
}

impl Listener {
    /// Whether an event with this audience is for it (C4.1).
    pub(crate) fn is_meant(&self, audience: usize) -> bool {
        let Some(audience) = AUDIENCES.get(audience) else { return false };
        if audience.is_of_call {
            return audience.execution_id == self.execution_id && (audience.allows)(self.person);
        }
        let ids = [audience.execution_id, self.execution_id];
        let id_fits = ids.contains(&"") || ids[0] == ids[1];
        let topic_fits = if audience.topic.is_empty() {
            self.topics.is_empty()
        } else {
            self.topics.contains(&audience.topic)
        };
        id_fits && topic_fits && (audience.allows)(self.person)
    }

    /// How many marks each writer raises for it, for each delivery.
    pub(crate) fn marks(&self) -> usize {
        MARKS.filter(|mark| self.is_meant(*mark)).count()
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.person.map_or("anonymous", |person| person.name))?;
        for topic in &self.topics {
            write!(f, " #{topic}")?;
        }
        if !self.execution_id.is_empty() {
            write!(f, " id {}", self.execution_id)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_mark_and_every_audience_but_a_mark_leaves_somebody_out() {
        let listener = |person, topics: &[&'static str]| Listener {
            person,
            topics: topics.to_vec(),
            execution_id: "batch-9",
        };
        let all = [
            listener(None, &[]),
            listener(Some(&ALICE), &[NEWS]),
            listener(Some(&BOB), &[FLOOD]),
            listener(Some(&CAROL), &[NEWS, FLOOD]),
        ];
        assert_eq!(all.each_ref().map(Listener::marks), [1, 1, 1, 2]);
        for audience in ORDINARY {
            assert!(all.iter().any(|listener| !listener.is_meant(audience)), "{audience}");
        }
    }
}
