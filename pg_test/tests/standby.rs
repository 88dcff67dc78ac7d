//! What a hot standby serves with `sse.durability = wal`: streams and calls of the routines that are
//! replayed, by the same tokens; and what it sends to the primary (C10.5).
//!
//! Not for how events come through the log.

mod common;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::http::{Client, Request};
use cluster::{Cluster, PATIENCE, StopMode, wait_until};
use common::calls::{ROLE, builder, start};
use common::tokens::{ALICE, Person, get, issue, listen, status_of};
use common::{SOON, announcer, cookie_name, is_problem, proxy, wait_for_status};

/// Where the primary is, as browsers would have to know it.
const PRIMARY_URL: &str = "https://primary.example:8443";

/// The promise of C10.5, of what is replayed.
const WITHIN: Duration = Duration::from_secs(1);

struct Tree {
    primary: Cluster,
    standby: Cluster,
}

/// A primary and a standby of it, which end with the process.
fn tree() -> &'static Tree {
    static TREE: OnceLock<Tree> = OnceLock::new();
    TREE.get_or_init(|| plant().unwrap_or_else(|error| panic!("no primary and standby: {error:#}")))
}

fn plant() -> Result<Tree> {
    let primary = start(builder().setting("sse.durability", "wal").setting("max_worker_processes", 16))?;
    primary.sql(&announcer("news", "@sse"))?;
    primary.sql(&announcer("closed", "@sse\n@authorize"))?;
    primary.sql(&format!(
        "create table note (body text); grant all on note to {ROLE};
         create function greet(name text) returns text language sql as 'select ''hello '' || name';
         comment on function greet(text) is 'HTTP POST';
         create function write_down(body text) returns void language sql as 'insert into note values (body)';
         comment on function write_down(text) is 'HTTP POST\n@sse';
         create function get_written() returns void language sql as 'insert into note values (''x'')';
         comment on function get_written() is 'HTTP';
         create function link() returns void language sql as 'insert into note values (''x'')';
         comment on function link() is 'HTTP GET';
         create table cleaned ();
         create function get_slowly() returns bigint language plpgsql stable as $f$
             declare found bigint;
             begin select count(*) into found from public.cleaned; if found > 0 then perform pg_sleep(20); end if; return found; end $f$;
         grant select on cleaned to {ROLE};
         comment on function get_slowly() is 'HTTP';
         create table note_id (id int); create table counted (n int); grant select on counted to {ROLE};
         create function total() returns bigint language sql stable as 'select count(*) from public.counted';
         create function count_up() returns void language plpgsql as $f$ begin
             insert into counted values (1); raise info '%', (select count(*) from counted); end $f$;
         comment on function count_up() is E'@sse\n@sse_topic count\n@sse_snapshot public.total as state';
         create function says_so() returns void language plpgsql as
             'begin raise sqlstate ''25006''; end';
         comment on function says_so() is 'HTTP POST';
         create function logout() returns void language sql as '';
         comment on function logout() is 'HTTP POST\n@logout'; "
    ))?;
    let standby = primary.standby()?;
    standby.configure("sse.primary_url", PRIMARY_URL)?;
    standby.configure("max_standby_streaming_delay", "0")?;
    standby.start()?;
    standby.wait_for_replay(&primary)?;
    wait_for_status(standby.http()?, "/api/news/info", 200, PATIENCE)?;
    let http = standby.http()?;
    wait_until(PATIENCE, "the standby takes calls", || {
        call(http, "/api/greet", r#"{"name": "x"}"#).is_ok_and(|answer| answer.status() == 200)
    })?;
    Ok(Tree { primary, standby })
}

fn call(http: Client, path: &str, body: &str) -> Result<cluster::http::Response> {
    http.request(&post(path, body))
}

fn post(path: &str, body: &str) -> Request {
    Request::new("POST", path).header("content-type", "application/json").body(body)
}

#[test]
fn a_call_that_reads_is_answered_by_the_standby_and_one_that_writes_is_sent_to_the_primary() -> Result<()> {
    let http = tree().standby.http()?;
    let answer = call(http, "/api/greet", r#"{"name": "standby"}"#)?;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "hello standby"));
    for (request, to) in [
        (post("/api/write-down", r#"{"body": "x"}"#), "/api/write-down"),
        (Request::get("/api/link?"), "/api/link?"),
    ] {
        let answer = http.request(&request)?;
        is_problem(&answer, 307, to)?;
        assert_eq!(answer.header("location"), Some(format!("{PRIMARY_URL}{to}").as_str()));
    }
    // It would be an answer there, too: a GET whose comment names no method may not write anywhere (C7.4).
    let answer = http.request(&Request::get("/api/get-written"))?;
    is_problem(&answer, 500, "READ ONLY")?;
    ensure!(answer.text().contains("its GET may not"), "{}", answer.text());
    // What a routine says itself is its own business.
    is_problem(&call(http, "/api/says-so", "{}")?, 500, "its own")?;
    assert_eq!(tree().primary.sql("select count(*) from note")?, "0", "and none of it was done");
    Ok(())
}

#[test]
fn what_is_known_to_write_is_not_even_tried_on_a_standby() -> Result<()> {
    let http = tree().standby.http()?;
    let later = post("/api/write-down", r#"{"body": "x"}"#).header("prefer", "respond-async");
    let answer = http.request(&later)?;
    is_problem(&answer, 307, "respond-async")?;
    assert_eq!(answer.header("location"), Some(format!("{PRIMARY_URL}/api/write-down").as_str()));
    // Of a streamed call it shows when the stream has begun: then it is its last event.
    let streamed = post("/api/write-down", r#"{"body": "x"}"#).header("accept", "text/event-stream");
    let mut stream = http.events_with(&streamed)?;
    let last = stream.wait_for_end(SOON)?.pop().context("no last event")?;
    assert_eq!(last.event, "sse.error");
    let problem: serde_json::Value = serde_json::from_str(&last.data)?;
    assert_eq!(problem["status"], 307, "{problem}");
    assert_eq!(problem["location"], format!("{PRIMARY_URL}/api/write-down"), "{problem}");
    Ok(())
}

#[test]
fn a_route_of_the_primary_is_a_route_of_the_standby_within_a_second() -> Result<()> {
    let Tree { primary, standby } = tree();
    let http = standby.http()?;
    primary.sql(&announcer("late", "@sse"))?;
    standby.wait_for_replay(primary)?;
    wait_for_status(http, "/api/late/info", 200, WITHIN)?;
    http.events("/api/late/info")?.ready()?;
    // Who may hear it, and whether there is anything to hear, is replayed as well.
    primary.sql("comment on function late(text) is '@sse\n@authorize'")?;
    standby.wait_for_replay(primary)?;
    wait_for_status(http, "/api/late/info", 401, WITHIN)?;
    primary.sql("comment on function late(text) is 'prose'")?;
    standby.wait_for_replay(primary)?;
    wait_for_status(http, "/api/late/info", 404, WITHIN)
}

#[test]
fn a_token_of_one_server_opens_streams_of_the_other() -> Result<()> {
    let Tree { primary, standby } = tree();
    let of_primary = issue(primary, ALICE)?;
    let of_standby = issue(standby, ALICE)?;
    for server in [primary, standby] {
        assert_eq!(status_of(server.http()?, &get("/api/closed/info", None))?, 401);
        for token in [&of_primary, &of_standby] {
            listen(server.http()?, "/api/closed/info", Some(token))?;
        }
    }
    Ok(())
}

/// Until the token is refused there.
fn wait_until_refused(http: Client, token: &str) -> Result<()> {
    wait_for_answer(http, token, 401)
}

fn wait_for_answer(http: Client, token: &str, status: u16) -> Result<()> {
    let begun = Instant::now();
    while status_of(http, &get("/api/closed/info", Some(token)))? != status {
        ensure!(begun.elapsed() < WITHIN, "{:?}", begun.elapsed());
    }
    Ok(())
}

#[test]
fn who_logs_out_or_is_disconnected_on_the_primary_is_refused_by_the_standby_within_a_second() -> Result<()> {
    let Tree { primary, standby } = tree();
    let (eve, mallory) = (person("9", "eve"), person("10", "mallory"));
    let (of_eve, of_mallory) = (issue(primary, eve)?, issue(primary, mallory)?);
    let here = standby.http()?;
    let mut stream = listen(here, "/api/closed/info", Some(&of_eve))?;
    let other = listen(here, "/api/closed/info", Some(&of_mallory))?;
    let logout = Request::new("POST", "/api/logout").bearer(of_eve.as_str());
    assert_eq!(status_of(primary.http()?, &logout)?, 204);
    stream.wait_for_end(WITHIN * 2)?;
    wait_until_refused(here, &of_eve)?;
    wait_for_answer(here, &of_mallory, 200)?;
    drop(other);
    // It takes effect in a transaction that rolls back, everywhere.
    primary.sql("begin; select sse.disconnect('10'); rollback")?;
    wait_until_refused(here, &of_mallory)?;
    wait_for_answer(here, &issue(standby, mallory)?, 200)
}

#[test]
fn nobody_is_logged_out_or_disconnected_by_a_standby_but_on_itself() -> Result<()> {
    let Tree { primary, standby } = tree();
    let frank = issue(primary, person("11", "frank"))?;
    let cookie = format!("{}={frank}", cookie_name(standby.http()?));
    let logout = Request::new("POST", "/api/logout").header("sec-fetch-site", "same-origin");
    let answer = standby.http()?.request(&logout.header("cookie", &cookie))?;
    is_problem(&answer, 307, "a logout")?;
    assert_eq!(answer.header("location"), Some(format!("{PRIMARY_URL}/api/logout").as_str()));
    let cleared = answer.header("set-cookie").context("it clears no cookie")?;
    ensure!(cleared.contains("Max-Age=0"), "{cleared}");
    wait_until_refused(standby.http()?, &frank)?;
    assert_eq!(status_of(primary.http()?, &get("/api/closed/info", Some(&frank)))?, 200);
    let reply = standby.session()?.run("select sse.disconnect('11')")?;
    let error = reply.error().context("no error")?;
    assert_eq!(error.sqlstate.as_deref(), Some("25006"), "{error:?}");
    ensure!(error.field("HINT").is_some_and(|hint| hint.contains(PRIMARY_URL)), "{error:?}");
    Ok(())
}

fn person(id: &'static str, name: &'static str) -> Person {
    Person { id, name, roles: &[] }
}

#[test]
fn a_promoted_standby_goes_on_as_the_primary_with_its_streams_its_calls_and_its_refusals() -> Result<()> {
    let primary = start(builder().setting("sse.durability", "wal").setting("max_worker_processes", 16))?;
    primary.sql(&announcer("closed", "@sse\n@authorize"))?;
    primary.sql(&format!(
        "create table note (body text); grant all on note to {ROLE};
         create function write_down(body text) returns void language sql as 'insert into note values (body)';
         comment on function write_down(text) is 'HTTP POST';
         create function place_in_tree() returns text language sql stable
             as $$ select case when pg_is_in_recovery() then 'standby' else 'primary' end $$;
         comment on function place_in_tree() is E'HTTP GET\n@anonymous'; "
    ))?;
    let (alice, eve) = (issue(&primary, ALICE)?, issue(&primary, person("9", "eve"))?);
    let standby = primary.standby()?;
    // Nothing of it is in the base backup, so what the standby knows of it comes by replication. It is the
    // last of many, so that whoever lets somebody in too early is caught.
    primary.sql(
        "insert into sse._refusals (kind, name, moment)
         select 'token', sha256(n::text::bytea), 4102444800000000 from generate_series(1, 30000) n",
    )?;
    primary.sql("select sse.disconnect('9')")?;
    let table = "select count(*) from sse._refusals where kind = 'user'";
    primary.comes_to(SOON, "it is replicated", table, "1")?;
    standby.start()?;
    standby.wait_for_replay(&primary)?;
    // The table is there from the beginning, and no file.
    standby.stop(StopMode::Fast)?;
    let _ = std::fs::remove_file(standby.data_dir().join("pg_sse.revocations"));
    standby.start()?;
    let http = standby.http()?;
    assert_eq!(status_of(http, &get("/api/closed/info", Some(&eve)))?, 401, "nobody is let in before that");
    let write = post("/api/write-down", r#"{"body": "x"}"#);
    wait_until(PATIENCE, "it takes calls, and has nowhere to send this one", || {
        http.request(&write).is_ok_and(|answer| {
            answer.status() == 503
                && answer.text().contains("standby")
                && answer.header("retry-after").is_some()
        })
    })?;
    // As docs/servers.md says it: whoever comes by way of this is answered by the right one.
    let servers = [primary.http()?.address(), http.address()];
    let Some(proxy) = proxy::documented_haproxy_of("standby", servers)? else { return Ok(()) };
    wait_until(PATIENCE, "a call that writes reaches the primary", || {
        status_of(proxy.http, &write).is_ok_and(|status| status == 204)
    })?;
    let place = || Ok::<_, anyhow::Error>(proxy.http.get("/api/place-in-tree")?.text());
    wait_until(PATIENCE, "reading calls go anywhere", || place().is_ok_and(|place| place == "standby"))?;
    wait_until(PATIENCE, "to both", || place().is_ok_and(|place| place == "primary"))?;
    let gateway = common::gateway_pid(&standby)?;
    let mut stream = listen(http, "/api/closed/info", Some(&alice))?;
    primary.stop(StopMode::Immediate)?;
    standby.promote()?;
    wait_until(PATIENCE, "its calls write", || status_of(http, &write).is_ok_and(|status| status == 204))?;
    wait_until(PATIENCE, "and so they do by way of the proxy", || {
        status_of(proxy.http, &write).is_ok_and(|status| status == 204)
    })?;
    assert_eq!(standby.sql("select count(*) > 1 from note")?, "t");
    standby.sql("select closed('promoted')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "promoted", "its stream is still there");
    assert_eq!(common::gateway_pid(&standby)?, gateway, "nothing was started again");
    // What changes now is told as on any primary, and what was refused on the old one stays so.
    standby.sql(&announcer("later", "@sse"))?;
    wait_for_status(http, "/api/later/info", 200, SOON)?;
    assert_eq!(status_of(http, &get("/api/closed/info", Some(&eve)))?, 401);
    standby.sql("select sse.disconnect('1')")?;
    stream.wait_for_end(SOON)?;
    standby.comes_to(SOON, "it is in the table", table, "2")
}

// Attack: as many slow calls as there are workers. What the proxy asks waits behind them.
#[test]
fn slow_calls_are_not_cut_off_by_the_documented_proxy() -> Result<()> {
    let primary = start(builder().setting("sse.call_workers", 1))?;
    primary.sql(
        "create function place_in_tree() returns text language sql stable as $$ select 'primary' $$;
         comment on function place_in_tree() is E'HTTP GET\n@anonymous';
         create function linger(seconds float) returns text language sql as $$ select 'waited' from pg_sleep(seconds) $$;
         comment on function linger(float) is 'HTTP POST'",
    )?;
    // At the other one nobody listens.
    let servers = [primary.http()?.address(), ([127, 0, 0, 1], 1).into()];
    let Some(proxy) = proxy::documented_haproxy_of("standby", servers)? else { return Ok(()) };
    let linger = |seconds: u32| post("/api/linger", &format!(r#"{{"seconds": {seconds}}}"#));
    let is_answered = || status_of(proxy.http, &linger(0)).is_ok_and(|status| status == 200);
    wait_until(PATIENCE, "the proxy has found the primary", is_answered)?;
    // Twice as long as the proxy waits for an answer to what it asks.
    let status = status_of(proxy.http, &linger(4))?;
    ensure!(status == 200, "{status}");
    wait_until(PATIENCE, "and takes it for the primary", is_answered)
}

#[test]
fn refusals_come_back_into_the_table_on_create_extension_and_are_for_superusers_alone() -> Result<()> {
    let primary = start(builder().setting("sse.durability", "wal"))?;
    let table = "select kind, convert_from(name, 'utf8'), moment > 0 from sse._refusals";
    primary.sql("select sse.disconnect('zoë')")?;
    primary.comes_to(SOON, "it is in the table", table, "user|zoë|t")?;
    primary.sql("drop extension pg_sse; create extension pg_sse")?;
    primary.comes_to(SOON, "it is there again", table, "user|zoë|t")?;
    let reply = primary.session()?.run("create role plain; set role plain; select * from sse._refusals")?;
    assert_eq!(reply.sqlstate(), Some("42501"));
    // Those who could dump the database before still can, and the dump names nobody.
    let dump = primary.tool("pg_dump").arg("--data-only").output()?;
    ensure!(dump.status.success() && !String::from_utf8_lossy(&dump.stdout).contains("_refusals"));
    Ok(())
}

#[test]
fn a_get_that_replay_has_cancelled_is_made_once_more() -> Result<()> {
    let Tree { primary, standby } = tree();
    let runs =
        "select count(*) from pg_stat_activity where query like '%get_slowly%' and wait_event = 'PgSleep'";
    for _ in 0..5 {
        primary.sql("insert into cleaned select from generate_series(1, 100)")?;
        standby.wait_for_replay(primary)?;
        let mut connection = standby.http()?.connect()?;
        connection.send(&Request::get("/api/get-slowly"))?;
        standby.comes_to(SOON, "it has found rows", runs, "1")?;
        primary.sql("delete from cleaned")?;
        // Truncating would take a lock as well, and cancel the second time, too.
        primary.sql("vacuum (truncate off) cleaned")?;
        let answer = connection.response("GET")?;
        // What others do on the primary may cancel a call, too, and it is made but twice.
        if answer.status() != 409 {
            assert_eq!((answer.status(), answer.text().as_str()), (200, "0"), "{:?}", answer.head);
            return Ok(());
        }
    }
    bail!("both were cancelled, five times")
}

#[test]
fn a_stream_of_the_standby_has_the_events_and_the_ids_of_the_primary() -> Result<()> {
    let Tree { primary, standby } = tree();
    let path = "/api/news/info";
    let (mut here, mut there) = (standby.http()?.events(path)?, primary.http()?.events(path)?);
    for stream in [&mut here, &mut there] {
        stream.ready()?;
    }
    primary.sql("select news('one')")?;
    primary.sql("begin; insert into note_id values (1); select news('two'); select news('three'); commit")?;
    let mut last = String::new();
    for text in ["one", "two", "three"] {
        let of_primary = there.next_payload(SOON).with_context(|| format!("{text} on the primary"))?;
        let of_standby = here.next_payload(SOON).with_context(|| format!("{text} on the standby"))?;
        assert_eq!((of_standby.data.as_str(), of_primary.data.as_str()), (text, text));
        assert_eq!(of_standby.id, of_primary.id);
        last = if text == "two" { of_standby.id.clone() } else { last };
    }
    // A reader may go on at any of them.
    for server in [primary, standby] {
        let mut resumed = server.http()?.events_after(path, &last)?;
        assert_eq!(resumed.next_payload(SOON).context("resumed")?.data, "three");
    }
    Ok(())
}

#[test]
fn a_snapshot_of_the_standby_is_cut_from_what_is_replayed() -> Result<()> {
    let Tree { primary, standby } = tree();
    primary.sql("insert into counted values (1)")?;
    standby.wait_for_replay(primary)?;
    let mut stream = standby.http()?.events("/api/count-up/info")?;
    let first = stream.next_payload(SOON)?;
    assert_eq!((first.event.as_str(), first.data.as_str()), ("state", "1"));
    for n in 2..20 {
        primary.sql("select count_up()")?;
        assert_eq!(stream.next_payload(SOON)?.data, n.to_string());
        // Each new one begins with a state, and goes on with what is not in it.
        let mut other = standby.http()?.events("/api/count-up/info")?;
        assert_eq!(other.next_payload(SOON)?.data, n.to_string());
    }
    Ok(())
}
