//! Every type of an argument through its JSON form, and values that a type refuses (C7.3).
//!
//! Not for what a result becomes (`call_results.rs`).

mod common;

use anyhow::Result;
use common::calls::{Api, Findings, told};

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
