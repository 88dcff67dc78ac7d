//! What the values of a row change are as JSON, of the new row and of the old: byte for byte what
//! `row_to_json` makes of them (C3.5).
//!
//! Not for values that are too large: `row_changes_large.rs`.

mod common;

use anyhow::{Context, Result, ensure};
use cluster::Session;
use cluster::http::EventStream;
use common::changes::trigger;
use common::{Corner, SOON};

/// The data of an UPDATE of a table of one row, and what it has to be.
fn updated(session: &mut Session, stream: &mut EventStream, set: &str) -> Result<(String, String)> {
    let row = "select row_to_json(t) from t";
    let old = session.run(row)?.ok()?.text();
    session.run(&format!("update t set {set}"))?.ok()?;
    let new = session.run(row)?.ok()?.text();
    Ok((stream.next(SOON)?.data, format!(",\"new\":{new},\"old\":{old}}}")))
}

#[test]
fn an_update_has_both_rows_as_to_json_writes_them_whichever_columns_it_changes() -> Result<()> {
    let corner = Corner::new("both_rows")?;
    corner.sql(&format!(
        "create type mood as enum ('so so', 'good'); create type pair as (x int, y text);
         create domain percent as numeric check (value <= 100);
         create table t (gone int, id int primary key, s smallint, big bigint, b bool, f float8, n numeric, w text,
           v varchar(9), c char(5), d date, ts timestamptz, u uuid, by bytea, j json, jb jsonb, e mood, p pair,
           dom percent, a text[], ns numeric[], r int4range, long text, nothing int,
           twice int generated always as (id * 2) stored);
         alter table t drop column gone; alter table t alter long set storage external;
         insert into t values (1, -2, 3, true, 0.5, 1.50, e'a\"\\n', 'v', 'c', '2020-01-01', '2020-01-01 12:00+00',
           'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\\x00ff', '{{\"k\" : 1}}', '{{\"k\": [1, null]}}', 'good', row(1, 'z'),
           42, '{{a,null}}', '{{1.0,NaN}}', '[1,5)', repeat('long', 5000), null); {}",
        trigger("t", "'all'")
    ))?;
    let mut stream = corner.changes(&["t"])?;
    let mut session = corner.session()?;
    for set in [
        "w = w",
        "s = null, a = null, nothing = 5",
        "s = -32768, a = '{}', big = -9223372036854775808, nothing = null",
        "w = w || 'b', n = n + 1, b = not b",
        // The same value, stored in another way; and one that is as long.
        "long = long || ''",
        "long = repeat('gnol', 5000)",
        "v = 'w', c = 'd', d = d + 1, ts = ts + '1 s', u = null, by = '', j = 'null', jb = '[]', e = 'so so'",
        "p = row(2, null), dom = null, ns = '{}', r = 'empty', f = '-0', a = '{{a,b},{c,null}}'",
        "f = '0', ns = null, p = null, e = null, j = null, jb = null, w = null, long = null",
        "w = '', long = 'short', jb = '1'",
    ] {
        let (data, wanted) = updated(&mut session, &mut stream, set)?;
        ensure!(data.ends_with(&wanted), "{set}\n{data}\n{wanted}");
    }
    Ok(())
}

#[test]
fn an_update_of_the_key_and_a_column_list_have_the_rows_as_to_json_writes_them() -> Result<()> {
    let corner = Corner::new("listed_rows")?;
    corner.sql(&format!(
        "create table t (id int primary key, a text, b int[], c text);
         insert into t values (1, 'a', '{{1,2}}', 'c'); {}",
        trigger("t", "'all', 'c', 'b'")
    ))?;
    let mut stream = corner.changes(&["t"])?;
    let mut session = corner.session()?;
    session.run("update t set c = 'd'")?.ok()?;
    let data = stream.next(SOON)?.data;
    ensure!(
        data.ends_with(r#""key":{"id":1},"new":{"c":"d","b":[1,2]},"old":{"c":"c","b":[1,2]}}"#),
        "{data}"
    );
    session.run("update t set id = 2, b = '{3}'")?.ok()?;
    for end in [
        r#""key":{"id":1},"new":null,"old":{"c":"d","b":[1,2]}}"#,
        r#""key":{"id":2},"new":{"c":"d","b":[3]},"old":null}"#,
    ] {
        let data = stream.next(SOON)?.data;
        ensure!(data.ends_with(end), "{data}");
    }
    Ok(())
}

#[test]
fn texts_have_every_character_and_integers_every_digit() -> Result<()> {
    let corner = Corner::new("characters")?;
    corner.sql(&format!(
        "create table t (w text, v varchar, c char(200), ws text[], s smallint, i int, big bigint, j json); {}",
        trigger("t", "'all'")
    ))?;
    let mut stream = corner.changes(&["t"])?;
    let mut session = corner.session()?;
    let all = "(select string_agg(chr(n), '') from generate_series(1, 300) n)";
    let mut rows = vec![
        format!("{all}, {all}, left({all}, 200), array[{all}, '', '\"', '\\'], 0, 0, 0, '[1,\t2]'"),
        format!(
            "repeat({all}, 200), repeat('x', 3000), '', array[repeat({all}, 100)], 1, 1, 1, to_json({all})"
        ),
        "'', '', '', '{}', -32768, -2147483648, -9223372036854775808, null".to_owned(),
        "'', '', '', '{}', 32767, 2147483647, 9223372036854775807, null".to_owned(),
    ];
    for digits in 1..19 {
        let big = "1234567890123456789".get(..digits).context("digits")?;
        rows.push(format!("null, null, null, null, -{}, {}, -{big}, null", big.len(), big.len() * 10));
    }
    for row in rows {
        let written = session.run(&format!("insert into t values ({row}) returning row_to_json(t)"))?;
        let written = written.ok()?.value().unwrap_or_default().to_owned();
        let data = stream.next(SOON)?.data;
        ensure!(data.contains(&format!("\"new\":{written},\"old\"")), "{row}\n{data}\n{written}");
    }
    Ok(())
}

#[test]
fn arrays_of_every_type_and_shape_are_written_as_to_json_writes_them() -> Result<()> {
    let corner = Corner::new("arrays")?;
    corner.sql("create type mood as enum ('so so', 'good'); create domain percent as numeric; create domain words as text[]")?;
    let mut session = corner.session()?;
    let types = [
        ("bool", "true", "false"),
        ("smallint", "'-1'", "32767"),
        ("int", "1", "'-2147483648'"),
        ("bigint", "1", "'-9223372036854775808'"),
        ("real", "'NaN'", "1e-7"),
        ("float8", "'-Infinity'", "0.1"),
        ("numeric", "1.50", "'NaN'"),
        ("text", "'a,b'", "e'\"\\\\\\n\\x01'"),
        ("varchar", "'null'", "''"),
        ("char(3)", "'a'", "''"),
        ("bytea", "'\\xdeadbeef'", "''"),
        ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "null"),
        ("date", "'infinity'", "'2024-12-31'"),
        ("timestamp", "'0044-03-15 12:00 BC'", "'-infinity'"),
        ("timestamptz", "'2024-12-31 12:00+00'", "null"),
        ("json", "'{\"k\" : 1}'", "'null'"),
        ("jsonb", "'{\"k\": [1, {}]}'", "'1'"),
        ("name", "'n'", "''"),
        ("interval", "'1 day'", "null"),
        ("mood", "'good'", "'so so'"),
        ("percent", "42.0", "null"),
        ("int4range", "'[1,5)'", "'empty'"),
    ];
    for (number, (name, one, other)) in types.into_iter().enumerate() {
        let table = format!("t{number}");
        corner.sql(&format!("create table {table} (a {name}[]); {}", trigger(&table, "'all'")))?;
        let mut stream = corner.changes(&[&table])?;
        let (one, other) = (format!("{one}::{name}"), format!("{other}::{name}"));
        let array = format!("array[{one}, null, {other}]");
        let values = [
            "'{}'".to_owned(),
            array.clone(),
            format!("array[{array}, {array}]"),
            format!("array[[[{one}], [{other}]], [[{other}], [null::{name}]]]"),
            format!("array_fill({one}, array[3], array[-1])"),
            format!("array_fill({one}, array[1, 2, 1, 1, 2, 1])"),
            format!("array_fill({one}, array[2000])"),
        ];
        for value in values {
            let insert = format!("insert into {table} values ({value}) returning row_to_json({table})");
            let written = session.run(&insert)?.ok()?.value().unwrap_or_default().to_owned();
            let data = stream.next(SOON)?.data;
            ensure!(data.contains(&format!("\"new\":{written},\"old\"")), "{insert}\n{data}\n{written}");
        }
    }
    corner.sql(&format!(
        "create table odd (v int2vector, o oidvector, d words); {}",
        trigger("odd", "'all'")
    ))?;
    let mut stream = corner.changes(&["odd"])?;
    let insert = "insert into odd values ('1 2', '3 4', '{a,b}') returning row_to_json(odd)";
    let written = session.run(insert)?.ok()?.value().unwrap_or_default().to_owned();
    let data = stream.next(SOON)?.data;
    ensure!(data.contains(&format!("\"new\":{written},\"old\"")), "{data}\n{written}");
    Ok(())
}
