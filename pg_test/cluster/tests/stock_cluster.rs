//! Tests the harness itself, on clusters without pg_sse, so that other tests can rely on it.

#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use cluster::{Cluster, Install, PATIENCE, PgConfig, SessionOptions, StopMode, skip, wait_until};

fn stock() -> Result<Cluster> {
    Cluster::builder().stock().start()
}

#[test]
fn a_copied_installation_runs_from_its_own_folders() -> Result<()> {
    let cluster = stock()?;
    let copy = cluster.install().pg_config();
    assert_ne!(copy.bindir, cluster.install().original().bindir);
    let told =
        cluster.sql("select setting from pg_config where name in ('PKGLIBDIR', 'SHAREDIR') order by name")?;
    assert_eq!(told, format!("{}\n{}", copy.pkglibdir.display(), copy.sharedir.display()));
    // A file that only the copy has: this is where the extension will be looked for.
    let control = copy.sharedir.join("extension/only_here.control");
    std::fs::write(&control, "default_version = '1'\n")?;
    std::fs::write(
        control.with_file_name("only_here--1.sql"),
        "create function here() returns int language sql as 'select 7';",
    )?;
    assert_eq!(cluster.sql("create extension only_here; select here()")?, "7");
    assert!(!cluster.install().original().sharedir.join("extension/only_here.control").exists());
    Ok(())
}

#[test]
fn a_module_in_c_loads_from_the_copy() -> Result<()> {
    let cluster = stock()?;
    if cluster.sql("select count(*) from pg_available_extensions where name = 'hstore'")? == "0" {
        return skip(env!("CARGO_CRATE_NAME"), "contrib with this PostgreSQL");
    }
    assert_eq!(cluster.sql("create extension hstore; select 'a=>1'::hstore -> 'a'")?, "1");
    let session = cluster.session()?.backend_pid_of_itself()?;
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", session)).unwrap_or_default();
    assert!(!maps.contains(&format!("{}/", cluster.install().original().bindir.display())), "{maps}");
    Ok(())
}

trait BackendPid {
    fn backend_pid_of_itself(self) -> Result<u32>;
}

impl BackendPid for cluster::Session {
    fn backend_pid_of_itself(mut self) -> Result<u32> {
        self.run("select 'a=>1'::hstore")?.ok()?;
        self.backend_pid()
    }
}

#[test]
fn variables_given_to_a_program_reach_it_and_nobody_else() -> Result<()> {
    let install = Arc::new(Install::of(&PgConfig::find(None)?)?);
    install.give_environment("postgres", &[("GIVEN", "it's here"), ("GIVEN_TOO", "a b")])?;
    let cluster = Cluster::builder().stock().install(install).start()?;
    let copy = "create table told (line text); copy told from program 'printenv GIVEN GIVEN_TOO'";
    assert_eq!(cluster.sql(&format!("{copy}; select line from told order by line"))?, "a b\nit's here");
    let client = cluster.tool("psql").args(["-Atc", r"\! printenv GIVEN"]).output()?;
    assert!(client.stdout.is_empty() && std::env::var_os("GIVEN").is_none());
    assert_eq!(cluster.stop(StopMode::Fast)?.code(), Some(0));
    Ok(())
}

#[test]
fn settings_encoding_and_stock_defaults_arrive() -> Result<()> {
    let cluster = Cluster::builder().stock().encoding("LATIN1").setting("work_mem", "5MB").start()?;
    assert_eq!(cluster.sql("show server_encoding; show work_mem")?, "LATIN1\n5MB");
    assert_eq!(cluster.sql("show log_min_messages; show listen_addresses")?, "warning\n");
    cluster.configure("work_mem", "6MB")?;
    cluster.reconfigure("application_name", r"it's a \ test")?;
    cluster.comes_to(PATIENCE, "the reload is seen", "show work_mem", "6MB")
}

#[test]
fn a_setting_that_stops_the_server_is_told_with_its_log() {
    let error = Cluster::builder().stock().setting("shared_buffers", "nonsense").start().unwrap_err();
    assert!(format!("{error:#}").contains("nonsense"), "{error:#}");
}

#[test]
fn it_stops_in_every_mode_and_starts_again() -> Result<()> {
    let cluster = stock()?;
    cluster.sql("create table t as select 1 as a")?;
    for mode in [StopMode::Smart, StopMode::Fast, StopMode::Immediate] {
        cluster.restart(mode)?;
        assert_eq!(cluster.sql("select a from t")?, "1", "{mode:?}");
    }
    cluster.kill_postmaster()?;
    assert!(!cluster.is_running());
    cluster.start()?;
    assert_eq!(cluster.sql("select a from t")?, "1");
    Ok(())
}

#[test]
fn a_killed_backend_breaks_its_session_and_the_server_recovers() -> Result<()> {
    let cluster = stock()?;
    let mut session = cluster.session()?;
    let mark = cluster.log_mark()?;
    cluster.kill_backend(session.backend_pid()?)?;
    let error = session.run("select 1").unwrap_err();
    assert!(format!("{error:#}").contains("connection"), "{error:#}");
    cluster.wait_for_log(mark, "database system is ready to accept connections")?;
    assert!(cluster.is_running());
    wait_until(PATIENCE, "it answers again", || cluster.sql("select 1").is_ok())
}

#[test]
fn everything_goes_when_a_cluster_is_dropped() -> Result<()> {
    let cluster = stock()?;
    let (home, pid) = (cluster.home().to_owned(), cluster.postmaster_pid()?);
    drop(cluster);
    assert!(!home.exists());
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    Ok(())
}

#[test]
fn a_server_outlives_the_thread_that_started_it() -> Result<()> {
    const NAME: &str = "that starts";
    let cluster = std::thread::Builder::new().name(NAME.to_owned()).spawn(stock)?.join().unwrap()?;
    // A death signal is sent before the thread is forgotten, which is after it was joined.
    wait_until(PATIENCE, "the thread has gone", || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let names =
            threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
        names.into_iter().all(|name| name.trim_end() != NAME)
    })?;
    assert_eq!(cluster.sql("select 1")?, "1");
    assert!(cluster.is_running());
    Ok(())
}

#[test]
fn clusters_run_side_by_side_from_one_installation() -> Result<()> {
    let clusters: Vec<Cluster> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..3).map(|_| scope.spawn(stock)).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect::<Result<_>>()
    })?;
    let first = Install::shared()?;
    for (number, cluster) in clusters.iter().enumerate() {
        assert!(std::sync::Arc::ptr_eq(cluster.install(), &first));
        cluster.sql(&format!("create table only_{number}()"))?;
        assert_eq!(cluster.sql("select count(*) from pg_class where relname like 'only_%'")?, "1");
    }
    Ok(())
}

#[test]
fn a_session_keeps_its_state_and_tells_rows_from_notices() -> Result<()> {
    let cluster = stock()?;
    let mut session = cluster.session()?;
    session.run("set application_name = 'kept'")?.ok()?;
    let reply = session.run(
        "do $$ begin raise notice E'two\\nlines' using detail = 'more'; raise warning 'w'; end $$; \
         select 'a', null::text, E'b\\nc' union all select '', current_setting('application_name'), '|' order by 1 desc -- done",
    )?;
    assert_eq!(reply.texts("NOTICE"), ["two\nlines"]);
    assert_eq!(reply.messages[0].field("DETAIL"), Some("more"));
    assert_eq!(reply.messages[1].sqlstate.as_deref(), Some("01000"));
    let expected = [["a", "NULL", "b\nc"], ["", "kept", "|"]];
    let rows: Vec<Vec<&str>> = reply
        .rows
        .iter()
        .map(|row| row.iter().map(|cell| cell.as_deref().unwrap_or("NULL")).collect())
        .collect();
    assert_eq!(rows, expected);
    let failed = session.run("select 1/0")?;
    assert_eq!(failed.sqlstate(), Some("22012"));
    assert_eq!(session.run("select 1")?.ok()?.value(), Some("1"), "an error does not end the session");
    Ok(())
}

#[test]
fn a_row_of_a_megabyte_arrives_whole() -> Result<()> {
    let reply = stock()?.session()?.run("select repeat('x', 1048576)")?.ok()?;
    assert_eq!(reply.value().map(str::len), Some(1 << 20));
    Ok(())
}

#[test]
fn a_statement_can_be_left_running_beside_another() -> Result<()> {
    let cluster = stock()?;
    let (mut first, mut second) = (cluster.session()?, cluster.session()?);
    first.run("begin; select pg_advisory_xact_lock(1)")?.ok()?;
    second.send("select pg_advisory_xact_lock(1)")?;
    assert!(second.wait(Duration::from_millis(50)).is_err(), "it should wait for the lock");
    first.run("commit")?.ok()?;
    second.wait(PATIENCE)?.ok()?;
    Ok(())
}

#[test]
fn a_session_takes_options_and_a_wrong_database_is_an_error() -> Result<()> {
    let cluster = stock()?;
    let options = SessionOptions { options: "-c work_mem=7MB".to_owned(), ..SessionOptions::default() };
    assert_eq!(cluster.session_with(&options)?.run("show work_mem")?.value(), Some("7MB"));
    let error = cluster.sql_in("nowhere", "select 1").unwrap_err();
    assert!(format!("{error:#}").contains("nowhere"), "{error:#}");
    Ok(())
}

#[test]
fn a_script_gives_what_a_client_sees_in_order() -> Result<()> {
    let cluster = stock()?;
    let script = "select 1 as a;\ndo $$ begin raise notice 'n'; end $$;\nselect 1/0;\nselect 2 as b;\n";
    let output = cluster.script(script)?;
    let places: Vec<usize> =
        ["select 1 as a;", "(1 row)", "NOTICE:  00000: n", "DO\n", "ERROR:  22012", "select 2 as b;"]
            .iter()
            .map(|part| output.find(part).unwrap_or_else(|| panic!("{part:?} is missing in {output}")))
            .collect();
    assert!(places.is_sorted(), "{output}");
    assert_eq!(output, cluster.script(script)?, "the same script gives the same output");
    Ok(())
}

/// The other half is this test run in a process of its own, which is killed.
#[test]
fn a_server_goes_with_its_killed_test_process() -> Result<()> {
    if let Ok(report) = std::env::var("CLUSTER_TEST_REPORT") {
        let cluster = stock()?;
        std::fs::write(&report, format!("{}\n{}", cluster.postmaster_pid()?, cluster.home().display()))?;
        std::thread::sleep(PATIENCE);
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let report = folder.path().join("report");
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exact", "a_server_goes_with_its_killed_test_process"])
        .env("CLUSTER_TEST_REPORT", &report)
        .spawn()?;
    wait_until(PATIENCE, "the other process has a cluster", || {
        std::fs::read_to_string(&report).is_ok_and(|text| text.contains('\n'))
    })?;
    let text = std::fs::read_to_string(&report)?;
    let (pid, home) = text.split_once('\n').unwrap();
    assert!(std::path::Path::new(home).exists());
    let killed = Instant::now();
    child.kill()?;
    child.wait()?;
    let process = format!("/proc/{pid}");
    wait_until(PATIENCE, "server and folder are gone", || {
        !std::path::Path::new(&process).exists() && !std::path::Path::new(home).exists()
    })?;
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    Ok(())
}
