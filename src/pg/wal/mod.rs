//! The write-ahead log as the way of events (`sse.durability = wal`, C10): one file for each thing of it.
//!
//! Not for: what its records contain (`sse_proto::log_record`), and what the process that reads them does
//! (`worker/wal_reader.rs`).

pub(crate) mod words;
