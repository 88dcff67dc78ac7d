//! Tokens of a real server: what `sse.issue_token` makes, where the secret comes from, and that nobody is
//! shown it (C1.3, C4.7).
//!
//! Not for who is let in with one (`door.rs`), nor for keys other than a secret (the gateway's own tests).

mod common;

use anyhow::{Context, Result, ensure};
use cluster::http::Client;
use cluster::{Cluster, SessionOptions, wait_for, wait_until};
use common::tokens::{ALICE, SECRET, builder, claims, get, issue, listen, mint, now, quoted, status_of};
use common::{SOON, announcer, figure, gateway_pid};

const PATH: &str = "/api/closed/info";

/// Creates `closed(text)`, whose stream is for the authenticated.
fn furnish(cluster: &Cluster) -> Result<Client> {
    cluster.sql(&announcer("closed", "@sse\n@authorize"))?;
    cluster.http()
}

fn waits_for(http: Client, token: &str, wanted: u16) -> Result<()> {
    wait_for(SOON, &format!("the token is answered with {wanted}"), || {
        Ok((status_of(http, &get(PATH, Some(token)))? == wanted).then_some(()))
    })
}

/// A file of the server's user, as that user makes it: in a shell with this umask.
fn write_file(cluster: &Cluster, path: &str, umask: &str, content: &str) -> Result<()> {
    // A new file each time: every reader sees either all of it or the file before.
    let program = format!("umask {umask}; cat > {path}.new && mv {path}.new {path}");
    cluster.sql(&format!("copy (select {}) to program {}", quoted(content), quoted(&program)))?;
    Ok(())
}

#[test]
fn an_issued_token_says_what_was_asked_for_and_opens_the_stream() -> Result<()> {
    let cluster = builder()
        .setting("sse.jwt_issuer", "https://issuer.example")
        .setting("sse.jwt_audience", "pg_sse")
        .setting("sse.claim_user_name", "who, name")
        .start()?;
    let http = furnish(&cluster)?;
    let token =
        cluster.sql("select sse.issue_token('1', 'alice', '{admin,\"a, b\",NULL,\"\"}', '90 minutes')")?;
    let said = claims(&cluster, &token)?;
    assert_eq!(said["user_id"], "1");
    assert_eq!(said["who"], "alice");
    assert_eq!(said["user_roles"], serde_json::json!(["admin", "a, b"]));
    assert_eq!(said["iss"], "https://issuer.example");
    assert_eq!(said["aud"], "pg_sse");
    let lifetime = said["exp"].as_f64().context("exp")? - said["iat"].as_f64().context("iat")?;
    ensure!((5_398.0..=5_400.0).contains(&lifetime), "{said}");
    assert_eq!(status_of(http, &get(PATH, Some(&token)))?, 200);
    // The setting's lifetime, and no claim for what is null.
    let token = cluster.sql("select sse.issue_token('1')")?;
    let said = claims(&cluster, &token)?;
    let lifetime = said["exp"].as_f64().context("exp")? - said["iat"].as_f64().context("iat")?;
    ensure!((1_209_598.0..=1_209_600.0).contains(&lifetime), "14 days: {said}");
    ensure!(said.get("who").is_none() && said.get("user_roles").is_none(), "{said}");
    cluster.reconfigure("sse.session_lifetime", "1h")?;
    wait_for(SOON, "the lifetime is another", || {
        let said = claims(&cluster, &cluster.sql("select sse.issue_token('1')")?)?;
        let lifetime = said["exp"].as_f64().context("exp")? - said["iat"].as_f64().context("iat")?;
        Ok((lifetime <= 3_600.0).then_some(()))
    })
}

#[test]
fn a_token_is_not_issued_without_secret_lifetime_or_permission() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let state = |sql: &str| -> Result<String> {
        let reply = cluster.session()?.run(sql)?;
        let error = reply.error().with_context(|| format!("{sql} was accepted"))?;
        ensure!(!format!("{error:?}").contains(SECRET), "{error:?}");
        error.sqlstate.clone().context("no SQLSTATE")
    };
    assert_eq!(state("select sse.issue_token('1')")?, "55000", "there is no secret");
    cluster.reconfigure("sse.jwt_secret", SECRET)?;
    wait_for(SOON, "there is a secret", || Ok(cluster.sql("select sse.issue_token('1')").ok()))?;
    for lifetime in ["0", "-1 second", "-1 month", "9000 years", "178000000 years"] {
        assert_eq!(
            state(&format!("select sse.issue_token('1', lifetime => '{lifetime}')"))?,
            "22023",
            "{lifetime}"
        );
    }
    for too_much in [
        "repeat('x', 100000)",
        "'1', repeat('x', 100000)",
        "'1', 'alice', array_fill('role'::text, '{10000}')",
    ] {
        assert_eq!(state(&format!("select sse.issue_token({too_much})"))?, "22023", "{too_much}");
    }
    cluster.sql("create role ordinary login")?;
    let options = SessionOptions { user: "ordinary".to_owned(), ..SessionOptions::default() };
    let reply = cluster.session_with(&options)?.run("select sse.issue_token('1')")?;
    assert_eq!(reply.sqlstate(), Some("42501"));
    cluster.sql("grant execute on function sse.issue_token(text, text, text[], interval) to ordinary")?;
    cluster.session_with(&options)?.run("select sse.issue_token('1')")?.ok()?;
    Ok(())
}

#[test]
fn a_changed_secret_file_counts_without_a_restart_and_a_broken_one_leaves_the_last_good() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let http = furnish(&cluster)?;
    let path = cluster.data_dir().join("secret").display().to_string();
    let (first, second) = (format!("first {SECRET}"), format!("second {SECRET}"));
    write_file(&cluster, &path, "077", &first)?;
    cluster.reconfigure("sse.jwt_secret_file", &path)?;
    let gateway = gateway_pid(&cluster)?;
    let claims = format!(r#"{{"sub":"1","exp":{}}}"#, now()? + 3_600);
    let (old, new) = (mint(&cluster, &first, &claims)?, mint(&cluster, &second, &claims)?);
    waits_for(http, &old, 200)?;
    let mut stream = listen(http, PATH, Some(&old))?;
    assert_eq!(status_of(http, &get(PATH, Some(&new)))?, 401);
    // A broken file is reported, and the last good secret stays in force.
    for (umask, content, said) in
        [("077", "short", "at least 32 bytes"), ("022", second.as_str(), "others than the server's user")]
    {
        let mark = cluster.log_mark()?;
        write_file(&cluster, &path, umask, content)?;
        wait_for(SOON, "the log says it", || {
            assert_eq!(status_of(http, &get(PATH, Some(&old)))?, 200);
            assert_eq!(status_of(http, &get(PATH, Some(&new)))?, 401);
            let log = cluster.log_since(mark)?;
            Ok((log.contains("sse.jwt_secret_file") && log.contains(said)).then_some(()))
        })?;
    }
    write_file(&cluster, &path, "077", &second)?;
    waits_for(http, &new, 200)?;
    assert_eq!(status_of(http, &get(PATH, Some(&old)))?, 401);
    let issued = issue(&cluster, ALICE)?;
    assert_eq!(status_of(http, &get(PATH, Some(&issued)))?, 200, "signed with the new one");
    cluster.sql("select closed('goes on')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "goes on", "streams stay");
    assert_eq!(gateway_pid(&cluster)?, gateway);
    ensure!(!cluster.log()?.contains(SECRET));
    Ok(())
}

/// Everywhere SQL could show a setting, `sse.jwt_secret` is `(set)`; to those without the right to see
/// settings, nothing.
#[test]
fn nobody_is_shown_the_secret() -> Result<()> {
    let cluster = builder().start()?;
    cluster.sql(
        "create role monitor login in role pg_monitor, pg_read_all_settings; create role ordinary login",
    )?;
    assert_eq!(cluster.sql("show sse.jwt_secret")?, "(set)");
    let ways = [
        "show sse.jwt_secret",
        "show all",
        "select current_setting('sse.jwt_secret')",
        "select s from pg_settings s where name like 'sse.%'",
        "select * from pg_show_all_settings()",
        "select * from pg_db_role_setting",
        "select sse.issue_token('1')",
    ];
    for user in ["postgres", "monitor", "ordinary"] {
        let options = SessionOptions { user: user.to_owned(), ..SessionOptions::default() };
        let mut session = cluster.session_with(&options)?;
        for sql in ways {
            let reply = session.run(sql)?;
            ensure!(!format!("{reply:?}").contains(SECRET), "{user}: {sql}");
            let is_told = reply.rows.iter().flatten().flatten().any(|cell| cell.contains("(set)"));
            ensure!(user != "ordinary" || !is_told, "{user}: {sql} tells that there is one");
        }
    }
    // Nor can it be changed but in the configuration.
    let reply = cluster.session()?.run("set sse.jwt_secret = 'another secret of at least 32 bytes'")?;
    assert_eq!(reply.sqlstate(), Some("55P02"));
    Ok(())
}

// Postgres says in the log which settings a reload has changed, and to what.
/// A library cannot prevent this, because it is not loaded. The documentation says so, and recommends the
/// file; if Postgres changes this, the paragraph can go.
#[test]
fn without_the_library_the_secret_is_a_setting_that_every_role_reads_as_documented() -> Result<()> {
    let secret = "0123456789abcdef0123456789abcdef";
    let cluster = Cluster::builder().setting("sse.jwt_secret", secret).start()?;
    cluster.sql("create role anybody login")?;
    let mut shown = Vec::new();
    for libraries in ["pg_sse", ""] {
        cluster.configure("shared_preload_libraries", libraries)?;
        cluster.restart(cluster::StopMode::Fast)?;
        let options = SessionOptions { user: "anybody".to_owned(), ..SessionOptions::default() };
        let reply = cluster.session_with(&options)?.run("show sse.jwt_secret")?;
        shown.push(if reply.error().is_some() { "refused".to_owned() } else { reply.text() });
    }
    assert_eq!(shown, ["refused", secret]);
    Ok(())
}

#[test]
fn the_log_is_not_told_the_secret() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let http = furnish(&cluster)?;
    let claims = format!(r#"{{"sub":"1","exp":{}}}"#, now()? + 3_600);
    let mark = cluster.log_mark()?;
    cluster.reconfigure("sse.jwt_secret", SECRET)?;
    waits_for(http, &mint(&cluster, SECRET, &claims)?, 200)?;
    let other = format!("other {SECRET}");
    cluster.reconfigure("sse.jwt_secret", &other)?;
    waits_for(http, &mint(&cluster, &other, &claims)?, 200)?;
    // Refused: the last good one stays.
    for refused in ["a short secret", "another short secret"] {
        cluster.reconfigure("sse.jwt_secret", refused)?;
        cluster.wait_for_log(mark, "sse.jwt_secret")?;
        let reply = cluster.session()?.run(&format!("alter system set sse.jwt_secret = '{refused}'"))?;
        let error = reply.error().context("it was accepted")?;
        ensure!(!format!("{error:?}").contains(refused), "{error:?}");
    }
    waits_for(http, &mint(&cluster, &other, &claims)?, 200)?;
    cluster.reconfigure("sse.jwt_secret", "")?;
    waits_for(http, &mint(&cluster, &other, &claims)?, 401)?;
    let log = cluster.log_since(mark)?;
    // The statement that failed is the administrator's own; everything else must not tell.
    let told = |line: &&str| {
        !line.contains("STATEMENT:") && (line.contains(SECRET) || line.contains("short secret"))
    };
    let told: Vec<&str> = log.lines().filter(told).collect();
    ensure!(told.is_empty(), "{told:#?}");
    Ok(())
}

#[test]
fn a_parallel_query_runs_while_a_secret_is_set_and_so_does_issuing_after_it() -> Result<()> {
    let cluster = builder().start()?;
    let mut session = cluster.session()?;
    let setup = "create table numbers as select generate_series(1, 200000) as n; analyze numbers;
        set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0;
        set max_parallel_workers_per_gather = 2;";
    session.run(setup)?.ok()?;
    let plan = session.run("explain (analyze, costs off) select sum(n) from numbers")?.ok()?.text();
    ensure!(plan.contains("Workers Launched: 2"), "{plan}");
    assert_eq!(session.run("select sum(n) from numbers")?.ok()?.value(), Some("20000100000"));
    let token = session.run("select sse.issue_token('1')")?.ok()?;
    let http = furnish(&cluster)?;
    assert_eq!(status_of(http, &get(PATH, token.value()))?, 200);
    Ok(())
}

/// Tokens, their claims and the reasons for a refusal stay out of the log, at its chattiest.
#[test]
fn tokens_and_their_claims_never_reach_the_log() -> Result<()> {
    let cluster = builder().setting("log_min_messages", "debug5").start()?;
    let http = furnish(&cluster)?;
    let good = mint(&cluster, SECRET, &format!(r#"{{"sub":"subjectmark","exp":{}}}"#, now()? + 3_600))?;
    let bad = mint(&cluster, &format!("x{SECRET}"), r#"{"sub":"subjectmark","exp":1}"#)?;
    let mark = cluster.log_mark()?;
    let mut stream = listen(http, PATH, Some(&good))?;
    assert_eq!(status_of(http, &get(PATH, Some(&bad)))?, 401);
    assert_eq!(status_of(http, &get(&format!("{PATH}?token={bad}"), None))?, 401);
    cluster.sql("select closed('x')")?;
    stream.next_payload(SOON)?;
    drop(stream);
    wait_until(SOON, "the stream is gone", || {
        figure(&cluster, "stat_gateway", "subscribers").is_ok_and(|open| open == 0)
    })?;
    // The gateway's messages come in order: after this one nothing more is said of what came before.
    cluster.reconfigure("sse.static_root", "/the/end")?;
    wait_until(SOON, "the gateway has said the last line", || {
        let _ = status_of(http, &get("/a-file", None));
        cluster.log_since(mark).is_ok_and(|log| log.contains("sse.static_root \"/the/end\" is not served"))
    })?;
    let log = cluster.log_since(mark)?;
    for secret in [good.as_str(), &bad, "subjectmark", SECRET] {
        ensure!(!log.contains(secret), "{secret} is in the log");
    }
    Ok(())
}
