//! URLs follow the comments: from commit to rollback, from rename to restore (C2.3, C2.4).

mod common;

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};
use cluster::{Cluster, PATIENCE, wait_for};
use common::{Corner, SOON, announcer, status, wait_for_status};

/// C2.4: at the gateway within a second of commit. On two busy cores a little more is no lie.
const A_SECOND: Duration = Duration::from_millis(2500);

#[test]
fn a_url_works_as_soon_as_commit_has_returned() -> Result<()> {
    let corner = Corner::new("at_once")?;
    let mut session = corner.session()?;
    for n in 0..20 {
        session.run(&format!("begin; {} commit;", announcer(&format!("f{n}"), "@sse")))?.ok()?;
        assert_eq!(corner.status(&format!("f{n}/info"))?, 200, "routine {n}");
    }
    Ok(())
}

#[test]
fn endpoints_and_url_name_the_url_that_works() -> Result<()> {
    let corner = Corner::new("example_8")?;
    corner.sql(
        "create procedure send_message(t text) language plpgsql as $f$ begin raise info '%', t; end $f$;
         comment on procedure send_message(text) is '@sse'",
    )?;
    let row = corner.sql(
        "select kind, method, url, level, scope, topic, delivery, problem from sse.endpoints
          where routine = 'example_8.send_message(text)'::regprocedure",
    )?;
    assert_eq!(row, "publisher and stream|GET|/api/example-8/send-message/info|info|all||commit|");
    assert_eq!(corner.sql("select sse.url('send_message(text)')")?, "/api/example-8/send-message/info");
    assert_eq!(status(corner.http, "/api/example-8/send-message/info")?, 200);
    assert_eq!(
        status(corner.http, "/api/example-8/send-message/info/")?,
        200,
        "one trailing slash is tolerated"
    );
    assert_eq!(status(corner.http, "/api/example-8/send-message/info//")?, 404);
    assert_eq!(status(corner.http, "/api/example-8/Send-Message/info")?, 404);
    Ok(())
}

#[test]
fn names_become_paths_as_documented() -> Result<()> {
    let corner = Corner::new("names")?;
    for (name, comment, url) in [
        ("\"Mixed Case_x\"", "@sse", "/api/names/mixed-case-x/info"),
        ("\"grün\"", "@sse", "/api/names/gr%C3%BCn/info"),
        ("a", "@sse live", "/api/names/a/live"),
        ("b", "@sse on notice", "/api/names/b/notice"),
        ("c", "@sse\n@sse_level warning", "/api/names/c/warning"),
        ("d", "HTTP GET /names-own/d\n@sse", "/names-own/d/info"),
        ("e", "@path /names-own/e\n@sse_subscribe s", "/names-own/e/s"),
    ] {
        corner.announcer(name, comment)?;
        assert_eq!(corner.sql(&format!("select sse.url('names.{name}(text)')"))?, url);
        assert_eq!(status(corner.http, url)?, 200, "{url}");
    }
    assert_eq!(
        status(corner.http, "/api/names/gr%c3%bcn/info")?,
        200,
        "the case of the digits does not matter"
    );
    corner.sql("create function public.names_public() returns void language sql as ''; comment on function public.names_public() is '@sse'")?;
    assert_eq!(status(corner.http, "/api/names-public/info")?, 200);
    Ok(())
}

#[test]
fn a_changed_comment_a_drop_and_renames_reach_the_gateway_within_a_second() -> Result<()> {
    let corner = Corner::new("changes")?;
    let http = corner.http;
    let mut session = corner.session()?;
    session.run(&announcer("f", "@sse"))?.ok()?;
    assert_eq!(corner.status("f/info")?, 200);
    for (sql, gone, there) in [
        ("comment on function f(text) is '@sse live'", "/api/changes/f/info", "/api/changes/f/live"),
        ("alter function f(text) rename to g", "/api/changes/f/live", "/api/changes/g/live"),
        ("alter schema changes rename to changed", "/api/changes/g/live", "/api/changed/g/live"),
        (
            "create schema changes; alter function changed.g(text) set schema changes",
            "/api/changed/g/live",
            "/api/changes/g/live",
        ),
    ] {
        session.run(sql)?.ok()?;
        wait_for_status(http, gone, 404, A_SECOND)?;
        assert_eq!(status(http, there)?, 200, "{sql}");
    }
    session.run("create or replace function g(message text) returns void language plpgsql as $f$ begin raise info 'new %', message; end $f$")?.ok()?;
    assert_eq!(corner.status("g/live")?, 200, "CREATE OR REPLACE keeps the comment");
    let mut stream = corner.stream("g/live")?;
    session.run("select g('body')")?.ok()?;
    assert_eq!(stream.next_payload(SOON)?.data, "new body");
    session.run("comment on function g(text) is null")?.ok()?;
    wait_for_status(http, "/api/changes/g/live", 404, A_SECOND)?;
    session.run("comment on function g(text) is '@sse live'")?.ok()?;
    assert_eq!(corner.status("g/live")?, 200);
    session.run("drop function g(text)")?.ok()?;
    wait_for_status(http, "/api/changes/g/live", 404, A_SECOND)?;
    session.run("drop schema changed cascade")?.ok()?;
    Ok(())
}

#[test]
fn what_is_rolled_back_never_was() -> Result<()> {
    let corner = Corner::new("rolled_back")?;
    let mut session = corner.session()?;
    session.run(&format!("begin; {}", announcer("f", "@sse")))?.ok()?;
    assert_eq!(
        session.run("select sse.url('f(text)')")?.ok()?.value(),
        Some("/api/rolled-back/f/info"),
        "its own session sees it"
    );
    assert_eq!(corner.status("f/info")?, 404, "others do not");
    session.run("rollback")?.ok()?;
    assert_eq!(corner.status("f/info")?, 404);
    session.run(&announcer("f", "@sse"))?.ok()?;
    session
        .run("begin; savepoint s; comment on function f(text) is '@sse other'; rollback to s; commit")?
        .ok()?;
    assert_eq!(corner.status("f/info")?, 200);
    assert_eq!(corner.status("f/other")?, 404);
    session.run("begin; drop function f(text); rollback")?.ok()?;
    assert_eq!(corner.status("f/info")?, 200);
    Ok(())
}

#[test]
fn a_stream_stays_open_when_its_url_goes() -> Result<()> {
    let corner = Corner::new("stays")?;
    corner.announcer("f", "@sse")?;
    corner.announcer("g", "@sse")?;
    let mut stream = corner.stream("f/info")?;
    corner.sql("drop function f(text)")?;
    wait_for_status(corner.http, "/api/stays/f/info", 404, A_SECOND)?;
    corner.sql("select g('still')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "still");
    Ok(())
}

#[test]
fn overloads_share_one_url() -> Result<()> {
    let corner = Corner::new("overloads")?;
    corner.sql(
        "create function f(a int) returns void language plpgsql as $f$ begin raise info 'int'; end $f$;
         create function f(a text) returns void language plpgsql as $f$ begin raise info 'text'; end $f$;
         comment on function f(int) is '@sse'; comment on function f(text) is '@sse'",
    )?;
    assert_eq!(
        corner.sql("select distinct url, problem from sse.endpoints where url like '/api/overloads/%'")?,
        "/api/overloads/f/info|"
    );
    let mut stream = corner.stream("f/info")?;
    corner.sql("select f(1); select f('x')")?;
    assert_eq!(stream.next_data(2, SOON)?, ["int", "text"]);
    Ok(())
}

#[test]
fn of_two_routines_for_one_url_the_older_keeps_it() -> Result<()> {
    let corner = Corner::new("conflict")?;
    corner.announcer("older", "@path /conflict\n@sse")?;
    corner.announcer("younger", "@path /conflict\n@sse")?;
    assert_eq!(corner.sql("select sse.url('older(text)')")?, "/conflict/info");
    assert_eq!(corner.sql("select coalesce(sse.url('younger(text)'), 'none')")?, "none");
    let problem = corner
        .sql("select problem from sse.endpoints where routine = 'conflict.younger(text)'::regprocedure")?;
    ensure!(problem.contains("/conflict/info") && problem.contains("older"), "{problem}");
    assert_eq!(corner.sql("select count(*) from sse.check('younger(text)'::regprocedure)")?, "1");
    assert_eq!(status(corner.http, "/conflict/info")?, 200);
    corner.sql("drop function older(text)")?;
    assert_eq!(corner.sql("select sse.url('younger(text)')")?, "/conflict/info");
    Ok(())
}

#[test]
fn a_look_up_of_one_routine_says_what_reading_all_of_them_says() -> Result<()> {
    let corner = Corner::new("rivals")?;
    for (name, comment) in [
        // A chain: the first takes the second's URL, so the second takes none and the third has its own.
        ("a", "@path /rivals-x/chain\n@sse one"),
        ("b", "@path /rivals-x\n@sse chain/one\nHTTP POST /rivals-x"),
        ("c", "@path /rivals-x\n@sse two"),
        // Derived from names, given, given as a whole, without a slash, and below the root.
        ("d_e", "@sse on notice"),
        ("\"D E\"", "@sse notice"),
        ("f", "@path api/rivals/d-e\n@sse on notice"),
        ("g", "@sse /api/rivals/g/d-e/notice"),
        ("\"h.i\"", "@sse"),
        ("j", "@path /api/rivals/h.i\n@sse"),
        ("k", "@path /\n@sse on warning"),
        ("l", "@path /\n@sse on warning"),
        ("\"grün\"", "@sse"),
        ("\"GRÜN\"", "@sse"),
        // A name that leaves nothing in a path, by which its routine could be found.
        ("\"\"\"\"", "@sse"),
        // Nobody's.
        ("m", "prose"),
        ("n", "@sse\n@sse_scope nobody"),
        ("o", "@sse"),
    ] {
        corner.run(&announcer(name, comment))?.ok()?;
    }
    corner.sql(
        "create function rivals.o(b int, a int) returns void language plpgsql as $f$ begin end $f$;
         comment on function rivals.o(int, int) is E'@sse\n@authorize'",
    )?;
    let differing = corner.sql(
        "select p.oid::regprocedure, sse.url(p.oid), e.url, (select string_agg(c, '; ') from sse.check(p.oid::regprocedure) c), e.problem
           from pg_proc p left join sse.endpoints e on e.routine = p.oid
          where p.pronamespace = 'rivals'::regnamespace
            and (sse.url(p.oid) is distinct from e.url
              or (select string_agg(c, '; ') from sse.check(p.oid::regprocedure) c) is distinct from e.problem)",
    )?;
    assert_eq!(differing, "");
    // There are winners and losers.
    let counts = corner.sql(
        "select count(url), count(problem) from sse.endpoints
          where routine::oid in (select oid from pg_proc where pronamespace = 'rivals'::regnamespace)",
    )?;
    assert_eq!(counts, "7|10");
    Ok(())
}

#[test]
fn a_look_up_of_one_routine_does_not_read_thousands() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.call_role", "postgres").start()?;
    cluster.sql(&many_routines(1_500, 300))?;
    // Timed in the server: the start of a client would take longer than either of them.
    cluster.sql(
        "create function took(statement text) returns interval language plpgsql as $$
         declare begun timestamptz := clock_timestamp();
         begin execute statement; return clock_timestamp() - begun; end $$",
    )?;
    let faster = "with times as materialized (
                      select took('select count(*) from sse.endpoints') as every,
                             took('select sse.url(''many.f7(int, many.t7)''), count(*)
                                   from sse.check(''many.f7(int, many.t7)''::regprocedure)') as one)
                  select one * 2 < every from times";
    // Whoever looks up one still looks through the names of all, so it is not faster by much. A busy machine
    // may hold up either.
    cluster.comes_to(PATIENCE, "a look-up of one routine is fast", faster, "t")?;
    let without_problem = "select count(*) from sse.endpoints where url is not null and problem is null";
    assert_eq!(cluster.sql(without_problem)?, "1500");
    Ok(())
}

/// SQL that makes this many routines that can be called, and tables whose rows they take and return.
fn many_routines(routines: u32, tables: u32) -> String {
    format!(
        "create schema many;
         do $d$ begin
           for i in 0..{tables} - 1 loop
             execute format('create table many.t%s (id int, name text)', i);
           end loop;
           for i in 0..{routines} - 1 loop
             execute format('create function many.f%s(a int, b many.t%s) returns setof many.t%2$s language sql stable
                             as ''select * from many.t%2$s''', i, i % {tables});
             execute format('comment on function many.f%s(int, many.t%s) is ''HTTP GET''', i, i % {tables});
           end loop;
         end $d$"
    )
}

#[test]
fn dump_and_restore_carry_the_annotations() -> Result<()> {
    let source = Cluster::builder().start()?;
    source.sql(&announcer("dumped", "@sse live\n@sse_event news"))?;
    let dump = source.tool("pg_dump").args(["--no-owner", "postgres"]).stderr(Stdio::inherit()).output()?;
    ensure!(dump.status.success(), "pg_dump failed");
    let target = Cluster::builder().without_extension().start()?;
    let restored = target.script(&String::from_utf8(dump.stdout)?)?;
    ensure!(!restored.contains("ERROR") && !restored.contains("WARNING"), "{restored}");
    let mut stream = target.http()?.events("/api/dumped/live")?;
    target.sql("select dumped('restored')")?;
    let event = stream.next_payload(SOON)?;
    assert_eq!((event.event.as_str(), event.data.as_str()), ("news", "restored"));
    Ok(())
}

#[test]
fn pg_restore_of_a_custom_dump_works_while_the_gateway_serves() -> Result<()> {
    let corner = Corner::new("custom")?;
    corner.announcer("f", "@sse")?;
    let file = tempfile::NamedTempFile::new()?;
    let dump = corner
        .cluster
        .tool("pg_dump")
        .args(["-Fc", "--schema=custom", "-f"])
        .arg(file.path())
        .arg("postgres")
        .output()?;
    ensure!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    corner.cluster.sql("drop schema custom cascade")?;
    wait_for_status(corner.http, "/api/custom/f/info", 404, A_SECOND)?;
    let restore = corner.cluster.tool("pg_restore").args(["-d", "postgres"]).arg(file.path()).output()?;
    ensure!(restore.status.success(), "{}", String::from_utf8_lossy(&restore.stderr));
    assert_eq!(corner.status("f/info")?, 200);
    Ok(())
}

#[test]
fn only_routines_of_the_named_schemas_are_looked_at() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.schemas", "inside, \"Odd Name\"").start()?;
    let http = cluster.http()?;
    cluster.sql("create schema inside; create schema outside; create schema \"Odd Name\"")?;
    for schema in ["inside", "outside", "\"Odd Name\""] {
        cluster.sql(&announcer(&format!("{schema}.f"), "@sse"))?;
    }
    assert_eq!(status(http, "/api/inside/f/info")?, 200);
    assert_eq!(status(http, "/api/odd-name/f/info")?, 200);
    assert_eq!(status(http, "/api/outside/f/info")?, 404);
    assert_eq!(cluster.sql("select count(*) from sse.endpoints where url like '%outside%'")?, "0");
    let mut stream = http.events("/api/inside/f/info")?;
    cluster.sql("select outside.f('not published'); select inside.f('published')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "published");
    cluster.reconfigure("sse.schemas", "outside")?;
    wait_for_status(http, "/api/outside/f/info", 200, SOON)?;
    wait_for_status(http, "/api/inside/f/info", 404, SOON)?;
    cluster.sql("select inside.f('not published any more'); select outside.f('now this one')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "now this one");
    Ok(())
}

#[test]
fn the_url_prefix_changes_on_reload_and_open_streams_stay() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let http = cluster.http()?;
    cluster.sql(&announcer("f", "@sse"))?;
    let mut stream = http.events("/api/f/info")?;
    cluster.reconfigure("sse.url_prefix", "/live/v2")?;
    wait_for_status(http, "/live/v2/f/info", 200, SOON)?;
    assert_eq!(status(http, "/api/f/info")?, 404);
    cluster.comes_to(SOON, "sessions see the new prefix", "select sse.url('f(text)')", "/live/v2/f/info")?;
    cluster.sql("select f('through')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "through");
    Ok(())
}

// Somebody rewrites a catalog, and the worker that reads the routines waits for the lock: the pause behind a
// reading is for what it worked.
#[test]
fn a_reading_that_waited_for_a_lock_does_not_put_the_next_one_off() -> Result<()> {
    const WAITED: Duration = Duration::from_secs(20);
    let cluster = Cluster::builder().start()?;
    cluster.sql(&announcer("f", "@sse"))?;
    let http = cluster.http()?;
    wait_for_status(http, "/api/f/info", 200, SOON)?;
    let (mut holder, mut changer, mut watcher) = (cluster.session()?, cluster.session()?, cluster.session()?);
    changer.run("begin; alter function f(text) rename to g")?.ok()?;
    holder.run("begin; lock table pg_extension in access exclusive mode")?.ok()?;
    changer.run("commit")?.ok()?;
    let waits = format!(
        "select count(*) from pg_stat_activity where backend_type = 'pg_sse catalog' and wait_event_type = 'Lock'
            and backend_start < clock_timestamp() - interval '{} s'",
        WAITED.as_secs()
    );
    wait_for(WAITED + SOON, "the reading waits", || {
        Ok((watcher.run(&waits)?.ok()?.value() == Some("1")).then_some(()))
    })?;
    holder.run("commit")?.ok()?;
    wait_for_status(http, "/api/g/info", 200, SOON)?;
    changer.run("alter function g(text) rename to h")?.ok()?;
    wait_for_status(http, "/api/h/info", 200, SOON)
}
