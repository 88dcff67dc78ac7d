//! A port for a gateway that has to find its own again after it was away.
//!
//! Not for others: port 0 gives them one that is free.

use std::net::TcpListener;

use anyhow::{Context, Result};
use fastrand::Rng;

/// No system hands these out for outgoing connections: a port that is handed out could be taken while the
/// gateway is away, even by a reader that tries to reach it.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// A port that is free now, and that nobody is given by chance later.
///
/// # Errors
/// A hundred ports are taken.
pub fn lasting_port() -> Result<u16> {
    // Not derived from the seed of a run: two runs of one seed must not compete for a port.
    let mut chance = Rng::new();
    let free =
        (0..100).map(|_| chance.u16(PORTS)).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.context("no free port")
}
