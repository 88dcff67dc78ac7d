//! Running the statements of calls by hand, on a server without pg_sse.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, Session, SessionOptions};
use sse_proto::call::Statement;

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
    let mut parameters = statement.parameters.clone();
    if let Some((sql, given)) = &statement.convert {
        let reply = execute(session, sql, given)?;
        if let Some(error) = reply.error() {
            return Ok(error.sqlstate.clone().unwrap_or_default());
        }
        let row = reply.rows.first().context("the conversion gives no row")?;
        ensure!(row.len() == statement.converted.len(), "{row:?}");
        for (position, text) in statement.converted.iter().zip(row) {
            parameters[*position].clone_from(text);
        }
    }
    let reply = if statement.sql.starts_with("CALL ") {
        session.run(&inlined(&statement.sql, &parameters))?
    } else {
        execute(session, &statement.sql, &parameters)?
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

fn execute(session: &mut Session, sql: &str, parameters: &[Option<String>]) -> Result<cluster::Reply> {
    let types = vec!["text"; parameters.len()].join(", ");
    let types = if types.is_empty() { types } else { format!("({types})") };
    let values: Vec<String> = parameters.iter().map(|text| literal(text.as_deref())).collect();
    let values = if values.is_empty() { String::new() } else { format!("({})", values.join(", ")) };
    let prepared = session.run(&format!("prepare call{types} as {sql}"))?;
    if prepared.error().is_some() {
        return Ok(prepared);
    }
    let reply = session.run(&format!("set standard_conforming_strings = on; execute call{values}"))?;
    session.run("deallocate call")?.ok()?;
    Ok(reply)
}

/// CALL cannot be prepared in SQL. Highest numbers first: `$1` is also the beginning of `$12`.
fn inlined(sql: &str, parameters: &[Option<String>]) -> String {
    let numbered = parameters.iter().enumerate().rev();
    numbered.fold(sql.to_owned(), |sql, (position, text)| {
        sql.replace(&format!("${}::", position + 1), &format!("{}::text::", literal(text.as_deref())))
    })
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
