//! What a call cannot do, and what one call cannot see of another (C7.2).
//!
//! Not for limits of time and size (`call_limits.rs`), nor for sessions and origins (`call_login.rs`).

mod common;

use anyhow::{Result, ensure};
use cluster::wait_for;
use common::SOON;
use common::calls::{Api, Findings, builder, ready, start, told};
use common::tokens::{ALICE, Audience, BOB, MANAGER};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

#[test]
fn what_the_role_may_not_execute_is_not_there() -> Result<()> {
    let api = Api::new("privileges")?;
    api.sql(
        "create function f() returns int language sql as 'select 1'; comment on function f() is 'HTTP POST';
         create function closed() returns int language sql as 'select 1'; revoke execute on function closed() from public;
         comment on function closed() is 'HTTP POST';",
    )?;
    let status = |name: &str, wanted: u16| {
        wait_for(SOON, &format!("{name} is a {wanted}"), || {
            Ok((api.post(name, &json!({}))?.status() == wanted).then_some(()))
        })
    };
    status("f", 200)?;
    status("closed", 404)?;
    let problem = api.sql("select problem from sse.endpoints where url = '/api/privileges/closed'")?;
    ensure!(problem.contains("EXECUTE"), "{problem:?}");
    // Privileges change while calls run.
    api.sql("grant execute on function closed() to app")?;
    status("closed", 200)?;
    api.sql("revoke execute on function f() from public")?;
    ensure!(matches!(api.post("f", &json!({}))?.status(), 403 | 404), "after the revocation");
    status("f", 404)?;
    api.sql("create role workers; grant execute on function f() to workers")?;
    api.sql("grant workers to app")?;
    status("f", 200)
}

#[test]
fn row_security_holds_and_sees_who_calls() -> Result<()> {
    let api = Api::new("rows")?;
    api.sql(
        "create table notes (owner text, note text);
         insert into notes values ('1', 'of alice'), ('2', 'of bob');
         alter table notes enable row level security;
         create policy own on notes using (owner = current_setting('request.user_id', true));
         grant select, insert on notes to app;
         create function get_notes() returns setof text language sql stable as 'select note from rows.notes';
         comment on function get_notes() is 'HTTP';
         create function write_note(owner text) returns void language sql as $$ insert into rows.notes values (owner, 'x') $$;
         comment on function write_note(text) is 'HTTP POST';
         create function get_all() returns bigint language sql security definer stable as 'select count(*) from rows.notes';
         comment on function get_all() is 'HTTP';",
    )?;
    let (alice, bob) = (api.with(ALICE)?, api.with(BOB)?);
    let mut findings = Findings::default();
    // Interleaved: nothing of one caller stays for the next one.
    for _ in 0..5 {
        findings.expect("alice", told(&alice.get("get-notes")?), "200 [\"of alice\"]".to_owned());
        findings.expect("nobody", told(&api.get("get-notes")?), "200 []".to_owned());
        findings.expect("bob", told(&bob.get("get-notes")?), "200 [\"of bob\"]".to_owned());
    }
    findings.expect("for somebody else", alice.post("write-note", &json!({ "owner": "2" }))?.status(), 403);
    findings.expect("an owner's function", told(&api.get("get-all")?), "200 2".to_owned());
    findings.report()
}

/// Attack: SQL injection, in every place that a request has.
#[test]
fn nothing_of_a_request_is_ever_sql() -> Result<()> {
    let api = Api::new("injected")?;
    api.sql(
        "create table witness (x int); insert into witness values (1); grant all on witness to app;
         create function f(a text = 'd', b int = 0, c text[] = '{}') returns text language sql as $$ select a || b || c::text $$;
         comment on function f(text, int, text[]) is 'HTTP POST';
         create function g(a text = 'd') returns text language sql as 'select a'; comment on function g(text) is 'HTTP GET';
         create procedure p(a text, d jsonb = '{}', e text[] = '{}', inout o text = null) language plpgsql as $$ begin o := a || d || e::text; end $$;
         comment on procedure p(text, jsonb, text[], text) is 'HTTP POST';
         create function \"Odd\"\"; drop table injected.witness; --\"(\"a\"\"b\" text = 'x') returns text language sql as $$ select \"a\"\"b\" $$;
         comment on function \"Odd\"\"; drop table injected.witness; --\"(text) is 'HTTP GET /odd';",
    )?;
    let evil = [
        "'; drop table injected.witness; --",
        "x'); drop table injected.witness; --",
        "\"; drop table injected.witness; --",
        "$1",
        "$$; drop table injected.witness; $$",
        "\\'; drop table injected.witness; --",
        "1::text; drop table injected.witness",
        "{\"},drop table injected.witness",
        "%s %I %L",
        "a => (select 1)",
        "\u{2019}; drop table injected.witness; --",
    ];
    let mut findings = Findings::default();
    for text in evil {
        findings.expect(text, told(&api.post("f", &json!({ "a": text }))?), format!("200 {text}0{{}}"));
        findings.expect("a number", api.post("f", &json!({ "b": text }))?.status(), 400);
        let array = api.post("f", &json!({ "c": [text, text] }))?;
        findings.expect(&told(&array), array.status(), 200);
        findings.expect("a name", api.post("f", &json!({ text: "x" }))?.status(), 400);
        let encoded = utf8_percent_encode(text, NON_ALPHANUMERIC);
        findings.expect("a query", told(&api.get(&format!("g?a={encoded}"))?), format!("200 {text}"));
        findings.expect("a query's name", api.get(&format!("g?{encoded}=x"))?.status(), 400);
        findings.expect("a path", api.get(&format!("g/{encoded}"))?.status(), 404);
        let answer = api.post("p", &json!({ "a": text, "d": { text: text }, "e": [text, null, text] }))?;
        findings.expect(&format!("a procedure: {}", told(&answer)), answer.status(), 200);
        let plain: String = text.chars().filter(char::is_ascii).collect();
        for header in ["X-Execution-Id", "Accept", "User-Agent", "X-Anything", "Referer", "X-Forwarded-For"] {
            let answer = api.http.request(&api.request("GET", "g?a=x").header(header, &plain))?;
            findings.expect(
                &format!("{header}: {plain}: {}", told(&answer)),
                told(&answer),
                "200 x".to_owned(),
            );
        }
    }
    let odd = api.http.get("/odd?a%22b=y")?;
    findings.expect("an odd name", told(&odd), "200 y".to_owned());
    findings.expect("the witness", api.sql("select count(*) from witness")?, "1".to_owned());
    findings.report()
}

/// Everything that a session can keep, and how it ends: in success, in an error, in an error after a COMMIT.
// Long because it is one list of what a session can keep.
#[test]
fn nothing_of_a_call_is_there_in_the_next() -> Result<()> {
    let cluster = start(builder().setting("sse.call_workers", "1"))?;
    let api = Api::of(&cluster, "traces")?;
    api.sql(
        "create sequence s; grant all on sequence s to app; grant temporary on database postgres to app;
         create role other; grant other to app;
         create procedure leave(how text) language plpgsql as $$ begin
           perform set_config('my.own', 'left', false);
           perform set_config('request.user_id', 'left', false);
           perform set_config('request.extra', 'left', false);
           perform set_config('work_mem', '77kB', false);
           perform set_config('TimeZone', 'Asia/Tokyo', false);
           perform set_config('statement_timeout', '12345', false);
           perform set_config('default_transaction_read_only', 'on', false);
           perform set_config('sse.execution_id', 'left', false);
           create temp table left_over (x int);
           create temp table pg_class (x int);
           perform pg_advisory_lock(4711);
           execute 'prepare left_plan as select 1';
           execute 'declare left_cursor cursor with hold for select 1';
           perform nextval('traces.s');
           execute 'set role other';
           if how = 'error' then raise exception 'left'; end if;
           if how = 'commit' then set local default_transaction_read_only = off; commit; raise exception 'left'; end if;
         end $$;
         comment on procedure leave(text) is 'HTTP POST';
         create function get_traces() returns json language plpgsql stable as $$ declare seq text := 'none'; begin
           begin seq := currval('traces.s')::text; exception when object_not_in_prerequisite_state then null; end;
           return json_build_object(
             'own', current_setting('my.own', true), 'id', current_setting('request.user_id', true),
             'extra', current_setting('request.extra', true), 'memory', current_setting('work_mem'),
             'zone', current_setting('TimeZone'), 'timeout', current_setting('statement_timeout'),
             'ro', current_setting('default_transaction_read_only'), 'execution', current_setting('sse.execution_id'),
             'temp', (select count(*) from pg_catalog.pg_class where relname = 'left_over' and pg_table_is_visible(oid)),
             'locks', (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
             'plans', (select count(*) from pg_prepared_statements where name = 'left_plan'),
             'cursors', (select count(*) from pg_cursors where name = 'left_cursor'),
             'sequence', seq, 'role', current_user, 'session', session_user); end $$;
         comment on function get_traces() is 'HTTP GET';",
    )?;
    let clean = json!({
        "own": "", "id": "", "extra": "", "memory": "4MB", "zone": "UTC", "timeout": "0", "ro": "off", "execution": "",
        "temp": 0, "locks": 0, "plans": 0, "cursors": 0, "sequence": "none", "role": "app", "session": "app",
    });
    let mut findings = Findings::default();
    for how in ["success", "error", "commit"] {
        for round in 0..2 {
            let answer = api.post("leave", &json!({ "how": how }))?;
            findings.expect(
                &format!("{how}: {}", told(&answer)),
                answer.status(),
                if how == "success" { 204 } else { 400 },
            );
            let mut found = api.get("get-traces")?.json()?;
            for name in ["own", "extra"] {
                if found[name].is_null() {
                    found[name] = json!("");
                }
            }
            findings.expect(&format!("{how} {round}"), found, clean.clone());
        }
    }
    findings.report()
}

#[test]
fn a_get_that_was_not_asked_for_as_one_writes_nothing() -> Result<()> {
    let api = Api::new("reading")?;
    api.sql(
        "create table t (x int); grant all on t to app;
         create function get_by_name() returns int language sql as 'insert into reading.t values (1) returning x'; comment on function get_by_name() is 'HTTP';
         create function get_by_word() returns int language sql as 'insert into reading.t values (2) returning x'; comment on function get_by_word() is 'HTTP GET';
         create function get_by_path() returns int language sql as 'insert into reading.t values (3) returning x'; comment on function get_by_path() is 'HTTP /reading/by-path';
         create function get_ro() returns text language sql as $$ select current_setting('transaction_read_only') $$; comment on function get_ro() is 'HTTP';",
    )?;
    let mut findings = Findings::default();
    findings.expect("by its name", api.get("get-by-name")?.status() >= 400, true);
    findings.expect("by the line", told(&api.get("get-by-word")?), "200 2".to_owned());
    findings.expect("by its path", api.http.get("/reading/by-path")?.status() >= 400, true);
    findings.expect("read only", told(&api.get("get-ro")?), "200 on".to_owned());
    findings.expect("rows", api.sql("select string_agg(x::text, ' ') from t")?, "2".to_owned());
    findings.report()
}

// Long because it is one list of settings, asked in each kind of call.
#[test]
fn the_nine_settings_of_a_call_are_there_also_across_commits() -> Result<()> {
    let api = Api::new("context")?;
    api.sql(
        "create procedure p(inout seen jsonb = '[]') language plpgsql as $$ begin
           for i in 1..3 loop
             seen := seen || jsonb_build_array(jsonb_build_object(
               'id', current_setting('request.user_id'), 'name', current_setting('request.user_name'), 'roles', current_setting('request.user_roles'),
               'claims', current_setting('request.jwt.claims'), 'headers', current_setting('request.headers'),
               'method', current_setting('request.method'), 'path', current_setting('request.path'),
               'address', current_setting('request.ip_address'), 'execution', current_setting('sse.execution_id')));
             if i = 1 then commit; else rollback; end if;
           end loop; end $$;
         comment on procedure p(jsonb) is 'HTTP POST';",
    )?;
    let ask = |api: &Api<'_>| -> Result<Vec<Value>> {
        let request = api
            .request("POST", "p")
            .json(&json!({}))
            .header("X-NpgsqlRest-ID", "job 1")
            .header("X-Two", "a")
            .header("X-Two", "b")
            .header("Cookie", "other=1");
        let answer = api.http.request(&request)?;
        ensure!(answer.status() == 200, "{}", told(&answer));
        Ok(answer.json()?["seen"].as_array().cloned().unwrap_or_default())
    };
    let mut findings = Findings::default();
    let seen = ask(&api.with(MANAGER)?)?;
    findings.expect("looks", seen.len(), 3);
    findings.expect("the same", seen.iter().all(|look| *look == seen[0]), true);
    let look = &seen[0];
    for (name, wanted) in [
        ("id", "4"),
        ("name", "mary"),
        ("method", "POST"),
        ("path", "/api/context/p"),
        ("address", "127.0.0.1"),
        ("execution", "job 1"),
    ] {
        findings.expect(name, look[name].as_str(), Some(wanted));
    }
    let inner =
        |name: &str| serde_json::from_str::<Value>(look[name].as_str().unwrap_or("")).unwrap_or_default();
    findings.expect("roles", inner("roles"), json!(["Manager", "staff"]));
    findings.expect("claims", inner("claims")["user_name"].clone(), json!("mary"));
    let headers = inner("headers");
    findings.expect("a header", headers["content-type"].clone(), json!("application/json"));
    findings.expect(
        &format!("{headers}"),
        (headers.get("authorization").is_some(), headers.get("cookie").is_some()),
        (false, false),
    );
    findings.expect(
        "repeated",
        headers["x-two"].as_str().is_some_and(|value| value.contains('a') && value.contains('b')),
        true,
    );

    let look = &ask(&api)?[0];
    for name in ["id", "name", "roles", "claims"] {
        findings.expect(&format!("nobody's {name}"), look[name].as_str(), Some(""));
    }
    let answer = api.http.request(&api.request("POST", "p").json(&json!({})))?.json()?;
    findings.expect("no execution id", answer["seen"][0]["execution"].clone(), json!(""));
    findings.report()
}

#[test]
fn what_a_call_raises_carries_its_execution_id_and_its_callers_identity() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "raising")?;
    api.sql(
        "create procedure tell(what text) language plpgsql as $$ begin raise info '%', what; end $$;
         comment on procedure tell(text) is 'HTTP POST\n@sse\n@sse_scope matching';
         create procedure all_of_them(what text) language plpgsql as $$ begin raise info '%', what; end $$;
         comment on procedure all_of_them(text) is 'HTTP POST\n@sse';",
    )?;
    let mut audience = Audience::of_everybody(&cluster, "/api/raising/tell/info")?;
    audience.joins("job", Some(ALICE), "/api/raising/tell/info?job-1")?;
    let tell = |who: &Api<'_>, routine: &str, id: &str, what: &str| -> Result<()> {
        let request =
            who.request("POST", routine).json(&json!({ "what": what })).header("X-NpgsqlRest-ID", id);
        let answer = who.http.request(&request)?;
        ensure!(answer.status() == 204, "{}", told(&answer));
        Ok(())
    };
    let (alice, bob) = (api.with(ALICE)?, api.with(BOB)?);
    tell(&alice, "tell", "job-1", "alice's")?;
    tell(&bob, "tell", "", "bob's")?;
    tell(&api, "tell", "", "nobody's")?;
    tell(&alice, "all-of-them", "job-2", "to all but the job")?;
    let heard = audience.heard()?;
    let all = "to all but the job";
    assert_eq!(heard["nobody"], [all]);
    assert_eq!(heard["alice"], ["alice's", all]);
    assert_eq!(heard["job"], ["alice's"]);
    assert_eq!(heard["bob"], ["bob's", all]);
    assert_eq!(heard["manager"], ["bob's", all], "staff, as bob is");
    assert_eq!(heard["admin"], [all]);
    // An id that is too long is refused, as at a stream; the error does not repeat it.
    let long =
        api.request("POST", "tell").json(&json!({ "what": "x" })).header("X-Execution-Id", &"x".repeat(201));
    assert_eq!(api.http.request(&long)?.status(), 400);
    Ok(())
}

/// A worker that dies in a call may have committed: the call is answered, and never run again.
#[test]
fn a_worker_that_dies_has_its_call_answered_with_502_and_calls_go_on() -> Result<()> {
    let cluster = start(builder())?;
    let api = Api::of(&cluster, "dying")?;
    api.sql(
        "create table ran (x int); grant all on ran to app;
         create procedure die() language plpgsql as $$ begin
           insert into dying.ran values (1); commit; perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(10); end $$;
         comment on procedure die() is 'HTTP POST';",
    )?;
    for round in 1..=3 {
        let answer = api.post("die", &json!({}))?;
        assert_eq!(answer.status(), 502, "{}", told(&answer));
        assert_eq!(api.sql("select count(*) from ran")?, round.to_string());
        ready(&cluster)?;
    }
    Ok(())
}

#[test]
fn databases_are_dropped_and_renamed_while_calls_are_served() -> Result<()> {
    let cluster = builder().setting("sse.database", "shop").start()?;
    cluster.sql("create role app login")?;
    cluster.sql("create database shop")?;
    let furnish = "create extension pg_sse; create function f() returns int language sql as 'select 1'; comment on function f() is 'HTTP GET'";
    cluster.sql_in("shop", furnish)?;
    let served = || {
        wait_for(SOON * 3, "f is served", || {
            // The gateway listens anew for each database, and its port may be another one each time.
            let answer = cluster.http_in("shop").and_then(|http| http.get("/api/f"));
            Ok((answer.map(|answer| answer.status()).ok() == Some(200)).then_some(()))
        })
    };
    served()?;
    // pg_sse leaves other databases alone, even with idle workers.
    cluster.sql("create database other")?;
    cluster.sql("drop database other")?;
    cluster.sql("alter database shop rename to store")?;
    cluster.sql("alter database store rename to shop")?;
    served()?;
    cluster.sql("drop database shop")?;
    cluster.sql("create database shop")?;
    cluster.sql_in("shop", furnish)?;
    served()
}
