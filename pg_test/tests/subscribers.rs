//! Who is listening (`sse.subscribers`, C8.1), and ending it (`sse.disconnect`, C4.8).

mod common;

use std::fs;

use anyhow::Result;
use cluster::http::StreamError;
use cluster::{Cluster, StopMode, wait_until};
use common::tokens::{ALICE, BOB, builder, get, issue, listen, status_of};
use common::{SOON, announcer, gateway_pid, wait_for_status};

const PATH: &str = "/api/closed/info";

fn furnished() -> Result<Cluster> {
    let cluster = builder().start()?;
    cluster.sql(&announcer("closed", "@sse\n@authorize"))?;
    cluster.sql(&announcer("open", "@sse\n@sse_topic news"))?;
    Ok(cluster)
}

fn refused(cluster: &Cluster, token: &str) -> Result<bool> {
    Ok(status_of(cluster.http()?, &get(PATH, Some(token)))? == 401)
}

#[test]
fn open_streams_are_listed_with_who_listens_to_what() -> Result<()> {
    let cluster = furnished()?;
    assert_eq!(cluster.sql("select count(*) from sse.subscribers")?, "0");
    let http = cluster.http()?;
    let mut alice = listen(http, PATH, Some(&issue(&cluster, ALICE)?))?;
    let anonymous = listen(http, "/api/open/info?topic=weather", None)?;
    cluster.sql("select closed('one'); select closed('two')")?;
    assert_eq!(alice.next_data(2, SOON)?, ["one", "two"]);
    let rows = cluster.sql(
        "select address, user_id, user_name, url, topics, events, bytes > 0, last_event_id <> '',
                connected_at between now() - interval '1 minute' and now() + interval '1 second'
           from sse.subscribers order by url",
    )?;
    assert_eq!(
        rows,
        "127.0.0.1|1|alice|/api/closed/info|{}|2|t|t|t\n127.0.0.1|||/api/open/info|{news,weather}|0|t|t|t"
    );
    drop(anonymous);
    cluster.comes_to(SOON, "who has left is not listed", "select count(*) from sse.subscribers", "1")
}

// Attack: reading who listens without being allowed to.
#[test]
fn only_pg_monitor_sees_the_subscribers_and_nobody_else_may_disconnect() -> Result<()> {
    let cluster = furnished()?;
    cluster.sql("create role plain; create role watcher in role pg_monitor")?;
    let mut session = cluster.session()?;
    for (role, sql, allowed) in [
        ("plain", "select count(*) from sse.subscribers", false),
        ("plain", "select sse._subscribers()", false),
        ("watcher", "select count(*) from sse.subscribers", true),
        ("plain", "select sse.disconnect('1')", false),
        ("watcher", "select sse.disconnect('1')", false),
    ] {
        session.run(&format!("set role {role}"))?.ok()?;
        assert_eq!(session.run(sql)?.ok().is_ok(), allowed, "{role}: {sql}");
        session.run("reset role")?.ok()?;
    }
    Ok(())
}

#[test]
fn disconnect_ends_that_users_streams_and_no_others_and_refuses_older_tokens() -> Result<()> {
    let cluster = furnished()?;
    let http = cluster.http()?;
    let old = issue(&cluster, ALICE)?;
    let mut first = listen(http, PATH, Some(&old))?;
    let mut second = listen(http, PATH, Some(&old))?;
    let mut bob = listen(http, PATH, Some(&issue(&cluster, BOB)?))?;
    // At once, also in a transaction that rolls back.
    let mut session = cluster.session()?;
    session.run("begin; select sse.disconnect('1'); rollback")?.ok()?;
    for stream in [&mut first, &mut second] {
        assert!(matches!(stream.next(SOON), Err(StreamError::Ended)), "a clean end");
    }
    assert!(refused(&cluster, &old)?);
    cluster.sql("select closed('still here')")?;
    assert_eq!(bob.next_payload(SOON)?.data, "still here");
    let mut again = listen(http, PATH, Some(&issue(&cluster, ALICE)?))?;
    cluster.sql("select closed('welcome')")?;
    assert_eq!(again.next_payload(SOON)?.data, "welcome", "a token made afterwards is good");
    Ok(())
}

#[test]
fn a_refusal_outlives_the_gateway_the_server_and_a_crash() -> Result<()> {
    let cluster = furnished()?;
    let (alice, bob) = (issue(&cluster, ALICE)?, issue(&cluster, BOB)?);
    cluster.sql("select sse.disconnect('1')")?;
    let pid = gateway_pid(&cluster)?;
    cluster.sql(&format!("select pg_terminate_backend({pid})"))?;
    wait_until(SOON, "another gateway serves", || {
        gateway_pid(&cluster).is_ok_and(|now| now != pid)
            && cluster.http().is_ok_and(|http| wait_for_status(http, "/healthz", 200, SOON).is_ok())
    })?;
    assert!(refused(&cluster, &alice)?, "after another gateway");
    for mode in [StopMode::Fast, StopMode::Immediate] {
        cluster.restart(mode)?;
        wait_for_status(cluster.http()?, "/healthz", 200, SOON)?;
        assert!(refused(&cluster, &alice)?, "after a restart");
        assert!(!refused(&cluster, &bob)?, "and nobody else");
    }
    Ok(())
}

#[test]
fn what_cannot_be_written_is_an_error_and_changes_nothing() -> Result<()> {
    let cluster = furnished()?;
    let alice = issue(&cluster, ALICE)?;
    let mut session = cluster.session()?;
    let empty = session.run("select sse.disconnect('')")?;
    assert!(empty.ok().is_err_and(|error| error.to_string().contains("empty")));
    // It serves by now, and has read that there is no such file.
    cluster.http()?;
    let file = cluster.data_dir().join("pg_sse.revocations");
    fs::create_dir(&file)?;
    let reply = session.run("select sse.disconnect('1')")?;
    assert!(reply.ok().is_err_and(|error| error.to_string().contains("cannot be written")));
    assert!(!refused(&cluster, &alice)?);

    // A gateway that cannot read the file cannot tell who is refused, so it lets nobody in until it can.
    let mark = cluster.log_mark()?;
    cluster.sql(&format!("select pg_terminate_backend({})", gateway_pid(&cluster)?))?;
    cluster.wait_for_log(mark, "the file of refusals cannot be read")?;
    wait_for_status(cluster.http()?, "/healthz", 503, SOON)?;
    fs::remove_dir(&file)?;
    wait_for_status(cluster.http()?, "/healthz", 200, SOON)?;
    Ok(())
}
