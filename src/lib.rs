//! pg_sse: `RAISE` in an annotated routine becomes a Server-Sent Event.
//!
//! This crate is the floor that knows Postgres. One event's way through it: `pg/entry/hook.rs` sees the
//! message, `pg/entry/activation.rs` knows which annotated routine is running, `publish/capture.rs` makes a
//! record of it, `pg/entry/xact.rs` keeps it until the commit, `pg/shmem.rs` has the ring,
//! `worker/gateway/courier.rs` drains it for the runtime threads. ARCHITECTURE.md has the house, SAFETY.md
//! what the unsafe parts rest on.

mod answer_file;
mod catalog;
mod client;
mod guc;
mod histograms;
mod pg;
mod publish;
mod revocation;
mod sql;
mod stats;
mod subscribers;
mod version;
mod worker;

pgrx::pg_module_magic!(name, version);

#[cfg(not(panic = "unwind"))]
compile_error!(
    "pg_sse needs panic = \"unwind\": Postgres' errors and Rust's panics are turned into each other"
);
