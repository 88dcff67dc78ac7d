//! Row types within row types, in many routines: what the gateway keeps of them.
//!
//! Not for what is done with them (`call_members.rs`).

mod common;

use std::time::Duration;

use anyhow::{Result, ensure};
use cluster::{anonymous_bytes, wait_for};
use common::calls::{Api, builder, start, told};
use common::gateway_pid;
use serde_json::json;

/// Four megabytes of types are read and written, in a build without optimisation.
const LONG: Duration = Duration::from_secs(60);

// Attack: a role with four small types makes each of its routines take a megabyte of the gateway, until the
// system ends it, and the cluster with it.
#[test]
fn routines_share_their_row_types_and_do_not_multiply_them() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "deep")?;
    let before = anonymous_bytes(gateway_pid(&cluster)?)?;
    api.sql(
        "create type t0 as (a int);
         do $d$ begin
           for level in 1..3 loop
             execute format('create type t%s as (%s)', level, (select string_agg(format('m%s deep.t%s', n, level - 1), ', ') from generate_series(1, 10) n));
           end loop;
           for n in 1..200 loop
             execute format('create function f%s(x deep.t3) returns deep.t3 language sql as ''select x''', n);
             execute format('comment on function f%s is ''HTTP POST''', n);
           end loop;
         end $d$",
    )?;
    // A busy machine may not have read them when a request has waited for long enough.
    let answer = wait_for(LONG, "they are read", || {
        let answer = api.post("f200", &json!({ "x": { "m1": { "m2": { "m3": { "a": 7 } } } } }))?;
        Ok((answer.status() != 503).then_some(answer))
    })?;
    ensure!(answer.status() == 200 && answer.json()?["m1"]["m2"]["m3"]["a"] == 7, "{}", told(&answer));
    let grown = anonymous_bytes(gateway_pid(&cluster)?)?.saturating_sub(before);
    ensure!(grown < 100 << 20, "the gateway has grown by {grown} bytes");
    Ok(())
}
