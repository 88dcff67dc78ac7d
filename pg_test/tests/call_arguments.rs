//! What a request gives and what the routine gets (C7.3): names, types, overloads, user parameters.
//!
//! Not for limits and malformed requests (`call_limits.rs`), nor for attacks (`call_safety.rs`).

mod common;

use anyhow::{Context, Result, ensure};
use cluster::http::Request;
use common::calls::{Api, Findings, told};
use common::tokens::{ALICE, Person};
use serde_json::{Value, json};

/// Type, what the request says, what `v::text` is in the routine. JSON as text: numbers must not be touched
/// on the way.
const TYPES: &[(&str, &str, &str)] = &[
    ("smallint", "-32768", "-32768"),
    ("integer", "2147483647", "2147483647"),
    ("integer", "\"12\"", "12"),
    ("bigint", "9223372036854775807", "9223372036854775807"),
    ("numeric", "123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789"),
    ("numeric", "\"1e3\"", "1000"),
    ("numeric", "1e3", "1000"),
    ("numeric(6,2)", "1.5", "1.5"),
    ("real", "1.5", "1.5"),
    ("double precision", "1e308", "1e+308"),
    ("double precision", "\"-Infinity\"", "-Infinity"),
    ("boolean", "true", "true"),
    ("boolean", "\"no\"", "false"),
    ("text", "\"a \\u00e9 \\ud83d\\udc18 \\\" ' \\\\ \\n\"", "a \u{e9} \u{1f418} \" ' \\ \n"),
    ("text", "5", "5"),
    ("text", "1.50", "1.50"),
    ("text", "\"\"", ""),
    ("varchar(3)", "\"abc\"", "abc"),
    ("varchar(3)", "\"abcd\"", "abcd"),
    ("character(3)", "\"abc\"", "abc"),
    ("name", "\"n\"", "n"),
    ("\"char\"", "\"x\"", "x"),
    ("bytea", "\"\\\\xdeadbeef\"", "\\xdeadbeef"),
    ("date", "\"2026-01-02\"", "2026-01-02"),
    ("time", "\"03:04:05.6\"", "03:04:05.6"),
    ("timetz", "\"03:04:05+02\"", "03:04:05+02"),
    ("timestamp", "\"2026-01-02T03:04:05.6\"", "2026-01-02 03:04:05.6"),
    ("timestamptz", "\"2026-01-02T03:04:05.6Z\"", "2026-01-02 03:04:05.6+00"),
    ("interval", "\"1 day 2 hours\"", "1 day 02:00:00"),
    ("uuid", "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("json", "{\"b\":1,\"a\":[1,null]}", "{\"b\":1,\"a\":[1,null]}"),
    ("jsonb", "{\"a\":[1,null]}", "{\"a\": [1, null]}"),
    ("jsonb", "\"text\"", "\"text\""),
    ("jsonb", "12345678901234567890123", "12345678901234567890123"),
    ("jsonpath", "\"$.a\"", "$.\"a\""),
    ("xml", "\"<a/>\"", "<a/>"),
    ("inet", "\"192.0.2.1/24\"", "192.0.2.1/24"),
    ("cidr", "\"2001:db8::/32\"", "2001:db8::/32"),
    ("macaddr", "\"08:00:2b:01:02:03\"", "08:00:2b:01:02:03"),
    ("macaddr8", "\"08:00:2b:01:02:03:04:05\"", "08:00:2b:01:02:03:04:05"),
    ("bit(3)", "\"101\"", "101"),
    ("bit varying", "\"10101\"", "10101"),
    ("money", "\"$1.50\"", "$1.50"),
    ("point", "\"(1,2)\"", "(1,2)"),
    ("line", "\"{1,2,3}\"", "{1,2,3}"),
    ("lseg", "\"[(0,0),(1,1)]\"", "[(0,0),(1,1)]"),
    ("box", "\"(1,1),(0,0)\"", "(1,1),(0,0)"),
    ("path", "\"((0,0),(1,1))\"", "((0,0),(1,1))"),
    ("polygon", "\"((0,0),(1,1))\"", "((0,0),(1,1))"),
    ("circle", "\"<(0,0),1>\"", "<(0,0),1>"),
    ("tsvector", "\"'a':1 'b':2\"", "'a':1 'b':2"),
    ("tsquery", "\"'a' & 'b'\"", "'a' & 'b'"),
    ("int4range", "\"[1,5)\"", "[1,5)"),
    ("int8range", "\"(1,5]\"", "[2,6)"),
    ("numrange", "\"[1.5,2.5]\"", "[1.5,2.5]"),
    ("daterange", "\"[2026-01-01,2026-01-03)\"", "[2026-01-01,2026-01-03)"),
    ("tsrange", "\"[2026-01-01 00:00:00,)\"", "[\"2026-01-01 00:00:00\",)"),
    ("int4multirange", "\"{[1,2),[5,7)}\"", "{[1,2),[5,7)}"),
    ("oid", "4294967295", "4294967295"),
    ("regclass", "\"pg_class\"", "pg_class"),
    ("regtype", "\"integer\"", "integer"),
    ("pg_lsn", "\"16/B374D848\"", "16/B374D848"),
    ("pg_snapshot", "\"10:20:10,14\"", "10:20:10,14"),
    ("mood", "\"happy\"", "happy"),
    ("positive", "7", "7"),
    ("label", "\"x\"", "x"),
    ("numbers", "[1,2]", "{1,2}"),
    ("document", "{\"a\":1}", "{\"a\": 1}"),
    ("place", "{\"street\":\"High, \\\"Street\\\"\",\"no\":5}", "(\"High, \"\"Street\"\"\",5)"),
    ("place", "{\"no\":null}", "(,)"),
    ("visit", "{\"at\":{\"street\":\"s\",\"no\":1},\"tags\":[\"a\",null]}", "(\"(s,1)\",\"{a,NULL}\")"),
    ("home", "{\"street\":\"s\",\"no\":2}", "(s,2)"),
    ("integer[]", "[1,null,3]", "{1,NULL,3}"),
    ("integer[]", "[[1,2],[3,4]]", "{{1,2},{3,4}}"),
    ("integer[]", "[]", "{}"),
    (
        "text[]",
        "[\"a\",\"b c\",\"{}\",\"\\\"\",\"\\\\\",\"NULL\",null,\"\",\"a,b\"]",
        "{a,\"b c\",\"{}\",\"\\\"\",\"\\\\\",\"NULL\",NULL,\"\",\"a,b\"}",
    ),
    ("numeric[]", "[123456789012345678901234567890]", "{123456789012345678901234567890}"),
    ("boolean[]", "[true,false]", "{t,f}"),
    ("jsonb[]", "[{\"a\":1},2,\"x\"]", "{\"{\\\"a\\\": 1}\",2,\"\\\"x\\\"\"}"),
    ("box[]", "[\"(1,1),(0,0)\",\"(2,2),(0,0)\"]", "{(1,1),(0,0);(2,2),(0,0)}"),
    ("mood[]", "[\"sad\"]", "{sad}"),
    ("place[]", "[{\"street\":\"s\",\"no\":1},null]", "{\"(s,1)\",NULL}"),
];

const MADE_TYPES: &str = "create type mood as enum ('sad', 'happy');
    create domain positive as int check (value > 0);
    create domain label as text;
    create domain numbers as int[];
    create domain document as jsonb;
    create type place as (street text, no int);
    create type visit as (at place, tags text[]);
    create domain home as place check ((value).no > 0);";

#[test]
fn every_type_arrives_in_functions_and_procedures_through_its_json_form() -> Result<()> {
    let api = Api::new("types")?;
    api.sql(MADE_TYPES)?;
    api.sql("create table taken (v text)")?;
    api.sql("grant insert, select, delete on taken to app")?;
    let mut script = String::new();
    for (number, (name, _, _)) in TYPES.iter().enumerate() {
        script.push_str(&format!(
            "create function f{number}(v {name}) returns text language sql as 'select v::text';
             comment on function f{number}({name}) is 'HTTP POST';
             create procedure p{number}(v {name}, inout seen text = null) language plpgsql as $$ begin seen := v::text; end $$;
             comment on procedure p{number}({name}, text) is 'HTTP POST';\n"
        ));
    }
    api.sql(&script)?;
    // A server may be built without libxml.
    let has_xml = api.run("select xml '<a/>'")?.error().is_none();
    let mut findings = Findings::default();
    for (number, (name, given, wanted)) in
        TYPES.iter().enumerate().filter(|(_, row)| has_xml || row.0 != "xml")
    {
        let body = format!("{{\"v\": {given}}}");
        let answer = api.post_bytes(&format!("f{number}"), body.as_bytes())?;
        findings.expect(
            &format!("function, {name} {given}"),
            told(&answer),
            format!("200 {wanted}").trim_end().to_owned(),
        );
        let answer = api.post_bytes(&format!("p{number}"), body.as_bytes())?;
        let seen = answer.json().ok().and_then(|row| row["seen"].as_str().map(str::to_owned));
        findings.expect(
            &format!("procedure, {name} {given}: {}", told(&answer)),
            seen.as_deref(),
            Some(*wanted),
        );
    }
    findings.report()
}

/// A text that a type does not take is the caller's mistake, whatever the type is.
// Long because it is one list of types and values.
#[test]
fn a_value_that_its_type_refuses_is_a_400_and_a_constraint_a_409() -> Result<()> {
    let api = Api::new("refused")?;
    api.sql(MADE_TYPES)?;
    let deep = format!("{}1{}", "[".repeat(101), "]".repeat(101));
    let digits = "9".repeat(140_000);
    let many_digits = format!("[{digits},{digits}]");
    let cases = [
        ("int", "\"x\"", 400),
        ("int", "1.5", 400),
        ("int", "true", 400),
        ("int", "{}", 400),
        ("int", "[1]", 400),
        ("smallint", "32768", 400),
        ("bigint", "9223372036854775808", 400),
        ("double precision", "1e400", 400),
        ("uuid", "\"1\"", 400),
        ("mood", "\"angry\"", 400),
        ("date", "\"2026-02-30\"", 400),
        ("inet", "\"300.1.1.1\"", 400),
        ("int[]", "[1,\"x\"]", 400),
        ("int[]", "[[1],[2,3]]", 400),
        ("place", "{\"no\":\"x\"}", 400),
        ("place", "5", 400),
        ("positive", "-1", 409),
        ("home", "{\"no\":-2}", 409),
        ("text", "\"\\u0000\"", 400),
        ("jsonb", "\"\\u0000\"", 400),
        ("text", "\"\\ud800\"", 400),
        // Types that report it with SQLSTATEs of their own.
        ("regclass", "\"nosuch\"", 400),
        ("regclass", "\"a.b.c.d.e\"", 400),
        ("regclass[]", "[\"nosuch\"]", 400),
        ("regtype", "\"nosuch\"", 400),
        ("regproc", "\"nosuch\"", 400),
        // Attack: values that are large in few bytes, or that two programs read as two.
        ("numeric", "1e400000000", 400),
        ("numeric[]", "[1e400000000]", 400),
        ("float8[]", "[1e400]", 400),
        ("jsonb", "1e400000000", 400),
        ("jsonb", "[1e400000000]", 400),
        ("jsonb", deep.as_str(), 400),
        ("int[]", "[[[[[[[1]]]]]]]", 400),
        ("place", "{\"no\":1e400000000}", 400),
        ("place", "{\"no\":1,\"no\":2}", 400),
        ("place[]", "[{\"street\":\"\\u0000\"}]", 400),
        ("place[]", "[{\"street\":\"\\ud800\"}]", 400),
        ("place[]", deep.as_str(), 400),
        ("jsonb", "{\"a\":{\"b\":1,\"b\":2}}", 400),
        ("numeric", digits.as_str(), 400),
        ("numeric[]", many_digits.as_str(), 400),
    ];
    let mut findings = Findings::default();
    for (number, (name, given, wanted)) in cases.iter().enumerate() {
        api.sql(&format!(
            "create function f{number}(v {name}) returns text language sql as 'select v::text';
             comment on function f{number}({name}) is 'HTTP POST';
             create procedure p{number}(v {name}) language plpgsql as 'begin end';
             comment on procedure p{number}({name}) is 'HTTP POST';"
        ))?;
        for kind in ["f", "p"] {
            let answer =
                api.post_bytes(&format!("{kind}{number}"), format!("{{\"v\":{given}}}").as_bytes())?;
            findings.expect(&format!("{kind} {name} {given}: {}", told(&answer)), answer.status(), *wanted);
        }
    }
    findings.report()
}

#[test]
fn names_are_camel_case_or_those_of_sql_and_never_both() -> Result<()> {
    let api = Api::new("names")?;
    api.sql(
        "create function f(_message_text text = 'd1', user__id2 text = 'd2', \"Weird Name\" text = 'd3', __x text = 'd4')
         returns text language sql as $$ select concat_ws('|', _message_text, user__id2, \"Weird Name\", __x) $$;
         comment on function f(text, text, text, text) is 'HTTP POST';
         create function g(_message_text text) returns text language sql as 'select _message_text';
         comment on function g(text) is 'HTTP GET';",
    )?;
    let mut findings = Findings::default();
    for (body, wanted) in [
        (json!({}), "200 d1|d2|d3|d4"),
        (json!({ "messageText": "a" }), "200 a|d2|d3|d4"),
        (json!({ "_message_text": "a" }), "200 a|d2|d3|d4"),
        (json!({ "userId2": "a" }), "200 d1|a|d3|d4"),
        (json!({ "user__id2": "a" }), "200 d1|a|d3|d4"),
        (json!({ "Weird Name": "a" }), "200 d1|d2|a|d4"),
        (json!({ "x": "a" }), "200 d1|d2|d3|a"),
        (json!({ "messageText": null }), "200 d2|d3|d4"),
    ] {
        findings.expect(&body.to_string(), told(&api.post("f", &body)?), wanted.to_owned());
    }
    for body in [
        json!({ "messageText": "a", "_message_text": "a" }),
        json!({ "message_text": "a" }),
        json!({ "MessageText": "a" }),
        json!({ "messagetext": "a" }),
        json!({ "messageText": "a", "other": 1 }),
        json!({ "": "a" }),
    ] {
        let answer = api.post("f", &body)?;
        findings.expect(&format!("{body}: {}", told(&answer)), answer.status(), 400);
    }
    for (query, wanted) in [
        ("?messageText=a", "200 a"),
        ("?_message_text=a", "200 a"),
        ("?messageText=a%20b+c%2B%C3%A9", "200 a b c+\u{e9}"),
        ("?messageText=", "200"),
    ] {
        findings.expect(query, told(&api.get(&format!("g{query}"))?), wanted.to_owned());
    }
    for query in [
        "",
        "?",
        "?other=1",
        "?messageText=a&_message_text=a",
        "?messageText=a&other=1",
        "?messageText=a&messageText=b",
        "?messageText=%ff",
        "?messageText=%00",
        "?messageText=%zz",
    ] {
        let answer = api.get(&format!("g{query}"))?;
        findings.expect(&format!("{query}: {}", told(&answer)), answer.status(), 400);
    }
    findings.report()
}

#[test]
fn a_missing_argument_is_named_and_a_default_is_postgres_own() -> Result<()> {
    let api = Api::new("defaults")?;
    api.sql(
        "create function f(_first_one int, b int = 40 + 2, c text = current_user) returns text language sql
         as $$ select concat_ws('|', _first_one, b, c) $$;
         comment on function f(int, int, text) is 'HTTP POST';
         create procedure p(a int, inout b int = 7) language plpgsql as 'begin b := a + b; end';
         comment on procedure p(int, int) is 'HTTP POST';",
    )?;
    let mut findings = Findings::default();
    findings.expect("defaults", told(&api.post("f", &json!({ "firstOne": 1 }))?), "200 1|42|app".to_owned());
    findings.expect(
        "null is a value",
        told(&api.post("f", &json!({ "firstOne": 1, "b": null }))?),
        "200 1|app".to_owned(),
    );
    findings.expect(
        "the last alone",
        told(&api.post("f", &json!({ "firstOne": 1, "c": "x" }))?),
        "200 1|42|x".to_owned(),
    );
    findings.expect(
        "a procedure's default",
        told(&api.post("p", &json!({ "a": 1 }))?),
        "200 {\"b\":8}".to_owned(),
    );
    findings.expect(
        "a procedure",
        told(&api.post("p", &json!({ "b": 2, "a": 1 }))?),
        "200 {\"b\":3}".to_owned(),
    );
    let answer = api.post("f", &json!({ "b": 1 }))?;
    findings.expect("missing", answer.status(), 400);
    ensure!(answer.text().contains("firstOne"), "what is missing is not named: {}", answer.text());
    findings.report()
}

#[test]
fn overloads_are_chosen_by_the_names_given() -> Result<()> {
    let api = Api::new("overloads")?;
    let mut script = "create function f() returns text language sql as $$ select 'none' $$; comment on function f() is 'HTTP POST';".to_owned();
    for (signature, types) in [("a int", "int"), ("a int, b int", "int, int"), ("b text", "text")] {
        script.push_str(&format!(
            "create function f({signature}) returns text language sql as $$ select '{signature}' $$;
             comment on function f({types}) is 'HTTP POST';"
        ));
    }
    api.sql(&script)?;
    let mut findings = Findings::default();
    for (body, wanted) in [
        (json!({}), "200 none"),
        (json!({ "a": 1 }), "200 a int"),
        (json!({ "a": 1, "b": 2 }), "200 a int, b int"),
        (json!({ "b": "x" }), "200 b text"),
    ] {
        findings.expect(&body.to_string(), told(&api.post("f", &body)?), wanted.to_owned());
    }
    for body in [json!({ "c": 1 }), json!({ "a": 1, "b": 2, "c": 3 })] {
        findings.expect(&body.to_string(), api.post("f", &body)?.status(), 400);
    }
    // Two methods at one path are two calls.
    api.sql(
        "create function m(a int) returns text language sql as $$ select 'got' $$; comment on function m(int) is 'HTTP GET';
         create function m(a text) returns text language sql as $$ select 'put' $$; comment on function m(text) is 'HTTP PUT';",
    )?;
    findings.expect("GET", told(&api.get("m?a=1")?), "200 got".to_owned());
    let put = api.request("PUT", "m").json(&json!({ "a": "1" }));
    findings.expect("PUT", told(&api.http.request(&put)?), "200 put".to_owned());
    findings.report()
}

/// A request has names, and never types.
#[test]
fn of_overloads_that_no_request_can_tell_apart_the_oldest_goes_on_and_the_others_say_why_not() -> Result<()> {
    let api = Api::new("alike")?;
    api.sql(
        "create function typed(id int) returns text language sql as $$ select 'int' $$; comment on function typed(int) is 'HTTP GET';
         create function typed(id uuid) returns text language sql as $$ select 'uuid' $$; comment on function typed(uuid) is 'HTTP GET';
         create function typed(id int, n int) returns text language sql as $$ select 'both' $$; comment on function typed(int, int) is 'HTTP GET';
         create function part(a int) returns text language sql as $$ select 'a' $$; comment on function part(int) is 'HTTP GET';
         create function part(a int, b int = 1) returns text language sql as $$ select 'a, b' $$; comment on function part(int, int) is 'HTTP GET';",
    )?;
    let mut findings = Findings::default();
    findings.expect("the oldest", told(&api.get("typed?id=5")?), "200 int".to_owned());
    findings.expect("other names", told(&api.get("typed?id=5&n=1")?), "200 both".to_owned());
    // Postgres itself cannot tell which `part(a => 1)` is meant.
    findings.expect("one of two", api.get("part?a=5")?.status(), 400);
    findings.expect("the other of two", told(&api.get("part?a=5&b=1")?), "200 a, b".to_owned());
    for (routine, has_problem) in [
        ("typed(int)", "f"),
        ("typed(uuid)", "t"),
        ("typed(int, int)", "f"),
        ("part(int)", "t"),
        ("part(int, int)", "f"),
    ] {
        let shown = format!(
            "select problem is not null from sse.endpoints where routine = 'alike.{routine}'::regprocedure"
        );
        findings.expect(routine, api.sql(&shown)?, has_problem.to_owned());
        let checked = format!("select count(*) = 1 from sse.check('alike.{routine}'::regprocedure)");
        findings.expect(routine, api.sql(&checked)?, has_problem.to_owned());
    }
    // When the oldest goes, the next one takes its place.
    api.sql("drop function typed(int)")?;
    let uuid = "typed?id=a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    common::calls::eventually_text(&api, uuid, "uuid")?;
    findings.report()
}

#[test]
fn arrays_come_by_repetition_and_variadic_as_an_array() -> Result<()> {
    let api = Api::new("arrays")?;
    api.sql(
        "create function f(tags text[] = '{none}', n int = 0) returns text language sql as $$ select tags::text || n $$;
         comment on function f(text[], int) is 'HTTP GET';
         create function v(variadic _numbers int[]) returns text language sql as $$ select _numbers::text $$;
         comment on function v(int[]) is 'HTTP POST';
         create function w(variadic _numbers int[]) returns text language sql as $$ select _numbers::text $$;
         comment on function w(int[]) is 'HTTP GET';
         create function d(_ids int[]) returns text language sql as $$ select _ids::text $$;
         comment on function d(int[]) is 'HTTP DELETE';",
    )?;
    let mut findings = Findings::default();
    for (query, wanted) in [
        ("f", "200 {none}0"),
        ("f?tags=a", "200 {a}0"),
        ("f?tags=a&n=2&tags=b%2Cc&tags=", "200 {a,\"b,c\",\"\"}2"),
        ("f?tags=%7Bx%7D", "200 {\"{x}\"}0"),
        ("w?numbers=1&numbers=2", "200 {1,2}"),
    ] {
        findings.expect(query, told(&api.get(query)?), wanted.to_owned());
    }
    findings.expect("variadic", told(&api.post("v", &json!({ "numbers": [1, 2] }))?), "200 {1,2}".to_owned());
    findings.expect("empty variadic", told(&api.post("v", &json!({ "numbers": [] }))?), "200 {}".to_owned());
    let delete = api.request("DELETE", "d?ids=3&ids=4");
    findings.expect("DELETE", told(&api.http.request(&delete)?), "200 {3,4}".to_owned());
    findings.report()
}

#[test]
fn a_strict_routine_does_not_run_for_null() -> Result<()> {
    let api = Api::new("strictly")?;
    api.sql(
        "create table ran (x int); grant insert on ran to app;
         create function f(a int) returns text language plpgsql strict as $$ begin insert into strictly.ran values (1); return 'ran'; end $$;
         comment on function f(int) is 'HTTP POST';
         create function s(a int) returns setof int language plpgsql strict as $$ begin return next 1; end $$;
         comment on function s(int) is 'HTTP POST';",
    )?;
    let mut findings = Findings::default();
    findings.expect("null", told(&api.post("f", &json!({ "a": null }))?), "204".to_owned());
    findings.expect("not run", api.sql("select count(*) from ran")?, "0".to_owned());
    findings.expect("a value", told(&api.post("f", &json!({ "a": 1 }))?), "200 ran".to_owned());
    findings.expect("a set", api.post("s", &json!({ "a": null }))?.status(), 204);
    findings.report()
}

#[test]
fn a_body_is_a_json_object_of_its_media_type() -> Result<()> {
    let api = Api::new("bodies")?;
    api.sql(
        "create function f(a text = 'none') returns text language sql as 'select a';
         comment on function f(text) is 'HTTP POST'",
    )?;
    let ask = |content_type: Option<&str>, body: &[u8]| -> Result<String> {
        let request = api.request("POST", "f").body(body);
        let request = match content_type {
            Some(content_type) => request.header("Content-Type", content_type),
            None => request,
        };
        Ok(told(&api.http.request(&request)?))
    };
    let mut findings = Findings::default();
    let body = br#"{"a":"x"}"#;
    for content_type in [
        "application/json",
        "application/json;charset=utf8",
        "application/json; charset=latin1",
        "Application/JSON",
    ] {
        findings.expect(content_type, ask(Some(content_type), body)?, "200 x".to_owned());
    }
    findings.expect("nothing at all", ask(None, b"")?, "200 none".to_owned());
    findings.expect("an empty body", ask(Some("application/json"), b"")?, "200 none".to_owned());
    findings.expect("blanks", ask(Some("application/json"), b" \n{ } ")?, "200 none".to_owned());
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
        Some("application/jsonx"),
        Some(""),
    ] {
        let answer = ask(content_type, body)?;
        findings.expect(&format!("{content_type:?}: {answer}"), &answer[..3], "415");
    }
    for body in [
        "[]",
        "1",
        "\"a\"",
        "null",
        "true",
        "{",
        "{}x",
        "{}{}",
        "{\"a\":}",
        "{'a':1}",
        "{\"a\":1,}",
        "{\"a\":01}",
        "{\"a\":NaN}",
        "\u{feff}{}",
        "a=x",
    ] {
        let answer = ask(Some("application/json"), body.as_bytes())?;
        findings.expect(&format!("{body}: {answer}"), &answer[..3], "400");
    }
    // A query string beside a body gives no arguments.
    let answer = api.http.request(&api.request("POST", "f?a=q").json(&json!({})))?;
    ensure!(!answer.text().contains('q') || answer.status() == 400, "{}", told(&answer));
    findings.report()
}

const MARY: Person = Person { id: "42", name: "mary \"m\"", roles: &["staff", "a,b"] };

#[test]
fn user_parameters_are_filled_from_the_identity_and_never_from_the_request() -> Result<()> {
    let api = Api::new("users")?;
    api.sql(
        "create function f(a text, _user_id text = null, _user_name text = null, _user_roles text[] = null,
             _user_claims jsonb = null, _ip_address inet = null) returns json language sql
         as $$ select json_build_array(a, _user_id, _user_name, _user_roles, _user_claims ->> 'user_id', _ip_address) $$;
         comment on function f(text, text, text, text[], jsonb, inet) is 'HTTP POST\n@user_parameters';
         create function g(_user_id int, _ip_address text) returns text language sql as $$ select _user_id + 1 || ' ' || _ip_address $$;
         comment on function g(int, text) is 'HTTP GET\n@user_parameters';
         create function plain(_user_id text = 'default') returns text language sql as 'select _user_id';
         comment on function plain(text) is 'HTTP GET';",
    )?;
    let mary = api.with(MARY)?;
    let mut findings = Findings::default();
    findings.expect(
        "all of them",
        mary.post("f", &json!({ "a": "x" }))?.json()?,
        json!(["x", "42", "mary \"m\"", ["staff", "a,b"], "42", "127.0.0.1"]),
    );
    findings.expect(
        "nobody",
        api.post("f", &json!({ "a": "x" }))?.json()?,
        json!(["x", null, null, null, null, "127.0.0.1"]),
    );
    findings.expect("another type", told(&mary.get("g")?), "200 43 127.0.0.1".to_owned());
    for name in ["userId", "_user_id", "userName", "userRoles", "userClaims", "ipAddress", "_ip_address"] {
        for who in [&mary, &api] {
            let mut body = json!({ "a": "x" });
            body[name] = json!("1");
            let answer = who.post("f", &body)?;
            findings.expect(&format!("{name}: {}", told(&answer)), answer.status(), 400);
        }
    }
    findings.expect("spoofed in a query", mary.get("g?userId=1")?.status(), 400);
    // Without the annotation and the setting it is a parameter like any other.
    findings.expect("off, default", told(&mary.get("plain")?), "200 default".to_owned());
    findings.expect("off, given", told(&mary.get("plain?userId=7")?), "200 7".to_owned());
    findings.report()
}

#[test]
fn an_authorized_routine_that_forgets_its_user_parameters_is_told_so() -> Result<()> {
    let api = Api::new("forgotten")?;
    let reply = api.run(
        "create function f(_user_id text = 'x') returns text language sql as 'select _user_id';
         comment on function f(text) is 'HTTP GET\n@authorize';",
    )?;
    let warnings = reply.ok()?;
    let warnings = warnings.texts("WARNING");
    ensure!(warnings.len() == 1 && warnings[0].contains("_user_id"), "{warnings:?}");
    assert_eq!(told(&api.with(ALICE)?.get("f?userId=3")?), "200 3", "it works all the same");
    Ok(())
}

/// What a browser's form, curl and a program send.
#[test]
fn the_method_decides_where_arguments_are_read() -> Result<()> {
    let api = Api::new("methods")?;
    let mut findings = Findings::default();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        let name = format!("f_{}", method.to_lowercase());
        api.sql(&format!(
            "create function {name}(a text) returns text language sql as 'select a';
             comment on function {name}(text) is 'HTTP {method}'"
        ))?;
        let path = name.replace('_', "-");
        let request = if matches!(method, "GET" | "DELETE") {
            api.request(method, &format!("{path}?a=x"))
        } else {
            api.request(method, &path).json(&json!({ "a": "x" }))
        };
        findings.expect(method, told(&api.http.request(&request)?), "200 x".to_owned());
    }
    // A path given in the comment, and the method that volatility and name suggest.
    api.sql(
        "create function at_path() returns text language sql as $$ select 'there' $$; comment on function at_path() is 'HTTP GET /v1/there';
         create function only_path() returns text language sql as $$ select 'here' $$; comment on function only_path() is 'HTTP /v1/here';
         create function steady() returns text language sql stable as $$ select 'steady' $$; comment on function steady() is 'HTTP';
         create function get_it() returns text language sql as $$ select 'it' $$; comment on function get_it() is 'HTTP';",
    )?;
    let ask = |method: &str, path: &str| -> Result<String> {
        Ok(told(&api.http.request(&Request::new(method, path).header("Sec-Fetch-Site", "same-origin"))?))
    };
    findings.expect("its own path", ask("GET", "/v1/there")?, "200 there".to_owned());
    findings.expect("with a slash", ask("GET", "/v1/there/")?, "200 there".to_owned());
    findings.expect("POST by default", ask("POST", "/v1/here")?, "200 here".to_owned());
    findings.expect("GET for what is stable", told(&api.get("steady")?), "200 steady".to_owned());
    findings.expect("GET by name", told(&api.get("get-it")?), "200 it".to_owned());
    findings.report()
}

#[test]
fn a_routine_that_cannot_be_called_by_name_is_no_error_of_the_server() -> Result<()> {
    let api = Api::new("unnamed")?;
    api.run(
        "create function f(int, text) returns text language sql as $$ select $1 || $2 $$;
         comment on function f(int, text) is 'HTTP POST';
         create function r() returns record language sql as 'select 1, 2';
         comment on function r() is 'HTTP GET';
         create function t() returns trigger language plpgsql as 'begin return null; end';
         comment on function t() is 'HTTP GET';",
    )?;
    let mut findings = Findings::default();
    for (routine, answer) in
        [("f", api.post("f", &json!({ "a": 1 }))?), ("r", api.get("r")?), ("t", api.get("t")?)]
    {
        ensure!((400..500).contains(&answer.status()), "{routine}: {}", told(&answer));
    }
    let problems = api.sql(
        "select count(*) from sse.endpoints join pg_proc on pg_proc.oid = routine
          where pronamespace = 'unnamed'::regnamespace and proname in ('r', 't') and problem is not null",
    )?;
    findings.expect("problems are shown", problems, "2".to_owned());
    findings.report()
}

#[test]
fn sse_endpoints_shows_method_and_url() -> Result<()> {
    let api = Api::new("shown")?;
    api.sql(
        "create function get_x() returns int language sql as 'select 1'; comment on function get_x() is 'HTTP';
         create procedure p() language plpgsql as 'begin end'; comment on procedure p() is 'HTTP PUT';",
    )?;
    let rows = api.sql(
        "select method, url, problem from sse.endpoints join pg_proc on pg_proc.oid = routine
          where pronamespace = 'shown'::regnamespace",
    )?;
    let wanted = ["GET|/api/shown/get-x|", "PUT|/api/shown/p|"];
    ensure!(wanted.iter().all(|wanted| rows.contains(wanted)), "{rows}");
    let row: Value = api.get("get-x")?.json().context("a number")?;
    assert_eq!(row, 1);
    Ok(())
}
