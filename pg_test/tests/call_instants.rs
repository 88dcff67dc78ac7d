//! Arguments do not depend on how the role's settings write values (C7.3): an instant is stored as it was
//! sent, whatever DateStyle and TimeZone are, and wherever it is in the value.
//!
//! Not for the values of each type (`call_arguments.rs`).

mod common;

use anyhow::Result;
use common::calls::{Api, Findings, builder, start, told};

/// An instant that every place below writes with an abbreviation which also belongs to another zone.
const SENT: &str = "2026-01-02T03:04:05Z";
const STORED: &str = "2026-01-02 03:04:05";

/// Type of the parameter, JSON of it, and the instant in it, in SQL.
const POSITIONS: &[(&str, &str, &str)] = &[
    ("timestamptz", "\"@\"", "v"),
    ("timestamptz[]", "[\"@\"]", "v[1]"),
    ("timestamptz[]", "[[null,\"@\"]]", "v[1][2]"),
    ("moment", "\"@\"", "v"),
    ("moments", "[\"@\"]", "v[1]"),
    ("visit", "{\"at\":\"@\"}", "(v).at"),
    ("stay", "{\"theVisit\":{\"at\":\"@\"}}", "((v).the_visit).at"),
    ("stay", "{\"moreVisits\":[{\"at\":\"@\"}]}", "((v).more_visits)[1].at"),
    ("guests", "[{\"at\":\"@\"}]", "v[1].at"),
    ("guest[]", "[{\"at\":\"@\"}]", "v[1].at"),
    ("tstzrange", "\"[@,)\"", "lower(v)"),
    ("tstzrange[]", "[\"[@,)\"]", "lower(v[1])"),
    ("tstzmultirange", "\"{[@,)}\"", "lower(v)"),
    ("term", "{\"during\":\"[@,)\"}", "lower((v).during)"),
];

const TYPES: &str = "create table got (a timestamptz); grant insert on got to app;
    create domain moment as timestamptz; create domain moments as timestamptz[];
    create type visit as (id int, at timestamptz);
    create domain guest as visit; create domain guests as guest[];
    create type stay as (the_visit visit, more_visits guest[]);
    create type term as (during tstzrange);";

#[test]
fn an_instant_is_stored_as_it_was_sent_under_every_date_style_and_time_zone_in_every_position() -> Result<()>
{
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "instants")?;
    api.sql(TYPES)?;
    let mut script = String::new();
    for (number, (of, _, found)) in POSITIONS.iter().enumerate() {
        for (kind, name, behind) in [("function", "f", "returns void"), ("procedure", "p", "")] {
            script.push_str(&format!(
                "create {kind} {name}{number}(v {of}) {behind} language sql as 'insert into instants.got select {found}';
                 comment on {kind} {name}{number} is 'HTTP POST';"
            ));
        }
    }
    script.push_str(
        "create function gv(variadic v timestamptz[]) returns void language sql as 'insert into instants.got select v[1]';
         comment on function gv is 'HTTP POST';
         create procedure pd(n int, v visit[] = array[row(1, '2026-01-02 03:04:05Z')::instants.visit]) language sql as 'insert into instants.got select v[1].at';
         comment on procedure pd is 'HTTP POST';
         create function gq(v timestamptz[]) returns void language sql as 'insert into instants.got select v[1]';
         comment on function gq is 'HTTP DELETE';",
    );
    api.sql(&script)?;
    let mut findings = Findings::default();
    for (style, zone) in [
        ("ISO, MDY", "UTC"),
        ("SQL, MDY", "Asia/Shanghai"),
        ("SQL, DMY", "Asia/Kolkata"),
        ("German, DMY", "Asia/Kolkata"),
        ("Postgres, YMD", "Australia/Sydney"),
    ] {
        cluster.sql(&format!(
            "alter role app set datestyle = '{style}'; alter role app set timezone = '{zone}'; select pg_reload_conf()"
        ))?;
        common::calls::ready(&cluster)?;
        cluster.sql("create or replace function instants.style() returns text language sql as $$ select current_setting('datestyle') $$; comment on function instants.style() is 'HTTP GET'")?;
        common::calls::eventually_text(&api, "style", style)?;
        let mut expect = |what: &str, answer: String| -> Result<()> {
            let stored = api.sql(
                "set timezone = 'UTC'; set datestyle = 'ISO'; select (a at time zone 'UTC')::text from got",
            )?;
            findings.expect(&format!("{style}, {zone}: {what}: {answer}"), stored, STORED.to_owned());
            api.sql("delete from got")?;
            Ok(())
        };
        for (number, (of, json, _)) in POSITIONS.iter().enumerate() {
            for name in ["f", "p"] {
                let body = format!("{{\"v\":{}}}", json.replace('@', SENT));
                let answer = api.post_bytes(&format!("{name}{number}"), body.as_bytes())?;
                expect(&format!("{name} {of} {json}"), told(&answer))?;
            }
        }
        let answer = api.post_bytes("gv", format!("{{\"v\":[\"{SENT}\"]}}").as_bytes())?;
        expect("variadic", told(&answer))?;
        expect("default", told(&api.post_bytes("pd", b"{\"n\":1}")?))?;
        let answer = api.http.request(&api.request("DELETE", &format!("gq?v={SENT}")))?;
        expect("query", told(&answer))?;
    }
    findings.report()
}

/// Settings that change how a value is written or read.
#[test]
fn no_setting_of_the_role_changes_what_arrives() -> Result<()> {
    let settings = "array_nulls = off; intervalstyle = sql_standard; bytea_output = escape; extra_float_digits = -15; xmlbinary = hex;
         standard_conforming_strings = off; transform_null_equals = on; quote_all_identifiers = on; datestyle = 'German'";
    let cluster = start(builder())?;
    for setting in settings.split(';') {
        cluster.sql(&format!("alter role app set {setting}"))?;
    }
    let api = Api::of(&cluster, "settings")?;
    api.sql(
        "create type mixed as (spans interval[], data bytea, exact float8, \"Back\\slash\" text, nothing text[]);
         create function seen(v mixed) returns text language sql set intervalstyle = 'iso_8601' set bytea_output = 'hex' set extra_float_digits = 1
         as $$ select concat_ws('|', (v).spans, (v).data, (v).exact, (v).\"Back\\slash\", (v).nothing[1] is null, array_length((v).nothing, 1)) $$;
         create function f(v mixed) returns text language sql as 'select settings.seen(v)'; comment on function f is 'HTTP POST';
         create procedure p(v mixed[], inout s text = null) language plpgsql as 'begin s := settings.seen(v[1]); end'; comment on procedure p is 'HTTP POST';
         create function style() returns text language sql as $$ select current_setting('array_nulls') || current_setting('intervalstyle') $$;
         comment on function style() is 'HTTP GET';",
    )?;
    cluster.sql("select pg_reload_conf()")?;
    common::calls::eventually_text(&api, "style", "offsql_standard")?;
    let value = r#"{"spans":["P1DT2H",null],"data":"\\xdeadbeef","exact":0.1234567890123456,"Back\\slash":"a\\b'c","nothing":[null,"NULL"]}"#;
    let wanted = r"{P1DT2H,NULL}|\xdeadbeef|0.1234567890123456|a\b'c|true|2".replace("true", "t");
    let mut findings = Findings::default();
    let answer = api.post_bytes("f", format!("{{\"v\":{value}}}").as_bytes())?;
    findings.expect("function", told(&answer), format!("200 {wanted}"));
    let answer = api.post_bytes("p", format!("{{\"v\":[{value}]}}").as_bytes())?;
    findings.expect("procedure", answer.json()?["s"].as_str().map(str::to_owned), Some(wanted));
    findings.expect("of the routine itself", told(&api.get("style")?), "200 offsql_standard".to_owned());
    findings.report()
}
