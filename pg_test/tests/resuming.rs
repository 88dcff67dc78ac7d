//! Coming back: a stream that breaks anywhere and is opened again with its last id has neither hole nor
//! double, brings what its subscriber may have now, and when it cannot, says so with a gap (C6.4, C6.5).
//!
//! Not for crashes of the server: `crashes` has those.

mod common;

use std::io::{Read, Write};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use cluster::http::{Client, Event, EventParser, Request};
use cluster::{Builder, Cluster, StopMode, wait_for, wait_until};
use common::tokens::{self, ALICE, BOB, MANAGER, Person, issue};
use common::{SOON, announcer, figure, gateway_pid};

/// Events of the test under load.
const EVENTS: u64 = 20_000;

/// The path of all streams.
const PATH: &str = "/api/f/info";

/// What ends the gateway, and waits for the next one where that is needed.
type End = fn(&Cluster) -> Result<()>;

fn start(builder: Builder) -> Result<Cluster> {
    let cluster = builder.start()?;
    cluster.sql(&announcer("f", "@sse"))?;
    Ok(cluster)
}

/// Publishes the numbers 1 to [`EVENTS`] in one order, each for whom [`is_for`] says, and at last an end for
/// everybody.
const PUBLISH: &str = "do $d$
    declare scopes text[] = array['all', 'authorize id:1', 'authorize role:staff', 'authorize', 'all'];
    begin
        for i in 1..20000 loop
            perform sse.publish(i || repeat('x', i % 97), scopes[i % 5 + 1], topic => case when i % 7 = 0 then 't' end);
            if i % 20 = 0 then commit; perform pg_sleep(0.001); end if;
        end loop;
        perform sse.publish('end'), sse.publish('end', topic => 't');
    end $d$";

fn is_for(number: u64, person: Option<Person>, topic: &str) -> bool {
    let in_scope = match number % 5 {
        1 => person.is_some_and(|person| person.id == "1"),
        2 => person.is_some_and(|person| person.roles.contains(&"staff")),
        3 => person.is_some(),
        _ => true,
    };
    in_scope && number.is_multiple_of(7) == (topic == "t")
}

/// A subscriber that is cut off again and again.
struct Reader {
    http: Client,
    token: Option<String>,
    topic: &'static str,
    random: fastrand::Rng,
    last: String,
    data: Vec<String>,
    connections: u32,
}

impl Reader {
    /// The request that a browser would send, with the last id in the header or, now and then, in the URL.
    fn request(&mut self) -> Request {
        let mut query = Vec::new();
        if !self.topic.is_empty() {
            query.push(format!("topic={}", self.topic));
        }
        let in_url = self.random.bool();
        if in_url && !self.last.is_empty() {
            query.push(format!("last_event_id={}", self.last));
        }
        let target = if query.is_empty() { PATH.to_owned() } else { format!("{PATH}?{}", query.join("&")) };
        let request = tokens::get(&target, self.token.as_deref());
        if in_url || self.last.is_empty() { request } else { request.header("Last-Event-ID", &self.last) }
    }

    /// One connection with chunks, left after some events.
    fn read_events(&mut self) -> Result<()> {
        let request = self.request();
        let mut stream = self.http.events_with(&request)?;
        self.begin(&stream.next(SOON)?)?;
        for _ in 0..=self.random.u64(..600) {
            let event = stream.next(SOON).with_context(|| format!("after {}", self.last))?;
            self.take(event)?;
            if self.is_over() {
                break;
            }
        }
        Ok(())
    }

    /// One connection without chunks, cut after some bytes, wherever that is: in the head of the answer, in a
    /// field, in a line end.
    fn read_bytes(&mut self) -> Result<()> {
        let request = self.request();
        let mut head = format!("GET {} HTTP/1.0\r\nHost: localhost\r\n", request.target);
        for (name, value) in request.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut socket = self.http.wire()?;
        socket.socket().set_read_timeout(Some(SOON))?;
        socket.write_all(format!("{head}\r\n").as_bytes())?;
        let mut bytes = vec![0; self.random.usize(..60_000)];
        let (mut filled, mut parsed) = (0, None);
        let (mut parser, mut is_begun) = (EventParser::default(), false);
        while filled < bytes.len() && !self.is_over() {
            match socket.read(&mut bytes[filled..])? {
                0 => bail!("the stream has ended"),
                n => filled += n,
            }
            let head = || bytes[..filled].windows(4).position(|window| window == b"\r\n\r\n");
            let Some(from) = parsed.or_else(|| Some(head()? + 4)) else { continue };
            parsed = Some(filled);
            for event in parser.push(&bytes[from..filled]) {
                if std::mem::replace(&mut is_begun, true) {
                    self.take(event)?;
                } else {
                    self.begin(&event)?;
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, ready: &Event) -> Result<()> {
        ensure!(ready.event == "sse.ready", "{ready:?}");
        ensure!(self.last.is_empty() || ready.id == self.last, "{ready:?} is not the accepted {}", self.last);
        self.last.clone_from(&ready.id);
        self.connections += 1;
        Ok(())
    }

    fn take(&mut self, event: Event) -> Result<()> {
        ensure!(event.event == "message", "{event:?} after {}", self.last);
        self.last = event.id;
        self.data.push(event.data.trim_end_matches('x').to_owned());
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.data.last().is_some_and(|data| data == "end")
    }

    fn run(mut self) -> Result<Self> {
        while !self.is_over() {
            if self.random.bool() { self.read_events()? } else { self.read_bytes()? }
        }
        Ok(self)
    }
}

fn nothing_is_lost_or_doubled(threads: u32) -> Result<()> {
    let cluster = start(tokens::builder().setting("sse.threads", threads).setting("sse.ring_size", "64MB"))?;
    let http = cluster.http()?;
    let mut readers = Vec::new();
    for (person, topic) in [
        (None, ""),
        (None, "t"),
        (Some(ALICE), ""),
        (Some(ALICE), "t"),
        (Some(BOB), ""),
        (Some(BOB), "t"),
        (Some(MANAGER), ""),
        (None, ""),
    ] {
        let token = person.map(|person| issue(&cluster, person)).transpose()?;
        let random = fastrand::Rng::with_seed(readers.len() as u64);
        let (last, data) = (String::new(), Vec::new());
        let mut reader = Reader { http, token, topic, random, last, data, connections: 0 };
        // From here on it has to get everything.
        let request = reader.request();
        reader.begin(&http.events_with(&request)?.next(SOON)?)?;
        readers.push((person, topic, reader));
    }
    let mut publisher = cluster.session()?;
    publisher.send(PUBLISH)?;
    let readers: Vec<_> = readers
        .into_iter()
        .map(|(person, topic, reader)| (person, topic, thread::spawn(move || reader.run())))
        .collect();
    let mut connections = 0;
    for (person, topic, reader) in readers {
        let who = format!("{:?} {topic:?}", person.map(|person| person.name));
        let Ok(reader) = reader.join() else { bail!("{who} panicked") };
        let reader = reader.context(who.clone())?;
        let expected = (1..=EVENTS).filter(|number| is_for(*number, person, topic)).map(|n| n.to_string());
        let expected: Vec<String> = expected.chain(["end".to_owned()]).collect();
        let at = reader.data.iter().zip(&expected).position(|(got, expected)| got != expected);
        ensure!(
            at.is_none(),
            "{who}: {:?}, expected {:?}",
            at.map(|n| &reader.data[n]),
            at.map(|n| &expected[n])
        );
        assert_eq!(reader.data.len(), expected.len(), "{who}");
        connections += reader.connections;
    }
    publisher.wait(SOON)?.ok()?;
    ensure!(connections > 100, "only {connections} connections");
    assert_eq!(figure(&cluster, "stat_ring", "dropped_total")?, 0);
    Ok(())
}

#[test]
fn streams_that_are_cut_anywhere_while_events_flow_lose_and_double_nothing() -> Result<()> {
    nothing_is_lost_or_doubled(1)
}

// A returning subscriber may come to any thread, and each thread takes in the events in its own time.
#[test]
fn several_threads_resume_each_others_streams() -> Result<()> {
    nothing_is_lost_or_doubled(3)
}

#[test]
fn who_comes_back_gets_what_they_may_have_now() -> Result<()> {
    let cluster = start(tokens::builder())?;
    let http = cluster.http()?;
    let staff = Person { id: "1", name: "alice", roles: &["staff"] };
    let admin = Person { id: "1", name: "alice", roles: &["admin"] };
    let first = http.events_with(&tokens::get(PATH, Some(&issue(&cluster, staff)?)))?.next(SOON)?.id;
    cluster.sql(
        "select sse.publish('all'), sse.publish('staff', 'authorize role:staff'),
                sse.publish('admin', 'authorize role:admin'), sse.publish('alice', 'authorize id:1'),
                sse.publish('bob', 'authorize name:bob'), sse.publish('t', topic => 't'),
                sse.publish('signed in', 'authorize')",
    )?;
    let cases: [(&str, Option<Person>, &[&str]); 5] = [
        ("as she was", Some(staff), &["all", "staff", "alice", "signed in"]),
        ("with another role", Some(admin), &["all", "admin", "alice", "signed in"]),
        ("without roles", Some(ALICE), &["all", "alice", "signed in"]),
        ("somebody else", Some(BOB), &["all", "staff", "bob", "signed in"]),
        ("nobody", None, &["all"]),
    ];
    for (who, person, expected) in cases {
        let token = person.map(|person| issue(&cluster, person)).transpose()?;
        let request = tokens::get(PATH, token.as_deref()).header("Last-Event-ID", &first);
        let mut stream = http.events_with(&request)?;
        let ready = stream.next(SOON)?;
        assert_eq!((&*ready.event, &ready.id), ("sse.ready", &first), "{who}");
        // After all that is replayed. Subscribers that come later hear it, too.
        cluster.sql(&format!("select sse.publish('end: {who}')"))?;
        let mut got = Vec::new();
        loop {
            let data = stream.next(SOON)?.data;
            match data.strip_prefix("end: ") {
                None => got.push(data),
                Some(whose) if whose == who => break,
                Some(_) => {}
            }
        }
        assert_eq!(got, expected, "{who}");
    }
    Ok(())
}

/// A gap as (reason, missed).
fn gap(event: &Event) -> Result<(String, Option<u64>)> {
    let data: serde_json::Value = serde_json::from_str(&event.data)?;
    ensure!(event.event == "sse.gap" && (data["missed"].is_u64() || data["missed"].is_null()), "{event:?}");
    Ok((common::gap_reason(event)?, data["missed"].as_u64()))
}

/// Resumes, expects a gap after `sse.ready`, and checks that the stream goes on live.
fn gap_of(cluster: &Cluster, target: &str, last: &str) -> Result<(String, Option<u64>)> {
    let mut stream = cluster.http()?.events_after(target, last)?;
    let ready = stream.next(SOON)?;
    let event = stream.next(SOON)?;
    assert_eq!(ready.event, "sse.ready");
    assert_ne!(ready.id, event.id, "who has not heard of the gap yet must hear of it when it comes back");
    cluster.sql("select f('live')")?;
    assert_eq!(stream.next(SOON)?.data, "live");
    gap(&event)
}

#[test]
fn an_id_that_was_never_given_is_an_unknown_one_whatever_it_looks_like() -> Result<()> {
    let cluster = start(Cluster::builder().setting("sse.threads", 2))?;
    cluster.sql("select f('one')")?;
    let ready = cluster.http()?.events(PATH)?.next(SOON)?;
    let (epoch, number) = ready.id.split_once('-').context("an id of two numbers")?;
    let number = u64::from_str_radix(number, 16)?;
    // Each stream of gap_of publishes one event.
    for id in [
        format!("{epoch}-{:x}", number + 100),
        format!("{epoch}-{:x}", u64::MAX),
        format!("{epoch}-0{number:x}"),
        format!("{epoch}-"),
        format!("{epoch}-{number:x}-1"),
        ready.id.to_uppercase() + "X",
        "1".to_owned(),
        "\u{fc}\u{1f600}".to_owned(),
        "x".repeat(4000),
    ] {
        assert_eq!(gap_of(&cluster, PATH, &id)?, ("unknown".to_owned(), None), "{id}");
    }
    for target in ["/api/f/info?last_event_id=", "/api/f/info?id=x"] {
        let mut stream = cluster.http()?.events_after(target, "")?.begun()?;
        cluster.sql("select f('first')")?;
        assert_eq!(stream.next(SOON)?.data, "first", "an empty id is none");
    }
    Ok(())
}

#[test]
fn an_id_from_an_earlier_life_of_the_gateway_is_answered_by_a_gap() -> Result<()> {
    let cluster = start(Cluster::builder())?;
    let ends: [(&str, End); 4] = [
        ("terminated", |cluster| {
            let pid = gateway_pid(cluster)?;
            cluster.sql(&format!("select pg_terminate_backend({pid})"))?;
            wait_until(SOON, "it has gone", || gateway_pid(cluster).is_ok_and(|new| new != pid))
        }),
        ("killed", |cluster| {
            let pid = gateway_pid(cluster)?;
            cluster.kill_backend(pid)?;
            wait_until(SOON, "there is another one", || gateway_pid(cluster).is_ok_and(|new| new != pid))
        }),
        ("stopped at once", |cluster| cluster.restart(StopMode::Immediate)),
        ("dropped", |cluster| {
            let http = cluster.http()?;
            cluster.sql("drop extension pg_sse")?;
            // Otherwise both may be over before the gateway has looked, and then nothing has ended.
            wait_until(SOON, "nothing is served", || {
                !common::status(http, "/healthz").is_ok_and(|status| status == 200)
            })?;
            cluster.sql("create extension pg_sse").map(drop)
        }),
    ];
    for (how, end) in ends {
        let id = wait_for(SOON, "a stream", || Ok(cluster.http()?.events(PATH).ok()))?.next(SOON)?.id;
        end(&cluster)?;
        wait_for(SOON, "a stream again", || {
            let stream = cluster.http()?.events(PATH).ok();
            Ok(stream.and_then(|mut stream| stream.next(SOON).ok()).filter(|ready| ready.id != id))
        })?;
        assert_eq!(gap_of(&cluster, PATH, &id)?, ("restarted".to_owned(), None), "{how}");
    }
    Ok(())
}

#[test]
fn a_gap_counts_what_was_missed_exactly_or_says_that_it_cannot() -> Result<()> {
    let cluster = start(Cluster::builder().setting("sse.window_size", "64kB"))?;
    let first = cluster.http()?.events(PATH)?.next(SOON)?.id;
    let taken_in = |count: i64| {
        wait_until(SOON, "taken in", || {
            figure(&cluster, "stat_gateway", "events_total").is_ok_and(|total| total == count)
        })
    };
    let many = "select sse.publish(repeat('x', 1000)) from generate_series(1, 300)";
    cluster.sql(many)?;
    taken_in(300)?;
    let expired = |missed| ("expired".to_owned(), missed);
    assert_eq!(gap_of(&cluster, PATH, &first)?, expired(Some(300)));
    // For some users only: a subscriber that has lost the event cannot be told whether it was for it.
    cluster.sql("select sse.publish('x', 'authorize id:1')")?;
    let second = cluster.http()?.events(PATH)?.next(SOON)?.id;
    cluster.sql(many)?;
    taken_in(602)?;
    assert_eq!(gap_of(&cluster, PATH, &first)?, expired(None));
    assert_eq!(gap_of(&cluster, PATH, &second)?, expired(Some(301)));
    Ok(())
}
