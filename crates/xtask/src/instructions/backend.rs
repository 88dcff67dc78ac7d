//! What is counted within backends: a throwaway server under callgrind, whose gateway is stopped, so that
//! nothing but the backend's own work is in the count. A routine that is annotated is compared with one that
//! is not, N calls with 2 N, so what both have, and what is done once, falls out.
//!
//! Not in single-user mode, where pg_sse publishes nothing.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use cluster::{
    Account, Cluster, Extension, Install, PATIENCE, PgConfig, Profile, Scratch, find_program, wait_for,
};

use super::{Found, TIMES, Where, callgrind};
use crate::build;

/// The part of a backend that runs a statement.
const COUNTED: &str = "PortalRun";

/// The same routine twice: `plain_NAME`, and `bracketed_NAME` with this comment.
struct Subject {
    says: &'static str,
    name: &'static str,
    comment: &'static str,
    body: &'static str,
    /// Calls FUNCTION for N times.
    statement: &'static str,
}

const IN_ONE_SELECT: &str = "select count(FUNCTION(i)) from generate_series(1, N) i";

const SUBJECTS: [Subject; 4] = [
    Subject {
        says: "bracket of a call, SELECT",
        name: "selected",
        comment: "@sse",
        body: "begin return i; end",
        statement: IN_ONE_SELECT,
    },
    Subject {
        says: "bracket of a call, PERFORM",
        name: "performed",
        comment: "@sse",
        body: "begin return i; end",
        statement: "do $$ begin for i in 1 .. N loop perform FUNCTION(i); end loop; end $$",
    },
    Subject {
        says: "capture of a RAISE of 200 bytes, sent at once",
        name: "sent",
        comment: "@sse on notice\n@sse_delivery immediate",
        body: "begin raise notice '%', repeat('x', 200); return i; end",
        statement: IN_ONE_SELECT,
    },
    Subject {
        says: "capture of a RAISE of 200 bytes, kept",
        name: "kept",
        comment: "@sse on notice",
        body: "begin raise notice '%', repeat('x', 200); return i; end",
        statement: IN_ONE_SELECT,
    },
];

/// After the names of subjects that are counted with the library of tests: without optimisation, they take
/// several times as many.
const IN_TESTS: &str = ", library for tests";

/// Counts with this library for tests, or with one that is built with optimisation.
pub(super) fn count(pg: &PgConfig, library: Option<&Path>) -> Result<Vec<Found>> {
    let extension = match library {
        Some(library) => Extension::with_library(library.to_owned())?,
        None => build::extension(pg, Profile::Release)?,
    };
    let install = Install::of(pg)?;
    install.put(&extension)?;
    let server = Server::start(Arc::new(install))?;
    let mut found = Vec::new();
    for subject in &SUBJECTS {
        let name = format!("{}{}", subject.says, library.map_or("", |_| IN_TESTS));
        let instructions = server.count(subject)?;
        found.push(Found { subject: name, instructions, counted_in: Where::Backends });
    }
    Ok(found)
}

struct Server {
    cluster: Cluster,
    /// With a file for each process, `counts.PID`, which is complete when the process has ended.
    counts: Scratch,
}

impl Server {
    fn start(install: Arc<Install>) -> Result<Self> {
        let account = Account::for_servers()?;
        let counts = Scratch::create(&account)?;
        account.give(counts.path())?;
        let mut options = callgrind::options(COUNTED);
        options.push(format!("--log-file={}/counts.%p", counts.path().display()).into());
        let cluster = Cluster::builder()
            .install(install)
            .under(&find_program("valgrind").context("no valgrind")?, options)
            .setting("autovacuum", "off")
            .setting("jit", "off")
            .setting("log_min_messages", "warning")
            .setting("client_min_messages", "warning")
            .start()?;
        for Subject { name, comment, body, .. } in &SUBJECTS {
            for kind in ["plain", "bracketed"] {
                cluster.sql(&format!(
                    "create function {kind}_{name}(i int) returns int language plpgsql as $f$ {body} $f$"
                ))?;
            }
            cluster.sql(&format!("comment on function bracketed_{name} is '{comment}'"))?;
        }
        Ok(Self { cluster, counts })
    }

    fn count(&self, subject: &Subject) -> Result<f64> {
        let [bracketed, plain] = ["bracketed", "plain"].map(|kind| {
            let function = format!("{kind}_{}", subject.name);
            Ok::<_, anyhow::Error>(
                self.statement(subject, &function, 2 * TIMES)? - self.statement(subject, &function, TIMES)?,
            )
        });
        Ok((bracketed? - plain?) as f64 / TIMES as f64)
    }

    /// Instructions of a session that does this a few times, and so often.
    fn statement(&self, subject: &Subject, function: &str, times: u64) -> Result<i64> {
        let pid = wait_for(10 * PATIENCE, "the gateway serves", || {
            let pid = self.cluster.sql("select pid from sse.stat_gateway where state = 'serving'")?;
            Ok(pid.trim().parse().ok())
        })?;
        let _stopped = self.cluster.freeze(pid)?;
        let mut session = self.cluster.session()?;
        let backend = session.backend_pid()?;
        for times in [10, times] {
            let statement = subject.statement.replace("FUNCTION", function);
            session.send(&statement.replace('N', &times.to_string()))?;
            session.wait(10 * PATIENCE)?.ok()?;
        }
        drop(session);
        let file = self.counts.path().join(format!("counts.{backend}"));
        let counted = wait_for(10 * PATIENCE, "the session's count", || {
            let text = fs::read_to_string(&file).unwrap_or_default();
            Ok(text.lines().find_map(callgrind::collected))
        })?;
        Ok(i64::try_from(counted)?)
    }
}
