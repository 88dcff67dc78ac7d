//! The SQL that a call becomes, in Postgres: it takes arguments in every notation, finds the overload that
//! was meant, and gives a login its first row (C7.3, C7.5).
//!
//! Not for values of every type, nor for names (`call_arguments.rs`), nor for results (`call_results.rs`).

mod common;

use anyhow::{Context, Result};
use cluster::http::Response;
use common::calls::{Api, Findings, builder, eventually_text, start, told};
use common::tokens;
use serde_json::json;

/// A routine, and for bodies what is answered.
type Notation = (&'static str, &'static [(&'static str, &'static str)]);

const NOTATIONS: &[Notation] = &[
    (
        "function @(a int, b int = 40 + 2, variadic tags text[] = '{d}') returns text language sql as $$ select concat_ws('|', a, b, tags) $$",
        &[
            (r#"{"a":1}"#, "1|42|{d}"),
            (r#"{"a":1,"b":2}"#, "1|2|{d}"),
            (r#"{"tags":["x"],"a":1,"b":3}"#, "1|3|{x}"),
            (r#"{"a":1,"b":null,"tags":[]}"#, "1|{}"),
        ],
    ),
    (
        "function @(int, b int = 2, text = 'c', d text = 'd') returns text language sql as $$ select concat_ws('|', $1, $2, $3, $4) $$",
        &[
            (r#"{"$1":1}"#, "1|2|c|d"),
            (r#"{"$1":1,"d":"x"}"#, "1|2|c|x"),
            (r#"{"$1":1,"b":3,"$3":"y","d":"x"}"#, "1|3|y|x"),
        ],
    ),
    (
        "procedure @(a int, out b int, inout c text = 'q', variadic t text[] = '{d}') language plpgsql as $$ begin b := a + 1; c := c || t::text; end $$",
        &[
            (r#"{"a":1}"#, r#"{"b":2,"c":"q{d}"}"#),
            (r#"{"a":1,"c":"z"}"#, r#"{"b":2,"c":"z{d}"}"#),
            (r#"{"a":1,"t":["x"],"c":"z"}"#, r#"{"b":2,"c":"z{x}"}"#),
            (r#"{"a":1,"t":[],"c":null}"#, r#"{"b":2,"c":null}"#),
        ],
    ),
    (
        "procedure @(out int, int, inout text = 'q') language plpgsql as $$ begin $1 := $2 + 1; $3 := $3 || '!'; end $$",
        &[
            (r#"{"$1":1}"#, r#"{"column1":2,"column2":"q!"}"#),
            (r#"{"$1":1,"$2":"z"}"#, r#"{"column1":2,"column2":"z!"}"#),
        ],
    ),
    (
        "procedure @(\"select\" int = 1, inout \"A\"\"b\" int = 2) language plpgsql as $$ begin \"A\"\"b\" := \"select\" + \"A\"\"b\"; end $$",
        &[("{}", r#"{"a\"b":3}"#), (r#"{"select":5}"#, r#"{"a\"b":7}"#), (r#"{"A\"b":5}"#, r#"{"a\"b":6}"#)],
    ),
];

#[test]
fn defaults_variadic_and_parameters_without_a_name_work_as_postgres_wants_them() -> Result<()> {
    let api = Api::new("notations")?;
    let mut findings = Findings::default();
    for (number, (declaration, cases)) in NOTATIONS.iter().enumerate() {
        let kind = declaration.split(' ').next().unwrap_or_default();
        let created = declaration.replace('@', &format!("r{number}"));
        api.sql(&format!("create {created}; comment on {kind} r{number} is 'HTTP POST'"))?;
        for (body, wanted) in *cases {
            let answer = told(&api.post_bytes(&format!("r{number}"), body.as_bytes())?);
            findings.expect(&format!("{declaration}: {body}"), answer, format!("200 {wanted}"));
        }
    }
    findings.report()
}

#[test]
fn a_query_string_gives_texts_arrays_and_rows() -> Result<()> {
    let api = Api::new("queries")?;
    api.sql(
        "create type mood as enum ('sad', 'Happy'); create type place as (street_name text, no int, tags text[]);
         create function f(n int = 0, tags text[] = '{none}', boxes box[] = null, place place = null, doc jsonb = null, moods mood[] = null)
         returns text language sql as $$ select concat_ws(' ', n, tags, boxes, place, doc, moods) $$;
         comment on function f is 'HTTP GET';",
    )?;
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
    ] {
        findings.expect(query, told(&api.get(&format!("f?{query}"))?), format!("200 {wanted}"));
    }
    for query in ["n=", "n=x", "moods=x"] {
        findings.expect(query, api.get(&format!("f?{query}"))?.status(), 400);
    }
    findings.report()
}

/// Attack: whatever a role's search_path has before `pg_catalog`, nothing in a statement is found there.
#[test]
fn a_search_path_decides_nothing() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "honest")?;
    api.sql(
        "create function f(a text[], b int, out c int, out d text[]) language sql as 'select b, a'; comment on function f is 'HTTP POST';
         create function get_path() returns text language sql as $$ select current_setting('search_path') $$; comment on function get_path is 'HTTP GET';",
    )?;
    cluster.sql(
        "create schema evil; grant usage on schema evil to app;
         create domain evil.text as pg_catalog.int4; create type evil.json as (a int);
         create function evil.to_json(anyelement) returns pg_catalog.json language sql as $$ select '\"evil\"'::pg_catalog.json $$;
         create function evil.row_to_json(record) returns pg_catalog.json language plpgsql as $$ begin return '\"evil\"'; end $$;
         create function evil.f(a pg_catalog._text, b pg_catalog.int4) returns pg_catalog.text language sql as $$ select 'evil'::pg_catalog.text $$;
         alter role app set search_path = evil, pg_catalog",
    )?;
    cluster.reload()?;
    eventually_text(&api, "get-path", "evil, pg_catalog")?;
    assert_eq!(told(&api.post("f", &json!({ "a": ["x"], "b": 1 }))?), r#"200 {"c":1,"d":["x"]}"#);
    Ok(())
}

/// The choice among overloads agrees with Postgres: it is never a call that Postgres finds ambiguous.
#[test]
fn a_chosen_overload_is_one_that_postgres_finds() -> Result<()> {
    let api = Api::new("overloads")?;
    for (number, types) in (1..).zip([
        "a int",
        "a int, b int = 1",
        "a text, b int = 1",
        "a text, c text = '', d text = ''",
        "e int[]",
        "_f bigint, variadic g text[] = '{}'",
    ]) {
        // Some of them say that no request can mean them.
        let created =
            format!("create function f({types}) returns text language sql as 'select {number}::text';");
        let commented = format!(
            "comment on function f({}) is 'HTTP POST'",
            types.replace(" = 1", "").replace(" = ''", "").replace(" = '{}'", "")
        );
        api.run(&format!("{created} {commented}"))?.ok()?;
    }
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let mut chosen = Vec::new();
    for set in 0_u32..128 {
        let is_given = |bit: &usize| set & (1 << bit) != 0;
        let given: String = (0..7).filter(is_given).map(|bit| names[bit]).collect();
        let value =
            |name: char| format!("\"{name}\": {}", if matches!(name, 'e' | 'g') { "[1]" } else { "1" });
        let body = format!("{{{}}}", given.chars().map(value).collect::<Vec<_>>().join(", "));
        match told(&api.post_bytes("f", body.as_bytes())?) {
            answer if answer.starts_with("400 ") => {}
            answer => chosen.push(format!("{given}: {answer}")),
        }
    }
    let wanted = ["ab: 200 2", "ac: 200 4", "ad: 200 4", "acd: 200 4", "e: 200 5", "f: 200 6", "fg: 200 6"];
    assert_eq!(chosen, wanted, "a alone fits several; and what no overload takes: nothing is chosen");
    Ok(())
}

#[test]
fn a_login_is_by_its_first_row_and_nobodys_without_one() -> Result<()> {
    const TABLE: &str = "() returns table (user_id int, user_name text) language sql as";
    const OUT: &str = "(out user_id int, out user_name text) language";
    let api = Api::new("logins")?;
    let mut findings = Findings::default();
    for (number, (declaration, wanted)) in [
        (format!("{TABLE} $$ values (1, 'a'), (2, 'b') $$"), Some((json!(1), json!("a")))),
        (format!("{TABLE} $$ values (null::int, null), (2, 'b') $$"), None),
        (format!("{TABLE} 'select 1, null where false'"), None),
        (format!("{OUT} plpgsql as 'begin select 1, 2 into user_id, user_name where false; end'"), None),
        (format!("{OUT} sql as 'select 1, null::text'"), Some((json!(1), json!(null)))),
        ("(out user_id int) language sql as 'select 7'".to_owned(), Some((json!(7), json!(null)))),
        ("(out user_id int) language sql as 'select null::int'".to_owned(), None),
    ]
    .into_iter()
    .enumerate()
    {
        api.sql(&format!(
            "create function l{number}{declaration}; comment on function l{number} is e'HTTP POST\\n@login\\n@anonymous'"
        ))?;
        let answer = api.post(&format!("l{number}"), &json!({}))?;
        findings.expect(&declaration, answer.status(), if wanted.is_some() { 200 } else { 401 });
        findings.expect(&declaration, who(&api, &answer)?, wanted);
    }
    findings.report()
}

/// Id and name in the token of the answer's cookie.
fn who(api: &Api<'_>, answer: &Response) -> Result<Option<(serde_json::Value, serde_json::Value)>> {
    let Some(token) = answer.head.cookie("sse_session") else { return Ok(None) };
    let claims = tokens::claims(api.cluster, token).context("the token")?;
    Ok(Some((claims["user_id"].clone(), claims["user_name"].clone())))
}
