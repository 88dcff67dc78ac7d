//! What a request gives and what the routine gets (C7.3): names, types, overloads, user parameters.
//!
//! Not for limits and malformed requests (`call_limits.rs`), nor for attacks (`call_safety.rs`).

mod common;

use anyhow::{Context, Result, ensure};
use cluster::http::Request;
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
