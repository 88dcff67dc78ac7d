//! The settings (contract C1.3), defined in the order of `docs/settings.md`.
//!
//! `guc/value.rs` has how the rest of the code reads them, `guc/check.rs` what they may hold.
//!
//! Not for: what is wrong in postgresql.conf (`pg/config_file.rs`).

pub(crate) mod auth;
pub(crate) mod calls;
pub(crate) mod check;
mod value;

pub(crate) use value::*;

use std::ffi::{CStr, CString};

use pgrx::PostgresGucEnum;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

use crate::pg::guc_text;

/// `sse.default_level`
#[derive(Clone, Copy, PostgresGucEnum)]
pub(crate) enum LevelSetting {
    #[name = c"info"]
    Info,
    #[name = c"notice"]
    Notice,
    #[name = c"warning"]
    Warning,
}

/// `sse.default_delivery`
#[derive(Clone, Copy, PostgresGucEnum)]
pub(crate) enum DeliverySetting {
    #[name = c"commit"]
    Commit,
    #[name = c"immediate"]
    Immediate,
}

type Text = GucSetting<Option<CString>>;

static DATABASE: Text = GucSetting::<Option<CString>>::new(Some(c"postgres"));
static LISTEN_ADDRESSES: Text = GucSetting::<Option<CString>>::new(Some(c"127.0.0.1"));
static PORT: GucSetting<i32> = GucSetting::<i32>::new(8080);
static SERVER_NAMES: Text = GucSetting::<Option<CString>>::new(Some(c""));
static THREADS: GucSetting<i32> = GucSetting::<i32>::new(1);
static RING_SIZE: GucSetting<i32> = GucSetting::<i32>::new(16 * 1024);
static TRUSTED_PROXIES: Text = GucSetting::<Option<CString>>::new(Some(c""));
static URL_PREFIX: Text = GucSetting::<Option<CString>>::new(Some(c"/api"));
static SCHEMAS: Text = GucSetting::<Option<CString>>::new(Some(c""));
static DEFAULT_LEVEL: GucSetting<LevelSetting> = GucSetting::<LevelSetting>::new(LevelSetting::Info);
static DEFAULT_DELIVERY: GucSetting<DeliverySetting> =
    GucSetting::<DeliverySetting>::new(DeliverySetting::Commit);
static WARN_UNBOUND: GucSetting<bool> = GucSetting::<bool>::new(true);
static PUBLISH_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(0);
static MAX_EVENT_SIZE: GucSetting<i32> = GucSetting::<i32>::new(1024 * 1024);
static MAX_TRANSACTION_SIZE: GucSetting<i32> = GucSetting::<i32>::new(64 * 1024);
static EXECUTION_ID: Text = GucSetting::<Option<CString>>::new(Some(c""));
static EXECUTION_ID_HEADERS: Text =
    GucSetting::<Option<CString>>::new(Some(c"X-Execution-Id, X-NpgsqlRest-ID"));
static HEARTBEAT_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(15_000);
static RETRY: GucSetting<i32> = GucSetting::<i32>::new(2_000);
static MAX_CONNECTIONS: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static MAX_CONNECTIONS_PER_ADDRESS: GucSetting<i32> = GucSetting::<i32>::new(0);
static WRITE_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(30_000);
static IDLE_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(75_000);
static WINDOW_SIZE: GucSetting<i32> = GucSetting::<i32>::new(64 * 1024);
static WINDOW_AGE: GucSetting<i32> = GucSetting::<i32>::new(600);
static RESPONSE_HEADERS: Text = GucSetting::<Option<CString>>::new(Some(c""));
static STATIC_ROOT: Text = GucSetting::<Option<CString>>::new(Some(c""));

/// Every setting, in the order of their definition: what `pg/config_file.rs` looks after.
pub(crate) const NAMES: [&CStr; 47] = [
    c"sse.database",
    c"sse.listen_addresses",
    c"sse.port",
    c"sse.server_names",
    c"sse.trusted_proxies",
    c"sse.threads",
    c"sse.ring_size",
    c"sse.url_prefix",
    c"sse.schemas",
    c"sse.default_level",
    c"sse.default_delivery",
    c"sse.warn_unbound",
    c"sse.publish_timeout",
    c"sse.max_event_size",
    c"sse.max_transaction_size",
    c"sse.execution_id",
    c"sse.execution_id_headers",
    c"sse.heartbeat_interval",
    c"sse.retry",
    c"sse.max_connections",
    c"sse.max_connections_per_address",
    c"sse.write_timeout",
    c"sse.idle_timeout",
    c"sse.window_size",
    c"sse.window_age",
    c"sse.response_headers",
    c"sse.static_root",
    c"sse.cors_origins",
    c"sse.require_authentication",
    c"sse.jwt_secret",
    c"sse.jwt_secret_file",
    c"sse.jwt_key_file",
    c"sse.jwt_issuer",
    c"sse.jwt_audience",
    c"sse.claim_user_id",
    c"sse.claim_user_name",
    c"sse.claim_user_roles",
    c"sse.cookie_name",
    c"sse.cookie_same_site",
    c"sse.token_parameter",
    c"sse.session_lifetime",
    c"sse.call_role",
    c"sse.call_workers",
    c"sse.call_timeout",
    c"sse.call_queue_size",
    c"sse.max_body_size",
    c"sse.user_parameters",
];

/// Defines all settings. To be called once, from `_PG_init`.
pub(crate) fn define() {
    use GucContext::{Postmaster, Sighup, Userset};
    let none = GucFlags::default();
    let (kb, bytes, ms, s) = (GucFlags::UNIT_KB, GucFlags::UNIT_BYTE, GucFlags::UNIT_MS, GucFlags::UNIT_S);
    GucRegistry::define_string_guc(
        c"sse.database",
        c"Database whose routines are served.",
        c"Takes effect at server start.",
        &DATABASE,
        Postmaster,
        none,
    );
    guc_text::define_checked(
        c"sse.listen_addresses",
        c"Addresses that the gateway listens on.",
        c"Comma-separated addresses or host names; * listens on all. Takes effect at server start.",
        &LISTEN_ADDRESSES,
        Postmaster,
        guc_text::Check::Addresses,
    );
    GucRegistry::define_int_guc(
        c"sse.port",
        c"TCP port that the gateway listens on.",
        c"0 picks a free one, which sse.stat_gateway shows. Takes effect at server start.",
        &PORT,
        0,
        65_535,
        Postmaster,
        none,
    );
    guc_text::define_checked(
        c"sse.server_names",
        c"Host names by which the gateway may be called.",
        c"Comma-separated. While only loopback addresses are listened on, a request must name localhost, a loopback address, or one of these. Takes effect on reload.",
        &SERVER_NAMES,
        Sighup,
        guc_text::Check::ServerNames,
    );
    guc_text::define_checked(
        c"sse.trusted_proxies",
        c"Proxies whose X-Forwarded headers are believed.",
        c"Comma-separated addresses and networks; empty: none. Takes effect on reload.",
        &TRUSTED_PROXIES,
        Sighup,
        guc_text::Check::TrustedProxies,
    );
    GucRegistry::define_int_guc(
        c"sse.threads",
        c"Threads of the gateway that serve streams.",
        c"Each has its own subscribers and its own copy of the window. Takes effect at server start.",
        &THREADS,
        1,
        64,
        Postmaster,
        none,
    );
    GucRegistry::define_int_guc(
        c"sse.ring_size",
        c"Shared memory between the backends and the gateway.",
        c"Holds what is published faster than the gateway takes it; an event of more than nearly half of it is too large. Takes effect at server start.",
        &RING_SIZE,
        64,
        1024 * 1024,
        Postmaster,
        kb,
    );
    guc_text::define_checked(
        c"sse.url_prefix",
        c"First segment of every URL that is made from a routine's name.",
        c"Empty: none. Takes effect on reload; open streams stay.",
        &URL_PREFIX,
        Sighup,
        guc_text::Check::UrlPrefix,
    );
    guc_text::define_checked(
        c"sse.schemas",
        c"Schemas whose routines are looked at.",
        c"Comma-separated; empty: all but temporary and system schemas. Whoever may create a routine in one of them may publish to every subscriber. Takes effect on reload.",
        &SCHEMAS,
        Sighup,
        guc_text::Check::Schemas,
    );
    GucRegistry::define_enum_guc(
        c"sse.default_level",
        c"Level of RAISE that publishes where the annotation names none.",
        c"Exactly this level, not this one and above. Takes effect on reload.",
        &DEFAULT_LEVEL,
        Sighup,
        none,
    );
    GucRegistry::define_enum_guc(
        c"sse.default_delivery",
        c"When an event is sent where the annotation does not say.",
        c"commit: after the transaction has committed. immediate: at the RAISE. Takes effect on reload.",
        &DEFAULT_DELIVERY,
        Sighup,
        none,
    );
    guc_text::define_annotation_switch(
        c"sse.warn_unbound",
        c"Warns of a RAISE in a routine that has an HTTP line but no @sse annotation.",
        c"Once for each routine and server start: an annotation that was likely forgotten. Takes effect on reload.",
        &WARN_UNBOUND,
    );
    GucRegistry::define_int_guc(
        c"sse.publish_timeout",
        c"How long a publisher may wait for room in the ring.",
        c"0: it never waits; an event that finds no room is dropped, and the subscribers are told.",
        &PUBLISH_TIMEOUT,
        0,
        3_600_000,
        Userset,
        ms,
    );
    GucRegistry::define_int_guc(
        c"sse.max_event_size",
        c"Largest event, in bytes of UTF-8 text.",
        c"A larger one is not published; publisher and subscribers are told. Takes effect on reload.",
        &MAX_EVENT_SIZE,
        1,
        512 * 1024 * 1024,
        Sighup,
        bytes,
    );
    GucRegistry::define_int_guc(
        c"sse.max_transaction_size",
        c"Memory for the events that wait for one transaction's commit.",
        c"A transaction that needs more fails before it commits. Takes effect on reload.",
        &MAX_TRANSACTION_SIZE,
        1,
        16 * 1024 * 1024,
        Sighup,
        kb,
    );
    guc_text::define_checked(
        c"sse.execution_id",
        c"Execution id of the events that this session raises.",
        c"Empty: none. A stream that was opened with another execution id does not get them. It correlates; it is no protection.",
        &EXECUTION_ID,
        Userset,
        guc_text::Check::ExecutionId,
    );
    guc_text::define_checked(
        c"sse.execution_id_headers",
        c"Request headers that carry an execution id.",
        c"Comma-separated. Pages of the origins in sse.cors_origins may send them. Takes effect on reload.",
        &EXECUTION_ID_HEADERS,
        Sighup,
        guc_text::Check::HeaderNames,
    );
    GucRegistry::define_int_guc(
        c"sse.heartbeat_interval",
        c"How often an idle stream gets a comment line.",
        c"0: never. Keeps proxies from closing idle streams, and finds subscribers that have gone. Takes effect on reload.",
        &HEARTBEAT_INTERVAL,
        0,
        3_600_000,
        Sighup,
        ms,
    );
    GucRegistry::define_int_guc(
        c"sse.retry",
        c"How long a browser is asked to wait before it reconnects.",
        c"Sent when a stream begins. Takes effect on reload, for new streams.",
        &RETRY,
        0,
        3_600_000,
        Sighup,
        ms,
    );
    GucRegistry::define_int_guc(
        c"sse.max_connections",
        c"Most streams that are open at a time.",
        c"A further one is answered with 503. Takes effect on reload.",
        &MAX_CONNECTIONS,
        1,
        1_000_000,
        Sighup,
        none,
    );
    GucRegistry::define_int_guc(
        c"sse.max_connections_per_address",
        c"Most streams that one address may have open.",
        c"0: no limit. A further one is answered with 429. An IPv6 network of 64 bits counts as one address. Takes effect on reload.",
        &MAX_CONNECTIONS_PER_ADDRESS,
        0,
        1_000_000,
        Sighup,
        none,
    );
    GucRegistry::define_int_guc(
        c"sse.write_timeout",
        c"A subscriber that takes nothing for so long is disconnected.",
        c"It misses nothing that is still in the window when it comes back. Takes effect on reload.",
        &WRITE_TIMEOUT,
        1_000,
        3_600_000,
        Sighup,
        ms,
    );
    GucRegistry::define_int_guc(
        c"sse.idle_timeout",
        c"A kept connection is closed so long after its last answer.",
        c"Longer than a balancer in front keeps its own. When sockets run short they are closed sooner. Takes effect on reload.",
        &IDLE_TIMEOUT,
        1_000,
        3_600_000,
        Sighup,
        ms,
    );
    GucRegistry::define_int_guc(
        c"sse.window_size",
        c"Memory for recent events, per thread of the gateway.",
        c"Slow subscribers and those that reconnect read from it; all share it. Takes effect on reload.",
        &WINDOW_SIZE,
        64,
        64 * 1024 * 1024,
        Sighup,
        kb,
    );
    GucRegistry::define_int_guc(
        c"sse.window_age",
        c"How long recent events are kept.",
        c"Or until sse.window_size is full. Takes effect on reload.",
        &WINDOW_AGE,
        1,
        7 * 24 * 3_600,
        Sighup,
        s,
    );
    guc_text::define_checked(
        c"sse.response_headers",
        c"Further headers of stream answers.",
        c"A JSON object of names and values; headers that the protocol itself sets are refused. Takes effect on reload.",
        &RESPONSE_HEADERS,
        Sighup,
        guc_text::Check::ResponseHeaders,
    );
    GucRegistry::define_string_guc(
        c"sse.static_root",
        c"Folder whose files are served at /.",
        c"Empty: none. For small applications; it may not lie inside or above the data directory. Takes effect on reload.",
        &STATIC_ROOT,
        Sighup,
        none,
    );
    auth::define();
    calls::define();
    guc_text::reserve_prefix();
}
