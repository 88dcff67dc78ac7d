//! Calls in a database of another encoding: arguments and answers, and callers and headers with characters
//! that it does not have (C7.2).

mod common;

use anyhow::Result;
use cluster::http::Request;
use common::calls::{Api, Findings, builder, start, told};
use common::tokens::{SECRET, mint, now};
use serde_json::json;

/// Attack: a name that the database cannot hold, written so that it is another user's name.
#[test]
fn what_the_encoding_has_not_keeps_no_routine_from_being_called_and_makes_no_two_users_one() -> Result<()> {
    let cluster = start(builder().encoding("LATIN1"))?;
    let api = Api::of(&cluster, "names")?;
    api.sql(
        "create function plain() returns text language sql stable as $$ select 'here' $$; comment on function plain() is 'HTTP GET';
         create function who() returns text language sql stable as $$ select encode(convert_to(current_setting('request.user_id'), 'LATIN1'), 'escape') $$;
         comment on function who() is 'HTTP GET';
         create function claim() returns json language sql stable as $$ select current_setting('request.jwt.claims')::json $$; comment on function claim() is 'HTTP GET';
         create function header() returns json language sql stable as $$ select current_setting('request.headers')::json $$; comment on function header() is 'HTTP GET';
         create function given(_user_id text) returns text language sql stable as 'select _user_id'; comment on function given(text) is 'HTTP GET
@user_parameters';",
    )?;
    let until = now()? + 600;
    let with = |routine: &str, id: &str| -> Result<Request> {
        let claims = format!(
            "{{\"user_id\":\"{id}\",\"user_name\":\"\\u20ac\\ud83d\\udc18\",\"user_roles\":[\"\\u20ac\"],\"exp\":{until}}}"
        );
        let token = mint(&cluster, SECRET, &claims)?;
        let request = api.request("GET", routine).bearer(token.as_str());
        Ok(request.header("Referer", "http://x/\u{20ac}"))
    };
    let mut findings = Findings::default();
    for (id, wanted) in [
        ("J\\u00fcrgen", "200 J\\374rgen"),
        ("a\\u20ac", "200 a\u{1a}20ac\u{1a}"),
        ("a\\u20a4", "200 a\u{1a}20a4\u{1a}"),
        ("a?", "200 a?"),
    ] {
        findings.expect(id, told(&api.http.request(&with("plain", id)?)?), "200 here".to_owned());
        findings.expect(id, told(&api.http.request(&with("who", id)?)?), wanted.to_owned());
    }
    let claims = api.http.request(&with("claim", "a\\u20ac")?)?.json()?;
    findings.expect("claims", (&claims["user_id"], &claims["user_roles"]), (&json!("a€"), &json!(["€"])));
    let headers = api.http.request(&with("header", "a")?)?.json()?;
    findings.expect("headers", &headers["referer"], &json!("http://x/€"));
    // An argument that cannot exist in the database is refused, whoever sends it.
    findings.expect("its own argument", api.http.request(&with("given", "a\\u20ac")?)?.status(), 400);
    findings.expect(
        "an argument that can",
        told(&api.http.request(&with("given", "J\\u00fcrgen")?)?),
        "200 Jürgen".to_owned(),
    );
    findings.report()
}

#[test]
fn a_database_of_another_encoding_is_converted_both_ways() -> Result<()> {
    let cluster = start(builder().encoding("LATIN1"))?;
    let api = Api::of(&cluster, "latin")?;
    api.sql(
        "create function echo(message text, \"größe\" int default 1) returns json language sql as
           $$ select json_build_object('wert', message, 'länge', length(message), 'größe', \"größe\") $$;
         comment on function echo(text, int) is 'HTTP POST';
         create function complain(message text) returns void language plpgsql as $$ begin raise exception '%', message; end $$;
         comment on function complain(text) is 'HTTP POST';
         create procedure turn(inout \"größe\" text) language plpgsql as $$ begin commit; \"größe\" := reverse(\"größe\"); end $$;
         comment on procedure turn(text) is 'HTTP POST';",
    )?;
    let mut findings = Findings::default();
    let echo = api.post("echo", &json!({ "message": "Grün", "größe": 2 }))?;
    findings.expect(&told(&echo), echo.json().ok(), Some(json!({ "wert": "Grün", "länge": 4, "größe": 2 })));
    let complaint = api.post("complain", &json!({ "message": "Grün" }))?;
    findings.expect(&told(&complaint), complaint.json()?["detail"].clone(), json!("Grün"));
    let turned = api.post("turn", &json!({ "größe": "Grün" }))?;
    findings.expect(&told(&turned), turned.json().ok(), Some(json!({ "größe": "nürG" })));
    let euro = api.post("echo", &json!({ "message": "5 €" }))?;
    findings.expect(&told(&euro), euro.status(), 400);
    findings.expect("the next call", api.post("echo", &json!({ "message": "x" }))?.status(), 200);
    findings.report()
}
