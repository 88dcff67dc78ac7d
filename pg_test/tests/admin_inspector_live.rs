//! What the inspector is told while it happens: live events, calls (C8.2).
//!
//! Not for what stands still: `admin_inspector.rs`.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::http::Request;
use cluster::{Builder, Cluster, wait_for};
use common::admin::{Admin, TOKEN, open};
use common::calls::Api;
use common::tokens::{ALICE, issue};
use common::{Corner, SOON, calls, is_problem};
use serde_json::{Value, json};

/// An open `/api/events`, read by hand: the client of the tests knows streams of the main port alone.
struct Watch {
    socket: TcpStream,
    read: Vec<u8>,
}

impl Watch {
    /// Opens it, and reads its head.
    fn open(admin: &Admin) -> Result<Self> {
        Self::with(admin, TOKEN)
    }

    /// The same with another token.
    fn with(admin: &Admin, token: &str) -> Result<Self> {
        let socket = TcpStream::connect(admin.http.address())?;
        socket.set_read_timeout(Some(SOON))?;
        let mut watch = Self { socket, read: Vec::new() };
        let request =
            format!("GET /api/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
        watch.socket.write_all(request.as_bytes())?;
        let head = watch.read_to("\r\n\r\n")?;
        ensure!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/event-stream"), "{head}");
        // nginx would keep events back until it has a page of them.
        ensure!(head.to_lowercase().contains("x-accel-buffering: no"), "{head}");
        ensure!(head.contains("no-store") && !head.to_lowercase().contains("access-control"), "{head}");
        watch.read_to(": open\n\n")?;
        Ok(watch)
    }

    fn read_to(&mut self, end: &str) -> Result<String> {
        let mut space = [0; 16 << 10];
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|window| window == end.as_bytes()) {
                let rest = self.read.split_off(at + end.len());
                return Ok(String::from_utf8_lossy(&std::mem::replace(&mut self.read, rest)).into_owned());
            }
            match self.socket.read(&mut space).context("the next event")? {
                0 => bail!("the end, after {}", String::from_utf8_lossy(&self.read)),
                length => self.read.extend_from_slice(&space[..length]),
            }
        }
    }

    /// It ends, as an answer does.
    fn ends(&mut self) -> Result<()> {
        self.read_to("0\r\n\r\n").map(drop).context("a clean end")
    }

    /// The next event, or news of missed ones under `missed`. Each is one chunk, and so are heartbeats.
    fn next(&mut self) -> Result<Value> {
        loop {
            let block = self.read_to("\n\n")?;
            let Some((before, data)) = block.split_once("data: ") else { continue };
            let value: Value = serde_json::from_str(data.trim_end())?;
            return Ok(if before.contains("event: missed") {
                json!({ "missed": value["count"] })
            } else {
                value
            });
        }
    }
}

#[test]
fn live_events_are_shown_with_how_many_streams_they_were_for_and_how_late_they_were() -> Result<()> {
    for threads in [1, 2] {
        let admin = open(Cluster::builder().setting("sse.threads", threads), Builder::start)?;
        let corner = Corner::of(&admin.cluster, "corner")?;
        corner.announcer("f", "@sse")?;
        corner.announcer("named", "@sse\n@sse_topic news\n@sse_event report\n@sse_scope authorize staff")?;
        let mut streams = [corner.stream("f/info")?, corner.stream("f/info")?, corner.stream("f/info")?];
        corner.sql("select f('before')")?;
        // Published while nobody watched.
        for stream in &mut streams {
            assert_eq!(stream.next_payload(SOON)?.data, "before");
        }
        let mut watch = Watch::open(&admin)?;
        corner.sql("select f('hello')")?;
        let event = watch.next()?;
        for (name, value) in [
            ("event", Value::Null),
            ("path", Value::Null),
            ("topics", json!([])),
            ("scope", json!("all")),
            ("bytes", json!(5)),
            ("streams", json!(3)),
            ("data", json!("hello")),
            ("cut", json!(false)),
        ] {
            assert_eq!(event[name], value, "{threads}: {name} of {event}");
        }
        let (delay, at) = (event["delay_ms"].as_f64(), event["at"].as_f64());
        ensure!(delay.is_some_and(|delay| delay > 0.0 && delay < 60_000.0), "{event}");
        ensure!(
            at > Some(1_700_000_000.0) && event["id"].as_str().is_some_and(|id| id.contains('-')),
            "{event}"
        );
        ensure!(!event.to_string().contains("corner"), "its execution id: {event}");
        corner.sql("select named('for few')")?;
        let event = watch.next()?;
        assert_eq!(
            [&event["event"], &event["topics"], &event["scope"], &event["streams"]],
            [&json!("report"), &json!(["news"]), &json!("authorize staff"), &json!(0)]
        );
        for length in [999, 1000, 1001, 100_000] {
            corner.sql(&format!("select f(repeat('x', {length}))"))?;
            let event = watch.next()?;
            let shown = event["data"].as_str().context("no data")?.len();
            assert_eq!((shown, &event["bytes"]), (length.min(1000), &json!(length)));
            assert_eq!(event["cut"], length > 1000, "{length}");
        }
        // Between two characters of two bytes each.
        corner.sql("select f('x' || repeat('é', 1000))")?;
        let event = watch.next()?;
        assert_eq!((event["data"].as_str().map(str::len), &event["cut"]), (Some(999), &json!(true)));
    }
    Ok(())
}

// Attack: an inspector that does not read, so that events wait for it, or pile up.
#[test]
fn an_inspector_that_does_not_read_delays_nobody_and_is_told_how_much_it_missed() -> Result<()> {
    let admin = open(
        Cluster::builder().setting("sse.ring_size", "64MB").setting("sse.window_size", "128MB"),
        Builder::start,
    )?;
    let corner = Corner::of(&admin.cluster, "corner")?;
    corner.announcer("f", "@sse")?;
    let mut watch = Watch::open(&admin)?;
    let mut stream = corner.stream("f/info")?;
    // More than 256 and all buffers of a socket.
    corner.sql("select f(n || repeat('x', 1500)) from generate_series(1, 20000) n; select f('last')")?;
    let mut events = 0;
    loop {
        let event = stream.next_payload(SOON)?;
        events += 1;
        if event.data == "last" {
            break;
        }
    }
    assert_eq!(events, 20_001, "a subscriber gets all");
    let (mut shown, mut missed) = (0, 0);
    while shown + missed < 20_001 {
        let event = watch.next()?;
        match event.get("missed") {
            Some(count) => missed += count.as_u64().context("no count")?,
            None => shown += 1,
        }
    }
    ensure!(shown + missed == 20_001 && missed > 0 && shown >= 256, "{shown} {missed}");
    corner.sql("select f('it goes on')")?;
    assert_eq!(watch.next()?["data"], "it goes on");
    Ok(())
}

#[test]
fn a_fifth_inspector_is_refused_until_one_of_the_four_closes() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    let http = admin.cluster.http()?;
    let mut watches = (0..4).map(|_| Watch::open(&admin)).collect::<Result<Vec<_>>>()?;
    is_problem(&admin.get("/api/events")?, 429, "a fifth")?;
    is_problem(&admin.http.get("/api/events")?, 401, "without the token")?;
    is_problem(&admin.http.request(&Request::new("POST", "/api/events").bearer(TOKEN))?, 405, "a POST")?;
    watches.pop();
    watches.push(wait_for(SOON, "a place is free", || Ok(Watch::open(&admin).ok()))?);
    // Other requests have their answers meanwhile.
    ensure!(admin.get("/api/overview")?.status() == 200 && http.get("/healthz")?.status() == 200);
    Ok(())
}

#[test]
fn the_stream_of_events_ends_with_the_gateway_that_it_shows() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    admin.cluster.http()?;
    let mut watch = Watch::open(&admin)?;
    admin.cluster.sql("drop extension pg_sse")?;
    watch.ends()
}

// Attack: a token became known and was replaced, and who has the old one goes on reading.
#[test]
fn a_stream_of_events_ends_when_its_token_counts_no_longer_and_another_goes_on() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    admin.cluster.http()?;
    let path = admin.cluster.data_dir().join("token");
    let path = path.to_str().context("a path")?;
    let write = |token: &str| {
        let program = format!("umask 077; cat > {path}.new && mv {path}.new {path}");
        admin.cluster.sql(&format!("copy (select '{token}') to program '{program}'"))
    };
    let opens = |token: &str| wait_for(SOON, "the token opens", || Ok(Watch::with(&admin, token).ok()));
    write("the first token of a file")?;
    admin.cluster.reconfigure("sse.admin_token_file", path)?;
    let (mut of_setting, mut first) = (Watch::open(&admin)?, opens("the first token of a file")?);
    // Without a reload, and nobody else asks for anything.
    write("the second token of a file")?;
    first.ends()?;
    let mut second = opens("the second token of a file")?;
    admin.cluster.reconfigure("sse.admin_token", "another one, of a setting")?;
    of_setting.ends()?;
    admin.cluster.sql("select sse.publish('x')")?;
    assert_eq!(second.next()?["data"], "x");
    Ok(())
}

/// Waits until a call with this path and status is among the last.
fn call(admin: &Admin, path: &str, status: u16) -> Result<Value> {
    wait_for(SOON, &format!("{path} with {status}"), || {
        let calls = admin.get("/api/calls")?.json()?;
        let calls = calls["calls"].as_array().cloned().unwrap_or_default();
        Ok(calls.into_iter().find(|call| call["path"] == path && call["status"] == status))
    })
}

#[test]
fn the_last_calls_are_listed_with_their_errors_and_without_their_queries() -> Result<()> {
    let admin = open(calls::builder(), calls::start)?;
    let api = Api::of(&admin.cluster, "calc")?;
    api.sql(
        "create function add(a int) returns int language sql as 'select a + 1'; comment on function add(int) is 'HTTP GET';
         create function divide(a int) returns int language sql as 'select 1 / a'; comment on function divide(int) is 'HTTP GET';
         create function refuse(a int) returns int language plpgsql as
           'begin raise exception ''%'', repeat(''no '', 200) using errcode = ''PT409''; end';
         comment on function refuse(int) is 'HTTP POST';
         create function told(a int) returns int language plpgsql as 'begin return 7 / a; end';
         comment on function told(int) is E'HTTP POST\\n@sse'",
    )?;
    let http = admin.cluster.http()?;
    assert_eq!(http.get("/api/calc/add?a=41")?.text(), "42");
    let fine = call(&admin, "/api/calc/add", 200)?;
    assert_eq!((&fine["method"], &fine["error"]), (&json!("GET"), &Value::Null));
    ensure!(fine["ms"].as_f64() > Some(0.0) && fine["at"].as_f64() > Some(1_700_000_000.0), "{fine}");
    assert_eq!(http.get("/api/calc/divide?a=0")?.status(), 400);
    let failed = call(&admin, "/api/calc/divide", 400)?;
    assert_eq!(failed["error"], "22012: division by zero", "more than its caller is told");
    assert_eq!(api.post("refuse", &json!({ "a": 1 }))?.status(), 409);
    let refused = call(&admin, "/api/calc/refuse", 409)?;
    let error = refused["error"].as_str().context("no error")?;
    ensure!(error.starts_with("PT409: no no ") && error.len() <= 300 && error.len() > 290, "{error}");
    assert_eq!(http.get("/api/calc/add?b=41")?.status(), 400);
    ensure!(call(&admin, "/api/calc/add", 400)?["error"].is_string());
    // One that is answered with a stream.
    let request = api.request("POST", "told").header("Accept", "text/event-stream").json(&json!({ "a": 0 }));
    http.request(&request)?;
    assert_eq!(call(&admin, "/api/calc/told", 400)?["error"], "22012: division by zero");
    let answer = admin.get("/api/calls")?;
    ensure!(!answer.text().contains("?a="), "{}", answer.text());
    // Of more than two hundred the oldest goes.
    for _ in 0..200 {
        http.get("/api/calc/add?a=1")?;
    }
    let calls = wait_for(SOON, "only the last are kept", || {
        let answer = admin.get("/api/calls")?.json()?;
        let calls = answer["calls"].as_array().cloned().unwrap_or_default();
        assert_eq!(answer["total"], calls.len());
        Ok((calls.len() == 200 && calls.iter().all(|call| call["path"] == "/api/calc/add")).then_some(calls))
    })?;
    let times: Vec<f64> = calls.iter().filter_map(|call| call["at"].as_f64()).collect();
    ensure!(times.len() == 200 && times.iter().rev().is_sorted(), "the newest first");
    Ok(())
}

#[test]
fn a_call_that_runs_is_listed_with_who_made_it_as_long_as_it_runs() -> Result<()> {
    let admin = open(calls::builder(), calls::start)?;
    let api = Api::of(&admin.cluster, "slow")?;
    api.sql(
        "create table gate (); create function pass() returns int language plpgsql as
           'begin lock table slow.gate in access exclusive mode; return 1; end';
         comment on function pass() is 'HTTP POST';
         grant all on gate to public",
    )?;
    let token = issue(&admin.cluster, ALICE).context("a token")?;
    let running = || -> Result<Vec<Value>> {
        Ok(admin.get("/api/calls")?.json()?["running"].as_array().cloned().unwrap_or_default())
    };
    ensure!(running()?.is_empty());
    let mut gate = admin.cluster.session()?;
    gate.run("begin; lock table slow.gate in access exclusive mode")?.ok()?;
    let request = api.request("POST", "pass").bearer(&*token).json(&json!({}));
    let mut connection = admin.cluster.http()?.connect()?;
    connection.send(&request)?;
    let calls = wait_for(SOON, "it runs", || Ok(Some(running()?).filter(|calls| !calls.is_empty())))?;
    assert_eq!(calls.len(), 1);
    assert_eq!(
        [&calls[0]["method"], &calls[0]["path"], &calls[0]["user"]],
        [&json!("POST"), &json!("/api/slow/pass"), &json!("alice")]
    );
    ensure!(calls[0]["started"].as_f64() > Some(1_700_000_000.0));
    gate.run("commit")?.ok()?;
    wait_for(Duration::from_secs(60), "it has ended", || Ok(running()?.is_empty().then_some(())))
}

#[test]
fn a_connection_takes_requests_for_a_minute_and_one_that_watches_goes_on() -> Result<()> {
    let admin = open(Cluster::builder(), Builder::start)?;
    let corner = Corner::of(&admin.cluster, "corner")?;
    corner.announcer("f", "@sse")?;
    let mut watch = Watch::open(&admin)?;
    let mut connection = admin.http.connect()?;
    let began = Instant::now();
    let request = Request::get("/livez");
    // Asked about once a second: the client waits for whatever else comes.
    while connection.send(&request).is_ok() && connection.response("GET").is_ok() {
        ensure!(began.elapsed() < Duration::from_secs(80), "it is served for ever");
        let _ = connection.has_more(Duration::from_secs(1));
    }
    ensure!(began.elapsed() > Duration::from_secs(50), "it ended after {:?}", began.elapsed());
    watch.socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    while began.elapsed() < Duration::from_secs(75) {
        watch.read_to(":\n\n").context("a heartbeat")?;
    }
    corner.sql("select f('late')")?;
    assert_eq!(watch.next()?["data"], "late");
    Ok(())
}
