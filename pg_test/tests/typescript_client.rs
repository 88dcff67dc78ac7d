//! `sse.typescript_client()` (C7.7): the client of a schema with everything is made by SQL, compiles under
//! the strictest flags, pleases the recommended linter, and is run by Node against the gateway.
//!
//! Not for the text of it, nor for names: crates/client/tests.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use cluster::{Cluster, SessionOptions, has_node, skip};
use common::calls::{ROLE, builder, ready, start};
use common::everything::{SCHEMA, with_everything};
use common::node;

/// A folder with the client in it, beside the packages that the tools are in.
fn folder(name: &str, client: &str) -> Result<PathBuf> {
    let folder = node::folder("pg_test/node", name)?;
    fs::write(folder.join("client.ts"), client)?;
    Ok(folder)
}

const STRICT: [&str; 12] = [
    "node_modules/typescript/bin/tsc",
    "--strict",
    "--exactOptionalPropertyTypes",
    "--noUncheckedIndexedAccess",
    "--noImplicitOverride",
    "--noUnusedLocals",
    "--noUnusedParameters",
    "--erasableSyntaxOnly",
    "--target",
    "es2020",
    "--module",
    "nodenext",
];

fn compiles(folder: &Path, files: &[&str]) -> Result<()> {
    let mut arguments = STRICT.to_vec();
    let paths: Vec<String> = files.iter().map(|file| folder.join(file).display().to_string()).collect();
    arguments.extend(paths.iter().map(String::as_str));
    node::run_beside(folder, &arguments)
}

#[test]
fn the_client_of_a_schema_with_everything_compiles_and_does_what_it_says() -> Result<()> {
    if !has_node() {
        return skip(env!("CARGO_CRATE_NAME"), "Node with npm");
    }
    let cluster = with_everything()?;
    let client = cluster.sql("select sse.typescript_client()")?;
    let folder = folder("everything", &client)?;
    fs::copy(
        cluster::workspace_root().join("pg_test/node/client/everything.ts"),
        folder.join("everything.ts"),
    )?;
    compiles(&folder, &["everything.ts"])?;
    let client = folder.join("client.ts");
    node::run_beside(
        &folder,
        &["node_modules/eslint/bin/eslint.js", "--max-warnings", "0", &client.display().to_string()],
    )?;
    let http = cluster.http()?;
    let program = folder.join("everything.js").display().to_string();
    node::run_beside(&folder, &[&program, &http.url("")])
}

#[test]
fn it_compiles_without_calls_and_of_nothing() -> Result<()> {
    if !has_node() {
        return skip(env!("CARGO_CRATE_NAME"), "Node with npm");
    }
    let cluster = Cluster::builder().start()?;
    cluster.sql("create schema empty")?;
    cluster.sql(&SCHEMA.replace("\\n", "\n"))?;
    let without_calls = cluster.sql("select sse.typescript_client()")?;
    ensure!(!without_calls.contains("getVisits(") && without_calls.contains("createLiveEventSource("));
    for (name, client) in
        [("streams", without_calls), ("nothing", cluster.sql("select sse.typescript_client('empty')")?)]
    {
        let folder = folder(name, &client)?;
        compiles(&folder, &["client.ts"])?;
        let client = folder.join("client.ts").display().to_string();
        node::run_beside(&folder, &["node_modules/eslint/bin/eslint.js", "--max-warnings", "0", &client])?;
    }
    Ok(())
}

// Attack: a client tells what a role may not know.
#[test]
fn everybody_may_have_it_and_it_has_only_what_may_be_called() -> Result<()> {
    let cluster = with_everything()?;
    cluster.sql("create role nobody login")?;
    let mut session =
        cluster.session_with(&SessionOptions { user: "nobody".into(), ..SessionOptions::default() })?;
    let of_nobody = session.run("select sse.typescript_client()")?.ok()?.text();
    ensure!(of_nobody.contains("export function getVisits("), "{of_nobody}");
    ensure!(!of_nobody.contains("secret"), "{of_nobody}");
    let unknown = session.run("select sse.typescript_client('nowhere')")?;
    ensure!(unknown.sqlstate() == Some("3F000"), "{unknown:?}");
    // What a role may not read of the catalog it does not get this way either.
    cluster.sql("revoke select on pg_catalog.pg_enum from public")?;
    let refused = session.run("select sse.typescript_client()")?;
    ensure!(refused.sqlstate() == Some("42501"), "{refused:?}");
    Ok(())
}

/// The declarations of a client for what `sql` makes in an empty database.
fn client_of(sql: &str) -> Result<(Cluster, String)> {
    let cluster = start(builder())?;
    cluster.sql(sql)?;
    ready(&cluster)?;
    let client = cluster.sql("select sse.typescript_client('public')")?;
    Ok((cluster, client))
}

#[test]
fn an_enum_has_its_labels_up_to_a_thousand_and_types_are_within_types() -> Result<()> {
    let labels = |count: usize| (1..=count).map(|n| format!("'l{n}'")).collect::<Vec<_>>().join(", ");
    let enums: Vec<String> = [999, 1000, 1001]
        .map(|count| {
            format!(
                "create type e{count} as enum ({}); create domain d{count} as e{count}[];
                 create function f{count}(x d{count}) returns e{count} language sql stable as 'select x[1]';
                 comment on function f{count} is 'HTTP POST';",
                labels(count)
            )
        })
        .into();
    let (_cluster, client) = client_of(&enums.join(" "))?;
    for (count, wanted) in [(999, "\"l998\" | \"l999\";"), (1000, "\"l999\" | \"l1000\";")] {
        let line = client.lines().find(|line| line.starts_with(&format!("export type E{count} = ")));
        ensure!(line.is_some_and(|line| line.ends_with(wanted)), "{line:?}");
        ensure!(client.contains(&format!("export type D{count} = (E{count} | null)[];")));
    }
    ensure!(
        !client.contains("E1001") && client.contains("export type D1001 = (string | null)[];"),
        "{client}"
    );
    Ok(())
}

#[test]
fn a_client_with_too_many_columns_is_refused_and_one_of_a_schema_is_made() -> Result<()> {
    let row = |name: usize| {
        let columns: Vec<String> = (0..1000).map(|n| format!("c{n} int")).collect();
        format!(
            "create type wide.t{name} as ({}); create function wide.f{name}() returns wide.t{name} language sql stable as 'select null::wide.t{name}';
             comment on function wide.f{name}() is 'HTTP GET';",
            columns.join(", ")
        )
    };
    let rows: Vec<String> = (0..101).map(row).collect();
    let (cluster, client) =
        client_of(&format!("create schema wide; grant usage on schema wide to {ROLE}; {}", rows.join(" ")))?;
    ensure!(client.contains("callReady("), "{client}");
    let mut session = cluster.session()?;
    let refused = session.run("select sse.typescript_client()")?;
    ensure!(refused.sqlstate() == Some("54000"), "{refused:?}");
    let ended = session.run("set statement_timeout = 1; select sse.typescript_client()")?;
    ensure!(ended.sqlstate() == Some("57014"), "{ended:?}");
    // A hundred of them are 100,000 columns.
    cluster.sql("drop function wide.f100()")?;
    ensure!(cluster.sql("select sse.typescript_client('wide')")?.contains("export interface T99 {"));
    Ok(())
}
