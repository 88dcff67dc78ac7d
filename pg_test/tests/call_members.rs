//! Rows, arrays and `bytea` within arguments and answers, and types that the role may not name (C7.3).
//!
//! Not for the settings that a value could depend on (`call_instants.rs`).

mod common;

use anyhow::{Result, ensure};
use common::calls::{Api, Findings, told};
use serde_json::json;

const TYPES: &str = "create type part as (id int, the_text text, the_data bytea);
    create domain piece as part check ((value).id is distinct from 13);
    create domain binary_data as bytea;
    create type whole as (the_part part, more_parts piece[], raw_doc jsonb, a_b int, \"aB\" int);
    create table shelf (shelf_id int, dropped text, the_whole whole, raw_bytes binary_data); alter table shelf drop column dropped;";

#[test]
fn members_of_rows_follow_the_rules_of_parameters_at_any_depth() -> Result<()> {
    let api = Api::new("members")?;
    api.sql(TYPES)?;
    api.sql(
        "create function f(v whole) returns text language sql as $$ select v::text $$; comment on function f is 'HTTP POST';
         create procedure p(v shelf[], inout seen text = null) language plpgsql as $$ begin seen := v::text; end $$; comment on procedure p is 'HTTP POST';
         create function g(v part) returns text language sql stable as $$ select v::text $$; comment on function g is 'HTTP GET';",
    )?;
    let mut findings = Findings::default();
    for (value, wanted) in [
        (r#"{}"#, "200 (,,,,)"),
        (r#"{"thePart":{"id":1,"theText":"x"}}"#, r#"200 ("(1,x,)",,,,)"#),
        (r#"{"the_part":{"id":1,"the_text":"x"},"a_b":1,"aB":2}"#, r#"200 ("(1,x,)",,,1,2)"#),
        (
            r#"{"moreParts":[{"theText":"a \"b\" \\"},null,{}]}"#,
            r#"200 (,"{""(,\\""a \\""""\\""""b\\""""\\"" \\\\\\\\\\"",)"",NULL,""(,,)""}",,,)"#,
        ),
        (r#"{"rawDoc":{"the_text":1}}"#, r#"200 (,,"{""the_text"": 1}",,)"#),
    ] {
        let answer = api.post_bytes("f", format!("{{\"v\":{value}}}").as_bytes())?;
        if value.contains("moreParts") {
            // How nested quotes are escaped is decided by Postgres; what arrived is compared below.
            findings.expect(value, answer.status(), 200);
            continue;
        }
        findings.expect(value, told(&answer), wanted.to_owned());
    }
    for (value, status, named) in [
        (r#"{"thePart":{"nonsense":5}}"#, 400, "v.thePart.nonsense"),
        (r#"{"nonsense":5}"#, 400, "v.nonsense"),
        (r#"{"thePart":{"theText":"x","the_text":"x"}}"#, 400, "v.thePart.the_text"),
        (r#"{"moreParts":[{"THETEXT":"x"}]}"#, 400, "v.moreParts.THETEXT"),
        (r#"{"thePart":[1]}"#, 400, "v.thePart"),
        (r#"{"thePart":{"id":{}}}"#, 400, "v.thePart.id"),
        (r#"{"thePart":{"id":"x"}}"#, 400, ""),
        (r#"{"moreParts":[{"id":13}]}"#, 409, ""),
        (r#"{"thePart":{"theData":"aGVsbG8="}}"#, 400, "v.thePart.theData"),
    ] {
        let answer = api.post_bytes("f", format!("{{\"v\":{value}}}").as_bytes())?;
        findings.expect(&format!("{value}: {}", told(&answer)), answer.status(), status);
        findings.expect(value, answer.text().contains(named), true);
    }
    let body = r#"{"v":[{"shelfId":1,"theWhole":{"thePart":{"theText":"NULL"}},"rawBytes":"\\x00ff"},null]}"#;
    let answer = api.post_bytes("p", body.as_bytes())?;
    let wanted = r#"{"(1,\"(\"\"(,NULL,)\"\",,,,)\",\"\\\\x00ff\")",NULL}"#;
    findings.expect(
        "a table's rows",
        answer.json()?["seen"].as_str().map(str::to_owned),
        Some(wanted.to_owned()),
    );
    findings.expect(
        "query, object",
        told(&api.get("g?v=%7B%22theText%22:%22x%22%7D")?),
        "200 (,x,)".to_owned(),
    );
    let answer = api.get("g?v=(1,x,)")?;
    findings.expect("query, literal of a row with a bytea", answer.status(), 400);
    findings.report()
}

/// Postgres takes a text that does not begin with `\x` for the bytes themselves: base64 would be stored as
/// its letters.
#[test]
fn a_bytea_is_hexadecimal_or_refused_in_every_position() -> Result<()> {
    let api = Api::new("octets")?;
    api.sql(TYPES)?;
    let positions = [
        ("bytea", "@", "v"),
        ("binary_data", "@", "v"),
        ("bytea[]", "[@]", "v[1]"),
        ("binary_data[]", "[@]", "v[1]"),
        ("part", "{\"theData\":@}", "(v).the_data"),
        ("piece[]", "[{\"theData\":@}]", "v[1].the_data"),
        ("shelf", "{\"rawBytes\":@}", "(v).raw_bytes"),
    ];
    let mut findings = Findings::default();
    for (number, (of, json, found)) in positions.iter().enumerate() {
        api.sql(&format!(
            "create function f{number}(v {of}) returns int language sql as 'select octet_length({found})'; comment on function f{number} is 'HTTP POST';
             create procedure p{number}(v {of}, inout n int = null) language plpgsql as 'begin n := octet_length({found}); end'; comment on procedure p{number} is 'HTTP POST';"
        ))?;
        for (value, status) in [
            (r#""\\x68656c6c6f""#, 200),
            (r#""\\x""#, 200),
            (r#""aGVsbG8=""#, 400),
            (r#""hello""#, 400),
            (r#""""#, 400),
            (r#""\\X68""#, 400),
            (r#""\\x6""#, 400),
            (r#""\\xzz""#, 400),
            (r#""\\000""#, 400),
            ("5", 400),
            ("true", 400),
            ("[104]", 400),
        ] {
            let body = format!("{{\"v\":{}}}", json.replace('@', value));
            for name in ["f", "p"] {
                let answer = api.post_bytes(&format!("{name}{number}"), body.as_bytes())?;
                findings.expect(&format!("{name} {of} {body}: {}", told(&answer)), answer.status(), status);
            }
        }
    }
    findings.report()
}

// Long because it is one list of routines and answers.
#[test]
fn keys_of_rows_within_an_answer_are_camel_case_and_json_is_left_alone() -> Result<()> {
    let api = Api::new("answers")?;
    api.sql(TYPES)?;
    let value = "row(row(1, 'x', '\\xff'), array[row(2, 'the_text', null)::answers.piece], '{\"the_text\": {\"a_b\": 1}}', 1, 2)::answers.whole";
    let wanted = r#"{"thePart":{"id":1,"theText":"x","theData":"\\xff"},"moreParts":[{"id":2,"theText":"the_text","theData":null}],"rawDoc":{"the_text": {"a_b": 1}},"a_b":1,"aB":2}"#;
    let mut findings = Findings::default();
    for (name, declaration, wanted) in [
        ("one", format!("returns whole language sql stable as $$ select {value} $$"), wanted.to_owned()),
        (
            "many",
            format!("returns setof whole language sql stable as $$ select {value} $$"),
            format!("[{wanted}]"),
        ),
        (
            "list",
            format!("returns whole[] language sql stable as $$ select array[[{value}]] $$"),
            format!("[[{wanted}]]"),
        ),
        (
            "lists",
            format!("returns setof whole[] language sql stable as $$ select array[{value}] $$"),
            format!("[[{wanted}]]"),
        ),
        (
            "named",
            format!(
                "returns table (the_n int, the_one whole) language sql stable as $$ select 7, {value} $$"
            ),
            format!("[{{\"theN\":7,\"theOne\":{wanted}}}]"),
        ),
        (
            "outs",
            format!(
                "(out the_n int, out the_all whole[]) language sql stable as $$ select 7, array[{value}] $$"
            ),
            format!("{{\"theN\":7,\"theAll\":[{wanted}]}}"),
        ),
        (
            "shelves",
            format!(
                "returns setof shelf language sql stable as $$ select row(1, {value}, null)::answers.shelf $$"
            ),
            format!("[{{\"shelfId\":1,\"theWhole\":{wanted},\"rawBytes\":null}}]"),
        ),
        (
            "documents",
            "returns setof jsonb language sql stable as $$ select '{\"the_text\": 1}'::jsonb $$".to_owned(),
            "[{\"the_text\": 1}]".to_owned(),
        ),
        (
            "nothing",
            "returns whole language sql stable as 'select null::answers.whole'".to_owned(),
            String::new(),
        ),
    ] {
        let parentheses = if declaration.starts_with('(') { "" } else { "()" };
        api.sql(&format!(
            "create function r_{name}{parentheses} {declaration}; comment on function r_{name} is 'HTTP GET'"
        ))?;
        findings.expect(name, api.get(&format!("r-{name}"))?.text(), wanted);
    }
    api.sql(&format!(
        "create procedure p(out the_all whole[], inout the_n int = 1) language plpgsql as $$ begin the_all := array[{value}]; end $$;
         comment on procedure p is 'HTTP POST';"
    ))?;
    findings.expect(
        "procedure",
        api.post_bytes("p", b"")?.text(),
        format!("{{\"theAll\":[{wanted}],\"theN\":1}}"),
    );
    findings.report()
}

/// What can be called in SQL with literals can be called here: USAGE on the schema of a type is not needed.
#[test]
fn types_of_a_schema_without_usage_are_no_obstacle() -> Result<()> {
    let api = Api::new("hidden")?;
    api.sql(
        "create schema vault; create type vault.mood as enum ('ok'); create domain vault.small as int not null check (value < 10);
         create type vault.pair as (the_mood vault.mood, n vault.small);",
    )?;
    let mut findings = Findings::default();
    for (number, (of, value, wanted)) in [
        ("vault.mood", "\"ok\"", "ok"),
        ("vault.mood[]", "[\"ok\"]", "{ok}"),
        ("vault.small", "7", "7"),
        ("vault.pair", "{\"theMood\":\"ok\",\"n\":7}", "(ok,7)"),
        ("vault.pair[]", "[{\"n\":7}]", "{\"(,7)\"}"),
    ]
    .into_iter()
    .enumerate()
    {
        api.sql(&format!(
            "create function f{number}(v {of}) returns text language sql as 'select v::text'; comment on function f{number} is 'HTTP POST';
             create procedure p{number}(v {of}, out o {of}, inout seen text = null) language plpgsql as 'begin seen := v::text; o := v; end'; comment on procedure p{number} is 'HTTP POST';"
        ))?;
        let body = format!("{{\"v\":{value}}}");
        let answer = api.post_bytes(&format!("f{number}"), body.as_bytes())?;
        findings.expect(&format!("function, {of}"), told(&answer), format!("200 {wanted}"));
        let answer = api.post_bytes(&format!("p{number}"), body.as_bytes())?;
        let seen = answer.json().ok().and_then(|row| row["seen"].as_str().map(str::to_owned));
        findings.expect(&format!("procedure, {of}: {}", told(&answer)), seen, Some(wanted.to_owned()));
    }
    findings.expect("a domain still refuses NULL", api.post_bytes("f2", b"{\"v\":null}")?.status(), 409);
    findings.expect(
        "the role may not name them",
        api.sql("select has_schema_privilege('app', 'vault', 'usage')")?,
        "f".to_owned(),
    );
    // A type that moves is still the same type.
    api.sql(
        "create schema other; alter type vault.mood set schema other; alter type other.mood rename to temper",
    )?;
    findings.expect("moved", told(&api.post_bytes("f0", b"{\"v\":\"ok\"}")?), "200 ok".to_owned());
    findings.report()
}

/// Attack: types within types, so that each level doubles what there is, or so deep that reading them
/// recurses without an end.
#[test]
fn a_type_with_too_much_within_it_is_a_problem_of_its_routine_alone() -> Result<()> {
    let api = Api::new("sizes")?;
    let columns = |prefix: &str, count: usize, of: &str| {
        (0..count).map(|n| format!("{prefix}_{n} {of}")).collect::<Vec<_>>().join(", ")
    };
    let mut script = format!("create type wide as ({});", columns("c", 1000, "int"));
    for rest in [990, 991, 992] {
        let (nine, rest_of) = (columns("w", 9, "wide"), columns("i", rest, "int"));
        script.push_str(&format!("create type t{rest} as ({nine}, {rest_of});"));
    }
    script.push_str("create type d1 as (the_a int);");
    for level in 2..=50 {
        script.push_str(&format!("create type d{level} as (the_a d{});", level - 1));
    }
    script.push_str("create type b0 as (a int, b int);");
    for level in 1..=13 {
        script.push_str(&format!("create type b{level} as (a b{0}, b b{0});", level - 1));
    }
    let mut findings = Findings::default();
    script.push_str("create function row_of() returns b13 language sql stable as 'select row(null, null)::sizes.b13'; comment on function row_of is 'HTTP GET';");
    let types = ["t990", "t991", "t992", "d48", "d49", "d50", "b13", "b13[]"];
    for (number, of) in types.iter().enumerate() {
        script.push_str(&format!(
            "create function f{number}(v {of}) returns int language sql as 'select 1'; comment on function f{number} is 'HTTP POST';
             create function g{number}() returns {of} language sql stable as 'select null::sizes.{of}'; comment on function g{number} is 'HTTP GET';"
        ));
    }
    api.sql(&script)?;
    for (number, of) in types.iter().enumerate() {
        let fits = !matches!(*of, "t992" | "d50" | "b13" | "b13[]");
        let problem =
            format!("select problem is null from sse.endpoints where routine = 'sizes.f{number}'::regproc");
        findings.expect(
            &format!("{of}, problem"),
            api.sql(&problem)?,
            if fits { "t" } else { "f" }.to_owned(),
        );
        let answer = api.post_bytes(&format!("f{number}"), b"{\"v\":null}")?;
        findings.expect(of, answer.status(), if fits { 200 } else { 404 });
        findings.expect(&format!("{of}, answer"), api.get(&format!("g{number}"))?.status(), 204);
    }
    findings.expect(
        "an object all the same",
        told(&api.get("row-of")?),
        "200 {\"a\":null,\"b\":null}".to_owned(),
    );
    findings.report()
}

/// Attack: a role uses another's type deep inside its own types, so that a type of the other's routine counts
/// as having too much within it.
#[test]
fn a_type_far_within_others_is_what_it_is_alone() -> Result<()> {
    let api = Api::new("nested")?;
    let mut script = "create type inner_row as (a macaddr);
        create type victim as (\"in\" inner_row, addresses macaddr[]);
        create type d0 as (v victim);"
        .to_owned();
    for level in 1..=48 {
        script.push_str(&format!("create type d{level} as (a d{});", level - 1));
    }
    // Whatever is read first, one of the attacker's types is read before the victim's.
    for of in ["before", "victim", "after"] {
        let kind = if of == "victim" { "victim" } else { "d48" };
        script.push_str(&format!(
            "create function {of}_{kind}(v {kind}) returns {kind} language sql as 'select v'; comment on function {of}_{kind} is 'HTTP POST';"
        ));
    }
    api.sql(&script)?;
    let answer = api.post("victim-victim", &json!({ "v": { "in": { "a": "08:00:2b:01:02:03" } } }))?;
    ensure!(answer.status() == 200, "{}", told(&answer));
    ensure!(answer.json()?["in"]["a"] == "08:00:2b:01:02:03", "{}", told(&answer));
    Ok(())
}

#[test]
fn a_type_with_elements_that_has_a_text_of_its_own_is_given_as_that_text() -> Result<()> {
    let api = Api::new("vectors")?;
    api.sql(
        "create function v(x int2vector, o oidvector) returns int2vector language sql as 'select x';
         comment on function v(int2vector, oidvector) is 'HTTP POST';
         create function r(x int2vector) returns table (x_ int2vector, n int) language sql as 'select x, 1';
         comment on function r(int2vector) is 'HTTP POST'",
    )?;
    // `to_json`, which makes all answers, has its elements.
    assert_eq!(told(&api.post("v", &json!({"x": "1 2", "o": "3 4"}))?), "200 [1,2]");
    assert_eq!(told(&api.post("r", &json!({"x": "1 2"}))?), r#"200 [{"x":[1,2],"n":1}]"#);
    assert_eq!(api.post("v", &json!({"x": [1, 2], "o": "3 4"}))?.status(), 400);
    let client = api.cluster.sql("select sse.typescript_client('vectors')")?;
    for line in ["    x: string | null;", "    x: unknown;", "Promise<ApiResult<string | null>>"] {
        ensure!(client.contains(line), "{line}: {client}");
    }
    Ok(())
}
