//! The ledger test: nothing is lost silently, whatever breaks (C5, C6.4 to C6.7).
//!
//! Writers put numbered events through transactions of every kind and keep a table of what committed, the ledger. Readers
//! write down what they see. Meanwhile connections are cut, readers stop reading, the ring is filled, processes are killed
//! and the cluster is restarted, as a seed says. Afterwards the checker compares: `check` is a pure function of what was
//! recorded, with tests of its own that plant faults.
//!
//! The way down: [`run`] puts it all together, `driver` breaks things, `writer` and `reader` are the threads, `plan` says
//! whom an event is for, `history` is what was recorded, `check` judges it, `report` tells people.
//!
//! Not for finding out why: a violation names the reader and the event, and the histories are in a file (`archive`).

#![forbid(unsafe_code)]

mod archive;
mod check;
mod clock;
mod control;
mod driver;
mod figures;
mod history;
mod payload;
mod plan;
mod reader;
mod report;
mod run;
mod schedule;
mod schema;
mod writer;

pub use report::Report;
pub use run::{Options, run};
