//! Scope `caller` (C4.2): what a call raises for its caller reaches streams that prove to be the caller's,
//! and nobody else, whatever the routine, the session or another caller says.
//!
//! Not for streamed answers of calls, nor for random combinations (`leak.rs`).

mod common;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use cluster::http::{Client, EventStream, Response};
use cluster::{Cluster, wait_for};
use common::calls::{Api, builder, ready, shared, start, told};
use common::tokens::{ALICE, BOB, SECRET, get, issue, listen, mint, now, status_of};
use common::{SOON, figure};
use serde_json::json;

/// Streams of one path, and what each has heard.
struct Ears<'a> {
    cluster: &'a Cluster,
    http: Client,
    path: String,
    /// Name, topic, stream.
    ears: Vec<(String, String, EventStream)>,
    marks: usize,
}

impl<'a> Ears<'a> {
    fn new(api: &Api<'a>, routine: &str) -> Self {
        let path = api.path(&format!("{routine}/info"));
        Self { cluster: api.cluster, http: api.http, path, ears: Vec::new(), marks: 0 }
    }

    fn open(&mut self, name: &str, query: &str, token: Option<&str>) -> Result<()> {
        let stream = listen(self.http, &format!("{}{query}", self.path), token)?;
        let topic = query.split(['?', '&']).find_map(|part| part.strip_prefix("topic=")).unwrap_or("");
        self.ears.push((name.to_owned(), topic.to_owned(), stream));
        Ok(())
    }

    /// What was heard since the last time, as `name: data`, in the order of the streams. After it a mark
    /// comes that all get, so what was not heard will not be heard.
    fn heard(&mut self) -> Result<Vec<String>> {
        self.marks += 1;
        let mark = format!("mark {} {}", self.path, self.marks);
        let topics: BTreeMap<&str, ()> = self.ears.iter().map(|(_, topic, _)| (topic.as_str(), ())).collect();
        for topic in topics.keys() {
            self.cluster.sql(&format!("select sse.publish('{mark}', topic => nullif('{topic}', ''))"))?;
        }
        let mut heard = Vec::new();
        for (name, _, stream) in &mut self.ears {
            loop {
                let event = stream.next_payload(SOON).with_context(|| format!("{name} lacks {mark:?}"))?;
                if event.data == mark {
                    break;
                }
                // Other tests have marks of their own.
                if !event.data.starts_with("mark ") {
                    heard.push(format!("{name}: {}", event.data));
                }
            }
        }
        Ok(heard)
    }
}

/// A call with an execution id.
fn call(api: &Api<'_>, routine: &str, id: &str, body: &serde_json::Value) -> Result<Response> {
    let request = api.request("POST", routine).json(body);
    let request = if id.is_empty() { request } else { request.header("X-Execution-Id", id) };
    let answer = api.http.request(&request)?;
    ensure!(matches!(answer.status(), 200 | 204), "{routine}: {}", told(&answer));
    Ok(answer)
}

/// `tell(what)` raises its argument for its caller; `tell_now` at once, `tell_by_hint` by a hint,
/// `tell_by_publish` by `sse.publish`, `tell_within` from a routine that it calls, with a topic.
fn furnish(api: &Api<'_>, schema: &str) -> Result<()> {
    let body = "language plpgsql as $f$ begin raise info '%', what; end $f$";
    api.sql(&format!(
        "create function tell(what text) returns void {body};
         comment on function tell(text) is E'HTTP POST\\n@sse\\n@sse_scope caller';
         create function tell_now(what text) returns void {body};
         comment on function tell_now(text) is E'HTTP POST\\n@sse_publish\\n@sse_scope caller\\n@sse_delivery immediate';
         create function tell_by_hint(what text) returns void language plpgsql as $f$
         begin raise info '%', what using hint = 'caller'; end $f$;
         comment on function tell_by_hint(text) is E'HTTP POST\\n@sse_publish';
         create function tell_by_publish(what text) returns void language sql security definer as $f$
         select sse.publish(what, 'caller') $f$;
         comment on function tell_by_publish(text) is 'HTTP POST';
         create function inner_tell(what text) returns void {body};
         comment on function inner_tell(text) is E'@sse_publish\\n@sse_scope caller\\n@sse_topic t';
         create function tell_within(what text) returns void language plpgsql as $f$
         begin perform {schema}.inner_tell(what); end $f$;
         comment on function tell_within(text) is 'HTTP POST';"
    ))?;
    Ok(())
}

#[test]
fn an_annotation_with_scope_caller_has_no_problem() -> Result<()> {
    let api = Api::new("no_problem")?;
    furnish(&api, "no_problem")?;
    let found = api.sql(
        "select string_agg(scope || coalesce(problem, ''), ' ') from sse.endpoints where url = '/api/no-problem/tell/info'",
    )?;
    ensure!(found == "caller", "{found:?}");
    let slip = api.session()?.run("comment on function tell(text) is E'@sse\\n@sse_scope calller'")?;
    ensure!(slip.texts("WARNING").iter().any(|text| text.contains("\"caller\"")), "{:?}", slip.messages);
    Ok(())
}

/// Attack: somebody else opens a stream with the execution id of a call, which is no secret.
#[test]
fn an_event_for_the_caller_reaches_streams_of_its_user_with_its_id_and_no_other() -> Result<()> {
    let api = Api::new("others")?;
    furnish(&api, "others")?;
    let (alice, bob) = (issue(shared(), ALICE)?, issue(shared(), BOB)?);
    let exp = now()? + 600;
    let named =
        mint(shared(), SECRET, &json!({"user_name": "alice", "roles": ["1"], "exp": exp}).to_string())?;
    let mut ears = Ears::new(&api, "tell");
    for (name, query, token) in [
        ("alice", "?id=x", Some(&alice)),
        ("alice in t", "?id=x&topic=t", Some(&alice)),
        ("alice in u", "?id=x&topic=u", Some(&alice)),
        ("alice elsewhere", "?id=y", Some(&alice)),
        ("alice without id", "", Some(&alice)),
        ("bob", "?id=x", Some(&bob)),
        ("who is named alice", "?id=x", Some(&named)),
        ("anonymous", "?id=x", None),
    ] {
        ears.open(name, query, token.map(String::as_str))?;
    }
    let as_alice = api.with(ALICE)?;
    for routine in ["tell", "tell-now", "tell-by-hint", "tell-by-publish", "tell-within"] {
        call(&as_alice, routine, "x", &json!({"what": routine}))?;
        // Topics are not asked.
        let expected = ["alice", "alice in t", "alice in u"].map(|name| format!("{name}: {routine}"));
        assert_eq!(ears.heard()?, expected, "{routine}");
    }
    // A call without an id can be followed by nobody.
    call(&as_alice, "tell", "", &json!({"what": "lost"}))?;
    assert_eq!(ears.heard()?, [""; 0]);
    // And one of somebody without a user id neither.
    let answer = api.http.request(&get(&api.path("tell"), Some(&named)).header("X-Execution-Id", "x"))?;
    assert_eq!(answer.status(), 405, "a GET");
    let nameless = cluster::http::Request::new("POST", &api.path("tell"))
        .bearer(named.as_str())
        .header("X-Execution-Id", "x")
        .json(&json!({"what": "of nobody"}));
    assert_eq!(api.http.request(&nameless)?.status(), 204);
    assert_eq!(ears.heard()?, [""; 0]);
    Ok(())
}

/// Attack: an anonymous caller chooses the id that somebody listens to; or somebody listens to the id that an
/// anonymous caller has chosen.
#[test]
fn an_anonymous_call_with_an_id_of_its_own_choice_reaches_nobody() -> Result<()> {
    let api = Api::new("anonymous")?;
    furnish(&api, "anonymous")?;
    let alice = issue(shared(), ALICE)?;
    let mut ears = Ears::new(&api, "tell");
    ears.open("alice", "?id=chosen", Some(&alice))?;
    ears.open("anonymous", "?id=chosen", None)?;
    ears.open("anonymous without id", "", None)?;
    for routine in ["tell", "tell-now", "tell-by-publish"] {
        call(&api, routine, "chosen", &json!({"what": "secret"}))?;
        call(&api, routine, "", &json!({"what": "secret"}))?;
        assert_eq!(ears.heard()?, [""; 0], "{routine}");
    }
    Ok(())
}

/// Attack: a routine that an attacker may steer sets the settings that say who calls, so that the event goes
/// to the attacker's stream.
#[test]
fn what_a_routine_sets_changes_nothing_of_who_its_caller_is() -> Result<()> {
    let api = Api::new("forged")?;
    furnish(&api, "forged")?;
    api.sql(
        "create procedure forge(what text) language plpgsql as $f$
         begin
             perform set_config('request.user_id', '2', false);
             perform set_config('request.jwt.claims', '{\"sub\": \"2\"}', false);
             perform set_config('sse.execution_id', 'forged', false);
             raise info '% 1', what;
             commit;
             perform set_config('sse.execution_id', '', false);
             raise info '% 2', what;
             perform sse.publish(what || ' 3', 'caller', delivery => 'immediate');
             raise info '% 4', what;
         end $f$;
         grant usage on schema sse to app; grant execute on function sse.publish to app;
         comment on procedure forge(text) is E'HTTP POST\\n@sse\\n@sse_scope caller';",
    )?;
    let (alice, bob) = (issue(shared(), ALICE)?, issue(shared(), BOB)?);
    let mut ears = Ears::new(&api, "forge");
    for (name, query, token) in [
        ("alice", "?id=own", Some(&alice)),
        ("alice forged", "?id=forged", Some(&alice)),
        ("bob", "?id=own", Some(&bob)),
        ("bob forged", "?id=forged", Some(&bob)),
        ("bob without id", "", Some(&bob)),
        ("anonymous forged", "?id=forged", None),
    ] {
        ears.open(name, query, token.map(String::as_str))?;
    }
    call(&api.with(ALICE)?, "forge", "own", &json!({"what": "w"}))?;
    let mut heard = ears.heard()?;
    heard.sort();
    assert_eq!(heard, ["alice: w 1", "alice: w 2", "alice: w 3", "alice: w 4"]);
    Ok(())
}

/// Attack: two callers use one execution id at the same time, and one of them reads what is the other's.
#[test]
fn two_calls_with_one_id_at_once_are_told_apart_by_their_users() -> Result<()> {
    let api = Api::new("twice")?;
    api.sql(
        "create procedure slow(what text) language plpgsql as $f$
         begin
             raise info '% 1', what;
             commit;
             perform pg_advisory_xact_lock_shared(4711);
             raise info '% 2', what;
         end $f$;
         comment on procedure slow(text) is E'HTTP POST\\n@sse\\n@sse_scope caller';",
    )?;
    let (alice, bob) = (issue(shared(), ALICE)?, issue(shared(), BOB)?);
    let mut ears = Ears::new(&api, "slow");
    ears.open("alice", "?id=twice", Some(&alice))?;
    ears.open("bob", "?id=twice", Some(&bob))?;
    let mut gate = api.session()?;
    gate.run("select pg_advisory_lock(4711)")?.ok()?;
    let (as_alice, as_bob) = (api.with(ALICE)?, api.with(BOB)?);
    std::thread::scope(|scope| -> Result<()> {
        let calls = [(&as_alice, "of alice"), (&as_bob, "of bob")].map(|(api, what)| {
            scope.spawn(move || call(api, "slow", "twice", &json!({"what": what})).map(drop))
        });
        wait_for(SOON, "both wait", || {
            let waiting =
                "select count(*) from pg_locks where locktype = 'advisory' and objid = 4711 and not granted";
            Ok((api.sql(waiting)? == "2").then_some(()))
        })?;
        gate.run("select pg_advisory_unlock(4711)")?.ok()?;
        for call in calls {
            call.join().map_err(|_| anyhow::anyhow!("a call panicked"))??;
        }
        Ok(())
    })?;
    assert_eq!(ears.heard()?, ["alice: of alice 1", "alice: of alice 2", "bob: of bob 1", "bob: of bob 2"]);
    Ok(())
}

/// Attack: a worker that has just served somebody serves the attacker, whose events then go under the other's
/// name; or the other way round.
#[test]
fn nothing_of_a_caller_is_left_for_the_next_call_of_its_worker() -> Result<()> {
    let cluster = start(builder().setting("sse.call_workers", 1))?;
    let api = Api::of(&cluster, "next")?;
    furnish(&api, "next")?;
    api.sql(
        "create procedure fail_late(what text) language plpgsql as $f$
         begin raise info '%', what; commit; raise exception 'no'; end $f$;
         comment on procedure fail_late(text) is E'HTTP POST\\n@sse\\n@sse_scope caller';",
    )?;
    let (alice, bob) = (issue(&cluster, ALICE)?, issue(&cluster, BOB)?);
    let mut ears = Ears::new(&api, "tell");
    ears.open("alice", "?id=x", Some(&alice))?;
    ears.open("bob", "?id=x", Some(&bob))?;
    let (as_alice, as_bob) = (api.with(ALICE)?, api.with(BOB)?);
    for _ in 0..3 {
        call(&as_alice, "tell", "x", &json!({"what": "1"}))?;
        call(&api, "tell", "x", &json!({"what": "2"}))?;
        call(&as_bob, "tell", "x", &json!({"what": "3"}))?;
        call(&as_alice, "tell", "", &json!({"what": "4"}))?;
        let failed = as_alice.request("POST", "fail-late").header("X-Execution-Id", "x");
        ensure!(api.http.request(&failed.json(&json!({"what": "5"})))?.status() == 400, "it fails");
        call(&api, "tell-now", "x", &json!({"what": "6"}))?;
        assert_eq!(ears.heard()?, ["alice: 1", "alice: 5", "bob: 3"]);
    }
    Ok(())
}

/// Attack: a session that is no call says by its settings that it is one; or a call connects to another
/// session and raises there.
#[test]
fn what_no_call_raised_reaches_nobody_and_is_counted_and_said_once() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "sessions")?;
    furnish(&api, "sessions")?;
    let alice = issue(&cluster, ALICE)?;
    let mut ears = Ears::new(&api, "tell");
    ears.open("alice", "?id=x", Some(&alice))?;
    ears.open("alice without id", "", Some(&alice))?;
    ears.open("anonymous", "?id=x", None)?;
    let forged =
        "select set_config('request.user_id', '1', false), set_config('sse.execution_id', 'x', false),
                         set_config('request.jwt.claims', '{\"sub\": \"1\"}', false);";
    let mut session = api.session()?;
    session.run(&format!("{forged} select tell('1'); select tell('2'); select tell_now('3');"))?.ok()?;
    session
        .run("select sse.publish('4', 'caller'); select sse.publish('5', 'caller', execution_id => 'x')")?
        .ok()?;
    assert_eq!(ears.heard()?, [""; 0]);
    assert_eq!(figure(&cluster, "stat_ring", "unmatched_total")?, 5);
    let said = |name: &str| -> Result<usize> {
        let line = format!("an event of sessions.{name} with scope caller reaches no subscriber");
        Ok(cluster.log()?.matches(&line).count())
    };
    assert_eq!((said("tell")?, said("tell_now")?), (1, 1), "{}", cluster.log()?);
    if common::has_extension("scope_caller", "dblink")? {
        let socket = cluster.sql("show unix_socket_directories")?;
        let (port, database) = (cluster.sql("show port")?, cluster.sql("select current_database()")?);
        let user = cluster.sql("select current_user")?;
        api.sql(&format!(
            "create extension dblink schema public;
             create function elsewhere(what text) returns text language plpgsql security definer as $f$
             begin
                 perform public.dblink_connect('c', 'host={socket} port={port} dbname={database} user={user}');
                 perform public.dblink_exec('c', format('do $d$ begin perform sessions.tell(%L); end $d$', what));
                 perform public.dblink_disconnect('c');
                 return what;
             end $f$;
             comment on function elsewhere(text) is 'HTTP POST';"
        ))?;
        ready(&cluster)?;
        call(&api.with(ALICE)?, "elsewhere", "x", &json!({"what": "6"}))?;
        assert_eq!(ears.heard()?, [""; 0]);
        assert_eq!(figure(&cluster, "stat_ring", "unmatched_total")?, 6);
    }
    // The same from a call arrives.
    call(&api.with(ALICE)?, "tell", "x", &json!({"what": "7"}))?;
    assert_eq!(ears.heard()?, ["alice: 7"]);
    Ok(())
}

/// Attack: whoever was disconnected goes on reading what the user's calls say.
#[test]
fn a_disconnected_user_hears_nothing_with_the_old_token() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "gone")?;
    furnish(&api, "gone")?;
    let old = issue(&cluster, ALICE)?;
    let mut stream = listen(api.http, &api.path("tell/info?id=x"), Some(&old))?;
    cluster.sql("select sse.disconnect('1')")?;
    let rest = stream.wait_for_end(SOON)?;
    ensure!(rest.is_empty(), "{rest:?}");
    let mut ears = Ears::new(&api, "tell");
    let new = issue(&cluster, ALICE)?;
    ears.open("alice", "?id=x", Some(&new))?;
    call(&api.with(ALICE)?, "tell", "x", &json!({"what": "new"}))?;
    assert_eq!(ears.heard()?, ["alice: new"]);
    assert_eq!(status_of(api.http, &get(&api.path("tell/info?id=x"), Some(&old)))?, 401);
    Ok(())
}
