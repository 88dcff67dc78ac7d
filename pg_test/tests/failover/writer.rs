//! Publishes by transactions of every kind, on whichever server is the primary, and goes on when that dies.
//!
//! What a row says was committed is told; the text of an event says what is to be expected of it:
//! `rows 7.1` has a row, `no 7` was rolled back, `lazy 7` and `now 7` may be lost by a crash.
//!
//! Not for who reads it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use cluster::{Session, SessionOptions};

use crate::common::dice::Dice;
use crate::tree::{Replication, Tree};

pub(crate) const SETUP: &str = "
    create table note (n bigint, part int, tone text, primary key (n, part));
    create function red(message text) returns void language plpgsql as $f$ begin raise info '%', message; end $f$;
    create function blue(message text) returns void language plpgsql as $f$ begin raise info '%', message; end $f$;
    create function red_now(message text) returns void language plpgsql as $f$ begin raise info '%', message; end $f$;
    create function blue_now(message text) returns void language plpgsql as $f$ begin raise info '%', message; end $f$;
    comment on function red(text) is E'@sse\n@sse_topic red';
    comment on function blue(text) is E'@sse\n@sse_topic blue';
    comment on function red_now(text) is E'@sse\n@sse_topic red\n@sse_delivery immediate';
    comment on function blue_now(text) is E'@sse\n@sse_topic blue\n@sse_delivery immediate';";

/// The streams that there are.
pub(crate) const TONES: [&str; 2] = ["red", "blue"];

/// Numbers of one writer.
const NUMBERS: u64 = 1_000_000;

/// A statement that does not come back in this time is given up with its session.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(15);

/// What was published without a row: its tone, its text, and how often a primary had died when COMMIT
/// returned.
pub(crate) struct Returned {
    pub(crate) tone: &'static str,
    pub(crate) text: String,
    pub(crate) life: usize,
}

pub(crate) fn write(tree: &Tree, number: u64, mut dice: Dice, ends: &AtomicBool) -> Result<Vec<Returned>> {
    let mut returned = Vec::new();
    let mut n = number * NUMBERS;
    while !ends.load(Relaxed) {
        let Ok(mut session) = connect(tree) else { continue };
        while !ends.load(Relaxed) {
            n += 1;
            // So many events that servers and readers keep up.
            thread::sleep(Duration::from_millis(dice.roll(8) as u64));
            let tone = dice.pick(&TONES);
            let life = tree.lives.load(Relaxed);
            let (sql, text) = transaction(tree.replication, &mut dice, tone, n);
            let Ok(reply) = session.send(&sql).and_then(|()| session.wait(GIVEN_UP_AFTER)) else { break };
            match reply.error() {
                // Its own fault, on purpose.
                Some(error) if error.sqlstate.as_deref() != Some("22012") => break,
                _ => returned.extend(text.map(|text| Returned { tone, text, life })),
            }
        }
    }
    Ok(returned)
}

fn connect(tree: &Tree) -> Result<Session> {
    let options = "-c client_min_messages=error".to_owned();
    tree.head().cluster.session_with(&SessionOptions { options, ..SessionOptions::default() })
}

/// A transaction, and the text of what it publishes without a row.
fn transaction(replication: Replication, dice: &mut Dice, tone: &str, n: u64) -> (String, Option<String>) {
    let row = |part: u32| {
        format!("insert into note values ({n}, {part}, '{tone}'); select {tone}('rows {n}.{part}');")
    };
    let rows = |more: &str| (format!("begin; {more} {} commit", row(1)), None);
    match dice.roll(12) {
        0 | 1 => rows(""),
        2 if replication == Replication::Asynchronous => rows("set local synchronous_commit = off;"),
        3 if replication == Replication::Asynchronous => rows("set local synchronous_commit = local;"),
        2 | 3 => rows("set local synchronous_commit = remote_apply;"),
        4 => (format!("select {tone}('lazy {n}')"), Some(format!("lazy {n}"))),
        5 => {
            let sql = format!(
                "begin; select {tone}_now('now {n}'); insert into note values ({n}, 0, 'no'); rollback"
            );
            (sql, Some(format!("now {n}")))
        }
        6 => (format!("begin; {} select {tone}('no {n}'); rollback", row(1)), None),
        7 => (format!("begin; {} select 1 / 0; commit", row(1)), None),
        8 => {
            let sql = format!(
                "begin; {} savepoint a; {} select {tone}('no {n}'); rollback to a; savepoint b; {} release b; commit",
                row(1),
                row(2),
                row(3)
            );
            (sql, None)
        }
        9 => {
            let sql = format!(
                "do $$ begin
                    insert into note values ({n}, 1, '{tone}'); perform {tone}('rows {n}.1'); commit;
                    insert into note values ({n}, 2, '{tone}'); perform {tone}('no {n}'); rollback;
                    insert into note values ({n}, 3, '{tone}'); perform {tone}('rows {n}.3'); commit;
                 end $$"
            );
            (sql, None)
        }
        10 => {
            let sql = format!(
                "begin; {} do $$ begin
                    insert into note values ({n}, 2, '{tone}'); perform {tone}('no {n}'); perform 1 / 0;
                 exception when division_by_zero then perform 1; end $$; commit",
                row(1)
            );
            (sql, None)
        }
        // In several parts of the log.
        _ if dice.one_in(20) => {
            let sql = format!(
                "with told as (insert into note select {n}, part, '{tone}' from generate_series(1, 12) part returning part)
                 select {tone}(format('rows {n}.%s %s', part, repeat('x', 30000))) from told"
            );
            (sql, None)
        }
        _ => rows("set local synchronous_commit = remote_write;"),
    }
}
