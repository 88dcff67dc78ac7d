//! Row types whose columns have just changed: which column a value goes to, and which key it has (C7.3,
//! C7.4).
//!
//! Not for whether a changed type is taken in at all (`call_changes.rs`).

mod common;

use anyhow::Result;
use common::calls::{Api, Findings, builder, start, told};
use serde_json::json;

/// How often each change is made: the catalog may be read in between.
const ROUNDS: usize = 6;

/// Attack: money goes from one account to the other when two columns have changed places.
#[test]
fn a_value_goes_to_the_column_that_it_is_given_for_also_right_behind_a_change() -> Result<()> {
    let api = Api::new("places")?;
    api.sql(
        "create type pair as (a text, b text); create type holder as (p pair, n int);
         create domain some_pair as pair; create domain some_pairs as some_pair[];
         create function one(p pair) returns text language sql as 'select (p).a'; comment on function one(pair) is 'HTTP POST';
         create function within(h holder) returns text language sql as 'select ((h).p).a'; comment on function within(holder) is 'HTTP POST';
         create function each(variadic v pair[]) returns text language sql as 'select (v[1]).a'; comment on function each(pair[]) is 'HTTP POST';
         create function domains(v some_pairs) returns text language plpgsql as 'declare p places.pair; begin p := v[1]; return p.a; end'; comment on function domains(some_pairs) is 'HTTP POST';
         create procedure proc(inout p pair, inout t text) language plpgsql as 'begin t := to_json(p) ->> ''a''; commit; end'; comment on procedure proc(pair, text) is 'HTTP POST'",
    )?;
    let pair = json!({"a": "A", "b": "B"});
    let calls = [
        ("one", json!({"p": pair}), "200 A"),
        ("within", json!({"h": {"n": 1, "p": pair}}), "200 A"),
        ("each", json!({"v": [pair]}), "200 A"),
        ("domains", json!({"v": [pair]}), "200 A"),
        ("proc", json!({"p": pair, "t": "x"}), r#""t":"A"}"#),
    ];
    let mut session = api.session()?;
    let mut findings = Findings::default();
    let mut answered = 0;
    for round in 0..ROUNDS {
        for (routine, body, right) in &calls {
            let column = if round % 2 == 0 { "a" } else { "b" };
            session
                .run(&format!(
                    "begin; alter type pair drop attribute {column}; alter type pair add attribute {column} text; commit"
                ))?
                .ok()?;
            let answer = told(&api.http.request(&api.request("POST", routine).json(body))?);
            answered += usize::from(answer.contains(right));
            // Another change may have been read by now, but no call fails, and none takes one column for the
            // other.
            if !answer.contains(right) && !answer.starts_with("409") {
                findings.expect(routine, answer, format!("{right} or 409"));
            }
        }
    }
    findings.report()?;
    anyhow::ensure!(answered > ROUNDS, "only {answered} calls were answered");
    Ok(())
}

#[test]
fn a_key_of_an_answer_is_its_columns_own_also_right_behind_a_change() -> Result<()> {
    let api = Api::new("keys")?;
    api.sql(
        "create table item (item_id int, first_name text); insert into item values (1, 'n'); grant select on item to app;
         create function all_items() returns setof item language sql stable as 'select * from keys.item'; comment on function all_items() is 'HTTP GET';
         create function one_item() returns item language sql stable as 'select * from keys.item'; comment on function one_item() is 'HTTP GET';
         create function item_array() returns item[] language sql stable as 'select array_agg(i) from keys.item i'; comment on function item_array() is 'HTTP GET'",
    )?;
    let mut session = api.session()?;
    let mut findings = Findings::default();
    let mut name = "first_name".to_owned();
    for round in 0..ROUNDS {
        for routine in ["all-items", "one-item", "item-array"] {
            let next = format!("next_{}_{round}", &routine[..3]);
            session.run(&format!("alter table item rename column {name} to {next}"))?.ok()?;
            name = next;
            let right = format!(r#""next{}{}{round}":"n""#, routine[..1].to_uppercase(), &routine[1..3]);
            let answer = told(&api.get(routine)?);
            if !answer.contains(&right) {
                findings.expect(routine, answer, right);
            }
        }
    }
    findings.report()
}

/// Attack: a login becomes the user whom another column names.
#[test]
fn a_key_is_its_columns_own_also_of_a_routine_that_has_just_been_made_anew() -> Result<()> {
    let api = Api::new("anew")?;
    let mut session = api.session()?;
    let mut findings = Findings::default();
    let made = |from: &str, to: &str| {
        format!(
            "create function {from}() returns table ({to}_key text, other_{to} text) language sql as $$ select 'k', 'o' $$; comment on function {from}() is 'HTTP GET'"
        )
    };
    for round in 0..ROUNDS {
        let (one, two) = (format!("a{round}"), format!("b{round}"));
        session.run(&format!("drop function if exists f(); {}", made("f", &one)))?.ok()?;
        let right = format!(r#"200 [{{"{one}Key":"k","#);
        let answer = told(&api.get("f")?);
        if !answer.starts_with(&right) {
            findings.expect("made anew", answer, right);
        }
        session.run(&format!("begin; {}; alter function f() rename to old; alter function made() rename to f; drop function old(); commit", made("made", &two)))?.ok()?;
        let right = format!(r#"200 [{{"{two}Key":"k","#);
        let answer = told(&api.get("f")?);
        if !answer.starts_with(&right) {
            findings.expect("renamed", answer, right);
        }
    }
    findings.report()
}

/// Both sides make the digest of the same bytes, whatever the names and whatever the row type.
#[test]
fn row_types_that_have_not_changed_are_never_taken_for_changed_ones() -> Result<()> {
    for encoding in ["UTF8", "LATIN1", "SQL_ASCII"] {
        let cluster = start(builder().encoding(encoding))?;
        let api = Api::of(&cluster, "same")?;
        let long = "n".repeat(63);
        api.sql(&format!(
            r#"create table big ("größe" int, gone text, "a ""b"" \ c" text, {long} int generated always as (1) stored) partition by list ("größe");
             create table part partition of big default; alter table big drop column gone; insert into big values (1, 'x'); grant select on big to app;
             create view seen as select * from same.big; grant select on seen to app;
             create domain checked as seen check ((value)."größe" > 0); create type outer_row as (inner_row checked, rows big[], empty text);
             create function f(o outer_row, variadic v checked[]) returns setof outer_row language sql as 'select o'; comment on function f(outer_row, checked[]) is 'HTTP POST';
             create function g() returns seen language sql stable as 'select * from same.seen'; comment on function g() is 'HTTP GET'"#,
        ))?;
        let row = json!({"größe": 1, "a \"b\" \\ c": "x"});
        let body = json!({"o": {"innerRow": row, "rows": [row]}, "v": [row, row]});
        let mut findings = Findings::default();
        for _ in 0..3 {
            let answer = api.http.request(&api.request("POST", "f").json(&body))?;
            findings.expect(encoding, answer.status(), 200);
            findings.expect(encoding, api.get("g")?.status(), 200);
        }
        findings.report()?;
    }
    Ok(())
}
