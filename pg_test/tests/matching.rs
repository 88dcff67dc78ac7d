//! `matching`: whose settings say who emits, and what becomes of events that match nobody (C4.2, C4.6).
//!
//! Not for random identities (`leak.rs`).

mod common;

use anyhow::{Result, ensure};
use cluster::Cluster;
use common::figure;
use common::tokens::{Audience, Person, builder};

fn prepared() -> Result<Cluster> {
    let cluster = builder().start()?;
    cluster.sql(
        "create function own() returns void language sql as ''; comment on function own() is '@sse';
         create function matches() returns void language plpgsql as $f$ begin raise info 'x'; end $f$;
         comment on function matches() is E'@sse\\n@sse_scope matching';
         create function ruled() returns void language plpgsql as $f$ begin raise info 'x'; end $f$;
         comment on function ruled() is E'@sse\\n@authorize staff\\n@sse_scope matching';",
    )?;
    Ok(cluster)
}

#[test]
fn an_event_reaches_those_whose_context_matches_the_emitting_sessions() -> Result<()> {
    let cluster = prepared()?;
    let mut audience = Audience::of_everybody(&cluster, "/api/own/info")?;
    let odd = Person { id: "9", name: "odd", roles: &["a,b", "sales team", "qu\"ote"] };
    audience.joins("odd", Some(odd), "/api/own/info")?;
    let claims = r#"{"sub":"2","name":"nobody","roles":["admin"]}"#;
    for (settings, expected) in [
        (&[("user_id", "1")][..], "alice"),
        (&[("user_id", "alice")], ""),
        (&[("user_name", "ALICE")], "alice"),
        (&[("user_id", "9"), ("user_name", "bob")], "bob odd"),
        (&[("user_roles", "{manager,admin}")], "admin manager"),
        (&[("user_roles", "[\"STAFF\"]")], "bob manager"),
        (&[("user_roles", "admin , sales team")], "admin odd"),
        (&[("user_roles", "{\"a,b\"}")], "odd"),
        (&[("user_roles", "a,b")], ""),
        (&[("user_roles", "{\"qu\\\"ote\"}")], "odd"),
        (&[("jwt.claims", claims)], "bob admin"),
        // Any of the three makes the claims not count, as a whole.
        (&[("user_id", "1"), ("jwt.claims", claims)], "alice"),
        (&[("user_roles", "none"), ("jwt.claims", claims)], ""),
        // Empty values are absent.
        (&[("user_id", ""), ("user_name", ""), ("user_roles", ""), ("jwt.claims", claims)], "bob admin"),
        (&[("user_roles", "{}"), ("jwt.claims", claims)], "bob admin"),
        (&[("user_id", "1"), ("user_name", ""), ("user_roles", "{\"\",NULL}")], "alice"),
    ] {
        let mut session = cluster.session()?;
        for (name, value) in settings {
            session.run(&format!("set request.{name} = {}", common::tokens::quoted(value)))?.ok()?;
        }
        // The emitter's identity goes before the routine's rule.
        for call in ["select matches()", "select ruled()"] {
            assert_eq!(audience.who_hears(&mut session, call)?, expected, "{call} with {settings:?}");
        }
    }
    Ok(())
}

#[test]
fn without_an_emitter_the_rule_decides_and_without_a_rule_nobody_receives_it() -> Result<()> {
    let cluster = prepared()?;
    let mut audience = Audience::of_everybody(&cluster, "/api/own/info")?;
    for settings in
        ["", "set request.user_id = ''", "set request.jwt.claims = ''", "set request.jwt.claims = '{}'"]
    {
        let mut session = cluster.session()?;
        session.run(settings)?.ok()?;
        assert_eq!(audience.who_hears(&mut session, "select ruled()")?, "bob manager", "{settings:?}");
        assert_eq!(audience.who_hears(&mut session, "select matches()")?, "", "{settings:?}");
    }
    assert_eq!(figure(&cluster, "stat_ring", "unmatched_total")?, 4);
    let said = cluster.log()?.matches("public.matches with scope matching reaches no subscriber").count();
    assert_eq!(said, 1, "said once");
    ensure!(!cluster.log()?.contains("public.ruled with scope matching"));
    Ok(())
}

#[test]
fn an_emitter_that_cannot_be_read_matches_nobody_whatever_the_rule() -> Result<()> {
    let cluster = prepared()?;
    let mut audience = Audience::of_everybody(&cluster, "/api/own/info")?;
    let undecidable = [
        "set request.jwt.claims = '['",
        "set request.jwt.claims = '[]'",
        "set request.jwt.claims = '\"staff\"'",
        "set request.jwt.claims = '{\"sub\":\"1\",\"sub\":\"2\"}'",
        "set request.jwt.claims = '{\"roles\":{\"staff\":true}}'",
        "set request.user_roles = '{staff'",
        "set request.user_roles = '[\"staff\"'",
        "set request.user_roles = 'staff, \"admin'",
    ];
    for settings in undecidable {
        let mut session = cluster.session()?;
        session.run(settings)?.ok()?;
        for call in ["select ruled()", "select matches()"] {
            assert_eq!(audience.who_hears(&mut session, call)?, "", "{call} with {settings}");
        }
    }
    assert_eq!(figure(&cluster, "stat_ring", "unmatched_total")?, 2 * i64::try_from(undecidable.len())?);
    Ok(())
}

#[test]
fn sse_publish_matches_too_and_the_identity_is_that_of_the_moment() -> Result<()> {
    let cluster = prepared()?;
    let mut audience = Audience::of_everybody(&cluster, "/api/own/info")?;
    let mut session = cluster.session()?;
    assert_eq!(audience.who_hears(&mut session, "select sse.publish('x', 'matching')")?, "");
    session.run("set request.user_id = '1'")?.ok()?;
    assert_eq!(audience.who_hears(&mut session, "select sse.publish('x', 'matching')")?, "alice");
    let changing = "begin; select matches(); set local request.user_id = '2'; select matches(); commit;";
    assert_eq!(audience.who_hears(&mut session, changing)?, "alice bob");
    assert_eq!(audience.who_hears(&mut session, "select matches()")?, "alice");
    Ok(())
}
