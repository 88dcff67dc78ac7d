//! The views of statistics: every column is filled by the figure of its name.

mod common;

use anyhow::{Result, ensure};
use cluster::wait_until;
use common::{Corner, SOON, calls, figure};

#[test]
fn every_figure_of_the_statistics_has_a_value_and_is_documented() -> Result<()> {
    let documentation = include_str!("../../docs/operations.md");
    let cluster = calls::start(calls::builder())?;
    Corner::of(&cluster, "figures")?.announcer("f", "@sse")?;
    let column = |view: &str| -> Result<Vec<String>> {
        let text = cluster.sql(&format!(
            "select attname from pg_attribute where attrelid = 'sse.{view}'::regclass and attnum > 0 order by attnum"
        ))?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    for (view, least) in [("stat_ring", 16), ("stat_gateway", 36)] {
        let columns = column(view)?;
        ensure!(columns.len() >= least, "{view}: {columns:?}");
        let figures = view.replace("stat_", "_") + "_figures";
        for figure in cluster.sql(&format!("select json_object_keys(sse.{figures}()::json)"))?.lines() {
            ensure!(columns.iter().any(|column| column == figure), "{figure} is no column of sse.{view}");
        }
        for column in columns {
            let is_documented = documentation.contains(&format!("`{column}`"));
            ensure!(is_documented, "{view}.{column} is not in docs/operations.md");
            cluster.comes_to(
                SOON,
                &format!("{view}.{column} has a value"),
                &format!("select {column} is not null from sse.{view}"),
                "t",
            )?;
        }
    }
    Ok(())
}

#[test]
fn a_figure_stands_in_the_column_of_its_name() -> Result<()> {
    let cluster = calls::start(calls::builder().setting("sse.max_event_size", "100B"))?;
    let corner = Corner::of(&cluster, "named")?;
    corner.sql(
        "create function f(data text, hint text) returns void language plpgsql as
         $f$ begin raise info '%', data using hint = hint; end $f$;
         comment on function f(text, text) is '@sse';
         create function m(data text) returns void language plpgsql as $f$ begin raise info '%', data; end $f$;
         comment on function m(text) is e'@sse\\n@sse_scope matching'",
    )?;
    // Each kind of refusal in a different number.
    corner.sql("select f(repeat('x', 101), 'all')")?;
    corner.sql("select f('x', 'autorize admin') from generate_series(1, 2)")?;
    corner.sql("select m('x') from generate_series(1, 3)")?;
    for (column, count) in [("too_large_total", 1), ("misspelt_hint_total", 2), ("unmatched_total", 3)] {
        assert_eq!(figure(&cluster, "stat_ring", column)?, count, "{column}");
    }
    let streams = [corner.stream("f/info")?, corner.stream("m/info")?];
    wait_until(SOON, "both streams are counted", || {
        figure(&cluster, "stat_gateway", "subscribers").is_ok_and(|count| count == 2)
    })?;
    drop(streams);
    wait_until(SOON, "the streams are gone, and their totals stay", || {
        let now = |column: &str| figure(&cluster, "stat_gateway", column).unwrap_or(-1);
        now("subscribers") == 0 && now("subscribers_total") == 2 && now("connections_total") >= 2
    })
}
