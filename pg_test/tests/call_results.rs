//! What a routine returns and what the caller gets (C7.4).
//!
//! Not for what fails: `call_errors.rs`.

mod common;

use anyhow::{Context, Result, ensure};
use common::calls::{Api, Findings, told};
use serde_json::json;

/// Declarations of what answers with 204.
const NOTHING: &[&str] = &[
    "returns void language sql as ''",
    "returns void language plpgsql as 'begin perform 1; end'",
    "returns setof void language sql as ''",
    "returns text language sql as 'select null::text'",
    "returns text language sql as 'select 1::text where false'",
    "returns json language sql as 'select null::json'",
    "returns place language sql as 'select null::results.place'",
    "returns place language plpgsql as 'begin return null; end'",
];

/// Declarations of what answers with plain text, and the text.
const TEXTS: &[(&str, &str)] = &[
    ("returns int language sql as 'select 42'", "42"),
    ("returns text language sql as $$ select e'a \u{e9}\\n\"q\"\\\\' $$", "a \u{e9}\n\"q\"\\"),
    ("returns text language sql as $$ select '' $$", ""),
    ("returns boolean language sql as 'select true'", "true"),
    (
        "returns numeric language sql as 'select 123456789012345678901234567890.10'",
        "123456789012345678901234567890.10",
    ),
    ("returns numeric language sql as $$ select 'NaN'::numeric $$", "NaN"),
    (
        "returns uuid language sql as $$ select 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid $$",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    ),
    (
        "returns timestamptz language sql as $$ select '2026-01-02 03:04:05.6+00'::timestamptz $$",
        "2026-01-02T03:04:05.6+00:00",
    ),
    (
        "returns timestamp language sql as $$ select '2026-01-02 03:04:05.6'::timestamp $$",
        "2026-01-02T03:04:05.6",
    ),
    ("returns date language sql as $$ select '2026-01-02'::date $$", "2026-01-02"),
    ("returns date language sql as $$ select 'infinity'::date $$", "infinity"),
    ("returns int4range language sql as $$ select '[1,3]'::int4range $$", "[1,4)"),
    ("returns bytea language sql as $$ select '\\xdead'::bytea $$", "\\xdead"),
    ("returns mood language sql as $$ select 'Happy'::results.mood $$", "Happy"),
    ("returns positive language sql as 'select 5::results.positive'", "5"),
    ("(out answer_is int) language sql as 'select 42'", "42"),
];

/// Declarations of what answers with JSON, and the JSON.
const DOCUMENTS: &[(&str, &str)] = &[
    (
        r#"returns json language sql as $$ select '{"b": 1,  "a_b": null}'::json $$"#,
        r#"{"b": 1,  "a_b": null}"#,
    ),
    ("returns jsonb language sql as $$ select '12345678901234567890'::jsonb $$", "12345678901234567890"),
    ("returns json language sql as $$ select 'null'::json $$", "null"),
    (r#"returns document language sql as $$ select '{"a":1}'::results.document $$"#, r#"{"a": 1}"#),
    ("returns int[] language sql as 'select array[1, null, 3]'", "[1,null,3]"),
    (
        "returns place[] language sql as $$ select array[row('s', 1, null)::results.place] $$",
        r#"[{"streetName":"s","no":1,"tags":null}]"#,
    ),
    (
        "returns place language sql as $$ select 'High St', 5, '{a}'::text[] $$",
        r#"{"streetName":"High St","no":5,"tags":["a"]}"#,
    ),
    (
        "returns place language sql as 'select row(null, null, null)::results.place'",
        r#"{"streetName":null,"no":null,"tags":null}"#,
    ),
    (
        "returns home language sql as $$ select row('s', 1, null)::results.home $$",
        r#"{"streetName":"s","no":1,"tags":null}"#,
    ),
    (
        "(out answer_is int, out b text) language sql as $$ select 42, null::text $$",
        r#"{"answerIs":42,"b":null}"#,
    ),
    ("(out int, out v int, out t int) language sql as 'select 1, 2, 3'", r#"{"column1":1,"v":2,"t":3}"#),
    ("returns setof int language sql as 'values (1), (null), (3)'", "[1,null,3]"),
    ("returns setof text language sql as $$ values ('a\"'), (null), ('') $$", r#"["a\"",null,""]"#),
    (
        r#"returns setof json language sql as $$ values ('{"a":1}'::json), ('2'), (null) $$"#,
        r#"[{"a":1},2,null]"#,
    ),
    ("returns setof int[] language sql as $$ values (array[1]), (array[2,3]), (null) $$", "[[1],[2,3],null]"),
    ("returns setof text language sql as 'select 1::text where false'", "[]"),
    (
        "returns setof place language sql as $$ select ('s', 1, null)::results.place $$",
        r#"[{"streetName":"s","no":1,"tags":null}]"#,
    ),
    (
        "returns setof home language sql as $$ select ('s', 1, null)::results.home $$",
        r#"[{"streetName":"s","no":1,"tags":null}]"#,
    ),
    (
        "returns setof visits language sql as $$ values (1, '2026-01-02 03:04:05Z'::timestamptz, 1.50), (2, 'infinity', 'NaN') $$",
        r#"[{"visitId":1,"createdAt":"2026-01-02T03:04:05+00:00","amount":1.50},{"visitId":2,"createdAt":"infinity","amount":"NaN"}]"#,
    ),
    (
        "(out a int, out r int) returns setof record language sql as 'values (1, 2), (3, 4)'",
        r#"[{"a":1,"r":2},{"a":3,"r":4}]"#,
    ),
    (
        "returns table (user_id int, \"Weird Name\" text, at timestamptz) language sql as $$ values (1, 'a', '2026-01-02 03:04:05Z'::timestamptz), (2, null, null) $$",
        r#"[{"userId":1,"weird Name":"a","at":"2026-01-02T03:04:05+00:00"},{"userId":2,"weird Name":null,"at":null}]"#,
    ),
    ("returns table (user_id int) language sql as 'values (1), (2)'", r#"[{"userId":1},{"userId":2}]"#),
    (
        "returns table (user_id int, \"userId\" int) language sql as 'values (1, 2)'",
        r#"[{"user_id":1,"userId":2}]"#,
    ),
    (
        "returns table (t int, r int, v int, s int, x int) language sql as 'values (1, 2, 3, 4, 5)'",
        r#"[{"t":1,"r":2,"v":3,"s":4,"x":5}]"#,
    ),
    ("returns table (user_id int, b int) language sql as 'select 1, 2 where false'", "[]"),
];

#[test]
fn every_kind_of_result_has_its_status_type_and_body() -> Result<()> {
    let api = Api::new("results")?;
    api.sql(
        "create type mood as enum ('sad', 'Happy');
         create domain positive as int;
         create domain document as jsonb;
         create type place as (street_name text, no int, tags text[]);
         create domain home as place check ((value).no > 0);
         create table visits (visit_id int, created_at timestamptz, amount numeric);",
    )?;
    let nothing = NOTHING.iter().map(|declaration| (*declaration, 204, "", ""));
    let texts = TEXTS.iter().map(|(declaration, body)| (*declaration, 200, "text/plain", *body));
    let documents =
        DOCUMENTS.iter().map(|(declaration, body)| (*declaration, 200, "application/json", *body));
    let cases: Vec<_> = nothing.chain(texts).chain(documents).enumerate().collect();
    let script = cases.iter().map(|(number, (declaration, ..))| {
        let parentheses = if declaration.starts_with('(') { "" } else { "()" };
        format!("create function r{number}{parentheses} {declaration}; comment on function r{number} is 'HTTP GET';")
    });
    api.sql(&script.collect::<String>())?;
    let mut findings = Findings::default();
    for (number, (declaration, status, content_type, body)) in cases {
        let answer = api.get(&format!("r{number}"))?;
        let of_type = answer.header("content-type").unwrap_or("").split(';').next().unwrap_or("");
        let found = (answer.status(), of_type, answer.text());
        findings.expect(declaration, found, (status, content_type, body.to_owned()));
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
fn large_answers_arrive_whole_and_too_large_ones_fail_and_are_rolled_back() -> Result<()> {
    let api = Api::new("large_sets")?;
    api.sql(
        "create table done (megabytes int); grant all on done to app;
         create function get_large(megabytes int) returns setof text language sql volatile as $$
           insert into large_sets.done values (megabytes);
           select lpad(n::text, 1000000, 'x') from generate_series(1, megabytes) n $$;
         comment on function get_large(int) is 'HTTP GET';",
    )?;
    let twenty = api.get("get-large?megabytes=20")?;
    let rows: Vec<String> = serde_json::from_str(&twenty.text())?;
    assert_eq!(rows.len(), 20);
    for (number, row) in (1..).zip(&rows) {
        ensure!(row.len() == 1_000_000 && row.ends_with(&format!("x{number}")), "row {number} is not whole");
    }
    let answer = api.get("get-large?megabytes=70")?;
    ensure!(answer.status() == 500 && answer.text().len() < 1000, "{} bytes", answer.text().len());
    assert_eq!(api.sql("select string_agg(megabytes::text, ' ') from done")?, "20");
    Ok(())
}
