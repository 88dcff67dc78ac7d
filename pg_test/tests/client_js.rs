//! The npm package against a real gateway: runs `clients/js/test/gateway`, and does to the server what its
//! tests ask for.
//!
//! Not for what needs no gateway: the package's own `npm test`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, StopMode, has_node, lasting_port, node_package, skip};
use serde_json::Value;

mod common;

use common::{Frozen, calls};

/// What a test in JavaScript asks for, one line each: a JSON array of a verb and its argument. The answer is
/// a line of JSON: a text, or an object with `error`.
fn serve(cluster: &Cluster, stream: TcpStream) -> Result<()> {
    let mut answers = stream.try_clone()?;
    let mut frozen = None;
    for line in BufReader::new(stream).lines() {
        let asked: Vec<String> = serde_json::from_str(&line?)?;
        let done = match asked.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["sql", text] => cluster.sql(text),
            ["restart"] => {
                cluster.restart(StopMode::Fast).and_then(|()| calls::ready(cluster)).map(|()| String::new())
            }
            ["freeze"] => common::gateway_pid(cluster)
                .and_then(Frozen::new)
                .map(|now| frozen = Some(now))
                .map(|()| String::new()),
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

#[test]
fn the_package_loses_and_doubles_nothing_on_a_real_gateway() -> Result<()> {
    if !has_node() {
        return skip(env!("CARGO_CRATE_NAME"), "Node with npm");
    }
    let port = lasting_port()?;
    let builder = calls::builder()
        .setting("sse.port", port.to_string())
        .setting("sse.retry", "100ms")
        .setting("sse.window_size", "1MB")
        .setting("sse.ring_size", "1MB")
        .setting("sse.max_event_size", "64kB");
    let cluster = calls::start(builder)?;
    let folder = node_package("clients/js")?;
    // For the pages, which load it as it is published.
    let built = cluster::node()?
        .args(["node_modules/typescript/bin/tsc", "-p", "."])
        .current_dir(&folder)
        .output()?;
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stdout));
    let control = TcpListener::bind(("127.0.0.1", 0))?;
    let address = control.local_addr()?;
    let mut tests = cluster::node()?;
    tests
        .args(["node_modules/vitest/vitest.mjs", "run", "--config", "test/gateway/vitest.config.ts"])
        .current_dir(&folder)
        .env("PG_SSE_GATEWAY", format!("http://127.0.0.1:{port}"))
        .env("PG_SSE_CONTROL", address.port().to_string())
        .env("NO_COLOR", "1");
    thread::scope(|scope| {
        let served = &cluster;
        let server = scope.spawn(move || -> Result<()> {
            // The tests make one connection; none at all is their failure, which this one ends.
            let (stream, _) = control.accept()?;
            serve(served, stream)
        });
        // Into a file, which can be read while they run.
        let told = folder.with_extension("gateway.log");
        let status =
            tests.stdout(File::create(&told)?).stderr(File::options().append(true).open(&told)?).status();
        // Wakes the server if nobody has come.
        let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
        let served = server.join().map_err(|_| anyhow::anyhow!("the server of the tests has panicked"))?;
        ensure!(status.context("cannot run node")?.success(), "{}\n{served:?}", fs::read_to_string(&told)?);
        served
    })
}
