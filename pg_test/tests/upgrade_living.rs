//! A server in use is upgraded: what was published, refused, granted and dumped before goes on afterwards,
//! and a library and an extension of different versions are told apart, harmless, and mended (C1.1).
//!
//! A build for tests acts as an older library when a file says so (`src/version.rs`). With
//! `PG_SSE_LIBRARY_0_1_0` the tests take that library for the old one instead, a real one.
//!
//! Not for what the scripts lead to: upgrade.rs.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use cluster::http::StreamError;
use cluster::{
    Builder, Cluster, Extension, Install, StopMode, lasting_port, tell_skipped, wait_for, wait_until,
};
use common::tokens::{self, ALICE, BOB, get, issue, listen, status_of};
use common::{SOON, announcer, gap_reason, wait_for_status};

const OLD: &str = "0.1.0";
const NEW: &str = env!("CARGO_PKG_VERSION");

/// In the data directory.
const CLAIMED: &str = "pg_sse.claimed_version";

fn old_library() -> Option<PathBuf> {
    std::env::var_os("PG_SSE_LIBRARY_0_1_0").map(PathBuf::from)
}

/// A server whose library is of [`OLD`], and whose control file says so, too. Its extension is not created.
fn old_server(customize: impl Fn(Builder) -> Builder) -> Result<Cluster> {
    let install = Arc::new(Install::of(Install::shared()?.original())?);
    if let Some(library) = old_library() {
        install.put(&Extension::with_library(library)?)?;
    }
    let builder = tokens::builder().install(install).without_extension();
    let cluster = customize(builder.setting("sse.port", lasting_port()?)).prepare()?;
    let control = cluster.install().pg_config().sharedir.join("extension/pg_sse.control");
    let text = fs::read_to_string(&control)?;
    ensure!(text.contains(&format!("'{NEW}'")), "{text}");
    fs::write(&control, text.replace(&format!("'{NEW}'"), &format!("'{OLD}'")))?;
    claim_to_be_old(&cluster)?;
    cluster.start()?;
    Ok(cluster)
}

/// Only with the library of the checkout.
fn claim_to_be_old(cluster: &Cluster) -> Result<()> {
    if old_library().is_none() {
        fs::write(cluster.data_dir().join(CLAIMED), OLD)?;
    }
    Ok(())
}

/// What an administrator does first: the files are replaced, and the server still runs the old library.
fn install_new_files(cluster: &Cluster) -> Result<()> {
    let install = cluster.install();
    install.put(&Extension::locate(install.original())?)
}

/// And then. Afterwards the library is the new one.
fn restart(cluster: &Cluster) -> Result<()> {
    cluster.stop(StopMode::Fast)?;
    let claimed = cluster.data_dir().join(CLAIMED);
    if claimed.exists() {
        fs::remove_file(claimed)?;
    }
    cluster.start()
}

fn wait_for_state(cluster: &Cluster, wanted: &str) -> Result<()> {
    wait_until(SOON, &format!("the state is {wanted:?}"), || {
        cluster.sql("select state from sse.stat_gateway").is_ok_and(|state| state == wanted)
    })
}

fn version(cluster: &Cluster) -> Result<String> {
    cluster.sql("select extversion from pg_extension where extname = 'pg_sse'")
}

/// An application, and those who may use what the extension has.
const APPLICATION: &str = "
    create table note (id int generated always as identity, body text);
    create function note_added() returns trigger language plpgsql as $$
        begin raise info '%', new.body; perform sse.publish('told: ' || new.body, topic => 'notes'); return null; end $$;
    comment on function note_added() is E'@sse\\n@authorize';
    create trigger note_added after insert on note for each row execute function note_added();
    create view filling as select used_bytes, capacity_bytes from sse.stat_ring;
    create view broken as select routine, problem from sse.endpoints where problem is not null;
    grant select on sse.stat_gateway, filling to reader;
    grant execute on function sse.publish(text, text, text, text, text, text) to writer with grant option;
    revoke execute on function sse.url(regprocedure) from public;";

const ROLES: &str = "create role reader; create role writer;";

/// Those rights as they have to stay.
const RIGHTS: &str = "
    select has_table_privilege('reader', 'sse.stat_gateway', 'select'),
           has_table_privilege('reader', 'sse.stat_ring', 'select'),
           has_function_privilege('writer', 'sse.publish(text, text, text, text, text, text)', 'execute with grant option'),
           has_function_privilege('reader', 'sse.publish(text, text, text, text, text, text)', 'execute'),
           has_function_privilege('reader', 'sse.url(regprocedure)', 'execute'),
           (select count(*) from filling), (select count(*) from broken)";
const RIGHT: &str = "t|f|t|f|f|1|0";

const PATH: &str = "/api/note-added/info";

#[test]
fn a_living_server_is_upgraded_and_its_streams_refusals_and_privileges_go_on() -> Result<()> {
    let cluster = old_server(|builder| builder)?;
    cluster.sql(&format!("{ROLES} create extension pg_sse; {APPLICATION}"))?;
    assert_eq!(version(&cluster)?, OLD);
    let http = cluster.http()?;
    let (alice, bob) = (issue(&cluster, ALICE)?, issue(&cluster, BOB)?);
    let mut stream = listen(http, PATH, Some(&alice))?;
    let mut of_bob = listen(http, PATH, Some(&bob))?;
    cluster.sql("select sse.disconnect('2'); insert into note (body) values ('before')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "before");
    of_bob.wait_for_end(SOON)?;
    let last = stream.last_event_id().to_owned();

    install_new_files(&cluster)?;
    // Nothing of the new files is used before the restart: the server goes on as it was.
    cluster.sql("insert into note (body) values ('files')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "files");
    restart(&cluster)?;
    ensure!(matches!(stream.next(SOON), Err(StreamError::Ended)), "the stream ends cleanly");

    wait_for_state(&cluster, "extension has another version")?;
    // What the application does is not disturbed meanwhile.
    cluster.sql("insert into note (body) values ('between')")?;
    assert_eq!(cluster.sql(RIGHTS)?, RIGHT, "between");

    cluster.sql("alter extension pg_sse update")?;
    assert_eq!(version(&cluster)?, NEW);
    wait_for_state(&cluster, "serving")?;
    assert_eq!(cluster.sql(RIGHTS)?, RIGHT, "after");
    let again = get(PATH, Some(&alice)).header("Last-Event-ID", &last);
    let mut stream = http.events_with(&again)?;
    let first = wait_for(SOON, "the first event", || {
        let event = stream.next(SOON)?;
        Ok((event.event != "sse.ready").then_some(event))
    })?;
    assert_eq!(gap_reason(&first)?, "restarted");
    cluster.sql("insert into note (body) values ('after')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "after");
    assert_eq!(status_of(http, &get(PATH, Some(&bob)))?, 401, "who was disconnected stays so");
    Ok(())
}

fn dump(cluster: &Cluster) -> Result<String> {
    let dump = cluster.tool("pg_dump").arg("postgres").stderr(Stdio::inherit()).output()?;
    ensure!(dump.status.success(), "pg_dump failed");
    Ok(String::from_utf8(dump.stdout)?)
}

/// A dump does not say which version the extension has: it gets the one that the server has.
fn restores(dump: &str, target: &Cluster, wanted: &str) -> Result<()> {
    target.sql(ROLES)?;
    let restored = target.script(dump)?;
    ensure!(!restored.contains("ERROR") && !restored.contains("WARNING"), "{restored}");
    assert_eq!(version(target)?, wanted);
    assert_eq!(target.sql(RIGHTS)?, RIGHT, "{wanted}");
    let token = issue(target, ALICE)?;
    let mut stream = listen(target.http()?, PATH, Some(&token))?;
    target.sql("insert into note (body) values ('restored')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "restored");
    Ok(())
}

#[test]
fn a_dump_of_one_version_is_restored_into_the_other_and_an_upgraded_one_into_both() -> Result<()> {
    let source = old_server(|builder| builder)?;
    source.sql(&format!("{ROLES} create extension pg_sse; {APPLICATION}"))?;
    let of_old = dump(&source)?;
    install_new_files(&source)?;
    restart(&source)?;
    source.sql("alter extension pg_sse update")?;
    let of_upgraded = dump(&source)?;
    let new_server = || tokens::builder().without_extension().start();
    restores(&of_old, &new_server()?, NEW).context("old into new")?;
    restores(&of_upgraded, &new_server()?, NEW).context("upgraded into new")?;
    restores(&of_upgraded, &old_server(|builder| builder)?, OLD).context("upgraded into old")
}

#[test]
fn an_update_before_the_restart_fails_with_what_to_do_and_the_service_goes_on() -> Result<()> {
    let cluster = old_server(|builder| builder)?;
    cluster.sql(&format!("create extension pg_sse; create database other; {}", announcer("f", "@sse")))?;
    let mut stream = listen(cluster.http()?, "/api/f/info", None)?;
    install_new_files(&cluster)?;
    for (database, statement) in
        [("postgres", "alter extension pg_sse update"), ("other", "create extension pg_sse")]
    {
        let options = cluster::SessionOptions { database: database.to_owned(), ..Default::default() };
        let reply = cluster.session_with(&options)?.run(statement)?;
        let error = reply.error().with_context(|| format!("{statement} succeeded"))?;
        assert_eq!(error.sqlstate.as_deref(), Some("55000"), "{error:?}");
        ensure!(error.text.contains(OLD) && error.text.contains(NEW), "{error:?}");
        let help = format!("{:?}", error.fields);
        ensure!(help.contains("restart the server"), "{help}");
    }
    assert_eq!(version(&cluster)?, OLD);
    cluster.sql("select f('goes on')")?;
    assert_eq!(stream.next_payload(SOON)?.data, "goes on");
    restart(&cluster)?;
    cluster.sql("alter extension pg_sse update")?;
    wait_for_state(&cluster, "serving")
}

/// Every function that the extension has can be called with the library that is loaded.
fn broken_functions(cluster: &Cluster) -> Result<String> {
    cluster.sql(
        "create or replace function pg_temp.is_broken(f oid) returns boolean language plpgsql as
             $$ begin perform pg_catalog.fmgr_c_validator(f); return false; exception when undefined_function then return true; end $$;
         select string_agg(oid::regprocedure::text, ' ') from pg_proc
          where probin like '%pg_sse' and pg_temp.is_broken(oid)",
    )
}

#[test]
fn a_library_that_is_newer_than_its_extension_says_what_to_run_and_breaks_no_statement() -> Result<()> {
    let cluster = old_server(|builder| builder)?;
    cluster.sql(&format!("{ROLES} create extension pg_sse; {APPLICATION}"))?;
    install_new_files(&cluster)?;
    let mark = cluster.log_mark()?;
    restart(&cluster)?;
    cluster.wait_for_log(mark, "is not of this library's version")?;
    cluster.wait_for_log(mark, &format!("ALTER EXTENSION pg_sse UPDATE TO '{NEW}'"))?;
    assert_eq!(broken_functions(&cluster)?, "");
    for statement in [
        "insert into note (body) values ('x')",
        "select * from sse.stat_ring, sse.stat_gateway",
        "select * from sse.endpoints",
        "select * from sse.subscribers",
        "select sse.disconnect('9')",
        "comment on function note_added() is '@sse'",
        "comment on function note_added() is null",
    ] {
        let reply = cluster.session()?.run(statement)?;
        ensure!(reply.error().is_none(), "{statement}: {:?}", reply.error());
    }
    Ok(())
}

/// The package was taken back, or a server with an older one got the data directory of another.
#[test]
fn a_library_that_is_older_than_its_extension_says_what_to_install_and_the_newer_one_mends_it() -> Result<()>
{
    if old_library().is_some() {
        // What it lacks it cannot be given any more.
        return tell_skipped(env!("CARGO_CRATE_NAME"), "the library before said less");
    }
    let cluster = tokens::builder().setting("sse.port", lasting_port()?).start()?;
    cluster.sql(&format!("{ROLES} {APPLICATION} {}", announcer("f", "@sse")))?;
    let http = cluster.http()?;
    cluster.stop(StopMode::Fast)?;
    claim_to_be_old(&cluster)?;
    let mark = cluster.log_mark()?;
    cluster.start()?;
    wait_for_state(&cluster, "extension has another version")?;
    let line = cluster.wait_for_log(mark, "install the library of that version")?;
    ensure!(line.contains(OLD), "{line}");
    cluster.sql("insert into note (body) values ('x'); select f('x')")?;
    ensure!(http.connect().is_err(), "nothing listens");
    restart(&cluster)?;
    wait_for_state(&cluster, "serving")?;
    wait_for_status(http, "/api/f/info", 200, SOON)
}
