//! What the admin port asks of the process that it is in.
//!
//! Not for what it knows of the gateway: it is shown that.

use std::time::SystemTime;

use crate::stats::Stats;

/// Answers questions of the admin thread. Nothing here may wait or call Postgres: it is asked on a thread
/// that is not the main one.
pub trait Surroundings: Send + Sync + 'static {
    /// The figures of `sse.stat_ring`, `sse.stat_gateway` and, where events go through the log, of
    /// `sse.stat_wal` by the names of their columns; those of the gateway as they are in `stats`, if it is
    /// given.
    fn figures(&self, stats: Option<&Stats>) -> Vec<Figure>;

    /// What readiness rests on besides the gateway.
    fn facts(&self) -> Facts;

    /// What the gateway is doing, in the words of `sse.stat_gateway`.
    fn state(&self) -> &'static str;

    /// The name of the served database.
    fn database(&self) -> &str;

    /// The extension's version.
    fn version(&self) -> &'static str;
}

/// Which view a figure is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// `sse.stat_ring`
    Ring,
    /// `sse.stat_gateway`
    Gateway,
    /// `sse.stat_wal`
    Wal,
}

/// One figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    /// Its view.
    pub view: View,
    /// The column's name.
    pub column: &'static str,
    /// Its value.
    pub value: u64,
}

/// What readiness rests on besides the gateway. An error is a sentence without anything of the inside.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Whether the served database exists.
    pub database: Result<(), &'static str>,
    /// Whether the extension is installed in it, in the library's version.
    pub extension: Result<(), &'static str>,
    /// Whether calls run, if there are to be any.
    pub call_role: Result<(), &'static str>,
    /// Bytes of the ring that are in use.
    pub ring_used_bytes: u64,
    /// Bytes that it has.
    pub ring_capacity_bytes: u64,
    /// When the gateway process was started.
    pub started_at: Option<SystemTime>,
}
