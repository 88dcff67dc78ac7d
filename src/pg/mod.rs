//! Everything that touches Postgres' C interface: the only place of this crate where `unsafe` is allowed.
//!
//! Pointers of Postgres become borrowed Rust values here and go no further up. There is one file for each
//! thing of Postgres; what is decided with it is in the modules above, in safe code.
//!
//! There are two kinds of files. `entry/` is where Postgres calls us, and calls the modules above. All other
//! files are what we call, and name nothing outside of this folder (`cargo xtask test` has the rule).
#![allow(unsafe_code)]

pub(crate) mod backend;
pub(crate) mod bgworker;
pub(crate) mod call_bell;
mod call_cleanup;
mod call_cut;
mod call_log;
mod call_outcome;
mod call_recovery;
pub(crate) mod call_session;
pub(crate) mod call_signals;
pub(crate) mod call_slot;
pub(crate) mod call_state;
mod call_texts;
mod call_transaction;
pub(crate) mod clock;
pub(crate) mod compat;
pub(crate) mod config_file;
pub(crate) mod consumer;
pub(crate) mod database;
pub(crate) mod effects;
pub(crate) mod entry;
pub(crate) mod error_data;
pub(crate) mod error_room;
pub(crate) mod follower;
pub(crate) mod futex;
pub(crate) mod guc_secret;
pub(crate) mod guc_shadow;
pub(crate) mod guc_text;
pub(crate) mod jit;
pub(crate) mod last_reading;
pub(crate) mod latch;
mod make_way;
pub(crate) mod namesakes;
pub(crate) mod own_transaction;
pub(crate) mod pending;
mod portal;
pub(crate) mod postgres_cell;
mod raw;
mod receiver;
mod refusals;
mod repertoire;
pub(crate) mod report;
pub(crate) mod routine;
pub(crate) mod row;
mod row_json;
mod row_size;
mod row_versions;
mod setting;
pub(crate) mod shmem;
pub(crate) mod spare;
pub(crate) mod stale_plans;
mod state;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod ticket;
pub(crate) mod trigger;
mod try_catch;
pub(crate) mod waiter;
pub(crate) mod wal;
pub(crate) mod want_of_memory;
pub(crate) mod watched;
