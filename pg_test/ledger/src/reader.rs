//! A reader: an EventSource that records what it sees. It reconnects by itself with its last id, as the
//! standard says (WHATWG HTML §9.2), only sooner than `retry` asks.
//!
//! Not for judging what it sees: `check`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use cluster::Clock;
use cluster::http::{Connection, Event, EventStream, Request, StreamError};
use socket2::{Domain, Socket, Type};

use crate::control::{Control, Manner};
use crate::history::{Asked, History, Item, Position, Reason, What};
use crate::payload::Payload;
use crate::plan::{Listener, MARKS, SETTLING};

/// `retry` is divided by this, because the run is short as well.
const HURRY: u32 = 20;

/// The limit for a connection and the head of an answer. A gateway that is just being killed may leave it
/// unanswered.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one look for the next event takes at most; then the reader sees whether it is to do something
/// else.
const LOOK: Duration = Duration::from_millis(250);

/// Receive buffer of a reader that is to fall behind: the kernel holds little for it.
const SMALL_BUFFER_BYTES: usize = 64 << 10;

/// How much such a reader reads in one piece. Loopback's own 64 kB fit so badly into a small buffer that it
/// would crawl.
const SEGMENT_BYTES: u32 = 1400;

/// What the text of something malformed is cut to.
const MAX_TOLD_CHARS: usize = 120;

/// What a reader is like.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) listener: Listener,
    pub(crate) path: &'static str,
    pub(crate) token: Option<String>,
    pub(crate) has_small_buffer: bool,
}

pub(crate) struct Reader {
    spec: Spec,
    address: SocketAddr,
    clock: Clock,
    control: Arc<Control>,
    /// This many marks end it.
    marks_left: usize,
    last_id: String,
    last: Option<Position>,
    retry: Duration,
    items: Vec<Item>,
}

impl Reader {
    /// `writers`: each of them raises a mark of each delivery at the end.
    pub(crate) fn new(
        spec: Spec,
        address: SocketAddr,
        clock: Clock,
        control: Arc<Control>,
        writers: usize,
    ) -> Self {
        let marks_left = spec.listener.marks() * writers * 2;
        let (last_id, last, retry) = (String::new(), None, Duration::ZERO);
        Self { spec, address, clock, control, marks_left, last_id, last, retry, items: Vec::new() }
    }

    /// Reads until all marks have come, or it is told to give up.
    pub(crate) fn read(mut self) -> History {
        while self.marks_left > 0
            && let Some(manner) = self.control.wait_to_return(self.retry / HURRY)
        {
            // Nobody answers: it tries again, after as long as a browser waits at most.
            self.retry = self.retry.max(Duration::from_secs(1));
            if let Err(error) = self.open_and_follow(manner) {
                self.note(What::Closed(shortened(&format!("{error:#}"))));
            }
            self.control.detach();
        }
        History { name: self.spec.name, listener: self.spec.listener, items: self.items }
    }

    fn open_and_follow(&mut self, manner: Manner) -> Result<()> {
        let Ok(mut connection) = self.connect() else { return Ok(()) };
        let (request, asked) = self.request(manner);
        connection.send(&request)?;
        let head = connection.head()?;
        if head.status != 200 {
            self.note(What::Refused(head.status));
            return Ok(());
        }
        let mut stream = EventStream::follow(connection, head)?;
        self.note(What::Opened(asked));
        while self.marks_left > 0 && !self.control.is_over() {
            self.control.wait_while_stalled();
            match stream.next(LOOK) {
                Ok(event) => self.take(&event),
                Err(StreamError::TimedOut) => {}
                Err(error) => {
                    self.note(What::Closed(shortened(&error.to_string())));
                    return Ok(());
                }
            }
            stream.forget_bytes();
            self.retry = stream.retry().unwrap_or(self.retry);
        }
        Ok(())
    }

    fn connect(&self) -> Result<Connection> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None)?;
        if self.spec.has_small_buffer {
            socket.set_recv_buffer_size(SMALL_BUFFER_BYTES)?;
            socket.set_tcp_mss(SEGMENT_BYTES)?;
        }
        socket.connect_timeout(&self.address.into(), PATIENCE).context("cannot connect")?;
        let connection = Connection::over(socket.into(), PATIENCE)?;
        self.control.attach(connection.socket().try_clone()?);
        Ok(connection)
    }

    fn request(&self, manner: Manner) -> (Request, Asked) {
        let (id, asked) = match (manner, self.last) {
            (Manner::Invented, _) => ("invented", Asked::Invented),
            (_, Some(last)) => (self.last_id.as_str(), Asked::Last(last)),
            (_, None) => ("", Asked::Nothing),
        };
        let mut query: Vec<String> =
            self.spec.listener.topics.iter().map(|topic| format!("topic={topic}")).collect();
        if !self.spec.listener.execution_id.is_empty() {
            query.push(format!("id={}", self.spec.listener.execution_id));
        }
        if manner == Manner::Query && !id.is_empty() {
            query.push(format!("last_event_id={id}"));
        }
        let mut target = self.spec.path.to_owned();
        if !query.is_empty() {
            target = format!("{target}?{}", query.join("&"));
        }
        let mut request = Request::get(&target).header("Accept", "text/event-stream");
        if manner != Manner::Query && !id.is_empty() {
            request = request.header("Last-Event-ID", id);
        }
        if let Some(token) = &self.spec.token {
            request = request.header("Authorization", &format!("Bearer {token}"));
        }
        (request, asked)
    }

    fn take(&mut self, event: &Event) {
        let what = read_event(event).unwrap_or_else(|| {
            let text = format!("{} {} {:?}", event.id, event.event, event.data);
            What::Malformed(shortened(&text))
        });
        if let What::Ready(at) | What::Gap { at, .. } | What::Event { at, .. } = what {
            self.last = Some(at);
            event.id.clone_into(&mut self.last_id);
        }
        match what {
            What::Ready(at) => self.control.has_begun(at.epoch),
            What::Event { audience, .. } if SETTLING.contains(&audience) => self.control.caught_up(),
            What::Event { audience, .. } if MARKS.contains(&audience) => {
                self.marks_left = self.marks_left.saturating_sub(1);
            }
            _ => {}
        }
        self.note(what);
    }

    fn note(&mut self, what: What) {
        self.items.push(Item { at: self.clock.now(), what });
    }
}

fn read_event(event: &Event) -> Option<What> {
    let at = Position::parse(&event.id)?;
    match event.event.as_str() {
        "sse.ready" if event.data == "{}" => Some(What::Ready(at)),
        "sse.gap" => {
            let data: serde_json::Value = serde_json::from_str(&event.data).ok()?;
            let missed = &data["missed"];
            if !missed.is_null() && !missed.is_u64() {
                return None;
            }
            Some(What::Gap { at, reason: Reason::parse(data["reason"].as_str()?)?, missed: missed.as_u64() })
        }
        "message" => {
            let Payload { writer, number, delivery, audience, counter } = Payload::parse(&event.data)?;
            let key = crate::history::Key { writer, delivery, number };
            Some(What::Event { at, key, audience, counter })
        }
        _ => None,
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_TOLD_CHARS).collect()
}
