//! Routines that are small enough each, and too many by their comments: they cost only their owner, and
//! neither the gateway nor anybody else.
//!
//! Not for too many of them by number, nor by their row types (`many_routines.rs`).

mod common;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::{Cluster, Reply, Session};
use common::{Corner, wait_for_status};

/// Reads 64 MB of comments, in a build without optimisation, on a machine with other things to do.
const LONG: Duration = Duration::from_secs(300);

/// One owner at a time: each reading reads what all owners have.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`Session::run`], for what reads all comments.
fn patiently(session: &mut Session, sql: &str) -> Result<Reply> {
    session.send(sql)?;
    session.wait(LONG)?.ok()
}

fn answers(corner: &Corner<'_>, name: &str, status: u16) -> Result<()> {
    // A request for what is not known waits for a reading.
    let http = corner.http.within(LONG);
    wait_for_status(http, &format!("/api/{}/{name}/info", corner.name), status, LONG)
}

/// The longest comment weighs 67,676: its own bytes, 2 kB, and for its one line of ours 64 for the word and
/// twice its 14 bytes.
const LONGEST: &str = "rpad(E'@sse_subscribe\\n', 65536, 'prose ')";

/// 991 of these leave 41,948 bytes of 64 MB: a comment of this many bytes, with what is added to it as above.
const THE_LAST_THAT_FITS: usize = 39_808;

/// Attack: a role with no right but to create functions makes the gateway keep as much as it likes.
// Long because the bound is approached from below, with one set of routines.
#[test]
fn one_owners_comments_are_read_up_to_64_mb_and_nobody_elses_are_left_out() -> Result<()> {
    let _turn = turn();
    let corner = Corner::new("hoard")?;
    let mut session = corner.session()?;
    patiently(&mut session, &format!(
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
    for (bytes, status, beyond) in [
        (THE_LAST_THAT_FITS - 1, 200, "newer"),
        (THE_LAST_THAT_FITS, 200, "newer"),
        (THE_LAST_THAT_FITS + 1, 404, "last newer"),
    ] {
        let comment = LONGEST.replace("65536", &bytes.to_string());
        patiently(
            &mut session,
            &format!(
                "do $d$ begin execute format('comment on function hoard.last() is %L', {comment}); end $d$"
            ),
        )?;
        for (name, status) in [("last", status), ("newer", 404), ("h1", 200), ("h991", 200), ("other", 200)] {
            answers(&corner, name, status)?;
        }
        let problems = "select string_agg(routine::oid::regproc::text, ' ' order by routine::oid) from sse.endpoints where problem like '%64 MB%' and routine::oid::regproc::text !~ 'tomes|novels'";
        assert_eq!(patiently(&mut session, problems)?.text(), beyond, "{bytes}");
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
    let alike = patiently(&mut session, alike)?.value() == Some("t");
    let mut takes = |routine: &str| -> Result<Duration> {
        let look = |session: &mut Session| -> Result<Duration> {
            let start = Instant::now();
            patiently(session, &format!("select sse.url('{routine}()')"))?;
            Ok(start.elapsed())
        };
        Ok(look(&mut session)?.min(look(&mut session)?))
    };
    let (little, much) = (takes("hoard.other")?, takes("hoard.h1")?);
    ensure!(alike || little * 2 < much, "{little:?}, and {much:?} for one of those who have much");
    // Somebody else's, it has a place at once; and one less of the older ones makes room for the next.
    patiently(&mut session, "alter function hoard.newer() owner to current_user")?;
    answers(&corner, "newer", 200)?;
    answers(&corner, "last", 404)?;
    patiently(&mut session, "drop function hoard.h7()")?;
    answers(&corner, "last", 200)?;
    patiently(&mut session, "drop owned by hoarder; drop role hoarder")?;
    Ok(())
}

/// The attack: comments that are too long to be kept, and are looked through at each reading: a thousand of
/// them, and nobody's change of a routine is read within minutes.
#[test]
fn comments_that_are_too_long_to_be_read_count_with_all_of_their_bytes() -> Result<()> {
    let _turn = turn();
    let corner = Corner::new("tomes")?;
    let mut session = corner.session()?;
    patiently(&mut session,
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
    // What the four leave, each 2 kB besides.
    let last_that_fits = (16 << 20) - 4 * 2048;
    for (bytes, beyond) in
        [(last_that_fits - 1, "newer"), (last_that_fits, "newer"), (last_that_fits + 1, "last newer")]
    {
        patiently(
            &mut session,
            &format!(
                "do $d$ begin execute format('comment on function tomes.last() is %L', rpad(E'@sse\\n', {bytes}, 'prose ')); end $d$"
            ),
        )?;
        let problems = "select string_agg(o.routine::oid::regproc::text, ' ' order by o.routine::oid) from sse.endpoints o join pg_proc p on p.oid = o.routine::oid
                         where p.pronamespace = 'tomes'::regnamespace and problem like '%64 MB%'";
        assert_eq!(patiently(&mut session, problems)?.text(), beyond, "{bytes}");
        answers(&corner, "newer", 404)?;
        answers(&corner, "other", 200)?;
    }
    patiently(&mut session, "drop function tomes.t2()")?;
    answers(&corner, "newer", 200)?;
    patiently(&mut session, "drop owned by tome; drop role tome")?;
    Ok(())
}

/// The attack: prose, which is looked through at each reading and takes a hundredth of its length on the
/// disk.
#[test]
fn one_owners_prose_is_looked_through_up_to_64_mb() -> Result<()> {
    let _turn = turn();
    let corner = Corner::new("novels")?;
    let mut session = corner.session()?;
    patiently(&mut session,
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
    // 1023 are 64 kB less than 64 MB; the newer one has 14 bytes.
    let last_that_fits = (64 << 10) - 14;
    for (bytes, status) in [(last_that_fits - 1, 200), (last_that_fits, 200), (last_that_fits + 1, 404)] {
        let change = format!(
            "do $d$ begin execute format('comment on function novels.last() is %L', rpad('', {bytes}, 'prose_')); end $d$;
             comment on function novels.newer() is '@sse'; comment on function novels.newer() is '@sse_subscribe'"
        );
        patiently(&mut session, &change)?;
        answers(&corner, "newer", status)?;
        answers(&corner, "other", 200)?;
        let problems = "select count(*) from sse.endpoints o join pg_proc p on p.oid = o.routine::oid where p.pronamespace = 'novels'::regnamespace and problem like '%64 MB%'";
        assert_eq!(patiently(&mut session, problems)?.value() == Some("1"), status == 404, "{bytes}");
    }
    patiently(&mut session, "drop owned by novelist; drop role novelist")?;
    Ok(())
}

/// Attack: a role's routines make a statement of somebody else run for as long as their comments are, and
/// nobody can end it.
#[test]
fn a_statement_that_reads_all_routines_ends_soon_after_its_time() -> Result<()> {
    let _turn = turn();
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
        // The best of three: on a busy machine a process may not run for as long.
        let mut tries = Vec::new();
        let mut is_soon = || -> Result<bool> {
            let (took, is_done) = takes(time)?;
            tries.push(took);
            // On a machine that is less busy than before it may be done by then.
            Ok(took < time + soon || is_done && took < time * 2)
        };
        let ended = is_soon()? || is_soon()? || is_soon()?;
        ensure!(ended, "{tries:?}, and its time was {time:?} of {whole:?}");
    }
    Ok(())
}
