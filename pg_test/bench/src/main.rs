//! `cargo xtask bench`: what pg_sse costs, beside a floor that nothing can go below, and beside peers.
//!
//! Sides take turns within each round, so that a machine that is not always equally quiet is so for all; what
//! counts are ratios. Every event is looked for: a run in which one of ours is lost, doubled or out of order
//! fails, whatever its figures.
//!
//! Not a test of figures: they depend on the machine.

#![forbid(unsafe_code)]

mod call;
mod calls;
mod capture;
mod commits;
mod crowd;
mod drive;
mod fanout;
mod ground;
mod growth;
mod marker;
mod output;
mod peers;
mod plot;
mod process;
mod publisher;
mod reach;
mod report;
mod requests;
mod scale;
mod side;
mod tally;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

use scale::{Scale, Size};
use side::Side;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure.
    Run {
        /// These parts alone (default: all).
        parts: Vec<Part>,
        #[arg(long, value_enum, default_value = "full")]
        size: Size,
        /// Where tables, pictures and figures go.
        #[arg(long)]
        output: PathBuf,
        /// Where peers are installed that come from registries (default: a folder that is removed).
        #[arg(long)]
        peers: Option<PathBuf>,
    },
    /// The floor; started by the program itself.
    #[command(hide = true)]
    Floor { socket: String },
    /// axum and LISTEN; started by the program itself.
    #[command(hide = true)]
    Broadcast { socket: String },
    /// The endpoint that calls are compared with; started by the program itself.
    #[command(hide = true)]
    Endpoint { socket: String, connections: usize },
}

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Cost of a delivery, latency, memory of a stream.
    Fanout,
    /// An event at commit, beside none and beside pg_notify.
    Publish,
    /// An annotated routine, beside the same without its annotation.
    Capture,
    /// Calls of routines over HTTP.
    Calls,
    /// The cost of an event as things become more.
    Growth,
    /// Primary and standbys with `sse.durability = wal`.
    Reach,
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Task::Floor { socket } => peers::floor::serve(&socket),
        Task::Broadcast { socket } => peers::broadcast::serve(&socket),
        Task::Endpoint { socket, connections } => peers::endpoint::serve(&socket, connections),
        Task::Run { parts, size, output, peers } => {
            let parts = if parts.is_empty() { Part::value_variants().to_vec() } else { parts };
            measure(&parts, size, &output, peers)
        }
    }
}

fn measure(parts: &[Part], size: Size, output: &std::path::Path, peers: Option<PathBuf>) -> Result<()> {
    let scale = Scale::new(size, process::raise_descriptor_limit());
    let conditions = output::conditions()?;
    let mut chapters = Vec::new();
    for part in parts {
        let began = Instant::now();
        let measured = match part {
            Part::Fanout => {
                let folder = peers.clone().unwrap_or_else(|| output.join("peers"));
                let is_alone = size == Size::Smoke && peers.is_none();
                let sides = if is_alone { &Side::ALL[..3] } else { &Side::ALL };
                let (sides, skipped) = side::install(sides, &folder)?;
                fanout::run(&scale, &sides, &skipped)?
            }
            Part::Publish => vec![commits::run(&scale)?],
            Part::Capture => vec![capture::run(&scale)?],
            Part::Growth => vec![growth::run(&scale)?],
            Part::Calls => vec![calls::run(&scale)?],
            Part::Reach => reach::run(&scale)?,
        };
        measured.iter().for_each(|chapter| println!("{}", chapter.text()));
        let name = part.to_possible_value().map(|name| name.get_name().to_owned()).unwrap_or_default();
        println!("{name} took {:.0} s\n", began.elapsed().as_secs_f64());
        chapters.extend(measured);
    }
    output::write(output, &conditions, &chapters)
}
