//! The counter on a primary and a synchronous standby, which change places.
//!
//! Not for what is in front of them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use cluster::http::Client;
use cluster::{Cluster, Install, PATIENCE, lasting_port, wait_until};
use example::{Example, Running};
use serde_json::json;

const SETUP: &str = include_str!("page/setup.sql");

/// What is served beside the counter's own page.
const PAGE: [(&str, &str); 3] = [
    ("cluster.html", include_str!("page/cluster.html")),
    ("cluster.css", include_str!("page/cluster.css")),
    ("cluster.js", include_str!("page/cluster.js")),
];

/// What the servers are called: as in the configuration of the proxy.
pub(super) const NAMES: [&str; 2] = ["one", "two"];

/// Two servers.
pub(super) struct Tree {
    one: Running,
    two: Cluster,
    pub(super) ports: [u16; 2],
    /// Which one is the primary.
    pub(super) head: usize,
}

impl Tree {
    /// Both run, and commits of the primary wait for the standby. `origin` is where the page comes from.
    ///
    /// # Errors
    /// Something on the way fails; the end of a server's log is in the message where it helps.
    pub(super) fn plant(install: Arc<Install>, origin: &str) -> Result<Self> {
        let ports = [lasting_port()?, lasting_port()?];
        let builder = Cluster::builder()
            .install(install)
            .setting("sse.port", ports[0])
            .setting("sse.durability", "wal")
            .setting("sse.trusted_proxies", "127.0.0.1")
            // The page shows what each server has, and asks each by its own address.
            .setting("sse.cors_origins", origin)
            .setting("max_worker_processes", 16)
            .setting("wal_retrieve_retry_interval", "200ms")
            // For pg_rewind.
            .setting("wal_log_hints", "on")
            .setting("wal_keep_size", "256MB");
        let one = Example::named("counter")?.start(builder)?;
        one.cluster.sql(SETUP)?;
        put_page(Path::new(&one.cluster.sql("show sse.static_root")?), ports)?;
        let two = one.cluster.standby()?;
        two.configure("sse.port", &ports[1].to_string())?;
        two.start()?;
        let tree = Self { one, two, ports, head: 0 };
        tree.join()?;
        Ok(tree)
    }

    pub(super) fn primary(&self) -> &Cluster {
        self.server(self.head)
    }

    pub(super) fn standby(&self) -> &Cluster {
        self.server(1 - self.head)
    }

    pub(super) fn server(&self, number: usize) -> &Cluster {
        if number == 0 { &self.one.cluster } else { &self.two }
    }

    /// Of the gateway of each, which may be away.
    pub(super) fn http(&self, number: usize) -> Client {
        Client::new(self.ports[number])
    }

    /// The standby takes the place of a primary that is gone.
    pub(super) fn promote(&mut self) -> Result<()> {
        let new = self.standby();
        // It has no standby itself: commits must not wait for one.
        new.configure("synchronous_standby_names", "")?;
        new.reload()?;
        new.promote()?;
        self.head = 1 - self.head;
        Ok(())
    }

    /// The primary that was killed comes back, as the standby.
    pub(super) fn return_of_the_other(&self) -> Result<()> {
        let (new, old) = (self.primary(), self.standby());
        old.rewind_to(new)?;
        old.configure("sse.port", &self.ports[1 - self.head].to_string())?;
        old.follow(new)?;
        old.start()?;
        self.join()
    }

    /// The standby has everything, and from now on commits wait until it has theirs.
    fn join(&self) -> Result<()> {
        self.standby().wait_for_replay(self.primary())?;
        self.primary().configure("synchronous_standby_names", "*")?;
        self.primary().reload()?;
        let sql = "select count(*) from pg_stat_replication where sync_state <> 'async'";
        wait_until(PATIENCE, "commits wait for the standby", || {
            self.primary().sql(sql).is_ok_and(|count| count == "1")
        })
    }

    /// The ends of both logs, for messages.
    pub(super) fn logs(&self) -> String {
        let of = |number: usize| {
            let log = self.server(number).log().unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(15).collect();
            let lines: Vec<&str> = lines.into_iter().rev().collect();
            format!("server {} has logged:\n{}\n", NAMES[number], lines.join("\n"))
        };
        of(0) + &of(1)
    }
}

fn put_page(folder: &Path, ports: [u16; 2]) -> Result<()> {
    for (name, text) in PAGE {
        fs::write(folder.join(name), text).context(name)?;
    }
    let of = |number: usize| json!({ "name": NAMES[number], "origin": format!("http://localhost:{}", ports[number]) });
    fs::write(folder.join("servers.json"), json!([of(0), of(1)]).to_string())?;
    Ok(())
}
