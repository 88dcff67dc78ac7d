//! The siege: hostile clients and hostile roles at once, and what honest ones get meanwhile.
//!
//! An honest publisher, subscriber and caller are measured, beside a control that goes through no pg_sse: a listener of
//! `pg_notify` in the same cluster, at the same instants. What the machine delays delays both; what pg_sse lets itself be
//! delayed by delays one.
//!
//! The way down: [`run`] puts it all together; `honest` are the parties that are measured, `attack` those that are not
//! to be noticed, `phase` the outages in which only the time to recovery counts; `watch` looks at memory and log;
//! `processor` knows what the gateway waited for a processor; `delays` and `sequence` judge, as pure functions with tests of their own; `report` tells people, `archive` keeps.
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
