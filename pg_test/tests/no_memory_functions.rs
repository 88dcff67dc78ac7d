//! SQL functions without memory: they fail with 53200, never leave out what they were given, and never end
//! the process, with which Postgres would end every session of the cluster (SAFETY.md, "When memory runs
//! out").
//!
//! Not for routines that raise, comments and triggers: `no_memory.rs`.

mod common;

use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, Session};
use common::Corner;
use common::starve::{SETUP, has_module, run, sweep};

/// The cluster of this test binary, which can sign tokens.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    let secret = "a secret of this test that is long enough";
    CLUSTER.get_or_init(|| match Cluster::builder().setting("sse.jwt_secret", secret).start() {
        Ok(cluster) => cluster,
        Err(error) => panic!("no cluster: {error:#}"),
    })
}

fn corner(name: &str) -> Result<Option<(Corner<'static>, Session)>> {
    if !has_module()? {
        return Ok(None);
    }
    let corner = Corner::of(cluster(), name)?;
    corner.sql(SETUP)?;
    let session = corner.session()?;
    Ok(Some((corner, session)))
}

/// Attack: arguments as long as a role likes.
#[test]
fn a_function_without_memory_for_its_arguments_fails_and_ends_no_session() -> Result<()> {
    let Some((corner, mut session)) = corner("arguments")? else { return Ok(()) };
    let lines = "repeat(E'@sse_event a b\\n@authorize a,b,c,d,e,f,g,h,i,j,k,l,m,n\\n@level \\x01\\n', 1000)";
    for (sql, most) in [
        ("select sse.authorize(repeat('x', 100000), repeat(E'\\x01\"', 100000), 'é')", 40_000),
        ("select sse.authorize(variadic array(select 'x' from generate_series(1, 20000)))", 24_000),
        (&format!("select count(*) from sse.check({lines})"), 4_000),
        (&format!("select count(*) from sse.check(E'@sse\\n' || {lines})"), 4_000),
        ("select count(*) from sse.check(repeat(E'@a\\n', 60))", 400),
        (
            "select sse.publish('said', 'authorize ' || (select string_agg('x', ',') from generate_series(1, 900)))",
            400,
        ),
        ("select sse.publish(repeat('x', 100000), 'authorize ' || repeat('x', 100000))", 4_000),
    ] {
        let (failed, others) = sweep(&corner, &mut session, sql, (most, 50), &[])?;
        ensure!(failed > 0 && others > 0, "{failed} and {others}: {sql:.200}");
    }
    Ok(())
}

/// Attack: an argument that is refused for its length, when there is no memory to look at it. An event
/// without its execution id, or a token without its user, would be for others.
#[test]
fn no_argument_is_left_out_for_want_of_memory() -> Result<()> {
    let Some((corner, mut session)) = corner("kept")? else { return Ok(()) };
    let long = "repeat('x', 1000000)";
    for (sql, state) in [
        (format!("select sse.publish('said', 'all', execution_id => {long})"), "22023"),
        (format!("select sse.publish('said', 'all', topic => {long})"), "22023"),
        (format!("select sse.publish('said', 'all', event => {long})"), "22023"),
        (format!("select sse.publish('said', 'all', delivery => {long})"), "22023"),
        (format!("select sse.issue_token(user_id => {long}, roles => array['r'])"), "22023"),
        (format!("select sse.issue_token(user_id => 'u', roles => array[{long}])"), "22023"),
        (format!("select sse.issue_token(user_id => 'u', user_name => {long})"), "22023"),
        (format!("select sse.disconnect({long})"), "54000"),
    ] {
        let mut refused = 0;
        for kilobytes in (0..8_000).step_by(100) {
            let reply =
                run(&corner, &mut session, &format!("select run_with({}, $r${sql}$r$)", kilobytes << 10))?;
            let error = reply.error().with_context(|| format!("not refused with {kilobytes} kB: {sql}"))?;
            let is_length = error.sqlstate.as_deref() == Some(state) && !error.text.contains("empty");
            ensure!(
                is_length || error.sqlstate.as_deref() == Some("53200"),
                "{kilobytes} kB: {sql}: {error:?}"
            );
            refused += usize::from(is_length);
        }
        ensure!((1..80).contains(&refused), "{refused}: {sql}");
    }
    Ok(())
}

/// Attack: what all roles together have written, read by one that has no memory for it.
#[test]
fn a_reading_of_the_routines_without_memory_fails_and_ends_no_session() -> Result<()> {
    let Some((corner, mut session)) = corner("reading")? else { return Ok(()) };
    corner.sql(
        "do $d$ begin for i in 1..20 loop
             execute format('create function f_%s(a int, b text default null, out c int, out d text) language plpgsql as $f$ begin end $f$', i);
             execute format('comment on function f_%s(int, text) is %L', i, E'HTTP GET\\n@sse\\n@authorize ' ||
                 (select string_agg(to_hex(j * 37), ',') from generate_series(1, 900) as j) || repeat(E'\\nprose', 5000));
         end loop; end $d$",
    )?;
    for sql in [
        "select count(*) from sse.endpoints",
        "select count(*) from sse.check('f_1(int, text)'::regprocedure)",
        "select sse.url('f_2(int, text)'::regprocedure)",
        "select length(sse.typescript_client())",
        "select length(sse.openapi()::text)",
        "select length(sse.asyncapi()::text)",
        "select count(*) from sse.stat_ring, sse.stat_gateway, sse.stat_wal, sse.subscribers, sse.stat_histograms",
    ] {
        if sql.contains("endpoints") || sql.contains("stat_ring") {
            // Closely, where an error finds no room any more.
            sweep(&corner, &mut session, sql, (400, 100), &[])?;
        }
        let (failed, others) = sweep(&corner, &mut session, sql, (60_000, 30), &[])?;
        ensure!(failed > 0 && others > 0, "{failed} and {others}: {sql}");
    }
    Ok(())
}
