//! Mistakes in annotations fail closed, and the session that made them is told at once (C2.5).

mod common;

use anyhow::{Context, Result};
use common::{Corner, SOON, wait_for_status};

/// Comment, and what the WARNING must say: line, word, nearest valid word.
const MISTAKES: [(&str, &str, &str, &str); 9] = [
    ("@sse\n@authorise", "line 2", "@authorise", "@authorize"),
    ("HTTP GET\n@anonimous", "line 2", "@anonimous", "@anonymous"),
    ("HTTP POST\n@logn", "line 2", "@logn", "@login"),
    ("@ssee", "line 1", "@ssee", "@sse"),
    ("@sse_subscibe", "line 1", "@sse_subscibe", "@sse_subscribe"),
    ("Prose.\n\n@sse\n@sse_level loud", "line 4", "loud", ""),
    ("@sse\n@sse_delivery later", "line 2", "later", ""),
    ("@sse\nauthorize", "line 2", "authorize", "@authorize"),
    ("@sse on notise", "line 1", "notise", "notice"),
];

#[test]
fn a_mistake_is_said_at_the_comment_with_line_word_and_nearest_word() -> Result<()> {
    let corner = Corner::new("said")?;
    let mut session = corner.session()?;
    session.run(&common::announcer("f", "")).and_then(cluster::Reply::ok)?;
    for (comment, line, word, nearest) in MISTAKES {
        let reply = session
            .run(&format!("comment on function f(text) is E'{}'", comment.replace('\n', "\\n")))?
            .ok()?;
        let warnings = reply.texts("WARNING");
        assert_eq!(warnings.len(), 1, "{comment:?}: {:?}", reply.messages);
        for part in [line, word, nearest] {
            assert!(warnings[0].contains(part), "{comment:?} must name {part:?}: {}", warnings[0]);
        }
        let check = session.run("select * from sse.check('f(text)'::regprocedure)")?.ok()?;
        assert_eq!(check.value(), Some(warnings[0]), "sse.check(regprocedure) says the same: {comment:?}");
        let problem =
            session.run("select problem from sse.endpoints where routine = 'f(text)'::regprocedure")?.ok()?;
        assert!(problem.text().contains(warnings[0]), "sse.endpoints.problem says the same: {comment:?}");
        let url = session.run("select sse.url('f(text)')")?.ok()?;
        assert_eq!(url.value(), None, "{comment:?}");
    }
    Ok(())
}

#[test]
fn a_comment_without_mistakes_gets_no_warning() -> Result<()> {
    let corner = Corner::new("silent")?;
    let mut session = corner.session()?;
    session.run(&common::announcer("f", "")).and_then(cluster::Reply::ok)?;
    for comment in [
        "@sse",
        "@SSE live on Notice",
        "@sse_events_path = live",
        "@sse_publish\\n@sse_scope authorize a, \"b c\", role:admin",
        "@sse_events_subscribe\\n@sse_events_level warning",
        "@sse\\n@sse_event order\\n@sse_topic \"my topic\"\\n@sse_delivery immediate",
        "HTTP POST\\n@authorize admin\\n@user_parameters\\n@user_context\\n@sse",
        "HTTP GET /x/y\\n@anonymous\\n@login",
        "HTTP\\n@signout\\n@path /z",
        "@sse = true\\n@authorize = false",
        "Prose that mentions authors, and login.\\n@param of another tool",
        "Please authorize yourself.",
        "@authorise in a comment without a line of ours is somebody else''s",
    ] {
        let reply = session.run(&format!("comment on function f(text) is E'{comment}'"))?.ok()?;
        assert!(reply.messages.is_empty(), "{comment:?}: {:?}", reply.messages);
        let check = session.run("select * from sse.check('f(text)'::regprocedure)")?.ok()?;
        assert!(check.rows.is_empty(), "{comment:?}: {:?}", check.rows);
    }
    Ok(())
}

#[test]
fn a_routine_with_a_mistake_publishes_nothing_and_has_no_url_until_it_is_mended() -> Result<()> {
    let corner = Corner::new("closed")?;
    corner.announcer("listener", "@sse_subscribe")?;
    corner.announcer("f", "@sse")?;
    let mut stream = corner.stream("listener/info")?;
    let mut session = corner.session()?;
    session.run("select f('before')")?.ok()?;
    session.run("comment on function f(text) is E'@sse\\n@authorise'")?.ok()?;
    session.run("select f('while it is wrong')")?.ok()?;
    wait_for_status(corner.http, "/api/closed/f/info", 404, SOON)?;
    session.run("comment on function f(text) is '@sse'")?.ok()?;
    session.run("select f('after')")?.ok()?;
    assert_eq!(corner.status("f/info")?, 200);
    assert_eq!(stream.next_data(2, SOON)?, ["before", "after"]);
    Ok(())
}

#[test]
fn a_routine_with_a_mistake_lets_nobody_further_out_publish_what_is_raised_below_it() -> Result<()> {
    let corner = Corner::new("stops")?;
    corner.announcer("wrong", "@sse\n@sse_level loud")?;
    corner.announcer("listens", "@sse_subscribe")?;
    corner.sql(
        "create function outer_one() returns void language plpgsql as $f$
         begin
           perform wrong('below a mistake');
           perform listens('below a subscriber');
           raise info 'own';
         end $f$;
         comment on function outer_one() is '@sse'",
    )?;
    let mut stream = corner.stream("outer-one/info")?;
    corner.sql("select outer_one()")?;
    assert_eq!(stream.next_payload(SOON)?.data, "own");
    Ok(())
}

#[test]
fn a_publisher_that_is_parallel_safe_is_a_mistake() -> Result<()> {
    let corner = Corner::new("parallel")?;
    let mut session = corner.session()?;
    session.run("create function f() returns void language plpgsql parallel safe as $f$ begin raise info 'x'; end $f$")?.ok()?;
    let reply = session.run("comment on function f() is '@sse'")?.ok()?;
    assert!(reply.texts("WARNING").iter().any(|text| text.contains("PARALLEL SAFE")), "{:?}", reply.messages);
    assert_eq!(corner.status("f/info")?, 404);
    session.run("alter function f() parallel unsafe")?.ok()?;
    assert_eq!(session.run("select sse.url('f()')")?.ok()?.value(), Some("/api/parallel/f/info"));
    let mut stream = corner.stream("f/info")?;
    session.run("select f()")?.ok()?;
    assert_eq!(stream.next_payload(SOON)?.data, "x");
    session.run("alter function f() parallel safe")?.ok()?;
    assert_eq!(session.run("select count(*) from sse.check('f()'::regprocedure)")?.ok()?.value(), Some("1"));
    // A routine that only has a stream publishes nothing, so it may be called in parallel.
    let reply = session.run("comment on function f() is '@sse_subscribe'")?.ok()?;
    assert!(reply.messages.is_empty(), "{:?}", reply.messages);
    Ok(())
}

#[test]
fn the_text_form_of_check_says_every_mistake_without_changing_anything() -> Result<()> {
    let corner = Corner::new("check_text")?;
    let reply = corner.run("select * from sse.check(E'@sse\\n@sse_level loud\\n@authorise'::text)")?.ok()?;
    let text = reply.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("line 2") && lines[1].contains("line 3"), "{text}");
    assert!(corner.sql("select * from sse.check('@sse'::text)")?.is_empty());
    assert_eq!(
        corner.sql("select count(*) from sse.endpoints where routine::text like '%check_text%'")?,
        "0"
    );
    Ok(())
}

// Attack: a comment writes lines of its own into the server log or to a terminal.
#[test]
fn control_characters_of_a_comment_are_escaped_in_the_warning() -> Result<()> {
    let corner = Corner::new("escape")?;
    let mut session = corner.session()?;
    session.run(&common::announcer("f", ""))?.ok()?;
    let reply = session.run("comment on function f(text) is E'@sse\\n@sse_level \\x1b[2J\\rFATAL'")?.ok()?;
    let warning = reply.texts("WARNING").first().map(|text| (*text).to_owned()).context("no warning")?;
    assert!(!warning.contains(char::is_control), "{warning:?}");
    Ok(())
}
