//! Where Postgres calls us: `_PG_init`, hooks, callbacks, and the main functions of our workers.
//!
//! The only files of `pg` that name what is above it.

pub(crate) mod activation;
pub(crate) mod catalog_change;
mod hook;
mod init;
pub(crate) mod invalidation;
mod mains;
mod memory;
mod row_trigger;
mod utility;
pub(crate) mod xact;
