//! The siege: hostile clients and hostile roles at the same time, and what honest ones get meanwhile.
//!
//! An honest publisher, subscriber and caller are measured beside a control that does not use pg_sse: a
//! listener of `pg_notify` in the same cluster, at the same instants. What the machine delays is late on both
//! sides; what delays pg_sse alone is late on one.
//!
//! From the top down: [`run`] puts it all together; `honest` are the parties that are measured, `attack`
//! those that must not be noticed, `phase` the outages in which only the time to recovery counts; `watch`
//! looks at memory and log; `processor` knows how long the gateway waited for a processor; `delays` and
//! `sequence` judge, as pure functions with tests of their own; `report` tells people, `archive` keeps the
//! records.
//!
//! Not for what was committed and seen when things *break*: that is the ledger test.

#![forbid(unsafe_code)]

mod archive;
mod attack;
mod delays;
mod ground;
mod honest;
mod memory;
mod phase;
mod processor;
mod report;
mod run;
mod schema;
mod sequence;
mod watch;
mod wire;

pub use attack::Choice;
pub use report::Report;
pub use run::{Options, run};
