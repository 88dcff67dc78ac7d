//! Turns messages into records, in every backend: what comments say, what a message raised below them means,
//! and what is said about mistakes.
//!
//! Not for: the hooks that see messages and calls (`pg/entry/`), and what becomes of records
//! (`worker/gateway/courier/`).

pub(crate) mod annotations;
pub(crate) mod caller;
pub(crate) mod capture;
pub(crate) mod changes;
mod emitter;
pub(crate) mod mistake;
pub(crate) mod served;
