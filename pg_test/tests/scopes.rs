//! Each scope, in an annotation and in a hint, reaches exactly those it names (C4.2, C4.3), and so do
//! execution ids (C4.4): the tables of the guides, cell by cell.
//!
//! Not for random combinations (`leak.rs`), nor for who is let in at the door (`door.rs`).

mod common;

use anyhow::{Result, ensure};
use cluster::{Cluster, Session};
use common::tokens::{ADMIN, ALICE, Audience, BOB, MANAGER, Person, builder, quoted};

/// A routine that raises its argument as INFO with a hint, none for null.
const SPEAKER: &str = "
    create or replace procedure speaks(hint text default null) language plpgsql as $f$
    begin
        if hint is null then raise info 'x'; else raise info 'x' using hint = hint; end if;
    end $f$;";

fn annotate(session: &mut Session, comment: &str) -> Result<()> {
    let reply = session.run(&format!("comment on procedure speaks(text) is {}", quoted(comment)))?.ok()?;
    ensure!(reply.messages.is_empty(), "{comment:?}: {:?}", reply.messages);
    Ok(())
}

/// A cluster with `speaks()` and the open stream `own/info`.
fn prepared() -> Result<Cluster> {
    let cluster = builder().start()?;
    cluster.sql(SPEAKER)?;
    cluster
        .sql("create function own() returns void language sql as ''; comment on function own() is '@sse'")?;
    Ok(cluster)
}

#[test]
fn an_annotations_scope_reaches_exactly_those_it_names() -> Result<()> {
    let cluster = prepared()?;
    let mut audience = Audience::of_everybody(&cluster, "/api/own/info")?;
    let mut session = cluster.session()?;
    for (comment, expected) in [
        ("@sse", "nobody alice bob admin manager"),
        ("@sse\n@sse_scope all", "nobody alice bob admin manager"),
        ("@sse\n@sse_scope authorize", "alice bob admin manager"),
        ("@sse\n@sse_scope authorize admin", "admin"),
        ("@sse\n@sse_scope authorize admin, manager", "admin manager"),
        ("@sse\n@sse_scope authorize alice, bob", "alice bob"),
        ("@sse\n@sse_scope authorize 1", "alice"),
        ("@sse\n@sse_scope authorize ALICE MANAGER", "alice manager"),
        ("@sse\n@sse_scope authorize id:1", "alice"),
        ("@sse\n@sse_scope authorize name:1, role:1", ""),
        ("@sse\n@sse_scope authorize id:alice", ""),
        ("@sse\n@sse_scope authorize role:staff", "bob manager"),
        ("@sse\n@sse_scope authorize name:staff", ""),
        ("@sse\n@sse_scope authorize nobody", ""),
        ("@sse\n@authorize", "alice bob admin manager"),
        ("@sse\n@authorize admin", "admin"),
        ("@sse\n@authorize admin\n@sse_scope all", "nobody alice bob admin manager"),
        ("@sse\n@anonymous", "nobody alice bob admin manager"),
        ("@sse\n@sse_scope matching", ""),
        ("@sse\n@authorize staff\n@sse_scope matching", "bob manager"),
    ] {
        annotate(&mut session, comment)?;
        assert_eq!(audience.who_hears(&mut session, "call speaks()")?, expected, "{comment:?}");
    }
    Ok(())
}

#[test]
fn a_hint_replaces_the_scope_of_its_event_and_of_no_other() -> Result<()> {
    let cluster = prepared()?;
    let mut audience = Audience::of_everybody(&cluster, "/api/own/info")?;
    let mut session = cluster.session()?;
    let everybody = "nobody alice bob admin manager";
    for (scope, without) in [("all", everybody), ("authorize bob", "bob"), ("matching", "")] {
        annotate(&mut session, &format!("@sse\n@sse_scope {scope}"))?;
        for (hint, expected) in [
            ("all", everybody),
            (" ALL ", everybody),
            ("authorize", "alice bob admin manager"),
            ("authorize admin", "admin"),
            // List included: bob is in no list but the annotation's (C4.3).
            ("authorize 1", "alice"),
            ("authorize admin, manager", "admin manager"),
            ("authorize alice, bob", "alice bob"),
            ("Authorize role:\"staff\"", "bob manager"),
            ("matching", ""),
            // For people (C3.3).
            ("Please retry", without),
            ("All rows were skipped", without),
            ("all of them", without),
            ("", without),
            // Slips: never wider than what was meant (C3.3).
            ("authorize ", ""),
            ("authorize ,", ""),
            ("authorize \"\"", ""),
            ("authorise admin", ""),
            ("autorize", ""),
            ("authorize \"alice", ""),
            ("authorize al\"ice", ""),
            ("authorize id: 1", ""),
            ("authorize:admin", ""),
            ("authorize\nadmin", ""),
            ("matching admin", ""),
            ("matchin", ""),
        ] {
            let sql = format!("call speaks({})", quoted(hint));
            assert_eq!(audience.who_hears(&mut session, &sql)?, expected, "{scope}: {hint:?}");
        }
        assert_eq!(audience.who_hears(&mut session, "call speaks()")?, without, "{scope}: nothing is kept");
    }
    let slips = cluster.log()?.matches("looks like a scope, but is not one").count();
    assert_eq!(slips, 1, "said once for each routine");
    assert_eq!(common::figure(&cluster, "stat_ring", "misspelt_hint_total")?, 3 * 11);
    Ok(())
}

// A list so long that an implementation might cut it off, or give up and let everybody in.
#[test]
fn a_hint_of_a_thousand_names_reaches_those_names_and_one_name_more_nobody() -> Result<()> {
    let cluster = prepared()?;
    let mut audience = Audience::of_everybody(&cluster, "/api/own/info")?;
    let mut session = cluster.session()?;
    annotate(&mut session, "@sse")?;
    let hint = |count: usize, last: &str| {
        format!(
            "do $$ declare hint text := 'authorize ' || string_agg('user' || i, ', ') || '{last}'
                                       from generate_series(1, {count}) i;
             begin call speaks(hint); end $$"
        )
    };
    assert_eq!(audience.who_hears(&mut session, &hint(999, ""))?, "");
    assert_eq!(audience.who_hears(&mut session, &hint(999, ", alice"))?, "alice");
    assert_eq!(audience.who_hears(&mut session, &hint(1000, ", alice"))?, "", "a thousand and one");
    assert_eq!(audience.who_hears(&mut session, &hint(10_000, ", alice"))?, "");
    assert_eq!(audience.who_hears(&mut session, &hint(999, ", \"alice"))?, "", "an unclosed quote");
    Ok(())
}

#[test]
fn the_hint_of_sse_authorize_reaches_those_given_to_it() -> Result<()> {
    let cluster = prepared()?;
    let mut audience = Audience::of_everybody(&cluster, "/api/own/info")?;
    let odd = Person { id: "9, 1", name: "o\"dd, \"\"alice", roles: &["sales team", "a,b", "all", "Ünï"] };
    audience.joins("odd", Some(odd), "/api/own/info")?;
    let mut session = cluster.session()?;
    annotate(&mut session, "@sse")?;
    for (values, expected) in [
        ("'1'", "alice"),
        ("null, 'alice', null, 'role:admin'", "alice admin"),
        ("null", ""),
        ("variadic '{}'::text[]", ""),
        ("''", ""),
        ("'9, 1'", "odd"),
        ("'name:o\"dd, \"\"alice'", "odd"),
        ("'sales team'", "odd"),
        ("'role:a,b'", "odd"),
        ("'a', 'b'", ""),
        // A role named `all` is a role.
        ("'all'", "odd"),
        ("'authorize'", ""),
        ("'Ünï'", "odd"),
        // Without regard to the case of ASCII letters only.
        ("'üNÏ'", ""),
        ("'ÜNÏ'", ""),
        ("'ÜNï'", "odd"),
    ] {
        let sql = format!("call speaks(sse.authorize({values}))");
        assert_eq!(audience.who_hears(&mut session, &sql)?, expected, "{values}");
    }
    Ok(())
}

#[test]
fn the_scope_of_sse_publish_reaches_exactly_those_it_names() -> Result<()> {
    let cluster = prepared()?;
    let mut audience = Audience::of_everybody(&cluster, "/api/own/info")?;
    let mut session = cluster.session()?;
    for (scope, expected) in [
        ("", "nobody alice bob admin manager"),
        (", 'all'", "nobody alice bob admin manager"),
        (", 'authorize'", "alice bob admin manager"),
        (", 'authorize id:2, role:admin'", "bob admin"),
        (", 'matching'", ""),
        (", sse.authorize(null)", ""),
    ] {
        let sql = format!("select sse.publish('x'{scope})");
        assert_eq!(audience.who_hears(&mut session, &sql)?, expected, "{scope}");
    }
    for wrong in ["'authorise'", "''", "'authorize '", "'everyone'", "null"] {
        let reply = session.run(&format!("select sse.publish('x', {wrong})"))?;
        ensure!(reply.error().is_some(), "{wrong} was accepted");
    }
    let heard = audience.heard()?;
    ensure!(heard.values().all(Vec::is_empty), "{heard:?}");
    Ok(())
}

#[test]
fn hint_scoped_events_reach_two_roles_and_the_anonymous_in_order() -> Result<()> {
    let cluster = prepared()?;
    let a = Person { id: "a", name: "a", roles: &["role_a"] };
    let b = Person { id: "b", name: "b", roles: &["role_b"] };
    let mut audience = Audience::new(&cluster)?;
    for (label, person) in [("a", Some(a)), ("b", Some(b)), ("anonymous", None)] {
        audience.joins(label, person, "/api/own/info")?;
    }
    cluster.sql(
        "create procedure three() language plpgsql as $f$
         begin
            raise info 'for a' using hint = 'authorize role_a';
            raise info 'for the authenticated' using hint = 'authorize';
            raise info 'for all';
         end $f$;
         comment on procedure three() is '@sse';
         call three();",
    )?;
    let heard = audience.heard()?;
    assert_eq!(heard["a"], ["for a", "for the authenticated", "for all"]);
    assert_eq!(heard["b"], ["for the authenticated", "for all"]);
    assert_eq!(heard["anonymous"], ["for all"]);
    Ok(())
}

/// Both present and different: not delivered. Otherwise the scope decides.
#[test]
fn execution_ids_narrow_only_where_both_sides_have_one() -> Result<()> {
    let cluster = prepared()?;
    let mut audience = Audience::new(&cluster)?;
    for (label, query) in [
        ("none", ""),
        ("empty", "?"),
        ("test", "?TEST_CHANNEL"),
        ("case", "?test_channel"),
        ("named", "?id=TEST_CHANNEL"),
        ("general", "?general"),
        ("team", "?team-123"),
        ("encoded", "?team%20one"),
        ("form", "?id=team+one"),
        ("plus", "?team+one"),
    ] {
        audience.joins(label, Some(ALICE), &format!("/api/own/info{query}"))?;
    }
    audience.joins("anonymous", None, "/api/own/info?TEST_CHANNEL")?;
    let mut session = cluster.session()?;
    annotate(&mut session, "@sse\n@sse_scope authorize")?;
    for (id, expected) in [
        ("", "none empty test case named general team encoded form plus"),
        ("TEST_CHANNEL", "none empty test named"),
        ("general", "none empty general"),
        ("team-123", "none empty team"),
        ("team one", "none empty encoded form"),
        ("team+one", "none empty plus"),
        ("notifications", "none empty"),
    ] {
        session.run(&format!("set sse.execution_id = '{id}'"))?.ok()?;
        assert_eq!(audience.who_hears(&mut session, "call speaks()")?, expected, "{id:?}");
        let hinted = audience.who_hears(&mut session, "call speaks('authorize bob')")?;
        assert_eq!(hinted, "", "{id:?}: an id is no permission");
    }
    Ok(())
}

#[test]
fn people_of_several_streams_hear_on_each_of_them() -> Result<()> {
    let cluster = prepared()?;
    let mut audience = Audience::new(&cluster)?;
    for (label, person) in
        [("alice1", ALICE), ("bob", BOB), ("alice2", ALICE), ("admin", ADMIN), ("mary", MANAGER)]
    {
        audience.joins(label, Some(person), "/api/own/info")?;
    }
    let mut session = cluster.session()?;
    annotate(&mut session, "@sse\n@sse_scope authorize 1, name:alice, role:staff, mary, 4")?;
    assert_eq!(audience.who_hears(&mut session, "call speaks()")?, "alice1 bob alice2 mary", "and once each");
    Ok(())
}
