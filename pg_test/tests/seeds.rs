//! The SQL of NpgsqlRest's guides about publishing runs here as it stands: no WARNING, and what it raises
//! reaches alice, bob, an admin, a manager and an anonymous subscriber as the guides say.
//!
//! Left out are what C9 names: the variants of `.sql` files and one RAISE that is not valid PL/pgSQL. Not for
//! the chats of the guides, which are used over HTTP: `chat.rs`; nor for every scope and hint: `scopes.rs`,
//! `matching.rs`.

mod common;

use anyhow::Result;
use cluster::Cluster;
use common::tokens::{Audience, builder, is_quiet};

/// Also with a stream for which no user is asked.
fn prepared(scripts: &[&str]) -> Result<Cluster> {
    let cluster = builder().start()?;
    let mut session = cluster.session()?;
    for script in scripts {
        is_quiet(session.run(script)?)?;
    }
    cluster
        .sql("create function own() returns void language sql as ''; comment on function own() is '@sse'")?;
    assert_eq!(cluster.sql("select problem from sse.endpoints where problem is not null")?, "");
    Ok(cluster)
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
