//! A socket until it is a request: bound, accepted, decrypted, read.
//!
//! Not for what a request gets: that is `router`.

pub(crate) mod bind;
pub(crate) mod connection;
mod farewell;
pub(crate) mod file_limit;
mod handshake;
pub(crate) mod head_io;
pub(crate) mod http2;
pub(crate) mod listener;
pub(crate) mod progress;
pub(crate) mod setting_files;
