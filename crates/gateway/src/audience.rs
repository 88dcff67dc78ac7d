//! Who may be sent an item of the stream, and what a stream asked for (C4.1).
//!
//! Undecidable means not delivered: until identities and topics have an effect, an event for only some subscribers
//! reaches nobody.
//!
//! Not for the check itself, which the stream log makes against its index.

use sse_proto::record::Envelope;
use sse_proto::scope::Scope;

/// For whom an item of the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Every stream, whatever it asked for: an `overflow` gap.
    Everybody,
    /// Every stream without topics, unless both have an execution id and these differ.
    All,
    /// Nobody. The item takes its sequence all the same.
    Nobody,
}

impl Audience {
    pub(crate) fn of(envelope: &Envelope<'_>) -> Self {
        if envelope.topic.is_some() || *envelope.scope != Scope::All { Self::Nobody } else { Self::All }
    }
}

/// What a stream asked for with its URL, compared with every event.
///
/// A stream that asked for nothing has no filter: it takes whole runs of the log without looking at single events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// It has topics, and so gets no event without one (C4.5).
    pub(crate) has_topics: bool,
    /// C4.4.
    pub(crate) execution_id: Option<Box<str>>,
}

impl Filter {
    /// Whether an item for `audience` with this execution id may be sent.
    pub(crate) fn admits(&self, audience: Audience, execution_id: Option<&str>) -> bool {
        match audience {
            Audience::Everybody => true,
            Audience::Nobody => false,
            Audience::All if self.has_topics => false,
            Audience::All => match (&self.execution_id, execution_id) {
                (Some(mine), Some(its)) => **mine == *its,
                _ => true,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn execution_ids_keep_out_only_when_both_are_present_and_differ() {
        for (mine, its, admitted) in [
            (None, None, true),
            (None, Some("a"), true),
            (Some("a"), None, true),
            (Some("a"), Some("a"), true),
            (Some("a"), Some("b"), false),
            (Some("a"), Some("A"), false),
        ] {
            let filter = Filter { has_topics: false, execution_id: mine.map(Box::from) };
            assert_eq!(filter.admits(Audience::All, its), admitted, "{mine:?} {its:?}");
        }
    }

    #[test]
    fn a_stream_with_topics_gets_no_event_without_one_but_every_overflow() {
        let filter = Filter { has_topics: true, execution_id: None };
        assert!(!filter.admits(Audience::All, None));
        assert!(!filter.admits(Audience::Nobody, None));
        assert!(filter.admits(Audience::Everybody, Some("x")));
    }
}
