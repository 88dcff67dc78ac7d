//! What requests and ordinary answers carry: bodies that come in, bodies that go out, errors, files.
//!
//! Not for streams: these are written by `stream`, hyper never sees their bytes.

pub(crate) mod body;
pub(crate) mod client_file;
pub(crate) mod problem;
pub(crate) mod request_body;
pub(crate) mod static_files;
