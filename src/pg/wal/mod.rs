//! The write-ahead log as the way of events (`sse.durability = wal`, C10): one file for each thing of it.
//!
//! Not for: what its records contain (`sse_proto::log_record`), and what the process that reads them does
//! (`worker/wal_reader.rs`).

pub(crate) mod fault_note;
mod files;
pub(crate) mod in_flight;
pub(crate) mod layout;
pub(crate) mod log_end;
mod log_error;
pub(crate) mod log_reader;
pub(crate) mod position;
pub(crate) mod timelines;
pub(crate) mod visibility;
pub(crate) mod words;
pub(crate) mod write;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Written once, by the postmaster, before it starts any other process.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// Whether events go through the log. A load from this process' memory.
pub(crate) fn is_on() -> bool {
    IS_ON.load(Relaxed)
}

/// Says that they do. To be called from `_PG_init` in the postmaster; every process inherits it.
pub(crate) fn switch_on() {
    IS_ON.store(true, Relaxed);
}
