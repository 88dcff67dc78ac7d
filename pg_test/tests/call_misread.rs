//! An argument that its type does not take: the answer names the parameter and what it takes (C7.3, C7.4), so
//! that it is told apart from an error of the routine itself.
//!
//! Not for what each type takes (`call_arguments.rs`), nor for mistakes that the gateway finds by itself
//! (`crates/gateway/tests/calls.rs`).

mod common;

use anyhow::{Result, ensure};
use cluster::http::Response;
use common::SOON;
use common::calls::{Api, Findings, builder, start, told};
use common::tokens::ALICE;
use serde_json::{Value, json};

/// What an answer says of an argument.
fn said(answer: &Response) -> Result<(u16, String, String, String)> {
    let problem = answer.json()?;
    let member = |name: &str| problem[name].as_str().unwrap_or("").to_owned();
    Ok((answer.status(), member("sqlstate"), member("parameter"), member("detail")))
}

const TYPES: &str = "create type mood as enum ('sad', 'happy');
    create domain positive as int not null check (value > 0);
    create domain numbers as int[];
    create type place as (street text, no int);
    create domain home as place check ((value).no > 0);
    create type visit as (at place, tags positive[]);
    create type \"Odd Type\" as enum ('x');";

/// Status, SQLSTATE, parameter, type.
type Told = (u16, &'static str, &'static str, &'static str);

/// The parameters of a routine, a body, and what its answer says.
const MISREAD: &[(&str, &str, Told)] = &[
    ("n int", r#"{"n":"secret"}"#, (400, "22P02", "n", "integer")),
    ("n int", r#"{"n":""}"#, (400, "22P02", "n", "integer")),
    ("n int", r#"{"n":99999999999}"#, (400, "22003", "n", "integer")),
    (
        "_first text, _the_count int, third date",
        r#"{"first":"a","theCount":"secret","third":"also"}"#,
        (400, "22P02", "theCount", "integer"),
    ),
    (
        "a text, b int = 1, c date = null, d date = null",
        r#"{"a":"x","d":"secret"}"#,
        (400, "22007", "d", "date"),
    ),
    ("at timestamptz", r#"{"at":"2026-13-01"}"#, (400, "22008", "at", "timestamp with time zone")),
    ("int, text, date", r#"{"$1":1,"$2":"a","$3":"secret"}"#, (400, "22007", "$3", "date")),
    ("m mood", r#"{"m":"secret"}"#, (400, "22P02", "m", "misread.mood")),
    ("o \"Odd Type\"", r#"{"o":"secret"}"#, (400, "22P02", "o", "misread.\"Odd Type\"")),
    ("n positive", r#"{"n":-1}"#, (409, "23514", "n", "misread.positive")),
    ("n positive", r#"{"n":null}"#, (409, "23502", "n", "misread.positive")),
    ("n positive", r#"{"n":"secret"}"#, (400, "22P02", "n", "misread.positive")),
    ("n int[]", r#"{"n":[1,"secret"]}"#, (400, "22P02", "n", "integer[]")),
    ("n int[]", r#"{"n":[[1],[2,3]]}"#, (400, "22P02", "n", "integer[]")),
    ("n numbers", r#"{"n":["secret"]}"#, (400, "22P02", "n", "misread.numbers")),
    ("n positive[]", r#"{"n":[1,0]}"#, (409, "23514", "n", "misread.positive[]")),
    ("a text, variadic n int[]", r#"{"a":"","n":["secret"]}"#, (400, "22P02", "n", "integer[]")),
    ("a int, p place", r#"{"a":1,"p":{"no":"secret"}}"#, (400, "22P02", "p", "misread.place")),
    ("a int, p place[]", r#"{"a":1,"p":[null,{"no":"secret"}]}"#, (400, "22P02", "p", "misread.place[]")),
    ("p home", r#"{"p":{"no":0}}"#, (409, "23514", "p", "misread.home")),
    ("p home[]", r#"{"p":[{"no":"secret"}]}"#, (400, "22P02", "p", "misread.home[]")),
    ("v visit[]", r#"{"v":[{"tags":[0]}]}"#, (409, "23514", "v", "misread.visit[]")),
    ("v visit", r#"{"v":{"at":{"no":"secret"}}}"#, (400, "22P02", "v", "misread.visit")),
    // These types report it with SQLSTATEs of their own.
    ("r regclass", r#"{"r":"secret"}"#, (400, "22P02", "r", "regclass")),
    ("r regtype[]", r#"{"r":["secret"]}"#, (400, "22P02", "r", "regtype[]")),
    ("u uuid", r#"{"u":"secret"}"#, (400, "22P02", "u", "uuid")),
    ("j jsonb", r#"{"j":1e400000}"#, (400, "22003", "j", "jsonb")),
];

#[test]
fn an_error_of_an_argument_names_its_parameter_and_what_it_takes_and_never_its_value() -> Result<()> {
    let api = Api::new("misread")?;
    api.sql(TYPES)?;
    let mut findings = Findings::default();
    for (number, (parameters, body, (status, sqlstate, name, of))) in MISREAD.iter().enumerate() {
        // An OUT parameter takes a place in the statement, too.
        let with_out = match parameters.contains("variadic") || parameters.contains('=') {
            true => (*parameters).to_owned(),
            false => format!("{parameters}, out other int"),
        };
        api.sql(&format!(
            "create function f{number}({parameters}) returns text language sql as $$ select 'ran' $$;
             comment on function f{number} is 'HTTP POST';
             create procedure p{number}({with_out}) language plpgsql as 'begin end';
             comment on procedure p{number} is 'HTTP POST';"
        ))?;
        for kind in ["f", "p"] {
            let answer = api.post_bytes(&format!("{kind}{number}"), body.as_bytes())?;
            let what = format!("{kind} ({parameters}) {body}: {}", told(&answer));
            let wanted = format!("\"{name}\" takes a value of type {of}.");
            let own = |text: &str| text.to_owned();
            findings.expect(&what, said(&answer)?, (*status, own(sqlstate), own(name), wanted));
            findings.expect(&what, answer.text().contains("secret"), false);
        }
    }
    findings.report()
}

#[test]
fn an_argument_of_a_query_string_and_of_an_overload_is_named_as_any_other() -> Result<()> {
    let api = Api::new("overloads")?;
    api.sql(
        "create function get_one(from_day date, n int = 1) returns text language sql stable as $$ select 'day' $$;
         create function get_one(until_day timestamp, tags int[] = null) returns text language sql stable as $$ select 'time' $$;
         comment on function get_one(date, int) is 'HTTP'; comment on function get_one(timestamp, int[]) is 'HTTP';",
    )?;
    let mut findings = Findings::default();
    for (query, name, of) in [
        ("fromDay=x", "fromDay", "date"),
        ("from_day=x", "fromDay", "date"),
        ("n=x&fromDay=2026-01-01", "n", "integer"),
        ("untilDay=x", "untilDay", "timestamp without time zone"),
        ("untilDay=2026-01-01&tags=1&tags=x", "tags", "integer[]"),
    ] {
        let (status, _, parameter, detail) = said(&api.get(&format!("get-one?{query}"))?)?;
        let wanted = (400, name.to_owned(), format!("\"{name}\" takes a value of type {of}."));
        findings.expect(query, (status, parameter, detail), wanted);
    }
    findings.report()
}

#[test]
fn the_same_error_within_the_routine_names_no_parameter() -> Result<()> {
    let api = Api::new("within")?;
    api.sql("create domain small as int check (value < 10)")?;
    let mut findings = Findings::default();
    for (number, (returns, body, status, sqlstate)) in [
        ("int language plpgsql", "begin return (n::text || 'x')::int; end", 400, "22P02"),
        ("int language plpgsql", "begin return 1 / (n - n); end", 400, "22012"),
        ("int language plpgsql", "begin raise 'mine' using errcode = '22023'; end", 400, "22023"),
        ("small language plpgsql", "begin return n + 100; end", 409, "23514"),
        ("int language plpgsql", "declare s within.small := 100; begin return s; end", 409, "23514"),
        // Postgres may compute these when it plans the statement, before it begins.
        ("int immutable language sql", "select (n::text || 'x')::int", 400, "22P02"),
        ("int immutable language plpgsql", "begin return (n::text || 'x')::int; end", 400, "22P02"),
    ]
    .into_iter()
    .enumerate()
    {
        api.sql(&format!(
            "create function f{number}(n int) returns {returns} as $f$ {body} $f$; comment on function f{number} is 'HTTP POST'"
        ))?;
        let answer = api.post(&format!("f{number}"), &json!({ "n": 1 }))?;
        let wanted =
            if status == 400 { "A value is not valid." } else { "In conflict with the data that is there." };
        let wanted = (status, sqlstate.to_owned(), String::new(), wanted.to_owned());
        findings.expect(&format!("{body}: {}", told(&answer)), said(&answer)?, wanted);
        ensure!(answer.json()?.get("parameter").is_none(), "{}", told(&answer));
    }
    findings.report()
}

#[test]
fn an_argument_that_is_filled_from_the_identity_is_said_to_be_so() -> Result<()> {
    let api = Api::new("filled")?;
    api.sql(
        "create function f(a text, _user_id uuid) returns text language sql as $$ select 'ran' $$;
         comment on function f(text, uuid) is E'HTTP POST\\n@user_parameters'",
    )?;
    let answer = api.with(ALICE)?.post("f", &json!({ "a": "x" }))?;
    let (status, sqlstate, parameter, detail) = said(&answer)?;
    assert_eq!((status, &*sqlstate, &*parameter), (400, "22P02", "userId"), "{}", told(&answer));
    assert_eq!(detail, "\"userId\" is filled from the caller's identity, which is no value of type uuid.");
    Ok(())
}

#[test]
fn what_a_domain_says_of_a_value_by_a_raise_of_its_own_is_told_with_the_parameter() -> Result<()> {
    let api = Api::new("domains")?;
    api.sql(
        "create function is_even(n int) returns bool language plpgsql as $$ begin
             if n % 2 = 1 then raise exception 'even numbers only'; end if;
             if n = 2 then raise exception 'secret' using errcode = '42501'; end if; return true; end $$;
         create domain even as int check (domains.is_even(value));
         create function f(a text, n even) returns text language sql as $$ select 'ran' $$;
         comment on function f(text, even) is 'HTTP POST'",
    )?;
    let of = |n: u32| said(&api.post("f", &json!({ "a": "", "n": n }))?);
    let own = |text: &str| text.to_owned();
    assert_eq!(of(1)?, (400, own("P0001"), own("n"), own("even numbers only")));
    // Not about the value.
    assert_eq!(of(2)?, (403, own("42501"), String::new(), own("Not allowed.")));
    assert_eq!(told(&api.post("f", &json!({ "a": "", "n": 4 }))?), "200 ran");
    Ok(())
}

#[test]
fn a_call_whose_time_is_over_while_an_argument_is_read_blames_no_argument() -> Result<()> {
    let cluster = start(builder().setting("sse.call_timeout", "300ms"))?;
    let api = Api::of(&cluster, "slow")?;
    api.sql(
        "create domain slow as int check (pg_sleep(value) is not null);
         create function f(n slow) returns text language sql as $$ select 'ran' $$; comment on function f(slow) is 'HTTP POST'",
    )?;
    let (status, sqlstate, parameter, detail) = said(&api.post("f", &json!({ "n": 60 }))?)?;
    assert_eq!((status, &*sqlstate, &*parameter), (504, "57014", ""), "{detail}");
    Ok(())
}

#[test]
fn a_call_that_streams_and_one_that_goes_on_name_the_parameter_too() -> Result<()> {
    let api = Api::new("forms")?;
    api.sql(
        "create function f(a text, n int) returns text language sql as $$ select 'ran' $$;
         comment on function f(text, int) is E'HTTP POST\\n@sse'",
    )?;
    let body = json!({ "a": "x", "n": "secret" });
    let streamed = api.request("POST", "f").header("Accept", "text/event-stream").json(&body);
    let (status, _, parameter, detail) = said(&api.http.request(&streamed)?)?;
    assert_eq!((status, &*parameter, &*detail), (400, "n", "\"n\" takes a value of type integer."));

    let detached = api.request("POST", "f").header("Prefer", "respond-async").json(&body);
    let answer = api.http.request(&detached)?;
    assert_eq!(answer.status(), 202, "{}", told(&answer));
    let location = answer.header("location").unwrap_or("").to_owned();
    let mut stream = api.http.events(&location)?;
    let end = loop {
        let event = stream.next(SOON)?;
        if event.event != "sse.ready" {
            break event;
        }
    };
    let problem: Value = serde_json::from_str(&end.data)?;
    assert_eq!((&*end.event, &problem["status"]), ("sse.error", &json!(400)), "{}", end.data);
    assert_eq!((&problem["parameter"], &problem["sqlstate"]), (&json!("n"), &json!("22P02")));
    Ok(())
}

#[test]
fn an_argument_with_a_character_that_the_database_lacks_is_named() -> Result<()> {
    let cluster = start(builder().encoding("LATIN1"))?;
    let api = Api::of(&cluster, "latin")?;
    api.sql(
        "create function f(a text, n int = null, b text = null) returns text language sql as $$ select 'ran' $$;
         comment on function f(text, int, text) is 'HTTP POST'",
    )?;
    let mut findings = Findings::default();
    for (body, name) in [
        (json!({ "a": "€" }), "a"),
        (json!({ "a": "ü", "n": null, "b": "€" }), "b"),
        (json!({ "a": "ü", "n": "€" }), "n"),
    ] {
        let (status, sqlstate, parameter, detail) = said(&api.post("f", &body)?)?;
        let wanted = format!("\"{name}\" has a character that the database cannot store.");
        findings.expect(
            &body.to_string(),
            (status, &*sqlstate, &*parameter, &*detail),
            (400, "22P05", name, &*wanted),
        );
    }
    findings.expect("it has these", told(&api.post("f", &json!({ "a": "ü" }))?), "200 ran".to_owned());
    findings.report()
}
