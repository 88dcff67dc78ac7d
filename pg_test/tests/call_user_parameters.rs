//! Parameters that the caller's identity fills, and no request (C7.4).
//!
//! Not for other arguments (`call_arguments.rs`).

mod common;

use anyhow::{Result, ensure};
use common::calls::{Api, Findings, told};
use common::tokens::{ALICE, Person};
use serde_json::json;

const MARY: Person = Person { id: "42", name: "mary \"m\"", roles: &["staff", "a,b"] };

#[test]
fn user_parameters_are_filled_from_the_identity_and_never_from_the_request() -> Result<()> {
    let api = Api::new("users")?;
    api.sql(
        "create function f(a text, _user_id text = null, _user_name text = null, _user_roles text[] = null,
             _user_claims jsonb = null, _ip_address inet = null) returns json language sql
         as $$ select json_build_array(a, _user_id, _user_name, _user_roles, _user_claims ->> 'user_id', _ip_address) $$;
         comment on function f(text, text, text, text[], jsonb, inet) is 'HTTP POST\n@user_parameters';
         create function g(_user_id int, _ip_address text) returns text language sql as $$ select _user_id + 1 || ' ' || _ip_address $$;
         comment on function g(int, text) is 'HTTP GET\n@user_parameters';
         create function plain(_user_id text = 'default') returns text language sql as 'select _user_id';
         comment on function plain(text) is 'HTTP GET';",
    )?;
    let mary = api.with(MARY)?;
    let mut findings = Findings::default();
    findings.expect(
        "all of them",
        mary.post("f", &json!({ "a": "x" }))?.json()?,
        json!(["x", "42", "mary \"m\"", ["staff", "a,b"], "42", "127.0.0.1"]),
    );
    findings.expect(
        "nobody",
        api.post("f", &json!({ "a": "x" }))?.json()?,
        json!(["x", null, null, null, null, "127.0.0.1"]),
    );
    findings.expect("another type", told(&mary.get("g")?), "200 43 127.0.0.1".to_owned());
    for name in ["userId", "_user_id", "userName", "userRoles", "userClaims", "ipAddress", "_ip_address"] {
        for who in [&mary, &api] {
            let mut body = json!({ "a": "x" });
            body[name] = json!("1");
            let answer = who.post("f", &body)?;
            findings.expect(&format!("{name}: {}", told(&answer)), answer.status(), 400);
        }
    }
    findings.expect("spoofed in a query", mary.get("g?userId=1")?.status(), 400);
    // Without the annotation and the setting it is a parameter like any other.
    findings.expect("off, default", told(&mary.get("plain")?), "200 default".to_owned());
    findings.expect("off, given", told(&mary.get("plain?userId=7")?), "200 7".to_owned());
    findings.report()
}

#[test]
fn an_authorized_routine_that_forgets_its_user_parameters_is_told_so() -> Result<()> {
    let api = Api::new("forgotten")?;
    let reply = api.run(
        "create function f(_user_id text = 'x') returns text language sql as 'select _user_id';
         comment on function f(text) is 'HTTP GET\n@authorize';",
    )?;
    let warnings = reply.ok()?;
    let warnings = warnings.texts("WARNING");
    ensure!(warnings.len() == 1 && warnings[0].contains("_user_id"), "{warnings:?}");
    assert_eq!(told(&api.with(ALICE)?.get("f?userId=3")?), "200 3", "it works all the same");
    Ok(())
}
