//! Ports and addresses that cannot be had: no server fails to start for one, and nobody's connections are
//! taken (C1.2).
//!
//! Not for what else is waited for (`lifecycle.rs`).

mod common;

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result, ensure};
use cluster::http::Request;
use cluster::{Cluster, PATIENCE, StopMode, wait_until};
use common::{SOON, announcer, log_has_restarts, state, status, wait_for_line};

/// The same port on these addresses, taken by somebody else.
fn taken<const N: usize>(addresses: [&str; N]) -> Result<(u16, [TcpListener; N])> {
    'port: loop {
        let mut holders = Vec::with_capacity(N);
        for address in addresses {
            let port =
                holders.first().map_or(Ok(0), |first: &TcpListener| first.local_addr().map(|at| at.port()));
            let Ok(holder) = TcpListener::bind((address, port?)) else { continue 'port };
            holders.push(holder);
        }
        let port = holders[0].local_addr()?.port();
        return Ok((port, holders.try_into().ok().context("one for each")?));
    }
}

/// Waits until the gateway answers at this address, which was taken. Each attempt is made at every address
/// that has failed so far.
fn is_served(cluster: &Cluster, address: &str, port: u16) -> Result<()> {
    let http = cluster.client_at(SocketAddr::new(address.parse()?, port)).within(SOON);
    let health = Request::get("/healthz").header("Host", "localhost");
    // The gateway's pauses grow up to 5 s.
    wait_until(PATIENCE, "the freed address is served", || {
        http.request(&health).is_ok_and(|answer| answer.status() == 200)
    })
}

fn warnings(log: &str, what: &str) -> usize {
    log.lines().filter(|line| line.contains("WARNING") && line.contains(what)).count()
}

#[test]
fn a_taken_port_is_said_once_and_served_when_it_is_free() -> Result<()> {
    let addresses = ["127.0.0.1", "127.0.0.2"];
    let (port, [stays, goes]) = taken(addresses)?;
    let cluster = Cluster::builder()
        .setting("sse.listen_addresses", addresses.join(", "))
        .setting("sse.port", port)
        .start()?;
    wait_for_line(&cluster, "sse.port")?;
    let waits = || state(&cluster).is_ok_and(|state| state == "waiting for port");
    wait_until(SOON, "the state says so", waits)?;
    // A further attempt finds the first address taken.
    drop(goes);
    is_served(&cluster, "127.0.0.2", port)?;
    ensure!(waits(), "{}", state(&cluster)?);
    drop(stays);
    is_served(&cluster, "127.0.0.1", port)?;
    wait_until(SOON, "the state is serving", || state(&cluster).is_ok_and(|state| state == "serving"))?;
    let log = cluster.log()?;
    for address in addresses {
        assert_eq!(warnings(&log, &format!("{address}:{port}")), 1, "{log}");
    }
    assert_eq!(warnings(&log, "sse.port"), addresses.len(), "{log}");
    ensure!(!log_has_restarts(&cluster)?, "{log}");
    Ok(())
}

#[test]
fn an_address_that_is_not_ours_keeps_no_server_from_starting_and_is_said_once() -> Result<()> {
    // 192.0.2.0/24 is for documentation (RFC 5737): no machine has such an address.
    let (port, [taken]) = taken(["127.0.0.1"])?;
    let cluster = Cluster::builder()
        .setting("sse.listen_addresses", "192.0.2.1, 127.0.0.1")
        .setting("sse.port", port)
        .start()?;
    wait_for_line(&cluster, "192.0.2.1")?;
    let waits = || state(&cluster).is_ok_and(|state| state == "waiting for port");
    wait_until(SOON, "the state says so", waits)?;
    // A further attempt is made, also at the address that is not ours.
    drop(taken);
    is_served(&cluster, "127.0.0.1", port)?;
    ensure!(waits(), "{}", state(&cluster)?);
    let log = cluster.log()?;
    assert_eq!(log.lines().filter(|line| line.contains("192.0.2.1")).count(), 1, "{log}");
    assert_eq!(warnings(&log, "sse.listen_addresses"), 1, "{log}");
    Ok(())
}

// Attack: a second cluster of another user takes a share of the connections (SO_REUSEPORT).
#[test]
fn a_second_cluster_on_the_same_port_steals_no_connection_and_serves_after_the_first() -> Result<()> {
    let first = Cluster::builder().setting("sse.threads", 2).start()?;
    first.sql(&announcer("first", "@sse"))?;
    let http = first.http()?;
    let second =
        Cluster::builder().setting("sse.threads", 2).setting("sse.port", http.address().port()).start()?;
    second.sql(&announcer("second", "@sse"))?;
    wait_for_line(&second, "sse.port")?;
    for _ in 0..30 {
        assert_eq!(status(http, "/api/first/info")?, 200);
    }
    first.stop(StopMode::Fast)?;
    let http = second.client_at(http.address());
    wait_until(SOON, "the second one serves", || {
        status(http, "/api/second/info").is_ok_and(|status| status == 200)
    })
}
