//! What the gateway knows of an event's transaction: its id. Subscribers are not told it.

mod common;

use anyhow::{Result, ensure};
use cluster::{Account, Builder, Cluster, Session, StopMode, wait_until};
use common::{SOON, announcer, provoke, wait_for_status};

const NOTE: &str = "insert into ids values (pg_current_xact_id()::text)";

const SAID: &str = "an event of transaction ";

fn start(builder: Builder) -> Result<Cluster> {
    // Autovacuum takes ids, too.
    let cluster = builder.setting("autovacuum", "off").start()?;
    cluster.sql(&announcer("f", "@sse"))?;
    cluster.sql(&announcer("at_once", "@sse\n@sse_delivery immediate"))?;
    cluster.sql("create table t (id int); create table ids (id text)")?;
    tell(&cluster)?;
    Ok(cluster)
}

/// From now on routines are served, and the log says it of every event. Only a build with the feature
/// `faults` does (`src/worker/gateway/fault.rs`).
fn tell(cluster: &Cluster) -> Result<()> {
    wait_for_status(cluster.http()?, "/api/f/info", 200, SOON)?;
    let mark = cluster.log_mark()?;
    provoke(cluster, "pg_sse.tell_transactions")?;
    cluster.wait_for_log(mark, &format!("{SAID}0"))?;
    Ok(())
}

fn quiet_session(cluster: &Cluster) -> Result<Session> {
    let mut session = cluster.session()?;
    session.run("set client_min_messages = warning")?.ok()?;
    Ok(session)
}

/// Runs these statements, which publish so many events; which transactions the gateway says they are of.
fn told_of(cluster: &Cluster, session: &mut Session, count: usize, statements: &[&str]) -> Result<Vec<u64>> {
    let mark = cluster.log_mark()?;
    for statement in statements {
        session.run(statement)?.ok()?;
    }
    let told = || -> Result<Vec<u64>> {
        let log = cluster.log_since(mark)?;
        let ids = log.lines().filter_map(|line| line.split_once(SAID));
        ids.map(|(_, id)| Ok(id.trim_end().parse()?)).collect()
    };
    wait_until(SOON, "the gateway has told of all events", || told().is_ok_and(|told| told.len() >= count))?;
    told()
}

/// Runs these statements, which publish one event; which transaction the gateway says it is of.
fn told(cluster: &Cluster, session: &mut Session, statements: &[&str]) -> Result<u64> {
    let told = told_of(cluster, session, 1, statements)?;
    let [id] = told.as_slice() else { anyhow::bail!("{told:?}") };
    Ok(*id)
}

#[test]
fn an_event_has_the_id_of_the_transaction_that_committed_it_and_none_is_given_out_for_it() -> Result<()> {
    let cluster = start(Cluster::builder())?;
    let mut session = quiet_session(&cluster)?;
    let mut stream = cluster.http()?.events("/api/f/info")?;
    let changing: [&[&str]; 5] = [
        &["begin", "insert into t values (1)", "select f('x')", NOTE, "commit"],
        &["begin", "select f('raised before there is an id')", NOTE, "commit"],
        &["begin", "savepoint s", "insert into t values (1)", "select f('x')", "release s", NOTE, "commit"],
        &["begin", "savepoint s", "savepoint u", NOTE, "select f('x')", "commit"],
        &["begin", "savepoint s", NOTE, "rollback to s", NOTE, "select f('x')", "commit"],
    ];
    for statements in changing {
        session.run("truncate ids")?.ok()?;
        let xid = told(&cluster, &mut session, statements)?;
        let own: u64 = session.run("select id from ids")?.ok()?.text().parse()?;
        assert_eq!(xid, own, "{statements:?}");
    }
    let next = |session: &mut Session| -> Result<u64> {
        Ok(session.run("select pg_snapshot_xmax(pg_current_snapshot())")?.ok()?.text().parse()?)
    };
    let before = next(&mut session)?;
    for statements in [
        &["select f('changes nothing')"][..],
        &["begin", "savepoint s", "select f('changes nothing')", "commit"],
        &["select at_once('changes nothing')"],
    ] {
        assert_eq!(told(&cluster, &mut session, statements)?, 0, "{statements:?}");
    }
    assert_eq!(next(&mut session)?, before, "an id was given out");
    // What takes one while the transaction commits comes after our PRE_COMMIT.
    let xid = told(&cluster, &mut session, &["begin", "notify c", "select f('x')", "commit"])?;
    ensure!(xid >= before, "{xid} < {before}");
    let immediate = &["begin", NOTE, "select at_once('x')", "commit"];
    assert_eq!(told(&cluster, &mut session, immediate)?, 0, "it may never commit");
    let event = stream.next_payload(SOON)?;
    ensure!(event.event != "sse.gap", "{event:?}");
    Ok(())
}

#[test]
fn each_transaction_of_a_procedure_that_commits_tells_its_own_id() -> Result<()> {
    let cluster = start(Cluster::builder())?;
    cluster.sql(&format!(
        "create procedure several() language plpgsql as $$
         begin
             perform f('a'); {NOTE}; commit;
             perform f('changes nothing'); commit;
             begin {NOTE}; raise exception 'x'; exception when others then null; end;
             perform f('behind a savepoint that was rolled back'); {NOTE}; commit and chain;
             perform f('is rolled back'); {NOTE}; rollback and chain;
             perform f('d'); {NOTE};
         end $$"
    ))?;
    let mut session = quiet_session(&cluster)?;
    let told = told_of(&cluster, &mut session, 4, &["call several()"])?;
    let own = session.run("select id from ids order by id::xid8")?.ok()?.text();
    let own: Vec<u64> = own.lines().map(|id| Ok(id.parse()?)).collect::<Result<_>>()?;
    assert_eq!(told, [own[0], 0, own[1], own[2]], "{own:?}");
    Ok(())
}

#[test]
fn a_prepared_transaction_gives_its_id_to_no_event_of_others() -> Result<()> {
    let cluster = start(Cluster::builder().setting("max_prepared_transactions", 4))?;
    let mut session = quiet_session(&cluster)?;
    let prepare = &["begin", NOTE, "select at_once('x')", "prepare transaction 'p'"];
    assert_eq!(told(&cluster, &mut session, prepare)?, 0, "it may never commit");
    let commit = &["commit prepared 'p'", "select f('changes nothing')"];
    assert_eq!(told(&cluster, &mut session, commit)?, 0);
    let refused = session.run("begin; select f('x'); prepare transaction 'q'")?;
    ensure!(refused.ok().is_err(), "events are sent by this session at its commit");
    session.run("rollback")?.ok()?;
    let xid = told(&cluster, &mut session, &["begin", "truncate ids", NOTE, "select f('x')", "commit"])?;
    assert_eq!(xid, session.run("select id from ids")?.ok()?.text().parse::<u64>()?);
    Ok(())
}

#[test]
fn an_id_keeps_its_epoch() -> Result<()> {
    let cluster = start(Cluster::builder())?;
    cluster.stop(StopMode::Fast)?;
    // As after five times four thousand million transactions.
    let mut reset = Account::for_servers()?.command(&cluster.install().program("pg_resetwal"));
    reset.args(["--epoch=5", "--pgdata"]).arg(cluster.data_dir());
    ensure!(reset.output()?.status.success(), "pg_resetwal");
    cluster.start()?;
    tell(&cluster)?;
    let mut session = quiet_session(&cluster)?;
    let xid = told(&cluster, &mut session, &["begin", "select f('x')", NOTE, "commit"])?;
    assert_eq!(xid, session.run("select id from ids")?.ok()?.text().parse::<u64>()?);
    assert_eq!(xid >> 32, 5);
    Ok(())
}
