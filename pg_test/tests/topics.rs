//! Topics: a stream with none gets the events without one, a stream with some gets those and nothing else
//! (C4.5).
//!
//! Not for the syntax of topics in comments: `annotations.rs`.

mod common;

use anyhow::Result;
use cluster::Cluster;
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
