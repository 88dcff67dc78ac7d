//! Who may do and see what (C1.1, C3.4, C3.8, C8.1), and what the log never says.

mod common;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, Reply, SessionOptions};
use common::{Corner, SOON, figure, shared};

/// A role of the test's own, without any privilege.
fn ordinary(name: &str) -> Result<SessionOptions> {
    shared().sql(&format!("create role {name} login"))?;
    Ok(SessionOptions {
        user: name.to_owned(),
        options: format!("-c sse.execution_id={name}"),
        ..SessionOptions::default()
    })
}

fn run(options: &SessionOptions, sql: &str) -> Result<Reply> {
    shared().session_with(options)?.run(sql)
}

fn is_denied(reply: &Reply, what: &str) -> Result<()> {
    let error = reply.error().with_context(|| format!("{what} was allowed"))?;
    assert_eq!(error.sqlstate.as_deref(), Some("42501"), "{what}: {error:?}");
    Ok(())
}

/// What C8.1 lists for everybody, and the function behind the view `sse.endpoints`: a view's functions run
/// with the rights of the user who reads the view.
const FOR_EVERYBODY: &str = "_endpoints()\nasyncapi(schema name)\nauthorize(text[])\ncheck(regprocedure)\ncheck(text)\nopenapi(schema name)\ntypescript_client(schema name)\nurl(regprocedure)";

#[test]
fn execute_is_revoked_from_public_on_every_function_but_those_for_everybody() -> Result<()> {
    let open = shared().sql(
        "select format('%s(%s)', proname, pg_get_function_identity_arguments(p.oid)) from pg_proc p
          where pronamespace = 'sse'::regnamespace
            and exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee = 0 and privilege_type = 'EXECUTE')
          order by 1",
    )?;
    let types: Vec<String> = open
        .lines()
        .map(|line| line.replace("VARIADIC \"values\" ", "").replace("routine ", "").replace("comment ", ""))
        .collect();
    let mut types: Vec<String> = types
        .into_iter()
        .map(|line| if line.starts_with("_endpoints") { "_endpoints()".to_owned() } else { line })
        .collect();
    types.sort();
    assert_eq!(types.join("\n"), FOR_EVERYBODY);
    Ok(())
}

#[test]
fn nobody_but_its_owner_may_change_the_schema_or_its_views() -> Result<()> {
    let open = shared().sql(
        "select privilege_type from pg_namespace, aclexplode(nspacl) where nspname = 'sse' and grantee = 0",
    )?;
    assert_eq!(open, "USAGE");
    let views = shared().sql(
        "select relname, privilege_type from pg_class c, aclexplode(relacl) where relnamespace = 'sse'::regnamespace and grantee = 0 order by 1, 2",
    )?;
    assert_eq!(views, "endpoints|SELECT");
    Ok(())
}

// Attack: a role that may create schemas waits for the extension with a schema sse of its own, and functions
// in it that fit a call better than the extension's. Superusers would run them, and hints would say what they
// say.
#[test]
fn no_extension_is_created_in_a_schema_in_which_another_role_has_functions() -> Result<()> {
    let cluster = shared();
    cluster.sql("create role squatter login")?;
    cluster.sql("create database squatted owner squatter")?;
    let squatted = SessionOptions { database: "squatted".to_owned(), ..SessionOptions::default() };
    let mut squatter =
        cluster.session_with(&SessionOptions { user: "squatter".to_owned(), ..squatted.clone() })?;
    let mut admin = cluster.session_with(&squatted)?;
    let theirs = "create function sse.authorize(text) returns text language sql as $$ select 'all'::text $$";
    let mut refused = |what: &str| -> Result<()> {
        let reply = admin.run("create extension pg_sse")?;
        let error = reply.error().with_context(|| format!("{what}: it was created"))?;
        assert_eq!(error.sqlstate.as_deref(), Some("55000"), "{what}: {error:?}");
        ensure!(error.text.contains("squatter"), "{what}: {error:?}");
        Ok(())
    };
    squatter.run("create schema sse")?.ok()?;
    refused("their schema")?;
    squatter.run(theirs)?.ok()?;
    cluster.sql_in("squatted", "alter schema sse owner to postgres")?;
    refused("their function")?;
    cluster
        .sql_in("squatted", "drop function sse.authorize(text); grant create on schema sse to squatter")?;
    squatter.run("create operator sse.=== (leftarg = int, rightarg = int, function = int4eq)")?.ok()?;
    refused("their operator")?;
    cluster
        .sql_in("squatted", "revoke create on schema sse from squatter; drop operator sse.===(int, int)")?;
    cluster.sql_in("squatted", "create extension pg_sse")?;
    squatter.run(theirs)?.error().context("they may create in the schema")?;
    assert_eq!(squatter.run("select sse.authorize('id:1')")?.ok()?.text(), "authorize id:1");
    Ok(())
}

#[test]
fn an_ordinary_user_sees_endpoints_and_not_the_statistics() -> Result<()> {
    let user = ordinary("reader")?;
    Corner::new("readable")?.announcer("f", "@sse")?;
    let reply = run(&user, "select url, sse.url(routine), sse.authorize('a b') from sse.endpoints where url = '/api/readable/f/info'")?.ok()?;
    assert_eq!(reply.text(), "/api/readable/f/info|/api/readable/f/info|authorize \"a b\"");
    run(&user, "select * from sse.check('@sse'::text)")?.ok()?;
    for view in ["stat_ring", "stat_gateway"] {
        is_denied(&run(&user, &format!("select * from sse.{view}"))?, view)?;
    }
    for call in ["sse._ring_figures()", "sse._gateway_figures()", "sse._gateway_state()", "sse.publish('x')"]
    {
        is_denied(&run(&user, &format!("select {call}"))?, call)?;
    }
    Ok(())
}

#[test]
fn pg_monitor_sees_the_statistics_and_may_not_publish() -> Result<()> {
    let user = ordinary("watcher")?;
    shared().sql("grant pg_monitor to watcher")?;
    run(&user, "select * from sse.stat_ring; select * from sse.stat_gateway")?.ok()?;
    is_denied(&run(&user, "select sse.publish('x')")?, "publish")
}

#[test]
fn who_is_granted_publish_may_publish() -> Result<()> {
    let user = ordinary("publisher")?;
    let corner = Corner::new("publisher")?;
    let mut stream = corner.announced("f", "@sse_subscribe")?;
    shared().sql("grant execute on function sse.publish to publisher")?;
    run(&user, "select sse.publish('granted')")?.ok()?;
    assert_eq!(stream.next_payload(SOON)?.data, "granted");
    Ok(())
}

#[test]
fn who_may_comment_on_a_routine_may_publish_with_it_and_nobody_else() -> Result<()> {
    let user = ordinary("owner_of_one")?;
    let corner = Corner::new("owned")?;
    corner.announcer("f", "@sse_subscribe")?;
    shared().sql(
        "create schema owner_of_one authorization owner_of_one; grant usage on schema owned to owner_of_one",
    )?;
    let mut stream = corner.http.events("/api/owned/f/info?owner_of_one")?;
    run(&user, &common::announcer("owner_of_one.mine", "@sse"))?.ok()?;
    run(&user, "select owner_of_one.mine('mine')")?.ok()?;
    assert_eq!(stream.next_payload(SOON)?.data, "mine");
    is_denied(&run(&user, "comment on function owned.f(text) is '@sse'")?, "comment on another's routine")
}

// Attack: a schema to which others may write comes before pg_catalog in a superuser's search_path, and has
// operators and functions of its own. What the views call must be Postgres' own.
#[test]
fn the_search_path_of_the_caller_decides_nothing() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let corner = Corner::of(&cluster, "trap")?;
    corner.announcer("f", "@sse")?;
    corner.sql(
        "do $d$ declare kind text; sign text; begin
           foreach kind in array array['\"char\"', 'oid', 'name', 'text', 'int4', 'boolean', 'int2'] loop
             foreach sign in array array['=', '<>', '!~', '~', '<'] loop
               execute format('create or replace function trap.sprung(%1$s, %1$s) returns boolean language plpgsql as $f$ begin raise exception ''the trap has sprung''; end $f$', kind);
               execute format('create operator trap.%2$s (leftarg = %1$s, rightarg = %1$s, function = trap.sprung)', kind, sign);
             end loop;
             execute format('create function trap.coalesce(%1$s, %1$s) returns %1$s language plpgsql as $f$ begin raise exception ''the trap has sprung''; end $f$', kind);
             execute format('create function trap.convert_to(%1$s, name) returns bytea language plpgsql as $f$ begin raise exception ''the trap has sprung''; end $f$', kind);
             execute format('create function trap.max(%1$s) returns %1$s language plpgsql as $f$ begin raise exception ''the trap has sprung''; end $f$', kind);
           end loop;
         end $d$",
    )?;
    let mut session = cluster.session()?;
    session.run("set search_path = trap, pg_catalog")?.ok()?;
    for sql in [
        "select url from sse.endpoints",
        "select sse.url('trap.f(text)')",
        "select * from sse.check('trap.f(text)'::regprocedure)",
        "select state from sse.stat_gateway",
        "select used_bytes from sse.stat_ring",
        "select sse.publish('x')",
        "comment on function trap.f(text) is '@sse live'",
        "drop extension pg_sse",
        "create extension pg_sse",
    ] {
        session.run(sql)?.ok().with_context(|| sql.to_owned())?;
    }
    Ok(())
}

#[test]
fn only_a_superuser_installs_the_extension() -> Result<()> {
    let user = ordinary("installer")?;
    shared().sql("create database installers owner installer")?;
    let there = SessionOptions { database: "installers".to_owned(), ..user };
    is_denied(&run(&there, "create extension pg_sse")?, "create extension")
}

#[test]
fn an_ordinary_user_sets_what_is_its_own_and_nothing_else() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    cluster.sql("create role setter login")?;
    let options = SessionOptions { user: "setter".to_owned(), ..SessionOptions::default() };
    let (mut user, mut superuser) = (cluster.session_with(&options)?, cluster.session()?);
    let settings = cluster
        .sql("select name, quote_literal(setting) from pg_settings where name like 'sse.%' order by 1")?;
    let mut own = Vec::new();
    for line in settings.lines() {
        // The setting's own value, so that only the user who sets it can be wrong.
        let (name, value) = line.split_once('|').context("no value")?;
        superuser
            .run(&format!("alter system set {name} = {value}"))?
            .ok()
            .with_context(|| line.to_owned())?;
        match user.run(&format!("set {name} = {value}"))?.error() {
            None => own.push(name),
            Some(error) => assert_eq!(error.sqlstate.as_deref(), Some("55P02"), "{name}: {error:?}"),
        }
        is_denied(&user.run(&format!("alter system set {name} = {value}"))?, name)?;
    }
    assert_eq!(own, ["sse.execution_id", "sse.publish_timeout"]);
    Ok(())
}

#[test]
fn the_log_never_contains_a_payload() -> Result<()> {
    let cluster =
        Cluster::builder().setting("sse.ring_size", "64kB").setting("sse.max_event_size", "1000").start()?;
    let corner = Corner::of(&cluster, "secret")?;
    corner.announcer("f", "@sse")?;
    corner.sql(
        "create function hinted(hint text) returns void language plpgsql as $f$ begin raise info 'payload-marker' using hint = hint; end $f$;
         comment on function hinted(text) is '@sse'",
    )?;
    let mut stream = corner.stream("f/info")?;
    let mut session = corner.session_with("-c client_min_messages=error")?;
    for sql in [
        "select f('payload-marker')",
        "select f('payload-marker' || repeat('x', 2000))",
        "select f('payload-marker') from generate_series(1, 3000)",
        "select hinted('autorize payload-marker')",
        "select sse.publish('payload-marker', 'authorize payload-marker', 'payload-marker', 'payload-marker', 'payload-marker')",
        "begin; select f('payload-marker'); rollback",
    ] {
        session.run(sql)?.ok()?;
    }
    corner.sql("select f('end')")?;
    while stream.next_payload(SOON)?.data != "end" {}
    let log = cluster.log()?;
    ensure!(!log.contains("payload-marker"), "{log}");
    Ok(())
}

#[test]
fn a_misspelt_hint_is_counted_and_said_once_per_routine_in_the_log() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let corner = Corner::of(&cluster, "slip")?;
    corner.sql(
        "create function f() returns void language plpgsql as $f$ begin raise info 'x' using hint = 'autorize admin'; end $f$;
         comment on function f() is '@sse'",
    )?;
    let before = figure(&cluster, "stat_ring", "misspelt_hint_total")?;
    corner.sql("select f(); select f()")?;
    corner.sql("select f()")?;
    assert_eq!(figure(&cluster, "stat_ring", "misspelt_hint_total")?, before + 3);
    let log = cluster.log()?;
    let said = log.lines().filter(|line| line.contains("hint") && line.contains("slip.f")).count();
    assert_eq!(said, 1, "{log}");
    Ok(())
}
