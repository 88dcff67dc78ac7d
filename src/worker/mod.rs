//! The background workers: `gateway` faces the network and holds no database connection, `catalog` reads the
//! routines, `call` runs HTTP calls, `follower` keeps in step with the other servers of a tree, `wal_reader`
//! reads the write-ahead log. `pace` says how soon those who take events look for them again.
//!
//! Not for: sockets and HTTP (`sse_gateway`), which the gateway's runtime threads do without Postgres.

pub(crate) mod call;
mod calls;
pub(crate) mod catalog;
pub(crate) mod follower;
pub(crate) mod gateway;
mod pace;
mod parts;
pub(crate) mod wal_reader;
