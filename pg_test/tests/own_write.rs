//! `SSE-Position` (C7.9): the answer of a call that has published says up to where its caller's stream must
//! have come to have heard of it.
//!
//! Not for who gets the events: `scope_caller.rs`, `scopes.rs`.

mod common;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::http::{EventStream, Response};
use cluster::{Install, Preload, wait_for};
use common::calls::{Api, builder, shared, start, told};
use common::tokens::{ALICE, BOB, listen};
use common::{SOON, linger};
use serde_json::{Value, json};

/// The header, empty when there is none.
fn position(answer: &Response) -> &str {
    answer.header("SSE-Position").unwrap_or("")
}

fn post(api: &Api<'_>, routine: &str, body: &Value) -> Result<Response> {
    let answer = api.post(routine, body)?;
    ensure!(matches!(answer.status(), 200 | 204 | 400), "{routine}: {}", told(&answer));
    Ok(answer)
}

/// The id of the next event with this data.
fn id_of(stream: &mut EventStream, data: &str) -> Result<String> {
    loop {
        let event = stream.next_payload(SOON).with_context(|| data.to_owned())?;
        if event.data == data {
            return Ok(event.id);
        }
    }
}

/// `say(what, scope)`: raises with a hint. `tables`: an insert fires a trigger that raises, which calls a
/// routine that raises with a topic.
fn furnish(api: &Api<'_>, schema: &str) -> Result<()> {
    api.sql(&format!(
        "create function say(what text, scope text default null) returns void language plpgsql as $f$
         begin if scope is null then raise info '%', what; else raise info '%', what using hint = scope; end if; end $f$;
         comment on function say(text, text) is E'HTTP POST\\n@sse';
         create function nested(what text) returns void language plpgsql as $f$ begin raise info '%', what; end $f$;
         comment on function nested(text) is E'@sse\\n@sse_topic t';
         create table items (item text);
         grant select, insert on items to app;
         create function changed() returns trigger language plpgsql as $f$
         begin
             raise info 'row %', new.item;
             perform {schema}.nested('nested ' || new.item);
             return null;
         end $f$;
         comment on function changed() is '@sse_publish';
         create trigger changed after insert on items for each row execute function changed();
         create function add(item text) returns void language sql as $f$ insert into {schema}.items values (item) $f$;
         comment on function add(text) is 'HTTP POST';
         create function quiet() returns text language sql as $f$ select 'x' $f$;
         comment on function quiet() is 'HTTP POST';"
    ))?;
    Ok(())
}

#[test]
fn the_position_is_the_id_of_the_calls_last_event_wherever_it_was_raised() -> Result<()> {
    let api = Api::new("position")?;
    furnish(&api, "position")?;
    let mut plain = listen(api.http, &api.path("say/info"), None)?;
    let mut topic = listen(api.http, &api.path("nested/info"), None)?;
    for n in 0..20 {
        let answer = post(&api, "say", &json!({"what": format!("s{n}")}))?;
        assert_eq!(position(&answer), id_of(&mut plain, &format!("s{n}"))?, "{n}");
        // By a trigger, and below that by a routine with another topic: the last one counts.
        let answer = post(&api, "add", &json!({"item": format!("i{n}")}))?;
        assert_eq!(position(&answer), id_of(&mut topic, &format!("nested i{n}"))?, "{n}");
        ensure!(position(&answer) != id_of(&mut plain, &format!("row i{n}"))?, "{n}");
    }
    // A stream that resumes from there has nothing of it left.
    let answer = post(&api, "say", &json!({"what": "last"}))?;
    let mut resumed = api.http.events_after(&api.path("say/info"), position(&answer))?;
    post(&api, "say", &json!({"what": "behind it"}))?;
    // Other tests publish to everybody meanwhile.
    let heard = |data: &str| (data == "last" || data == "behind it").then(|| data.to_owned());
    let next = wait_for(SOON, "one of the two", || Ok(heard(&resumed.next_payload(SOON)?.data)))?;
    assert_eq!(next, "behind it");
    Ok(())
}

#[test]
fn a_call_that_published_nothing_has_no_position() -> Result<()> {
    let api = Api::new("nothing")?;
    furnish(&api, "nothing")?;
    api.sql(
        "create function fail() returns void language plpgsql as $f$
         begin raise info 'undone'; raise exception 'no'; end $f$;
         comment on function fail() is E'HTTP POST\\n@sse';
         create function caught() returns void language plpgsql as $f$
         begin
             begin raise info 'undone'; raise exception 'no'; exception when raise_exception then null; end;
         end $f$;
         comment on function caught() is E'HTTP POST\\n@sse';
         create function slips() returns void language plpgsql as $f$
         begin raise info 'x' using hint = 'authorise me'; end $f$;
         comment on function slips() is E'HTTP POST\\n@sse';",
    )?;
    for (routine, status) in [("quiet", 200), ("fail", 400), ("caught", 204), ("slips", 204)] {
        let answer = post(&api, routine, &json!({}))?;
        assert_eq!((answer.status(), position(&answer)), (status, ""), "{routine}");
    }
    Ok(())
}

#[test]
fn what_a_call_published_before_it_failed_has_a_position() -> Result<()> {
    let api = Api::new("failed")?;
    api.sql(
        "create procedure parts(fails boolean) language plpgsql as $f$
         begin
             raise info 'first'; commit;
             raise info 'second'; commit;
             raise info 'third';
             if fails then raise exception 'no'; end if;
         end $f$;
         comment on procedure parts(boolean) is E'HTTP POST\\n@sse';
         create function now_and_fail() returns void language plpgsql as $f$
         begin raise info 'at once'; raise exception 'no'; end $f$;
         comment on function now_and_fail() is E'HTTP POST\\n@sse_publish\\n@sse_delivery immediate';",
    )?;
    let mut stream = listen(api.http, &api.path("parts/info"), None)?;
    for (fails, status, last) in [(false, 204, "third"), (true, 400, "second")] {
        let answer = post(&api, "parts", &json!({"fails": fails}))?;
        assert_eq!(answer.status(), status);
        assert_eq!(position(&answer), id_of(&mut stream, last)?, "{last}");
    }
    let answer = post(&api, "now-and-fail", &json!({}))?;
    assert_eq!((answer.status(), position(&answer)), (400, &*id_of(&mut stream, "at once")?));
    Ok(())
}

#[test]
fn only_what_the_caller_may_receive_by_scope_has_a_position() -> Result<()> {
    let api = Api::new("scoped")?;
    furnish(&api, "scoped")?;
    let (alice, bob) = (api.with(ALICE)?, api.with(BOB)?);
    for (scope, by_alice, by_bob, by_nobody) in [
        ("all", true, true, true),
        ("authorize", true, true, false),
        ("authorize id:1", true, false, false),
        ("authorize role:staff", false, true, false),
        ("matching", true, true, false),
        ("authorize \"\"", false, false, false),
    ] {
        for (api, name, expected) in
            [(&alice, "alice", by_alice), (&bob, "bob", by_bob), (&api, "nobody", by_nobody)]
        {
            let answer = post(api, "say", &json!({"what": "x", "scope": scope}))?;
            assert_eq!(!position(&answer).is_empty(), expected, "{scope} {name}");
        }
    }
    // By a stream with the execution id alone.
    for (api, id, expected) in [(&alice, "x", true), (&alice, "", false), (&api, "x", false)] {
        let request = api.request("POST", "say").header("X-Execution-Id", id);
        let answer = api.http.request(&request.json(&json!({"what": "x", "scope": "caller"})))?;
        assert_eq!(!position(&answer).is_empty(), expected, "{id:?}");
    }
    Ok(())
}

#[test]
fn an_earlier_event_counts_where_the_caller_may_not_receive_the_last_one() -> Result<()> {
    let api = Api::new("earlier")?;
    api.sql(
        "create function two() returns void language plpgsql as $f$
         begin raise info 'mine' using hint = 'authorize id:1'; raise info 'other' using hint = 'authorize id:2'; end $f$;
         comment on function two() is E'HTTP POST\\n@sse';
         create function large() returns void language plpgsql as $f$
         begin raise info 'small'; raise info '%', repeat('x', 2 << 20); end $f$;
         comment on function large() is E'HTTP POST\\n@sse';",
    )?;
    let alice = api.with(ALICE)?;
    let token = common::tokens::issue(shared(), ALICE)?;
    let mut stream = listen(api.http, &api.path("two/info"), Some(&token))?;
    let answer = post(&alice, "two", &json!({}))?;
    assert_eq!(position(&answer), id_of(&mut stream, "mine")?);
    // An event that is too large is a gap in its place.
    let answer = post(&alice, "large", &json!({}))?;
    id_of(&mut stream, "small")?;
    let gap = stream.next_payload(SOON)?;
    assert_eq!((gap.event.as_str(), gap.id.as_str()), ("sse.gap", position(&answer)));
    Ok(())
}

#[test]
fn logins_and_calls_on_every_thread_have_it() -> Result<()> {
    let cluster = start(builder().setting("sse.threads", 3))?;
    let api = Api::of(&cluster, "threads")?;
    furnish(&api, "threads")?;
    api.sql(
        "create function enter() returns table (user_id text) language plpgsql as $f$
         begin raise info 'somebody enters'; return query select '1'; end $f$;
         comment on function enter() is E'HTTP POST\\n@login\\n@sse';",
    )?;
    let mut stream = listen(api.http, &api.path("say/info"), None)?;
    let answer = post(&api, "enter", &json!({}))?;
    assert_eq!(position(&answer), id_of(&mut stream, "somebody enters")?);
    std::thread::scope(|scope| -> Result<()> {
        let api = &api;
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                scope.spawn(move || -> Result<Vec<(String, String)>> {
                    let said = |n| {
                        let what = format!("{caller}.{n}");
                        let answer = post(api, "say", &json!({"what": what}))?;
                        Ok((what, position(&answer).to_owned()))
                    };
                    (0..25).map(said).collect()
                })
            })
            .collect();
        let mut said = Vec::new();
        for caller in callers {
            said.extend(caller.join().map_err(|_| anyhow::anyhow!("a caller panicked"))??);
        }
        let mut heard = Vec::new();
        for _ in 0..said.len() {
            let event = stream.next_payload(SOON)?;
            heard.push((event.data, event.id));
        }
        said.sort();
        heard.sort();
        assert_eq!(said, heard);
        Ok(())
    })
}

// A transaction that stands still after its commit holds back the events of all that came after it.
#[test]
fn an_answer_waits_for_a_transaction_before_its_own_as_long_as_the_courier_does_and_has_its_position()
-> Result<()> {
    let install = Install::shared()?;
    if !linger::compile(&install)? {
        return Ok(());
    }
    let libraries = Preload::Libraries(format!("pg_sse, {}", linger::LIBRARY));
    let cluster = start(builder().preload(libraries))?;
    let api = Api::of(&cluster, "held")?;
    furnish(&api, "held")?;
    api.sql("create table counter (value int); insert into counter values (0)")?;
    let mut stream = listen(api.http, &api.path("say/info"), None)?;
    // The courier waits five seconds.
    for (n, milliseconds) in [(1, 400), (2, 3000), (3, 9000)] {
        let mut holder = api.session()?;
        holder.run(&format!("set linger.ms = {milliseconds}"))?.ok()?;
        holder.send(&format!("begin; update counter set value = {n}; select say('held {n}'); commit"))?;
        let mut reader = api.session()?;
        linger::wait_for_value(&mut reader, n)?;
        let began = Instant::now();
        let answer = post(&api, "say", &json!({"what": format!("own {n}")}))?;
        let took = began.elapsed();
        ensure!(took < Duration::from_millis(8500), "{n}: {took:?}");
        if milliseconds < 5000 {
            id_of(&mut stream, &format!("held {n}"))?;
        }
        assert_eq!(position(&answer), id_of(&mut stream, &format!("own {n}"))?, "{n}: {took:?}");
        holder.wait(SOON)?.ok()?;
    }
    Ok(())
}
