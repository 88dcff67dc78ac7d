//! Triggers of `sse.publish_change()` that are refused when they are made, and what becomes of those that go
//! bad later (C3.5).

mod common;

use std::fs;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, SessionOptions};
use common::changes::{next, trigger};
use common::{Corner, figure};
use serde_json::json;

// Long because it is one list of triggers.
#[test]
fn a_trigger_that_could_not_publish_is_refused_when_it_is_made() -> Result<()> {
    let corner = Corner::new("refused")?;
    corner.sql(
        "create table t (id int primary key, \"Name\" text); create view v as select * from t;
         create table p (id int) partition by list (id);
         create table e'new\\nline' (id int);"
            .replace("e'new\\nline'", "\"new\nline\"")
            .as_str(),
    )?;
    let after = "create trigger x after insert or update or delete on t for each row execute function";
    for (statement, sqlstate, says) in [
        (
            "create trigger x before insert on t for each row execute function sse.publish_change()".to_owned(),
            "42P17",
            "by a BEFORE trigger",
        ),
        (
            "create trigger x instead of insert on v for each row execute function sse.publish_change()".to_owned(),
            "42P17",
            "by an INSTEAD OF trigger",
        ),
        (
            "create trigger x after insert on t for each statement execute function sse.publish_change()".to_owned(),
            "42P17",
            "by a trigger FOR EACH STATEMENT",
        ),
        (
            "create trigger x before insert on t execute function sse.publish_change()".to_owned(),
            "42P17",
            "FOR EACH STATEMENT",
        ),
        (
            "create trigger x after truncate on t execute function sse.publish_change()".to_owned(),
            "42P17",
            "by a trigger for TRUNCATE",
        ),
        (format!("{after} sse.publish_change('everybody')"), "22023", "not a scope"),
        (format!("{after} sse.publish_change('')"), "22023", "expected"),
        (format!("{after} sse.publish_change('authorize ')"), "22023", "expected a value"),
        (format!("{after} sse.publish_change('authorise admin')"), "22023", "not a scope"),
        (format!("{after} sse.publish_change('all', 'nothing')"), "42703", "refused.t has no column \"nothing\""),
        (format!("{after} sse.publish_change('all', 'name')"), "42703", "no column \"name\""),
        (format!("{after} sse.publish_change('all', 'ctid')"), "42703", "no column \"ctid\""),
        (format!("{after} sse.publish_change('all', 'id', 'Name', 'id')"), "42701", "\"id\" is named twice"),
        (
            "create constraint trigger x after insert on t deferrable for each row execute function sse.publish_change('x')"
                .to_owned(),
            "22023",
            "not a scope",
        ),
        (
            "create trigger x after insert on p for each row execute function sse.publish_change('all', 'y')".to_owned(),
            "42703",
            "no column \"y\"",
        ),
        (
            "create trigger x after insert on \"new\nline\" for each row execute function sse.publish_change()".to_owned(),
            "42602",
            "cannot be a topic",
        ),
        (
            "do $$ begin execute 'create trigger x after insert on t for each row execute function sse.publish_change(''x'')'; end $$"
                .to_owned(),
            "22023",
            "not a scope",
        ),
        (
            "create schema refused_too create table u (id int)
             create trigger x after insert on u for each row execute function sse.publish_change('x')"
                .to_owned(),
            "22023",
            "not a scope",
        ),
        ("select sse.publish_change()".to_owned(), "39P01", "by a trigger only"),
    ] {
        let reply = corner.run(&statement)?;
        let error = reply.error().with_context(|| format!("accepted: {statement}"))?;
        assert_eq!(error.sqlstate.as_deref(), Some(sqlstate), "{statement}: {error:?}");
        ensure!(error.text.contains(says), "{statement}: {error:?}");
    }
    let made = "select count(*) from pg_trigger where tgname = 'x'";
    assert_eq!(corner.sql(made)?, "0");
    corner.sql(&format!("{after} sse.publish_change('all', 'Name')"))?;
    let replaced =
        corner.run(&format!("{} sse.publish_change('x')", after.replace("create", "create or replace")))?;
    ensure!(replaced.error().is_some(), "a bad scope replaced a good one");
    let mut stream = corner.changes(&["t"])?;
    corner.sql("insert into t values (1, 'as before')")?;
    assert_eq!(next(&mut stream)?.1["new"], json!({"Name": "as before"}));
    Ok(())
}

#[test]
fn a_trigger_in_an_extensions_script_is_looked_at_too() -> Result<()> {
    let corner = Corner::new("scripted")?;
    let folder = corner.cluster.install().pg_config().sharedir.join("extension");
    for (version, scope) in [("1", "nobody at all"), ("2", "all")] {
        fs::write(folder.join("makes_trigger.control"), format!("default_version = '{version}'\n"))?;
        fs::write(
            folder.join(format!("makes_trigger--{version}.sql")),
            format!(
                "create table of_extension (id int primary key); {}",
                trigger("of_extension", &format!("'{scope}'"))
            ),
        )?;
    }
    let refused = corner.run("create extension makes_trigger version '1'")?;
    let error = refused.error().context("a bad scope was accepted")?;
    assert_eq!(error.sqlstate.as_deref(), Some("22023"), "{error:?}");
    corner.sql("create extension makes_trigger version '2'")?;
    let mut stream = corner.changes(&["of_extension"])?;
    corner.sql("insert into of_extension values (1)")?;
    assert_eq!(next(&mut stream)?.1["key"]["id"], json!(1));
    Ok(())
}

/// Attack: a role that nobody gave the function publishes the rows of its own table to everybody.
#[test]
fn only_who_may_execute_the_function_makes_such_a_trigger_and_everybody_fires_it() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let corner = Corner::of(&cluster, "granted")?;
    cluster.sql(
        "create role maker login; create role writer login; grant all on schema granted to maker;
         grant usage on schema granted to writer",
    )?;
    let options = format!("-c sse.execution_id={0} -c search_path={0}", corner.name);
    let as_user = |user: &str| {
        cluster.session_with(&SessionOptions {
            user: user.to_owned(),
            options: options.clone(),
            ..SessionOptions::default()
        })
    };
    let mut maker = as_user("maker")?;
    maker.run("create table t (id int primary key); grant insert on t to writer")?.ok()?;
    let refused = maker.run(&trigger("t", "'all'"))?;
    assert_eq!(refused.sqlstate(), Some("42501"));
    cluster.sql("grant execute on function sse.publish_change() to maker")?;
    maker.run(&trigger("t", "'all'"))?.ok()?;
    let mut stream = corner.changes(&["t"])?;
    as_user("writer")?.run("insert into t values (1)")?.ok()?;
    assert_eq!(next(&mut stream)?.1["new"], json!({"id": 1}));
    Ok(())
}

#[test]
fn a_trigger_that_goes_bad_publishes_nothing_is_counted_and_said_once() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let corner = Corner::of(&cluster, "bad")?;
    corner.sql(&format!(
        "create table t (id int primary key, a int, b int); create table other (id int); {}{}",
        trigger("t", "'all', 'a'"),
        trigger("other", "'all'"),
    ))?;
    let mut stream = corner.changes(&["t", "other"])?;
    let unfit = || figure(&cluster, "stat_ring", "unfit_trigger_total");
    let mut session = corner.session()?;
    session.run("insert into t values (1, 1, 1)")?.ok()?;
    assert_eq!(next(&mut stream)?.1["new"], json!({"a": 1}));

    let mark = cluster.log_mark()?;
    corner.sql("alter table t rename a to renamed")?;
    let reply = session.run("insert into t values (2, 2, 2), (3, 3, 3)")?.ok()?;
    ensure!(reply.messages.is_empty(), "{:?}", reply.messages);
    corner.sql("update t set b = 0 where id = 3")?;
    session.run("insert into other values (1)")?.ok()?;
    assert_eq!(next(&mut stream)?.1["table"], json!("other"), "nothing of t came");
    assert_eq!(unfit()?, 3);
    let said = "trigger \"t\" on bad.t publishes nothing: table bad.t has no column \"a\"";
    let log = cluster.wait_for_log(mark, said)?;
    assert_eq!(log.matches(said).count(), 1, "{log}");
    ensure!(!log.contains("insert into t"), "the log has the statement: {log}");

    // Mended, it publishes again, in the session that found it bad, too.
    corner.sql("alter table t rename renamed to a")?;
    session.run("delete from t where id = 2")?.ok()?;
    assert_eq!(next(&mut stream)?.1["old"], json!({"a": 2}));
    corner.sql("alter table t drop a")?;
    session.run("delete from t where id = 3")?.ok()?;
    assert_eq!(unfit()?, 4);

    // A change of the table in its own transaction, taken back.
    corner.sql("alter table t add a int")?;
    session.run("begin; alter table t drop a; update t set b = 5; rollback; update t set b = 6")?.ok()?;
    assert_eq!(next(&mut stream)?.1["new"], json!({"a": null}));
    assert_eq!(unfit()?, 5);

    // A name that no topic can have.
    session
        .run("alter table t rename to \"a\tb\"; update \"a\tb\" set b = 7; alter table \"a\tb\" rename to t")?
        .ok()?;
    assert_eq!(unfit()?, 6);
    session.run("insert into other values (2)")?.ok()?;
    assert_eq!(next(&mut stream)?.1["new"], json!({"id": 2}));
    Ok(())
}

#[test]
fn a_trigger_that_is_made_past_the_check_never_changes_what_its_statement_does() -> Result<()> {
    let corner = Corner::new("past")?;
    let before = figure(corner.cluster, "stat_ring", "unfit_trigger_total")?;
    // What a superuser does to the catalog is checked by nobody.
    corner.sql(
        "create table t (id int primary key, a int);
         create trigger b before insert or update or delete on t for each row
           execute function suppress_redundant_updates_trigger();
         create trigger s after insert on t for each statement execute function suppress_redundant_updates_trigger();
         update pg_trigger set tgfoid = 'sse.publish_change()'::regprocedure where tgrelid = 't'::regclass;
         alter table t disable trigger b; alter table t enable trigger b",
    )?;
    corner.sql(
        "insert into t values (1, 1), (2, 2); update t set a = 3 where id = 1; delete from t where id = 2",
    )?;
    assert_eq!(corner.sql("select id, a from t")?, corner.sql("select 1, 3")?);
    assert_eq!(figure(corner.cluster, "stat_ring", "unfit_trigger_total")?, before + 5);
    Ok(())
}

#[test]
fn an_extension_that_triggers_use_is_dropped_with_them_or_not_at_all() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    cluster.sql(&format!("create table t (id int primary key); {}", trigger("t", "'all'")))?;
    let mut session = cluster.session()?;
    let refused = session.run("drop extension pg_sse")?;
    assert_eq!(refused.sqlstate(), Some("2BP01"));
    session.run("drop extension pg_sse cascade; insert into t values (1)")?.ok()?;
    assert_eq!(cluster.sql("select count(*) from pg_trigger where tgrelid = 't'::regclass")?, "0");
    cluster.sql(&format!("create extension pg_sse; {}", trigger("t", "'all'")))?;
    let corner = Corner::of(&cluster, "anew")?;
    let mut stream = corner.topics(&["public.t".to_owned()])?;
    session.run("set sse.execution_id = 'anew'; insert into t values (2)")?.ok()?;
    assert_eq!(next(&mut stream)?.1["key"], json!({"id": 2}));
    Ok(())
}

#[test]
fn where_nothing_is_served_triggers_are_checked_and_break_nothing() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let table = "create table t (id int primary key);";
    cluster.sql(&format!("{table} {}", trigger("t", "'all', 'id'")))?;
    cluster.sql("create database unserved")?;
    // A dump is restored like any other.
    let dump = cluster.tool("pg_dump").args(["--table=t", "postgres"]).output()?;
    ensure!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    cluster.sql_in("unserved", "create extension pg_sse")?;
    cluster.script_in("unserved", &String::from_utf8_lossy(&dump.stdout))?;
    let mut session = cluster
        .session_with(&SessionOptions { database: "unserved".to_owned(), ..SessionOptions::default() })?;
    let first = session.run("insert into public.t values (1), (2)")?.ok()?;
    assert_eq!(first.texts("WARNING"), ["sse.publish_change does nothing here: this database is not served"]);
    ensure!(session.run("delete from public.t")?.ok()?.messages.is_empty(), "said twice");
    let refused = session.run(
        "create trigger u after insert on public.t for each row execute function sse.publish_change('x')",
    )?;
    assert_eq!(refused.sqlstate(), Some("22023"));
    assert_eq!(figure(&cluster, "stat_ring", "unfit_trigger_total")?, 0);
    Ok(())
}
