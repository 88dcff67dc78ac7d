//! What the system says of a process of a server.
//!
//! Not for stopping one: [`crate::Cluster::freeze`] and its neighbours do.

use std::fs;

use anyhow::{Context, Result};

/// Memory of a process that is its own and resident (`RssAnon`), in bytes: heaps and stacks, without shared
/// memory.
pub fn anonymous_bytes(pid: u32) -> Result<u64> {
    status_bytes(pid, "RssAnon")
}

/// Another size of `/proc/PID/status`, in bytes.
pub fn status_bytes(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("no such process")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kilobytes.with_context(|| format!("no {name}"))? << 10)
}
