//! Topics: a stream with none gets the events without one, a stream with some gets those and nothing else
//! (C4.5).
//!
//! Not for the syntax of topics in comments: `annotations.rs`.

mod common;

use anyhow::{Result, ensure};
use cluster::Cluster;
use common::status;
use common::tokens::{ALICE, Audience, builder};

fn prepared() -> Result<Cluster> {
    let cluster = builder().start()?;
    cluster.sql(
        "create function own() returns void language sql as ''; comment on function own() is '@sse';
         create function news() returns void language plpgsql as $f$ begin raise info 'x'; end $f$;
         comment on function news() is E'@sse\\n@sse_topic news';
         create function private_news() returns void language plpgsql as $f$ begin raise info 'x'; end $f$;
         comment on function private_news() is E'@sse\\n@sse_topic news\\n@authorize\\n@sse_scope authorize alice';
         create function plain() returns void language plpgsql as $f$ begin raise info 'x'; end $f$;
         comment on function plain() is '@sse';",
    )?;
    Ok(cluster)
}

#[test]
fn a_stream_gets_the_events_of_its_topics_and_nothing_else() -> Result<()> {
    let cluster = prepared()?;
    let mut audience = Audience::new(&cluster)?;
    for (label, path, topic) in [
        ("none", "/api/own/info", ""),
        ("news", "/api/own/info?topic=news", "news"),
        ("upper", "/api/own/info?topic=NEWS", "NEWS"),
        ("routine", "/api/news/info", "news"),
        ("both", "/api/news/info?topic=room%201", "news"),
        ("two", "/api/own/info?topic=room+1&topic=news&topic=news", "news"),
        ("room", "/api/own/info?topic=room%201", "room 1"),
        ("empty", "/api/own/info?topic=", ""),
    ] {
        audience.joins_topic(label, None, path, topic)?;
    }
    audience.joins_topic("alice", Some(ALICE), "/api/private-news/info", "news")?;
    let mut session = cluster.session()?;
    for (sql, expected) in [
        ("select plain()", "none empty"),
        ("select sse.publish('x')", "none empty"),
        ("select news()", "news routine both two alice"),
        ("select sse.publish('x', topic => 'news')", "news routine both two alice"),
        ("select sse.publish('x', topic => 'room 1')", "both two room"),
        ("select sse.publish('x', topic => 'NEWS')", "upper"),
        ("select sse.publish('x', topic => 'other')", ""),
        // A topic grants no permission.
        ("select private_news()", "alice"),
        ("select sse.publish('x', 'authorize bob', topic => 'news')", ""),
    ] {
        assert_eq!(audience.who_hears(&mut session, sql)?, expected, "{sql}");
    }
    Ok(())
}

#[test]
fn topic_and_execution_id_must_both_pass() -> Result<()> {
    let cluster = prepared()?;
    let mut audience = Audience::new(&cluster)?;
    for (label, path) in [
        ("plain", "/api/own/info?topic=news"),
        ("same", "/api/own/info?topic=news&id=one"),
        ("other", "/api/own/info?id=two&topic=news"),
    ] {
        audience.joins_topic(label, None, path, "news")?;
    }
    audience.joins("untopical", None, "/api/own/info?id=one")?;
    let mut session = cluster.session()?;
    session.run("set sse.execution_id = 'one'")?.ok()?;
    assert_eq!(audience.who_hears(&mut session, "select news()")?, "plain same");
    assert_eq!(audience.who_hears(&mut session, "select plain()")?, "untopical");
    Ok(())
}

#[test]
fn a_stream_has_at_most_sixty_four_topics_of_two_hundred_bytes() -> Result<()> {
    let cluster = prepared()?;
    let http = cluster.http()?;
    let topics = |count: usize| (0..count).map(|i| format!("topic=t{i}")).collect::<Vec<_>>().join("&");
    for (query, expected) in [
        (topics(64), 200),
        (topics(65), 400),
        (format!("topic={}", "x".repeat(200)), 200),
        (format!("topic={}", "x".repeat(201)), 400),
        (format!("topic={}", "%C3%A4".repeat(100)), 200),
        (format!("topic={}", "%C3%A4".repeat(101)), 400),
        ("topic=%00".to_owned(), 400),
        ("topic=%FF".to_owned(), 400),
        ("topic=a%0Adata:%20b".to_owned(), 400),
    ] {
        let answer = status(http, &format!("/api/own/info?{query}"))?;
        ensure!(answer == expected, "{query}: {answer} instead of {expected}");
    }
    Ok(())
}
