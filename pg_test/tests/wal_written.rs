//! With `sse.durability = wal`: what a session publishes is in the write-ahead log, with its transaction, and
//! nobody who may run SQL can forge it or sees it there (C10.2, C10.4, C10.6).
//!
//! Not for what is read from it.

mod common;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::{Result, ensure};
use cluster::http::Request;
use cluster::{Cluster, PATIENCE, Session, SessionOptions, wait_for};
use common::announcer;
use common::calls;
use common::log_records::{Log, Told, mark};
use sse_proto::log_record::{Delivery, MAX_PART_BYTES};

/// One cluster, and one test at a time: they read what was written meanwhile.
fn cluster() -> (MutexGuard<'static, ()>, &'static Cluster) {
    static TURN: Mutex<()> = Mutex::new(());
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = CLUSTER.get_or_init(|| match furnished() {
        Ok(cluster) => cluster,
        Err(error) => panic!("no cluster: {error:#}"),
    });
    (turn, cluster)
}

fn furnished() -> Result<Cluster> {
    let builder = calls::builder()
        .setting("sse.durability", "wal")
        .setting("wal_level", "logical")
        .setting("max_prepared_transactions", 2)
        .setting("autovacuum", "off");
    let cluster = calls::start(builder)?;
    cluster.http()?;
    cluster.sql(&announcer("f", "@sse"))?;
    cluster.sql(&announcer("now", "@sse\n@sse_delivery immediate"))?;
    cluster.sql("create table t(a text)")?;
    Ok(cluster)
}

/// What is in the log of what this does.
fn written(cluster: &Cluster, what: impl FnOnce(&mut Session) -> Result<()>) -> Result<Log> {
    let from = mark(cluster)?;
    let options = SessionOptions { options: "-c client_min_messages=error".to_owned(), ..Default::default() };
    what(&mut cluster.session_with(&options)?)?;
    Log::since(cluster, &from)
}

fn run(cluster: &Cluster, sql: &str) -> Result<Log> {
    written(cluster, |session| session.run(sql)?.ok().map(drop))
}

#[test]
fn the_events_of_a_transaction_are_in_the_log_when_its_commit_record_is() -> Result<()> {
    let (_turn, cluster) = cluster();
    let log = run(cluster, "begin; insert into t values ('x'); select f('one'), f('two'); commit")?;
    let [told] = log.told.as_slice() else { panic!("{:?}", log.told) };
    assert_eq!(told.data, ["one", "two"]);
    ensure!(told.xid != 0, "with its commit record");
    assert_eq!(told.xid_of_events, u64::from(told.xid));
    assert_eq!(log.parts, [Delivery::Commit]);
    let before = log.dump.lines().position(|line| line.contains("LogicalMessage"));
    let after = log.dump.lines().position(|line| line.contains("desc: COMMIT"));
    ensure!(before < after, "{}", log.dump);
    Ok(())
}

// A page that follows its job on another server has to hear of its end, too.
#[test]
fn how_a_call_ended_that_went_on_without_its_caller_is_in_the_log_like_any_event() -> Result<()> {
    let (_turn, cluster) = cluster();
    cluster.sql(
        "create function job() returns text language sql as $$ select 'the result' $$;
         comment on function job() is e'HTTP POST\\n@sse_subscribe'",
    )?;
    let from = mark(cluster)?;
    let answer =
        cluster.http()?.request(&Request::new("POST", "/api/job").header("Prefer", "respond-async"))?;
    ensure!(answer.status() == 202, "{} {}", answer.status(), answer.text());
    let log = wait_for(PATIENCE, "its end", || {
        let log = Log::since(cluster, &from)?;
        Ok((!log.told.is_empty()).then_some(log))
    })?;
    ensure!(log.data().len() == 1 && log.data()[0].contains("the result"), "{:?}", log.told);
    assert_eq!((&*log.parts, log.told[0].xid), (&[Delivery::Immediate][..], 0));
    Ok(())
}

#[test]
fn what_is_rolled_back_is_told_by_nobody() -> Result<()> {
    let (_turn, cluster) = cluster();
    let log = run(cluster, "begin; insert into t values ('x'); select f('no'); rollback")?;
    assert_eq!(log.data(), Vec::<&str>::new());
    let log = run(
        cluster,
        "begin; insert into t values ('x'); select f('one');
         savepoint a; select f('no'); insert into t values ('y'); rollback to a;
         savepoint b; select f('two'); insert into t values ('z'); release b; commit",
    )?;
    assert_eq!(log.data(), ["one", "two"]);
    assert_eq!(log.told.len(), 1, "subtransactions have no commit record of their own");
    let log = written(cluster, |session| {
        let reply = session.run("begin; insert into t values ('x'); select f('no'); select 1 / 0; commit")?;
        ensure!(reply.error().is_some());
        Ok(())
    })?;
    assert_eq!(log.data(), Vec::<&str>::new());
    Ok(())
}

#[test]
fn a_block_that_commits_several_times_has_a_body_for_each() -> Result<()> {
    let (_turn, cluster) = cluster();
    let log = run(
        cluster,
        "do $$ begin
            insert into t values ('a'); perform f('1'); commit;
            insert into t values ('b'); perform f('no'); rollback;
            insert into t values ('c'); perform f('2'); commit;
         end $$",
    )?;
    let bodies: Vec<_> = log.told.iter().map(|told| told.data.join(" ")).collect();
    assert_eq!(bodies, ["1", "2"]);
    ensure!(log.told[0].xid != log.told[1].xid);
    Ok(())
}

#[test]
fn a_transaction_that_only_publishes_has_no_commit_record_and_so_does_not_wait_for_the_disk() -> Result<()> {
    let (_turn, cluster) = cluster();
    for level in ["read committed", "serializable", "serializable read only"] {
        let log =
            run(cluster, &format!("begin isolation level {level}; select f('x') from t limit 1; commit"))?;
        // The first and the last line of the log may be of other processes.
        assert_eq!(log.told, [Told { xid: 0, data: vec!["x".to_owned()], xid_of_events: 0 }], "{level}");
        assert_eq!(log.parts, [Delivery::Lazy], "{level}");
        let behind = log.dump.split("LogicalMessage").next().unwrap_or_default();
        ensure!(!behind.contains("COMMIT"), "{level}: {}", log.dump);
    }
    Ok(())
}

#[test]
fn a_transaction_that_publishes_and_notifies_is_told_behind_its_commit_record() -> Result<()> {
    let (_turn, cluster) = cluster();
    let log = run(cluster, "begin; notify c; select f('x'); commit")?;
    assert_eq!(log.data(), ["x"]);
    ensure!(log.told[0].xid_of_events != 0, "NOTIFY has taken an xid after everything was ready");
    let commit = log.dump.lines().position(|line| line.contains("desc: COMMIT"));
    let message = log.dump.lines().position(|line| line.contains("LogicalMessage"));
    ensure!(commit < message, "{}", log.dump);
    Ok(())
}

#[test]
fn what_is_immediate_is_in_the_log_whatever_becomes_of_its_transaction() -> Result<()> {
    let (_turn, cluster) = cluster();
    let log = run(cluster, "begin; insert into t values ('x'); select now('a'), f('no'); rollback")?;
    assert_eq!(log.data(), ["a"]);
    assert_eq!(log.parts, [Delivery::Immediate]);
    let log = run(
        cluster,
        "begin; insert into t values ('x'); select now('b'); prepare transaction 'p'; rollback prepared 'p'",
    )?;
    assert_eq!(log.data(), ["b"]);
    let log = written(cluster, |session| {
        let reply = session.run("begin; select f('no'); prepare transaction 'p'")?;
        let error = reply.sqlstate();
        assert_eq!(error, Some("0A000"), "a transaction with events cannot be prepared");
        Ok(())
    })?;
    assert_eq!(log.data(), Vec::<&str>::new());
    Ok(())
}

#[test]
fn a_body_below_at_and_above_the_limit_of_a_part_is_whole() -> Result<()> {
    let (_turn, cluster) = cluster();
    let ways = [
        ("insert into t values ('x'); select f(repeat('x', N))", Delivery::Commit),
        ("select f(repeat('x', N))", Delivery::Lazy),
        ("select now(repeat('x', N))", Delivery::Immediate),
    ];
    // What a record has beside its data.
    let probe =
        sse_proto::record::Record::Event { envelope: sse_proto::record::Envelope::for_all(), data: "" };
    let beside = 4 + probe.encode().map(|record| record.len())?;
    for (sql, delivery) in ways {
        for (body, parts) in [(MAX_PART_BYTES - 1, 1), (MAX_PART_BYTES, 1), (MAX_PART_BYTES + 1, 2)] {
            let size = body - beside;
            let log = run(cluster, &format!("begin; {}; commit", sql.replace('N', &size.to_string())))?;
            let data = log.data();
            ensure!(data.len() == 1 && data[0].len() == size, "{delivery:?}, {body} bytes: {}", data.len());
            assert_eq!(log.parts, vec![delivery; parts], "{body} bytes");
        }
    }
    Ok(())
}

#[test]
fn twenty_megabytes_of_events_of_one_transaction_are_whole() -> Result<()> {
    let (_turn, cluster) = cluster();
    let publish = "select f(i || repeat('x', 10000)) from generate_series(1, 2000) i";
    for (sql, delivery) in [("insert into t values ('x')", Delivery::Commit), ("select 1", Delivery::Lazy)] {
        let log = run(cluster, &format!("begin; {sql}; {publish}; commit"))?;
        assert_eq!(log.told.len(), 1, "{delivery:?}");
        let numbers = log.told[0].data.iter().map(|data| data.trim_end_matches('x').parse::<usize>());
        assert_eq!(numbers.collect::<Result<Vec<_>, _>>()?, (1..=2000).collect::<Vec<_>>(), "{delivery:?}");
        ensure!(log.parts.len() > 70, "{} parts", log.parts.len());
    }
    Ok(())
}

/// Of a long body all but the last part are in the log when the commit fails.
#[test]
fn a_long_body_of_a_transaction_that_only_publishes_and_fails_at_its_commit_is_told_by_nobody() -> Result<()>
{
    let (_turn, cluster) = cluster();
    let log = written(cluster, |session| {
        session.run("create temp table mine(a int) on commit delete rows")?.ok()?;
        let schema = session.run("select pg_my_temp_schema()::regnamespace")?.text();
        let mut other = cluster.session()?;
        other.run(&format!("begin; lock table {schema}.mine in access share mode"))?.ok()?;
        session.run("set lock_timeout = '10ms'")?.ok()?;
        // The table is emptied after the phase in which we write.
        let reply = session.run("begin; select from mine; select f(repeat('x', 600000)); commit")?;
        assert_eq!(reply.sqlstate(), Some("55P03"));
        other.run("rollback")?.ok()?;
        session.run("select f('after')")?.ok().map(drop)
    })?;
    assert_eq!(log.told.len(), 2, "the body that was begun is an empty one: {:?}", log.told);
    assert_eq!(log.data(), ["after"]);
    Ok(())
}

/// The attack: a role writes logical messages with our prefix and our bytes.
#[test]
fn a_role_that_writes_logical_messages_with_our_prefix_forges_nothing() -> Result<()> {
    let (_turn, cluster) = cluster();
    let log = written(cluster, |session| {
        session.run("create role mallory; set role mallory")?.ok()?;
        for is_transactional in [true, false] {
            // An immediate event, a mark, and the head of a message of no length before it.
            for hex in ["0101020301000000", "01020000000000000000", "70675f7373650001010203"] {
                let sql = format!(
                    "select pg_logical_emit_message({is_transactional}, 'pg_sse', '\\x{hex}'::bytea)"
                );
                session.run(&sql)?.ok()?;
                session.run(&sql.replace("'pg_sse'", "''"))?.ok()?;
            }
        }
        session.run("reset role; drop role mallory")?.ok().map(drop)
    })?;
    assert_eq!((log.foreign, log.parts.len(), log.told.len()), (12, 0, 0));
    Ok(())
}

#[test]
fn neither_pg_waldump_nor_logical_decoding_shows_a_payload() -> Result<()> {
    let (_turn, cluster) = cluster();
    if !common::has_library("wal_written", "test_decoding")? {
        return Ok(());
    }
    cluster.sql("select pg_create_logical_replication_slot('s', 'test_decoding')")?;
    let log = run(
        cluster,
        "begin; insert into t values ('a row'); select f('secret'), now('secret'); commit; select f('secret')",
    )?;
    assert_eq!(log.data(), ["secret", "secret", "secret"], "it is there");
    let messages: Vec<&str> = log.dump.lines().filter(|line| line.contains("LogicalMessage")).collect();
    // The reader may have written a mark meanwhile.
    ensure!(messages.len() >= 3, "{}", log.dump);
    for line in messages {
        ensure!(line.trim_end().ends_with("payload (0 bytes):"), "{line}");
    }
    let decoded =
        cluster.sql("select string_agg(data, e'\\n') from pg_logical_slot_get_changes('s', null, null)")?;
    cluster.sql("select pg_drop_replication_slot('s')")?;
    ensure!(decoded.contains("a row"), "{decoded}");
    ensure!(!decoded.contains("secret") && !decoded.contains("message"), "{decoded}");
    Ok(())
}
