//! The ledger test: nothing is lost silently, whatever breaks (C5, C6.4 to C6.7).
//!
//! Writers put numbered events through transactions of every kind and keep a table of what committed, the
//! ledger. Readers write down what they see. Meanwhile connections are cut, readers stop reading, the ring is
//! filled, processes are killed and the cluster is restarted, as a seed says. Afterwards the checker
//! compares: `check` is a pure function of what was recorded, with tests of its own that plant faults.
//!
//! From the top down: [`run`] puts it all together, `driver` breaks things, `writer`, `caller`, `reader` and
//! `follower` are the threads, `plan` says whom an event is for, `history` and `tally` are what was
//! recorded, `check` judges it, `report` tells people.
//!
//! Not for finding out why: a violation names the reader and the event, and the histories are in a file
//! (`archive`).

#![forbid(unsafe_code)]

mod archive;
mod caller;
mod check;
mod control;
mod driver;
mod figures;
mod follower;
mod history;
mod payload;
mod plan;
mod reader;
mod report;
mod run;
mod schedule;
mod schema;
mod tally;
mod tree;
mod writer;

pub use report::Report;
pub use run::run;
pub use tree::{Replication, TreeReport, run as run_tree};

use std::path::PathBuf;
use std::sync::Arc;

use cluster::Install;

/// What to run.
#[derive(Debug)]
pub struct Options {
    /// For how long things break; beginning and end take additional time.
    pub seconds: u64,
    /// The seed that decides what breaks in which order.
    pub seed: u64,
    /// The PostgreSQL with the extension in it, which must be a build for tests (`Profile::Test`).
    pub install: Arc<Install>,
    /// Where a failed run leaves its histories, in a folder of its own.
    pub folder: PathBuf,
}
