//! The SQL of the recipes of `docs/recipes/`, run as it stands there: each event, one by one. The pages are
//! in `recipes_pages.rs`.

mod common;

use anyhow::{Context, Result, ensure};
use cluster::http::Request;
use common::SOON;
use common::calls::{builder, start};
use common::recipe::{block, run};
use serde_json::{Value, json};

/// The stream that a page opens.
fn stream_of(page: &str) -> Result<&str> {
    let (before, rest) = page.split_once("/info\"").context("no stream")?;
    let begin = before.rfind('"').context("no begin")? + 1;
    Ok(&page[begin..page.len() - rest.len() - 1])
}

#[test]
fn a_counter_shows_the_value_and_then_every_change() -> Result<()> {
    let cluster = start(builder())?;
    run(&cluster, &block("counter.md", "sql", 0)?)?;
    let page = block("counter.md", "html", 0)?;
    let stream = stream_of(&page)?;
    let http = cluster.http()?;
    common::wait_for_status(http, stream, 200, SOON)?;
    let mut open = http.events(stream)?.begun()?;
    let mut shown = vec![open.next(SOON)?];
    for _ in 0..2 {
        let click = Request::new("POST", "/api/count-up").header("Sec-Fetch-Site", "same-origin");
        let answer = http.request(&click.json(&json!({})))?;
        ensure!(answer.status() == 204, "{}", answer.text());
        shown.push(open.next(SOON)?);
    }
    let found: Vec<_> = shown.iter().map(|event| (event.event.as_str(), event.data.as_str())).collect();
    ensure!(found == [("message", "0"), ("message", "1"), ("message", "2")], "{found:?}");
    // A page that opens now.
    let mut later = http.events(stream)?.begun()?;
    ensure!(later.next(SOON)?.data == "2");
    Ok(())
}

// Attack (on oneself): the second counter counts in the table of the first.
#[test]
fn a_second_counter_in_a_schema_of_its_own_counts_for_itself() -> Result<()> {
    let cluster = start(builder())?;
    let sql = block("counter.md", "sql", 0)?;
    run(&cluster, &sql)?;
    // As the page says: another schema, another topic, and the right to use the schema.
    let second = sql.replace("public.counter", "shop.counter");
    ensure!(second != sql, "no topic");
    run(
        &cluster,
        &format!("create schema shop; set search_path = shop; {second}; grant usage on schema shop to app"),
    )?;
    let http = cluster.http()?;
    let (first, shop) = ("/api/counter-changed/info", "/api/shop/counter-changed/info");
    let mut streams = Vec::new();
    for path in [first, shop] {
        common::wait_for_status(http, path, 200, SOON)?;
        let mut stream = http.events(path)?.begun()?;
        ensure!(stream.next(SOON)?.data == "0", "{path}");
        streams.push(stream);
    }
    let count = |path: &str| -> Result<()> {
        let click = Request::new("POST", path).header("Sec-Fetch-Site", "same-origin").json(&json!({}));
        let answer = http.request(&click)?;
        ensure!(answer.status() == 204, "{path}: {}", answer.text());
        Ok(())
    };
    for path in ["/api/shop/count-up", "/api/count-up", "/api/shop/count-up"] {
        count(path)?;
    }
    ensure!(streams[0].next_data(1, SOON)? == ["1"], "the first");
    ensure!(streams[1].next_data(2, SOON)? == ["1", "2"], "the one in the shop");
    // Pages that open now.
    for (path, value) in [(first, "1"), (shop, "2")] {
        let mut stream = http.events(path)?.begun()?;
        ensure!(stream.next(SOON)?.data == value, "{path}");
    }
    Ok(())
}

#[test]
fn a_table_shows_its_rows_and_then_every_change_of_them() -> Result<()> {
    let cluster = start(builder())?;
    run(&cluster, &block("table.md", "sql", 0)?)?;
    cluster.sql("insert into todo (title) values ('old')")?;
    let page = block("table.md", "html", 0)?;
    let stream = stream_of(&page)?;
    let http = cluster.http()?;
    common::wait_for_status(http, stream, 200, SOON)?;
    let mut open = http.events(stream)?.begun()?;
    let rows = open.next(SOON)?;
    let row = |id: i32, title: &str, is_done: bool| json!({ "id": id, "title": title, "is_done": is_done });
    let all: Value = serde_json::from_str(&rows.data)?;
    ensure!(rows.event == "rows" && all == json!([row(1, "old", false)]), "{rows:?}");
    for (change, name, id, new) in [
        ("insert into todo (title) values ('new')", "insert", 2, row(2, "new", false)),
        ("update todo set is_done = true where id = 2", "update", 2, row(2, "new", true)),
        ("delete from todo where id = 1", "delete", 1, Value::Null),
    ] {
        cluster.sql(change)?;
        let event = open.next(SOON)?;
        let told: Value = serde_json::from_str(&event.data)?;
        ensure!(event.event == name && told["key"]["id"] == id && told["new"] == new, "{event:?}");
    }
    // A page that opens now.
    let mut later = http.events(stream)?.begun()?;
    let all: Value = serde_json::from_str(&later.next(SOON)?.data)?;
    ensure!(all == json!([row(2, "new", true)]), "{all}");
    Ok(())
}

// Attack: a user reads another one's number.
#[test]
fn a_badge_follows_the_messages_of_its_user_alone() -> Result<()> {
    let cluster = start(builder())?;
    run(&cluster, &block("badge.md", "sql", 0)?)?;
    cluster.sql("insert into message (receiver, body) values ('alice', 'first')")?;
    let page = block("badge.md", "html", 0)?;
    let stream = stream_of(&page)?;
    let http = cluster.http()?;
    // Without a login there is no stream.
    common::wait_for_status(http, stream, 401, SOON)?;
    let post = |path: &str| Request::new("POST", path).header("Sec-Fetch-Site", "same-origin");
    let log_in = |name: &str| -> Result<String> {
        let answer = http.request(&post("/api/log-in").json(&json!({ "name": name })))?;
        ensure!(answer.status() == 200, "{}", answer.text());
        Ok(format!("sse_session={}", answer.head.cookie("sse_session").context("no cookie")?))
    };
    let (alice, bob) = (log_in("alice")?, log_in("bob")?);
    let open = |cookie: &str| http.events_with(&Request::get(stream).header("Cookie", cookie))?.begun();
    let (mut for_alice, mut for_bob) = (open(&alice)?, open(&bob)?);
    let (one, none) = (for_alice.next(SOON)?, for_bob.next(SOON)?);
    ensure!((one.event.as_str(), one.data.as_str()) == ("unread", "1"), "{one:?}");
    ensure!((none.event.as_str(), none.data.as_str()) == ("unread", "0"), "{none:?}");
    cluster.sql("insert into message (receiver, body) values ('alice', 'second')")?;
    cluster.sql("insert into message (receiver, body) values ('bob', 'third')")?;
    for cookie in [&alice, &bob] {
        let answer = http.request(&post("/api/read-all").header("Cookie", cookie).json(&json!({})))?;
        ensure!(answer.status() == 204, "{}", answer.text());
    }
    // Were one told of the other's messages, a number would come in between.
    ensure!(for_alice.next_data(3, SOON)? == ["1", "-1", "-1"], "alice");
    ensure!(for_bob.next_data(2, SOON)? == ["1", "-1"], "bob");
    // A page that opens now.
    ensure!(open(&alice)?.next(SOON)?.data == "0");
    Ok(())
}

#[test]
fn the_first_steps_of_snapshots_and_of_long_calls_work() -> Result<()> {
    let cluster = start(builder())?;
    run(&cluster, &block("../snapshots.md", "sql", 1)?)?;
    run(&cluster, &block("../long-calls.md", "sql", 0)?)?;
    let http = cluster.http()?;
    let mut visits = http.events("/api/visit-counted/info")?.begun()?;
    let state = visits.next(SOON)?;
    ensure!((state.event.as_str(), state.data.as_str()) == ("state", r#"{"/": 41}"#), "{state:?}");
    cluster.sql("update visits set n = n + 1")?;
    ensure!(visits.next(SOON)?.data == r#"{"n": 42, "page": "/"}"#);
    let call = Request::new("POST", "/api/make-report").header("Accept", "text/event-stream");
    let events = http.events_with(&call.json(&json!({ "pages": 2 })))?.wait_for_end(SOON)?;
    let data: Vec<&str> = events.iter().map(|event| event.data.as_str()).collect();
    ensure!(data == ["{}", "1 of 2", "2 of 2", "2 pages"], "{events:?}");
    Ok(())
}
