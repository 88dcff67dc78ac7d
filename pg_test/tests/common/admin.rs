//! The admin port of a server: its address, its token, and what it says.
//!
//! Not for what it must say: that is in the tests.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use cluster::http::{Client, Request, Response};
use cluster::{Builder, Cluster, lasting_port, wait_for};
use serde_json::Value;

use super::SOON;

/// `sse.admin_token` of [`open`].
pub(crate) const TOKEN: &str = "the token of this test";

/// A server with an admin port.
pub(crate) struct Admin {
    pub(crate) cluster: Cluster,
    pub(crate) http: Client,
    pub(crate) port: u16,
}

/// Gives a server an admin port, on a free port that nobody is handed by chance.
pub(crate) fn with_port(builder: Builder) -> Result<(Builder, u16)> {
    let port = lasting_port()?;
    Ok((builder.setting("sse.admin_port", port).setting("sse.admin_token", TOKEN), port))
}

/// Starts a server with an admin port by `start`, and waits until it answers.
pub(crate) fn open(builder: Builder, start: impl FnOnce(Builder) -> Result<Cluster>) -> Result<Admin> {
    let (builder, port) = with_port(builder)?;
    let cluster = start(builder)?;
    let http = Client::new(port);
    wait_for(SOON, "the admin port answers", || Ok(http.get("/livez").ok().map(drop)))?;
    Ok(Admin { cluster, http, port })
}

impl Admin {
    /// With the token.
    pub(crate) fn get(&self, path: &str) -> Result<Response> {
        self.http.request(&Request::get(path).bearer(TOKEN))
    }

    /// What `/readyz` says: its status, and each check by its name.
    pub(crate) fn readiness(&self) -> Result<(u16, BTreeMap<String, Value>)> {
        let answer = self.http.get("/readyz")?;
        let body = answer.json()?;
        let checks = body["checks"].as_array().context("no checks")?;
        let named = checks
            .iter()
            .map(|check| Ok((check["name"].as_str().context("no name")?.to_owned(), check.clone())));
        Ok((answer.status(), named.collect::<Result<_>>()?))
    }

    /// Waits until exactly these checks fail.
    pub(crate) fn wait_for_failing(&self, wanted: &[&str]) -> Result<BTreeMap<String, Value>> {
        let mut last = Default::default();
        wait_for(SOON * 3, &format!("these checks fail: {wanted:?}"), || {
            let (status, checks) = self.readiness()?;
            let failing =
                checks.iter().filter(|(_, check)| check["ok"] != true).map(|(name, _)| name.as_str());
            let failing: Vec<&str> = failing.collect();
            ensure!((status == 200) == failing.is_empty(), "{status} {checks:?}");
            let is_so = failing == wanted;
            last = checks.clone();
            Ok(is_so.then_some(checks))
        })
        .with_context(|| format!("{last:?}\n{}", self.cluster.log().unwrap_or_default()))
    }

    /// All samples of a scrape in the older format, by their names with labels.
    pub(crate) fn scrape(&self) -> Result<BTreeMap<String, f64>> {
        samples(&self.http.get("/metrics")?.text())
    }
}

/// The samples of a scrape, by their names with labels.
pub(crate) fn samples(text: &str) -> Result<BTreeMap<String, f64>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
            Ok((name.to_owned(), value.parse().with_context(|| line.to_owned())?))
        })
        .collect()
}
