//! The tables and routines that writers use.
//!
//! Not for calling them: `writer`.

use std::fmt::Write;

use anyhow::{Context, Result};
use cluster::Cluster;

use crate::plan::{AUDIENCES, PEOPLE, Person};

const SCHEMA: &str = include_str!("schema.sql");

/// Creates them.
pub(crate) fn create(cluster: &Cluster) -> Result<()> {
    let mut sql = SCHEMA.to_owned();
    for (number, audience) in AUDIENCES.iter().enumerate() {
        let texts = [audience.scope, audience.topic, audience.execution_id, audience.emitter].map(quoted);
        writeln!(sql, "INSERT INTO audience VALUES ({number}, {});", texts.join(", "))?;
    }
    let reply = cluster.session()?.run(&sql)?.ok().context("schema.sql")?;
    anyhow::ensure!(reply.messages.is_empty(), "schema.sql got {}", reply.messages[0]);
    Ok(())
}

/// A token for each of [`PEOPLE`].
pub(crate) fn tokens(cluster: &Cluster) -> Result<Vec<(&'static Person, String)>> {
    let token = |person: &&'static Person| -> Result<(&'static Person, String)> {
        let roles: Vec<String> = person.roles.iter().map(|role| quoted(role)).collect();
        let (id, name, roles) = (quoted(person.id), quoted(person.name), roles.join(", "));
        let sql = format!("select sse.issue_token({id}, {name}, array[{roles}]::text[], '1 day')");
        Ok((person, cluster.sql(&sql)?))
    };
    PEOPLE.iter().map(token).collect()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
