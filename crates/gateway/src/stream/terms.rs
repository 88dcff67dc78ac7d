//! The terms of a stream: what its route says of what the stream hears (C4.5, C7.6), and what of that has
//! changed since.
//!
//! Not for what becomes of the stream then: that is `slab/terms`.

use std::hash::{DefaultHasher, Hash, Hasher};

use sse_proto::admission::{Door, may_have_snapshot, may_open};
use sse_proto::identity::Identity;
use sse_proto::route::{Route, Snapshot};
use sse_proto::word::Topic;

use crate::stream::audience::Recipient;

/// What the route of a stream said when the stream was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Terms {
    topic: Option<Topic>,
    /// Whether the request names that topic, too.
    names_it: bool,
    /// Of the snapshot that this subscriber gets: the function, the name of the event, and whether it is
    /// personal. A digest, because a stream need not keep a snapshot alive that nobody runs any more.
    snapshot: Option<u64>,
}

/// What has changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// This subscriber may not open the stream any more.
    Shut,
    /// The stream would hear something else.
    Other {
        /// The route has another topic.
        of_topic: bool,
        /// The stream would begin with a snapshot.
        has_snapshot: bool,
    },
}

impl Terms {
    pub(crate) fn new(route: &Route, snapshot: Option<&Snapshot>, topics: &[Topic]) -> Self {
        let names_it = route.topic.as_ref().is_some_and(|topic| topics.contains(topic));
        Self { topic: route.topic.clone(), names_it, snapshot: snapshot.map(digest) }
    }

    /// What is different if the route is this one now. An event name, a level or a scope of the routine
    /// belongs to its events, each of which carries its own.
    pub(crate) fn change(&self, route: &Route, identity: Option<&Identity>) -> Option<Change> {
        if may_open(&route.access, identity) != Door::Open {
            return Some(Change::Shut);
        }
        let snapshot = route.snapshot.as_deref();
        let snapshot = snapshot.filter(|snapshot| may_have_snapshot(snapshot, &route.access, identity));
        let of_topic = self.topic != route.topic;
        let is_same = !of_topic && self.snapshot == snapshot.map(digest);
        (!is_same).then_some(Change::Other { of_topic, has_snapshot: snapshot.is_some() })
    }

    /// Who `recipient` would be if the route was this one.
    pub(crate) fn recipient_at(&self, route: &Route, recipient: &Recipient) -> Recipient {
        let own = recipient.topics.iter().filter(|topic| self.names_it || self.topic.as_ref() != Some(topic));
        let own = own.filter(|topic| route.topic.as_ref() != Some(topic));
        Recipient { topics: route.topic.iter().chain(own).cloned().collect(), ..recipient.clone() }
    }

    /// Whether some event may be for the stream under its old topic and under any other one, too: if it has
    /// asked for topics of its own, or for those of a call (C7.9).
    pub(crate) fn may_overlap(&self, recipient: &Recipient) -> bool {
        let of_route = usize::from(self.topic.is_some() && !self.names_it);
        recipient.topics.len() > of_route || recipient.execution_id.is_some()
    }
}

fn digest(snapshot: &Snapshot) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&snapshot.call.schema, &snapshot.call.name).hash(&mut hasher);
    snapshot.event.as_ref().map(|event| event.as_str()).hash(&mut hasher);
    // One that has shown everybody the same, and now shows each what is theirs, shows something else.
    snapshot.is_personal().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    use sse_proto::route::{RouteTable, Routine};
    use sse_proto::word::Level;

    use crate::between::snapshots::tests::snapshot;

    fn route(comment: &str) -> Route {
        let table = RouteTable::build(&[Routine::new(1, "public", "f", comment)], "/api", Level::Info);
        table.find("/api/f/s").unwrap().clone()
    }

    fn topics(names: &[&str]) -> Vec<Topic> {
        names.iter().map(|name| Topic::parse(name).unwrap()).collect()
    }

    fn recipient(names: &[&str]) -> Recipient {
        Recipient { identity: None, topics: topics(names).into(), execution_id: None, call: None }
    }

    #[test]
    fn only_what_a_stream_hears_is_a_term_of_it() {
        let terms = Terms::new(&route("@sse s\n@sse_topic a"), None, &[]);
        let other = |of_topic| Some(Change::Other { of_topic, has_snapshot: false });
        for (comment, change) in [
            ("@sse s\n@sse_topic a", None),
            ("@sse_subscribe s\n@sse_topic a\n@sse_level notice", None),
            ("@sse s on warning\n@sse_topic a\n@sse_event x\n@sse_scope matching\n@anonymous", None),
            ("@sse s\n@sse_topic b", other(true)),
            ("@sse s", other(true)),
            ("@sse s\n@sse_topic a\n@authorize", Some(Change::Shut)),
        ] {
            assert_eq!(terms.change(&route(comment), None), change, "{comment}");
        }
    }

    // Attack: what was the same for all begins to show each what is theirs, and goes on being told to all.
    #[test]
    fn a_snapshot_that_becomes_personal_is_another_one() {
        let with = |is_personal| Route { snapshot: Some(snapshot(1, is_personal)), ..route("@sse s") };
        for before in [false, true] {
            let terms = Terms::new(&with(before), with(before).snapshot.as_deref(), &[]);
            assert_eq!(terms.change(&with(before), None), None);
            let other = Change::Other { of_topic: false, has_snapshot: true };
            assert_eq!(terms.change(&with(!before), None), Some(other), "{before}");
        }
    }

    #[test]
    fn a_topic_that_the_request_names_stays_when_the_route_has_another_one() {
        for (named, before, after, expected, overlaps) in [
            (&[][..], "@sse_topic a", "@sse_topic b", &["b"][..], false),
            (&[], "@sse_topic a", "", &[], false),
            (&[], "", "@sse_topic b", &["b"], false),
            (&["a"], "@sse_topic a", "@sse_topic b", &["b", "a"], true),
            (&["x"], "@sse_topic a", "@sse_topic x", &["x"], true),
            (&["x", "y"], "", "@sse_topic b", &["b", "x", "y"], true),
        ] {
            let before = route(&format!("@sse s\n{before}"));
            let named = topics(named);
            let mut all: Vec<Topic> = before.topic.iter().cloned().collect();
            all.extend(named.iter().filter(|topic| before.topic.as_ref() != Some(topic)).cloned());
            let old = Recipient { topics: all.into(), ..recipient(&[]) };
            let terms = Terms::new(&before, None, &named);
            let new = terms.recipient_at(&route(&format!("@sse s\n{after}")), &old);
            assert_eq!(&*new.topics, topics(expected), "{after} {named:?}");
            assert_eq!(terms.may_overlap(&old), overlaps, "{after} {named:?}");
        }
    }
}
