//! Subscribers with tokens: a cluster that accepts some tokens, people to give them to, and an audience that
//! tells who has heard what.
//!
//! [`mint`] makes tokens without the code under test: HMAC (RFC 2104) in SQL, on Postgres' own `sha256()`.
//!
//! Not for keys other than an HMAC secret: the gateway's own tests have those.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use cluster::http::{Client, EventStream, Request};
use cluster::{Builder, Cluster, Reply, Session};
use serde_json::{Value, json};

use super::SOON;

/// `sse.jwt_secret` of [`builder`].
pub(crate) const SECRET: &str = "a secret of this test, 32 bytes at least";

/// A cluster that believes tokens signed with [`SECRET`].
pub(crate) fn builder() -> Builder {
    Cluster::builder().setting("sse.jwt_secret", SECRET)
}

/// Somebody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Person {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) roles: &'static [&'static str],
}

pub(crate) const ALICE: Person = Person { id: "1", name: "alice", roles: &[] };
pub(crate) const BOB: Person = Person { id: "2", name: "bob", roles: &["staff"] };
pub(crate) const ADMIN: Person = Person { id: "3", name: "root", roles: &["admin"] };
pub(crate) const MANAGER: Person = Person { id: "4", name: "mary", roles: &["Manager", "staff"] };

/// A literal of SQL.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A token of `sse.issue_token`, good for an hour.
pub(crate) fn issue(cluster: &Cluster, person: Person) -> Result<String> {
    let roles: Vec<String> = person.roles.iter().map(|role| quoted(role)).collect();
    cluster.sql(&format!(
        "select sse.issue_token({}, {}, array[{}]::text[], '1h')",
        quoted(person.id),
        quoted(person.name),
        roles.join(", ")
    ))
}

/// A token with these claims (a JSON object), made with HS256 and this secret, and nothing of pg_sse.
pub(crate) fn mint(cluster: &Cluster, secret: &str, claims: &str) -> Result<String> {
    ensure!(secret.len() <= 64, "a longer key would have to be hashed first");
    let pad = |byte: u8| -> String {
        let key = secret.bytes().chain(std::iter::repeat(0)).take(64);
        key.map(|key| format!("{:02x}", key ^ byte)).collect()
    };
    cluster.sql(&format!(
        "with message(text) as (
             select '{HEADER}.' || translate(rtrim(encode(convert_to({}, 'UTF8'), 'base64'), '='), E'+/\\n', '-_'))
         select text || '.' || translate(rtrim(encode(
                  sha256(decode('{}', 'hex') || sha256(decode('{}', 'hex') || convert_to(text, 'UTF8'))),
                'base64'), '='), E'+/\\n', '-_')
           from message",
        quoted(claims),
        pad(0x5c),
        pad(0x36),
    ))
}

/// `{"alg":"HS256","typ":"JWT"}`
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// [`mint`] for somebody with this id, this name and these roles, good for an hour.
pub(crate) fn mint_for(cluster: &Cluster, id: &str, name: &str, roles: &[String]) -> Result<String> {
    let claims = json!({"user_id": id, "user_name": name, "user_roles": roles, "exp": now()? + 3_600});
    mint(cluster, SECRET, &claims.to_string())
}

/// Seconds since 1970, as claims want them.
pub(crate) fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

/// A GET with a token in its header, or without any.
pub(crate) fn get(path: &str, token: Option<&str>) -> Request {
    Request::get(path).bearer(token)
}

/// Opens a stream and reads it up to `sse.ready`.
pub(crate) fn listen(http: Client, path: &str, token: Option<&str>) -> Result<EventStream> {
    http.events_with(&get(path, token))?.begun()
}

/// The status that a request is answered with; a stream is left again.
pub(crate) fn status_of(http: Client, request: &Request) -> Result<u16> {
    let mut connection = http.connect()?;
    connection.send(request)?;
    Ok(connection.head()?.status)
}

/// Streams that listen at the same time, and what each of them hears.
///
/// What is *not* heard is proven by order: after all that is raised comes a mark that every stream gets.
pub(crate) struct Audience<'a> {
    cluster: &'a Cluster,
    http: Client,
    tokens: BTreeMap<String, String>,
    /// With the topic of its mark, empty = none.
    members: Vec<(String, String, EventStream)>,
    marker: Session,
    marks: usize,
}

impl<'a> Audience<'a> {
    /// Nobody yet. Everything that is published in this cluster is heard, so the test must be alone in it.
    pub(crate) fn new(cluster: &'a Cluster) -> Result<Self> {
        let (http, marker) = (cluster.http()?, cluster.session()?);
        Ok(Self { cluster, http, tokens: BTreeMap::new(), members: Vec::new(), marker, marks: 0 })
    }

    /// The five that most tests need: `nobody`, `alice`, `bob`, `admin` and `manager`, all on one path.
    pub(crate) fn of_everybody(cluster: &'a Cluster, path: &str) -> Result<Self> {
        let mut audience = Self::new(cluster)?;
        audience.joins("nobody", None, path)?;
        for (label, person) in [("alice", ALICE), ("bob", BOB), ("admin", ADMIN), ("manager", MANAGER)] {
            audience.joins(label, Some(person), path)?;
        }
        Ok(audience)
    }

    /// One more stream, of this person or, without one, an anonymous one.
    pub(crate) fn joins(&mut self, label: &str, person: Option<Person>, path: &str) -> Result<()> {
        self.joins_topic(label, person, path, "")
    }

    /// One more stream, of which one topic is this.
    pub(crate) fn joins_topic(
        &mut self,
        label: &str,
        person: Option<Person>,
        path: &str,
        topic: &str,
    ) -> Result<()> {
        let token = person.map(|person| self.token(person)).transpose()?;
        let stream = listen(self.http, path, token.as_deref())
            .with_context(|| format!("{label} cannot open {path}"))?;
        self.members.push((label.to_owned(), topic.to_owned(), stream));
        Ok(())
    }

    fn token(&mut self, person: Person) -> Result<String> {
        if let Some(token) = self.tokens.get(person.id) {
            return Ok(token.clone());
        }
        let token = issue(self.cluster, person)?;
        self.tokens.insert(person.id.to_owned(), token.clone());
        Ok(token)
    }

    /// What everybody has heard since the last call, by label, in order.
    pub(crate) fn heard(&mut self) -> Result<BTreeMap<String, Vec<String>>> {
        self.marks += 1;
        let mark = format!("mark {}", self.marks);
        let mut topics: Vec<&str> = self.members.iter().map(|(_, topic, _)| topic.as_str()).collect();
        topics.sort_unstable();
        topics.dedup();
        for topic in topics {
            let topic = if topic.is_empty() { "null".to_owned() } else { quoted(topic) };
            self.marker.run(&format!("select sse.publish('{mark}', topic => {topic})"))?.ok()?;
        }
        let mut heard = BTreeMap::new();
        for (label, _, stream) in &mut self.members {
            let mut events = Vec::new();
            loop {
                let event = stream.next(SOON).with_context(|| format!("{label} misses {mark}"))?;
                match event.data {
                    data if data == mark => break,
                    // The mark of another stream: one for a second topic of this stream.
                    data if data.starts_with("mark ") => {}
                    data => events.push(data),
                }
            }
            heard.insert(label.clone(), events);
        }
        Ok(heard)
    }

    /// Runs SQL that publishes one event, and returns who has heard it: labels in the order of joining. A
    /// stream that has heard it twice is listed twice.
    pub(crate) fn who_hears(&mut self, session: &mut Session, sql: &str) -> Result<String> {
        session.run(sql)?.ok()?;
        let heard = self.heard()?;
        let labels = self.members.iter().flat_map(|(label, _, _)| {
            let times = heard.get(label).map_or(0, Vec::len);
            std::iter::repeat_n(label.as_str(), times)
        });
        Ok(labels.collect::<Vec<_>>().join(" "))
    }
}

/// No error and no WARNING.
pub(crate) fn is_quiet(reply: Reply) -> Result<Reply> {
    let reply = reply.ok()?;
    ensure!(reply.texts("WARNING").is_empty(), "{:?}", reply.messages);
    Ok(reply)
}

/// What a token says. Postgres reads it.
pub(crate) fn claims(cluster: &Cluster, token: &str) -> Result<Value> {
    let part = token.split('.').nth(1).context("no token")?;
    let padded = format!("{part}{}", "=".repeat((4 - part.len() % 4) % 4));
    let json = cluster
        .sql(&format!("select convert_from(decode(translate('{padded}', '-_', '+/'), 'base64'), 'UTF8')"))?;
    Ok(serde_json::from_str(&json)?)
}
