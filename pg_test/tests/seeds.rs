//! The SQL of NpgsqlRest's guides about publishing runs here as it stands: no WARNING, and what it raises
//! reaches alice, bob, an admin, a manager and an anonymous subscriber as the guides say.
//!
//! Left out are what C9 names: the variants of `.sql` files and one RAISE that is not valid PL/pgSQL. Calls
//! over HTTP are not part of it: the SQL is called from psql.

mod common;

use anyhow::{Result, ensure};
use cluster::{Cluster, Session};
use common::guide::{GUIDE, TUTORIAL};
use common::tokens::{ALICE, Audience, MANAGER, builder, get, is_quiet, issue, quoted, status_of};
use common::{has_extension, status};

const EVERYBODY: &str = "nobody alice bob admin manager";
const AUTHENTICATED: &str = "alice bob admin manager";

/// A stream for which no user is asked.
const OPEN: &str =
    "create function own() returns void language sql as ''; comment on function own() is '@sse'";

fn run_all(session: &mut Session, scripts: &[&str]) -> Result<()> {
    for script in scripts {
        is_quiet(session.run(script)?)?;
    }
    Ok(())
}

fn prepared(scripts: &[&str]) -> Result<Cluster> {
    let cluster = builder().setting("sse.user_parameters", "on").start()?;
    let mut session = cluster.session()?;
    run_all(&mut session, scripts)?;
    run_all(&mut session, &[OPEN])?;
    // Nothing is called here.
    let others = "select problem from sse.endpoints where problem !~ 'calls are off'";
    assert_eq!(cluster.sql(others)?, "");
    Ok(cluster)
}

#[test]
fn the_chat_of_the_tutorial_reaches_the_authenticated_of_its_channel() -> Result<()> {
    if !has_extension(env!("CARGO_CRATE_NAME"), "pgcrypto")? {
        return Ok(());
    }
    let cluster = prepared(&TUTORIAL)?;
    let path = "/api/example-8/send-message/info";
    assert_eq!(cluster.sql("select sse.url('example_8.send_message(text, text, text)')")?, path);
    let channel = format!("{path}?TEST_CHANNEL");
    assert_eq!(status(cluster.http()?, &channel)?, 401, "its stream is for the authenticated");
    let mut audience = Audience::new(&cluster)?;
    audience.joins("anonymous", None, "/api/own/info?TEST_CHANNEL")?;
    for (label, query) in [
        ("test", "?TEST_CHANNEL"),
        ("general", "?general"),
        ("team", "?team-123"),
        ("notifications", "?notifications"),
        ("none", "?"),
    ] {
        audience.joins(label, Some(ALICE), &format!("{path}{query}"))?;
    }
    let mut session = cluster.session()?;
    let call = "call example_8.send_message('Hello', '1', 'alice')";
    for (id, expected) in [
        ("TEST_CHANNEL", "test none"),
        ("general", "general none"),
        ("team-123", "team none"),
        ("", "test general team notifications none"),
    ] {
        session.run(&format!("set sse.execution_id = '{id}'"))?.ok()?;
        assert_eq!(audience.who_hears(&mut session, call)?, expected, "{id:?}");
    }
    session
        .run("set sse.execution_id = 'TEST_CHANNEL'; call example_8.send_message('Hi', '2', 'bob')")?
        .ok()?;
    let heard = audience.heard()?;
    let message: serde_json::Value = serde_json::from_str(&heard["test"][0])?;
    assert_eq!(message["message_text"], "Hi");
    assert_eq!(message["username"], "bob");
    assert_eq!(cluster.sql("select count(*) from example_8.get_messages()")?, "5");
    assert_eq!(cluster.sql("select * from example_8.login('alice', 'password123')")?, "cookies|1|alice");
    Ok(())
}

#[test]
fn the_scopes_of_the_tutorial_reach_whom_it_says() -> Result<()> {
    let cluster = prepared(&[])?;
    let mut audience = Audience::new(&cluster)?;
    audience.everybody_joins("/api/own/info")?;
    let mut session = cluster.session()?;
    for (name, comment, expected) in [
        ("private_broadcast", "'\n@sse\n@sse_scope authorize'", AUTHENTICATED),
        ("admin_notification", "'\n@sse\n@sse_scope authorize admin'", "admin"),
        ("user_alert", "'\n@sse\n@sse_scope authorize alice, bob'", "alice bob"),
        ("public_announcement", "'\n@sse\n@sse_scope all'", EVERYBODY),
    ] {
        let created = format!(
            "create procedure {name}() language plpgsql as $$ begin raise info '{name}'; end $$;
             comment on procedure {name}() is {comment};"
        );
        run_all(&mut session, &[&created])?;
        assert_eq!(audience.who_hears(&mut session, &format!("call {name}()"))?, expected, "{name}");
    }
    Ok(())
}

/// "Clients with matching security context receive events": by roles, user names and user ids.
#[test]
fn a_team_update_reaches_whose_context_matches() -> Result<()> {
    let cluster = prepared(&[
        "create procedure team_update() language plpgsql as $$ begin raise info 'update'; end $$;",
        "comment on procedure team_update() is '
@sse
@sse_scope matching';",
    ])?;
    let mut audience = Audience::new(&cluster)?;
    audience.everybody_joins("/api/own/info")?;
    for (settings, expected) in [
        ("set request.user_id = '1'", "alice"),
        ("set request.user_name = 'bob'", "bob"),
        ("set request.user_roles = 'staff'", "bob manager"),
        ("set request.user_id = '1'; set request.user_roles = 'admin, staff'", "alice bob admin manager"),
        ("", ""),
    ] {
        let mut session = cluster.session()?;
        if !settings.is_empty() {
            session.run(settings)?.ok()?;
        }
        assert_eq!(audience.who_hears(&mut session, "call team_update()")?, expected, "{settings}");
    }
    Ok(())
}

#[test]
fn the_hints_of_both_guides_choose_the_audience_of_one_event() -> Result<()> {
    let cluster = prepared(&["create procedure alerts(_user_id int) language plpgsql as $$
begin
-- This event goes to admins only
raise notice 'Admin alert: server load high' using hint = 'authorize admin';
-- This event goes to everyone
raise notice 'System maintenance in 5 minutes' using hint = 'all';
-- only specific users, by username or id
raise notice 'Your report is ready' using hint = format('authorize %s', _user_id);
-- This uses the default scope from annotation
raise notice 'Regular update...';
end $$;
comment on procedure alerts(int) is '
@sse on notice
@sse_scope authorize manager';"])?;
    let mut audience = Audience::new(&cluster)?;
    audience.everybody_joins("/api/own/info")?;
    cluster.sql("call alerts(1)")?;
    let heard = audience.heard()?;
    let [admin, all, report, regular] = [
        "Admin alert: server load high",
        "System maintenance in 5 minutes",
        "Your report is ready",
        "Regular update...",
    ];
    assert_eq!(heard["nobody"], [all]);
    assert_eq!(heard["alice"], [all, report]);
    assert_eq!(heard["bob"], [all]);
    assert_eq!(heard["admin"], [admin, all]);
    assert_eq!(heard["manager"], [all, regular]);
    // `format` makes a hint without a user here; such an event is not for everybody.
    cluster.sql("call alerts(null)")?;
    let heard = audience.heard()?;
    assert_eq!(heard["alice"], [all]);
    assert_eq!(heard["manager"], [all, regular]);
    Ok(())
}

#[test]
fn only_the_level_of_the_annotation_is_published() -> Result<()> {
    let cluster = prepared(&[])?;
    let mut audience = Audience::new(&cluster)?;
    audience.everybody_joins("/api/own/info")?;
    let mut session = cluster.session()?;
    for (comment, url, expected) in [
        ("@sse", "/api/p/info", "info"),
        ("@sse my_events on notice", "/api/p/my_events", "notice"),
        ("@sse\n@sse_events_level notice", "/api/p/notice", "notice"),
        ("@sse\n@sse_events_level warning", "/api/p/warning", "warning"),
    ] {
        let created = format!(
            "drop procedure if exists p();
             create procedure p() language plpgsql as $$
             begin raise info 'info'; raise notice 'notice'; raise warning 'warning'; end $$;
             comment on procedure p() is '{comment}';"
        );
        run_all(&mut session, &[&created])?;
        assert_eq!(cluster.sql("select sse.url('p()')")?, url, "{comment:?}");
        session.run("call p()")?.ok()?;
        for (label, heard) in audience.heard()? {
            assert_eq!(heard, [expected], "{comment:?}: {label}");
        }
    }
    Ok(())
}

#[test]
fn the_chat_of_the_guide_reaches_the_authenticated_on_any_stream() -> Result<()> {
    let cluster = prepared(&GUIDE)?;
    let mut audience = Audience::new(&cluster)?;
    audience.everybody_joins("/api/own/info")?;
    audience.joins("chatting", Some(ALICE), "/api/send-message/info")?;
    let mut session = cluster.session()?;
    let heard = audience.who_hears(&mut session, "call send_message('Hello!', '1', 'alice')")?;
    assert_eq!(heard, format!("{AUTHENTICATED} chatting"));
    assert_eq!(cluster.sql("select message_text, username from get_messages()")?, "Hello!|alice");
    Ok(())
}

/// "The browser subscribes to GET /api/user-events-subscribe/info; when a manager calls update_user_roles,
/// only the targeted user's connection receives the event."
#[test]
fn publish_and_subscribe_apart_as_in_the_guide() -> Result<()> {
    let cluster = prepared(&GUIDE)?;
    let http = cluster.http()?;
    let path = "/api/user-events-subscribe/info";
    assert_eq!(status(http, path)?, 401);
    let mut audience = Audience::new(&cluster)?;
    audience.joins("nobody", None, "/api/own/info")?;
    for (label, person) in [
        ("alice", ALICE),
        ("bob", common::tokens::BOB),
        ("admin", common::tokens::ADMIN),
        ("manager", MANAGER),
    ] {
        audience.joins(label, Some(person), path)?;
    }
    let mut session = cluster.session()?;
    for (id, expected) in [("1", "alice"), ("2", "bob"), ("3", "admin"), ("42", ""), ("null", "")] {
        let call = format!("call update_user_roles({id}, array[{}])", quoted("a"));
        assert_eq!(audience.who_hears(&mut session, &call)?, expected, "{id}");
    }
    // The emitter has a stream of its own, for managers.
    let own = "/api/update-user-roles/info";
    let mut door = Vec::new();
    for person in [ALICE, MANAGER] {
        door.push(status_of(http, &get(own, Some(&issue(&cluster, person)?)))?);
    }
    assert_eq!((status(http, own)?, door), (401, vec![403, 200]));
    Ok(())
}

#[test]
fn the_guides_annotations_mean_what_it_says() -> Result<()> {
    let cluster = prepared(&[])?;
    let mut session = cluster.session()?;
    run_all(&mut session, &["create procedure p() language plpgsql as $$ begin raise info 'x'; end $$"])?;
    for (comment, scope) in [
        ("@sse_scope all", "all"),
        ("@sse_scope authorize", "authorize"),
        ("@sse_scope authorize admin, manager", "authorize admin, manager"),
        ("@sse_scope matching", "matching"),
    ] {
        let reply = session.run(&format!("comment on procedure p() is '@sse\n{comment}'"))?.ok()?;
        ensure!(reply.messages.is_empty(), "{comment:?}: {:?}", reply.messages);
        let row = cluster
            .sql("select url, scope, problem from sse.endpoints where routine = 'p()'::regprocedure")?;
        assert_eq!(row, format!("/api/p/info|{scope}|"), "{comment:?}");
    }
    Ok(())
}
