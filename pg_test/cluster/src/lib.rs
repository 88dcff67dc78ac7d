//! Throwaway PostgreSQL clusters for the black-box tests and the demo, and clients that speak SQL, HTTP and
//! SSE to them.
//!
//! From the top down: [`PgConfig`] finds a PostgreSQL, [`Install`] makes a private copy of it and puts the
//! built extension in, [`Cluster`] runs one on a fresh data directory, [`Session`] and [`http::Client`] talk
//! to it. Nothing is written outside of its own folder, only the gateway listens on TCP, and when the process
//! that started a cluster ends, however it ends, the cluster goes, too.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let cluster = cluster::Cluster::builder().setting("sse.heartbeat_interval", "1s").start()?;
//! let mut stream = cluster.http()?.events("/api/hello/info")?;
//! cluster.sql("select hello()")?;
//! assert_eq!(stream.next(cluster::PATIENCE)?.data, "hello");
//! # Ok(()) }
//! ```
//!
//! Environment: `PG_SSE_LIBRARY` is the built library to test (without it `cargo build` makes one);
//! `PG_SSE_TRANSPORT=tls` gives every gateway a certificate, and the clients trust in it; `PG_CONFIG` chooses
//! the PostgreSQL; `PG_SSE_KEEP=1` leaves the folders for a look; `PG_SSE_MAY_SKIP` names
//! tests that may be skipped where the machine lacks what they need.
//!
//! Not for production use, and not a driver: SQL goes through `psql`. The HTTP client is `test-http`, which
//! the gateway's own tests use, too.

#![forbid(unsafe_code)]

mod access;
mod account;
mod builder;
mod clock;
mod cluster;
mod conclusion;
mod extension;
mod install;
mod launcher;
mod message;
mod node;
mod pg_config;
mod port;
mod process;
mod proxy;
mod scratch;
mod session;
mod skip;
mod standby;
mod wait;

pub use account::{Account, find_program};
pub use builder::{Builder, Preload};
pub use clock::Clock;
pub use cluster::{Cluster, Frozen, LogMark, StopMode};
pub use conclusion::{Conclusion, archive};
pub use extension::{Extension, Profile, cargo, workspace_root};
pub use install::Install;
pub use message::Message;
pub use node::{has_node, node, node_package, npm};
pub use pg_config::{MAJORS, PgConfig};
pub use port::lasting_port;
pub use process::{anonymous_bytes, status_bytes};
pub use proxy::Proxy;
pub use scratch::Scratch;
pub use session::{Reply, Session, SessionOptions};
pub use skip::{MAY_SKIP, SKIPPED, skip, tell_skipped};
pub use test_http as http;
pub use test_http::PATIENCE;
pub use wait::{wait_for, wait_until};
