//! A RAISE in a routine with an `HTTP` line and no `@sse…` is likely a forgotten annotation: it is logged
//! once, and it is not published (C3.7).

mod common;

use anyhow::{Result, ensure};
use cluster::{Cluster, wait_for};
use common::{Corner, SOON};

const WARNING: &str = "raises a message that would be an event, but has no @sse annotation";

fn raiser(name: &str, level: &str, comment: &str) -> String {
    format!(
        "create function {name}() returns void language plpgsql as $f$ begin raise {level} 'of {name}'; end $f$;
         comment on function {name}() is '{comment}';"
    )
}

/// How often the log says it since the start, and of whom.
fn said(cluster: &Cluster) -> Result<Vec<String>> {
    let log = cluster.log()?;
    let lines = log.lines().filter(|line| line.contains(WARNING));
    lines
        .map(|line| {
            let text = line.split("WARNING:").nth(1).unwrap_or(line);
            Ok(text.split_whitespace().find(|word| word.contains("unbound")).unwrap_or(text).to_owned())
        })
        .collect()
}

#[test]
fn a_forgotten_annotation_is_said_once_for_each_routine_and_server_start() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let corner = Corner::of(&cluster, "unbound")?;
    corner.sql(&raiser("first", "info", "HTTP GET"))?;
    corner.sql(&raiser("second", "info", "HTTP POST\n@authorize"))?;
    let mut stream = corner.announced("own", "@sse")?;
    let mut messages = Vec::new();
    for _ in 0..3 {
        messages.extend(corner.run("select first(); select second(); select first()")?.messages);
    }
    assert!(messages.iter().all(|message| message.severity == "INFO"), "only the log is told: {messages:?}");
    corner.sql("select own('end')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "end", "nothing of it is published");
    let mut lines = said(&cluster)?;
    lines.sort();
    assert_eq!(lines, ["unbound.first", "unbound.second"].map(str::to_owned), "{lines:?}");
    Ok(())
}

#[test]
fn it_is_not_said_where_nothing_was_forgotten() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let corner = Corner::of(&cluster, "unbound")?;
    // Another level than the default, no HTTP line, an annotation, a mistake that COMMENT has said already.
    corner.sql(&raiser("notices", "notice", "HTTP GET"))?;
    corner.sql(&raiser("plain", "info", "raises"))?;
    corner.sql(&raiser("bare", "info", ""))?;
    corner.sql(&raiser("publishes", "info", "HTTP GET\n@sse_publish"))?;
    corner.sql(&raiser("subscribes", "info", "HTTP GET\n@sse_subscribe"))?;
    corner.sql(&raiser("shorthand", "info", "HTTP GET\n@sse"))?;
    corner.sql(
        "select notices(); select plain(); select bare(); select publishes(); select subscribes(); select shorthand()",
    )?;
    // A routine further out publishes it.
    corner.sql(&raiser("inner_one", "info", "HTTP GET"))?;
    corner.sql(
        "create function outer_one() returns void language plpgsql as $f$ begin perform inner_one(); end $f$;
         comment on function outer_one() is '@sse';",
    )?;
    let mut stream = corner.stream("outer-one/info")?;
    corner.sql("select outer_one()")?;
    assert_eq!(stream.next_payload(SOON)?.data, "of inner_one");
    ensure!(said(&cluster)?.is_empty(), "{:?}", said(&cluster)?);
    // And without that routine it is logged.
    corner.sql("select inner_one()")?;
    assert_eq!(said(&cluster)?.len(), 1);
    Ok(())
}

/// One call that makes several mistakes: none hides another.
#[test]
fn every_mistake_of_one_call_is_said() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let corner = Corner::of(&cluster, "unbound")?;
    corner.sql(&raiser("one", "info", "HTTP GET"))?;
    corner.sql(&raiser("two", "info", "HTTP GET"))?;
    corner.sql(
        "create function all_at_once() returns void language plpgsql as $f$
         begin
            perform one();
            perform two();
            raise notice 'x' using hint = 'authorise admin';
            raise notice 'x' using hint = 'matching';
         end $f$;
         comment on function all_at_once() is '@sse on notice';
         select all_at_once();",
    )?;
    let mut lines = said(&cluster)?;
    lines.sort();
    assert_eq!(lines, ["unbound.one", "unbound.two"].map(str::to_owned));
    for said in ["a hint of unbound.all_at_once", "an event of unbound.all_at_once with scope matching"] {
        ensure!(cluster.log()?.contains(said), "{said} is not said");
    }
    Ok(())
}

#[test]
fn it_is_not_said_while_the_setting_is_off() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.warn_unbound", "off").start()?;
    let corner = Corner::of(&cluster, "unbound")?;
    corner.sql(&raiser("forgotten", "info", "HTTP GET"))?;
    corner.sql("select forgotten()")?;
    ensure!(said(&cluster)?.is_empty(), "{:?}", said(&cluster)?);
    cluster.reconfigure("sse.warn_unbound", "on")?;
    wait_for(SOON, "it is said", || {
        corner.sql("select forgotten()")?;
        Ok((said(&cluster)? == ["unbound.forgotten"]).then_some(()))
    })
}
