//! Routines that are small enough each, and too many by their comments: they cost only their owner, and
//! neither the gateway nor anybody else.
//!
//! Not for too many of them by number, nor by their row types (`many_routines.rs`).

mod common;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::{Cluster, Session};
use common::{Corner, wait_for_status};

/// Reads 64 MB of comments, in a build without optimisation.
const LONG: Duration = Duration::from_secs(180);

/// The longest comment weighs 67,676: its own bytes, 2 kB, and for its one line of ours 64 for the word and
/// twice its 14 bytes.
const LONGEST: &str = "rpad(E'@sse_subscribe\\n', 65536, 'prose ')";

/// 991 of these leave 41,948 bytes of 64 MB: a comment of this many bytes, with what is added to it as above.
const THE_LAST_THAT_FITS: usize = 39_808;

/// Attack: a role with no right but to create functions makes the gateway keep as much as it likes.
// Long because the bound is approached from below, with one set of routines.
#[test]
fn one_owners_comments_are_read_up_to_64_mb_and_nobody_elses_are_left_out() -> Result<()> {
    let corner = Corner::new("hoard")?;
    corner.sql(&format!(
        "create role hoarder; grant usage, create on schema hoard to hoarder; set role hoarder;
         do $d$ begin for i in 1..991 loop
           execute format('create function hoard.h%s() returns int language sql as ''select 1''', i);
           execute format('comment on function hoard.h%s() is %L', i, {LONGEST});
         end loop; end $d$;
         create function hoard.last() returns int language sql as 'select 1';
         create function hoard.newer() returns int language sql as 'select 1'; comment on function hoard.newer() is '@sse_subscribe';
         create function hoard.prose() returns int language sql as 'select 1'; comment on function hoard.prose() is 'Mail to a@b.c';
         reset role;
         create function hoard.other() returns int language sql as 'select 1'; comment on function hoard.other() is '@sse_subscribe'",
    ))?;
    let mut session = corner.session()?;
    for (bytes, status, beyond) in [
        (THE_LAST_THAT_FITS - 1, 200, "newer"),
        (THE_LAST_THAT_FITS, 200, "newer"),
        (THE_LAST_THAT_FITS + 1, 404, "last newer"),
    ] {
        let comment = LONGEST.replace("65536", &bytes.to_string());
        session
            .run(&format!(
                "do $d$ begin execute format('comment on function hoard.last() is %L', {comment}); end $d$"
            ))?
            .ok()?;
        for (name, status) in [("last", status), ("newer", 404), ("h1", 200), ("h991", 200), ("other", 200)] {
            wait_for_status(corner.http, &format!("/api/hoard/{name}/info"), status, LONG)?;
        }
        let problems = "select string_agg(routine::oid::regproc::text, ' ' order by routine::oid) from sse.endpoints where problem like '%64 MB%' and routine::oid::regproc::text !~ 'tomes|novels'";
        assert_eq!(session.run(problems)?.ok()?.text(), beyond, "{bytes}");
    }
    // All of them say it, in the same words.
    session.send(
        "create temp table said as select routine::oid::regproc::text as name, url, problem from sse.endpoints;
         select n.name, (select s.url from said s where s.name = n.name), sse.url(n.r), (select s.problem from said s where s.name = n.name),
                (select string_agg(c, '') from sse.check(n.r) c)
           from (select o::text as name, o::oid::regprocedure as r from unnest(array['hoard.newer'::regproc, 'hoard.prose', 'hoard.h991']) o) n",
    )?;
    let said = session.wait(LONG)?.ok()?.text();
    let beyond = "it has no URL and cannot be called: the older routines of its owner take the 64 MB that one owner may have: expected fewer of them, shorter comments, or fewer columns";
    let url = "/api/hoard/h991/info";
    assert_eq!(said, format!("newer|||{beyond}|{beyond}\nprose||||\nh991|{url}|{url}||"));
    // Whoever has little does not read what others have, unless their oids are alike
    // (`src/catalog/owners.rs`).
    let alike =
        "select coalesce(bool_or((r.oid::int8 - u.oid::int8) % 64 = 0), false) from pg_roles r, pg_roles u
                  where r.rolname in ('hoarder', 'tome', 'novelist') and u.rolname = current_user";
    let alike = session.run(alike)?.ok()?.value() == Some("t");
    let mut takes = |routine: &str| -> Result<Duration> {
        let look = |session: &mut Session| -> Result<Duration> {
            let start = Instant::now();
            session.run(&format!("select sse.url('{routine}()')"))?.ok()?;
            Ok(start.elapsed())
        };
        Ok(look(&mut session)?.min(look(&mut session)?))
    };
    let (little, much) = (takes("hoard.other")?, takes("hoard.h1")?);
    ensure!(alike || little * 2 < much, "{little:?}, and {much:?} for one of those who have much");
    // Somebody else's, it has a place at once; and one less of the older ones makes room for the next.
    session.run("alter function hoard.newer() owner to current_user")?.ok()?;
    wait_for_status(corner.http, "/api/hoard/newer/info", 200, LONG)?;
    wait_for_status(corner.http, "/api/hoard/last/info", 404, LONG)?;
    session.run("drop function hoard.h7()")?.ok()?;
    wait_for_status(corner.http, "/api/hoard/last/info", 200, LONG)?;
    session.run("drop owned by hoarder; drop role hoarder")?.ok()?;
    Ok(())
}

/// The attack: comments that are too long to be kept, and are looked through at each reading: a thousand of
/// them, and nobody's change of a routine is read within minutes.
#[test]
fn comments_that_are_too_long_to_be_read_count_with_all_of_their_bytes() -> Result<()> {
    let corner = Corner::new("tomes")?;
    corner.sql(
        "create role tome; grant usage, create on schema tomes to tome; set role tome;
         do $d$ begin for i in 1..3 loop
           execute format('create function tomes.t%s() returns int language sql as ''select 1''', i);
           execute format('comment on function tomes.t%s() is %L', i, rpad(E'@sse\\n', 16 << 20, 'prose '));
         end loop; end $d$;
         create function tomes.last() returns int language sql as 'select 1';
         create function tomes.newer() returns int language sql as 'select 1'; comment on function tomes.newer() is '@sse_subscribe';
         reset role;
         create function tomes.other() returns int language sql as 'select 1'; comment on function tomes.other() is '@sse_subscribe'",
    )?;
    let mut session = corner.session()?;
    // What the four leave, each 2 kB besides.
    let last_that_fits = (16 << 20) - 4 * 2048;
    for (bytes, beyond) in
        [(last_that_fits - 1, "newer"), (last_that_fits, "newer"), (last_that_fits + 1, "last newer")]
    {
        session
            .run(&format!(
                "do $d$ begin execute format('comment on function tomes.last() is %L', rpad(E'@sse\\n', {bytes}, 'prose ')); end $d$"
            ))?
            .ok()?;
        let problems = "select string_agg(o.routine::oid::regproc::text, ' ' order by o.routine::oid) from sse.endpoints o join pg_proc p on p.oid = o.routine::oid
                         where p.pronamespace = 'tomes'::regnamespace and problem like '%64 MB%'";
        assert_eq!(session.run(problems)?.ok()?.text(), beyond, "{bytes}");
        wait_for_status(corner.http, "/api/tomes/newer/info", 404, LONG)?;
        wait_for_status(corner.http, "/api/tomes/other/info", 200, LONG)?;
    }
    session.run("drop function tomes.t2()")?.ok()?;
    wait_for_status(corner.http, "/api/tomes/newer/info", 200, LONG)?;
    session.run("drop owned by tome; drop role tome")?.ok()?;
    Ok(())
}

/// The attack: prose, which is looked through at each reading and takes a hundredth of its length on the
/// disk.
#[test]
fn one_owners_prose_is_looked_through_up_to_64_mb() -> Result<()> {
    let corner = Corner::new("novels")?;
    corner.sql(
        "create role novelist; grant usage, create on schema novels to novelist; set role novelist;
         do $d$ begin for i in 1..1023 loop
           execute format('create function novels.n%s() returns int language sql as ''select 1''', i);
           execute format('comment on function novels.n%s() is %L', i, repeat('prose_', 10922) || 'last');
         end loop; end $d$;
         create function novels.last() returns int language sql as 'select 1';
         create function novels.newer() returns int language sql as 'select 1'; comment on function novels.newer() is '@sse_subscribe';
         reset role;
         create function novels.other() returns int language sql as 'select 1'; comment on function novels.other() is '@sse_subscribe'",
    )?;
    let mut session = corner.session()?;
    // 1023 are 64 kB less than 64 MB; the newer one has 14 bytes.
    let last_that_fits = (64 << 10) - 14;
    for (bytes, status) in [(last_that_fits - 1, 200), (last_that_fits, 200), (last_that_fits + 1, 404)] {
        session.run(&format!(
            "do $d$ begin execute format('comment on function novels.last() is %L', rpad('', {bytes}, 'prose_')); end $d$;
             comment on function novels.newer() is '@sse'; comment on function novels.newer() is '@sse_subscribe'"
        ))?.ok()?;
        wait_for_status(corner.http, "/api/novels/newer/info", status, LONG)?;
        wait_for_status(corner.http, "/api/novels/other/info", 200, LONG)?;
        let problems = "select count(*) from sse.endpoints o join pg_proc p on p.oid = o.routine::oid where p.pronamespace = 'novels'::regnamespace and problem like '%64 MB%'";
        assert_eq!(session.run(problems)?.ok()?.value() == Some("1"), status == 404, "{bytes}");
    }
    session.run("drop owned by novelist; drop role novelist")?.ok()?;
    Ok(())
}

/// Attack: a role's routines make a statement of somebody else run for as long as their comments are, and
/// nobody can end it.
#[test]
fn a_statement_that_reads_all_routines_ends_soon_after_its_time() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    // Short lines take the longest to parse.
    cluster.sql(
        "do $d$ begin for i in 1..25 loop
           execute format('create function f%s() returns int language sql as ''select 1''', i);
           execute format('comment on function f%s() is %L', i, rpad(E'@sse_subscribe\\n', 65536, E'a\\n'));
         end loop; end $d$",
    )?;
    let mut session = cluster.session()?;
    let mut takes = |timeout: Duration| -> Result<(Duration, bool)> {
        session.run(&format!("set statement_timeout = {}", timeout.as_millis()))?.ok()?;
        let start = Instant::now();
        session.send("select count(*) from sse.endpoints")?;
        let reply = session.wait(LONG)?;
        let took = start.elapsed();
        let state = reply.error().and_then(|error| error.sqlstate.clone());
        ensure!(state.is_none() || state.as_deref() == Some("57014"), "{reply:?}");
        Ok((took, state.is_none()))
    };
    // The gateway reads them, too.
    takes(Duration::ZERO)?;
    let (whole, _) = takes(Duration::ZERO)?;
    let soon = (whole / 5).max(Duration::from_millis(500));
    for part in [1, 3, 5, 7] {
        let time = whole * part / 8;
        let (took, is_done) = takes(time)?;
        // On a machine that is less busy than before it may be done by then.
        ensure!(
            took < time + soon || is_done && took < time * 2,
            "{took:?}, and its time was {time:?} of {whole:?}"
        );
    }
    Ok(())
}
