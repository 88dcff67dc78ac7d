//! What the server log says of calls: the same as of any session (C7.2), and nothing from memory that was
//! freed.
//!
//! Not for what a caller is told (`call_errors.rs`).

mod common;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, wait_for};
use common::SOON;
use common::calls::{Api, Findings, builder, shared, start, told};
use common::tokens::is_quiet;
use serde_json::{Value, json};

/// The lines of the log after a place in it that begin with this text after their prefix.
fn lines<'a>(log: &'a str, begin: &str) -> Vec<&'a str> {
    log.lines().filter_map(|line| line.split_once(begin).map(|(_, rest)| rest.trim())).collect()
}

/// A body of PL/pgSQL or SQL of a routine that fails, each in another step of the call.
const FAILING: &[(&str, &str)] = &[
    ("while it runs", "create function f0() returns int language sql as 'select 1 / 0'"),
    ("while it is planned", "create function f1() returns int language sql immutable as 'select 1 / 0'"),
    (
        "in a RAISE",
        "create function f2() returns void language plpgsql as $f$ begin raise exception 'mine'; end $f$",
    ),
    (
        "in a deferred trigger, at the commit",
        "create function f3() returns void language sql as 'insert into logged.late values (1)'",
    ),
    ("behind a COMMIT", "create procedure f4() language plpgsql as $f$ begin commit; perform 1 / 0; end $f$"),
    (
        "in a deferred trigger, at a procedure's COMMIT",
        "create procedure f5() language plpgsql as $f$ begin insert into logged.late values (1); commit; end $f$",
    ),
];

#[test]
fn every_failed_call_is_in_the_log_with_its_statement() -> Result<()> {
    let api = Api::new("logged")?;
    api.sql(
        "create table late (x int); grant all on late to app;
         create function refuse() returns trigger language plpgsql as $f$ begin raise exception 'late'; end $f$;
         create constraint trigger refuse after insert on late deferrable initially deferred for each row execute function refuse();",
    )?;
    let mut findings = Findings::default();
    for (number, (step, routine)) in FAILING.iter().enumerate() {
        let kind = if routine.starts_with("create procedure") { "procedure" } else { "function" };
        api.sql(&format!("{routine}; comment on {kind} f{number}() is 'HTTP POST'"))?;
        // More than once: a freed text may look whole for a while.
        for _ in 0..4 {
            let mark = api.cluster.log_mark()?;
            let answer = api.post(&format!("f{number}"), &json!({}))?;
            findings.expect(&format!("{step}: {}", told(&answer)), answer.status(), 400);
            api.cluster.wait_for_log(mark, "STATEMENT:  ")?;
            let log = api.cluster.log_since(mark)?;
            let statements = lines(&log, "STATEMENT:  ");
            let is_whole = statements.len() == 1
                && statements[0].contains(&format!("\"f{number}\""))
                && statements[0].contains("\"logged\"");
            findings.expect(&format!("{step}:\n{log}"), is_whole, true);
        }
    }
    findings.report()
}

/// The statement of a row type of this width is some hundred kilobytes, which the allocator gives back to the
/// system at once: a process that reads it afterwards crashes, and every session of the cluster ends.
#[test]
fn a_failed_call_with_a_very_long_statement_is_an_ordinary_failure() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "wide")?;
    let postmaster = cluster.sql("select pg_postmaster_start_time()")?;
    for columns in [600, 1200] {
        is_quiet(api.run(&format!(
            "do $do$ begin execute format('create type w{columns} as (%s)', (
               select string_agg(format('%I int', repeat('\"', 55) || '_' || lpad(i::text, 4, '0')), ', ') from generate_series(1, {columns}) i)); end $do$;
             create function wid{columns}(x int) returns w{columns} language plpgsql as $f$ begin raise exception 'no'; end $f$;
             comment on function wid{columns}(int) is 'HTTP POST'"
        ))?)?;
        for _ in 0..3 {
            let mark = cluster.log_mark()?;
            let answer = api.post(&format!("wid{columns}"), &json!({ "x": 1 }))?;
            ensure!(answer.status() == 400 && answer.json()?["detail"] == "no", "{}", told(&answer));
            cluster.wait_for_log(mark, "STATEMENT:  ")?;
            let statement = cluster.log_since(mark)?;
            ensure!(statement.contains(&format!("\"wid{columns}\"")), "{} bytes of log", statement.len());
        }
    }
    let live = "select count(*) from pg_stat_activity where pid = pg_backend_pid()";
    assert_eq!(cluster.sql(live)?, "1");
    // A server that has restarted after a crash has lost its sessions, and logs that.
    ensure!(!cluster.log()?.contains("terminating any other active server processes"), "a crash");
    assert_eq!(cluster.sql("select pg_postmaster_start_time()")?, postmaster);
    Ok(())
}

/// What a log written as JSON says of this call, once it has come.
fn json_lines(cluster: &Cluster) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(cluster.data_dir().join("log"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let bytes = std::fs::read(&path)?;
            let text = String::from_utf8(bytes).context("the log is no UTF-8")?;
            for line in text.lines() {
                all.push(serde_json::from_str(line).with_context(|| line.to_owned())?);
            }
        }
    }
    Ok(all)
}

#[test]
fn every_line_of_a_json_log_parses_and_has_the_statement() -> Result<()> {
    let cluster = start(builder().setting("logging_collector", "on").setting("log_destination", "jsonlog"))?;
    let api = Api::of(&cluster, "parsed")?;
    api.sql(
        "create function f() returns int language sql as 'select 1 / 0'; comment on function f() is 'HTTP POST'",
    )?;
    for _ in 0..20 {
        assert_eq!(api.post("f", &json!({}))?.status(), 400);
    }
    let failures = wait_for(SOON, "twenty failures are in the log", || {
        // The last line may be written at this moment.
        let Ok(lines) = json_lines(&cluster) else { return Ok(None) };
        let failures: Vec<Value> =
            lines.into_iter().filter(|line| line["message"] == "division by zero").collect();
        Ok((failures.len() == 20).then_some(failures))
    })?;
    for failure in failures {
        let statement = failure["statement"].as_str().unwrap_or_default();
        ensure!(statement.contains("\"parsed\".\"f\"()"), "{failure}");
        ensure!(
            failure["context"].as_str().is_some_and(|text| text.contains("sse call parsed.f, ")),
            "{failure}"
        );
    }
    Ok(())
}

/// Errors outside of any statement name none.
#[test]
fn what_is_said_between_two_calls_names_no_statement() -> Result<()> {
    let cluster = shared();
    let api = Api::new("between")?;
    api.sql(
        "create function f() returns int language sql as 'select 1'; comment on function f() is 'HTTP POST'",
    )?;
    api.sql("create function g(a text) returns text language sql as 'select a'; comment on function g(text) is 'HTTP POST'")?;
    assert_eq!(told(&api.post("f", &json!({}))?), "200 1");
    let mark = cluster.log_mark()?;
    let answer = api.post("g", &json!({ "a": "a\u{0}b" }))?;
    assert_eq!(answer.status(), 400, "{}", told(&answer));
    assert_eq!(told(&api.post("f", &json!({}))?), "200 1");
    let log = cluster.log_since(mark)?;
    // Other tests write into the same log.
    let names = |line: &str| line.contains("STATEMENT") && line.contains("between");
    ensure!(!log.lines().any(names), "{log}");
    Ok(())
}

/// A text that the database's encoding does not have fails before the statement exists in that encoding.
#[test]
fn what_cannot_be_converted_leaves_no_bytes_of_another_encoding_in_the_log() -> Result<()> {
    let cluster = start(builder().encoding("LATIN1"))?;
    let api = Api::of(&cluster, "narrow")?;
    api.sql("create function g(a text) returns text language sql as 'select a'; comment on function g(text) is 'HTTP POST'")?;
    for _ in 0..4 {
        let mark = cluster.log_mark()?;
        let answer = api.post("g", &json!({ "a": "5 €" }))?;
        assert_eq!(answer.status(), 400, "{}", told(&answer));
        cluster.wait_for_log(mark, "has no equivalent in encoding")?;
        ensure!(!cluster.log_since(mark)?.contains("STATEMENT"), "{}", cluster.log_since(mark)?);
    }
    assert_eq!(told(&api.post("g", &json!({ "a": "5" }))?), "200 5");
    Ok(())
}

/// The settings that log statements apply to sessions of every kind; for calls they are set by `ALTER ROLE`,
/// too.
// Long because it is one list of settings and the lines that they make.
#[test]
fn statements_and_their_durations_are_logged_as_in_any_session() -> Result<()> {
    let cluster = start(builder().setting("sse.call_workers", "1"))?;
    let api = Api::of(&cluster, "timed")?;
    api.sql(
        "create function quick(a text) returns text language sql as 'select a'; comment on function quick(text) is 'HTTP POST';
         create procedure slow() language plpgsql as $f$ begin perform pg_sleep(0.2); commit; perform pg_sleep(0.2); end $f$; comment on procedure slow() is 'HTTP POST';
         create function late() returns trigger language plpgsql as $f$ begin perform pg_sleep(0.3); return null; end $f$;
         create table t (x int); grant all on t to app;
         create constraint trigger late after insert on t deferrable initially deferred for each row execute function late();
         create function commits() returns void language sql as 'insert into timed.t values (1)'; comment on function commits() is 'HTTP POST';",
    )?;
    let quick = || -> Result<()> {
        assert_eq!(told(&api.post("quick", &json!({ "a": "the-value" }))?), "200 the-value");
        Ok(())
    };
    // What the log has of calls since they were made with these settings.
    let with = |settings: &str, calls: &dyn Fn() -> Result<()>| -> Result<Vec<String>> {
        for name in ["log_statement", "log_duration", "log_min_duration_statement", "log_min_duration_sample"]
        {
            cluster.sql(&format!("alter role app reset {name}"))?;
        }
        for setting in settings.split(',') {
            cluster.sql(&format!("alter role app set {setting}"))?;
        }
        let workers = "select pid from pg_stat_activity where backend_type = 'pg_sse call worker'";
        let before = cluster.sql(workers)?;
        cluster.reload()?;
        wait_for(SOON, "the worker is replaced", || {
            Ok(cluster.sql(workers)?.parse::<u32>().ok().filter(|now| now.to_string() != before))
        })?;
        let mark = cluster.log_mark()?;
        calls()?;
        // A line that comes after all of theirs.
        api.http.get("/api/call-ready")?;
        cluster.sql("do $$ begin raise log 'that was all'; end $$")?;
        cluster.wait_for_log(mark, "that was all")?;
        let log = cluster.log_since(mark)?;
        let log = log.split_once("LOG:  that was all").map_or(log.as_str(), |(before, _)| before);
        ensure!(!log.contains("the-value"), "a value is in the log:\n{log}");
        ensure!(!log.contains("STATEMENT:"), "said twice:\n{log}");
        Ok(lines(log, "LOG:  ")
            .into_iter()
            .filter(|line| line.contains("sse call timed.") || line.ends_with(" ms"))
            .map(str::to_owned)
            .collect())
    };
    let all = || -> Result<()> {
        quick()?;
        assert_eq!(api.post("slow", &json!({}))?.status(), 204);
        assert_eq!(api.post("commits", &json!({}))?.status(), 204);
        Ok(())
    };
    let none = with("log_min_duration_statement = -1", &all)?;
    ensure!(none.is_empty(), "{none:?}");
    let statements = with("log_statement = 'all'", &quick)?;
    ensure!(
        statements.len() == 1 && statements[0].starts_with("execute sse call timed.quick, "),
        "{statements:?}"
    );
    ensure!(statements[0].contains("\"timed\".\"quick\""), "{statements:?}");
    let mods = with("log_statement = 'mod'", &all)?;
    ensure!(mods.is_empty(), "{mods:?}");
    // The procedure's commits, and what the commit does, count.
    let long = with("log_min_duration_statement = '250ms'", &all)?;
    ensure!(long.len() == 2, "{long:?}");
    for (line, what) in long.iter().zip(["slow", "commits"]) {
        ensure!(
            line.starts_with("duration: ") && line.contains(&format!(" ms  execute sse call timed.{what}, ")),
            "{line}"
        );
    }
    let sampled = with("log_min_duration_sample = 0,log_statement_sample_rate = 1", &quick)?;
    ensure!(sampled.len() == 1 && sampled[0].contains(" ms  execute sse call timed.quick, "), "{sampled:?}");
    let both = with("log_duration = on,log_statement = 'all'", &quick)?;
    // Each of the following calls, too: their statement line is left out for another schema, their duration
    // line is not.
    ensure!(both.len() == 3 && both[1].starts_with("duration: ") && both[1].ends_with(" ms"), "{both:?}");
    Ok(())
}

#[test]
fn an_error_is_in_the_log_as_any_sessions_with_the_call_that_it_was() -> Result<()> {
    let cluster = shared();
    let api = Api::new("logging")?;
    api.sql(
        "create function f() returns void language plpgsql as $$ begin
           raise exception 'mine' using errcode = 'P0099', detail = 'my detail', hint = 'my hint'; end $$;
         comment on function f() is 'HTTP POST'",
    )?;
    let mark = cluster.log_mark()?;
    let answer = api.post("f", &json!({}))?;
    ensure!(answer.status() == 500 && answer.json()?["sqlstate"] == "P0099", "{}", told(&answer));
    ensure!(!answer.text().contains("my detail") && !answer.text().contains("my hint"), "{}", told(&answer));
    cluster.wait_for_log(mark, "sse call logging.f, ")?;
    let log = cluster.log_since(mark)?;
    for part in [
        "ERROR:  mine",
        "DETAIL:  my detail",
        "HINT:  my hint",
        "PL/pgSQL function logging.f() line 2",
        "STATEMENT:  ",
    ] {
        ensure!(log.contains(part), "{part:?} is not in the log:\n{log}");
    }
    Ok(())
}
