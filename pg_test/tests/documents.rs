//! `sse.openapi()` and `sse.asyncapi()` (C7.10): public validators take the documents of a schema with
//! everything, the gateway answers as they say, and a client that a public generator makes of one compiles
//! and calls.
//!
//! Not for the text of them, nor for names: crates/client/tests/documents.rs; nor for serving them:
//! documents_served.rs.

mod common;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, SessionOptions, has_node, skip};
use common::calls::{ROLE, builder, ready, start};
use common::everything::with_everything;
use common::node;
use serde_json::Value;

/// What the schema with everything has not.
const MORE: &str = "
    create type measure as (small int2, big int8, amount numeric, ratio float8, picture bytea, on_day date, at_time time,
                            local_time timestamp, at timestamptz, id uuid, span interval, flag boolean);
    create function measures() returns setof measure language sql stable as $$
        values (row(1, 9007199254740993, 1.50, 0.5, '\\x00ff', '2026-01-02', '03:04:05', '2026-01-02 03:04:05', '2026-01-02 03:04:05.6+00',
                    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '1 day', true)::measure) $$;
    comment on function measures() is 'HTTP GET';
    create function measured_at() returns timestamptz language sql stable as $$ select '2026-01-02 03:04:05+00'::timestamptz $$;
    comment on function measured_at() is 'HTTP GET';
    create function for_some(x int default 1) returns int language sql stable as 'select x';
    comment on function for_some(int) is 'For some.\n\nHTTP GET\n@authorize role:some';
    create function for_some(y text) returns jsonb language sql stable as 'select to_jsonb(y)';
    comment on function for_some(text) is 'Also for some.\n\nHTTP GET\n@authorize role:some';
    create function login(_name text) returns table (user_id int, user_name text) language sql as 'select 1, _name';
    comment on function login(text) is 'HTTP POST\n@login\n@anonymous';
    create function logout() returns void language sql as '';
    comment on function logout() is 'HTTP POST\n@logout\n@anonymous';
    create function news() returns void language sql as '';
    comment on function news() is 'News. <b>*/ evil() [x](javascript:evil())\n@sse\n@sse_topic news\n@sse_event told\n@authorize';
    create trigger tells after insert or update or delete on visits for each row execute function sse.publish_change('all');
    create function visit(page text) returns void language sql security definer as 'insert into visits (page) values (page)';
    comment on function visit(text) is 'HTTP POST';
";

fn cluster() -> Result<Cluster> {
    let cluster = with_everything()?;
    cluster.sql(&MORE.replace("\\n", "\n"))?;
    ready(&cluster)?;
    Ok(cluster)
}

/// A folder with the documents in it, beside the packages that the tools are in.
fn folder(name: &str, cluster: &Cluster, argument: &str) -> Result<PathBuf> {
    let folder = node::folder("pg_test/node_documents", name)?;
    for document in ["openapi", "asyncapi"] {
        let text = cluster.sql(&format!("select sse.{document}({argument})"))?;
        fs::write(folder.join(format!("{document}.json")), text)?;
    }
    Ok(folder)
}

#[test]
fn public_validators_take_the_documents_and_the_gateway_answers_as_they_say() -> Result<()> {
    if !has_node() {
        return skip(env!("CARGO_CRATE_NAME"), "Node with npm");
    }
    let cluster = cluster()?;
    cluster.sql("create schema empty; create schema \"odd 'schema'\"")?;
    let all = folder("everything", &cluster, "")?;
    let empty = folder("empty", &cluster, "'empty'")?;
    let odd = folder("odd", &cluster, "$$odd 'schema'$$")?;
    let mut folders = vec![all.clone(), empty, odd];
    let golden = cluster::workspace_root().join("crates/client/tests/golden");
    for name in ["chat", "everything", "more", "asking", "names", "nothing"] {
        let folder = all.with_file_name(format!("golden-{name}"));
        fs::create_dir_all(&folder)?;
        for document in ["openapi", "asyncapi"] {
            fs::copy(
                golden.join(format!("{name}.{document}.json")),
                folder.join(format!("{document}.json")),
            )?;
        }
        folders.push(folder);
    }
    let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let mut arguments = vec!["validate.mjs"];
    arguments.extend(folders.iter().map(String::as_str));
    node::run_beside(&all, &arguments)?;
    let document = all.join("openapi.json").display().to_string();
    node::run_beside(&all, &["answers.mjs", &cluster.http()?.url(""), &document])
}

fn parsed(cluster: &Cluster, call: &str) -> Result<Value> {
    let text = cluster.sql(&format!("select sse.{call}"))?;
    serde_json::from_str(&text).with_context(|| text)
}

// Attack: a document tells what a role may not know, or what a request does not tell.
#[test]
fn everybody_may_have_them_and_they_have_only_what_may_be_called() -> Result<()> {
    let cluster = cluster()?;
    cluster.sql(
        "create role nobody login;
         create function hidden() returns void language sql as ''; comment on function hidden() is '@sse_publish';
         create function broken() returns void language sql as ''; comment on function broken() is 'HTTP POST\n@sse\n@authorise';",
    )?;
    let mut session =
        cluster.session_with(&SessionOptions { user: "nobody".into(), ..SessionOptions::default() })?;
    for document in ["openapi", "asyncapi"] {
        let text = session.run(&format!("select sse.{document}()"))?.ok()?.text();
        ensure!(text.contains("\"/api/news/info\""), "{text}");
        for word in ["secret", "hidden", "broken", "role:some"] {
            ensure!(!text.contains(word), "{word}: {text}");
        }
        let unknown = session.run(&format!("select sse.{document}('nowhere')"))?;
        ensure!(unknown.sqlstate() == Some("3F000"), "{unknown:?}");
    }
    // Without calls there are streams alone.
    let silent = Cluster::builder().start()?;
    silent.sql(
        "create function f() returns void language sql as ''; comment on function f() is 'HTTP POST\n@sse'",
    )?;
    let openapi = parsed(&silent, "openapi()")?;
    let paths: Vec<&String> = openapi["paths"].as_object().context("no paths")?.keys().collect();
    ensure!(paths == ["/api/f/info"], "{paths:?}");
    Ok(())
}

// Attack: whoever may comment routines fills the document, so that nobody gets one.
#[test]
fn long_prose_is_cut_and_too_large_a_document_is_refused_with_a_hint() -> Result<()> {
    let cluster = start(builder())?;
    // 9 MB of prose, more than a document or a client may have.
    cluster.sql(&format!(
        "create schema wordy; grant usage on schema wordy to {ROLE};
         do $$ begin for n in 1 .. 150 loop
             execute format('create function wordy.f%s() returns void language sql return null', n);
             execute format('comment on function wordy.f%s() is %L', n, repeat('word ', 12000) || E'\\nHTTP POST');
         end loop; end $$"
    ))?;
    let paths = parsed(&cluster, "openapi()")?["paths"].as_object().map(serde_json::Map::len);
    ensure!(paths == Some(151), "{paths:?}");
    ensure!(cluster.sql("select sse.typescript_client()")?.contains("function f150("));

    cluster.sql(&format!(
        "create schema many; grant usage on schema many to {ROLE};
         do $$ begin for n in 1 .. 101 loop
             execute format('create type many.e%s as enum (%s)', n, (select string_agg(quote_literal(i), ',') from generate_series(1, 1000) as i));
             execute format('create function many.f%1$s(e many.e%1$s) returns void language sql return null', n);
             execute format('comment on function many.f%s is %L', n, 'HTTP POST');
         end loop; end $$"
    ))?;
    let mut session = cluster.session()?;
    for document in ["openapi", "asyncapi"] {
        let refused = session.run(&format!("select sse.{document}()"))?;
        let error = refused.error().context("no error")?;
        ensure!(error.sqlstate.as_deref() == Some("54000"), "{error:?}");
        let hint = format!("sse.{document}('schema')");
        ensure!(error.field("HINT").is_some_and(|said| said.contains(&hint)), "{error:?}");
    }
    let ended = session.run("set statement_timeout = 1; select sse.openapi()")?;
    ensure!(ended.sqlstate() == Some("57014"), "{ended:?}");
    parsed(&cluster, "openapi('wordy')").map(drop)
}

#[test]
fn a_client_that_a_public_generator_makes_compiles_and_calls() -> Result<()> {
    if !has_node() {
        return skip(env!("CARGO_CRATE_NAME"), "Node with npm");
    }
    let cluster = cluster()?;
    let folder = folder("client", &cluster, "")?;
    let [document, api, calls] =
        ["openapi.json", "api.ts", "calls.ts"].map(|name| folder.join(name).display().to_string());
    node::run_beside(&folder, &["node_modules/openapi-typescript/bin/cli.js", &document, "-o", &api])?;
    fs::copy(cluster::workspace_root().join("pg_test/node_documents/client/calls.ts"), &calls)?;
    node::run_beside(
        &folder,
        &[
            "node_modules/typescript/bin/tsc",
            "--strict",
            "--exactOptionalPropertyTypes",
            "--noUncheckedIndexedAccess",
            "--target",
            "es2022",
            "--module",
            "nodenext",
            &calls,
        ],
    )?;
    let program = folder.join("calls.js").display().to_string();
    node::run_beside(&folder, &[&program, &cluster.http()?.url("")])
}
