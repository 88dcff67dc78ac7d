//! Who subscribes.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::time::{Duration, SystemTime};

use super::peer::{Peer, Stream};
use super::tokens::{self, bearer};
use super::{auth, settings};
use sse_gateway::Settings;
use sse_proto::identity::Identity;

/// Somebody, or nobody.
#[derive(Debug, Clone, Default)]
pub struct Person {
    pub anonymous: bool,
    pub id: &'static str,
    pub name: &'static str,
    pub roles: &'static [&'static str],
}

impl Person {
    pub fn token(&self) -> String {
        token(self.id, self.name, self.roles, Duration::from_secs(3600))
    }

    pub fn identity(&self) -> Option<Identity> {
        (!self.anonymous).then(|| Identity::try_new(Some(self.id), Some(self.name), self.roles).unwrap())
    }

    /// Over HTTP/1.0 the stream has no chunks.
    pub fn open(&self, port: u16, version: &str, query: &str, last: &str) -> Stream {
        let mut headers = String::new();
        if !self.anonymous {
            headers = bearer(&self.token());
        }
        if !last.is_empty() {
            headers.push_str(&format!("Last-Event-ID: {last}\r\n"));
        }
        let request =
            format!("GET /api/events/info{query} HTTP/{version}\r\nHost: localhost\r\n{headers}\r\n");
        Peer::ask(port, &request).into_stream()
    }

    pub fn ready(&self, port: u16, query: &str) -> Stream {
        let mut stream = self.open(port, "1.1", query, "");
        assert_eq!(stream.next().name, "sse.ready");
        stream
    }
}

pub fn token(id: &str, name: &str, roles: &[&str], lifetime: Duration) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let claims = serde_json::json!({
        "user_id": id, "user_name": name, "user_roles": roles,
        "iat": now.as_secs_f64(), "exp": (now + lifetime).as_secs(),
    });
    tokens::token(&claims)
}

pub fn with_secret() -> Settings {
    Settings { auth: auth(), ..settings() }
}

pub fn person(id: &'static str, name: &'static str, roles: &'static [&'static str]) -> Person {
    Person { anonymous: false, id, name, roles }
}
