//! An open stream of Server-Sent Events.
//!
//! Not a browser: it never reconnects. A test that resumes opens another one with
//! [`super::Client::events_after`].

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::body::BodyDecoder;
use super::connection::{Connection, Got};
use super::{Event, EventParser, Head, Oddities, PATIENCE};

/// Why there is no next event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// None came in time.
    TimedOut,
    /// The server has ended the stream as it should: the body is complete.
    Ended,
    /// The connection was closed in the middle of the body.
    Cut,
    /// The connection cannot be read, or the body is malformed.
    Broken(String),
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no event in time"),
            Self::Ended => f.write_str("the stream has ended"),
            Self::Cut => f.write_str("the stream was cut off"),
            Self::Broken(why) => write!(f, "the stream broke: {why}"),
        }
    }
}

impl std::error::Error for StreamError {}

/// A stream, read as events and as bytes.
#[derive(Debug)]
pub struct EventStream {
    head: Head,
    connection: Connection,
    decoder: BodyDecoder,
    parser: EventParser,
    events: VecDeque<Event>,
    bytes: Vec<u8>,
}

impl EventStream {
    /// Reads the head of the answer on a connection where the request has been sent.
    pub(super) fn open(mut connection: Connection) -> Result<Self> {
        let head = connection.head()?;
        let content_type = head.header("content-type").unwrap_or("").to_owned();
        if head.status != 200 || !content_type.starts_with("text/event-stream") {
            let body = connection.read_to_close_briefly();
            bail!("not a stream: status {}, {content_type:?}, {body}", head.status);
        }
        Self::follow(connection, head)
    }

    /// Follows an answer whose head has been read and is that of a stream.
    ///
    /// # Errors
    /// The head does not announce a body that could be followed, or the body is malformed already.
    pub fn follow(connection: Connection, head: Head) -> Result<Self> {
        let decoder = BodyDecoder::new(&head, "GET")?;
        let (events, bytes) = (VecDeque::new(), Vec::new());
        let mut stream = Self { head, connection, decoder, parser: EventParser::default(), events, bytes };
        let first = std::mem::take(&mut stream.connection.pending);
        stream.take(&first)?;
        Ok(stream)
    }

    /// The next event, also pg_sse's own (`sse.ready`, `sse.gap`).
    pub fn next(&mut self, within: Duration) -> Result<Event, StreamError> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            self.read(deadline)?;
        }
    }

    /// The first event, which must be `sse.ready`.
    ///
    /// # Errors
    /// It is another one, or none comes within [`PATIENCE`].
    pub fn ready(&mut self) -> Result<Event> {
        let ready = self.next(PATIENCE)?;
        ensure!(ready.event == "sse.ready", "the first event is {ready:?}");
        Ok(ready)
    }

    /// The stream itself, read up to `sse.ready`.
    pub fn begun(mut self) -> Result<Self> {
        self.ready()?;
        Ok(self)
    }

    /// The next event that is not `sse.ready`: the next one that an application would look at.
    pub fn next_payload(&mut self, within: Duration) -> Result<Event, StreamError> {
        let deadline = Instant::now() + within;
        loop {
            let event = self.next(deadline.saturating_duration_since(Instant::now()))?;
            if event.event != "sse.ready" {
                return Ok(event);
            }
        }
    }

    /// The data of the next `count` events that are not `sse.ready`.
    pub fn next_data(&mut self, count: usize, within: Duration) -> Result<Vec<String>, StreamError> {
        let deadline = Instant::now() + within;
        let left = || deadline.saturating_duration_since(Instant::now());
        (0..count).map(|_| Ok(self.next_payload(left())?.data)).collect()
    }

    /// Every event until nothing has come for `quiet`. To prove that something is *not* delivered, it is
    /// better to publish a second event that is delivered, and to see that it comes first.
    ///
    /// # Errors
    /// [`StreamError`], except its first two variants.
    pub fn drain(&mut self, quiet: Duration) -> Result<Vec<Event>, StreamError> {
        let mut events = Vec::new();
        loop {
            match self.next(quiet) {
                Ok(event) => events.push(event),
                Err(StreamError::TimedOut | StreamError::Ended) => return Ok(events),
                Err(broken) => return Err(broken),
            }
        }
    }

    /// Waits for the clean end of the stream and returns the events up to it.
    ///
    /// # Errors
    /// [`StreamError`]: it did not end in time, or it broke.
    pub fn wait_for_end(&mut self, within: Duration) -> Result<Vec<Event>, StreamError> {
        let deadline = Instant::now() + within;
        let mut events = Vec::new();
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())) {
                Ok(event) => events.push(event),
                Err(StreamError::Ended) => return Ok(events),
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until a further comment has come, and returns it. Events that come before it stay for
    /// [`Self::next`].
    pub fn next_comment(&mut self, within: Duration) -> Result<String, StreamError> {
        let deadline = Instant::now() + within;
        let known = self.parser.comments().len();
        loop {
            if let Some(comment) = self.parser.comments().get(known) {
                return Ok(comment.clone());
            }
            self.read(deadline)?;
        }
    }

    /// After [`StreamError::Ended`]: waits until the connection is closed, too.
    ///
    /// # Errors
    /// It stays open, or further bytes came.
    pub fn wait_for_close(&mut self, within: Duration) -> Result<()> {
        match self.connection.read(Instant::now() + within)? {
            Got::Closed => Ok(()),
            got => bail!("after the end of the stream: {got:?}"),
        }
    }

    /// Status and headers.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The id that a browser would reconnect with.
    pub fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// The last `retry:` field.
    pub fn retry(&self) -> Option<Duration> {
        self.parser.retry()
    }

    /// All comments so far, heartbeats among them, without their colon.
    pub fn comments(&self) -> &[String] {
        self.parser.comments()
    }

    /// What a browser overlooks in the stream, and no server should send.
    pub fn oddities(&self) -> &Oddities {
        self.parser.oddities()
    }

    /// All bytes of the body so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets [`Self::bytes`]: for streams that are read for long.
    pub fn forget_bytes(&mut self) {
        self.bytes.clear();
    }

    /// The connection, for options of its socket.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    fn read(&mut self, deadline: Instant) -> Result<(), StreamError> {
        if self.decoder.is_ended() {
            return Err(StreamError::Ended);
        }
        let broken = |error: anyhow::Error| StreamError::Broken(format!("{error:#}"));
        match self.connection.read(deadline).map_err(broken)? {
            Got::Bytes(bytes) => self.take(&bytes).map_err(broken),
            Got::Closed => self.decoder.close().map_err(|_| StreamError::Cut),
            Got::Cut => Err(StreamError::Cut),
            Got::TimedOut => Err(StreamError::TimedOut),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let content = self.decoder.decode(bytes)?;
        self.events.extend(self.parser.push(&content));
        self.bytes.extend(content);
        ensure!(!self.decoder.has_rest(), "more bytes than the body");
        ensure!(self.parser.oddities().replaced_lines == 0, "the stream is not UTF-8");
        Ok(())
    }
}

impl Connection {
    /// The rest of an unexpected answer, for an error message: what comes within a second.
    fn read_to_close_briefly(&mut self) -> String {
        let deadline = Instant::now() + Duration::from_secs(1);
        let mut all = std::mem::take(&mut self.pending);
        while let Ok(Got::Bytes(bytes)) = self.read(deadline) {
            all.extend(bytes);
        }
        String::from_utf8_lossy(&all).into_owned()
    }
}
