//! Which functions `@sse_snapshot` finds (C7.6): whoever names one may pay for it, and only schemas that are
//! looked at have any.
//!
//! Not for what a snapshot is (`snapshots.rs`).

mod common;

use std::time::Duration;

use anyhow::{Result, ensure};
use cluster::PATIENCE;
use common::calls::{Api, Findings, builder, start};
use common::wait_for_status;

/// Reads 64 MB of comments, in a build without optimisation.
const LONG: Duration = Duration::from_secs(180);

// Attack: an older role names somebody's function, fills its own account, and so takes the URL away from all
// others who name it.
#[test]
fn who_has_nothing_left_takes_no_function_away_from_others_who_name_it() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "pays")?;
    api.sql(
        "create role greedy; grant usage, create on schema pays to greedy;
         create function state() returns text language sql as $$ select 'x' $$;
         set local role greedy;
         create function first() returns void language plpgsql as 'begin end';
         comment on function first() is E'@sse\\n@sse_snapshot state';
         do $d$ begin for i in 1..993 loop
           execute format('create function pays.h%s() returns int language sql as ''select 1''', i);
           execute format('comment on function pays.h%s() is %L', i, rpad(E'@sse_subscribe\\n', 65536, 'prose '));
         end loop; end $d$;
         reset role;
         create function other() returns void language plpgsql as 'begin end';
         comment on function other() is E'@sse\\n@sse_snapshot state'",
    )?;
    wait_for_status(api.http, &api.path("h1/info"), 200, LONG)?;
    wait_for_status(api.http, &api.path("h993/info"), 404, LONG)?;
    wait_for_status(api.http, &api.path("other/info"), 200, LONG)
}

#[test]
fn a_function_of_a_schema_that_is_not_served_is_found_by_nobody() -> Result<()> {
    let cluster = start(builder().setting("sse.schemas", "public, inside"))?;
    let api = Api::of(&cluster, "inside")?;
    let made = api.run(
        "create schema outside; create function outside.state() returns text language sql as $$ select 'x' $$;
         create function s() returns void language plpgsql as 'begin end';
         comment on function s() is E'@sse\\n@sse_snapshot outside.state'",
    )?;
    // Nothing but the WARNING.
    made.ok()?;
    let mut findings = Findings::default();
    let said = api.sql("select string_agg(c, ';') from sse.check('inside.s()'::regprocedure) c")?;
    findings.expect("check", said.contains("there is no such function"), true);
    findings.expect("url", api.sql("select sse.url('inside.s()') is null")?, "t".to_owned());
    findings.expect("gateway", api.get("s/info")?.status(), 404);
    findings.report()
}

// Attack: more of one name than can be read at once. Those that take arguments are not read at all.
#[test]
fn of_many_functions_of_one_name_the_one_that_fits_is_found() -> Result<()> {
    let api = Api::new("crowd")?;
    let made = api.run(
        "begin; set local check_function_bodies = off;
         do $d$ begin for i in 1..300 loop
           execute format('create type crowd.t%s as enum ()', i);
           execute format('create function crowd.f(a crowd.t%s, %s) language plpgsql as ''begin end''', i, repeat('out int, ', 999) || 'out int');
         end loop; end $d$;
         create function s() returns void language plpgsql as 'begin end';
         comment on function s() is E'@sse\\n@sse_snapshot f'; commit",
    )?;
    made.ok()?;
    wait_for_status(api.http, &api.path("s/info"), 404, PATIENCE)?;
    let said = "select string_agg(c, ';') from sse.check('crowd.s()'::regprocedure) c";
    let problem = api.sql(said)?;
    ensure!(problem.contains("this function takes arguments"), "{problem}");
    api.sql("create function f(_user_id text, out a int) language sql as 'select 1'")?;
    wait_for_status(api.http, &api.path("s/info"), 200, PATIENCE)?;
    api.sql("create function f(_user_name text, _user_id int) returns int language sql as 'select 1'")?;
    wait_for_status(api.http, &api.path("s/info"), 404, PATIENCE)?;
    let problem = api.sql(said)?;
    ensure!(problem.contains("several functions of this name fit"), "{problem}");
    Ok(())
}
