//! The SQL of NpgsqlRest's guides about publishing runs here as it stands: no WARNING, and what it raises
//! reaches alice, bob, an admin, a manager and an anonymous subscriber as the guides say.
//!
//! Left out are what C9 names: the variants of `.sql` files and one RAISE that is not valid PL/pgSQL.
//!
//! Not for their applications: `chat.rs` runs them whole, over HTTP.

mod common;

use anyhow::{Result, ensure};
use cluster::{Cluster, Session};
use common::tokens::{Audience, builder, is_quiet};

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
    let cluster = builder().start()?;
    let mut session = cluster.session()?;
    run_all(&mut session, scripts)?;
    run_all(&mut session, &[OPEN])?;
    assert_eq!(cluster.sql("select problem from sse.endpoints where problem is not null")?, "");
    Ok(cluster)
}

#[test]
fn the_scopes_of_the_tutorial_reach_whom_it_says() -> Result<()> {
    let cluster = prepared(&[])?;
    let mut audience = Audience::of_everybody(&cluster, "/api/own/info")?;
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
    let mut audience = Audience::of_everybody(&cluster, "/api/own/info")?;
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
    let mut audience = Audience::of_everybody(&cluster, "/api/own/info")?;
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
    let mut audience = Audience::of_everybody(&cluster, "/api/own/info")?;
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
