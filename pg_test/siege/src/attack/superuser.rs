//! What superusers may do at any time: lock pg_database, change types, reload, refuse users.
//!
//! Not for what ends the service for a while: `crate::phase`.

use std::time::Duration;

use anyhow::Result;

use super::hand::{Blow, Hand};

/// How long a statement of the other session that waits for this one may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A transaction that has read pg_database, as pg_dump's has, and a VACUUM FULL that waits for it. Everybody
/// who wants the lock now waits for both.
pub(super) fn vacuum_full(hand: &mut Hand) -> Result<Blow> {
    let time = Duration::from_millis(hand.rng.u64(100..1_500));
    let mut vacuum = hand.ground.session("postgres")?;
    hand.query("postgres", "begin; select count(*) from pg_database")?.ok()?;
    vacuum.send("vacuum full pg_database")?;
    hand.ground.pause(time);
    hand.query("postgres", "commit")?.ok()?;
    vacuum.reply(PATIENCE)?.ok()?;
    Ok(Blow::Struck(1))
}

/// The row type that honest calls return becomes another, and back; sometimes a column goes and comes.
pub(super) fn alter_types(hand: &mut Hand) -> Result<Blow> {
    hand.number += 1;
    let sql = match hand.rng.u32(0..3) {
        0 => "alter table item add column more text; alter table item drop column more",
        _ if hand.number.is_multiple_of(2) => "alter table item alter column id type int",
        _ => "alter table item alter column id type bigint",
    };
    hand.strike("postgres", sql)
}

/// Other values of what may change while the server runs.
pub(super) fn reload(hand: &mut Hand) -> Result<Blow> {
    for (name, values) in [
        ("sse.heartbeat_interval", ["1s", "5s", "15s"]),
        ("sse.retry", ["1s", "2s", "500ms"]),
        ("sse.write_timeout", ["5s", "10s", "30s"]),
        ("sse.schemas", ["", "", "public, mallory"]),
        ("sse.login_failures", ["10", "5", "100"]),
    ] {
        let value = values[hand.rng.usize(0..3)];
        // A setting that this version does not have is left out.
        let _ = hand.query("postgres", &format!("alter system set {name} = '{value}'"))?;
    }
    hand.strike("postgres", "select pg_reload_conf()")
}

/// Users who are refused from now on, many at a time.
pub(super) fn disconnect(hand: &mut Hand) -> Result<Blow> {
    let (first, count) = (hand.number, hand.rng.u64(1..200));
    hand.number += count;
    let last = hand.number;
    hand.strike(
        "postgres",
        &format!("select sse.disconnect('nobody-' || i) from generate_series({first}, {last}) i"),
    )
}
