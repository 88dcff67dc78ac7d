//! What fails, and what the caller is told (C7.4): a RAISE of the user's own, and of all other errors only
//! their kind.
//!
//! Not for who may call (`call_login.rs`, `call_safety.rs`) and what a request may be (`call_arguments.rs`).

mod common;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::http::Response;
use common::calls::{Api, Findings, builder, start, told};
use serde_json::{Value, json};

fn problem(answer: &Response) -> Result<Value> {
    let content_type = answer.header("content-type").unwrap_or("");
    ensure!(content_type.starts_with("application/problem+json"), "{content_type:?}: {}", told(answer));
    let problem = answer.json()?;
    ensure!(problem["status"] == answer.status(), "{problem}");
    ensure!(problem["title"].is_string(), "{problem}");
    Ok(problem)
}

/// A body of PL/pgSQL, the status, and the SQLSTATE.
const FAILURES: &[(&str, u16, &str)] = &[
    ("raise exception 'mine %', 1", 400, "P0001"),
    ("raise exception 'mine %', 1 using errcode = 'PT404'", 404, "PT404"),
    ("raise exception 'mine %', 1 using errcode = 'PT409'", 409, "PT409"),
    ("raise exception 'mine %', 1 using errcode = 'PT422'", 422, "PT422"),
    ("raise exception 'mine %', 1 using errcode = 'PT400'", 400, "PT400"),
    ("raise exception 'mine %', 1 using errcode = 'PT599'", 599, "PT599"),
    ("raise exception 'secret %', 1 using errcode = 'PT600'", 500, "PT600"),
    ("raise exception 'secret %', 1 using errcode = 'PT099'", 500, "PT099"),
    ("raise exception 'secret %', 1 using errcode = 'PTABC'", 500, "PTABC"),
    ("raise exception 'secret %', 1 using errcode = '22023'", 400, "22023"),
    ("raise unique_violation using message = 'secret'", 409, "23505"),
    ("raise exception 'secret %', 1 using errcode = '28000'", 401, "28000"),
    ("raise exception 'secret %', 1 using errcode = '42501'", 403, "42501"),
    ("raise exception 'secret %', 1 using errcode = '53300'", 503, "53300"),
    ("raise exception 'secret %', 1 using errcode = 'XX001'", 500, "XX001"),
    ("raise exception 'secret %', 1 using errcode = 'ZZ999'", 500, "ZZ999"),
    ("perform 1 / 0", 400, "22012"),
    ("perform 'secret-value'::int", 400, "22P02"),
    ("insert into failures.secrets values (1, 'secret-value'), (1, 'secret-value')", 409, "23505"),
    ("insert into failures.secrets values (2, null)", 409, "23502"),
    ("insert into failures.secrets values (3, '')", 409, "23514"),
    ("perform * from failures.hidden", 403, "42501"),
    ("perform * from secret_missing", 500, "42P01"),
    ("execute 'secret-value is no sql'", 500, "42601"),
    ("raise exception 'secret' using errcode = '40001'", 409, "40001"),
    ("raise exception 'secret' using errcode = '40P01'", 409, "40P01"),
    ("raise no_data_found using message = 'secret'", 500, "P0002"),
    ("assert false, 'mine 1'", 400, "P0004"),
    ("perform failures.deep(0)", 500, "54001"),
];

#[test]
fn each_failure_has_its_status_and_tells_the_users_own_message_alone() -> Result<()> {
    let api = Api::new("failures")?;
    api.sql(
        "create table secrets (id int primary key, secret_column text not null check (secret_column <> ''));
         grant insert on secrets to app;
         create table hidden (secret_column text);
         create function deep(n int) returns int language plpgsql as 'begin return failures.deep(n + 1); end';",
    )?;
    let mut findings = Findings::default();
    for (number, (body, status, sqlstate)) in FAILURES.iter().enumerate() {
        api.sql(&format!(
            "create function f{number}() returns text language plpgsql as $f$ begin {body}; return 'no'; end $f$;
             comment on function f{number}() is 'HTTP POST'"
        ))?;
        let answer = api.post(&format!("f{number}"), &json!({}))?;
        findings.expect(&format!("{body}: {}", told(&answer)), answer.status(), *status);
        let Ok(problem) = problem(&answer) else {
            findings.expect(body, told(&answer), "a problem".to_owned());
            continue;
        };
        findings.expect(
            &format!("{body}: SQLSTATE in {problem}"),
            problem["sqlstate"].as_str(),
            Some(*sqlstate),
        );
        let text = answer.text();
        let is_told =
            matches!(*sqlstate, "P0001" | "P0004" | "PT404" | "PT409" | "PT422" | "PT400" | "PT599");
        if is_told {
            findings.expect(&format!("{body}: {text}"), problem["detail"].as_str(), Some("mine 1"));
        }
        for inside in ["secret", "PL/pgSQL", "failures.", "select", "line 1", "/", ".rs"] {
            // The type of a problem may be a URL.
            let told = text.replace("about:blank", "").replace("application/", "");
            findings.expect(&format!("{body} tells {inside:?}: {text}"), told.contains(inside), false);
        }
    }
    findings.report()
}

#[test]
fn detail_hint_and_context_are_never_told_and_are_in_the_log() -> Result<()> {
    let api = Api::new("details")?;
    api.sql(
        "create function f() returns void language plpgsql as $$ begin
           raise exception 'mine' using detail = 'the-detail', hint = 'the-hint', table = 'the-table', column = 'the-column';
         end $$;
         comment on function f() is 'HTTP POST'",
    )?;
    let mark = api.cluster.log_mark()?;
    let answer = api.post("f", &json!({}))?;
    assert_eq!(answer.status(), 400);
    ensure!(answer.text().contains("mine") && !answer.text().contains("the-"), "{}", answer.text());
    api.cluster.wait_for_log(mark, "the-hint")?;
    let log = api.cluster.log_since(mark)?;
    for wanted in ["ERROR:  mine", "DETAIL:  the-detail", "details.f() line 2 at RAISE"] {
        assert_eq!(log.matches(wanted).count(), 1, "{wanted:?} in\n{log}");
    }
    Ok(())
}

#[test]
fn what_an_error_undoes_is_the_callers_transaction_alone() -> Result<()> {
    let api = Api::new("undone")?;
    api.sql(
        "create table t (n int); grant all on t to app;
         create function f(n int) returns int language plpgsql as $$ begin insert into undone.t values (n); return 1 / (n - 1); end $$;
         comment on function f(int) is 'HTTP POST';
         create procedure p() language plpgsql as $$ begin insert into undone.t values (10); commit; insert into undone.t values (11); perform 1 / 0; end $$;
         comment on procedure p() is 'HTTP POST';
         create function caught() returns text language plpgsql as $$ begin
           begin insert into undone.t values (20); raise exception 'inner'; exception when others then null; end;
           insert into undone.t values (21); return 'fine'; end $$;
         comment on function caught() is 'HTTP POST';",
    )?;
    let mut findings = Findings::default();
    findings.expect("fails", api.post("f", &json!({ "n": 1 }))?.status(), 400);
    findings.expect("works", told(&api.post("f", &json!({ "n": 2 }))?), "200 1".to_owned());
    findings.expect("fails late", api.post("p", &json!({}))?.status(), 400);
    findings.expect("catches", told(&api.post("caught", &json!({}))?), "200 fine".to_owned());
    findings.expect(
        "rows",
        api.sql("select string_agg(n::text, ' ' order by n) from t")?,
        "2 10 21".to_owned(),
    );
    // Deferred constraints speak at the commit.
    api.sql(
        "create table d (n int unique deferrable initially deferred); grant all on d to app;
         create function late() returns text language sql as $$ insert into undone.d values (1), (1); select 'no' $$;
         comment on function late() is 'HTTP POST';",
    )?;
    let answer = api.post("late", &json!({}))?;
    findings.expect(&told(&answer), answer.status(), 409);
    findings.expect("still none", api.sql("select count(*) from d")?, "0".to_owned());
    findings.report()
}

#[test]
fn a_result_that_fails_half_way_is_an_error_and_no_half() -> Result<()> {
    let api = Api::new("halves")?;
    api.sql(
        "create function get_some() returns setof int language plpgsql stable as $$ begin
           for i in 1..100000 loop return next i; end loop; perform 1 / 0; end $$;
         comment on function get_some() is 'HTTP';
         create function get_lazy() returns setof int language sql stable as $$ select 1 / (50000 - g) from generate_series(1, 60000) g $$;
         comment on function get_lazy() is 'HTTP';",
    )?;
    for routine in ["get-some", "get-lazy"] {
        let answer = api.get(routine)?;
        ensure!(answer.status() == 400, "{routine}: {}", answer.status());
        problem(&answer)?;
    }
    Ok(())
}

#[test]
fn what_happens_at_the_commit_has_the_calls_time_too() -> Result<()> {
    let cluster = start(builder().setting("sse.call_timeout", "500ms"))?;
    let api = Api::of(&cluster, "late")?;
    api.sql(
        "create table t (x int); grant all on t to app;
         create function sleep() returns trigger language plpgsql as $f$ begin perform pg_sleep(60); return null; end $f$;
         create constraint trigger late after insert on t deferrable initially deferred for each row execute function sleep();
         create function waits() returns void language sql as 'insert into late.t values (1)'; comment on function waits() is 'HTTP POST';
         create function holds() returns void language plpgsql as $f$ begin execute 'declare c cursor with hold for select pg_sleep(60)'; end $f$;
         comment on function holds() is 'HTTP POST';
         create function quick() returns text language sql as $$ select 'quick' $$; comment on function quick() is 'HTTP POST';",
    )?;
    for _ in 0..2 {
        let started = Instant::now();
        let answer = api.post("waits", &json!({}))?;
        let problem = problem(&answer)?;
        assert_eq!((answer.status(), problem["sqlstate"].as_str()), (504, Some("57014")), "{problem}");
        assert_eq!(problem["detail"], "The call took too long.");
        assert_eq!(told(&api.post("holds", &json!({}))?), "204");
        assert_eq!(told(&api.post("quick", &json!({}))?), "200 quick");
        // Long before the gateway's own patience of five more seconds is over.
        ensure!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
    assert_eq!(api.sql("select count(*) from t")?, "0");
    Ok(())
}

#[test]
fn what_postgres_says_about_an_argument_is_not_told() -> Result<()> {
    let api = Api::new("hushed")?;
    api.sql("create function f(n int) returns int language sql as 'select n'; comment on function f(int) is 'HTTP POST'")?;
    let answer = api.post("f", &json!({ "n": "the-value" }))?;
    let problem = problem(&answer)?;
    assert_eq!(answer.status(), 400);
    ensure!(!answer.text().contains("the-value"), "{problem}");
    problem["title"].as_str().context("a title")?;
    Ok(())
}

#[test]
fn an_unknown_path_is_a_404_and_a_routine_without_an_http_line_is_none() -> Result<()> {
    let api = Api::new("unknown")?;
    api.sql(
        "create function f() returns text language sql as $$ select 'x' $$; comment on function f() is '@authorize';
         create function g() returns text language sql as $$ select 'x' $$; comment on function g() is 'HTTP GET';",
    )?;
    assert_eq!(api.get("f")?.status(), 404);
    assert_eq!(api.get("nothing")?.status(), 404);
    assert_eq!(told(&api.get("g")?), "200 x");
    // A mistake in the comment: not callable until it is mended (C2.5).
    api.run("comment on function g() is e'HTTP GET\\n@authorise'")?.ok()?;
    cluster::wait_for(common::SOON, "it is gone", || Ok((api.get("g")?.status() == 404).then_some(())))?;
    api.sql("comment on function g() is e'HTTP GET'")?;
    assert_eq!(told(&api.get("g")?), "200 x");
    api.sql("drop function g()")?;
    cluster::wait_for(common::SOON, "it is dropped", || Ok((api.get("g")?.status() == 404).then_some(())))
}

/// A GET that no comment asked for runs READ ONLY; the log tells the routine's owner which line is missing.
#[test]
fn a_routine_that_writes_in_a_get_by_its_name_says_which_line_is_missing() -> Result<()> {
    let api = Api::new("unasked")?;
    api.sql(
        "create table t (x int); grant all on t to app;
         create function get_next() returns int language sql as 'insert into unasked.t values (1) returning x';
         comment on function get_next() is 'HTTP';
         create function reading() returns void language plpgsql as $$ begin set transaction read only; insert into unasked.t values (1); end $$;
         comment on function reading() is 'HTTP POST';",
    )?;
    let mark = api.cluster.log_mark()?;
    let answer = api.get("get-next")?;
    let refused = problem(&answer)?;
    assert_eq!((answer.status(), refused["sqlstate"].as_str()), (500, Some("25006")), "{refused}");
    assert_eq!(refused["detail"], "This routine writes, and its GET may not.");
    api.cluster.wait_for_log(mark, "HINT:  Write HTTP POST in its comment")?;
    let log = api.cluster.log_since(mark)?;
    ensure!(log.contains("LOG:  pg_sse: unasked.get_next writes, and a GET of it may not"), "{log}");
    // READ ONLY for another reason: no comment could mend that.
    let mark = api.cluster.log_mark()?;
    let answer = api.post("reading", &json!({}))?;
    assert_eq!(problem(&answer)?["detail"], "The call failed.", "{}", told(&answer));
    ensure!(!api.cluster.log_since(mark)?.contains("HINT:  Write HTTP POST"));
    Ok(())
}
