//! A session keeps the plans of at most 4,096 triggers of row changes: one more, and all are read anew; what
//! is told stays right, and memory stays what it was.

mod common;

use anyhow::{Context, Result, ensure};
use cluster::http::EventStream;
use cluster::{Session, anonymous_bytes};
use common::Corner;
use common::changes::next;

/// `MAX_PLANS` of publish/changes.rs.
const MAX_PLANS: usize = 4096;

/// Triggers of a table: more of them would make each CREATE TRIGGER slow.
const OF_A_TABLE: usize = 64;

/// Tables whose triggers fill the cache, twice, and one more.
const TABLES: usize = 2 * MAX_PLANS / OF_A_TABLE + 1;

/// Inserts a row into each of these tables, which fires [`OF_A_TABLE`] triggers each.
fn fire(session: &mut Session, tables: std::ops::Range<usize>, id: usize) -> Result<()> {
    let (first, last) = (tables.start, tables.end - 1);
    let sql = format!(
        "do $$ begin for i in {first}..{last} loop execute format('insert into plans.t%s (id) values ({id})', i); end loop; end $$"
    );
    session.run(&sql)?.ok().map(drop)
}

/// The next events are those of the row, one of each trigger.
fn tells(stream: &mut EventStream, table: &str, id: usize, times: usize) -> Result<()> {
    for number in 0..times {
        let (name, data) = next(stream).with_context(|| format!("{table}, row {id}, event {number}"))?;
        let found = (name.as_str(), data["table"].as_str(), data["key"]["id"].as_u64());
        ensure!(found == ("insert", Some(table), Some(id as u64)), "{name} {data}");
        ensure!(data["new"]["c29"].is_null() && data["new"].as_object().is_some_and(|row| row.len() == 31));
    }
    Ok(())
}

#[test]
fn one_plan_more_than_a_session_keeps_and_all_are_read_anew_and_right() -> Result<()> {
    let corner = Corner::new("plans")?;
    let columns: Vec<String> = (0..30).map(|number| format!("c{number} int")).collect();
    let columns = columns.join(", ");
    corner.sql(&format!(
        "do $$ begin for i in 0..{TABLES} - 1 loop
             execute format('create table plans.t%s (id int primary key, {columns})', i);
             for j in 1..{OF_A_TABLE} loop
                 execute format('create trigger t%s after insert on plans.t%s for each row execute function sse.publish_change(''all'')', j, i);
             end loop;
         end loop; end $$"
    ))?;
    let full = MAX_PLANS / OF_A_TABLE;
    let last = format!("t{}", full - 1);
    let one_more = format!("t{full}");
    // One trigger of the table that would be one too many.
    corner.sql(&format!(
        "do $$ begin for j in 2..{OF_A_TABLE} loop
             execute format('alter table plans.{one_more} disable trigger t%s', j);
         end loop; end $$"
    ))?;
    let mut stream = corner.changes(&["t0", &last, &one_more])?;
    let mut id = 0;
    for plans in [MAX_PLANS - 1, MAX_PLANS, MAX_PLANS + 1] {
        let switch = if plans < MAX_PLANS { "disable" } else { "enable" };
        corner.sql(&format!("alter table plans.{last} {switch} trigger t1"))?;
        let (of_last, of_one_more) = match plans {
            MAX_PLANS.. => (OF_A_TABLE, plans - MAX_PLANS),
            _ => (OF_A_TABLE - 1, 0),
        };
        let mut session = corner.session()?;
        // The first time the plans are made, the second time they are there, or were read anew.
        for _ in 0..2 {
            id += 1;
            fire(&mut session, 0..full + of_one_more, id)?;
            tells(&mut stream, "t0", id, OF_A_TABLE)?;
            tells(&mut stream, &last, id, of_last)?;
            tells(&mut stream, &one_more, id, of_one_more)?;
        }
    }
    // A session that fires twice as many triggers as it keeps plans of keeps no more than before.
    let mut session = corner.session()?;
    let pid = session.run("select pg_backend_pid()")?.ok()?.text().trim().parse()?;
    fire(&mut session, full + 1..full + 2, id + 1)?;
    let before = anonymous_bytes(pid)?;
    fire(&mut session, full + 2..TABLES, id + 1)?;
    let filled = anonymous_bytes(pid)?;
    fire(&mut session, 0..full, id + 1)?;
    let twice = anonymous_bytes(pid)?;
    let (first, second) = (filled.saturating_sub(before) >> 10, twice.saturating_sub(filled) >> 10);
    println!("{first} kB for the plans of {} triggers, {second} kB more for others", MAX_PLANS - OF_A_TABLE);
    ensure!(first > 4_000 && second * 2 < first, "{first} kB, then {second} kB");
    Ok(())
}
