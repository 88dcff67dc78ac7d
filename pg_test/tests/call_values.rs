//! Every notation of arguments, in the SQL that a call becomes, without pg_sse (C7.3).
//!
//! Not for values of every type, nor for HTTP: `call_arguments.rs`.

#![allow(clippy::unwrap_used)]

#[path = "../../crates/proto/tests/call/fixture.rs"]
mod fixture;
#[path = "common/statements.rs"]
mod statements;

use anyhow::{Context, Result};
use fixture::{alice, function, get, oid, post, post_as, procedure};
use sse_proto::route::Call;
use statements::{Findings, SCHEMA, run, session};

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
