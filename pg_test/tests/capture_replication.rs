//! The apply worker of logical replication runs triggers that are enabled always: these publish like any
//! other (C3.1).

mod common;

use anyhow::Result;
use cluster::{Cluster, PATIENCE};
use common::differential::Pair;

#[test]
fn a_trigger_that_the_apply_worker_fires_is_captured() -> Result<()> {
    let publisher = Cluster::builder().stock().setting("wal_level", "logical").start()?;
    publisher.sql("create table t (a int); create publication p for table t")?;
    let pair = Pair::start(|builder| builder)?;
    let slot = |name: &str| {
        // In a publisher of the same account: the socket's folder is closed to everybody else.
        format!(
            "create subscription {name} connection 'host={} dbname=postgres user=postgres' publication p",
            publisher.home().display()
        )
    };
    pair.both(
        "create table t (a int);
         create function tells() returns trigger language plpgsql as $f$
         begin
             raise info 'applied %', new.a;
             raise notice 'a notice';
             raise warning 'warned %', new.a;
             return new;
         end $f$;
         comment on function tells() is '@sse';
         create trigger tells before insert on t for each row execute function tells();
         alter table t enable always trigger tells;",
    )?;
    let mut stream = pair.events("/api/probe/info")?;
    let marks = (pair.stock.log_mark()?, pair.preloaded.log_mark()?);
    pair.stock.sql(&slot("stock"))?;
    pair.preloaded.sql(&slot("preloaded"))?;
    publisher.sql("insert into t values (1)")?;
    publisher.sql("begin; insert into t values (2), (3); commit")?;
    publisher.sql("begin; insert into t values (4); rollback; insert into t values (5)")?;
    let events = stream.next_data(4, PATIENCE)?;
    assert_eq!(events, ["applied 1", "applied 2", "applied 3", "applied 5"]);

    pair.stock.wait_for_log(marks.0, "warned 5")?;
    let said = |log: String| -> Vec<String> {
        let lines = log
            .lines()
            .filter(|line| ["applied", "a notice", "warned"].iter().any(|word| line.contains(word)));
        lines.filter_map(|line| Some(line.split_once("] ")?.1.to_owned())).collect()
    };
    let stock = said(pair.stock.log_since(marks.0)?);
    assert_eq!(said(pair.preloaded.log_since(marks.1)?), stock);
    assert_eq!(stock.len(), 4, "{stock:?}");
    Ok(())
}
