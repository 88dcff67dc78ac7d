//! `sse.publish_change()` tells every change of a table's rows (C3.5).
//!
//! Not for triggers that are refused, or go bad: `row_changes_refused.rs`. For tables of odd shapes:
//! `row_changes_tables.rs`.

mod common;

use std::time::Duration;

use anyhow::{Result, ensure};
use cluster::{Cluster, skip};
use common::changes::{next, trigger};
use common::tokens::{self, ALICE, Audience};
use common::{Corner, SOON, figure, gap_reason};
use serde_json::json;

#[test]
fn each_change_is_told_with_its_key_and_its_rows() -> Result<()> {
    let corner = Corner::new("told")?;
    corner.sql(&format!(
        "create table orders (id int primary key, note text); {}",
        trigger("orders", "'all'")
    ))?;
    let mut stream = corner.changes(&["orders"])?;
    corner.sql("insert into orders values (1, 'a'), (2, null)")?;
    corner.sql("update orders set note = 'b' where id = 1")?;
    corner.sql("delete from orders where id = 2")?;
    let told = |op: &str, key: i32, new: serde_json::Value, old: serde_json::Value| {
        let data = json!({
            "op": op, "schema": "told", "table": "orders", "key": {"id": key}, "new": new, "old": old
        });
        (op.to_lowercase(), data)
    };
    let null = serde_json::Value::Null;
    assert_eq!(next(&mut stream)?, told("INSERT", 1, json!({"id": 1, "note": "a"}), null.clone()));
    assert_eq!(next(&mut stream)?, told("INSERT", 2, json!({"id": 2, "note": null}), null.clone()));
    let (new, old) = (json!({"id": 1, "note": "b"}), json!({"id": 1, "note": "a"}));
    assert_eq!(next(&mut stream)?, told("UPDATE", 1, new, old));
    assert_eq!(next(&mut stream)?, told("DELETE", 2, null, json!({"id": 2, "note": null})));
    Ok(())
}

#[test]
fn the_data_is_one_line_with_its_members_in_order() -> Result<()> {
    let corner = Corner::new("ordered")?;
    corner.sql(&format!("create table t (b text, a int, primary key (a, b)); {}", trigger("t", "'all'")))?;
    let mut stream = corner.changes(&["t"])?;
    corner.sql("insert into t values (e'x\\ny', 1)")?;
    assert_eq!(
        stream.next(SOON)?.data,
        r#"{"op":"INSERT","schema":"ordered","table":"t","key":{"b":"x\ny","a":1},"new":{"b":"x\ny","a":1},"old":null}"#
    );
    Ok(())
}

#[test]
fn an_update_of_the_key_is_told_as_a_delete_and_an_insert() -> Result<()> {
    let corner = Corner::new("moved")?;
    corner.sql(&format!(
        "create table t (id text primary key, a int); insert into t values ('one', 1); {}",
        trigger("t", "'all'")
    ))?;
    let mut stream = corner.changes(&["t"])?;
    corner.sql("update t set a = 2, id = 'one'; update t set id = 'two'")?;
    let (name, data) = next(&mut stream)?;
    assert_eq!((name.as_str(), &data["op"], &data["key"]["id"]), ("update", &json!("UPDATE"), &json!("one")));
    let (name, data) = next(&mut stream)?;
    assert_eq!(name, "delete");
    assert_eq!(data["key"], json!({"id": "one"}));
    assert_eq!((&data["new"], &data["old"]), (&json!(null), &json!({"id": "one", "a": 2})));
    let (name, data) = next(&mut stream)?;
    assert_eq!(name, "insert");
    assert_eq!(data["key"], json!({"id": "two"}));
    assert_eq!((&data["new"], &data["old"]), (&json!({"id": "two", "a": 2}), &json!(null)));
    Ok(())
}

#[test]
fn a_column_list_shows_its_columns_in_its_order_and_always_the_key() -> Result<()> {
    let corner = Corner::new("listed")?;
    corner.sql(&format!(
        "create table t (id int primary key, secret text, b int, a int); {}",
        trigger("t", "'all', 'a', 'b'")
    ))?;
    let mut stream = corner.changes(&["t"])?;
    corner.sql("insert into t values (7, 'hidden', 1, 2); update t set secret = 'x', id = 8")?;
    let data = stream.next(SOON)?.data;
    assert!(data.contains(r#""key":{"id":7},"new":{"a":2,"b":1},"old":null"#), "{data}");
    assert!(stream.next(SOON)?.data.contains(r#""key":{"id":7},"new":null,"old":{"a":2,"b":1}"#));
    let last = stream.next(SOON)?.data;
    assert!(last.contains(r#""key":{"id":8},"new":{"a":2,"b":1}"#), "{last}");
    assert!(!last.contains("hidden") && !last.contains("secret"), "{last}");
    Ok(())
}

#[test]
fn without_a_primary_key_the_key_is_null_and_an_update_is_an_update() -> Result<()> {
    let corner = Corner::new("keyless")?;
    corner.sql(&format!("create table t (id int unique not null); {}", trigger("t", "'all'")))?;
    let mut stream = corner.changes(&["t"])?;
    corner.sql("insert into t values (1); update t set id = 2")?;
    assert_eq!(next(&mut stream)?.1["key"], json!(null));
    let (name, data) = next(&mut stream)?;
    assert_eq!((name.as_str(), &data["old"]["id"], &data["new"]["id"]), ("update", &json!(1), &json!(2)));
    // A key that comes later counts from then on, in sessions that have published before, too.
    let mut session = corner.session()?;
    session.run("insert into t values (3)")?.ok()?;
    corner.sql("alter table t add primary key (id)")?;
    session.run("insert into t values (4)")?.ok()?;
    assert_eq!(next(&mut stream)?.1["key"], json!(null));
    assert_eq!(next(&mut stream)?.1["key"], json!({"id": 4}));
    Ok(())
}

#[test]
fn values_are_written_as_to_json_writes_them_whatever_the_session_says() -> Result<()> {
    let corner = Corner::new("values_of")?;
    corner.sql(&format!(
        "create type mood as enum ('so so', 'good');
         create type pair as (x int, y text);
         create domain percent as numeric check (value <= 100);
         create table t (id int primary key, b bool, n numeric, f float8, d date, ts timestamp, tz timestamptz,
           i interval, by bytea, a int[], m text[][], p pair, pp pair[], j json, jb jsonb, e mood, u uuid,
           dom percent, c char(4), r int4range, nothing text, tm time, big bigint, money_ money, bits bit(3),
           ip inet, ts_v tsvector, nan float8);
         {}",
        trigger("t", "'all'")
    ))?;
    let mut stream = corner.changes(&["t"])?;
    let mut session =
        corner.session_with("-c DateStyle=German -c IntervalStyle=sql_standard -c TimeZone=Asia/Tokyo")?;
    session
        .run(
            "insert into t values (1, true, 1.50, 1e-7, '31.12.2024', '31.12.2024 23:59:59.5',
              '2024-12-31 12:00+00', '1 day 2 hours', '\\xdeadbeef', '{1,null,3}', '{{a,\"b \\\"c\\\"\"},{d,e}}',
              row(1, 'z'), array[row(1,'a')::pair, null], '{\"k\" : [1, 2]}', '{\"k\": [1, 2]}', 'so so',
              'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 42.0, 'ab', '[1,5)', null, '12:34', 9007199254740993,
              12.5, b'101', '10.0.0.1/8', 'a fat cat', 'NaN')",
        )?
        .ok()?;
    let data = stream.next(SOON)?.data;
    let expected = session.run("select row_to_json(t) from t")?.ok()?.text();
    assert!(data.contains(&format!("\"new\":{expected},\"old\":null}}")), "{data}\n{expected}");
    session
        .run(
            "delete from t; set extra_float_digits = 0;
             insert into t (id, b, n, f, d, ts, tz, by, j, jb, c, big, nan, nothing) values
               (-1, false, 'NaN', '-Infinity', 'infinity', '-infinity', '15.03.0044 12:00 BC', '', 'null',
                '\"x\\ny\"', e'\"', -9223372036854775808, 0.1 + 0.2, e'\\\\ \"\\t\\x01\\x7f ä')",
        )?
        .ok()?;
    stream.next(SOON)?;
    let extreme = stream.next(SOON)?.data;
    let expected = session.run("select row_to_json(t) from t")?.ok()?.text();
    assert!(extreme.contains(&format!("\"new\":{expected},\"old\":null}}")), "{extreme}\n{expected}");
    for part in
        [r#""n":1.50"#, r#""d":"2024-12-31""#, r#""ts":"2024-12-31T23:59:59.5""#, r#""by":"\\xdeadbeef""#]
    {
        assert!(data.contains(part), "{part}: {data}");
    }
    Ok(())
}

/// Not every PostgreSQL is built with it.
#[test]
fn xml_is_written_as_to_json_writes_it() -> Result<()> {
    let corner = Corner::new("xml_values")?;
    let mut session = corner.session()?;
    if session.run("select '<a/>'::xml")?.ok().is_err() {
        return skip(env!("CARGO_CRATE_NAME"), "libxml with this PostgreSQL");
    }
    corner.sql(&format!("create table t (id int primary key, x xml); {}", trigger("t", "'all'")))?;
    let mut stream = corner.changes(&["t"])?;
    session.run("insert into t values (1, '<a/>')")?.ok()?;
    let expected = session.run("select row_to_json(t) from t")?.ok()?.text();
    let data = stream.next(SOON)?.data;
    assert!(data.contains(&format!("\"new\":{expected},\"old\":null}}")), "{data}\n{expected}");
    Ok(())
}

#[test]
fn changes_are_told_at_the_commit_and_go_with_a_rollback() -> Result<()> {
    // By default, events are sent at once here; a row change is one when it is committed all the same.
    let cluster = Cluster::builder().setting("sse.default_delivery", "immediate").start()?;
    let corner = Corner::of(&cluster, "commits")?;
    corner.sql(&format!("create table t (id int primary key); {}", trigger("t", "'all'")))?;
    let mut stream = corner.changes(&["t"])?;
    let mut session = corner.session()?;
    session
        .run("begin; insert into t values (1); savepoint s; insert into t values (2); rollback to s")?
        .ok()?;
    session
        .run("do $$ begin insert into t values (3); raise exception 'x'; exception when others then null; end $$")?
        .ok()?;
    session.run("insert into t values (4)")?.ok()?;
    let mut other = corner.session()?;
    other.run("insert into t values (5)")?.ok()?;
    session.run("commit; begin; insert into t values (6); rollback; insert into t values (7)")?.ok()?;
    let keys = (0..4).map(|_| Ok(next(&mut stream)?.1["key"]["id"].clone())).collect::<Result<Vec<_>>>()?;
    assert_eq!(keys, [json!(5), json!(1), json!(4), json!(7)]);
    Ok(())
}

#[test]
fn every_statement_that_changes_rows_is_told() -> Result<()> {
    let corner = Corner::new("statements")?;
    corner.sql(&format!("create table t (id int primary key, a int); {}", trigger("t", "'all'")))?;
    let mut stream = corner.changes(&["t"])?;
    corner.cluster.script(
        "set search_path = statements; set sse.execution_id = 'statements';
copy t from stdin;
1\t1
2\t2
\\.
",
    )?;
    corner.sql("insert into t values (1, 10), (3, 3) on conflict (id) do update set a = excluded.a")?;
    corner.sql("insert into t values (1, 11) on conflict do nothing")?;
    corner.sql(
        "merge into t using (values (2), (4)) s(id) on t.id = s.id
         when matched then delete when not matched then insert values (s.id, 40)",
    )?;
    corner
        .sql("with x as (delete from t where id = 3 returning *) insert into t select id + 100, a from x")?;
    let told = (0..8)
        .map(|_| {
            let (name, data) = next(&mut stream)?;
            Ok(format!("{name} {}", data["key"]["id"]))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut sorted = told[4..6].to_vec();
    sorted.sort();
    assert_eq!(told[..4], ["insert 1", "insert 2", "update 1", "insert 3"]);
    assert_eq!(sorted, ["delete 2", "insert 4"]);
    assert_eq!(told[6..], ["delete 3", "insert 103"]);
    Ok(())
}

#[test]
fn the_scope_says_who_receives_and_is_authorize_when_none_is_given() -> Result<()> {
    let cluster = tokens::builder().start()?;
    cluster.sql(&format!(
        "create function own() returns void language sql as ''; comment on function own() is '@sse';
         create table a (id int); create table b (id int); create table c (id int); create table m (id int);
         {}{}{}{}",
        trigger("a", ""),
        trigger("b", "'all'"),
        trigger("c", "'authorize name:alice'"),
        trigger("m", "'matching'"),
    ))?;
    let mut audience = Audience::new(&cluster)?;
    for table in ["a", "b", "c", "m"] {
        let path = format!("/api/own/info?topic=public.{table}");
        audience.joins_topic(&format!("{table}:anonymous"), None, &path, &format!("public.{table}"))?;
        audience.joins_topic(&format!("{table}:alice"), Some(ALICE), &path, &format!("public.{table}"))?;
        audience.joins_topic(
            &format!("{table}:bob"),
            Some(tokens::BOB),
            &path,
            &format!("public.{table}"),
        )?;
    }
    let mut session = cluster.session()?;
    assert_eq!(audience.who_hears(&mut session, "insert into a values (1)")?, "a:alice a:bob");
    assert_eq!(audience.who_hears(&mut session, "insert into b values (1)")?, "b:anonymous b:alice b:bob");
    assert_eq!(audience.who_hears(&mut session, "insert into c values (1)")?, "c:alice");
    let mark = cluster.log_mark()?;
    assert_eq!(audience.who_hears(&mut session, "insert into m values (1)")?, "");
    cluster.wait_for_log(
        mark,
        "a change of trigger \"t\" on public.m with scope matching reaches no subscriber",
    )?;
    assert_eq!(figure(&cluster, "stat_ring", "unmatched_total")?, 1);
    session.run("set request.user_id = '2'")?.ok()?;
    assert_eq!(audience.who_hears(&mut session, "insert into m values (1)")?, "m:bob");
    Ok(())
}

#[test]
fn a_row_that_is_too_large_is_a_gap_and_the_statement_succeeds() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.max_event_size", "1kB").start()?;
    let corner = Corner::of(&cluster, "large")?;
    corner
        .sql(&format!("create table t (id int primary key, a text, b bytea); {}", trigger("t", "'all'")))?;
    let mut stream = corner.changes(&["t"])?;
    let mut session = corner.session()?;
    session.run("insert into t values (0, 'x', null)")?.ok()?;
    let small = stream.next(SOON)?.data.len();
    for (id, length) in [(1, 1023), (2, 1024), (3, 1025)] {
        let text = length - small + 1;
        let reply = session.run(&format!("insert into t values ({id}, repeat('x', {text}), null)"))?.ok()?;
        ensure!(reply.texts("WARNING").len() == usize::from(length > 1024), "{length}");
    }
    for length in [1023, 1024] {
        assert_eq!(stream.next(SOON)?.data.len(), length);
    }
    assert_eq!(gap_reason(&stream.next(SOON)?)?, "too_large");
    // As JSON it would have more than a gigabyte, a text that Postgres refuses to make.
    session.send("insert into t values (4, repeat(chr(1), 180000000), null)")?;
    session.wait(Duration::from_secs(300))?.ok()?;
    assert_eq!(gap_reason(&stream.next(SOON)?)?, "too_large");
    assert_eq!(figure(&cluster, "stat_ring", "too_large_total")?, 2);
    Ok(())
}

#[test]
fn a_toasted_value_is_told_whole_in_the_old_row_and_the_new() -> Result<()> {
    let corner = Corner::new("toasted")?;
    corner.sql(&format!(
        "create table t (id int primary key, a text, b text); alter table t alter a set storage external;
         insert into t values (1, repeat('long', 5000), repeat('press', 5000)); {}",
        trigger("t", "'all'")
    ))?;
    let mut stream = corner.changes(&["t"])?;
    corner.sql("update t set id = id")?;
    corner.sql("delete from t")?;
    let (_, updated) = next(&mut stream)?;
    let row = json!({"id": 1, "a": "long".repeat(5000), "b": "press".repeat(5000)});
    assert_eq!((&updated["new"], &updated["old"]), (&row, &row));
    assert_eq!(next(&mut stream)?.1["old"], row);
    Ok(())
}

#[test]
fn a_trigger_below_a_trigger_and_a_cast_that_writes_are_told_too() -> Result<()> {
    let corner = Corner::new("nested")?;
    corner.sql(&format!(
        "create table base (id int primary key, a int); create table sums (id int primary key, total int);
         create function keeps() returns trigger language plpgsql as $f$
         begin insert into sums values (new.id, new.a) on conflict (id) do update set total = excluded.total;
               return null; end $f$;
         create trigger a after insert or update on base for each row execute function keeps();
         create type odd as enum ('seven');
         create function odd_json(odd) returns json language plpgsql as $f$
         begin insert into sums values (107, 0); return '\"odd\"'; end $f$;
         create cast (odd as json) with function odd_json(odd);
         create table odds (id int primary key, o odd);
         {}{}{}",
        trigger("base", "'all'"),
        trigger("sums", "'all'"),
        trigger("odds", "'all'"),
    ))?;
    let mut stream = corner.changes(&["base", "sums", "odds"])?;
    corner.sql("insert into base values (1, 5)")?;
    corner.sql("update base set a = 6")?;
    let told = |stream: &mut _| -> Result<String> {
        let (name, data) = next(stream)?;
        Ok(format!("{} {name} {}", data["table"].as_str().unwrap_or(""), data["key"]["id"]))
    };
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(told(&mut stream)?);
    }
    assert_eq!(all, ["sums insert 1", "base insert 1", "sums update 1", "base update 1"]);
    corner.sql("insert into odds values (1, 'seven')")?;
    assert_eq!(told(&mut stream)?, "sums insert 107");
    assert_eq!(told(&mut stream)?, "odds insert 1");
    Ok(())
}
