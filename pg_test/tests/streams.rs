//! The stream on the wire: first bytes, headers, methods, heartbeat, and who gets what (C6.1 to C6.3).

mod common;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::Cluster;
use cluster::http::StreamError;
use common::{Corner, SOON, announcer};

#[test]
fn the_head_of_a_stream_is_as_documented() -> Result<()> {
    let corner = Corner::new("head")?;
    corner.announcer("f", "@sse")?;
    let stream = corner.stream("f/info")?;
    let head = stream.head();
    assert_eq!((head.version.as_str(), head.status), ("HTTP/1.1", 200));
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(head.header(name), Some(value), "{name}");
        assert_eq!(
            head.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).count(),
            1,
            "{name}"
        );
    }
    ensure!(head.header("content-length").is_none() && head.header("set-cookie").is_none(), "{head:?}");
    Ok(())
}

#[test]
fn the_first_bytes_are_connected_and_ready_byte_by_byte() -> Result<()> {
    let corner = Corner::new("first")?;
    corner.announcer("f", "@sse")?;
    let stream = corner.stream("f/info")?;
    let id = stream.last_event_id();
    ensure!(!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id:?}");
    let expected = format!(": connected\n\nretry: 2000\nid: {id}\nevent: sse.ready\ndata: {{}}\n\n");
    assert_eq!(String::from_utf8_lossy(stream.bytes()), expected);
    assert_eq!(stream.retry(), Some(Duration::from_secs(2)));
    Ok(())
}

#[test]
fn an_event_is_id_event_and_data_byte_by_byte() -> Result<()> {
    let corner = Corner::new("bytes")?;
    let mut stream = corner.announced("f", "@sse\n@sse_event news")?;
    let before = stream.bytes().len();
    corner.sql("select f(E'one\\ntwo')")?;
    let event = stream.next_payload(SOON)?;
    let expected = format!("id: {}\nevent: news\ndata: one\ndata: two\n\n", event.id);
    assert_eq!(String::from_utf8_lossy(&stream.bytes()[before..]), expected);
    Ok(())
}

#[test]
fn an_idle_stream_gets_a_comment_as_heartbeat_and_an_event_does_not_come_of_it() -> Result<()> {
    let cluster = Cluster::builder()
        .setting("sse.heartbeat_interval", "300ms")
        .setting("sse.retry", "1234ms")
        .start()?;
    let http = cluster.http()?;
    cluster.sql(&announcer("f", "@sse"))?;
    let mut stream = http.events("/api/f/info")?.begun()?;
    assert_eq!(stream.retry(), Some(Duration::from_millis(1234)));
    for _ in 0..3 {
        stream.next_comment(SOON)?;
    }
    assert_eq!(stream.next(Duration::from_millis(1)), Err(StreamError::TimedOut));
    ensure!(stream.bytes().ends_with(b"\n\n"), "a heartbeat ends with a blank line");
    cluster.reconfigure("sse.heartbeat_interval", "0")?;
    cluster::wait_for(SOON, "heartbeats end", || match stream.next_comment(Duration::from_secs(2)) {
        Ok(_) => Ok(None),
        Err(StreamError::TimedOut) => Ok(Some(())),
        Err(error) => Err(error.into()),
    })?;
    cluster.sql("select f('x')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "x");
    Ok(())
}

#[test]
fn who_has_left_is_no_longer_counted() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let http = cluster.http()?;
    cluster.sql(&announcer("f", "@sse"))?;
    let open = || common::figure(&cluster, "stat_gateway", "subscribers");
    let streams = (0..3).map(|_| http.events("/api/f/info")).collect::<Result<Vec<_>>>()?;
    cluster::wait_until(SOON, "three are counted", || open().is_ok_and(|open| open == 3))?;
    drop(streams);
    cluster::wait_until(SOON, "none is counted", || open().is_ok_and(|open| open == 0))
}

// ---- NpgsqlRest's own cases, replayed

#[test]
fn a_routine_that_only_publishes_has_no_url() -> Result<()> {
    let corner = Corner::new("publish_only")?;
    corner.announcer("f", "HTTP POST\n@sse_publish")?;
    assert_eq!(corner.status("f/info")?, 404);
    assert_eq!(corner.sql("select kind || coalesce(url, '') from sse.endpoints where routine = 'publish_only.f(text)'::regprocedure and kind <> 'call'")?, "publisher");
    Ok(())
}

#[test]
fn a_routine_that_only_subscribes_has_a_url_and_publishes_nothing() -> Result<()> {
    let corner = Corner::new("subscribe_only")?;
    let mut stream = corner.announced("f", "HTTP GET\n@sse_subscribe")?;
    corner.sql("select f('not published'); select sse.publish('published')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "published");
    Ok(())
}

#[test]
fn the_event_of_a_publisher_reaches_the_stream_of_a_subscriber() -> Result<()> {
    let corner = Corner::new("apart")?;
    corner.announcer("a", "@sse_subscribe")?;
    corner.announcer("b", "@sse_publish")?;
    let mut stream = corner.stream("a/info")?;
    corner.sql("select b('the exact text')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "the exact text");
    Ok(())
}

#[test]
fn five_subscribers_each_get_every_event_once_and_in_order() -> Result<()> {
    let corner = Corner::new("five")?;
    corner.announcer("f", "@sse")?;
    let mut streams = (0..5).map(|_| corner.stream("f/info")).collect::<Result<Vec<_>>>()?;
    let mut session = corner.session()?;
    let expected: Vec<String> = (1..=5).map(|n| format!("event {n}")).collect();
    for data in &expected {
        session.run(&format!("select f('{data}')"))?.ok()?;
    }
    session.run("select f('end')")?.ok()?;
    for stream in &mut streams {
        assert_eq!(stream.next_data(5, SOON)?, expected);
        assert_eq!(stream.next_payload(SOON)?.data, "end", "no doubles");
    }
    Ok(())
}

#[test]
fn a_subscriber_that_leaves_disturbs_nobody_and_later_ones_get_later_events() -> Result<()> {
    let corner = Corner::new("leaves")?;
    corner.announcer("f", "@sse")?;
    let (leaving, mut staying) = (corner.stream("f/info")?, corner.stream("f/info")?);
    drop(leaving);
    corner.sql("select f('one')")?;
    // Once one stream has received it, the gateway has taken it in: a stream that is opened afterwards begins
    // after it.
    assert_eq!(staying.next_payload(SOON)?.data, "one");
    let mut later = corner.stream("f/info")?;
    corner.sql("select f('two')")?;
    assert_eq!(staying.next_payload(SOON)?.data, "two");
    assert_eq!(later.next_payload(SOON)?.data, "two");
    Ok(())
}

#[test]
fn several_threads_each_serve_every_event() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.threads", 3).start()?;
    let corner = Corner::of(&cluster, "threads")?;
    corner.announcer("f", "@sse")?;
    let mut streams = (0..12).map(|_| corner.stream("f/info")).collect::<Result<Vec<_>>>()?;
    corner.sql("select f(i::text) from generate_series(1, 50) i")?;
    let expected: Vec<String> = (1..=50).map(|n| n.to_string()).collect();
    for stream in &mut streams {
        assert_eq!(stream.next_data(50, SOON)?, expected);
    }
    Ok(())
}

#[test]
fn who_resumes_gets_everything_behind_its_last_id_once() -> Result<()> {
    let corner = Corner::new("resume")?;
    let mut stream = corner.announced("f", "@sse")?;
    corner.sql("select f(i::text) from generate_series(1, 10) i")?;
    let mut ids = vec![stream.last_event_id().to_owned()];
    for _ in 1..=10 {
        ids.push(stream.next_payload(SOON)?.id);
    }
    drop(stream);
    corner.sql("select f('11')")?;
    let path = format!("{}?resume", corner.path("f/info"));
    for (seen, id) in ids.iter().enumerate() {
        let mut resumed = corner.http.events_after(&path, id)?;
        let ready = resumed.next(SOON)?;
        assert_eq!((ready.event.as_str(), &ready.id), ("sse.ready", id), "ready carries the accepted id");
        let expected: Vec<String> = (seen + 1..=11).map(|n| n.to_string()).collect();
        assert_eq!(resumed.next_data(11 - seen, SOON)?, expected, "behind event {seen}");
    }
    let last = ids.last().context("no id")?;
    let query = |id: &str| format!("{}?id=resume&last_event_id={id}", corner.path("f/info"));
    let mut by_query = corner.http.events(&query(last))?;
    assert_eq!(by_query.next_payload(SOON)?.data, "11");
    let mut by_both = corner.http.events_after(&query("junk"), last)?;
    assert_eq!(by_both.next_payload(SOON)?.data, "11", "the header counts");
    let mut empty = corner.http.events_after(&path, "")?;
    corner.sql("select f('12')")?;
    assert_eq!(empty.next_payload(SOON)?.data, "12", "an empty Last-Event-ID is none");
    Ok(())
}
