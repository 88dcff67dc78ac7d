//! Values of every type, and every notation of arguments, in the SQL that a call becomes, without pg_sse
//! (C7.3).
//!
//! Not for HTTP: `call_arguments.rs`.

#![allow(clippy::unwrap_used)]

#[path = "../../crates/proto/tests/call/fixture.rs"]
mod fixture;
#[path = "common/statements.rs"]
mod statements;

use anyhow::{Context, Result};
use cluster::{Session, skip};
use fixture::{alice, function, get, oid, post, post_as, procedure};
use sse_proto::route::Call;
use statements::{Findings, SCHEMA, run, session};

/// Type as SQL declares it, as the statement casts to it, the JSON, `v::text` in the routine, or the
/// SQLSTATE.
type Value = (&'static str, &'static str, &'static str, &'static str);

const VALUES: &[Value] = &[
    ("int", "int4", "2147483647", "2147483647"),
    ("int", "int4", "\"12\"", "12"),
    ("int", "int4", "null", "NULL"),
    ("int", "int4", "1.5", "22P02"),
    ("bigint", "int8", "9223372036854775808", "22003"),
    ("numeric", "numeric", "123456789012345678901234567890.10", "123456789012345678901234567890.10"),
    ("numeric", "numeric", "1e3", "1000"),
    ("float8", "float8", "1e400", "22003"),
    ("boolean", "bool", "true", "true"),
    ("boolean", "bool", "\"no\"", "false"),
    ("text", "text", "\"a ' \\\" \\\\ \\n é\"", "a ' \" \\ \n é"),
    ("text", "text", "1.50", "1.50"),
    ("character(3)", "bpchar", "\"abc\"", "abc"),
    ("varchar(3)", "varchar", "\"abcd\"", "abcd"),
    ("name", "name", "\"n\"", "n"),
    ("\"char\"", "\"char\"", "\"x\"", "x"),
    ("bit(3)", "bit", "\"101\"", "101"),
    ("bytea", "bytea", "\"\\\\xdeadbeef\"", "\\xdeadbeef"),
    ("timestamptz", "timestamptz", "\"2026-01-02T03:04:05.6Z\"", "2026-01-02 03:04:05.6+00"),
    ("interval", "\"interval\"", "\"1 day 2 hours\"", "1 day 02:00:00"),
    ("time", "\"time\"", "\"03:04\"", "03:04:00"),
    ("uuid", "uuid", "\"x\"", "22P02"),
    ("inet", "inet", "\"192.0.2.1/24\"", "192.0.2.1/24"),
    ("point", "point", "\"(1,2)\"", "(1,2)"),
    ("money", "money", "\"$1.50\"", "$1.50"),
    ("regclass", "regclass", "\"pg_class\"", "pg_class"),
    ("int2vector", "int2vector", "\"1 2\"", "1 2"),
    ("tsvector", "tsvector", "\"'a':1\"", "'a':1"),
    ("int4range", "int4range", "\"[1,5]\"", "[1,6)"),
    ("int4multirange", "int4multirange", "\"{[1,2)}\"", "{[1,2)}"),
    ("json", "json", "{\"b\":1, \"a\":[1,null]}", "{\"b\":1, \"a\":[1,null]}"),
    ("jsonb", "jsonb", "12345678901234567890123", "12345678901234567890123"),
    ("jsonb", "jsonb", "\"a\"", "\"a\""),
    ("jsonb", "jsonb", "1e1000000", "22003"),
    ("int[]", "_int4", "[1,null,3]", "{1,NULL,3}"),
    ("int[]", "_int4", "[[1,2],[3,4]]", "{{1,2},{3,4}}"),
    ("int[]", "_int4", "[[1],[2,3]]", "22P02"),
    ("int[]", "_int4", "[]", "{}"),
    ("int[]", "_int4", "[\"x\"]", "22P02"),
    ("int[]", "_int4", "null", "NULL"),
    (
        "text[]",
        "_text",
        "[\"a\",\"b c\",\"{}\",\"\\\"\",\"\\\\\",\"NULL\",null,\"\",\"a,b\"]",
        "{a,\"b c\",\"{}\",\"\\\"\",\"\\\\\",\"NULL\",NULL,\"\",\"a,b\"}",
    ),
    ("numeric[]", "_numeric", "[123456789012345678901234567890]", "{123456789012345678901234567890}"),
    ("jsonb[]", "_jsonb", "[{\"a\":1},2,\"x\"]", "{\"{\\\"a\\\": 1}\",2,\"\\\"x\\\"\"}"),
    ("box[]", "_box", "[\"(1,1),(0,0)\",\"(2,2),(0,0)\"]", "{(1,1),(0,0);(2,2),(0,0)}"),
    ("app.\"Row\"", "row", "{\"street_name\":\"a, \\\"b\\\"\",\"no\":5}", "(\"a, \"\"b\"\"\",5,)"),
    ("app.\"Row\"", "row", "{\"no\":null}", "(,,)"),
    ("app.\"Row\"", "row", "{\"tags\":[\"x\",null],\"streetName\":1}", "(1,,\"{x,NULL}\")"),
    ("app.\"Row\"", "row", "{\"no\":\"x\"}", "22P02"),
    ("app.\"Row\"", "row", "null", "NULL"),
];

/// Not every PostgreSQL is built with it.
const XML: Value = ("xml", "xml", "\"<a/>\"", "<a/>");

#[test]
fn every_type_arrives_through_its_json_form() -> Result<()> {
    let mut session = session("values")?;
    let mut findings = Findings::default();
    for value in VALUES {
        arrives(&mut session, &mut findings, value)?;
    }
    findings.report()
}

#[test]
fn xml_arrives_through_its_json_form() -> Result<()> {
    let mut session = session("xml")?;
    if session.run("select '<a/>'::xml")?.ok().is_err() {
        return skip(env!("CARGO_CRATE_NAME"), "libxml with this PostgreSQL");
    }
    let mut findings = Findings::default();
    arrives(&mut session, &mut findings, &XML)?;
    findings.report()
}

fn arrives(session: &mut Session, findings: &mut Findings, value: &Value) -> Result<()> {
    let (declared, cast, json, wanted) = value;
    let body = format!("{{\"v\": {json}}}");
    session.run(SCHEMA)?.ok()?;
    session
        .run(&format!("create function app.f(v {declared}) returns text language sql as 'select v::text'"))?
        .ok()?;
    let call = function(&format!("in v {cast}"));
    findings.expect(&format!("function, {declared} {json}"), &run(session, &post(&call, &body)?)?, wanted);
    session
        .run(&format!(
            "drop function app.f; create procedure app.f(inout v {declared}, out seen text) language plpgsql
             as 'begin seen := v::text; v := null; end'"
        ))?
        .ok()?;
    let call = procedure(&format!("inout v {cast}, out seen text"));
    let is_error = wanted.len() == 5 && wanted.starts_with("22");
    let wanted = if is_error { (*wanted).to_owned() } else { format!("NULL|{wanted}") };
    findings.expect(&format!("procedure, {declared} {json}"), &run(session, &post(&call, &body)?)?, &wanted);
    Ok(())
}

/// Domains: their own name is cast to, and their check decides.
#[test]
fn domains_and_enums_are_checked() -> Result<()> {
    let mut session = session("domains")?;
    let mut findings = Findings::default();
    for (name, like, json, wanted) in [
        ("app.positive", "int4", "7", "7"),
        ("app.positive", "int4", "-7", "23514"),
        ("app.numbers", "_int4", "[1,2]", "{1,2}"),
        ("app.document", "jsonb", "{\"a\":1}", "{\"a\": 1}"),
        ("app.home", "row", "{\"no\":2}", "(,2,)"),
        ("app.home", "row", "{\"no\":-2}", "23514"),
        ("app.mood", "text", "\"Happy\"", "Happy"),
        ("app.mood", "text", "\"happy\"", "22P02"),
        ("app._mood", "_text", "[\"sad\"]", "{sad}"),
        ("app.\"_Row\"", "_row", "[{\"no\":1},null]", "{\"(,1,)\",NULL}"),
    ] {
        session.run(SCHEMA)?.ok()?;
        session.run(&format!("create procedure app.f(v {name}, out seen text) language plpgsql as 'begin seen := v::text; end'"))?.ok()?;
        let mut calls =
            [procedure(&format!("in v {like}, out seen text")), function(&format!("in v {like}"))];
        for call in &mut calls {
            call.signature.parameters[0].type_oid = oid(name);
            let body = format!("{{\"v\": {json}}}");
            findings.expect(
                &format!("{:?} {name} {json}", call.kind),
                &run(&mut session, &post(call, &body)?)?,
                wanted,
            );
            session.run(&format!("drop routine app.f; create function app.f(v {name}) returns text language sql as 'select v::text'"))?.ok()?;
        }
    }
    findings.report()
}

#[test]
fn a_query_string_gives_texts_arrays_and_rows() -> Result<()> {
    let mut session = session("queries")?;
    session.run(SCHEMA)?.ok()?;
    session
        .run(
            "create function app.f(n int = 0, tags text[] = '{none}', boxes box[] = null, place app.\"Row\" = null, doc jsonb = null, moods app.mood[] = null)
             returns text language sql as $$ select concat_ws(' ', n, tags, boxes, place, doc, moods) $$",
        )?
        .ok()?;
    let mut call = function(
        "in n int4 =, in tags _text =, in boxes _box =, in place row =, in doc jsonb =, in moods _text =",
    );
    call.signature.parameters[5].type_oid = oid("app._mood");
    let mut findings = Findings::default();
    for (query, wanted) in [
        ("", "0 {none}"),
        (
            "n=5&tags=a&tags=b%2Cc&tags=&tags=NULL&tags=%22%5C%7B%7D",
            "5 {a,\"b,c\",\"\",\"NULL\",\"\\\"\\\\{}\"}",
        ),
        ("boxes=(1,1),(0,0)&boxes=(2,2),(0,0)", "0 {none} {(1,1),(0,0);(2,2),(0,0)}"),
        ("place=(a,1,)", "0 {none} (a,1,)"),
        ("place=%7B%22no%22:1%7D", "0 {none} (,1,)"),
        ("doc=%5B1%5D&moods=sad&moods=Happy", "0 {none} [1] {sad,Happy}"),
        ("n=", "22P02"),
        ("n=x", "22P02"),
        ("moods=x", "22P02"),
    ] {
        findings.expect(query, &run(&mut session, &get(&call, query)?)?, wanted);
    }
    findings.report()
}

#[test]
fn user_parameters_arrive_in_every_form() -> Result<()> {
    let mut session = session("users")?;
    session.run(SCHEMA)?.ok()?;
    session
        .run(
            "create function app.f(_user_id int, _user_name text, _user_roles text[], _user_claims jsonb, _ip_address inet)
             returns text language sql as $$ select concat_ws('|', _user_id + 1, _user_name, array_length(_user_roles, 1), _user_roles[1], _user_claims ->> 'sub', _ip_address) $$",
        )?
        .ok()?;
    let declaration = "in _user_id int4, in _user_name text, in _user_roles _text, in _user_claims jsonb, in _ip_address inet";
    let call = Call { user_parameters: true, ..function(declaration) };
    assert_eq!(run(&mut session, &post_as(&call, "", &alice())?)?, "43|alice|2|a,b|42|192.0.2.1");
    Ok(())
}

#[test]
fn defaults_variadic_and_parameters_without_a_name_work_as_postgres_wants_them() -> Result<()> {
    let mut session = session("notations")?;
    let mut findings = Findings::default();
    for (kind, sql, declaration, cases) in [
        (
            "function",
            "(a int, b int = 40 + 2, variadic tags text[] = '{d}') returns text language sql as $$ select concat_ws('|', a, b, tags) $$",
            "in a int4, in b int4 =, variadic tags _text =",
            &[
                (r#"{"a":1}"#, "1|42|{d}"),
                (r#"{"a":1,"b":2}"#, "1|2|{d}"),
                (r#"{"tags":["x"],"a":1,"b":3}"#, "1|3|{x}"),
                (r#"{"a":1,"b":null,"tags":[]}"#, "1|{}"),
            ][..],
        ),
        (
            "function",
            "(int, b int = 2, text = 'c', d text = 'd') returns text language sql as $$ select concat_ws('|', $1, $2, $3, $4) $$",
            "in - int4, in b int4 =, in - text =, in d text =",
            &[
                (r#"{"$1":1}"#, "1|2|c|d"),
                (r#"{"$1":1,"d":"x"}"#, "1|2|c|x"),
                (r#"{"$1":1,"b":3,"$3":"y","d":"x"}"#, "1|3|y|x"),
            ],
        ),
        (
            "procedure",
            "(a int, out b int, inout c text = 'q', variadic t text[] = '{d}') language plpgsql as $$ begin b := a + 1; c := c || t::text; end $$",
            "in a int4, out b int4, inout c text =, variadic t _text =",
            &[
                (r#"{"a":1}"#, "2|q{d}"),
                (r#"{"a":1,"c":"z"}"#, "2|z{d}"),
                (r#"{"a":1,"t":["x"],"c":"z"}"#, "2|z{x}"),
                (r#"{"a":1,"t":[],"c":null}"#, "2|NULL"),
            ],
        ),
        (
            "procedure",
            "(out int, int, inout text = 'q') language plpgsql as $$ begin $1 := $2 + 1; $3 := $3 || '!'; end $$",
            "out - int4, in - int4, inout - text =",
            &[(r#"{"$1":1}"#, "2|q!"), (r#"{"$1":1,"$2":"z"}"#, "2|z!")],
        ),
        (
            "procedure",
            "(\"select\" int = 1, inout \"A\"\"b\" int = 2) language plpgsql as $$ begin \"A\"\"b\" := \"select\" + \"A\"\"b\"; end $$",
            "in select int4 =, inout A\"b int4 =",
            &[("{}", "3"), (r#"{"select":5}"#, "7"), (r#"{"A\"b":5}"#, "6")],
        ),
    ] {
        session.run(SCHEMA)?.ok()?;
        session.run(&format!("create {kind} app.f{sql}"))?.ok().context(sql)?;
        let call = if kind == "function" { function(declaration) } else { procedure(declaration) };
        for (body, wanted) in cases {
            findings.expect(
                &format!("{declaration}: {body}"),
                &run(&mut session, &post(&call, body)?)?,
                wanted,
            );
        }
    }
    findings.report()
}
