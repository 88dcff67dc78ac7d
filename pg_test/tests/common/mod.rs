//! What the black-box tests share: one cluster for all tests of a binary, and in it a corner for each test.
//!
//! Not for tests that stop, kill or reconfigure a server: those start a cluster of their own.

// Every test binary compiles this file and uses its own part of it.
#![allow(dead_code)]

pub(crate) mod admin;
pub(crate) mod browser;
pub(crate) mod calls;
pub(crate) mod changes;
pub(crate) mod control;
pub(crate) mod dice;
pub(crate) mod differential;
pub(crate) mod everything;
pub(crate) mod linger;
pub(crate) mod log_records;
pub(crate) mod login;
pub(crate) mod module;
pub(crate) mod node;
pub(crate) mod proxy;
pub(crate) mod recipe;
pub(crate) mod relay;
pub(crate) mod ring;
pub(crate) mod served;
pub(crate) mod site;
pub(crate) mod standby;
pub(crate) mod starve;
pub(crate) mod tokens;
pub(crate) mod wal;

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cluster::http::{Client, EventStream, Response};
use cluster::{Cluster, Frozen, Install, Reply, Session, SessionOptions, skip, wait_for, wait_until};

/// Everything that is delivered at all arrives within this time, on two busy cores, too.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// The cluster of this test binary, with default settings; ends with the process.
pub(crate) fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| match Cluster::builder().start() {
        Ok(cluster) => cluster,
        Err(error) => panic!("no cluster: {error:#}"),
    })
}

/// Whether the PostgreSQL under test comes with this extension. Where it does not, the test is skipped, which
/// is a failure unless the environment names its `file` (`cluster::skip`).
pub(crate) fn has_extension(file: &str, name: &str) -> Result<bool> {
    let control = format!("extension/{name}.control");
    comes_with(file, name, &Install::shared()?.pg_config().sharedir.join(control))
}

/// The same of a library that is no extension.
pub(crate) fn has_library(file: &str, name: &str) -> Result<bool> {
    let pg = Install::shared()?.pg_config().clone();
    comes_with(file, name, &pg.pkglibdir.join(format!("{name}.{}", pg.library_suffix())))
}

fn comes_with(file: &str, name: &str, path: &Path) -> Result<bool> {
    let is_there = fs::exists(path)?;
    if !is_there {
        skip(file, &format!("{name} with this PostgreSQL"))?;
    }
    Ok(is_there)
}

fn shared_http() -> Result<Client> {
    static HTTP: OnceLock<Client> = OnceLock::new();
    if let Some(http) = HTTP.get() {
        return Ok(*http);
    }
    let http = shared().http()?;
    Ok(*HTTP.get_or_init(|| http))
}

/// A test's own part of a cluster: a schema, and an execution id that keeps the events of tests that run side
/// by side apart.
pub(crate) struct Corner<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) http: Client,
    pub(crate) name: String,
}

impl Corner<'static> {
    /// In the shared cluster. `name` is one word, unique in the test binary.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let http = shared_http()?;
        Self { cluster: shared(), http, name: name.to_owned() }.furnish()
    }
}

impl<'a> Corner<'a> {
    /// In a cluster of the test's own.
    pub(crate) fn of(cluster: &'a Cluster, name: &str) -> Result<Self> {
        let http = cluster.http()?;
        Self { cluster, http, name: name.to_owned() }.furnish()
    }

    fn furnish(self) -> Result<Self> {
        self.cluster.sql(&format!("create schema {}", self.name))?;
        Ok(self)
    }

    /// A session whose events only this corner's streams get, and whose unqualified names are in this
    /// corner's schema.
    pub(crate) fn session(&self) -> Result<Session> {
        self.session_with("")
    }

    /// The same with further options, such as `-c client_min_messages=error`.
    pub(crate) fn session_with(&self, options: &str) -> Result<Session> {
        let options = format!("-c sse.execution_id={0} -c search_path={0},public {options}", self.name);
        self.cluster.session_with(&SessionOptions { options, ..SessionOptions::default() })
    }

    /// Runs SQL in such a session; its first error is an error.
    pub(crate) fn sql(&self, sql: &str) -> Result<String> {
        Ok(self.run(sql)?.ok()?.text())
    }

    /// Runs SQL in such a session; its errors are in the reply.
    pub(crate) fn run(&self, sql: &str) -> Result<Reply> {
        self.session()?.run(sql)
    }

    /// Creates `name(message text)`, which raises its argument, with this comment.
    pub(crate) fn announcer(&self, name: &str, comment: &str) -> Result<()> {
        self.sql(&announcer(name, comment)).map(drop)
    }

    /// The same, and its stream.
    pub(crate) fn announced(&self, name: &str, comment: &str) -> Result<EventStream> {
        self.announcer(name, comment)?;
        self.stream(&format!("{}/info", name.replace('_', "-")))
    }

    /// The path of a stream of one of this corner's routines.
    pub(crate) fn path(&self, routine_and_segment: &str) -> String {
        format!("/api/{}/{routine_and_segment}", self.name.replace('_', "-"))
    }

    /// Opens the stream at this corner's path, and reads it up to `sse.ready`.
    pub(crate) fn stream(&self, routine_and_segment: &str) -> Result<EventStream> {
        self.http.events(&format!("{}?{}", self.path(routine_and_segment), self.name))?.begun()
    }

    /// The status that a GET of this corner's path is answered with; a stream is left again.
    pub(crate) fn status(&self, routine_and_segment: &str) -> Result<u16> {
        status(self.http, &self.path(routine_and_segment))
    }
}

/// SQL that creates `name(message text)`, which raises its argument as INFO, with this comment.
pub(crate) fn announcer(name: &str, comment: &str) -> String {
    format!(
        "create function {name}(message text) returns void language plpgsql
         as $f$ begin raise info '%', message; end $f$;
         comment on function {name}(text) is '{}';",
        comment.replace('\'', "''")
    )
}

/// What the cookie with a token is called by a gateway whose setting does not say (C1.6).
pub(crate) fn cookie_name(http: Client) -> &'static str {
    if http.is_secure() { "__Host-sse_session" } else { "sse_session" }
}

/// The status that a GET of this path is answered with; a stream is left again.
pub(crate) fn status(http: Client, path: &str) -> Result<u16> {
    let mut connection = http.connect()?;
    connection.send(&cluster::http::Request::get(path))?;
    Ok(connection.head()?.status)
}

/// Waits until a GET of this path is answered with this status.
pub(crate) fn wait_for_status(http: Client, path: &str, wanted: u16, within: Duration) -> Result<()> {
    let mut last = 0;
    wait_for(within, &format!("{path} is answered with {wanted}"), || {
        last = status(http, path)?;
        Ok((last == wanted).then_some(()))
    })
    .with_context(|| format!("the last answer was {last}"))
}

/// The process id of the gateway; waits until there is one.
pub(crate) fn gateway_pid(cluster: &Cluster) -> Result<u32> {
    let sql = "select pid from pg_stat_activity where backend_type = 'pg_sse gateway'";
    wait_for(SOON, "there is a gateway", || Ok(cluster.sql(sql)?.parse().ok()))
}

/// What the gateway says of itself.
pub(crate) fn state(cluster: &Cluster) -> Result<String> {
    cluster.sql("select state from sse.stat_gateway")
}

/// Waits until the log, from its beginning, says `text`.
pub(crate) fn wait_for_line(cluster: &Cluster, text: &str) -> Result<()> {
    wait_until(SOON, &format!("the log says {text:?}"), || cluster.log().is_ok_and(|log| log.contains(text)))
}

pub(crate) fn log_has_restarts(cluster: &Cluster) -> Result<bool> {
    Ok(cluster.log()?.lines().any(|line| line.contains("pg_sse") && line.contains("exited with exit code 1")))
}

/// One column of `sse.stat_ring` or `sse.stat_gateway`.
pub(crate) fn figure(cluster: &Cluster, view: &str, column: &str) -> Result<i64> {
    let text = cluster.sql(&format!("select {column} from sse.{view}"))?;
    text.parse().with_context(|| format!("{view}.{column} is {text:?}"))
}

/// An error in HTTP (RFC 9457), of this status.
pub(crate) fn is_problem(answer: &Response, status: u16, what: &str) -> Result<()> {
    assert_eq!(answer.status(), status, "{what}: {:?} {}", answer.head, answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{what}");
    assert_eq!(answer.header("www-authenticate").is_some(), status == 401, "{what}: {:?}", answer.head);
    let body = answer.json()?;
    assert_eq!(body["status"], status, "{what}");
    ensure!(body["title"].is_string(), "{what}: {body}");
    Ok(())
}

/// Asks for a fault that only a build with the feature `faults` has (`src/worker/gateway/fault.rs`), and
/// waits until it is on its way.
pub(crate) fn provoke(cluster: &Cluster, fault: &str) -> Result<()> {
    let file = cluster.data_dir().join(fault);
    std::fs::write(&file, "")?;
    cluster.reload()?;
    wait_until(SOON, "the fault is provoked", || !file.exists())
}

/// Stops the gateway until the answer is dropped.
pub(crate) fn freeze_gateway(cluster: &Cluster) -> Result<Frozen> {
    cluster.freeze(gateway_pid(cluster)?)
}

/// The reason of a gap.
pub(crate) fn gap_reason(event: &cluster::http::Event) -> Result<String> {
    if event.event != "sse.gap" {
        bail!("not a gap: {event:?}");
    }
    let data: serde_json::Value = serde_json::from_str(&event.data)?;
    Ok(data["reason"].as_str().context("a gap without a reason")?.to_owned())
}
