//! Rows that change, each change an event, in tables that are altered meanwhile.
//!
//! Not for changes that routines of an attacker's own tell: `sql`.

use anyhow::Result;

use super::hand::{Blow, Hand};

/// The tables with a trigger of `sse.publish_change()` (schema.sql): plain, of 1,200 columns, and
/// partitioned.
const TABLES: [&str; 3] = ["stock", "broad", "parts"];

/// Few large rows, beyond the largest event, or many small ones; then some of them change or go, their keys,
/// too.
pub(super) fn change(hand: &mut Hand) -> Result<Blow> {
    let (size, first) = (hand.any_size(200_000), hand.rng.u32(0..1_000_000));
    // At most about a megabyte.
    let count = hand.any_size(2_000).min(1_000_000 / size).max(1);
    let last = first + count;
    let table = TABLES[hand.rng.usize(0..TABLES.len())];
    let some = "(id % 5 = 0 or id < 0)";
    let sql = match (table, hand.rng.u32(0..5)) {
        ("broad", 0..3) => "insert into mallory.broad (id) select max(id) + 1 from mallory.broad".to_owned(),
        ("broad", _) => {
            "update mallory.broad set id = -id where id = (select max(id) from mallory.broad)".to_owned()
        }
        (_, 0 | 1) => format!(
            "insert into mallory.{table} (id, body) select i, repeat(md5(i::text), {size} / 32 + 1) from generate_series({first}, {last}) i"
        ),
        (_, 2) => format!("update mallory.{table} set body = 'now ' || left(body, 100) where {some}"),
        (_, 3) => format!("update mallory.{table} set id = -id where {some}"),
        _ => format!("delete from mallory.{table}"),
    };
    // A trigger is missing for a moment after the extension was dropped.
    let told = format!("select count(*) from pg_trigger where tgrelid = 'mallory.{table}'::regclass; {sql}");
    let reply = hand.query("mallory", &told)?;
    Ok(match (reply.error, reply.value.as_deref()) {
        (Some(error), _) => Blow::Refused(error),
        (None, None | Some("0")) => Blow::Refused("there is no trigger".to_owned()),
        (None, Some(_)) => Blow::Struck(1),
    })
}

/// Columns come and go, the primary key goes, partitions leave and return, names change, and the trigger is
/// made anew with another scope and other columns. Now and then the tables are, too: dropped columns are
/// never given back.
pub(super) fn alter(hand: &mut Hand) -> Result<Blow> {
    let number = hand.number;
    hand.number += 1;
    if number.is_multiple_of(100) {
        hand.query("postgres", "set lock_timeout = '2s'; set deadlock_timeout = '50ms'")?.ok()?;
        return hand.strike("postgres", "call mallory.make_tables()");
    }
    let trigger = |table: &str, arguments: &str| {
        format!(
            "create or replace trigger tells after insert or update or delete on mallory.{table} for each row execute function sse.publish_change({arguments})"
        )
    };
    let table = TABLES[hand.rng.usize(0..TABLES.len())];
    let sql = match hand.rng.u32(0..8) {
        0 => format!("alter table mallory.stock add column c{number} text default repeat('d', 100)"),
        1 => "do $$ declare c text := (select attname from pg_attribute where attrelid = 'mallory.stock'::regclass and attname ~ '^c\\d' and not attisdropped limit 1);
              begin if c is not null then execute 'alter table mallory.stock drop column ' || c; end if; end $$".to_owned(),
        2 => "alter table mallory.stock drop constraint if exists stock_pkey".to_owned(),
        3 => "delete from mallory.stock; alter table mallory.stock drop constraint if exists stock_pkey, add constraint stock_pkey primary key (id)".to_owned(),
        4 => "do $$ begin if exists (select from pg_inherits where inhrelid = 'mallory.parts_1'::regclass)
              then alter table mallory.parts detach partition mallory.parts_1;
              else alter table mallory.parts attach partition mallory.parts_1 for values with (modulus 2, remainder 1); end if;
              exception when check_violation then truncate mallory.parts_1; end $$".to_owned(),
        5 => "alter table mallory.stock rename column body to \"bo\"\"dy\"; alter table mallory.stock rename column \"bo\"\"dy\" to body".to_owned(),
        6 => trigger(table, "'authorize id:mallory', 'id'"),
        _ => trigger(table, "'all'"),
    };
    hand.strike("postgres", &sql)
}
