//! Who publishes, what is sent, and when (C3.1, C3.4, C5).

mod common;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::Cluster;
use common::{Corner, SOON};

#[test]
fn an_insert_shows_its_event_at_once_on_the_url_that_endpoints_gives() -> Result<()> {
    let corner = Corner::new("insert_feed")?;
    let mut session = corner.session()?;
    session
        .run(
            "create table news (id int generated always as identity, title text);
         create function added() returns trigger language plpgsql as $f$
         begin raise info '%', to_json(new); return null; end $f$;
         comment on function added() is 'Tells every page.\n\n@sse\n@sse_scope all';
         create trigger added after insert on news for each row execute function added()",
        )?
        .ok()?;
    let url =
        session.run("select url from sse.endpoints where routine = 'added()'::regprocedure")?.ok()?.text();
    assert_eq!(session.run("select sse.url('added()')")?.ok()?.text(), url);
    let mut stream = corner.http.events(&format!("{url}?insert_feed"))?;
    session.run("insert into news (title) values ('Hello')")?.ok()?;
    let event = stream.next_payload(Duration::from_secs(2))?;
    let row: serde_json::Value = serde_json::from_str(&event.data)?;
    assert_eq!((event.event.as_str(), &row["title"]), ("message", &"Hello".into()));
    Ok(())
}

#[test]
fn who_reacts_to_an_event_by_reading_sees_the_row() -> Result<()> {
    let corner = Corner::new("visible")?;
    corner.sql(
        "create table t (id int);
         create function added() returns trigger language plpgsql as $f$
         begin raise info '%', new.id; return null; end $f$;
         comment on function added() is '@sse';
         create trigger added after insert on t for each row execute function added()",
    )?;
    let mut stream = corner.stream("added/info")?;
    let (mut writer, mut reader) = (corner.session()?, corner.session()?);
    for id in 0..50 {
        // Sent without being waited for: the event may arrive before the writer knows of its commit.
        writer.send(&format!("insert into t values ({id})"))?;
        assert_eq!(stream.next_payload(SOON)?.data, id.to_string());
        let seen = reader.run(&format!("select count(*) from t where id = {id}"))?.ok()?.text();
        assert_eq!(seen, "1", "row {id}");
        writer.wait(SOON)?.ok()?;
    }
    Ok(())
}

#[test]
fn an_event_is_not_sent_while_its_commit_waits_and_its_row_cannot_be_seen() -> Result<()> {
    // A commit that waits for a synchronous standby is written and not visible yet; this makes that moment as
    // long as possible.
    let cluster = Cluster::builder()
        .setting("synchronous_standby_names", "nobody")
        .setting("synchronous_commit", "local")
        .start()?;
    let corner = Corner::of(&cluster, "unseen")?;
    corner.announcer("f", "@sse")?;
    corner.sql("create table t (id int)")?;
    let mut stream = corner.stream("f/info")?;
    let mut writer = corner.session_with("-c synchronous_commit=on")?;
    let pid = writer.backend_pid()?;
    writer.send("with x as (insert into t values (1) returning id) select f('row') from x")?;
    let waits = format!("select wait_event = 'SyncRep' from pg_stat_activity where pid = {pid}");
    cluster.comes_to(SOON, "the commit waits", &waits, "t")?;
    assert_eq!(corner.sql("select count(*) from t")?, "0", "the row cannot be seen");
    corner.sql("select f('of another')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "of another");
    cluster.sql(&format!("select pg_cancel_backend({pid})"))?;
    assert_eq!(stream.next_payload(SOON)?.data, "row");
    assert_eq!(corner.sql("select count(*) from t")?, "1");
    writer.wait(SOON)?;
    Ok(())
}

#[test]
fn an_event_waits_for_its_commit_and_goes_with_its_rollback() -> Result<()> {
    let corner = Corner::new("commits")?;
    let mut stream = corner.announced("f", "@sse")?;
    let mut session = corner.session()?;
    session.run("begin; select f('rolled back'); rollback")?.ok()?;
    session
        .run("begin; select f('one'); savepoint s; select f('undone'); rollback to s; select f('two')")?
        .ok()?;
    let mut other = corner.session()?;
    other.run("select f('of another')")?.ok()?;
    assert_eq!(stream.next_payload(SOON)?.data, "of another", "nothing is sent before the commit");
    session.run("commit")?.ok()?;
    assert_eq!(stream.next_data(2, SOON)?, ["one", "two"]);
    Ok(())
}

#[test]
fn events_of_one_session_keep_their_order_and_all_streams_see_one_order() -> Result<()> {
    let corner = Corner::new("ordered")?;
    corner.announcer("f", "@sse")?;
    let mut streams = [corner.stream("f/info")?, corner.stream("f/info")?];
    let mut sessions = [corner.session()?, corner.session()?];
    for (number, session) in sessions.iter_mut().enumerate() {
        session.send(&format!(
            "do $d$ begin for i in 1..300 loop perform f('{number} ' || i); commit; end loop; end $d$"
        ))?;
    }
    let [first, second] = streams.each_mut().map(|stream| stream.next_data(600, SOON));
    let (first, second) = (first?, second?);
    assert_eq!(first, second);
    for number in 0..2 {
        let mine: Vec<&String> =
            first.iter().filter(|data| data.starts_with(&format!("{number} "))).collect();
        let expected: Vec<String> = (1..=300).map(|i| format!("{number} {i}")).collect();
        assert_eq!(mine, expected.iter().collect::<Vec<_>>());
    }
    for session in &mut sessions {
        session.wait(SOON)?.ok()?;
    }
    Ok(())
}

#[test]
fn publish_takes_all_its_arguments() -> Result<()> {
    let corner = Corner::new("arguments")?;
    let mut stream = corner.announced("f", "@sse")?;
    let mut session = corner.session()?;
    session.run("select sse.publish('plain')")?.ok()?;
    session.run("select sse.publish('named', event => 'order.paid')")?.ok()?;
    session.run("select sse.publish('for nobody here', execution_id => 'somebody else')")?.ok()?;
    session.run("select sse.publish('with a topic', topic => 'a topic')")?.ok()?;
    session.run("begin; select sse.publish('at once', 'all', null, null, 'arguments', 'immediate')")?.ok()?;
    let mut events = Vec::new();
    for _ in 0..3 {
        let event = stream.next_payload(SOON)?;
        events.push((event.event, event.data));
    }
    let expected = [("message", "plain"), ("order.paid", "named"), ("message", "at once")];
    assert_eq!(events, expected.map(|(name, data)| (name.to_owned(), data.to_owned())));
    session.run("select sse.publish('at commit', delivery => 'commit'); rollback")?.ok()?;
    session.run("select sse.publish('')")?.ok()?;
    assert_eq!(stream.next_payload(SOON)?.data, "");
    Ok(())
}

#[test]
fn wrong_arguments_of_publish_are_clear_errors() -> Result<()> {
    let corner = Corner::new("wrong_arguments")?;
    let mut session = corner.session()?;
    let long = "x".repeat(201);
    for (arguments, name) in [
        ("null", "data"),
        ("'x', scope => 'everybody'", "scope"),
        ("'x', scope => 'authorise a'", "scope"),
        ("'x', event => 'sse.gap'", "event"),
        ("'x', event => 'two words'", "event"),
        ("'x', event => ''", "event"),
        ("'x', event => E'a\\ndata: b'", "event"),
        ("'x', topic => ''", "topic"),
        (&format!("'x', topic => '{long}'"), "topic"),
        (&format!("'x', execution_id => '{long}'"), "execution_id"),
        ("'x', delivery => 'later'", "delivery"),
    ] {
        let reply = session.run(&format!("select sse.publish({arguments})"))?;
        let error = reply.error().with_context(|| format!("{arguments} was accepted"))?;
        assert_eq!(error.sqlstate.as_deref(), Some("22023"), "{arguments}: {error:?}");
        ensure!(error.text.contains(name), "{arguments}: {}", error.text);
    }
    Ok(())
}

// Attack: none is needed. An anonymous subscriber gets what a routine of everybody's raises for one user,
// because the hint that was to say so begins without `authorize`.
#[test]
fn a_hint_that_could_name_receivers_reaches_nobody_and_is_counted() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let corner = Corner::of(&cluster, "meant")?;
    corner.sql(
        "create function tell(h text) returns void language plpgsql as $f$ begin raise info 'for %', h using hint = h; end $f$;
         comment on function tell(text) is '@sse'",
    )?;
    let mut stream = corner.stream("tell/info")?;
    let slips = [
        "id:42",
        "role:admin",
        "name:bob",
        "user:42",
        "admin",
        "self",
        "authenticated",
        "private",
        "calller",
        "matchin",
        "nobody",
        "id:42, id:43",
        "ROLE:a name:b",
        "\"role:sales team\"",
        "role: admin",
    ];
    for hint in slips {
        corner.sql(&format!("select tell('{hint}')"))?;
    }
    let figure = |name| common::figure(&cluster, "stat_ring", name);
    assert_eq!(figure("misspelt_hint_total")?, slips.len() as i64);
    corner.sql(
        "select tell('Please retry'); select tell(''); select tell(' '); select tell('id:42 is taken')",
    )?;
    assert_eq!(stream.next_data(4, SOON)?, ["for Please retry", "for ", "for  ", "for id:42 is taken"]);
    assert_eq!(figure("misspelt_hint_total")?, slips.len() as i64);
    Ok(())
}

#[test]
fn publish_in_a_database_that_is_not_served_does_nothing_but_one_warning_per_session() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    cluster.sql("create database other")?;
    let mut session = cluster
        .session_with(&cluster::SessionOptions { database: "other".to_owned(), ..Default::default() })?;
    session.run("create extension pg_sse")?.ok()?;
    let corner = Corner::of(&cluster, "served")?;
    let mut stream = corner.announced("f", "@sse")?;
    assert_eq!(session.run("select sse.publish('1')")?.ok()?.texts("WARNING").len(), 1);
    assert!(session.run("select sse.publish('2')")?.ok()?.messages.is_empty());
    corner.sql("select f('end')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "end");
    Ok(())
}

#[test]
fn publish_without_the_preload_does_nothing_but_one_warning_per_session() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    cluster.sql("create table t (id int); create function p() returns trigger language plpgsql as $f$ begin perform sse.publish('x'); return null; end $f$;
                 create trigger p after insert on t for each row execute function p()")?;
    cluster.configure("shared_preload_libraries", "")?;
    cluster.restart(cluster::StopMode::Fast)?;
    let mut session = cluster.session()?;
    let reply = session.run("insert into t values (1), (2)")?.ok()?;
    assert_eq!(reply.texts("WARNING").len(), 1, "{:?}", reply.messages);
    assert!(session.run("insert into t values (3)")?.ok()?.messages.is_empty());
    Ok(())
}
