//! pg_sse: `RAISE` in an annotated routine becomes a Server-Sent Event.
//!
//! This crate is the floor that knows Postgres. One event's way through it: `pg/hook.rs` sees the message,
//! `pg/frame.rs` knows which annotated routine is running, `capture.rs` makes a record of it, `pg/xact.rs` keeps it
//! until the commit, `pg/shmem.rs` has the ring, `worker/gateway.rs` drains it for the runtime threads.
//! ARCHITECTURE.md has the house, SAFETY.md what the unsafe parts rest on.

mod annotations;
mod basis;
mod call_role;
mod capture;
mod catalog;
mod emitter;
mod guc;
mod mistake;
mod pg;
mod revocation;
mod signature;
mod sql_api;
mod sql_calls;
mod sql_endpoints;
mod sql_publish;
mod sql_stats;
mod sql_subscribers;
mod sql_tokens;
mod stats;
mod subscribers;
mod token;
mod worker;

pgrx::pg_module_magic!(name, version);

/// Version of this library, and of the SQL script that belongs to it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(not(panic = "unwind"))]
compile_error!(
    "pg_sse needs panic = \"unwind\": Postgres' errors and Rust's panics are turned into each other"
);
