//! What a routine returns and what the caller gets (C7.4).
//!
//! Not for what fails: `call_errors.rs`.

mod common;

use anyhow::{Context, Result, ensure};
use common::calls::{Api, Findings, told};
use serde_json::json;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

/// Declaration after the name, status, type of the answer, its body.
const RESULTS: &[(&str, &str, u16, &str, &str)] = &[
    ("void", "returns void language sql as ''", 204, "", ""),
    ("void_of_plpgsql", "returns void language plpgsql as 'begin perform 1; end'", 204, "", ""),
    ("number", "returns int language sql as 'select 42'", 200, TEXT, "42"),
    ("text", "returns text language sql as $$ select e'a \u{e9}\\n\"q\"' $$", 200, TEXT, "a \u{e9}\n\"q\""),
    ("empty", "returns text language sql as $$ select '' $$", 200, TEXT, ""),
    ("boolean", "returns boolean language sql as 'select true'", 200, TEXT, "true"),
    (
        "numeric",
        "returns numeric language sql as 'select 123456789012345678901234567890.10'",
        200,
        TEXT,
        "123456789012345678901234567890.10",
    ),
    (
        "uuid",
        "returns uuid language sql as $$ select 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid $$",
        200,
        TEXT,
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    ),
    (
        "stamp",
        "returns timestamptz language sql as $$ select '2026-01-02 03:04:05.6+00'::timestamptz $$",
        200,
        TEXT,
        "2026-01-02T03:04:05.6+00:00",
    ),
    (
        "stamp_without_zone",
        "returns timestamp language sql as $$ select '2026-01-02 03:04:05.6'::timestamp $$",
        200,
        TEXT,
        "2026-01-02T03:04:05.6",
    ),
    ("day", "returns date language sql as $$ select '2026-01-02'::date $$", 200, TEXT, "2026-01-02"),
    ("bytes", "returns bytea language sql as $$ select '\\xdead'::bytea $$", 200, TEXT, "\\xdead"),
    ("nothing", "returns text language sql as 'select null::text'", 204, "", ""),
    ("no_row", "returns text language sql as 'select 1::text where false'", 204, "", ""),
    (
        "json_document",
        "returns json language sql as $$ select '{\"b\": 1,  \"a_b\": null}'::json $$",
        200,
        JSON,
        "{\"b\": 1,  \"a_b\": null}",
    ),
    (
        "jsonb_number",
        "returns jsonb language sql as $$ select '12345678901234567890'::jsonb $$",
        200,
        JSON,
        "12345678901234567890",
    ),
    ("json_null", "returns json language sql as $$ select 'null'::json $$", 200, JSON, "null"),
    ("json_nothing", "returns json language sql as 'select null::json'", 204, "", ""),
    ("list", "returns int[] language sql as 'select array[1, null, 3]'", 200, JSON, "[1,null,3]"),
    (
        "composite",
        "returns place language sql as $$ select 'High St', 5 $$",
        200,
        JSON,
        "{\"streetName\":\"High St\",\"no\":5}",
    ),
    ("composite_null", "returns place language sql as 'select null::results.place'", 204, "", ""),
    ("composite_no_row", "returns place language plpgsql as 'begin return null; end'", 204, "", ""),
    ("one_out", "(out answer_is int) language sql as 'select 42'", 200, TEXT, "42"),
    (
        "two_out",
        "(out answer_is int, out b text) language sql as $$ select 42, null::text $$",
        200,
        JSON,
        "{\"answerIs\":42,\"b\":null}",
    ),
    (
        "set_of_numbers",
        "returns setof int language sql as 'select generate_series(1, 3)'",
        200,
        JSON,
        "[1,2,3]",
    ),
    (
        "set_of_texts",
        "returns setof text language sql as $$ values ('a\"'), (null), ('') $$",
        200,
        JSON,
        "[\"a\\\"\",null,\"\"]",
    ),
    (
        "set_of_json",
        "returns setof json language sql as $$ values ('{\"a\":1}'::json), ('2'), (null) $$",
        200,
        JSON,
        "[{\"a\":1},2,null]",
    ),
    (
        "set_of_lists",
        "returns setof int[] language sql as $$ values (array[1]), (array[2,3]) $$",
        200,
        JSON,
        "[[1],[2,3]]",
    ),
    ("empty_set", "returns setof text language sql as 'select 1::text where false'", 200, JSON, "[]"),
    (
        "table_of_rows",
        "returns table (user_id int, \"Weird Name\" text, at timestamptz) language sql as $$ values (1, 'a', '2026-01-02 03:04:05Z'::timestamptz), (2, null, null) $$",
        200,
        JSON,
        "[{\"userId\":1,\"weird Name\":\"a\",\"at\":\"2026-01-02T03:04:05+00:00\"},{\"userId\":2,\"weird Name\":null,\"at\":null}]",
    ),
    (
        "table_of_one_column",
        "returns table (user_id int) language sql as 'values (1), (2)'",
        200,
        JSON,
        "[{\"userId\":1},{\"userId\":2}]",
    ),
    (
        "empty_table",
        "returns table (user_id int, b int) language sql as 'select 1, 2 where false'",
        200,
        JSON,
        "[]",
    ),
    (
        "set_of_rows",
        "returns setof visits language sql as $$ values (1, '2026-01-02 03:04:05Z'::timestamptz, 1.50), (2, 'infinity', 'NaN') $$",
        200,
        JSON,
        "[{\"visitId\":1,\"createdAt\":\"2026-01-02T03:04:05+00:00\",\"amount\":1.50},{\"visitId\":2,\"createdAt\":\"infinity\",\"amount\":\"NaN\"}]",
    ),
    (
        "set_out",
        "(out a int, out b int) returns setof record language sql as 'values (1, 2), (3, 4)'",
        200,
        JSON,
        "[{\"a\":1,\"b\":2},{\"a\":3,\"b\":4}]",
    ),
    ("enumerated", "returns mood language sql as $$ select 'sad'::results.mood $$", 200, TEXT, "sad"),
    ("domain_over_int", "returns positive language sql as 'select 5::results.positive'", 200, TEXT, "5"),
    (
        "domain_over_json",
        "returns document language sql as $$ select '{\"a\":1}'::results.document $$",
        200,
        JSON,
        "{\"a\": 1}",
    ),
    (
        "domain_over_composite",
        "returns home language sql as $$ select row('s', 1)::results.home $$",
        200,
        JSON,
        "{\"streetName\":\"s\",\"no\":1}",
    ),
];

#[test]
fn every_kind_of_result_has_its_status_type_and_body() -> Result<()> {
    let api = Api::new("results")?;
    api.sql(
        "create type mood as enum ('sad', 'happy');
         create domain positive as int;
         create domain document as jsonb;
         create type place as (street_name text, no int);
         create domain home as place;
         create table visits (visit_id int, created_at timestamptz, amount numeric);",
    )?;
    let mut findings = Findings::default();
    for (name, declaration, status, content_type, body) in RESULTS {
        let parentheses = if declaration.starts_with('(') { "" } else { "()" };
        api.sql(&format!(
            "create function r_{name}{parentheses} {declaration}; comment on function r_{name} is 'HTTP GET'"
        ))?;
        let answer = api.get(&format!("r-{}", name.replace('_', "-")))?;
        let found = (answer.status(), answer.text());
        findings.expect(name, found, (*status, (*body).to_owned()));
        let found = answer.header("content-type").unwrap_or("").split(';').next().unwrap_or("").to_owned();
        findings.expect(&format!("{name}, type"), found, (*content_type).to_owned());
    }
    findings.report()
}

#[test]
fn a_procedure_answers_with_its_out_row_or_nothing() -> Result<()> {
    let api = Api::new("procedures")?;
    api.sql(
        "create table said (n int); grant all on said to app;
         create procedure quiet(n int) language sql as 'insert into procedures.said values (n)';
         comment on procedure quiet(int) is 'HTTP POST';
         create procedure doubled(inout some_number int, out the_other text) language plpgsql
         as $$ begin some_number := some_number * 2; the_other := 'x'; end $$;
         comment on procedure doubled(int) is 'HTTP POST';
         create procedure twice(inout n int) language plpgsql as $$ begin
           insert into procedures.said values (n); commit;
           insert into procedures.said values (n + 1); rollback;
           insert into procedures.said values (n + 2); commit;
           n := (select count(*) from procedures.said); end $$;
         comment on procedure twice(int) is 'HTTP POST';
         create procedure stamped(out created_at timestamptz, out doc jsonb, out list int[]) language plpgsql
         as $$ begin created_at := '2026-01-02 03:04:05Z'; doc := '{\"a\":1}'; list := '{1,2}'; end $$;
         comment on procedure stamped() is 'HTTP POST';",
    )?;
    let mut findings = Findings::default();
    findings.expect("nothing", told(&api.post("quiet", &json!({ "n": 1 }))?), "204".to_owned());
    findings.expect(
        "out",
        told(&api.post("doubled", &json!({ "someNumber": 21 }))?),
        "200 {\"someNumber\":42,\"theOther\":\"x\"}".to_owned(),
    );
    findings.expect("commits", told(&api.post("twice", &json!({ "n": 10 }))?), "200 {\"n\":3}".to_owned());
    findings.expect(
        "rows",
        api.sql("select string_agg(n::text, ' ' order by n) from said")?,
        "1 10 12".to_owned(),
    );
    findings.expect(
        "types",
        api.post("stamped", &json!({}))?.json()?,
        json!({ "createdAt": "2026-01-02T03:04:05+00:00", "doc": { "a": 1 }, "list": [1, 2] }),
    );
    findings.report()
}

#[test]
fn a_large_result_arrives_whole() -> Result<()> {
    let api = Api::new("large")?;
    api.sql(
        "create function get_rows(_count int) returns table (n int, pad text) language sql
         as $$ select g, repeat('x', 100) from generate_series(1, _count) g $$;
         comment on function get_rows(int) is 'HTTP';
         create function get_text(n int) returns text language sql as $$ select repeat('y', n) $$;
         comment on function get_text(int) is 'HTTP';",
    )?;
    let rows = api.get("get-rows?count=50000")?.json()?;
    let rows = rows.as_array().context("an array")?;
    assert_eq!((rows.len(), rows[49_999]["n"].as_i64()), (50_000, Some(50_000)));
    for length in [1, 127, 128 * 1024 - 1, 128 * 1024, 128 * 1024 + 1, 5_000_000] {
        let text = api.text(&format!("get-text?n={length}"))?;
        ensure!(text.len() == length && text.bytes().all(|byte| byte == b'y'), "{length}: {}", text.len());
    }
    Ok(())
}

#[test]
fn head_options_and_other_methods_of_a_call_are_answered() -> Result<()> {
    let api = Api::new("heads")?;
    api.sql(
        "create table ran (x int); grant insert on ran to app;
         create function get_x() returns text language sql as $$ select 'body' $$; comment on function get_x() is 'HTTP GET';
         create function do_x() returns void language sql as $$ insert into heads.ran values (1) $$; comment on function do_x() is 'HTTP POST';",
    )?;
    let mut findings = Findings::default();
    let answer = api.get("get-x")?;
    findings.expect("nosniff", answer.header("x-content-type-options"), Some("nosniff"));
    findings.expect(
        "not kept by caches",
        answer.header("cache-control").is_some_and(|value| value.contains("no-store")),
        true,
    );
    for (method, routine, wanted) in
        [("POST", "get-x", 405), ("DELETE", "get-x", 405), ("GET", "do-x", 405), ("PUT", "do-x", 405)]
    {
        let answer = api.http.request(&api.request(method, routine))?;
        findings.expect(&format!("{method} {routine}"), answer.status(), wanted);
        let own = if routine == "get-x" { "GET" } else { "POST" };
        let allow = answer.header("allow").unwrap_or("").to_owned();
        findings.expect(&format!("{method} {routine} allows {allow}"), allow.contains(own), true);
    }
    let answer = api.http.request(&api.request("OPTIONS", "do-x"))?;
    findings.expect("OPTIONS runs nothing", api.sql("select count(*) from ran")?, "0".to_owned());
    findings.expect("OPTIONS", (200..300).contains(&answer.status()), true);
    let answer = api.http.request(&api.request("HEAD", "get-x"))?;
    findings.expect("HEAD has no body", (matches!(answer.status(), 200 | 405), answer.body.len()), (true, 0));
    findings.report()
}

#[test]
fn a_connection_carries_many_calls() -> Result<()> {
    let api = Api::new("kept")?;
    api.sql("create function get_n(n int) returns int language sql as 'select n'; comment on function get_n(int) is 'HTTP'")?;
    let mut connection = api.http.connect()?;
    for n in 0..200 {
        connection.send(&api.request("GET", &format!("get-n?n={n}")))?;
        assert_eq!(told(&connection.response("GET")?), format!("200 {n}"));
    }
    Ok(())
}
