//! Two databases of one cluster that both want pg_sse: one is served, the other is told so, and nothing of
//! the one reaches the other (docs/operations.md, "Two databases").

mod common;

use anyhow::{Result, ensure};
use cluster::{Cluster, SessionOptions, wait_for, wait_until};
use common::{SOON, announcer, figure, status};

const OTHER: &str = "second";

/// Both databases have the extension and the same routine, table and trigger.
fn cluster_of_two() -> Result<Cluster> {
    let cluster = Cluster::builder().start()?;
    cluster.sql(&format!("create database {OTHER}"))?;
    cluster.sql_in(OTHER, "create extension pg_sse")?;
    let application = format!(
        "{} create table t (id int primary key);
         create trigger t after insert on t for each row execute function sse.publish_change('all');",
        announcer("f", "@sse")
    );
    cluster.sql(&application)?;
    cluster.sql_in(OTHER, &application)?;
    Ok(cluster)
}

fn session_in_other(cluster: &Cluster) -> Result<cluster::Session> {
    cluster.session_with(&SessionOptions { database: OTHER.to_owned(), ..SessionOptions::default() })
}

#[test]
fn of_two_databases_with_pg_sse_the_named_one_is_served_and_the_other_publishes_nothing() -> Result<()> {
    let cluster = cluster_of_two()?;
    let http = cluster.http()?;
    let mut stream = http.events("/api/f/info?topic=public.t")?.begun()?;
    let mut everything = http.events("/api/f/info")?.begun()?;
    let before = figure(&cluster, "stat_ring", "records_total")?;

    let mut other = session_in_other(&cluster)?;
    let reply = other.run("select f('x'); insert into t values (1); select sse.publish('x')")?.ok()?;
    let warnings = reply.texts("WARNING");
    ensure!(warnings.len() == 1 && warnings[0].contains("does nothing here"), "once: {warnings:?}");
    assert_eq!(reply.texts("INFO"), ["x"], "an ordinary message");
    let reply = other.run("insert into t values (2); select sse.publish('x')")?.ok()?;
    assert_eq!(reply.texts("WARNING"), Vec::<&str>::new(), "said once for each session");
    let after = figure(&cluster, "stat_ring", "records_total")?;
    assert_eq!(before, after, "nothing was pushed");

    // What comes next is of the served database.
    cluster.sql("select f('mine'); insert into t values (3)")?;
    assert_eq!(everything.next_payload(SOON)?.data, "mine");
    ensure!(stream.next_payload(SOON)?.data.contains("\"id\":3"), "its own row");
    Ok(())
}

#[test]
fn comments_of_the_other_database_mean_nothing_and_it_sees_the_one_gateway() -> Result<()> {
    let cluster = cluster_of_two()?;
    let port = wait_for(SOON, "it serves", || {
        let port = cluster.sql("select port from sse.stat_gateway where state = 'serving'")?;
        Ok((!port.is_empty()).then_some(port))
    })?;
    let served = || cluster.sql_in(OTHER, "select state, port from sse.stat_gateway");
    wait_until(SOON, "it sees that one serving", || {
        served().is_ok_and(|it| it == format!("serving|{port}"))
    })?;
    let mut other = session_in_other(&cluster)?;
    let comment = "comment on function f(text) is E'@sse\\n@authorise'";
    let reply = other.run(comment)?.ok()?;
    assert_eq!(reply.texts("WARNING"), Vec::<&str>::new(), "comments mean nothing here");
    let found = other.run("select * from sse.check(E'@sse\\n@authorise'::text)")?.ok()?;
    ensure!(found.text().contains("authorise"), "a comment can be checked anywhere: {}", found.text());
    let endpoints = other.run("select url, problem from sse.endpoints")?.ok()?;
    ensure!(endpoints.text().contains("authorise"), "{}", endpoints.text());
    assert_eq!(status(cluster.http()?, "/api/f/info")?, 200, "of the served one");
    Ok(())
}

#[test]
fn dropping_the_extension_of_the_other_database_ends_no_stream() -> Result<()> {
    let cluster = cluster_of_two()?;
    let mut stream = cluster.http()?.events("/api/f/info")?.begun()?;
    cluster.sql_in(OTHER, "drop extension pg_sse cascade")?;
    cluster.sql(&format!("drop database {OTHER}"))?;
    cluster.sql("select f('still here')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "still here");
    Ok(())
}
