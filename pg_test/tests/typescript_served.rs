//! `sse.serve_client`: how the client at the URL prefix is made anew, whatever hinders it.
//!
//! Not for what it follows: `documents_served.rs`; nor for what is in it: `typescript_client.rs`; nor for who
//! may fetch it: crates/gateway/tests/client_file.rs.

mod common;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, PATIENCE, Session, SessionOptions, wait_for};

use common::calls::{Api, builder, start};
use common::changes::trigger;
use common::served::{eventually, has};
use common::{announcer, freeze_gateway, status};

#[test]
fn a_client_that_is_too_large_is_not_served_and_routes_are_as_ever() -> Result<()> {
    let cluster = start(builder().setting("sse.serve_client", "on"))?;
    let api = Api::of(&cluster, "wide")?;
    let columns: Vec<String> = (0..1000).map(|n| format!("c{n} int")).collect();
    let row = |n: usize| {
        format!(
            "create type t{n} as ({}); create function f{n}() returns t{n} language sql stable as 'select null::wide.t{n}';
             comment on function f{n}() is 'HTTP GET'",
            columns.join(", ")
        )
    };
    api.sql(&(0..101).map(row).collect::<Vec<_>>().join("; "))?;
    eventually(&cluster, "/api/client.ts", "it is too large", |status, text| {
        status == 503 && text.contains("too large")
    })?;
    ensure!(api.get("f100")?.status() == 204);
    api.sql("drop function f100()")?;
    eventually(&cluster, "/api/client.ts", "it is made again", |status, _| status == 200).map(drop)
}

#[test]
fn a_client_whose_making_fails_is_made_later_and_routes_are_there_at_once() -> Result<()> {
    let cluster = start(builder().setting("sse.serve_client", "on"))?;
    let api = Api::of(&cluster, "failing")?;
    eventually(&cluster, "/api/client.ts", "the first client", has("callReady"))?;
    // Nobody but who makes a client reads this.
    let mut holder = cluster.session()?;
    holder.run("begin; lock pg_catalog.pg_enum in access exclusive mode")?.ok()?;
    api.sql("create function f() returns void language sql as ''; comment on function f() is 'HTTP POST'")?;
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity where backend_type = 'pg_sse catalog' and wait_event_type = 'Lock'";
    let mark = cluster.log_mark()?;
    cluster.comes_to(PATIENCE, "the reading is ended", end, "1")?;
    cluster.wait_for_log(mark, "the worker that reads the routines left before it was done")?;
    ensure!(api.post("f", &serde_json::json!({}))?.status() == 204);
    holder.run("rollback")?.ok()?;
    eventually(&cluster, "/api/client.ts", "the routine", has("function f(")).map(drop)
}

/// Attack: somebody fetches the client at the moment at which another database takes the name of the served
/// one, to learn what there is in the first.
#[test]
fn a_client_never_comes_from_the_database_that_was_served_before() -> Result<()> {
    let cluster = Cluster::builder()
        .setting("sse.database", "shop")
        .setting("sse.serve_client", "on")
        .without_extension()
        .start()?;
    for (database, routine) in [("shop", "secret_plan"), ("spare", "fresh")] {
        cluster.sql(&format!("create database {database}"))?;
        // A table's columns have types, which are read for a client.
        let table = format!("create table t (n int primary key); {}", trigger("t", "'all'"));
        let stream = announcer(routine, "@sse\n@sse_topic public.t");
        cluster.sql_in(database, &format!("create extension pg_sse; {table} {stream}"))?;
    }
    let client = || -> Option<(u16, String)> {
        // The port may be another one, and for a moment nobody listens.
        let answer = cluster.http_in("shop").and_then(|http| http.get("/api/client.ts")).ok()?;
        Some((answer.status(), answer.text()))
    };
    let eventually = |what: &str, is_so: &dyn Fn(u16, &str) -> bool| {
        wait_for(PATIENCE, what, || Ok(client().filter(|(status, text)| is_so(*status, text)).map(drop)))
    };
    eventually("the first client", &has("SecretPlan"))?;
    let reads = "select count(*) from pg_stat_activity where backend_type = 'pg_sse catalog'";
    cluster.comes_to(PATIENCE, "nobody reads", reads, "0")?;
    // The gateway finds both databases with their new names, and the lock.
    let frozen = freeze_gateway(&cluster)?;
    cluster.sql("alter database shop rename to other")?;
    cluster.sql("alter database spare rename to shop")?;
    // Nobody but who makes a client reads this: so there are routes, and no client yet.
    let options = SessionOptions { database: "shop".to_owned(), ..SessionOptions::default() };
    let mut holder = cluster.session_with(&options)?;
    holder.run("begin; lock pg_catalog.pg_enum in access exclusive mode")?.ok()?;
    drop(frozen);
    wait_for(PATIENCE, "the routine is served", || {
        let answer = cluster.http_in("shop").and_then(|http| status(http, "/api/fresh/info"));
        Ok((answer.ok() == Some(200)).then_some(()))
    })?;
    // Whatever was answered while the first database was still served is after this.
    for _ in 0..20 {
        let (status, text) = client().context("somebody listens")?;
        ensure!(status == 503, "{status} {text}");
    }
    holder.run("rollback")?.ok()?;
    eventually("the second client", &has("Fresh"))?;
    let (_, text) = client().context("somebody listens")?;
    ensure!(!text.contains("SecretPlan"), "{text}");
    Ok(())
}

/// Nobody but who makes a client waits for the lock of this session.
fn hold_files(cluster: &Cluster) -> Result<Session> {
    let mut holder = cluster.session()?;
    holder.run("begin; lock pg_catalog.pg_enum in access exclusive mode")?.ok()?;
    Ok(holder)
}

const MAKES_FILES: &str = "select count(*) from pg_stat_activity where backend_type = 'pg_sse catalog' and wait_event_type = 'Lock'";

/// Attack: somebody sees to it that the files for clients take long to make, and reads for as long a stream
/// that was closed to him meanwhile.
#[test]
fn a_route_that_is_closed_while_files_are_made_does_not_wait_for_them() -> Result<()> {
    let cluster = start(builder().setting("sse.serve_client", "on"))?;
    cluster.sql(&announcer("news", "@sse"))?;
    eventually(&cluster, "/api/client.ts", "the first client", has("News"))?;
    let mut holder = hold_files(&cluster)?;
    let http = cluster.http()?;
    for n in 0..3 {
        cluster.sql(&announcer(&format!("open{n}"), "@sse"))?;
        if n == 0 {
            cluster.comes_to(PATIENCE, "files are made", MAKES_FILES, "1")?;
        }
        ensure!(status(http, &format!("/api/open{n}/info"))? == 200, "open{n}");
    }
    cluster.sql("comment on function news is E'@sse\n@authorize'")?;
    wait_for(PATIENCE, "the stream is closed to strangers", || {
        Ok((status(http, "/api/news/info")? == 401).then_some(()))
    })?;
    // The client is still that of before, and one worker makes files.
    ensure!(cluster.sql(MAKES_FILES)?.trim() == "1");
    ensure!(!http.get("/api/client.ts")?.text().contains("Open2"));
    holder.run("rollback")?.ok()?;
    eventually(&cluster, "/api/client.ts", "the last client", has("Open2")).map(drop)
}

/// Where there is no place for another worker, the one that makes files gives way.
#[test]
fn a_worker_that_makes_files_leaves_its_place_to_one_that_reads_routines() -> Result<()> {
    // The gateway, two call workers, one that reads; Postgres' own launcher is off.
    let cluster = start(
        builder()
            .setting("sse.serve_client", "on")
            .setting("max_worker_processes", "4")
            .setting("max_logical_replication_workers", "0"),
    )?;
    eventually(&cluster, "/api/client.ts", "the first client", |status, _| status == 200)?;
    let mut holder = hold_files(&cluster)?;
    cluster.sql(&announcer("news", "@sse"))?;
    cluster.comes_to(PATIENCE, "files are made", MAKES_FILES, "1")?;
    let mark = cluster.log_mark()?;
    cluster.sql("comment on function news is E'@sse\n@authorize'")?;
    let http = cluster.http()?;
    wait_for(PATIENCE, "the stream is closed to strangers", || {
        Ok((status(http, "/api/news/info")? == 401).then_some(()))
    })?;
    let said = cluster.log_since(mark)?;
    ensure!(!said.contains("no background worker is free"), "{said}");
    holder.run("rollback")?.ok()?;
    eventually(&cluster, "/api/client.ts", "the last client", has("News")).map(drop)
}

/// A gateway that was held up hears of both workers at once.
#[test]
fn files_that_were_made_count_although_a_later_worker_has_left_since() -> Result<()> {
    let cluster = start(builder().setting("sse.serve_client", "on"))?;
    cluster.sql(&announcer("news", "@sse"))?;
    eventually(&cluster, "/api/client.ts", "the first client", has("News"))?;
    let workers = |what: &str, count: &str, condition: &str| {
        let query = format!(
            "select count(*) from pg_stat_activity where backend_type = 'pg_sse catalog' {condition}"
        );
        cluster.comes_to(PATIENCE, what, &query, count)
    };
    let waits = "and wait_event_type = 'Lock'";
    let mut files = hold_files(&cluster)?;
    cluster.sql(&announcer("other", "@sse"))?;
    workers("files are made", "1", waits)?;
    let mut routines = cluster.session()?;
    routines.run("begin; lock pg_catalog.pg_extension in access exclusive mode")?.ok()?;
    cluster.sql("alter function news rename to later")?;
    workers("routines are read", "2", waits)?;
    let mark = cluster.log_mark()?;
    let frozen = freeze_gateway(&cluster)?;
    files.run("rollback")?.ok()?;
    workers("the files are made", "1", "")?;
    routines.run("rollback")?.ok()?;
    workers("the routines are read", "0", "")?;
    drop(frozen);
    eventually(&cluster, "/api/client.ts", "the last client", has("Later"))?;
    let log = cluster.log_since(mark)?;
    ensure!(!log.contains("left before it was done"), "{log}");
    Ok(())
}

/// Two workers at once, as a stopped gateway leaves them behind. That late parts are dropped in whatever
/// order they come is proven in `src/worker/gateway/courier/tests/parts.rs`.
#[test]
fn parts_of_the_files_of_two_workers_are_never_mixed() -> Result<()> {
    let cluster = start(builder().setting("sse.serve_client", "on"))?;
    // Some hundred parts.
    cluster.sql(
        "do $$ begin for n in 1 .. 400 loop
             execute format('create function many%s() returns void language sql return null', n);
             execute format('comment on function many%s() is %L', n, repeat('prose ', 300) || E'\nHTTP POST');
         end loop; end $$",
    )?;
    eventually(&cluster, "/api/client.ts", "the first client", has("many400"))?;
    for round in 0..3 {
        let mut holder = hold_files(&cluster)?;
        cluster.sql(&announcer(&format!("round{round}"), "@sse"))?;
        wait_for(
            PATIENCE,
            "one makes files",
            || Ok((cluster.sql(MAKES_FILES)?.trim() == "1").then_some(())),
        )?;
        // The gateway that comes has a worker of its own; the one of the gateway before is still there.
        let gateway = common::gateway_pid(&cluster)?;
        cluster.sql(&format!("select pg_terminate_backend({gateway})"))?;
        cluster.comes_to(PATIENCE, "two make files", MAKES_FILES, "2")?;
        holder.run("rollback")?.ok()?;
        let reads = "select count(*) from pg_stat_activity where backend_type = 'pg_sse catalog'";
        cluster.comes_to(PATIENCE, "both have left", reads, "0")?;
        let served = eventually(&cluster, "/api/client.ts", "the client", has(&format!("Round{round}")))?;
        let made = cluster.sql("select sse.typescript_client()")?;
        ensure!(
            served.trim_end() == made.trim_end(),
            "round {round}: {} of {} bytes",
            served.len(),
            made.len()
        );
    }
    Ok(())
}

#[test]
fn the_client_follows_the_triggers_and_keys_of_the_tables_that_streams_tell() -> Result<()> {
    let cluster = start(builder().setting("sse.serve_client", "on"))?;
    let api = Api::of(&cluster, "told")?;
    api.sql(
        "create function parcels() returns void language sql as '';
         comment on function parcels() is E'@sse\n@sse_topic told.parcel'",
    )?;
    let client = |what: &str, is_so: &dyn Fn(&str) -> bool| {
        eventually(&cluster, "/api/client.ts", what, |status, text| status == 200 && is_so(text)).map(drop)
    };
    client("the stream", &|text| text.contains("parcelsStream"))?;
    // Nothing of a routine changes from here on.
    api.sql("create table parcel (id int, weight int not null)")?;
    api.sql(&trigger("told.parcel", "'all'"))?;
    client("a trigger", &|text| text.contains("ParcelsChange = RowChange<ParcelsColumns, never>"))?;
    api.sql("alter table parcel add primary key (id)")?;
    client("a key", &|text| text.contains("Pick<ParcelsColumns, \"id\">"))?;
    api.sql("alter table parcel add column town text")?;
    client("a column", &|text| text.contains("town: string | null"))?;
    api.sql("alter table parcel disable trigger all")?;
    client("no trigger", &|text| !text.contains("ParcelsChange"))?;
    api.sql("alter table parcel enable trigger all")?;
    client("the trigger again", &|text| text.contains("ParcelsChange"))?;
    api.sql(
        "create role elsewhere; alter table parcel owner to elsewhere; alter function parcels() owner to app",
    )?;
    client("another owner", &|text| !text.contains("ParcelsChange"))?;
    api.sql("alter function parcels() owner to elsewhere")?;
    client("the same owner", &|text| text.contains("ParcelsChange"))?;
    api.sql("alter table parcel rename to package")?;
    client("another name", &|text| !text.contains("ParcelsChange"))?;
    api.sql("alter table package rename to parcel")?;
    client("its name again", &|text| text.contains("ParcelsChange"))?;
    api.sql("drop table parcel")?;
    client("no table", &|text| !text.contains("ParcelsChange"))?;
    // A dot may stand in a name.
    api.sql(
        "create function lots() returns void language sql as '';
         comment on function lots() is E'@sse\n@sse_topic told.lot.of.it'",
    )?;
    client("the other stream", &|text| text.contains("lotsStream"))?;
    api.sql("create table \"lot.of.it\" (id int primary key)")?;
    api.sql(&trigger("told.\"lot.of.it\"", "'all'"))?;
    client("its table", &|text| text.contains("LotsChange"))
}
