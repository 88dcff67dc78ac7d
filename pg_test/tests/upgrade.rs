//! An upgraded extension is a fresh one: the scripts in `sql/` lead to the same objects, whichever way.
//!
//! Not for what the new version does; the other files are.

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, Install, wait_until, workspace_root};
use common::{SOON, announcer};

/// Everything in which two extensions must agree to be the same for their users: functions with all their
/// properties, views with their columns and texts, privileges, comments, and what pg_dump takes for the
/// extension's own (pg_init_privs).
///
/// Privileges are told in order: ACL items stand in the order in which they were granted.
const INVENTORY: &str = "
    with member as (
        select classid, objid from pg_depend
         where refclassid = 'pg_extension'::regclass and deptype = 'e'
           and refobjid = (select oid from pg_extension where extname = 'pg_sse')
        union all
        select 'pg_namespace'::regclass, extnamespace from pg_extension where extname = 'pg_sse'),
    privilege(class, object, acl, kind) as (
        select 'pg_proc'::regclass, oid, coalesce(proacl, acldefault('f', proowner)), 'function' from pg_proc
        union all select 'pg_class', oid, coalesce(relacl, acldefault('r', relowner)), 'relation' from pg_class
        union all select 'pg_namespace', oid, coalesce(nspacl, acldefault('n', nspowner)), 'schema' from pg_namespace
        union all select classoid, objoid, initprivs, 'initial, of column ' || objsubid from pg_init_privs)
    select 'object ' || pg_describe_object(classid, objid, 0) as line from member
    union all
    select format('function %s (%s) returns %s, source %s %s, language %s, %s %s strict %s definer %s leakproof %s set %s cost %s rows %s',
                  proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), prosrc, probin, lanname,
                  provolatile, proparallel, proisstrict, prosecdef, proleakproof, proconfig, procost, prorows)
      from member, pg_proc p, pg_language l
     where classid = 'pg_proc'::regclass and objid = p.oid and l.oid = prolang
    union all
    select format('view %s: %s, options %s', relname, pg_get_viewdef(c.oid), reloptions)
      from member, pg_class c where classid = 'pg_class'::regclass and objid = c.oid
    union all
    select format('column %s of %s: %s %s %s', attnum, attrelid::regclass, attname, format_type(atttypid, atttypmod), attacl)
      from member, pg_attribute where classid = 'pg_class'::regclass and objid = attrelid and not attisdropped
    union all
    select format('privilege %s on %s: %s to %s by %s, grantable %s', kind, pg_describe_object(classid, objid, 0),
                  privilege_type, grantee::regrole, grantor::regrole, is_grantable)
      from member, privilege, aclexplode(acl) where class = classid and object = objid
    union all
    select format('comment on %s %s: %s', pg_describe_object(d.classoid, d.objoid, d.objsubid), d.objsubid, description)
      from member, pg_description d where d.classoid = classid and d.objoid = objid
    union all
    select format('extension %s %s %s %s', extversion, extrelocatable, extnamespace::regnamespace, extconfig)
      from pg_extension where extname = 'pg_sse'
    order by 1";

fn script(name: &str) -> Result<String> {
    fs::read_to_string(workspace_root().join("sql").join(name)).with_context(|| name.to_owned())
}

/// A cluster that serves database `old`, which has no extension yet; and the folder of its extension scripts.
fn cluster_with_scripts_of_its_own() -> Result<(Cluster, PathBuf)> {
    let install = Arc::new(Install::of(Install::shared()?.original())?);
    let cluster = Cluster::builder()
        .install(Arc::clone(&install))
        .setting("sse.database", "old")
        .without_extension()
        .start()?;
    cluster.sql("create database old")?;
    Ok((cluster, install.pg_config().sharedir.join("extension")))
}

/// A cluster with database `old`, whose extension has version 0.1.0. The script of that version asks for a
/// library of the same version; that one line is changed to accept this one.
fn cluster_with_an_old_extension() -> Result<Cluster> {
    let (cluster, scripts) = cluster_with_scripts_of_its_own()?;
    let old = script("pg_sse--0.1.0.sql")?;
    let check = "_check_installation('0.1.0')";
    ensure!(old.matches(check).count() == 1, "the old script does not look at the library");
    let version = env!("CARGO_PKG_VERSION");
    let old = old.replace(check, &format!("_check_installation('{version}')"));
    fs::write(scripts.join("pg_sse--0.1.0.sql"), old)?;
    cluster.sql_in("old", "create extension pg_sse version '0.1.0'")?;
    Ok(cluster)
}

#[test]
fn an_upgraded_extension_has_the_objects_privileges_and_comments_of_a_fresh_one() -> Result<()> {
    let cluster = cluster_with_an_old_extension()?;
    cluster.sql("create extension pg_sse")?;
    let (fresh, old) = (cluster.sql(INVENTORY)?, cluster.sql_in("old", INVENTORY)?);
    ensure!(fresh.lines().count() > 50, "the inventory is nearly empty:\n{fresh}");
    assert_ne!(old, fresh, "0.1.0 is no other version");
    cluster.sql_in("old", "alter extension pg_sse update")?;
    let upgraded = cluster.sql_in("old", INVENTORY)?;
    let only_in = |one: &str, other: &str| -> Vec<String> {
        one.lines()
            .filter(|line| !other.lines().any(|of_other| of_other == *line))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!((only_in(&upgraded, &fresh), only_in(&fresh, &upgraded)), (vec![], vec![]));
    let version = "select extversion from pg_extension where extname = 'pg_sse'";
    assert_eq!(cluster.sql(version)?, env!("CARGO_PKG_VERSION"));
    Ok(())
}

/// The state of the gateway as the old extension's view shows it, too.
fn wait_for_state(cluster: &Cluster, wanted: &str) -> Result<()> {
    wait_until(SOON, &format!("the state is {wanted:?}"), || {
        cluster.sql_in("old", "select state from sse.stat_gateway").is_ok_and(|state| state == wanted)
    })
}

#[test]
fn an_update_brings_the_service_back_by_itself() -> Result<()> {
    let cluster = cluster_with_an_old_extension()?;
    cluster.sql_in("old", &announcer("f", "@sse"))?;
    wait_for_state(&cluster, "extension has another version")?;
    cluster.sql_in("old", "begin; alter extension pg_sse update; rollback")?;
    cluster.sql_in("old", "alter extension pg_sse update")?;
    wait_for_state(&cluster, "serving")?;
    let mut stream = cluster.http_in("old")?.events("/api/f/info")?;
    cluster.sql_in("old", "select f('served')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "served");
    Ok(())
}

/// An update that only changes the comment of a view sends no cache any invalidation of a routine.
#[test]
fn an_update_that_changes_no_routine_brings_the_service_back_too() -> Result<()> {
    let (cluster, scripts) = cluster_with_scripts_of_its_own()?;
    let version = env!("CARGO_PKG_VERSION");
    fs::write(scripts.join("pg_sse--0.0.9.sql"), script(&format!("pg_sse--{version}.sql"))?)?;
    let update = "comment on view sse.stat_ring is 'other';";
    fs::write(scripts.join(format!("pg_sse--0.0.9--{version}.sql")), update)?;
    cluster.sql_in("old", "create extension pg_sse version '0.0.9'")?;
    wait_for_state(&cluster, "extension has another version")?;
    cluster.sql_in("old", "alter extension pg_sse update")?;
    wait_for_state(&cluster, "serving")
}

#[test]
fn an_upgrade_leaves_what_others_have_built_upon_the_views_and_what_they_were_granted() -> Result<()> {
    let cluster = cluster_with_an_old_extension()?;
    cluster.sql("create role reader")?;
    cluster.sql_in(
        "old",
        "create view mine as select * from sse.stat_ring, sse.endpoints;
         create view yours as select * from sse.stat_gateway;
         grant select on sse.stat_ring to reader; grant execute on function sse.publish to reader",
    )?;
    cluster.sql_in("old", "alter extension pg_sse update")?;
    let kept = "select has_table_privilege('reader', 'sse.stat_ring', 'select'),
                       has_function_privilege('reader', 'sse.publish(text, text, text, text, text, text)', 'execute'),
                       to_regclass('mine') is not null and to_regclass('yours') is not null";
    assert_eq!(cluster.sql_in("old", kept)?, "t|t|t");
    Ok(())
}

// The comparison above proves nothing that this query cannot see.
#[test]
fn the_inventory_sees_every_kind_of_difference() -> Result<()> {
    let cluster = common::shared();
    let whole = cluster.sql(INVENTORY)?;
    for change in [
        "grant select on sse.stat_ring to public",
        "revoke select on sse.endpoints from public",
        "grant select (port) on sse.stat_gateway to public",
        "grant execute on function sse.publish to public",
        "grant create on schema sse to public",
        "comment on view sse.stat_ring is 'other'",
        "comment on function sse.disconnect(text) is null",
        "alter function sse.authorize(text[]) volatile",
        "alter function sse.url(regprocedure) parallel unsafe",
        "alter function sse.publish(text, text, text, text, text, text) strict",
        "alter function sse._ring_figures() security definer",
        "alter extension pg_sse drop function sse._ring_figures()",
        "alter extension pg_sse drop view sse.endpoints; drop view sse.endpoints",
        "alter view sse.stat_ring rename column full_total to filled_total",
        "alter view sse.stat_ring set (security_barrier = on)",
        "create function sse.more() returns int language sql as 'select 1'; alter extension pg_sse add function sse.more()",
        "create or replace function sse._gateway_state() returns text language sql as $$ select 'x' $$",
    ] {
        let mut session = cluster.session()?;
        session.run(&format!("begin; {change}"))?.ok().with_context(|| change.to_owned())?;
        let changed = session.run(INVENTORY)?.ok()?.text();
        session.run("rollback")?.ok()?;
        ensure!(changed != whole, "not seen: {change}");
    }
    assert_eq!(cluster.sql(INVENTORY)?, whole, "and everything was rolled back");
    Ok(())
}

/// Servers in the field have run it: a change would reach none of them, and no upgrade would make it good.
#[test]
fn the_script_of_a_published_version_is_never_changed() -> Result<()> {
    // FNV-1a, 64 bits: enough against an accident, and this is no attack.
    let digest = script("pg_sse--0.1.0.sql")?.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    assert_eq!(format!("{digest:016x}"), "c0a9f2ba619eb26c", "sql/pg_sse--0.1.0.sql was changed");
    Ok(())
}
