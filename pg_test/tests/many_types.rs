//! Row types within row types, in many routines: what the gateway keeps of them.
//!
//! Not for what is done with them (`call_members.rs`).

mod common;

use anyhow::{Context, Result, ensure};
use common::calls::{Api, builder, start, told};
use common::gateway_pid;
use serde_json::json;

fn anonymous_bytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes << 10)
}

// Attack: a role with four small types makes each of its routines take a megabyte of the gateway, until the system ends it, and
// the cluster with it.
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
    let answer = api.post("f200", &json!({ "x": { "m1": { "m2": { "m3": { "a": 7 } } } } }))?;
    ensure!(answer.status() == 200 && answer.json()?["m1"]["m2"]["m3"]["a"] == 7, "{}", told(&answer));
    let grown = anonymous_bytes(gateway_pid(&cluster)?)?.saturating_sub(before);
    ensure!(grown < 100 << 20, "the gateway has grown by {grown} bytes");
    Ok(())
}
