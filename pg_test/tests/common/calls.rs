//! Routines that are called over HTTP: a cluster with a `call_role`, and in it a schema for each test.
//!
//! Not for what an answer must be: that is in the tests.

use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use cluster::http::{Client, Connection, Request, Response};
use cluster::{Builder, Cluster, PATIENCE, Reply, Session, SessionOptions, wait_for};
use serde_json::Value;

use super::tokens::{Person, SECRET, is_quiet, issue};

/// `sse.call_role` of [`builder`].
pub(crate) const ROLE: &str = "app";

/// A cluster with the role, which is made by [`start`].
pub(crate) fn builder() -> Builder {
    Cluster::builder()
        .without_extension()
        .setting("sse.jwt_secret", SECRET)
        .setting("sse.call_role", ROLE)
        .setting("timezone", "UTC")
}

/// Starts it, with the role and then the extension.
pub(crate) fn start(builder: Builder) -> Result<Cluster> {
    let cluster = builder.start()?;
    cluster.sql(&format!("create role {ROLE} login; create extension pg_sse"))?;
    ready(&cluster)?;
    Ok(cluster)
}

/// Waits until calls are taken.
pub(crate) fn ready(cluster: &Cluster) -> Result<()> {
    cluster.sql(
        "create or replace function public.call_ready() returns void language sql as '';
         comment on function public.call_ready() is 'HTTP GET'",
    )?;
    let http = cluster.http()?;
    let mut last = 0;
    wait_for(PATIENCE, "calls are taken", || {
        last = http.get("/api/call-ready")?.status();
        Ok((last == 204).then_some(()))
    })
    .with_context(|| format!("the last answer was {last}; the log:\n{}", cluster.log().unwrap_or_default()))
}

/// Waits until a GET answers this text: a setting of the role reaches the workers some time after the reload.
pub(crate) fn eventually_text(api: &Api<'_>, routine: &str, wanted: &str) -> Result<()> {
    wait_for(PATIENCE, wanted, || {
        // Each worker takes in the reload by itself; several right answers in a row show that both have.
        let answers: Result<Vec<bool>> =
            (0..8).map(|_| Ok(told(&api.get(routine)?) == format!("200 {wanted}"))).collect();
        Ok(answers?.into_iter().all(|is_so| is_so).then_some(()))
    })
}

/// The cluster of this test binary; ends with the process.
pub(crate) fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| match start(builder()) {
        Ok(cluster) => cluster,
        Err(error) => panic!("no cluster: {error:#}"),
    })
}

/// A test's own schema in a cluster, and who calls its routines.
pub(crate) struct Api<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) http: Client,
    schema: String,
    token: Option<String>,
}

impl Api<'static> {
    /// In the shared cluster. `schema` is one word, unique in the test binary.
    pub(crate) fn new(schema: &str) -> Result<Self> {
        Self::of(shared(), schema)
    }
}

impl<'a> Api<'a> {
    /// In a cluster of the test's own.
    pub(crate) fn of(cluster: &'a Cluster, schema: &str) -> Result<Self> {
        cluster.sql(&format!("create schema {schema}; grant usage on schema {schema} to {ROLE}"))?;
        Self::again(cluster, schema)
    }

    /// A schema that exists already, after a restart: the gateway may use another port.
    pub(crate) fn again(cluster: &'a Cluster, schema: &str) -> Result<Self> {
        Ok(Self { cluster, http: cluster.http()?, schema: schema.to_owned(), token: None })
    }

    /// The same for somebody with a token.
    pub(crate) fn with(&self, person: Person) -> Result<Self> {
        let token = issue(self.cluster, person)?;
        Ok(Self { schema: self.schema.clone(), token: Some(token), ..*self })
    }

    /// The same for somebody without one.
    pub(crate) fn with_nobody(&self) -> Self {
        Self { schema: self.schema.clone(), token: None, ..*self }
    }

    /// A session of the superuser whose unqualified names are this schema's.
    pub(crate) fn session(&self) -> Result<Session> {
        let options = format!("-c search_path={},public", self.schema);
        self.cluster.session_with(&SessionOptions { options, ..SessionOptions::default() })
    }

    /// Runs SQL in such a session, in one transaction, so that either all of what it makes is there or
    /// nothing. An error or a WARNING is an error.
    pub(crate) fn sql(&self, sql: &str) -> Result<String> {
        Ok(is_quiet(self.run(&format!("begin; {sql}; commit"))?).with_context(|| sql.to_owned())?.text())
    }

    /// Runs SQL in such a session; its errors are in the reply.
    pub(crate) fn run(&self, sql: &str) -> Result<Reply> {
        self.session()?.run(sql)
    }

    /// The path of a routine; what follows its name may be a query string.
    pub(crate) fn path(&self, routine: &str) -> String {
        format!("/api/{}/{routine}", self.schema.replace('_', "-"))
    }

    /// A request for a routine, from the same origin, with the token if there is one.
    pub(crate) fn request(&self, method: &str, routine: &str) -> Request {
        let request = Request::new(method, &self.path(routine)).header("Sec-Fetch-Site", "same-origin");
        request.bearer(self.token.as_deref())
    }

    pub(crate) fn get(&self, routine: &str) -> Result<Response> {
        self.http.request(&self.request("GET", routine))
    }

    pub(crate) fn post(&self, routine: &str, body: &Value) -> Result<Response> {
        self.http.request(&self.request("POST", routine).json(body))
    }

    /// A POST with a body that need not be JSON.
    pub(crate) fn post_bytes(&self, routine: &str, body: &[u8]) -> Result<Response> {
        let request = self.request("POST", routine).header("Content-Type", "application/json");
        self.http.request(&request.body(body))
    }

    /// Sends a POST and does not wait for its answer.
    pub(crate) fn begin(&self, routine: &str, body: &Value) -> Result<Connection> {
        let mut connection = self.http.connect()?;
        connection.send(&self.request("POST", routine).json(body))?;
        Ok(connection)
    }

    /// The body of an answer with status 200.
    pub(crate) fn text(&self, routine: &str) -> Result<String> {
        let answer = self.get(routine)?;
        ensure!(answer.status() == 200, "{routine}: {}", told(&answer));
        Ok(answer.text())
    }
}

/// Status and body, for messages and for comparing.
pub(crate) fn told(answer: &Response) -> String {
    format!("{} {}", answer.status(), answer.text()).trim_end().to_owned()
}

/// Collects what is wrong, so that one run of a table reports all of it.
#[derive(Default)]
pub(crate) struct Findings(Vec<String>);

impl Findings {
    pub(crate) fn expect<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: T, wanted: T) {
        if found != wanted {
            self.0.push(format!("{what}\n     found {found:?}\n    wanted {wanted:?}"));
        }
    }

    pub(crate) fn report(self) -> Result<()> {
        ensure!(self.0.is_empty(), "{} wrong:\n{}", self.0.len(), self.0.join("\n"));
        Ok(())
    }
}
