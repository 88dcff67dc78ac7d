//! What refusing a user costs others: a long file, a lock on it that another process holds, many logouts
//! (C4.8, C7.5).
//!
//! Not for what is refused: `subscribers.rs` and `call_login.rs`.

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use cluster::http::{Client, EventStream};
use cluster::{Cluster, PATIENCE, StopMode, wait_for, wait_until};
use common::calls::{builder, ready, start};
use common::tokens::{ALICE, Person, get, issue, listen, status_of};
use common::{SOON, announcer, wait_for_status};

const PATH: &str = "/api/closed/info";

/// As many as are remembered.
const COUNT: usize = 100_000;

fn furnished() -> Result<Cluster> {
    let cluster = start(builder())?;
    cluster.sql(&announcer("closed", "@sse\n@authorize"))?;
    cluster.sql(
        "create function logout() returns void language sql as '';
         comment on function logout() is 'HTTP POST\n@logout'; ",
    )?;
    Ok(cluster)
}

fn file(cluster: &Cluster) -> PathBuf {
    cluster.data_dir().join("pg_sse.revocations")
}

/// The server runs under another account than the test.
fn open_to_all(path: &Path) -> Result<()> {
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o666))?)
}

/// A file of the server's with these bytes.
fn write(cluster: &Cluster, text: &str) -> Result<()> {
    fs::write(file(cluster), text)?;
    open_to_all(&file(cluster))
}

/// Holds the file's lock as a stopped process would.
fn lock(cluster: &Cluster) -> Result<File> {
    let path = cluster.data_dir().join("pg_sse.revocations.lock");
    let lock = OpenOptions::new().create(true).write(true).truncate(false).open(&path)?;
    open_to_all(&path)?;
    lock.lock()?;
    Ok(lock)
}

fn microseconds(at: SystemTime) -> Result<u128> {
    Ok(at.duration_since(UNIX_EPOCH)?.as_micros())
}

/// Tokens that nobody holds.
fn tokens(count: usize) -> Result<String> {
    let until = microseconds(SystemTime::now() + Duration::from_secs(14 * 24 * 3600))?;
    Ok((0..count).map(|n| format!("{{\"token\":\"{n:0>42}A\",\"until\":{until}}}\n")).collect())
}

fn users(count: usize) -> Result<String> {
    let before = microseconds(SystemTime::now())?;
    Ok((0..count).map(|n| format!("{{\"user_id\":\"user number {n}\",\"before\":{before}}}\n")).collect())
}

fn log_out(http: Client, token: &str) -> Result<u16> {
    let request = cluster::http::Request::new("POST", "/api/logout");
    status_of(http, &request.bearer(token))
}

fn refused(cluster: &Cluster, token: &str) -> Result<bool> {
    Ok(status_of(cluster.http()?, &get(PATH, Some(token)))? == 401)
}

/// The longest that an event took while `meanwhile` ran.
fn slowest_event(
    cluster: &Cluster,
    stream: &mut EventStream,
    meanwhile: impl FnOnce() -> Result<()> + Send,
) -> Result<Duration> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let publishing = scope.spawn(|| -> Result<Duration> {
            let mut session = cluster.session()?;
            let mut slowest = Duration::ZERO;
            while !is_over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                session.run("select closed('on')")?.ok()?;
                stream.next_payload(SOON)?;
                slowest = slowest.max(begun.elapsed());
            }
            Ok(slowest)
        });
        let outcome = meanwhile();
        is_over.store(true, Ordering::Relaxed);
        let slowest = publishing.join().ok().context("the publisher")??;
        outcome.map(|()| slowest)
    })
}

// Attack: 72 seconds of one account's logins and logouts made every later logout cost all subscribers seconds
// of silence.
#[test]
fn a_hundred_thousand_refusals_delay_no_start_no_logout_and_no_event() -> Result<()> {
    let cluster = furnished()?;
    let listener = issue(&cluster, ALICE)?;
    for (what, text) in [("tokens", tokens(COUNT + 20_000)?), ("users", users(COUNT + 20_000)?)] {
        cluster.stop(StopMode::Fast)?;
        write(&cluster, &text)?;
        cluster.start()?;
        let begun = Instant::now();
        wait_for_status(cluster.http()?, "/healthz", 200, PATIENCE)?;
        let started = begun.elapsed();
        ready(&cluster)?;
        let http = cluster.http()?;
        let mut stream = listen(http, PATH, Some(&listener))?;
        let mut took = Vec::new();
        let slowest = slowest_event(&cluster, &mut stream, || {
            for n in 0..30 {
                let token = issue(&cluster, Person { id: "9", name: "eve", roles: &[] })?;
                let begun = Instant::now();
                let status = log_out(http, &token)?;
                ensure!(status == 204, "{n}: {status}");
                took.push(begun.elapsed());
                ensure!(refused(&cluster, &token)?, "{n}");
            }
            cluster.sql("select sse.disconnect('somebody')").map(drop)
        })?;
        took.sort();
        eprintln!("{what}: serves after {started:?}; logouts {took:?}; slowest event {slowest:?}");
        // What was measured before: seconds. What is left is a debug build on a busy machine.
        ensure!(started < Duration::from_secs(20), "{started:?}");
        ensure!(took[15] < Duration::from_millis(250), "{took:?}");
        ensure!(slowest < Duration::from_secs(1), "{slowest:?}");
        ensure!(!refused(&cluster, &listener)?, "and nobody else is refused");
    }
    Ok(())
}

// Attack: a process that holds the file's lock, such as a stopped session in sse.disconnect, silences
// everybody.
#[test]
fn a_lock_that_somebody_holds_delays_no_event_and_no_logout_and_a_disconnect_can_be_cancelled() -> Result<()>
{
    let cluster = furnished()?;
    let http = cluster.http()?;
    let listener = issue(&cluster, ALICE)?;
    let (eve, mallory) = (
        issue(&cluster, Person { id: "9", name: "eve", roles: &[] })?,
        issue(&cluster, Person { id: "10", name: "mallory", roles: &[] })?,
    );
    let mut stream = listen(http, PATH, Some(&listener))?;
    let held = lock(&cluster)?;
    let slowest = slowest_event(&cluster, &mut stream, || {
        let begun = Instant::now();
        ensure!(log_out(http, &eve)? == 204);
        ensure!(begun.elapsed() < Duration::from_secs(1), "a logout took {:?}", begun.elapsed());
        ensure!(refused(&cluster, &eve)?);
        let mut session = cluster.session()?;
        let begun = Instant::now();
        let reply = session.run("set statement_timeout = '300ms'; select sse.disconnect('10')")?;
        let why = reply.ok().err().context("it cannot have been written")?.to_string();
        ensure!(why.contains("statement timeout"), "{why}");
        ensure!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        ensure!(!refused(&cluster, &mallory)?, "what was cancelled has done nothing");
        // And it can be ended.
        let pid = session.run("set statement_timeout = 0; select pg_backend_pid()")?.ok()?.text();
        thread::scope(|scope| {
            let waiting = scope.spawn(move || {
                session.run("select sse.disconnect('10')").is_ok_and(|reply| reply.ok().is_ok())
            });
            let sql = format!("select wait_event_type from pg_stat_activity where pid = {pid}");
            cluster.comes_to(SOON, "it waits, and says for what", &sql, "Extension")?;
            cluster.sql(&format!("select pg_terminate_backend({pid})"))?;
            ensure!(!waiting.join().unwrap_or(true), "it was terminated");
            Ok(())
        })
    })?;
    eprintln!("slowest event {slowest:?}");
    ensure!(slowest < Duration::from_secs(1), "{slowest:?}");
    drop(held);
    wait_for(SOON, "the logout is on disk", || {
        Ok(fs::read_to_string(file(&cluster)).is_ok_and(|text| text.contains("\"token\"")).then_some(()))
    })?;
    cluster.sql("select sse.disconnect('10')")?;
    wait_until(SOON, "refused", || refused(&cluster, &mallory).unwrap_or(false))
}

// Attack: a superuser's mistake, or a role that may execute it: an id of a gigabyte in a file for which
// everybody waits.
#[test]
fn a_user_id_that_no_token_can_have_is_refused() -> Result<()> {
    let cluster = furnished()?;
    let mut session = cluster.session()?;
    for (length, is_taken) in [(16_383, true), (16_384, true), (16_385, false), (50_000_000, false)] {
        let reply = session.run(&format!("select sse.disconnect(repeat('x', {length}))"))?;
        ensure!(reply.ok().is_ok() == is_taken, "{length}");
    }
    ensure!(fs::metadata(file(&cluster))?.len() < 40_000);
    Ok(())
}

#[test]
fn what_a_crash_has_cut_off_takes_no_other_refusal_with_it() -> Result<()> {
    let cluster = furnished()?;
    let alice = issue(&cluster, ALICE)?;
    cluster.sql("select sse.disconnect('x')")?;
    OpenOptions::new().append(true).open(file(&cluster))?.write_all(b"{\"user_id\":\"")?;
    cluster.sql("select sse.disconnect('1')")?;
    wait_until(SOON, "refused", || refused(&cluster, &alice).unwrap_or(false))
}
