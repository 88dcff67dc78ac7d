//! What a row change costs its statement, beside the same trigger written by hand in PL/pgSQL.
//!
//! For an optimised build: in a debug build most of the time is that of the extension's own code.
//!
//! ```text
//! cargo build --release && PG_SSE_LIBRARY=$PWD/target/release/libpg_sse.so \
//!     cargo test -p pg-test --test row_change_cost -- --ignored --nocapture
//! ```

mod common;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, Session};

/// Rows of one statement.
const ROWS: u32 = 20_000;

/// Rounds that count, in which both have their turn; which is first alternates. One before them warms up.
const ROUNDS: usize = 9;

/// Two tables of one shape.
const TABLES: [&str; 2] = ["ours", "by_hand"];

#[test]
#[ignore = "a measurement: see the head of this file"]
fn by_hand_a_row_change_costs_at_most_half_of_a_trigger_in_plpgsql() -> Result<()> {
    let cluster = Cluster::builder().setting("jit", "off").setting("autovacuum", "off").start()?;
    let mut session = cluster.session()?;
    session.run(
        // NOTICE and not INFO, which would also be sent to the client.
        "set client_min_messages = warning;
         create table ours (id int primary key, item text, amount numeric, changed timestamptz, tags text[], details jsonb);
         create table by_hand (like ours including all);
         create trigger t after insert or update or delete on ours for each row
             execute function sse.publish_change('all');
         create function tells() returns trigger language plpgsql as $f$
         begin
             raise notice '%', json_build_object('op', tg_op, 'schema', tg_table_schema, 'table', tg_table_name,
                 'key', json_build_object('id', coalesce(new.id, old.id)), 'new', new, 'old', old);
             return null;
         end $f$;
         comment on function tells() is E'@sse_publish on notice\\n@sse_topic public.by_hand\\n@sse_event changed';
         create trigger t after insert or update or delete on by_hand for each row execute function tells()",
    )?
    .ok()?;
    let mut fails = false;
    for (name, statement) in [
        (
            "INSERT",
            "insert into TABLE select n, 'item number ' || n, n * 1.25, now(), array['a', 'bc'], '{\"k\": [1, 2]}'
               from generate_series(1, ROWS) n",
        ),
        ("UPDATE", "update TABLE set amount = amount + 1"),
        ("DELETE", "delete from TABLE"),
    ] {
        let mut rounds = Vec::new();
        for round in 0..=ROUNDS {
            let mut times = [0.0; 2];
            for turn in 0..2 {
                let place = (round + turn) % 2;
                let statement = statement.replace("TABLE", TABLES[place]).replace("ROWS", &ROWS.to_string());
                times[place] = microseconds_per_row(&mut session, &statement)?;
            }
            rounds.push(times);
        }
        rounds.remove(0);
        let column = |of: fn(&[f64; 2]) -> f64| sorted(rounds.iter().map(of).collect());
        let (ours, by_hand) = (column(|round| round[0]), column(|round| round[1]));
        let ratios = column(|round| round[0] / round[1]);
        let ratio = median(&ours) / median(&by_hand);
        println!(
            "{name}: {:.2} µs a row, by hand {:.2} µs; ratio of the medians {ratio:.2}, of single rounds {:.2} to {:.2}",
            median(&ours),
            median(&by_hand),
            ratios[0],
            ratios[ROUNDS - 1]
        );
        fails |= ratio > 0.5;
        for table in TABLES {
            fill(&mut session, table)?;
        }
    }
    ensure!(!fails, "more than half");
    Ok(())
}

/// The time in the trigger, as EXPLAIN tells it. The transaction is rolled back, so that what carries events
/// away costs nothing meanwhile.
fn microseconds_per_row(session: &mut Session, statement: &str) -> Result<f64> {
    session.run("begin")?.ok()?;
    let plan = session.run(&format!("explain (analyze, format json) {statement}"))?.ok()?.text();
    session.run("rollback")?.ok()?;
    let plan: serde_json::Value = serde_json::from_str(&plan)?;
    let trigger = &plan[0]["Triggers"][0];
    let calls = trigger["Calls"].as_f64().context("no calls")?;
    ensure!(calls == f64::from(ROWS), "{trigger}");
    Ok(trigger["Time"].as_f64().context("no time")? * 1000.0 / calls)
}

fn fill(session: &mut Session, table: &str) -> Result<()> {
    session
        .run(&format!(
            "alter table {table} disable trigger t; truncate {table};
             insert into {table} select n, 'item number ' || n, n * 1.25, now(), array['a', 'bc'], '{{\"k\": [1, 2]}}'
               from generate_series(1, {ROWS}) n;
             alter table {table} enable trigger t"
        ))?
        .ok()?;
    Ok(())
}

fn sorted(mut figures: Vec<f64>) -> Vec<f64> {
    figures.sort_by(f64::total_cmp);
    figures
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}
