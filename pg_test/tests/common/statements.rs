//! Running the statements of calls by hand, on a server without pg_sse.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, Session, SessionOptions};
use sse_proto::call::{Statement, ValueType};

use crate::fixture::oid;

/// Made before every case; the routine is `app.f`.
pub(crate) const SCHEMA: &str =
    "set client_min_messages = error; drop schema if exists app cascade; create schema app;
    create type app.\"Row\" as (street_name text, no int, tags text[]);
    create domain app.home as app.\"Row\" check ((value).no > 0);
    create domain app.positive as int check (value > 0);
    create domain app.numbers as int[];
    create domain app.document as jsonb;
    create type app.mood as enum ('sad', 'Happy');
    set search_path = \"$user\"; set client_min_messages = notice;";

pub(crate) fn session(database: &str) -> Result<Session> {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    let cluster = SHARED.get_or_init(|| {
        Cluster::builder()
            .stock()
            .setting("timezone", "UTC")
            .start()
            .unwrap_or_else(|error| panic!("{error:#}"))
    });
    cluster.sql(&format!("create database {database}"))?;
    cluster.session_with(&SessionOptions { database: database.to_owned(), ..SessionOptions::default() })
}

/// A text as a literal, or NULL.
pub(crate) fn literal(text: Option<&str>) -> String {
    text.map_or("NULL".to_owned(), |text| format!("'{}'", text.replace('\'', "''")))
}

/// What the statement gives: its rows as text, or the SQLSTATE.
pub(crate) fn run(session: &mut Session, statement: &Statement) -> Result<String> {
    let types = types(session, statement)?;
    let reply = if statement.sql.starts_with("CALL ") {
        session.run(&inlined(statement, &types))?
    } else {
        execute(session, statement, &types)?
    };
    Ok(match reply.error() {
        Some(error) => error.sqlstate.clone().unwrap_or_default(),
        None => {
            let cell = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "NULL".to_owned());
            let row = |row: &Vec<Option<String>>| row.iter().map(cell).collect::<Vec<_>>().join("|");
            reply.rows.iter().map(row).collect::<Vec<_>>().join("\n")
        }
    })
}

/// The names of the parameters' types. In a fixture an oid is made from the name.
pub(crate) fn types(session: &mut Session, statement: &Statement) -> Result<Vec<String>> {
    let names = session
        .run(
            "select pg_catalog.concat(pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(t.typname))
               from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) t.typnamespace",
        )?
        .ok()?;
    let names: Vec<&String> = names.rows.iter().flatten().flatten().collect();
    // A fixture may write a name that Postgres quotes (`numeric`) without its quotes.
    let is =
        |name: &str, of: &ValueType| [name, &name.replace('"', "")].iter().any(|name| oid(name) == of.oid);
    let name = |of: &ValueType| names.iter().find(|name| is(name, of)).map(|name| (*name).clone());
    statement
        .types
        .iter()
        .map(|of| name(of).with_context(|| format!("no type has the oid {}", of.oid)))
        .collect()
}

fn execute(session: &mut Session, statement: &Statement, types: &[String]) -> Result<cluster::Reply> {
    let in_parentheses = |list: Vec<String>| match list.is_empty() {
        true => String::new(),
        false => format!("({})", list.join(", ")),
    };
    let values = statement.parameters.iter().map(|text| literal(text.as_deref())).collect();
    let prepared =
        session.run(&format!("prepare call{} as {}", in_parentheses(types.to_vec()), statement.sql))?;
    if prepared.error().is_some() {
        return Ok(prepared);
    }
    let reply = session
        .run(&format!("set standard_conforming_strings = on; execute call{}", in_parentheses(values)))?;
    session.run("deallocate call")?.ok()?;
    Ok(reply)
}

/// CALL cannot be prepared in SQL.
fn inlined(statement: &Statement, types: &[String]) -> String {
    let mut parts = statement.sql.split('$');
    let mut sql = parts.next().unwrap_or_default().to_owned();
    for (part, (text, of)) in parts.zip(statement.parameters.iter().zip(types)) {
        let behind = part.trim_start_matches(|c: char| c.is_ascii_digit());
        sql.push_str(&format!("{}::{of}{behind}", literal(text.as_deref())));
    }
    sql
}

#[derive(Default)]
pub(crate) struct Findings(Vec<String>);

impl Findings {
    pub(crate) fn expect(&mut self, what: &str, found: &str, wanted: &str) {
        if found != wanted {
            self.0.push(format!("{what}\n     found {found:?}\n    wanted {wanted:?}"));
        }
    }

    pub(crate) fn report(self) -> Result<()> {
        ensure!(self.0.is_empty(), "{} wrong:\n{}", self.0.len(), self.0.join("\n"));
        Ok(())
    }
}
