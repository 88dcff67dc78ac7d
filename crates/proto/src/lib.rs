//! What pg_sse means by an annotation, a scope, a record, a route and an event: pure code.
//!
//! No Postgres, no I/O, no clock, no randomness, no threads: every function here gives the same answer for
//! the same input, so all of it is tested by tables, properties and fuzzers without a server.
#![forbid(unsafe_code)]

pub mod admission;
pub mod annotation;
pub mod call;
pub mod caller;
pub mod client_file;
mod codec;
pub mod encoding;
pub mod identity;
pub mod log_record;
pub mod near_miss;
pub mod order;
pub mod place;
pub mod query;
pub mod record;
pub mod route;
pub mod scope;
pub mod sse;
pub mod word;
