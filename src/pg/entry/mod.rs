//! Where Postgres calls us: `_PG_init`, hooks, callbacks, and the main functions of our workers.
//!
//! The only files of `pg` that name what is above it.

mod catalog_change;
pub(crate) mod frame;
mod hook;
mod init;
pub(crate) mod invalidation;
mod mains;
mod memory;
mod row_trigger;
mod utility;
pub(crate) mod xact;
