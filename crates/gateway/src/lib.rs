//! The HTTP server of pg_sse: knows sockets, not Postgres.
//!
//! The main thread of the gateway process owns a [`Gateway`] and does its [`Errand`]s; a thread beside it
//! owns the [`Publisher`] and hands it [`Batch`]es. The runtime threads are the gateway's own: each has its
//! listener, its streams and its copy of the window of recent events. An event's way through this crate:
//! `publisher` (handed over), `slab` (taken in), `stream_log` (encoded and kept), `slab` (walked to each
//! subscriber), socket.
#![forbid(unsafe_code)]
// cargo-fuzz sets `cfg(fuzzing)`; cargo does not know it.
#![allow(unexpected_cfgs)]

mod admin;
mod asked;
mod auth;
mod bell;
mod between;
mod call;
mod content;
mod door;
mod entry;
#[cfg(any(test, feature = "faults"))]
mod fault;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gateway;
mod measures;
mod network;
mod priority;
mod refusals;
mod room;
mod router;
mod settings;
mod shard;
mod shared;
mod stats;
mod stream;
mod supervise;
mod tls;
mod watched_file;

pub use admin::{Admin, AdminConfig, AdminSettings, Facts, Figure, Surroundings, View};
pub use auth::token;
pub use auth::{
    AdminToken, AuthSettings, CookieName, CookieNameError, Hidden, MIN_ADMIN_TOKEN_BYTES, MIN_SECRET_BYTES,
    SameSite, Secret, TooShort,
};
pub use between::batch::{Batch, Item, LogState};
pub use between::endings::Pushed;
pub use between::listing::{SubscriberInfo, Subscribers};
pub use between::outbox::{Errand, Severity};
pub use between::publisher::Publisher;
pub use between::queue::{CallAvailability, CallResult, QueuedCall};
pub use between::reply::{Answered, Reply};
pub use between::workers::{CallDesk, CallWorkers, Taken, Workers};
pub use entry::cors::{CorsError, CorsOrigins};
pub use entry::proxy::{ProxyError, TrustedProxies};
pub use gateway::{Gateway, Routes};
pub use measures::HistogramReading;
pub use priority::{carry_events, yield_to_events};
pub use refusals::{KeptRefusal, MAX_REFUSALS, RefusalFile, RefusalKind, RefusalReader};
pub use settings::{Config, ResponseHeaders, ResponseHeadersError, Settings};
pub use stats::Stats;
pub use tls::TlsSettings;
