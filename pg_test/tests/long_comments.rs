//! A comment of any length costs its routine and no other (C2.5): it is read up to 64 kB, some of its
//! mistakes are said, and nobody waits for it.

mod common;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, Session};
use common::{Corner, SOON, wait_for_status};

const LIMIT: usize = 64 * 1024;

/// Longer than anything that is asked of a long comment takes, in a build without optimisation on a busy
/// machine; without the bounds the same took 10 seconds in an optimised one.
const PROMPT: Duration = Duration::from_secs(3);

/// SQL that sets a comment which is an expression.
fn comment(routine: &str, expression: &str) -> String {
    format!(
        "do $d$ begin execute 'comment on function {routine} is ' || quote_literal({expression}); end $d$"
    )
}

fn promptly(session: &mut Session, sql: &str) -> Result<cluster::Reply> {
    let started = Instant::now();
    let reply = session.run(sql)?.ok()?;
    let took = started.elapsed();
    ensure!(took < PROMPT, "{took:?} for {}", sql.get(..100).unwrap_or(sql));
    Ok(reply)
}

#[test]
fn a_comment_of_64_kb_is_read_and_one_byte_more_is_one_mistake() -> Result<()> {
    let corner = Corner::new("sized")?;
    let mut stream = corner.announced("listener", "@sse_subscribe")?;
    let mut session = corner.session()?;
    session.run(&common::announcer("f", ""))?.ok()?;
    for (bytes, is_read) in [(LIMIT - 1, true), (LIMIT, true), (LIMIT + 1, false)] {
        let text = format!("rpad(E'@sse\\n', {bytes}, 'prose ')");
        let reply = promptly(&mut session, &comment("f(text)", &text))?;
        let warnings = reply.texts("WARNING");
        session.run(&format!("select f('{bytes}')"))?.ok()?;
        wait_for_status(corner.http, "/api/sized/f/info", if is_read { 200 } else { 404 }, SOON)?;
        let checks = [
            "select string_agg(m, '; ') from sse.check('f(text)'::regprocedure) m".to_owned(),
            "select problem from sse.endpoints where routine = 'f(text)'::regprocedure".to_owned(),
            format!("select string_agg(m, '; ') from sse.check(({text})::text) m"),
        ];
        for sql in checks {
            let said = session.run(&sql)?.ok()?.text();
            assert_eq!(said, warnings.join("; "), "{bytes}: {sql}");
        }
        assert_eq!(warnings.len(), usize::from(!is_read), "{warnings:?}");
        ensure!(warnings.iter().all(|text| text.contains("64 kB")), "{warnings:?}");
    }
    // Below a routine that cannot be read, no routine further out publishes either.
    corner.sql(
        "create function outer_one() returns void language plpgsql as $f$ begin perform f('inner'); raise info 'own'; end $f$;
         comment on function outer_one() is '@sse'; select outer_one()",
    )?;
    assert_eq!(stream.next_data(3, SOON)?, [(LIMIT - 1).to_string(), LIMIT.to_string(), "own".to_owned()]);
    Ok(())
}

// Attack: a role that owns a routine writes a comment of megabytes, of which each line is a mistake.
#[test]
fn a_comment_of_megabytes_is_quickly_set_and_holds_up_nothing() -> Result<()> {
    let corner = Corner::new("huge")?;
    corner.announcer("good", "@sse")?;
    let mut session = corner.session()?;
    session.run(&common::announcer("f", ""))?.ok()?;
    let wrong = "E'@sse\\n' || repeat(E'@authorise\\n', 600000)";
    let reply = promptly(&mut session, &comment("f(text)", wrong))?;
    assert_eq!(reply.texts("WARNING").len(), 1, "{:?}", reply.messages.len());
    let problem =
        promptly(&mut session, "select problem from sse.endpoints where routine = 'f(text)'::regprocedure")?;
    ensure!(problem.text().len() < 1000, "{} bytes", problem.text().len());
    promptly(&mut session, "select f('not an event')")?;
    promptly(&mut session, &format!("select * from sse.check(({wrong})::text)"))?;
    // Routes are built again, and the next one is served soon.
    session.run(&common::announcer("later", "@sse"))?.ok()?;
    let started = Instant::now();
    wait_for_status(corner.http, "/api/huge/later/info", 200, SOON)?;
    ensure!(started.elapsed() < PROMPT, "{:?}", started.elapsed());
    let mut stream = corner.stream("good/info")?;
    corner.sql("select good('an event')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "an event");
    session.run("comment on function f(text) is null")?.ok()?;
    Ok(())
}

#[test]
fn a_long_comment_without_a_line_of_ours_is_prose() -> Result<()> {
    let corner = Corner::new("prose")?;
    corner.sql(
        "create function f() returns int language sql immutable as 'select 1';
         create function outer_one() returns void language plpgsql as $f$ begin perform f(); raise info 'own'; end $f$;
         comment on function outer_one() is '@sse'",
    )?;
    let mut session = corner.session()?;
    let reply =
        promptly(&mut session, &comment("f()", "repeat(E'See @sse, or HTTP.\\nHTTP client\\n', 50000)"))?;
    assert_eq!(reply.texts("WARNING").len(), 0, "{:?}", reply.messages);
    assert_eq!(
        session.run("select count(*) from sse.endpoints where routine = 'f()'::regprocedure")?.ok()?.text(),
        "0"
    );
    let mut stream = corner.stream("outer-one/info")?;
    corner.sql("select outer_one()")?;
    assert_eq!(stream.next_payload(SOON)?.data, "own");
    session.run("comment on function f() is null")?.ok()?;
    Ok(())
}

#[test]
fn ten_mistakes_are_in_the_row_of_a_routine_and_fifty_are_said_by_check() -> Result<()> {
    let corner = Corner::new("many")?;
    let mut session = corner.session()?;
    session.run(&common::announcer("f", ""))?.ok()?;
    for (mistakes, in_row, checked) in
        [(9, 9, 9), (10, 10, 10), (11, 11, 11), (50, 11, 50), (51, 11, 51), (1000, 11, 51)]
    {
        session
            .run(&comment("f(text)", &format!("E'@sse\\n' || repeat(E'@authorise\\n', {mistakes})")))?
            .ok()?;
        let problem =
            session.run("select problem from sse.endpoints where routine = 'f(text)'::regprocedure")?.ok()?;
        let sentences: Vec<&str> = problem.value().context("no problem")?.split("; ").collect();
        // Each names the nearest word after a semicolon of its own.
        let count = sentences.iter().filter(|text| !text.starts_with("the nearest")).count();
        assert_eq!(count, in_row, "{mistakes}: {sentences:?}");
        assert_eq!(sentences.last().is_some_and(|text| text.contains("and more")), mistakes > 10);
        let check = session.run("select count(*) from sse.check('f(text)'::regprocedure)")?.ok()?;
        assert_eq!(check.text(), checked.to_string(), "{mistakes}");
    }
    Ok(())
}

// Attack: a session that looks through a comment of its own cannot be ended, and a fast stop waits for it.
#[test]
fn a_session_that_looks_through_a_huge_comment_can_be_cancelled() -> Result<()> {
    // A server of its own, because every process that reads the routines searches this comment, too.
    let cluster = Cluster::builder().start()?;
    // Prose in short lines that are nearly ours, so that searching it takes longer than everything else. Not
    // set by a COMMENT, most of whose time is spent in Postgres itself, where it can be cancelled anyway.
    cluster.sql(
        "create function f() returns int language sql as 'select 1';
         insert into pg_description select 'f()'::regprocedure, 'pg_proc'::regclass, 0, repeat(E'H\\n', 50000000)",
    )?;
    let ask = |timeout: &str| -> Result<(Option<String>, Duration)> {
        let mut session = cluster.session()?;
        session.run(&format!("set statement_timeout = '{timeout}'"))?.ok()?;
        let started = Instant::now();
        let reply = session.run("select f()")?;
        Ok((reply.error().and_then(|error| error.sqlstate.clone()), started.elapsed()))
    };
    let (error, whole) = ask("0")?;
    assert_eq!(error, None);
    let (error, cancelled) = ask("10ms")?;
    eprintln!("{whole:?}, and {cancelled:?} when it is cancelled");
    assert_eq!(error.as_deref(), Some("57014"));
    ensure!(cancelled < whole / 2, "{cancelled:?} of {whole:?}");
    Ok(())
}
