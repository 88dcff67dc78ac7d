//! What a test in JavaScript may do to its server: it asks over a socket, a line each.
//!
//! Not for what it asks for: that is in its files.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, StopMode, find_program, has_node, node_package, skip};
use serde_json::Value;

/// Node in the folder `pg_test/browsers`, told where Chromium and Firefox are; and that folder. `None` where
/// one of the three is missing: then the test is skipped, which is a failure unless the environment names its
/// `file`.
pub(crate) fn with_browsers(file: &str) -> Result<Option<(Command, PathBuf)>> {
    if !has_node() {
        skip(file, "Node with npm")?;
        return Ok(None);
    }
    let chromium = find_program("chromium").or_else(|| find_program("google-chrome"));
    let firefox = find_program("firefox-esr").or_else(|| find_program("firefox"));
    let (Some(chromium), Some(firefox)) = (chromium, firefox) else {
        skip(file, "Chromium with Firefox")?;
        return Ok(None);
    };
    let folder = node_package("pg_test/browsers")?;
    let mut node = cluster::node()?;
    node.current_dir(&folder).env("CHROMIUM", chromium).env("FIREFOX", firefox);
    Ok(Some((node, folder)))
}

/// Runs it, with the port of the socket in the environment. What it prints goes into the file, which can be
/// read while it runs, and into the message of a failure. `ready` waits until the server takes calls again.
pub(crate) fn run(
    cluster: &Cluster,
    mut tests: Command,
    log: &Path,
    ready: impl Fn() -> Result<()> + Sync,
) -> Result<()> {
    let control = TcpListener::bind(("127.0.0.1", 0))?;
    let address = control.local_addr()?;
    tests.env("PG_SSE_CONTROL", address.port().to_string()).env("NO_COLOR", "1");
    thread::scope(|scope| {
        let server = scope.spawn(|| -> Result<()> {
            // The tests make one connection; none at all is their failure, which this one ends.
            let (stream, _) = control.accept()?;
            serve(cluster, stream, &ready)
        });
        let status =
            tests.stdout(File::create(log)?).stderr(File::options().append(true).open(log)?).status();
        // Wakes the server if nobody has come.
        let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
        let served = server.join().map_err(|_| anyhow::anyhow!("the server of the tests has panicked"))?;
        ensure!(status.context("cannot run node")?.success(), "{}\n{served:?}", fs::read_to_string(log)?);
        served
    })
}

/// Each line is a JSON array of a verb and its argument. The answer is a line of JSON: a text, or an object
/// with `error`.
fn serve(cluster: &Cluster, stream: TcpStream, ready: &dyn Fn() -> Result<()>) -> Result<()> {
    let mut answers = stream.try_clone()?;
    let mut frozen = None;
    let nothing = |()| String::new();
    for line in BufReader::new(stream).lines() {
        let asked: Vec<String> = serde_json::from_str(&line?)?;
        let done = match asked.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["sql", text] => cluster.sql(text),
            ["restart"] => cluster.restart(StopMode::Fast).and_then(|()| ready()).map(nothing),
            ["stop"] => cluster.stop(StopMode::Fast).map(|_| String::new()),
            ["start"] => cluster.start().and_then(|()| ready()).map(nothing),
            ["freeze"] => super::freeze_gateway(cluster).map(|now| frozen = Some(now)).map(nothing),
            ["thaw"] => {
                frozen = None;
                Ok(String::new())
            }
            _ => Err(anyhow::anyhow!("not understood: {asked:?}")),
        };
        let answer = match done {
            Ok(text) => Value::String(text),
            Err(error) => serde_json::json!({ "error": format!("{error:#}") }),
        };
        writeln!(answers, "{answer}")?;
    }
    Ok(())
}
