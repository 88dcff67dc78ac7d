//! A message becomes a record, in every backend: what comments say, what a message means below them, and what is said of
//! mistakes.
//!
//! Not for: the hooks that see messages and calls (`pg/entry/`), and what becomes of records (`worker/gateway/courier/`).

pub(crate) mod annotations;
pub(crate) mod capture;
mod emitter;
pub(crate) mod mistake;
