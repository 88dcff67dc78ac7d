//! The HTTP server of pg_sse: knows sockets, not Postgres.
//!
//! The main thread of the gateway process owns a [`Gateway`] and answers its [`Request`]s; a thread beside it owns the
//! [`Publisher`] and hands it [`Batch`]es.
//! The runtime threads are the gateway's own: each has its listener, its streams and its copy of the window of recent
//! events. An event's way through this crate: `publisher` (handed over), `slab` (taken in), `stream_log` (encoded and
//! kept), `slab` (walked to each subscriber), socket.
#![forbid(unsafe_code)]
// cargo-fuzz sets `cfg(fuzzing)`; cargo does not know it.
#![allow(unexpected_cfgs)]

mod admission;
mod asked;
mod audience;
mod auth;
mod batch;
mod bell;
mod bind;
mod body;
mod busy;
mod call;
mod connection;
mod cors;
#[cfg(debug_assertions)]
mod fault;
mod file_limit;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gateway;
mod head_io;
mod host;
mod listener;
mod listing;
mod network;
mod posting;
mod problem;
mod progress;
mod proxy;
mod publisher;
mod refusals;
mod request;
mod request_body;
mod room;
mod route_board;
mod router;
mod settings;
mod shard;
mod shared;
mod slab;
mod slot;
mod sockets;
mod static_files;
mod stats;
mod stream_log;
mod subscribe;
mod supervise;
pub mod token;

pub use auth::{
    AuthSettings, CookieName, CookieNameError, MIN_SECRET_BYTES, SameSite, Secret, SecretTooShort,
};
pub use batch::{Batch, Item};
pub use call::{Answered, CallResult, Calls, QueuedCall, Reply};
pub use cors::{CorsError, CorsOrigins};
pub use gateway::{Gateway, Routes};
pub use listing::{SubscriberInfo, Subscribers};
pub use proxy::{ProxyError, TrustedProxies};
pub use publisher::Publisher;
pub use refusals::RefusalFile;
pub use request::{Request, Severity};
pub use settings::{Config, ResponseHeaders, ResponseHeadersError, Settings};
pub use stats::Stats;
