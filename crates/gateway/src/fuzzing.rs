//! What fuzzers must reach although nobody else may: who a request is from, what it asks for, connections of
//! TLS, the frames of HTTP/2, and the window of recent events as one subscriber after another reads it.
//! Compiled by cargo-fuzz alone, which sets `cfg(fuzzing)`.
//!
//! Not a second implementation: what is here calls what the gateway calls, in its order.

mod door;
mod frames;
mod tls;
mod window;

pub use door::{Caller, Door, static_path, target_problem};
pub use frames::FrameCounter;
pub use tls::{TlsConnection, TlsSite};
pub use window::{Begun, Listening, Progress, Window};
