//! What a request gives and what the routine gets (C7.3): names, defaults, NULL, overloads that conflict.
//!
//! Not for limits and malformed requests (`call_limits.rs`), nor for attacks (`call_safety.rs`). For each
//! notation of a statement, arrays, and which overload is chosen: `call_statements.rs`. For methods and media
//! types: `calls.rs` and `call_attacks.rs` of `crates/gateway/tests`.

mod common;

use anyhow::{Context, Result, ensure};
use common::calls::{Api, Findings, told};
use serde_json::{Value, json};

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
