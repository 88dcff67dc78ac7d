//! Row changes of tables of every shape: partitions, heirs, odd names, many columns, changed definitions
//! (C3.5).

mod common;

use anyhow::{Result, ensure};
use cluster::http::{EventStream, StreamError};
use cluster::{Cluster, PATIENCE};
use common::changes::{next, trigger};
use common::{Corner, SOON, figure, has_extension};
use serde_json::json;

/// `operation table key new old` of the next change.
fn told(stream: &mut EventStream) -> Result<String> {
    let (name, data) = next(stream)?;
    Ok(format!("{name} {} {} {} {}", data["table"], data["key"], data["new"], data["old"]))
}

#[test]
fn partitions_tell_their_changes_under_the_table_that_the_trigger_was_made_on() -> Result<()> {
    let corner = Corner::new("parted")?;
    // Partitions with their columns in another order, a dropped one, a level more, and one that is attached.
    corner.sql(&format!(
        "create table t (id int, region text, a int, primary key (id, region)) partition by list (region);
         create table north (dropped int, a int, region text not null, id int not null);
         alter table north drop dropped;
         alter table t attach partition north for values in ('n');
         create table south partition of t for values in ('s') partition by range (id);
         create table south_low partition of south for values from (0) to (100);
         {}
         create table east (a int, id int not null, region text not null);
         alter table t attach partition east for values in ('e');",
        trigger("t", "'all'")
    ))?;
    let mut stream = corner.changes(&["t", "north", "south", "south_low", "east"])?;
    corner.sql("insert into t values (1, 'n', 10), (2, 's', 20)")?;
    corner.sql("insert into south_low values (3, 's', 30); insert into east values (50, 5, 'e')")?;
    let row = |id: i32, region: &str, a: i32| format!(r#"{{"id":{id},"region":"{region}","a":{a}}}"#);
    let key = |id: i32, region: &str| format!(r#"{{"id":{id},"region":"{region}"}}"#);
    for (id, region, a) in [(1, "n", 10), (2, "s", 20), (3, "s", 30), (5, "e", 50)] {
        let expected = format!(r#"insert "t" {} {} null"#, key(id, region), row(id, region, a));
        assert_eq!(told(&mut stream)?, expected);
    }
    // Into another partition: a change of the key, like any other.
    corner.sql("update t set region = 'n' where id = 2; update north set a = 11 where id = 1")?;
    assert_eq!(told(&mut stream)?, format!(r#"delete "t" {} null {}"#, key(2, "s"), row(2, "s", 20)));
    assert_eq!(told(&mut stream)?, format!(r#"insert "t" {} {} null"#, key(2, "n"), row(2, "n", 20)));
    let updated = format!(r#"update "t" {} {} {}"#, key(1, "n"), row(1, "n", 11), row(1, "n", 10));
    assert_eq!(told(&mut stream)?, updated);
    // A new name of the parent counts for rows of a partition at once.
    let mut session = corner.session()?;
    session.run("insert into east values (60, 6, 'e')")?.ok()?;
    told(&mut stream)?;
    corner.sql("alter table t rename to renamed")?;
    let mut renamed = corner.changes(&["renamed"])?;
    session.run("insert into east values (70, 7, 'e')")?.ok()?;
    assert!(told(&mut renamed)?.starts_with(r#"insert "renamed" {"id":7"#));
    Ok(())
}

#[test]
fn a_renamed_table_is_followed_on_by_whoever_names_it_anew_and_is_silent_to_others() -> Result<()> {
    let corner = Corner::new("moved")?;
    corner.sql(&format!(
        "create table t(id int primary key); {}
         create function page() returns void language sql as '';
         comment on function page() is '@sse_subscribe info\n@sse_topic moved.t';",
        trigger("t", "'all'")
    ))?;
    let mut old = corner.changes(&["t"])?;
    let path = format!("{}?id=moved", corner.path("page/info"));
    let mut page = corner.http.events(&path)?.begun()?;
    corner.sql("insert into t values (1)")?;
    let first = page.next(SOON)?;
    ensure!(first.event == "insert" && told(&mut old)?.starts_with(r#"insert "t""#), "{first:?}");
    // Both at once: the stream of the page ends, and comes back to the new name.
    corner.sql(
        "begin; alter table t rename to u;
         comment on function page() is '@sse_subscribe info\n@sse_topic moved.u'; commit",
    )?;
    let end = page.next(SOON);
    ensure!(matches!(end, Err(StreamError::Ended)), "{end:?}");
    let mut page = corner.http.events_after(&path, &first.id)?.begun()?;
    corner.sql("insert into u values (2); alter table u rename to t; insert into t values (3)")?;
    assert_eq!(told(&mut page)?, r#"insert "u" {"id":2} {"id":2} null"#);
    // Who names the old one misses what was told under the new one.
    assert_eq!(told(&mut old)?, r#"insert "t" {"id":3} {"id":3} null"#);
    Ok(())
}

#[test]
fn a_table_that_inherits_has_triggers_of_its_own() -> Result<()> {
    let corner = Corner::new("heirs")?;
    corner.sql(&format!(
        "create table parent (id int primary key, a int); create table child (b int) inherits (parent);
         create table silent () inherits (parent); {}{}",
        trigger("parent", "'all'"),
        trigger("child", "'all'"),
    ))?;
    let mut stream = corner.changes(&["parent", "child", "silent"])?;
    corner.sql("insert into silent values (1, 1); insert into child values (2, 2, 2); insert into parent values (3, 3)")?;
    corner.sql("update parent set a = 9")?;
    assert_eq!(told(&mut stream)?, r#"insert "child" null {"id":2,"a":2,"b":2} null"#);
    assert_eq!(told(&mut stream)?, r#"insert "parent" {"id":3} {"id":3,"a":3} null"#);
    let mut updates = [told(&mut stream)?, told(&mut stream)?];
    updates.sort();
    assert_eq!(updates[0], r#"update "child" null {"id":2,"a":9,"b":2} {"id":2,"a":2,"b":2}"#);
    assert_eq!(updates[1], r#"update "parent" {"id":3} {"id":3,"a":9} {"id":3,"a":3}"#);
    Ok(())
}

#[test]
fn generated_columns_are_shown_if_they_are_stored() -> Result<()> {
    let corner = Corner::new("generated")?;
    let has_virtual = corner.sql("select current_setting('server_version_num')::int >= 180000")? == "t";
    let further = if has_virtual { ", v int generated always as (a * 3) virtual" } else { "" };
    corner.sql(&format!(
        "create table t (id int generated always as identity primary key, a int,
                         twice int generated always as (a * 2) stored {further}); {}",
        trigger("t", "'all'")
    ))?;
    let mut stream = corner.changes(&["t"])?;
    corner.sql("insert into t (a) values (4); update t set a = 5")?;
    assert_eq!(told(&mut stream)?, r#"insert "t" {"id":1} {"id":1,"a":4,"twice":8} null"#);
    assert!(told(&mut stream)?.contains(r#"{"id":1,"a":5,"twice":10}"#));
    if has_virtual {
        let reply = corner.run(
            "create trigger v after insert on t for each row execute function sse.publish_change('all', 'v')",
        )?;
        let sqlstate = reply.error().and_then(|error| error.sqlstate.clone());
        assert_eq!(sqlstate.as_deref(), Some("42P10"));
    }
    Ok(())
}

#[test]
fn a_changed_table_is_told_as_it_is_then_in_every_session() -> Result<()> {
    let corner = Corner::new("changing")?;
    corner.sql(&format!(
        "create table t (gone text, id int primary key, a int); insert into t values ('x', 1, 1); {}",
        trigger("t", "'all'")
    ))?;
    let mut stream = corner.changes(&["t"])?;
    let mut session = corner.session()?;
    let mut update = |stream: &mut EventStream| -> Result<String> {
        session.run("update t set id = id")?.ok()?;
        let (_, data) = next(stream)?;
        assert_eq!(data["new"], data["old"]);
        Ok(format!("{} {}", data["key"], data["new"]))
    };
    assert_eq!(update(&mut stream)?, r#"{"id":1} {"gone":"x","id":1,"a":1}"#);
    for (change, told) in [
        ("drop gone", r#"{"id":1} {"id":1,"a":1}"#),
        ("add b text default 'old rows have it'", r#"{"id":1} {"id":1,"a":1,"b":"old rows have it"}"#),
        ("alter a type text using 'text ' || a", r#"{"id":1} {"id":1,"a":"text 1","b":"old rows have it"}"#),
        ("rename a to \"new\"", r#"{"id":1} {"id":1,"new":"text 1","b":"old rows have it"}"#),
        ("drop constraint t_pkey", r#"null {"id":1,"new":"text 1","b":"old rows have it"}"#),
        (
            "add primary key (\"new\", id)",
            r#"{"id":1,"new":"text 1"} {"id":1,"new":"text 1","b":"old rows have it"}"#,
        ),
    ] {
        corner.sql(&format!("alter table t {change}"))?;
        assert_eq!(update(&mut stream)?, told, "{change}");
    }
    let mut renamed = corner.topics(&["changed.t".to_owned()])?;
    corner.sql("alter schema changing rename to changed")?;
    session.run("update changed.t set id = id")?.ok()?;
    assert_eq!(next(&mut renamed)?.1["schema"], json!("changed"));
    Ok(())
}

#[test]
fn names_are_told_as_they_are_and_the_topic_has_them_unquoted() -> Result<()> {
    let corner = Corner::new("named")?;
    let table = r#"Weird "Tä.ble" 表"#;
    let quoted = format!("\"{}\"", table.replace('"', "\"\""));
    corner.sql(&format!(
        "create table {quoted} (\"new\" int primary key, \"Old Ünïcode\" text, \"\"\"'\\\" int, op int); {}",
        trigger(&quoted, "'all'"),
    ))?;
    let mut stream = corner.topics(&[format!("named.{table}")])?;
    corner.sql(&format!("insert into {quoted} values (1, 'ä', 2, 3)"))?;
    let (_, data) = next(&mut stream)?;
    assert_eq!(data["table"], json!(table));
    assert_eq!(data["key"], json!({"new": 1}));
    assert_eq!(data["new"], json!({"new": 1, "Old Ünïcode": "ä", "\"'\\": 2, "op": 3}));
    Ok(())
}

#[test]
fn tables_of_sixteen_hundred_columns_and_of_none_are_told() -> Result<()> {
    let corner = Corner::new("widths")?;
    let columns: Vec<String> = (1..1600).map(|number| format!("c{number} int")).collect();
    corner.sql(&format!(
        "create table wide (id int primary key, {}); create table empty (); create table empty_list (id int);
         create temp table temporary (id int); {}{}",
        columns.join(", "),
        trigger("wide", "'all'"),
        trigger("empty", "'all'"),
    ))?;
    let mut stream = corner.changes(&["wide", "empty"])?;
    corner.sql(
        "insert into wide (id, c1599) values (1, 7); insert into empty default values; delete from empty",
    )?;
    let (_, data) = next(&mut stream)?;
    assert_eq!(data["new"].as_object().map(serde_json::Map::len), Some(1600));
    assert_eq!((&data["new"]["c1599"], &data["new"]["c1"]), (&json!(7), &json!(null)));
    assert_eq!(told(&mut stream)?, r#"insert "empty" null {} null"#);
    assert_eq!(told(&mut stream)?, r#"delete "empty" null null {}"#);
    Ok(())
}

#[test]
fn a_deferred_constraint_trigger_tells_at_its_commit() -> Result<()> {
    let corner = Corner::new("deferred")?;
    corner.sql(
        "create table t (id int primary key);
         create constraint trigger c after insert on t deferrable initially deferred for each row
           when (new.id > 1) execute function sse.publish_change(all)",
    )?;
    let mut stream = corner.changes(&["t"])?;
    corner.sql("begin; insert into t values (1), (2); update t set id = 3 where id = 2; commit")?;
    assert_eq!(told(&mut stream)?, r#"insert "t" {"id":2} {"id":2} null"#);
    Ok(())
}

#[test]
fn hundred_thousand_copied_rows_are_told_and_a_cancelled_statement_tells_nothing() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.ring_size", "128MB").start()?;
    let corner = Corner::of(&cluster, "many")?;
    corner.sql(&format!("create table t (id int primary key); {}", trigger("t", "'all'")))?;
    let mut session = corner.session_with("-c statement_timeout=300")?;
    let cancelled = session.run("insert into t select generate_series(1, 100000000)")?;
    assert_eq!(cancelled.sqlstate(), Some("57014"));
    let before = figure(&cluster, "stat_ring", "records_total")?;
    session.run("set statement_timeout = 0")?.ok()?;
    session.run("insert into t select generate_series(1, 100000)")?.ok()?;
    let records = figure(&cluster, "stat_ring", "records_total")? - before;
    ensure!((100_000..100_100).contains(&records), "{records}");
    assert_eq!(figure(&cluster, "stat_ring", "dropped_total")?, 0);
    Ok(())
}

#[test]
fn a_database_of_another_encoding_tells_utf8() -> Result<()> {
    let cluster = Cluster::builder().encoding("LATIN1").start()?;
    let corner = Corner::of(&cluster, "latin")?;
    corner.sql(&format!(
        "create table \"tä\" (\"ü\" text primary key, a text[]); {}",
        trigger("\"tä\"", "'all', 'a'")
    ))?;
    let mut stream = corner.topics(&["latin.tä".to_owned()])?;
    corner.sql("insert into \"tä\" values ('ß', array['é', 'x'])")?;
    assert_eq!(told(&mut stream)?, r#"insert "tä" {"ü":"ß"} {"a":["é","x"]} null"#);
    // Two names of 63 bytes each have twice as many in UTF-8.
    let long = "ä".repeat(63);
    corner.sql(&format!("create schema \"{long}\"; create table \"{long}\".\"{long}\" (id int)"))?;
    let refused = corner.run(&trigger(&format!("\"{long}\".\"{long}\""), "'all'"))?;
    assert_eq!(refused.sqlstate(), Some("42602"));
    let missing = corner.run(&trigger("\"tä\"", "'all', 'ö'").replace("trigger t", "trigger u"))?;
    ensure!(missing.error().is_some_and(|error| error.text.contains("\\u{f6}")), "{missing:?}");
    Ok(())
}

#[test]
fn what_replication_applies_is_told_by_a_trigger_that_is_enabled_always() -> Result<()> {
    let publisher = Cluster::builder().stock().setting("wal_level", "logical").start()?;
    publisher.sql("create table t (id int primary key, a text); create publication p for table t")?;
    let cluster = Cluster::builder().start()?;
    let corner = Corner::of(&cluster, "applied")?;
    cluster.sql(&format!(
        "create table t (id int primary key, a text); create table origin_only (id int); {}{}
         alter table t enable always trigger t;",
        trigger("t", "'all'"),
        trigger("origin_only", "'all'"),
    ))?;
    let mut stream = corner.topics(&["public.t".to_owned(), "public.origin_only".to_owned()])?;
    let mut session = corner.session_with("-c session_replication_role=replica")?;
    session
        .run("insert into public.origin_only values (1); insert into public.t values (0, 'replica')")?
        .ok()?;
    assert_eq!(told(&mut stream)?, r#"insert "t" {"id":0} {"id":0,"a":"replica"} null"#);
    cluster.sql(&format!(
        "create subscription s connection 'host={} dbname=postgres user=postgres' publication p",
        publisher.home().display()
    ))?;
    // What came and went before the first copy was made would not be replicated.
    cluster.comes_to(
        PATIENCE,
        "the subscription follows",
        "select srsubstate from pg_subscription_rel",
        "r",
    )?;
    publisher.sql("insert into t values (1, 'one')")?;
    publisher.sql("update t set a = 'uno'; delete from t")?;
    let mut applied = Vec::new();
    for _ in 0..3 {
        let event = stream.next(PATIENCE)?;
        let data: serde_json::Value = serde_json::from_str(&event.data)?;
        applied.push(format!("{} {} {}", event.event, data["new"]["a"], data["old"]["a"]));
    }
    assert_eq!(applied, [r#"insert "one" null"#, r#"update "uno" "one""#, r#"delete null "uno""#]);
    Ok(())
}

#[test]
fn a_foreign_table_tells_what_is_changed_through_it() -> Result<()> {
    if !has_extension("row_changes_tables", "postgres_fdw")? {
        return Ok(());
    }
    let corner = Corner::new("foreign_one")?;
    corner.sql(&format!(
        "create extension postgres_fdw;
         create server loop foreign data wrapper postgres_fdw options (host '{}', dbname 'postgres');
         create user mapping for current_user server loop options (user 'postgres');
         create table far (id int primary key, a text);
         create foreign table near (id int, a text) server loop
             options (schema_name 'foreign_one', table_name 'far');
         {}",
        corner.cluster.home().display(),
        trigger("near", "'all'"),
    ))?;
    let mut stream = corner.changes(&["near", "far"])?;
    corner.sql("insert into near values (1, 'x'); update near set a = 'y'; delete from near")?;
    assert_eq!(told(&mut stream)?, r#"insert "near" null {"id":1,"a":"x"} null"#);
    assert_eq!(told(&mut stream)?, r#"update "near" null {"id":1,"a":"y"} {"id":1,"a":"x"}"#);
    assert_eq!(told(&mut stream)?, r#"delete "near" null null {"id":1,"a":"y"}"#);
    Ok(())
}
