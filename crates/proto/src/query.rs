//! What the query string of a stream URL asks for (C4.4, C4.5, C4.7, C6.4), in one of two forms: parameters,
//! of which those with other names are ignored, or an execution id as a whole (`?TEST_CHANNEL`), which is a
//! word without `&`, and without `=` but at its end (what an id in base64 has).
//!
//! Where the contract leaves room, these are the rules:
//! - Parameters are decoded as forms are (WHATWG URL §5.1, `+` is a blank), names too; the whole is
//!   percent-decoded only, so `+` stays. Names compare exactly.
//! - Empty values are absent; a topic given twice counts once. `id` with two values, and the token given
//!   twice, even if both are equal, are an error: two programs would not pick the same one. Of several last
//!   event ids the last one counts: a library that comes back appends its own to a URL that may have one
//!   already.
//! - A `last_event_id` need not be text: an id that this server did not make is answered by a gap (C6.4), not
//!   refused.
//!
//! `form_urlencoded` is not used: it replaces what is not UTF-8, and a replaced id is another id.
//!
//! Not for the headers that say the same things, nor for the topic of the stream's routine.

use crate::word::{ExecutionId, LabelError, Topic};
use percent_encoding::percent_decode_str;
use std::fmt;

/// Topics that one URL may ask for, repetitions counted: the stream is entered into a list for each (C4.5).
/// Beyond it: 400.
pub const MAX_TOPICS: usize = 64;

/// Names of the parameter that carries the last event id: ours, event-source-polyfill's, and those of other
/// hubs.
const LAST_EVENT_IDS: [&[u8]; 4] = [b"last_event_id", b"lastEventId", b"lastEventID", b"Last-Event-ID"];

/// What a query string says.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// `id`, or the whole string.
    pub execution_id: Option<ExecutionId>,
    /// Every `topic`, each once, in the order of the URL.
    pub topics: Vec<Topic>,
    /// `last_event_id` or one of its other names, never empty. Counts where there is no header.
    pub last_event_id: Option<Vec<u8>>,
    /// Value of the token parameter, never empty. A secret.
    pub token: Option<String>,
}

impl Query {
    /// Reads the part of a URL after `?`. `token_parameter`: `sse.token_parameter`; without it tokens are not
    /// read from URLs.
    ///
    /// # Errors
    /// [`QueryError`], each a 400.
    pub fn parse(query: &str, token_parameter: Option<&TokenParameter>) -> Result<Self, QueryError> {
        let mut parsed = Self::default();
        let mut seen = Seen::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = form_decode(name);
            match &*name {
                b"id" => parsed.set_id(execution_id(form_decode(value), QueryError::ExecutionId)?)?,
                b"topic" => parsed.add_topic(value, &mut seen.topics)?,
                name if LAST_EVENT_IDS.contains(&name) => {
                    let id = Some(form_decode(value)).filter(|id| !id.is_empty());
                    parsed.last_event_id = id.or(parsed.last_event_id);
                }
                name if token_parameter.is_some_and(|ours| ours.0.as_bytes() == name) => {
                    if std::mem::replace(&mut seen.token, true) {
                        return Err(QueryError::TokenTwice);
                    }
                    parsed.token = Some(text(form_decode(value))?).filter(|token| !token.is_empty());
                }
                _ => continue,
            }
            seen.any = true;
        }
        if !seen.any && !query.contains('&') && !query.trim_end_matches('=').contains('=') {
            parsed.execution_id = execution_id(percent_decode_str(query).collect(), QueryError::Whole)?;
        }
        Ok(parsed)
    }

    fn set_id(&mut self, id: Option<ExecutionId>) -> Result<(), QueryError> {
        match (&self.execution_id, id) {
            (_, None) => {}
            (Some(first), Some(second)) if *first != second => return Err(QueryError::IdTwice),
            (_, id) => self.execution_id = id,
        }
        Ok(())
    }

    fn add_topic(&mut self, value: &str, seen: &mut usize) -> Result<(), QueryError> {
        let text = text(form_decode(value))?;
        if text.is_empty() {
            return Ok(());
        }
        *seen += 1;
        if *seen > MAX_TOPICS {
            return Err(QueryError::TooManyTopics);
        }
        let topic = Topic::parse(&text).map_err(QueryError::Topic)?;
        if !self.topics.contains(&topic) {
            self.topics.push(topic);
        }
        Ok(())
    }
}

/// Whether this is a parameter that carries a last event id, by its decoded name.
pub fn is_last_event_id(name: &str) -> bool {
    LAST_EVENT_IDS.contains(&name.as_bytes())
}

/// Whether a query string has a last event id, whatever else is in it.
pub fn has_last_event_id(query: &str) -> bool {
    query.split('&').any(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        !value.is_empty() && LAST_EVENT_IDS.contains(&&*form_decode(name))
    })
}

/// Without the token: it never reaches a log.
impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("execution_id", &self.execution_id)
            .field("topics", &self.topics)
            .field("last_event_id", &self.last_event_id)
            .field("token", &self.token.as_ref().map(|_| "(set)"))
            .finish()
    }
}

/// Name of the query parameter that may carry a token (`sse.token_parameter`): letters, digits, `_`, `-`, `.`
/// of ASCII, at most 64 of them, and none of the names that mean something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenParameter(String);

impl TokenParameter {
    /// Reads the setting; an empty one is `None`.
    ///
    /// # Errors
    /// [`TokenParameterError`]; each variant as it is described there.
    pub fn parse(name: &str) -> Result<Option<Self>, TokenParameterError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        match name {
            "" => Ok(None),
            "id" | "topic" => Err(TokenParameterError::Reserved),
            _ if LAST_EVENT_IDS.contains(&name.as_bytes()) => Err(TokenParameterError::Reserved),
            _ if name.len() <= 64 && name.bytes().all(is_plain) => Ok(Some(Self(name.to_owned()))),
            _ => Err(TokenParameterError::Character),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no name of a token parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenParameterError {
    /// `id`, `topic`, `last_event_id` or one of the other names of that.
    Reserved,
    /// Too long, or a character that would have to be encoded in a URL.
    Character,
}

impl fmt::Display for TokenParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reserved => {
                "\"id\", \"topic\", \"last_event_id\", \"lastEventId\", \"lastEventID\" and \"Last-Event-ID\" mean \
                 something else"
            }
            Self::Character => {
                "the name of a parameter consists of at most 64 letters, digits, \"_\", \"-\" and \".\""
            }
        })
    }
}

impl std::error::Error for TokenParameterError {}

/// Why a query string is answered with 400. The text is a sentence for the peer, and repeats nothing of what
/// it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryError {
    /// The value of `id` is no execution id.
    ExecutionId(LabelError),
    /// The whole query string is one word, and it is no execution id.
    Whole(LabelError),
    /// The value of a `topic` is none.
    Topic(LabelError),
    /// More than [`MAX_TOPICS`].
    TooManyTopics,
    /// `id` has two values.
    IdTwice,
    /// The token parameter is given twice.
    TokenTwice,
    /// An id, a topic or a token is not UTF-8 once it is decoded.
    NotUtf8,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExecutionId(error) => write!(f, "The execution id cannot be used: {error}."),
            Self::Whole(error) => write!(
                f,
                "The query string has no parameters, so all of it is the execution id, and cannot be used: {error}."
            ),
            Self::Topic(error) => write!(f, "A topic cannot be used: {error}."),
            Self::TooManyTopics => write!(f, "A URL may name at most {MAX_TOPICS} topics."),
            Self::IdTwice => f.write_str("The parameter \"id\" is given twice, with different values."),
            Self::TokenTwice => f.write_str("The parameter for the token is given twice."),
            Self::NotUtf8 => f.write_str("The query string is not UTF-8."),
        }
    }
}

impl std::error::Error for QueryError {}

/// Which parameters have been seen.
#[derive(Default)]
struct Seen {
    any: bool,
    topics: usize,
    token: bool,
}

fn execution_id(
    bytes: Vec<u8>,
    error: fn(LabelError) -> QueryError,
) -> Result<Option<ExecutionId>, QueryError> {
    let text = text(bytes)?;
    if text.is_empty() {
        return Ok(None);
    }
    ExecutionId::parse(&text).map(Some).map_err(error)
}

fn text(bytes: Vec<u8>) -> Result<String, QueryError> {
    String::from_utf8(bytes).map_err(|_| QueryError::NotUtf8)
}

pub(crate) fn form_decode(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}
