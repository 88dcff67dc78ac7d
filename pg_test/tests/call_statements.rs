//! The SQL that a call becomes, without pg_sse: Postgres accepts it with all parameters as text, and returns
//! what the answer is made of (C7.3, C7.4).
//!
//! Not for arguments (`call_values.rs`), nor for HTTP and the call workers (`call_results.rs`).

#![allow(clippy::unwrap_used)]

#[path = "../../crates/proto/tests/call/fixture.rs"]
mod fixture;
#[path = "common/statements.rs"]
mod statements;

use anyhow::{Context, Result};
use fixture::{function, post, result};
use sse_proto::call::{Given, Shape, UserParameters, statement};
use sse_proto::route::Call;
use statements::{Findings, SCHEMA, literal, run, session};

/// What follows `create function app.f`, the shape, whether a set, its columns, the rows.
type ResultCase = (&'static str, Shape, bool, &'static [&'static str], &'static str);

const RESULTS: &[ResultCase] = &[
    ("() returns void language sql as ''", Shape::Void, false, &[], "NULL"),
    ("() returns int language sql as 'select 42'", Shape::Scalar, false, &[], "42"),
    ("() returns text language sql as $$ select e'a é\"\\\\\\n' $$", Shape::Scalar, false, &[], "a é\"\\\n"),
    ("() returns text language sql as 'select null::text'", Shape::Scalar, false, &[], "NULL"),
    ("() returns boolean language sql as 'select true'", Shape::Scalar, false, &[], "true"),
    ("() returns numeric language sql as $$ select 'NaN'::numeric $$", Shape::Scalar, false, &[], "NaN"),
    (
        "() returns numeric language sql as 'select 123456789012345678901234567890.10'",
        Shape::Scalar,
        false,
        &[],
        "123456789012345678901234567890.10",
    ),
    (
        "() returns timestamptz language sql as $$ select '2026-01-02 03:04:05.6+00'::timestamptz $$",
        Shape::Scalar,
        false,
        &[],
        "2026-01-02T03:04:05.6+00:00",
    ),
    ("() returns date language sql as $$ select 'infinity'::date $$", Shape::Scalar, false, &[], "infinity"),
    ("() returns bytea language sql as $$ select '\\xdead'::bytea $$", Shape::Scalar, false, &[], "\\xdead"),
    (
        "() returns app.mood language sql as $$ select 'Happy'::app.mood $$",
        Shape::Scalar,
        false,
        &[],
        "Happy",
    ),
    ("() returns app.positive language sql as 'select 5::app.positive'", Shape::Scalar, false, &[], "5"),
    (
        "() returns int4range language sql as $$ select '[1,3]'::int4range $$",
        Shape::Scalar,
        false,
        &[],
        "[1,4)",
    ),
    ("(out answer int) language sql as 'select 42'", Shape::Scalar, false, &["answer"], "42"),
    (
        "() returns json language sql as $$ select '{\"b\": 1,  \"a\": null}'::json $$",
        Shape::Json,
        false,
        &[],
        "{\"b\": 1,  \"a\": null}",
    ),
    (
        "() returns app.document language sql as $$ select '[1]'::app.document $$",
        Shape::Json,
        false,
        &[],
        "[1]",
    ),
    ("() returns jsonb language sql as 'select null::jsonb'", Shape::Json, false, &[], "NULL"),
    ("() returns int[] language sql as 'select array[1, null]'", Shape::Array, false, &[], "[1,null]"),
    (
        "() returns app.\"Row\"[] language sql as $$ select array[row('s', 1, null)::app.\"Row\"] $$",
        Shape::Array,
        false,
        &[],
        "[{\"street_name\":\"s\",\"no\":1,\"tags\":null}]",
    ),
    (
        "() returns app.\"Row\" language sql as $$ select row('s', 1, '{a}')::app.\"Row\" $$",
        Shape::Composite,
        false,
        &["street_name", "no", "tags"],
        "{\"streetName\":\"s\",\"no\":1,\"tags\":[\"a\"]}",
    ),
    (
        "() returns app.home language sql as $$ select row('s', 1, null)::app.home $$",
        Shape::Composite,
        false,
        &["street_name", "no", "tags"],
        "{\"streetName\":\"s\",\"no\":1,\"tags\":null}",
    ),
    (
        "() returns app.\"Row\" language plpgsql as 'begin return null; end'",
        Shape::Composite,
        false,
        &["street_name", "no", "tags"],
        "",
    ),
    (
        "() returns app.\"Row\" language sql as 'select row(null, null, null)::app.\"Row\"'",
        Shape::Composite,
        false,
        &["street_name", "no", "tags"],
        "{\"streetName\":null,\"no\":null,\"tags\":null}",
    ),
    (
        "(out b_c int, out t text) language sql as $$ select 42, null::text $$",
        Shape::Composite,
        false,
        &["b_c", "t"],
        "{\"bC\":42,\"t\":null}",
    ),
    (
        "(out int, out \"v\" int, out t int) language sql as 'select 1, 2, 3'",
        Shape::Composite,
        false,
        &["column1", "v", "t"],
        "{\"column1\":1,\"v\":2,\"t\":3}",
    ),
    ("() returns setof void language sql as ''", Shape::Void, true, &[], ""),
    (
        "() returns setof int language sql as 'values (1), (null), (3)'",
        Shape::Scalar,
        true,
        &[],
        "1\nnull\n3",
    ),
    (
        "() returns setof text language sql as $$ values ('a\"'), ('') $$",
        Shape::Scalar,
        true,
        &[],
        "\"a\\\"\"\n\"\"",
    ),
    (
        "() returns setof json language sql as $$ values ('{\"a\":1}'::json), (null) $$",
        Shape::Json,
        true,
        &[],
        "{\"a\":1}\nnull",
    ),
    (
        "() returns setof int[] language sql as $$ values (array[1]), (null) $$",
        Shape::Array,
        true,
        &[],
        "[1]\nnull",
    ),
    (
        "() returns table (some_col int) language sql as 'values (1)'",
        Shape::Composite,
        true,
        &["some_col"],
        "{\"someCol\":1}",
    ),
    (
        "() returns table (some_col int, at timestamptz) language sql as $$ values (1, '2026-01-02Z'::timestamptz), (2, null) $$",
        Shape::Composite,
        true,
        &["some_col", "at"],
        "{\"someCol\":1,\"at\":\"2026-01-02T00:00:00+00:00\"}\n{\"someCol\":2,\"at\":null}",
    ),
    (
        "() returns setof app.\"Row\" language sql as $$ select ('s', 1, null)::app.\"Row\" $$",
        Shape::Composite,
        true,
        &["street_name", "no", "tags"],
        "{\"streetName\":\"s\",\"no\":1,\"tags\":null}",
    ),
    (
        "() returns setof app.home language sql as $$ select ('s', 1, null)::app.home $$",
        Shape::Composite,
        true,
        &["street_name", "no", "tags"],
        "{\"streetName\":\"s\",\"no\":1,\"tags\":null}",
    ),
    (
        "(out a int, out r int) returns setof record language sql as 'values (1, 2)'",
        Shape::Composite,
        true,
        &["a", "r"],
        "{\"a\":1,\"r\":2}",
    ),
    (
        "() returns table (t int, r int, v int, s int, x int) language sql as 'values (1, 2, 3, 4, 5)'",
        Shape::Composite,
        true,
        &["t", "r", "v", "s", "x"],
        "{\"t\":1,\"r\":2,\"v\":3,\"s\":4,\"x\":5}",
    ),
    (
        "() returns table (user_id int, \"userId\" int) language sql as 'values (1, 2)'",
        Shape::Composite,
        true,
        &["user_id", "userId"],
        "{\"user_id\":1,\"userId\":2}",
    ),
    ("() returns table (a int) language sql as 'select 1 where false'", Shape::Composite, true, &["a"], ""),
];

#[test]
fn every_kind_of_result_gives_the_rows_of_its_answer() -> Result<()> {
    let mut session = session("results")?;
    let mut findings = Findings::default();
    for (declaration, shape, is_set, columns, wanted) in RESULTS {
        session.run(SCHEMA)?.ok()?;
        session.run(&format!("create function app.f{declaration}"))?.ok().context(*declaration)?;
        let mut call = function("");
        call.signature.result = result(*shape, *is_set, columns);
        findings.expect(declaration, &run(&mut session, &post(&call, "")?)?, wanted);
    }
    findings.report()
}

#[test]
fn a_login_gives_its_first_row_and_none_for_nobody() -> Result<()> {
    let mut session = session("logins")?;
    let mut findings = Findings::default();
    let both: &[&str] = &["user_id", "user_name"];
    for (declaration, shape, is_set, columns, wanted) in [
        (
            "() returns table (user_id int, user_name text) language sql as $$ values (1, 'a'), (2, 'b') $$",
            Shape::Composite,
            true,
            both,
            "{\"user_id\":1,\"user_name\":\"a\"}",
        ),
        (
            "() returns table (user_id int, user_name text) language sql as $$ values (null::int, null), (2, 'b') $$",
            Shape::Composite,
            true,
            both,
            "",
        ),
        (
            "() returns table (user_id int, user_name text) language sql as 'select 1, null where false'",
            Shape::Composite,
            true,
            both,
            "",
        ),
        (
            "(out user_id int, out user_name text) language plpgsql as 'begin select 1, 2 into user_id, user_name where false; end'",
            Shape::Composite,
            false,
            both,
            "",
        ),
        (
            "(out user_id int, out user_name text) language sql as 'select 1, null::text'",
            Shape::Composite,
            false,
            both,
            "{\"user_id\":1,\"user_name\":null}",
        ),
        (
            "(out user_id int) language sql as 'select 7'",
            Shape::Scalar,
            false,
            &["user_id"],
            "{\"user_id\":7}",
        ),
        ("(out user_id int) language sql as 'select null::int'", Shape::Scalar, false, &["user_id"], ""),
    ] {
        session.run(SCHEMA)?.ok()?;
        session.run(&format!("create function app.f{declaration}"))?.ok().context(declaration)?;
        let mut call = Call { login: true, ..function("") };
        call.signature.result = result(shape, is_set, columns);
        findings.expect(declaration, &run(&mut session, &post(&call, "")?)?, wanted);
    }
    findings.report()
}

/// Whatever a role's search_path has before `pg_catalog`, nothing in a statement is found there.
#[test]
fn a_search_path_decides_nothing() -> Result<()> {
    let mut session = session("paths")?;
    session.run(SCHEMA)?.ok()?;
    session
        .run(
            "create schema evil; create domain evil.text as pg_catalog.int4; create type evil.json as (a int);
             create function evil.to_json(anyelement) returns pg_catalog.json language sql as $$ select '\"evil\"'::pg_catalog.json $$;
             create function evil.row_to_json(record) returns pg_catalog.json language plpgsql as $$ begin return '\"evil\"'; end $$;
             create function evil.f(a pg_catalog._text, b pg_catalog.int4) returns pg_catalog.text language sql as $$ select 'evil'::pg_catalog.text $$;
             create function app.f(a pg_catalog._text, b pg_catalog.int4, out c pg_catalog.int4, out d pg_catalog._text) language sql as 'select b, a';
             set search_path = evil, pg_catalog",
        )?
        .ok()?;
    let mut call = function("in a _text, in b int4, out c int4, out d _text");
    call.signature.result = result(Shape::Composite, false, &["c", "d"]);
    let made = post(&call, r#"{"a": ["x"], "b": 1}"#)?;
    let types = format!("({})", statements::types(&mut session, &made)?.join(", "));
    session.run(&format!("prepare q{types} as {}", made.sql))?.ok()?;
    let values: Vec<String> = made.parameters.iter().map(|text| literal(text.as_deref())).collect();
    let found = session.run(&format!("execute q({})", values.join(", ")))?.ok()?.text();
    assert_eq!(found, "{\"c\":1,\"d\":[\"x\"]}");
    Ok(())
}

/// The choice among overloads agrees with Postgres: it is never a call that Postgres finds ambiguous.
#[test]
fn a_chosen_overload_is_one_that_postgres_finds() -> Result<()> {
    let mut session = session("overloads")?;
    session.run(SCHEMA)?.ok()?;
    let mut calls = Vec::new();
    for (oid, (types, declaration)) in (1..).zip([
        ("a int", "in a int4"),
        ("a int, b int = 1", "in a int4, in b int4 ="),
        ("a text, b int = 1", "in a text, in b int4 ="),
        ("a text, c text = '', d text = ''", "in a text, in c text =, in d text ="),
        ("e int[]", "in e _int4"),
        ("_f bigint, variadic g text[] = '{}'", "in _f int8, variadic g _text ="),
    ]) {
        session
            .run(&format!(
                "create function app.f({types}) returns text language sql as 'select {oid}::text'"
            ))?
            .ok()?;
        calls.push(Call { oid, ..function(declaration) });
    }
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let mut chosen = 0;
    for set in 0_u32..128 {
        let given: Vec<String> = names
            .iter()
            .enumerate()
            .filter(|(bit, _)| set & (1 << bit) != 0)
            .map(|(_, name)| format!("\"{name}\": {}", if matches!(*name, "e" | "g") { "[1]" } else { "1" }))
            .collect();
        let body = format!("{{{}}}", given.join(", "));
        let user = UserParameters::default();
        let given = Given::Body(body.as_bytes());
        if let Ok((call, made)) = statement(calls.iter(), &given, &user, false) {
            assert_eq!(run(&mut session, &made)?, call.oid.to_string(), "{body}");
            chosen += 1;
        }
    }
    assert_eq!(chosen, 6, "a; a, b; and what no overload takes: nothing is chosen");
    Ok(())
}
