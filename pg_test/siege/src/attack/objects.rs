//! Types, tables and routines that come and go, each with a reading of the catalog in its wake.
//!
//! Not for those that stay and change: `sql`, `superuser`.

use anyhow::Result;

use super::hand::{Blow, Hand};

/// A type, a table, a view and routines over them, with comments; then some or all of them go.
pub(super) fn come_and_go(hand: &mut Hand) -> Result<Blow> {
    hand.number += 1;
    let n = hand.number % 50;
    let kind = ["int", "text", "jsonb", "timestamptz[]"][hand.rng.usize(0..4)];
    let made = hand.strike(
        "mallory",
        &format!(
            "drop type if exists mallory.t{n} cascade; drop table if exists mallory.r{n} cascade;
             drop function if exists mallory.f{n}(int);
             create type mallory.t{n} as (a {kind}, b text);
             create table mallory.r{n} (id int, t mallory.t{n});
             create function mallory.f{n}(t mallory.t{n}) returns setof mallory.r{n} language sql stable as 'select * from mallory.r{n}';
             comment on function mallory.f{n}(mallory.t{n}) is 'HTTP POST';
             create function mallory.f{n}(i int) returns void language plpgsql as 'begin raise info ''x''; end';
             comment on function mallory.f{n}(int) is E'HTTP POST\\n@sse\\n@sse_topic noise'"
        ),
    )?;
    if hand.rng.bool() {
        hand.query("mallory", &format!("drop type mallory.t{n} cascade"))?;
    }
    Ok(made)
}

/// Anybody who may make temporary objects may make the catalog worker read.
pub(super) fn come_and_go_temporarily(hand: &mut Hand) -> Result<Blow> {
    hand.strike(
        "mallory",
        "create function pg_temp.t() returns int language sql as 'select 1'; drop function pg_temp.t()",
    )
}
