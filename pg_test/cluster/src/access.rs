//! Talking to a running cluster: one-shot SQL, sessions, scripts, the installation's programs, the gateway.
//!
//! Not for its life: cluster.rs.

use std::env;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use test_http::{Client, PATIENCE};

use crate::cluster::{Cluster, PORT};
use crate::session::{Session, SessionOptions};
use crate::wait::{wait_for, wait_until};

impl Cluster {
    /// Runs SQL in a session of its own in database `postgres`, and returns the rows of all results: one line
    /// per row, `|` between columns, NULL as nothing, as `psql -At` does.
    ///
    /// # Errors
    /// The first error of the SQL, or no answer within [`PATIENCE`].
    pub fn sql(&self, text: &str) -> Result<String> {
        self.sql_in("postgres", text)
    }

    /// [`Self::sql`] in another database.
    pub fn sql_in(&self, database: &str, text: &str) -> Result<String> {
        let options = SessionOptions { database: database.to_owned(), ..SessionOptions::default() };
        Ok(self.session_with(&options)?.run(text)?.ok()?.text())
    }

    /// Waits until this SQL answers what is wanted; an error is another answer.
    ///
    /// # Errors
    /// It does not; the last answer is in the message.
    pub fn comes_to(&self, within: Duration, what: &str, sql: &str, wanted: &str) -> Result<()> {
        let mut last = String::new();
        wait_until(within, what, || {
            last = self.sql(sql).unwrap_or_else(|error| format!("{error:#}"));
            last == wanted
        })
        .with_context(|| format!("{sql}: wanted {wanted:?}, found {last:?}"))
    }

    /// A session as user `postgres` in database `postgres`.
    pub fn session(&self) -> Result<Session> {
        self.session_with(&SessionOptions::default())
    }

    /// A session with these options.
    pub fn session_with(&self, options: &SessionOptions) -> Result<Session> {
        Session::start(self.psql(), options)
    }

    /// Runs a script and returns everything a client sees, in order: the statements, their results, and
    /// messages with all fields. Two clusters are compared by comparing this.
    ///
    /// # Errors
    /// `psql` does not run. An error in the SQL is part of what is returned.
    pub fn script(&self, sql: &str) -> Result<String> {
        self.script_in("postgres", sql)
    }

    /// [`Self::script`] in another database.
    pub fn script_in(&self, database: &str, sql: &str) -> Result<String> {
        let mut psql = self.psql();
        psql.env("PGDATABASE", database);
        self.script_by(psql, sql)
    }

    /// [`Self::script`] by this `psql`, whose environment says more than a database.
    pub fn script_by(&self, mut command: Command, sql: &str) -> Result<String> {
        let (mut output, merged) = std::io::pipe()?;
        command.args(["-X", "-a", "-v", "VERBOSITY=verbose", "-v", "SHOW_CONTEXT=always"]);
        command.stdin(Stdio::piped()).stdout(merged.try_clone()?).stderr(merged);
        let mut child = command.spawn().context("cannot run psql")?;
        // The command still holds the writing ends, and the output ends only when nobody holds them.
        drop(command);
        let mut input = child.stdin.take().context("psql has no input")?;
        let script = sql.to_owned();
        let writer = thread::spawn(move || input.write_all(script.as_bytes()));
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes)?;
        // A script that makes psql quit early leaves the rest unread, which is no failure here.
        let _ = writer.join();
        child.wait()?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// `psql` pointed at this cluster, as user `postgres` unless an argument says otherwise.
    pub fn psql(&self) -> Command {
        let mut command = self.tool("psql");
        command.env("PGDATABASE", "postgres");
        command
    }

    /// Another client program of the installation (`pg_dump`, `pgbench`), pointed at this cluster.
    pub fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(self.install().program(name));
        for (variable, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(variable);
        }
        command.env("PGHOST", self.home()).env("PGPORT", PORT.to_string()).env("PGUSER", "postgres");
        command.env("LC_ALL", "C").env("PGCLIENTENCODING", "UTF8");
        command
    }

    /// The gateway's HTTP client: asks `sse.stat_gateway` in database `postgres` for the port, until there is
    /// one.
    ///
    /// # Errors
    /// There is none within [`PATIENCE`]; the end of the log is in the message.
    pub fn http(&self) -> Result<Client> {
        self.http_in("postgres")
    }

    /// [`Self::http`], where the extension is in another database.
    pub fn http_in(&self, database: &str) -> Result<Client> {
        let options = SessionOptions { database: database.to_owned(), ..SessionOptions::default() };
        let mut session = self.session_with(&options)?;
        let port = wait_for(PATIENCE, "the gateway listens", || {
            let port = session.run("select port from sse.stat_gateway")?.ok()?.text();
            Ok(port.parse::<u16>().ok().filter(|port| *port != 0))
        });
        Ok(self.client_at((Ipv4Addr::LOCALHOST, port.with_context(|| self.log_tail())?).into()))
    }
}
