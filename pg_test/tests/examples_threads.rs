//! The counter of `examples/`, as its seed proves it: two subscribers, three increments; here the second
//! subscriber is served by another thread of the gateway, as it is by another isolate there.
//!
//! Not for its page: `examples.rs`.

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use cluster::http::{Client, EventStream, Request};
use cluster::{Cluster, lasting_port};
use common::SOON;
use example::Example;
use serde_json::json;

const STREAM: &str = "/api/counter/changed/info";

/// Enough that two threads share them; the kernel decides which thread accepts.
const STREAMS: usize = 64;

#[test]
fn subscribers_of_two_threads_get_the_value_and_then_every_increment() -> Result<()> {
    let builder = Cluster::builder().setting("sse.threads", 2).setting("sse.port", lasting_port()?);
    let running = Example::named("counter")?.start(builder)?;
    let client = running.cluster.http()?;
    let gateway = common::gateway_pid(&running.cluster)?;
    let mut streams: Vec<EventStream> = Vec::new();
    let mut of_thread = HashMap::new();
    while of_thread.len() < 2 {
        ensure!(streams.len() < STREAMS, "{STREAMS} streams are all of one thread");
        let before = threads_of_sockets(gateway)?;
        streams.push(client.events(STREAM)?);
        let after = threads_of_sockets(gateway)?;
        let new = after.iter().find(|(socket, _)| !before.contains_key(*socket));
        let (_, thread) = new.context("the stream's socket is of no thread")?;
        of_thread.entry(*thread).or_insert(streams.len() - 1);
    }
    let mut heard = Vec::new();
    for increment in 0..4 {
        if increment > 0 {
            count_up(client)?;
        }
        for at in of_thread.values() {
            heard.push(number(&mut streams[*at])?);
        }
    }
    assert_eq!(heard, ["0", "0", "1", "1", "2", "2", "3", "3"]);
    Ok(())
}

fn count_up(client: Client) -> Result<()> {
    let request = Request::new("POST", "/api/counter/increment").header("Sec-Fetch-Site", "same-origin");
    let answer = client.request(&request.json(&json!({})))?;
    ensure!(answer.status() == 204, "{}", answer.text());
    Ok(())
}

/// The next event with a number.
fn number(stream: &mut EventStream) -> Result<String> {
    loop {
        let event = stream.next(SOON)?;
        if event.event == "message" {
            return Ok(event.data);
        }
        ensure!(event.event == "sse.ready", "{event:?}");
    }
}

/// Each thread of the gateway waits on an epoll of its own: which sockets are watched by which epoll, by
/// their inodes and its descriptor.
fn threads_of_sockets(gateway: u32) -> Result<HashMap<String, u32>> {
    let process = Path::new("/proc").join(gateway.to_string());
    let mut targets: HashMap<u32, String> = HashMap::new();
    let mut epolls = Vec::new();
    for entry in fs::read_dir(process.join("fd"))? {
        let entry = entry?;
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One may be closed meanwhile.
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy().into_owned();
        if target == "anon_inode:[eventpoll]" {
            epolls.push(number);
        }
        targets.insert(number, target);
    }
    let mut found = HashMap::new();
    let mut watched_by: HashMap<u32, Vec<u32>> = HashMap::new();
    for epoll in epolls {
        let Ok(info) = fs::read_to_string(process.join("fdinfo").join(epoll.to_string())) else { continue };
        for line in info.lines().filter_map(|line| line.strip_prefix("tfd:")) {
            let watched = line.split_whitespace().next().and_then(|number| number.parse().ok());
            watched_by.entry(watched.context("tfd")?).or_default().push(epoll);
        }
    }
    for (watched, epolls) in watched_by {
        // A runtime has its epoll twice, as copies of one descriptor.
        if let (Some(epoll), Some(socket)) = (epolls.iter().min(), targets.get(&watched))
            && socket.starts_with("socket:")
        {
            found.insert(socket.clone(), *epoll);
        }
    }
    Ok(found)
}
