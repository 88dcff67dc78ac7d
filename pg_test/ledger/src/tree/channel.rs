//! The streams that there are: each is what one kind of listener is to get, and the same on every server.
//!
//! Not for reading one: `reader`, `told`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cluster::http::{Client, EventStream, Request};
use cluster::{Cluster, PATIENCE};

use super::line::{Came, What};
use crate::history::Key;
use crate::plan::{ALICE, BOB, CAROL, Listener, NEWS, Person};
use crate::schema;

/// For how long a server that has just been killed may leave a connection unanswered.
const WITHIN: Duration = Duration::from_secs(5);

pub(super) struct Channel {
    pub(super) name: String,
    pub(super) listener: Listener,
    token: Option<String>,
}

impl Channel {
    /// Without an identity and with some; without a topic and with one; and what calls raise for their
    /// caller.
    pub(super) fn all(cluster: &Cluster) -> Result<Vec<Self>> {
        let tokens = schema::tokens(cluster)?;
        let token = |person: &Person| tokens.iter().find(|(known, _)| *known == person);
        let channel = |(person, topics, execution_id): (Option<&'static Person>, Vec<_>, _)| {
            let listener = Listener { person, topics, execution_id };
            let token = person.and_then(token).map(|(_, token)| token.clone());
            Self { name: listener.to_string(), listener, token }
        };
        let all = [
            (None, vec![], ""),
            (None, vec![NEWS], "batch-1"),
            (Some(&ALICE), vec![], "batch-1"),
            (Some(&BOB), vec![], ""),
            (Some(&CAROL), vec![NEWS], ""),
        ];
        Ok(all.into_iter().map(channel).collect())
    }

    /// Opens it at a gateway or a proxy, after an id.
    pub(super) fn open(&self, at: SocketAddr, behind: Option<&str>) -> Result<EventStream> {
        let mut query: Vec<String> =
            self.listener.topics.iter().map(|topic| format!("topic={topic}")).collect();
        if !self.listener.execution_id.is_empty() {
            query.push(format!("id={}", self.listener.execution_id));
        }
        let mut request = Request::get(&format!("/api/say/info?{}", query.join("&")));
        if let Some(id) = behind {
            request = request.header("Last-Event-ID", id);
        }
        Client::at(at).within(WITHIN).events_with(&request.bearer(self.token.as_deref()))
    }

    /// The id of this event, which is about to come.
    pub(super) fn wait_for(&self, stream: &mut EventStream, wanted: Key) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let event = stream.next_payload(deadline.saturating_duration_since(Instant::now()));
            let event = event.with_context(|| format!("the first event of {}", self.name))?;
            if let Some(Came::Line(line)) = Came::of(&event)
                && matches!(line.what, What::Event { key, .. } if key == wanted)
            {
                return Ok(event.id);
            }
        }
    }
}
