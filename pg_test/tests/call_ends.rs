//! How calls begin and end in the order of events (C7.8, C7.9): what comes before their statement is an
//! ordinary answer, and what they came to never comes before their last event, however they end.
//!
//! Not for what is in the answers: `call_streams.rs`, `call_async.rs`, `own_write.rs`.

mod common;

use anyhow::{Context, Result, ensure};
use cluster::http::{Connection, EventStream, Request};
use cluster::{Cluster, Session, wait_for};
use common::calls::{Api, builder, start, told};
use common::{SOON, figure};
use serde_json::{Value, json};

/// A cluster with a small ring and a worker for each of three calls, and `work(who)`: it raises `begun` and
/// waits, raises `mine` and waits, and returns. `fill(n)` takes room in the ring.
fn furnished() -> Result<Cluster> {
    let cluster = start(builder().setting("sse.ring_size", "64kB").setting("sse.call_workers", 3))?;
    let api = Api::of(&cluster, "ends")?;
    api.sql(
        "create function work(who text) returns text language plpgsql volatile as $$
         begin
             raise info '% begun', who;
             perform pg_advisory_xact_lock_shared(1);
             raise info '% mine', who;
             perform pg_advisory_xact_lock_shared(2);
             return who;
         end $$;
         comment on function work(text) is E'HTTP POST\\n@sse\\n@sse_delivery immediate';
         create function fill(n int) returns void language plpgsql as $$ begin raise info '%', repeat('x', n); end $$;
         comment on function fill(int) is E'@sse\\n@sse_delivery immediate\\n@sse_topic fill'",
    )?;
    Ok(cluster)
}

/// Three calls of `work`: one that streams, one that goes on without its caller, one that is answered.
struct Three {
    stream: EventStream,
    followed: EventStream,
    plain: Connection,
    /// A stream like any other.
    everybody: EventStream,
    gates: Session,
}

impl Three {
    /// All of them have begun, and wait before they raise more.
    fn begin(api: &Api<'_>) -> Result<Self> {
        let mut gates = api.session()?;
        gates.run("select pg_advisory_lock(1), pg_advisory_lock(2)")?.ok()?;
        let everybody = api.http.events(&api.path("work/info"))?;
        let request = |who: &str| api.request("POST", "work").json(&json!({ "who": who }));
        let stream = api.http.events_with(&request("stream").header("Accept", "text/event-stream"))?;
        let answer = api.http.request(&request("followed").header("Prefer", "respond-async"))?;
        ensure!(answer.status() == 202, "{}", told(&answer));
        let location = answer.header("location").context("no Location")?.to_owned();
        let followed = api.http.events_with(&Request::get(&location))?;
        let plain = api.begin("work", &json!({ "who": "plain" }))?;
        let three = Self { stream, followed, plain, everybody, gates };
        three.all_wait_at(api.cluster, 1)?;
        Ok(three)
    }

    fn all_wait_at(&self, cluster: &Cluster, gate: i32) -> Result<()> {
        let waiting = format!(
            "select count(*) from pg_locks where locktype = 'advisory' and not granted and objid = {gate}"
        );
        cluster.comes_to(SOON, "all of them wait", &waiting, "3")
    }

    fn open(&mut self, gate: i32) -> Result<()> {
        self.gates.run(&format!("select pg_advisory_unlock({gate})"))?.ok().map(drop)
    }

    /// Each hears what it raised last before what it came to, and is told that with this status.
    fn hear(mut self, status: u16) -> Result<()> {
        for (who, stream) in [("stream", &mut self.stream), ("followed", &mut self.followed)] {
            let mine = format!("{who} mine");
            let mut has_come = false;
            loop {
                let event = stream.next(SOON)?;
                if matches!(event.event.as_str(), "sse.result" | "sse.error") {
                    ensure!(has_come, "{who}: {event:?} came before its last event");
                    let expected = if status == 200 { "sse.result" } else { "sse.error" };
                    assert_eq!(event.event, expected, "{who}: {event:?}");
                    let is_told = status == 200 || event.data.contains(&format!("\"status\":{status}"));
                    ensure!(is_told, "{who}: {event:?}");
                    break;
                }
                has_come |= event.data == mine;
            }
        }
        let answer = self.plain.response("POST")?;
        assert_eq!(answer.status(), status, "{}", told(&answer));
        let position = answer.header("SSE-Position").context("no SSE-Position")?;
        let last = loop {
            let event = self.everybody.next_payload(SOON)?;
            if event.data == "plain mine" {
                break event.id;
            }
        };
        assert_eq!(position, last);
        Ok(())
    }
}

/// From now on nothing is taken out of the ring, until [`let_the_ring_go`].
fn stop_the_ring(cluster: &Cluster) -> Result<()> {
    let file = cluster.data_dir().join("pg_sse.hole");
    std::fs::write(&file, "120000")?;
    cluster.reload()?;
    wait_for(SOON, "the record is begun", || Ok((!file.exists() && used(cluster)? > 0).then_some(())))
}

fn let_the_ring_go(cluster: &Cluster) -> Result<()> {
    ensure!(used(cluster)? > 0, "too late: the ring is emptied already");
    Ok(std::fs::write(cluster.data_dir().join("pg_sse.hole_end"), "")?)
}

fn used(cluster: &Cluster) -> Result<i64> {
    figure(cluster, "stat_ring", "used_bytes")
}

/// With less than this free there is no room for the end of a call.
const LITTLE: i64 = 24;

fn free(cluster: &Cluster) -> Result<i64> {
    Ok(figure(cluster, "stat_ring", "capacity_bytes")? - used(cluster)?)
}

/// Takes the room in the ring, to the last bytes.
fn fill(api: &Api<'_>) -> Result<()> {
    let mut session = api.session()?;
    session.run("set client_min_messages = error")?.ok()?;
    let mut take = |n: i64| -> Result<i64> {
        let before = free(api.cluster)?;
        session.run(&format!("select fill({n})"))?.ok()?;
        Ok(before - free(api.cluster)?)
    };
    let least = take(0)?;
    for _ in 0..200 {
        let free = free(api.cluster)?;
        if free < LITTLE {
            return Ok(());
        }
        let more = (free - least).min(2000);
        // What is left takes another event, or nothing.
        let more = if (1..least).contains(&(free - least - more)) { more - least } else { more };
        // A record does not go over the end of the ring's memory: a small one goes before it.
        ensure!(take(more.max(0))? > 0 || take(0)? > 0, "{free} bytes are free, and {least} do not fit");
    }
    anyhow::bail!("{} bytes are free", free(api.cluster)?)
}

#[test]
fn what_a_call_came_to_never_comes_before_its_last_event_when_the_ring_is_full_at_its_end() -> Result<()> {
    let cluster = furnished()?;
    let api = Api::again(&cluster, "ends")?;
    let mut three = Three::begin(&api)?;
    stop_the_ring(&cluster)?;
    three.open(1)?;
    three.all_wait_at(&cluster, 2)?;
    fill(&api)?;
    three.open(2)?;
    let busy = "select count(*) from pg_stat_activity where backend_type = 'pg_sse call worker' and state = 'active'";
    cluster.comes_to(SOON, "all have ended", busy, "0")?;
    ensure!(free(&cluster)? < LITTLE, "there was room for their ends");
    let_the_ring_go(&cluster)?;
    three.hear(200)
}

// Attack, or a misfortune: whoever may terminate backends ends the workers in the middle of calls.
#[test]
fn what_a_call_came_to_never_comes_before_its_last_event_when_its_worker_dies() -> Result<()> {
    let cluster = furnished()?;
    let api = Api::again(&cluster, "ends")?;
    let mut three = Three::begin(&api)?;
    stop_the_ring(&cluster)?;
    three.open(1)?;
    three.all_wait_at(&cluster, 2)?;
    let workers = "from pg_stat_activity where backend_type = 'pg_sse call worker' and state = 'active'";
    cluster.sql(&format!("select pg_terminate_backend(pid) {workers}"))?;
    cluster.comes_to(SOON, "all have ended", &format!("select count(*) {workers}"), "0")?;
    let_the_ring_go(&cluster)?;
    three.hear(502)
}

/// A request for a stream that is answered otherwise.
fn refused(api: &Api<'_>, routine: &str, body: &Value) -> Result<(u16, String)> {
    let request = api.request("POST", routine).header("Accept", "text/event-stream").json(body);
    let answer = api.http.request(&request)?;
    ensure!(answer.header("content-type") == Some("application/problem+json"), "{:?}", answer.head);
    Ok((answer.status(), answer.json()?["sqlstate"].as_str().unwrap_or("").to_owned()))
}

#[test]
fn what_a_worker_refuses_before_the_statement_is_an_ordinary_answer_and_no_stream() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "early")?;
    api.sql(
        "create domain small as int check (value < 10);
         create function known(d date default null, n int default 0, s small default 0, j json default null)
           returns text language plpgsql as $$ begin raise exception 'it has run'; end $$;
         comment on function known(date, int, small, json) is E'HTTP POST\\n@sse';
         create table secret (x int);
         create function reads() returns setof int language plpgsql as $$ begin return query select x from early.secret; end $$;
         comment on function reads() is 'HTTP POST'",
    )?;
    for (body, status, sqlstate) in [
        (json!({ "d": "no date" }), 400, "22007"),
        (json!({ "d": "2026-13-99" }), 400, "22008"),
        (json!({ "n": "99999999999999" }), 400, "22003"),
        (json!({ "s": 10 }), 400, "23514"),
    ] {
        let (found, code) = refused(&api, "known", &body)?;
        ensure!(found == status || code == sqlstate && found / 100 == 4, "{body}: {found} {code}");
        ensure!(code == sqlstate || found == 400, "{body}: {found} {code}");
    }
    // What the statement itself meets is told in its stream.
    for (routine, status) in [("known", 400), ("reads", 403)] {
        let request = api.request("POST", routine).header("Accept", "text/event-stream").json(&json!({}));
        let mut stream = api.http.events_with(&request)?;
        let event = loop {
            let event = stream.next(SOON)?;
            if event.event != "sse.ready" {
                break event;
            }
        };
        ensure!(event.event == "sse.error", "{event:?}");
        ensure!(event.data.contains(&format!("\"status\":{status}")), "{event:?}");
    }
    Ok(())
}

#[test]
fn a_role_that_becomes_too_mighty_refuses_calls_that_stream_with_an_ordinary_503() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "mighty")?;
    api.sql("create function f() returns text language sql as 'select 1::text'; comment on function f() is 'HTTP POST'")?;
    cluster.sql("alter role app superuser")?;
    for _ in 0..20 {
        assert_eq!(refused(&api, "f", &json!({}))?, (503, String::new()));
    }
    Ok(())
}

// Attack: mail scanners and link previews send HEAD to every link that they see.
#[test]
fn a_head_writes_nothing_even_where_a_get_may() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "heads")?;
    api.sql(
        "create table done (x int); grant all on done to app;
         create function confirm() returns text language sql volatile as
           $$ insert into heads.done values (1); select 'thanks' $$;
         comment on function confirm() is E'HTTP GET\\n@sse';
         create function look() returns text language sql volatile as $$ select 'x' $$;
         comment on function look() is E'HTTP GET\\n@sse'",
    )?;
    let head = |routine: &str, header: (&str, &str)| -> Result<u16> {
        Ok(api.http.request(&api.request("HEAD", routine).header(header.0, header.1))?.status())
    };
    for header in [("X-None", "x"), ("Prefer", "respond-async"), ("Accept", "text/event-stream")] {
        let (of_writer, of_reader) = (head("confirm", header)?, head("look", header)?);
        let of_writer_wanted = if header.0 == "Accept" { 200 } else { 500 };
        assert_eq!((of_writer, of_reader), (of_writer_wanted, 200), "{header:?}");
    }
    assert_eq!(cluster.sql("select count(*) from heads.done")?, "0");
    assert_eq!(api.get("confirm")?.text(), "thanks");
    assert_eq!(cluster.sql("select count(*) from heads.done")?, "1");
    Ok(())
}
