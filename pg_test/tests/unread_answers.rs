//! Answers that nobody reads, from a real server: the gateway's memory has a bound, and where there is no
//! memory at all a caller is refused instead of the cluster being restarted (C7.2).
#![cfg(target_os = "linux")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::http::{Client, Wire};
use cluster::{Account, Cluster, PATIENCE, anonymous_bytes, find_program, skip, status_bytes};
use common::{calls, gateway_pid};

/// Bytes of an answer; eight of them are all that an address may have.
const ANSWER: u64 = 8_000_000;
const CALLERS: usize = 16;

fn start() -> Result<Cluster> {
    let cluster = calls::start(calls::builder())?;
    cluster.sql(
        "create function big(n int) returns text language sql immutable as $$ select repeat('x', n) $$;
         comment on function big(int) is 'HTTP GET'",
    )?;
    Ok(cluster)
}

/// Asks for a large answer, and reads no more of it than its first line.
fn ask(http: Client) -> Result<(Wire, u16)> {
    let mut socket = http.wire()?;
    socket2::SockRef::from(socket.socket()).set_recv_buffer_size(4096)?;
    socket.shake()?;
    socket.set_read_size(1024);
    socket.socket().set_read_timeout(Some(Duration::from_millis(100)))?;
    write!(socket, "GET /api/big?n={ANSWER} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut head = Vec::new();
    let until = Instant::now() + PATIENCE;
    while head.len() < 12 {
        ensure!(Instant::now() < until, "no answer");
        let mut space = [0; 12];
        match socket.read(&mut space[head.len()..]) {
            Ok(0) => anyhow::bail!("closed without an answer"),
            Ok(n) => head.extend_from_slice(&space[..n]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let status = std::str::from_utf8(&head[9..12])?.parse()?;
    Ok((socket, status))
}

/// This many callers that do not read, one after the other; returns how many of them were given an answer.
fn unread(cluster: &Cluster) -> Result<(Vec<Wire>, usize)> {
    let http = cluster.http()?;
    let (mut sockets, mut answered) = (Vec::new(), 0);
    for _ in 0..CALLERS {
        let (socket, status) = ask(http)?;
        ensure!(status == 200 || status == 503, "{status}");
        answered += usize::from(status == 200);
        sockets.push(socket);
    }
    Ok((sockets, answered))
}

/// The gateway is the same process, and calls go on.
fn goes_on(cluster: &Cluster, pid: u32) -> Result<()> {
    ensure!(gateway_pid(cluster)? == pid, "it is another process");
    let http = cluster.http()?;
    cluster::wait_for(PATIENCE, "a call", || {
        Ok((http.get("/api/big?n=10")?.text() == "xxxxxxxxxx").then_some(()))
    })?;
    let log = cluster.log()?;
    ensure!(!log.contains("was terminated by signal"), "{log}");
    Ok(())
}

// Attack: one address that does not read its answers fills any memory, and with it the cluster goes down.
#[test]
fn answers_that_are_not_read_have_a_bound() -> Result<()> {
    let cluster = start()?;
    let pid = gateway_pid(&cluster)?;
    let before = anonymous_bytes(pid)?;
    let (sockets, answered) = unread(&cluster).with_context(|| cluster.log().unwrap_or_default())?;
    // On a slow machine the first are cut before the last have asked.
    ensure!((8..CALLERS).contains(&answered), "{answered} of {CALLERS} were answered");
    let grown = anonymous_bytes(pid)?.saturating_sub(before);
    ensure!(grown < (64 << 20) + (24 << 20), "it has grown by {grown} bytes");
    drop(sockets);
    goes_on(&cluster, pid)
}

// A limit like a container's, below what the gateway may take: want of memory ended the process and every
// session.
#[test]
fn want_of_memory_is_an_answer() -> Result<()> {
    let Some(prlimit) = find_program("prlimit") else { return skip(env!("CARGO_CRATE_NAME"), "prlimit") };
    let cluster = start()?;
    let pid = gateway_pid(&cluster)?;
    let limit = status_bytes(pid, "VmSize")? + (32 << 20);
    // As the server's account: in a container root may not be allowed to.
    let mut set = Account::for_servers()?.command(&prlimit);
    let set = set.args(["--pid", &pid.to_string(), &format!("--as={limit}")]).status()?;
    ensure!(set.success(), "the limit cannot be set");
    let (sockets, answered) = unread(&cluster).with_context(|| cluster.log().unwrap_or_default())?;
    ensure!(answered < CALLERS, "all were answered: the limit has no effect");
    drop(sockets);
    goes_on(&cluster, pid)
}
