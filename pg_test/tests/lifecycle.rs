//! From the first start to the last stop: what waits for what, and what stands in whose way (C1.1, C1.2,
//! C1.4, C6.7).

mod common;

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::http::Client;
use cluster::{Account, Cluster, Install, Preload, StopMode, wait_for, wait_until};
use common::{
    SOON, announcer, gateway_pid, log_has_restarts, provoke, state, status, wait_for_line, wait_for_status,
};

/// Statements about databases return within this although streams are open. Postgres itself polls every 0.1
/// s.
const PROMPT: Duration = Duration::from_secs(4);

/// Processor time that a process has used, in clock ticks of 10 ms.
fn ticks(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(") ").context("not a stat line")?.1;
    Ok(fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum())
}

/// How often the first thread of a process has gone to sleep by itself.
fn sleeps(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    Ok(line.context("no count of context switches")?.trim().parse()?)
}

/// Waits until the gateway has looked three times more for what it waits for. It may look once a second, and
/// do next to nothing between; when the wait has just begun, it may be busy with that.
fn it_looks_again_without_work(pid: u32) -> Result<()> {
    let now = || Ok::<_, anyhow::Error>((Instant::now(), sleeps(pid)?, ticks(pid)?));
    let mut before = now()?;
    wait_for(SOON * 2, "three looks in more than a second, with little work", || {
        let (began, slept, worked) = before;
        if sleeps(pid)? < slept + 3 {
            return Ok(None);
        }
        before = now()?;
        let is_quiet = before.0 - began > Duration::from_secs(1) && before.2 - worked <= 10;
        Ok(is_quiet.then_some(()))
    })
}

#[test]
fn create_extension_without_the_preload_fails_and_says_which_line_to_add_where() -> Result<()> {
    let cluster =
        Cluster::builder().preload(Preload::Libraries(String::new())).without_extension().start()?;
    let reply = cluster.session()?.run("create extension pg_sse")?;
    let error = reply.error().context("it succeeded")?;
    assert_eq!(error.sqlstate.as_deref(), Some("55000"), "{error:?}");
    let hint = error.field("HINT").context("no hint")?;
    ensure!(
        hint.contains("shared_preload_libraries = 'pg_sse'") && hint.contains("postgresql.conf"),
        "{hint}"
    );
    Ok(())
}

#[test]
fn a_library_and_a_script_of_different_versions_are_a_clear_error() -> Result<()> {
    let install = Arc::new(Install::of(Install::shared()?.original())?);
    let cluster = Cluster::builder().install(Arc::clone(&install)).without_extension().start()?;
    let scripts = install.pg_config().sharedir.join("extension");
    let version = env!("CARGO_PKG_VERSION");
    let script = fs::read_to_string(scripts.join(format!("pg_sse--{version}.sql")))?;
    fs::write(scripts.join("pg_sse--9.9.9.sql"), script.replace(version, "9.9.9"))?;
    let reply = cluster.session()?.run("create extension pg_sse version '9.9.9'")?;
    let error = reply.error().context("it succeeded")?;
    ensure!(error.text.contains("9.9.9") && error.text.contains(version), "{error:?}");
    assert_eq!(cluster.sql("select count(*) from pg_extension where extname = 'pg_sse'")?, "0");
    Ok(())
}

#[test]
fn create_extension_in_a_database_that_is_not_served_warns() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    cluster.sql("create database other")?;
    let options = cluster::SessionOptions { database: "other".to_owned(), ..Default::default() };
    let reply = cluster.session_with(&options)?.run("create extension pg_sse")?.ok()?;
    let warnings = reply.texts("WARNING");
    ensure!(warnings.len() == 1 && warnings[0].contains("other"), "{:?}", reply.messages);
    cluster.sql_in("other", &announcer("f", "@sse\n@authorise"))?;
    assert_eq!(status(cluster.http()?, "/api/f/info")?, 404);
    Ok(())
}

#[test]
fn the_gateway_waits_for_its_extension_and_its_database_without_work_and_with_one_line_each() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.database", "later").without_extension().start()?;
    let pid = gateway_pid(&cluster)?;
    let log = |text: &str| -> Result<usize> {
        Ok(cluster.log()?.lines().filter(|line| line.contains(text)).count())
    };
    wait_for_line(&cluster, "does not exist")?;
    let before = ticks(pid)?;
    it_looks_again_without_work(pid)?;
    cluster.sql("create database later")?;
    wait_for_line(&cluster, "waiting for CREATE EXTENSION")?;
    it_looks_again_without_work(pid)?;
    let used = ticks(pid)? - before;
    ensure!(used <= 20, "{used} ticks of 10 ms for some looks");
    assert_eq!((log("does not exist")?, log("waiting for CREATE EXTENSION")?), (1, 1));
    ensure!(!log_has_restarts(&cluster)?, "the workers do not restart");
    cluster.sql_in("later", "create extension pg_sse")?;
    cluster.sql_in("later", &announcer("f", "@sse"))?;
    let mut stream = cluster.http_in("later")?.events("/api/f/info")?;
    cluster.sql_in("later", "select f('served')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "served");
    let line = format!("serving on 127.0.0.1:{}", cluster.http_in("later")?.address().port());
    assert_eq!((log(&line)?, log("serving on")?), (1, 1), "{}", cluster.log()?);
    Ok(())
}

#[test]
fn drop_extension_ends_the_streams_and_create_extension_serves_again() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    let http = cluster.http()?;
    cluster.sql(&announcer("f", "@sse"))?;
    let mut stream = http.events("/api/f/info")?;
    cluster.sql("drop extension pg_sse")?;
    let events = stream.wait_for_end(SOON)?;
    ensure!(events.iter().all(|event| event.event == "sse.ready"), "{events:?}");
    wait_until(SOON, "nothing listens", || http.connect().is_err())?;
    assert_eq!(cluster.sql("select f('nobody listens')")?, "");
    cluster.sql("create extension pg_sse")?;
    let mut stream = cluster.http()?.events("/api/f/info")?;
    cluster.sql("select f('again')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "again");
    Ok(())
}

#[test]
fn a_drop_extension_that_is_rolled_back_ends_nothing() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    cluster.sql(&announcer("f", "@sse"))?;
    let mut stream = cluster.http()?.events("/api/f/info")?;
    cluster.sql("begin; drop extension pg_sse; rollback")?;
    cluster.sql("select f('still')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "still");
    Ok(())
}

/// Of a gateway that serves database `app`. While one closes, its port is still told.
fn client_of_app(cluster: &Cluster) -> Result<Client> {
    wait_for(SOON, "somebody listens", || {
        Ok(Some(cluster.http_in("app")?).filter(|http| http.connect().is_ok()))
    })
}

#[test]
fn streams_stand_in_the_way_of_no_statement_about_databases() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.database", "app").without_extension().start()?;
    cluster.sql("create database app")?;
    cluster.sql("create database bystander")?;
    cluster.sql_in("app", "create extension pg_sse")?;
    cluster.sql_in("app", &announcer("f", "@sse"))?;
    let http = cluster.http_in("app")?;
    let mut stream = http.events("/api/f/info")?;
    let mut session = cluster.session()?;
    let mut promptly = |sql: &str| -> Result<()> {
        let started = Instant::now();
        session.run(sql)?.ok().with_context(|| sql.to_owned())?;
        ensure!(started.elapsed() < PROMPT, "{sql} took {:?}", started.elapsed());
        Ok(())
    };
    for sql in [
        "create database copy template app",
        "drop database copy",
        "alter database bystander rename to renamed",
        "drop database renamed",
        "alter database app set work_mem = '5MB'",
        "alter database app connection limit 50",
    ] {
        promptly(sql)?;
    }
    cluster.sql_in("app", "select f('served all the while')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "served all the while");
    promptly("alter database app rename to elsewhere")?;
    stream.wait_for_end(SOON)?;
    promptly("alter database elsewhere rename to app")?;
    let http = client_of_app(&cluster)?;
    let mut stream = http.events("/api/f/info")?;
    promptly("drop database app")?;
    stream.wait_for_end(SOON)?;
    promptly("create database app")?;
    cluster.sql_in("app", "create extension pg_sse")?;
    cluster.sql_in("app", &announcer("g", "@sse"))?;
    let http = client_of_app(&cluster)?;
    assert_eq!((status(http, "/api/g/info")?, status(http, "/api/f/info")?), (200, 404));
    Ok(())
}

#[test]
fn the_gateway_shows_in_pg_stat_activity_without_a_database() -> Result<()> {
    let cluster = common::shared();
    let pid = gateway_pid(cluster)?;
    let row =
        format!("select backend_type, datname, wait_event_type from pg_stat_activity where pid = {pid}");
    // It does not wait at every moment.
    wait_for(SOON, "it is shown, and waits", || {
        let row = cluster.sql(&row)?;
        ensure!(row.starts_with("pg_sse gateway||"), "{row}");
        Ok((row == "pg_sse gateway||Extension").then_some(()))
    })?;
    assert_eq!(
        cluster.sql("select count(*) from pg_stat_activity where backend_type = 'pg_sse gateway'")?,
        "1"
    );
    cluster.comes_to(
        SOON,
        "the catalog worker has left",
        "select count(*) from pg_stat_activity where backend_type = 'pg_sse catalog'",
        "0",
    )?;
    wait_until(SOON, "the state is serving", || state(cluster).is_ok_and(|state| state == "serving"))?;
    assert_eq!(cluster.sql("select pid from sse.stat_gateway")?, pid.to_string());
    Ok(())
}

#[test]
fn nothing_listens_on_a_hot_standby_and_promotion_serves() -> Result<()> {
    let primary = Cluster::builder().start()?;
    primary.sql(&announcer("f", "@sse"))?;
    let (standby, port) = common::standby::of(&primary)?;
    standby.start()?;
    let http = standby.client_at(([127, 0, 0, 1], port).into());
    standby.comes_to(SOON, "the standby follows", "select sse.url('f(text)')", "/api/f/info")?;
    ensure!(http.connect().is_err(), "something listens");
    assert_eq!(standby.sql("select state, port from sse.stat_gateway")?, "stopped|");
    assert_eq!(standby.sql("select count(*) from pg_stat_activity where backend_type like 'pg_sse%'")?, "0");
    standby.sql("select pg_promote()")?;
    wait_until(SOON, "the promoted server listens", || http.connect().is_ok())?;
    wait_for_status(http, "/api/f/info", 200, SOON)?;
    let mut stream = http.events("/api/f/info")?;
    standby.sql("select f('promoted')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "promoted");
    Ok(())
}

#[test]
fn single_user_mode_works_and_annotated_routines_are_plain_ones() -> Result<()> {
    let cluster = Cluster::builder().start()?;
    cluster.sql(&announcer("f", "@sse"))?;
    cluster.stop(StopMode::Fast)?;
    let mut single = Account::for_servers()?.command(&cluster.install().program("postgres"));
    single.args(["--single", "-j", "-D"]).arg(cluster.data_dir()).arg("postgres").current_dir(cluster.home());
    let mut child = single.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("no input")?;
    input.write_all(b"select f('x') is null as called;\n\nselect sse.publish('y');\n\ncomment on function f(text) is '@sse live';\n\nselect state from sse.stat_gateway;\n\n")?;
    drop(input);
    let output = child.wait_with_output()?;
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success() && text.contains("called = \"f\""), "{text}");
    ensure!(!["ERROR", "FATAL", "PANIC"].iter().any(|word| text.contains(word)), "{text}");
    cluster.start()?;
    assert_eq!(status(cluster.http()?, "/api/f/live")?, 200);
    Ok(())
}

#[test]
fn too_few_worker_processes_are_said_at_start_with_the_number_to_set() -> Result<()> {
    let cluster = Cluster::builder().setting("max_worker_processes", 1).start()?;
    let line = wait_for(SOON, "a WARNING names max_worker_processes", || {
        Ok(cluster
            .log()?
            .lines()
            .find(|line| line.contains("WARNING") && line.contains("max_worker_processes"))
            .map(str::to_owned))
    })?;
    ensure!(line.chars().any(|c| c.is_ascii_digit()), "{line}");
    Ok(())
}

#[test]
fn the_workers_do_not_count_against_max_connections() -> Result<()> {
    let cluster = Cluster::builder()
        .setting("max_connections", 5)
        .setting("superuser_reserved_connections", 0)
        .start()?;
    let http = cluster.http()?;
    let mut sessions = (0..4).map(|_| cluster.session()).collect::<Result<Vec<_>>>()?;
    sessions.push(wait_for(SOON, "a fifth session", || Ok(cluster.session().ok()))?);
    sessions[0].run(&announcer("f", "@sse"))?.ok()?;
    assert_eq!(status(http, "/api/f/info")?, 200);
    Ok(())
}

/// Attack: a user who can lock a catalog, or has written comments of hundreds of megabytes, holds up the
/// worker that reads them, and with it a stop of the server.
#[test]
fn a_worker_that_reads_the_routines_leaves_when_it_is_told_to() -> Result<()> {
    const READER: &str =
        "select pid from pg_stat_activity where backend_type = 'pg_sse catalog' and wait_event_type = 'Lock'";
    let cluster = Cluster::builder().start()?;
    let (mut holder, mut watcher) = (cluster.session()?, cluster.session()?);
    watcher
        .run("create function f() returns void language sql as ''; comment on function f() is '@sse'")?
        .ok()?;
    wait_for_status(cluster.http()?, "/api/f/info", 200, SOON)?;
    holder.run("begin; lock table pg_extension in access exclusive mode")?.ok()?;
    watcher.run("create or replace function f() returns void language sql as 'select'")?.ok()?;
    let reader =
        wait_for(SOON, "the reader waits", || Ok(watcher.run(READER)?.ok()?.value().map(str::to_owned)))?;
    watcher.run(&format!("select pg_terminate_backend({reader})"))?.ok()?;
    let gone = format!("select count(*) from pg_stat_activity where pid = {reader}");
    wait_until(SOON, "the reader has left", || {
        watcher.run(&gone).is_ok_and(|reply| reply.ok().is_ok_and(|reply| reply.value() == Some("0")))
    })?;
    holder.run("commit")?.ok()?;
    cluster.sql("create function g() returns void language sql as ''; comment on function g() is '@sse'")?;
    wait_for_status(cluster.http()?, "/api/g/info", 200, SOON)
}

// On a busy machine the main thread may hear at once that the routines were read, and that another database
// has had the served name since.
#[test]
fn a_reading_of_the_database_before_is_not_taken_for_one_of_the_database_now() -> Result<()> {
    let cluster = Cluster::builder().setting("sse.database", "shop").without_extension().start()?;
    for (database, routine) in [("shop", "old"), ("spare", "new")] {
        cluster.sql(&format!("create database {database}"))?;
        // A reading takes some time.
        let many = "do $d$ begin for i in 1..3000 loop
               execute format('create function f%s(a int) returns void language sql as $$$$; comment on function f%s is ''@sse''', i, i);
             end loop; end $d$";
        cluster
            .sql_in(database, &format!("create extension pg_sse; {many}; {}", announcer(routine, "@sse")))?;
    }
    let mut session = cluster.session()?;
    let mut reads = |count: &str| -> Result<()> {
        let sql = "select count(*) from pg_stat_activity where backend_type = 'pg_sse catalog'";
        wait_for(SOON * 2, "the routines are read", || {
            Ok((session.run(sql)?.ok()?.value() == Some(count)).then_some(()))
        })
    };
    let serves = |routine: &str| {
        let path = format!("/api/{routine}/info");
        wait_for(SOON * 3, &format!("{routine} is served"), || {
            // The port may be another one each time.
            let answer = cluster.http_in("shop").and_then(|http| status(http, &path));
            Ok((answer.ok() == Some(200)).then_some(()))
        })
    };
    serves("old")?;
    let mut was_in_time = 0;
    for (attempt, served) in ["new", "old", "new", "old"].into_iter().enumerate() {
        reads("0")?;
        cluster.sql_in("shop", &format!("comment on function f1 is '@sse live{attempt}'"))?;
        reads("1")?;
        provoke(&cluster, "pg_sse.hold")?;
        let start = Instant::now();
        reads("0")?;
        cluster.sql("alter database shop rename to other")?;
        cluster.sql("alter database spare rename to shop")?;
        was_in_time += u32::from(start.elapsed() < Duration::from_millis(1900));
        serves(served)?;
        cluster.sql("alter database other rename to spare")?;
    }
    ensure!(was_in_time > 0, "the main thread was never held for long enough");
    Ok(())
}
