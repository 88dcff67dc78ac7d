//! What the gateway knows of an event's transaction: its id. Subscribers are not told it.

mod common;

use std::fs;

use anyhow::{Result, ensure};
use cluster::{Cluster, Session};
use common::{SOON, announcer};

const NOTE: &str = "insert into ids values (pg_current_xact_id()::text)";

/// Runs these statements, which publish one event; which transaction the gateway says it is of.
fn told(cluster: &Cluster, session: &mut Session, statements: &[&str]) -> Result<u64> {
    let mark = cluster.log_mark()?;
    for statement in statements {
        session.run(statement)?.ok()?;
    }
    let line = cluster.wait_for_log(mark, "an event of transaction ")?;
    Ok(line.trim_end().rsplit(' ').next().unwrap_or_default().parse()?)
}

#[test]
fn an_event_has_the_id_of_the_transaction_that_committed_it_and_none_is_given_out_for_it() -> Result<()> {
    // Autovacuum takes ids, too.
    let cluster = Cluster::builder().setting("autovacuum", "off").start()?;
    cluster.sql(&announcer("f", "@sse"))?;
    cluster.sql(&announcer("at_once", "@sse\n@sse_delivery immediate"))?;
    cluster.sql("create table t (id int); create table ids (id text)")?;
    let mut session = cluster.session()?;
    session.run("set client_min_messages = warning")?.ok()?;
    let mut stream = cluster.http()?.events("/api/f/info")?;
    // Only a build with assertions has it (`src/worker/gateway/fault.rs`).
    let mark = cluster.log_mark()?;
    fs::write(cluster.data_dir().join("pg_sse.tell_transactions"), "")?;
    cluster.reload()?;
    cluster.wait_for_log(mark, "an event of transaction 0")?;

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
    // What takes one while the transaction commits comes behind our PRE_COMMIT.
    let xid = told(&cluster, &mut session, &["begin", "notify c", "select f('x')", "commit"])?;
    ensure!(xid >= before, "{xid} < {before}");
    let immediate = &["begin", NOTE, "select at_once('x')", "commit"];
    assert_eq!(told(&cluster, &mut session, immediate)?, 0, "it may never commit");
    let event = stream.next_payload(SOON)?;
    ensure!(event.event != "sse.gap", "{event:?}");
    Ok(())
}
