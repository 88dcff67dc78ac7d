//! Row changes whose JSON is much longer than the row, or much shorter (C3.5, C3.6).

mod common;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::{Cluster, PATIENCE};
use common::changes::trigger;
use common::{Corner, gap_reason};

#[test]
fn a_small_row_that_is_a_gigabyte_as_json_is_a_gap_and_costs_no_memory() -> Result<()> {
    let corner = Corner::new("swelling")?;
    let wide: Vec<String> = (0..1000).map(|number| format!("{}{number:03} int", "n".repeat(60))).collect();
    corner.sql(&format!(
        "create domain amount as numeric; create type pair as (a int, b numeric, c amount[]);
         create type wide as ({});
         create table t (id int, j jsonb, n numeric, ns numeric[], p pair, ps pair[], r numrange[],
                        m nummultirange, w wide[]); {}",
        wide.join(", "),
        trigger("t", "'all'")
    ))?;
    let mut stream = corner.changes(&["t"])?;
    let mut session = corner.session()?;
    let pid = session.backend_pid()?;
    let high = || -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    };
    session
        .run(
            "insert into t values (1, '{\"k\": [1.50, \"x\", null, -2e3]}', -0.001, array[1e20, null, 'NaN'],
                row(1, 2.5, array[3.0]), array[row(null, 1e3, null)::pair, null], array['[1,2.5)', 'empty']::numrange[],
                '{[1,2), [3,)}', null)",
        )?
        .ok()?;
    let ordinary = stream.next(PATIENCE)?.data;
    for column in [
        r#""j":{"k": [1.50, "x", null, -2000]},"n":-0.001,"ns":[100000000000000000000,null,"NaN"],"#,
        r#""p":{"a":1,"b":2.5,"c":[3.0]},"ps":[{"a":null,"b":1000,"c":null},null],"#,
        r#""r":["[1,2.5)","empty"],"m":"{[1,2),[3,)}","w":null}"#,
    ] {
        ensure!(ordinary.contains(column), "{ordinary}");
    }
    session.run("insert into t (id, n) values (2, 1e131071)")?.ok()?;
    ensure!(stream.next(PATIENCE)?.data.len() > 131_072);
    let before = high()?;
    for (column, value) in [
        ("j", "jsonb_agg(1e131071)"),
        ("ns", "array_agg(1e131071)"),
        ("p", "row(1, 2, array_agg(1e131071))::pair"),
        ("ps", "array_agg(row(1, 1e131071, null)::pair)"),
        ("r", "array_agg(numrange(1e131071, null))"),
        ("m", "range_agg(numrange(n * 1e131060, (n + 0.5) * 1e131060))"),
        ("w", "array_fill(jsonb_populate_record(null::wide, '{\"FIRST\": 1}'), array[count(*)::int])"),
    ] {
        let value = value.replace("FIRST", &format!("{}000", "n".repeat(60)));
        corner
            .sql(&format!("create table {column} as select {value} as v from generate_series(1, 10000) n"))?;
        session.run(&format!("insert into t (id, {column}) select 3, v from {column}"))?.ok()?;
        assert_eq!(gap_reason(&stream.next(PATIENCE)?)?, "too_large", "{column}");
    }
    let grown = high()? - before;
    ensure!(grown < 200_000, "{grown} kB");
    Ok(())
}

/// What a trigger's rows may be as JSON is set higher than most would; Postgres' own limit of a gigabyte
/// comes next.
// Long because it is one list of types.
#[test]
fn rows_that_postgres_cannot_write_as_json_are_gaps_whatever_their_types() -> Result<()> {
    let cluster = Cluster::builder()
        .setting("sse.max_event_size", "128MB")
        .setting("sse.max_transaction_size", "512MB")
        .setting("sse.ring_size", "300MB")
        .start()?;
    let corner = Corner::of(&cluster, "gigabyte")?;
    let long = "n".repeat(63);
    corner.sql(&format!(
        r#"create table "{long}" (); create type pair as (a int, b numeric); create type pairs as range (subtype = pair);
           create type word as (a text); create type words as (a word, b text[]); create type phrase as (a words, j jsonb);
           create type phrases as range (subtype = phrase);
           create table t (id int, q phrases, c regclass[], d timestamptz[], p pairs[], m pairs_multirange, b bit varying[],
                           x text[], h tsvector[], f float8[]); {}"#,
        trigger("t", "'all'")
    ))?;
    let mut stream = corner.changes(&["t"])?;
    let mut session = corner.session()?;
    session
        .run(
            "insert into t values (1, null, array['t', null]::regclass[], array['2020-01-01 12:00+00'::timestamptz],
                array[pairs(row(1, 2.5)::pair, row(1, 3.5)::pair), 'empty'],
                pairs_multirange(pairs(row(1, 2)::pair, row(3, null)::pair)), array[B'101'], array['x'],
                array['a b'::tsvector], array[1.5, 'NaN'])",
        )?
        .ok()?;
    let ordinary = stream.next(PATIENCE)?.data;
    for column in [
        r#""c":["t",null],"d":["2020-01-01T12:00:00+00:00"],"p":["[\"(1,2.5)\",\"(1,3.5)\")","empty"],"#,
        r#""m":"{[\"(1,2)\",\"(3,)\")}","b":["101"],"x":["x"],"h":["'a' 'b'"],"f":[1.5,"NaN"]}"#,
    ] {
        ensure!(ordinary.contains(column), "{ordinary}");
    }
    // Each text around a quote puts a second one after it.
    let quotes = |word: usize, element: usize, json: usize| {
        let quotes = |count: usize| format!("repeat('\"', {count})");
        let phrase = format!(
            "row(row(row({})::word, array[{}])::words, to_jsonb({}))::phrase",
            quotes(word),
            quotes(element),
            quotes(json)
        );
        format!("phrases({phrase}, null)")
    };
    // A quote of the word counts 6 times 2 to the fourth, of 64 MB.
    for count in [3, 690_000] {
        session.run(&format!("insert into t (id, q) select 2, {}", quotes(count, 4, 5)))?.ok()?;
        let quoted = stream.next(PATIENCE)?.data;
        let wanted = 32 * count;
        ensure!(
            quoted.contains(r#""q":"[\"("#) && (wanted..wanted + 2000).contains(&quoted.len()),
            "{}",
            quoted.len()
        );
    }
    let mut failed = Vec::new();
    for (column, value) in [
        ("q", quotes(700_000, 1, 1)),
        ("q", quotes(40_000_000, 1, 1)),
        ("q", quotes(1, 20_000_000, 1)),
        ("q", quotes(1, 1, 40_000_000)),
        ("c", format!(r#"array_fill('"{long}"'::regclass, array[17000000])"#)),
        ("d", "array_fill('2020-01-01 12:00:00.123456+00'::timestamptz, array[33000000])".to_owned()),
        ("p", "array_fill(pairs(row(1, 1e131071)::pair, null), array[9000])".to_owned()),
        ("m", "range_agg(pairs(row(n, 1e131071)::pair, row(n, 2e131071)::pair)) from generate_series(1, 5000) n".to_owned()),
        ("b", "array_fill(repeat('1', 80000000)::bit varying, array[14])".to_owned()),
        ("x", "array_fill(repeat(chr(1), 1000000), array[190])".to_owned()),
        ("f", "array_fill('-1.2345678901234567e-300'::float8, array[45000000])".to_owned()),
    ] {
        match session.run(&format!("insert into t (id, {column}) select 2, {value}"))?.ok() {
            Ok(_) => assert_eq!(gap_reason(&stream.next(PATIENCE)?)?, "too_large", "{column}"),
            Err(error) => failed.push(format!("{column}: {error}")),
        }
    }
    ensure!(failed.is_empty(), "{failed:#?}");
    Ok(())
}

#[test]
fn a_row_of_many_bytes_that_is_short_as_json_is_published() -> Result<()> {
    // Values alone are in no array.
    let corner = Corner::new("alone")?;
    corner.sql(&format!("create table t (j jsonb[]); {}", trigger("t", "'all'")))?;
    let mut stream = corner.changes(&["t"])?;
    corner.sql("insert into t select array_fill('1'::jsonb, array[400000])")?;
    let data = stream.next(PATIENCE)?.data;
    ensure!(data.len() > 800_000 && data.contains("1,1,1"), "{}", data.len());

    let corner = Corner::new("short")?;
    corner.sql(&format!("create table t (n name[], r regclass[]); {}", trigger("t", "'all'")))?;
    let mut stream = corner.changes(&["t"])?;
    corner.sql(
        "insert into t select array_fill(''::name, array[250000]), array_fill('t'::regclass, array[40000])",
    )?;
    let data = stream.next(PATIENCE)?.data;
    ensure!(data.len() > 900_000 && data.contains(r#""","","""#), "{}", data.len());
    Ok(())
}

// Attack: a role keeps a session busy that nobody can stop, with rows of millions of values.
#[test]
fn a_statement_can_be_cancelled_while_the_values_of_its_row_are_counted() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.max_event_size", "16MB").start()?;
    let corner = Corner::of(&cluster, "counted")?;
    // What is in the last column makes each row too large, so that nothing is written down.
    corner.sql(&format!(
        "create table t (id int, ns numeric[], j jsonb, x text[]); {}
         insert into t values (1, array_fill(123456::numeric, array[3000000]), null, array[repeat('x', 17000000)]),
                              (2, null, ('[' || repeat('123456,', 1999999) || '1]')::jsonb, array[repeat('x', 17000000)])",
        trigger("t", "'all'")
    ))?;
    let mut session = corner.session()?;
    for row in [1, 2] {
        let update = format!("update t set id = id where id = {row}");
        let mut timed = |limit: u128| -> Result<(Duration, bool)> {
            session.run(&format!("set statement_timeout = {limit}"))?.ok()?;
            let started = Instant::now();
            let reply = session.run(&update)?;
            let is_cancelled = reply.sqlstate() == Some("57014");
            Ok((started.elapsed(), is_cancelled))
        };
        let whole = timed(0)?.0.min(timed(0)?.0);
        // Most of the time it counts. A moment may be a long one on a busy machine.
        let mut ends = Vec::new();
        for _ in 0..5 {
            ends.push(timed(whole.as_millis() / 8)?);
        }
        let is_cancelled = ends.iter().any(|(took, is_cancelled)| *is_cancelled && *took < whole / 2);
        ensure!(is_cancelled, "row {row} takes {whole:?}, and with an eighth of that {ends:?}");
    }
    Ok(())
}

#[test]
fn empty_containers_in_a_jsonb_are_published_as_they_are_and_count_as_what_they_are() -> Result<()> {
    let corner = Corner::new("hollow")?;
    corner.sql(&format!(
        "create type box_of as (j jsonb, js jsonb[]);
         create table t (j jsonb, js jsonb[], b box_of, bs box_of[], x text); {}",
        trigger("t", "'all'")
    ))?;
    let mut stream = corner.changes(&["t"])?;
    let mut session = corner.session()?;
    for value in [
        "{}",
        "[]",
        "\"\"",
        "null",
        "[[]]",
        "[{}]",
        "{\"a\":{}}",
        "{\"\":[]}",
        "[[],{},[[],[{}]],{\"a\":[],\"b\":{\"c\":{}}}]",
    ] {
        let row = format!(
            "insert into t select j, array[j, j], row(j, array[j])::box_of, array[row(j, '{{}}')::box_of, null], ''
             from (select '{value}'::jsonb as j) as v returning row_to_json(t)"
        );
        let written = session.run(&row)?.ok()?.value().unwrap_or_default().to_owned();
        let data = stream.next(PATIENCE)?.data;
        ensure!(data.contains(&format!("\"new\":{written}")), "{value}: {data}");
    }
    // Of a row near the limit every byte is an empty container or its comma.
    let limit = 1 << 20;
    for (column, element) in
        [("js", "array_fill('E'::jsonb, array[N])"), ("j", "('[' || repeat('E, ', N - 1) || 'E]')::jsonb")]
    {
        for empty in ["{}", "[]"] {
            let insert = |count: usize, padding: usize| {
                let element = element.replace('E', empty).replace('N', &count.to_string());
                format!("insert into t ({column}, x) values ({element}, repeat('x', {padding}))")
            };
            session.run(&insert(1000, 0))?.ok()?;
            let base = stream.next(PATIENCE)?.data.len();
            session.run(&insert(2000, 0))?.ok()?;
            let of_thousand = stream.next(PATIENCE)?.data.len() - base;
            let thousands = (limit - base - 1) / of_thousand;
            let padding = limit - base - thousands * of_thousand;
            for (padding, is_published) in [(padding - 1, true), (padding, true), (padding + 1, false)] {
                session.run(&insert(1000 + 1000 * thousands, padding))?.ok()?;
                let event = stream.next(PATIENCE)?;
                let what = format!("{column} {empty} {padding}: {} bytes", event.data.len());
                if is_published {
                    ensure!(event.event == "insert", "{what}");
                } else {
                    assert_eq!(gap_reason(&event)?, "too_large", "{what}");
                }
            }
        }
    }
    Ok(())
}
