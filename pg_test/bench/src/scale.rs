//! How much of everything is measured.
//!
//! Not for what is measured.

use std::time::Duration;

use clap::ValueEnum;

/// How long a run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Size {
    /// Seconds: every row once and small. Its figures mean nothing.
    Smoke,
    /// About five minutes.
    Quick,
    /// As long as figures need that others are to believe.
    Full,
}

/// What follows from it.
pub(crate) struct Scale {
    pub(crate) size: Size,
    /// How often the sides take turns.
    pub(crate) rounds: usize,
    /// Of one load on one side.
    pub(crate) turn: Duration,
    pub(crate) streams: Vec<u32>,
    /// What this process may have open, and so the server.
    pub(crate) most_streams: u32,
    /// For sides that come from a registry; others are measured everywhere.
    pub(crate) most_foreign_streams: u32,
    pub(crate) idle_streams: u32,
}

impl Scale {
    /// `most_streams` is what the system permits.
    pub(crate) fn new(size: Size, most_streams: u32) -> Self {
        let mut scale = match size {
            Size::Smoke => Self {
                size,
                rounds: 1,
                turn: Duration::from_millis(100),
                streams: vec![20],
                most_streams,
                most_foreign_streams: 20,
                idle_streams: 50,
            },
            Size::Quick => Self {
                size,
                rounds: 3,
                turn: Duration::from_millis(500),
                streams: vec![100, 1000],
                most_streams,
                most_foreign_streams: 100,
                idle_streams: 2000,
            },
            Size::Full => Self {
                size,
                rounds: 7,
                turn: Duration::from_secs(3),
                streams: vec![100, 1000, 5000, 12_000],
                most_streams,
                most_foreign_streams: 5000,
                idle_streams: 15_000,
            },
        };
        scale.streams.retain(|&streams| streams <= most_streams);
        scale.idle_streams = scale.idle_streams.min(most_streams);
        scale
    }
}
