//! The tables and routines of a run.
//!
//! Not for using them.

use anyhow::{Context, Result};
use cluster::Cluster;

use crate::honest::Person;

const SCHEMA: &str = include_str!("schema.sql");

/// Who calls honestly.
const PEOPLE: [&str; 2] = ["alice", "bob"];

/// Creates everything.
pub(crate) fn create(cluster: &Cluster) -> Result<()> {
    let reply = cluster.session()?.run(SCHEMA)?.ok().context("schema.sql")?;
    anyhow::ensure!(reply.messages.is_empty(), "schema.sql got {}", reply.messages[0]);
    Ok(())
}

/// The honest callers with their tokens.
pub(crate) fn people(cluster: &Cluster) -> Result<Vec<Person>> {
    let person = |id: &'static str| -> Result<Person> {
        let token =
            cluster.sql(&format!("select sse.issue_token('{id}', '{id}', array['staff'], '1 day')"))?;
        Ok(Person { id, token })
    };
    PEOPLE.into_iter().map(person).collect()
}
