//! A socket until it is a request: bound, accepted, read.
//!
//! Not for what a request gets: that is `router`.

pub(crate) mod bind;
pub(crate) mod connection;
pub(crate) mod file_limit;
pub(crate) mod head_io;
pub(crate) mod listener;
pub(crate) mod progress;
