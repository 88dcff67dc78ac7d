//! A request for a stream: what its URL and headers ask for, and where in the stream it begins.
//!
//! Not for whether it may: that is `router`.

use percent_encoding::percent_decode_str;
use sse_proto::sse::{EventId, GapReason};
use sse_proto::word::{ExecutionId, LabelError, Topic};
use tokio::net::TcpStream;

use crate::admission::{Connection, Subscriber};
use crate::audience::Filter;
use crate::stream_log::{Cursor, Framing, StreamLog};

/// Topics of one stream (C4.5): so many names are compared with every event.
const MAX_TOPICS: usize = 64;

/// A stream that is to begin: handed from its connection's task to the slab.
pub(crate) struct Newcomer {
    pub(crate) socket: TcpStream,
    pub(crate) framing: Framing,
    /// Head of the answer.
    pub(crate) head: Vec<u8>,
    pub(crate) filter: Option<Box<Filter>>,
    pub(crate) last_event_id: Vec<u8>,
    pub(crate) subscriber: Subscriber,
    pub(crate) connection: Connection,
}

/// What the query string of a stream URL says (C4.4, C4.5, C6.4).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) execution_id: Option<String>,
    pub(crate) topics: Vec<String>,
    pub(crate) last_event_id: Vec<u8>,
}

/// Why a query string is answered with 400. The text is for the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryError {
    ExecutionId(LabelError),
    Topic(LabelError),
    TooManyTopics,
    Twice(&'static str),
    NotUtf8,
}

impl std::fmt::Display for QueryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ExecutionId(error) => write!(f, "The execution id cannot be used: {error}."),
            Self::Topic(error) => write!(f, "A topic cannot be used: {error}."),
            Self::TooManyTopics => write!(f, "A stream has at most {MAX_TOPICS} topics."),
            Self::Twice(name) => write!(f, "The parameter \"{name}\" is given twice."),
            Self::NotUtf8 => f.write_str("The query string is not UTF-8."),
        }
    }
}

impl Query {
    /// A query string with none of the names we know is the execution id, whole.
    ///
    /// # Errors
    /// [`QueryError`] when a value is longer than its limit, has control characters or is not UTF-8.
    pub(crate) fn parse(query: &str) -> Result<Self, QueryError> {
        let mut parsed = Self::default();
        let mut is_ours = false;
        let (mut has_id, mut has_last) = (false, false);
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match &*form_decode(name) {
                b"id" => {
                    if std::mem::replace(&mut has_id, true) {
                        return Err(QueryError::Twice("id"));
                    }
                    parsed.execution_id = execution_id(form_decode(value))?;
                }
                b"topic" => {
                    let text = String::from_utf8(form_decode(value)).map_err(|_| QueryError::NotUtf8)?;
                    if !text.is_empty() {
                        let topic = Topic::parse(&text).map_err(QueryError::Topic)?;
                        parsed.topics.push(topic.as_str().to_owned());
                    }
                    if parsed.topics.len() > MAX_TOPICS {
                        return Err(QueryError::TooManyTopics);
                    }
                }
                b"last_event_id" => {
                    if std::mem::replace(&mut has_last, true) {
                        return Err(QueryError::Twice("last_event_id"));
                    }
                    parsed.last_event_id = form_decode(value);
                }
                _ => continue,
            }
            is_ours = true;
        }
        if !is_ours {
            parsed.execution_id = execution_id(percent_decode_str(query).collect())?;
        }
        Ok(parsed)
    }

    /// The filter of a stream that asked for this, on a route that has topics of its own or not.
    pub(crate) fn filter(&self, route_has_topic: bool) -> Option<Box<Filter>> {
        let has_topics = route_has_topic || !self.topics.is_empty();
        if !has_topics && self.execution_id.is_none() {
            return None;
        }
        Some(Box::new(Filter { has_topics, execution_id: self.execution_id.as_deref().map(Box::from) }))
    }
}

fn execution_id(bytes: Vec<u8>) -> Result<Option<String>, QueryError> {
    let text = String::from_utf8(bytes).map_err(|_| QueryError::NotUtf8)?;
    if text.is_empty() {
        return Ok(None);
    }
    let id = ExecutionId::parse(&text).map_err(QueryError::ExecutionId)?;
    Ok(Some(id.as_str().to_owned()))
}

/// `application/x-www-form-urlencoded` (WHATWG URL §5.1): also `+` is a blank.
fn form_decode(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}

/// Where a stream begins (C6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    /// What `sse.ready` and a gap carry: everything up to here has been seen, or is covered by the gap.
    pub(crate) position: u64,
    pub(crate) gap: Option<GapReason>,
}

impl Start {
    /// `published` is the newest sequence that any runtime thread may have sent. This thread's log may lag behind it;
    /// such an id is waited for, not refused.
    pub(crate) fn find(last_event_id: &[u8], log: &StreamLog, published: u64) -> Self {
        let live = |gap| Self { position: log.head(), gap };
        if last_event_id.is_empty() {
            return live(None);
        }
        let Some(id) = std::str::from_utf8(last_event_id).ok().and_then(EventId::parse) else {
            return live(Some(GapReason::Unknown));
        };
        if id.epoch != log.id(0).epoch {
            return live(Some(GapReason::Restarted));
        }
        if id.sequence > published.max(log.head()) {
            return live(Some(GapReason::Unknown));
        }
        if id.sequence + 1 < log.base() {
            return live(Some(GapReason::Expired));
        }
        Self { position: id.sequence, gap: None }
    }

    pub(crate) fn cursor(self) -> Cursor {
        Cursor::before(self.position + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(query: &str) -> Result<Option<String>, QueryError> {
        Query::parse(query).map(|query| query.execution_id)
    }

    #[test]
    fn a_query_without_our_names_is_the_execution_id_whole() {
        for (query, expected) in [
            ("", None),
            ("TEST_CHANNEL", Some("TEST_CHANNEL")),
            ("a=b&c=d", Some("a=b&c=d")),
            ("a%20b+c", Some("a b+c")),
            ("id=a+b", Some("a b")),
            ("id=", None),
            ("id", None),
            ("id=a&x=y", Some("a")),
            ("x=y&topic=t", None),
            ("ID=a", Some("ID=a")),
            ("%69d=a", Some("a")),
        ] {
            assert_eq!(id(query), Ok(expected.map(str::to_owned)), "{query:?}");
        }
    }

    #[test]
    fn an_execution_id_holds_two_hundred_bytes_and_not_one_more() {
        for (length, taken) in [(199, true), (200, true), (201, false)] {
            let long = "x".repeat(length);
            assert_eq!(id(&long).is_ok(), taken, "{length}");
            assert_eq!(id(&format!("id={long}")).is_ok(), taken, "{length}");
        }
        assert_eq!(id("%FF"), Err(QueryError::NotUtf8));
        assert_eq!(id("a%0Ab"), Err(QueryError::ExecutionId(LabelError::Character)));
        assert_eq!(id("id=a&id=b"), Err(QueryError::Twice("id")));
    }

    #[test]
    fn a_stream_has_sixty_four_topics_and_not_one_more() {
        for (count, taken) in [(63, true), (64, true), (65, false)] {
            let query = vec!["topic=t"; count].join("&");
            assert_eq!(Query::parse(&query).is_ok(), taken, "{count}");
        }
        for (length, taken) in [(200, true), (201, false)] {
            assert_eq!(Query::parse(&format!("topic={}", "t".repeat(length))).is_ok(), taken, "{length}");
        }
    }

    #[test]
    fn last_event_id_is_bytes_that_need_not_be_text() {
        let query = Query::parse("last_event_id=%FF&id=x");
        assert_eq!(query.map(|query| query.last_event_id), Ok(vec![0xff]));
    }
}
