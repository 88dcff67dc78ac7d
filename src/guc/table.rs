//! The settings (contract C1.3), in the order of `docs/settings.md`: the only place that has their names,
//! defaults, ranges, units and descriptions. `pg_test/tests/settings_table.rs` compares it with the
//! documentation and with the defaults that the gateway has for itself.
//!
//! To add a setting: add a row here, and a row and a paragraph there. If the gateway shall take it on reload,
//! add it to `gateway_settings` of `value.rs`, too.

use pgrx::PostgresGucEnum;

use super::check::{
    Addresses, ClaimList, Cookie, ExecutionIdText, HeaderList, Origins, Prefix, Proxies, SchemaList,
    ServerNames, ServerUrl, StreamHeaders, TokenParameterName,
};
use super::kind::Effect::{Reload, Session, Start};
use super::kind::{Choice, Number, Setting, Switch, Text, Unit};
use crate::pg::guc_secret;
use crate::pg::guc_text::{SwitchHooks, TextHooks};

/// Most workers: each takes a place of `max_worker_processes`, and 300 kB of shared memory.
const MAX_WORKERS: i32 = 256;

const HOUR_MS: i32 = 3_600_000;
const DAY_S: i32 = 24 * 3_600;

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

/// `sse.cookie_same_site`
#[derive(Clone, Copy, PostgresGucEnum)]
pub(crate) enum SameSiteSetting {
    #[name = c"strict"]
    Strict,
    #[name = c"lax"]
    Lax,
    #[name = c"none"]
    None,
}

/// `sse.durability`
#[derive(Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub(crate) enum DurabilitySetting {
    #[name = c"memory"]
    Memory,
    #[name = c"wal"]
    Wal,
}

/// Makes a static of each row, and one list of all of them.
macro_rules! settings {
    ($($name:ident: $kind:ty = $setting:expr;)*) => {
        $(pub(crate) static $name: $kind = $setting;)*

        /// All of them, in the order of their definition.
        pub(super) static SETTINGS: &[&dyn Setting] = &[$(&$name),*];
    };
}

settings! {
    DATABASE: Text = Text::new(
        c"sse.database", c"postgres", Start,
        c"Database whose routines are served.",
        "",
    );
    LISTEN_ADDRESSES: Text = Text::new(
        c"sse.listen_addresses", c"127.0.0.1", Start,
        c"Addresses that the gateway listens on.",
        "Comma-separated addresses or host names; * listens on all.",
    ).hooks(TextHooks::checked::<Addresses>());
    PORT: Number = Number::new(
        c"sse.port", 8080, (0, 65_535), Unit::None, Start,
        c"TCP port that the gateway listens on.",
        "0 picks a free one, which sse.stat_gateway shows.",
    );
    SERVER_NAMES: Text = Text::new(
        c"sse.server_names", c"", Reload,
        c"Host names by which the gateway may be called.",
        "Comma-separated. While only loopback addresses are listened on, a request must name localhost, a loopback address, or one of these.",
    ).hooks(TextHooks::checked::<ServerNames>());
    TRUSTED_PROXIES: Text = Text::new(
        c"sse.trusted_proxies", c"", Reload,
        c"Proxies whose X-Forwarded headers are believed.",
        "Comma-separated addresses and networks; empty: none.",
    ).hooks(TextHooks::checked::<Proxies>());
    TLS_CERTIFICATE_FILE: Text = Text::new(
        c"sse.tls_certificate_file", c"", Reload,
        c"File with the certificate of the gateway, and its chain: PEM.",
        "With sse.tls_private_key_file set too, the port speaks HTTPS. Empty: plain HTTP. Read again when it changes.",
    );
    TLS_PRIVATE_KEY_FILE: Text = Text::new(
        c"sse.tls_private_key_file", c"", Reload,
        c"File with the private key of the certificate: PEM, not encrypted.",
        "It must belong to the server's user (mode 0600 or less) or to root (0640 or less). Read again when it changes.",
    );
    HTTP2: Switch = Switch::new(
        c"sse.http2", true, Reload,
        c"Offers HTTP/2 to clients that connect over TLS.",
        "One connection of a browser then carries up to 100 streams and calls; off: HTTP/1.1 alone, which costs less memory.",
    );
    THREADS: Number = Number::new(
        c"sse.threads", 1, (1, 64), Unit::None, Start,
        c"Threads of the gateway that serve streams.",
        "Each has its own subscribers and its own copy of the window.",
    );
    RING_SIZE: Number = Number::new(
        c"sse.ring_size", 16 * 1024, (64, 1024 * 1024), Unit::Kilobyte, Start,
        c"Shared memory between the backends and the gateway.",
        "Holds what is published faster than the gateway takes it; an event of more than nearly half of it is too large.",
    );
    URL_PREFIX: Text = Text::new(
        c"sse.url_prefix", c"/api", Reload,
        c"First segment of every URL that is made from a routine's name.",
        "Empty: none. Open streams stay.",
    ).hooks(TextHooks::checked::<Prefix>());
    SCHEMAS: Text = Text::new(
        c"sse.schemas", c"", Reload,
        c"Schemas whose routines are looked at.",
        "Comma-separated; empty: all but temporary and system schemas. A role that may create a routine in one of them may publish to every subscriber.",
    ).hooks(TextHooks::checked::<SchemaList>().outdates_annotations());
    DEFAULT_LEVEL: Choice<LevelSetting> = Choice::new(
        c"sse.default_level", LevelSetting::Info, Reload,
        c"Level of RAISE that publishes where the annotation names none.",
        "Exactly this level, not this one and above.",
    );
    DEFAULT_DELIVERY: Choice<DeliverySetting> = Choice::new(
        c"sse.default_delivery", DeliverySetting::Commit, Reload,
        c"When an event is sent where the annotation does not say.",
        "commit: after the transaction has committed. immediate: at the RAISE.",
    );
    WARN_UNBOUND: Switch = Switch::new(
        c"sse.warn_unbound", true, Reload,
        c"Warns of a RAISE in a routine that has an HTTP line but no @sse annotation.",
        "Once for each routine and server start: an annotation that was likely forgotten.",
    ).hooks(SwitchHooks::OUTDATES_ANNOTATIONS);
    PUBLISH_TIMEOUT: Number = Number::new(
        c"sse.publish_timeout", 0, (0, HOUR_MS), Unit::Millisecond, Session,
        c"How long a publisher may wait for room in the ring.",
        "0: it never waits; an event that finds no room is dropped, and the subscribers are told.",
    );
    MAX_EVENT_SIZE: Number = Number::new(
        c"sse.max_event_size", 1024 * 1024, (1, 512 * 1024 * 1024), Unit::Byte, Reload,
        c"Largest event, in bytes of UTF-8 text.",
        "A larger one is not published; publisher and subscribers are told.",
    );
    MAX_TRANSACTION_SIZE: Number = Number::new(
        c"sse.max_transaction_size", 64 * 1024, (1, 16 * 1024 * 1024), Unit::Kilobyte, Reload,
        c"Memory for the events that wait for one transaction's commit.",
        "A transaction that needs more fails before it commits.",
    );
    EXECUTION_ID: Text = Text::new(
        c"sse.execution_id", c"", Session,
        c"Execution id of the events that this session raises.",
        "Empty: none. A stream that was opened with another execution id does not get them. It correlates; it is no protection.",
    ).hooks(TextHooks::checked::<ExecutionIdText>());
    EXECUTION_ID_HEADERS: Text = Text::new(
        c"sse.execution_id_headers", c"X-Execution-Id, X-NpgsqlRest-ID", Reload,
        c"Request headers that carry an execution id.",
        "Comma-separated. Pages of the origins in sse.cors_origins may send them.",
    ).hooks(TextHooks::checked::<HeaderList>());
    HEARTBEAT_INTERVAL: Number = Number::new(
        c"sse.heartbeat_interval", 15_000, (0, HOUR_MS), Unit::Millisecond, Reload,
        c"How often an idle stream gets a comment line.",
        "0: never. Keeps proxies from closing idle streams, and finds subscribers that have gone.",
    );
    RETRY: Number = Number::new(
        c"sse.retry", 2_000, (0, HOUR_MS), Unit::Millisecond, Reload,
        c"How long a browser is asked to wait before it reconnects.",
        "Sent when a stream begins: open streams keep what they were sent.",
    );
    MAX_CONNECTIONS: Number = Number::new(
        c"sse.max_connections", 10_000, (1, 1_000_000), Unit::None, Reload,
        c"Most streams that are open at a time.",
        "A further one is answered with 503.",
    );
    MAX_CONNECTIONS_PER_ADDRESS: Number = Number::new(
        c"sse.max_connections_per_address", 0, (0, 1_000_000), Unit::None, Reload,
        c"Most streams that one address may have open.",
        "0: no limit. A further one is answered with 429. An IPv6 network of 64 bits counts as one address.",
    );
    WRITE_TIMEOUT: Number = Number::new(
        c"sse.write_timeout", 30_000, (1_000, HOUR_MS), Unit::Millisecond, Reload,
        c"A subscriber that takes nothing for this long is disconnected.",
        "It misses nothing that is still in the window when it comes back.",
    );
    IDLE_TIMEOUT: Number = Number::new(
        c"sse.idle_timeout", 75_000, (1_000, HOUR_MS), Unit::Millisecond, Reload,
        c"A kept connection is closed this long after its last answer.",
        "A load balancer in front must close its idle connections sooner. When sockets run short, idle ones are closed at once.",
    );
    WINDOW_SIZE: Number = Number::new(
        c"sse.window_size", 64 * 1024, (64, 64 * 1024 * 1024), Unit::Kilobyte, Reload,
        c"Memory for recent events, per thread of the gateway.",
        "Slow subscribers and those that reconnect read from it; all share it.",
    );
    WINDOW_AGE: Number = Number::new(
        c"sse.window_age", 600, (1, 7 * DAY_S), Unit::Second, Reload,
        c"How long recent events are kept.",
        "Or until sse.window_size is full.",
    );
    RESPONSE_HEADERS: Text = Text::new(
        c"sse.response_headers", c"", Reload,
        c"Further headers of stream answers.",
        "A JSON object of names and values; headers that the protocol itself sets are refused.",
    ).hooks(TextHooks::checked::<StreamHeaders>());
    STATIC_ROOT: Text = Text::new(
        c"sse.static_root", c"", Reload,
        c"Folder whose files are served at /.",
        "Empty: none. For small applications; it may not lie inside or above the data directory.",
    );
    CORS_ORIGINS: Text = Text::new(
        c"sse.cors_origins", c"", Reload,
        c"Origins whose pages may open streams.",
        "Comma-separated, exact (https://app.example.com); * allows all, without credentials. Empty: only pages of the gateway's own origin.",
    ).hooks(TextHooks::checked::<Origins>());
    REQUIRE_AUTHENTICATION: Switch = Switch::new(
        c"sse.require_authentication", false, Reload,
        c"Anonymous subscribers are answered with 401.",
        "Everywhere but for /healthz, OPTIONS and files of sse.static_root. Open streams stay.",
    );
    JWT_SECRET: Text = Text::new(
        c"sse.jwt_secret", c"", Reload,
        c"HMAC key of tokens, at least 32 bytes.",
        "Empty: none. It is never shown; better kept in a file (sse.jwt_secret_file).",
    ).hooks(guc_secret::HOOKS);
    JWT_SECRET_FILE: Text = Text::new(
        c"sse.jwt_secret_file", c"", Reload,
        c"File that has the HMAC key of tokens.",
        "Readable by the server's user alone; one line end at its end does not count. Empty: none. Read again when it changes.",
    );
    JWT_KEY_FILE: Text = Text::new(
        c"sse.jwt_key_file", c"", Reload,
        c"File that has the public keys of tokens: PEM or JWKS.",
        "For RS256 to RS512, PS256 to PS512, ES256, ES384 and EdDSA. Empty: none. Read again when it changes.",
    );
    JWT_ISSUER: Text = Text::new(
        c"sse.jwt_issuer", c"", Reload,
        c"What the claim iss of a token must be.",
        "Empty: it is not looked at.",
    );
    JWT_AUDIENCE: Text = Text::new(
        c"sse.jwt_audience", c"", Reload,
        c"What the claim aud of a token must be or contain.",
        "Empty: it is not looked at.",
    );
    CLAIM_USER_ID: Text = Text::new(
        c"sse.claim_user_id", c"user_id, sub", Reload,
        c"Claims that may carry the user id.",
        "Comma-separated; the first that a token has counts.",
    ).hooks(TextHooks::checked::<ClaimList>());
    CLAIM_USER_NAME: Text = Text::new(
        c"sse.claim_user_name", c"user_name, name", Reload,
        c"Claims that may carry the user name.",
        "Comma-separated; the first that a token has counts.",
    ).hooks(TextHooks::checked::<ClaimList>());
    CLAIM_USER_ROLES: Text = Text::new(
        c"sse.claim_user_roles", c"user_roles, roles, role", Reload,
        c"Claims that may carry the roles.",
        "Comma-separated; the first that a token has counts.",
    ).hooks(TextHooks::checked::<ClaimList>());
    COOKIE_NAME: Text = Text::new(
        c"sse.cookie_name", c"", Reload,
        c"Cookie that may carry the token.",
        "Empty: __Host-sse_session where the gateway speaks TLS itself, else sse_session.",
    ).hooks(TextHooks::checked::<Cookie>());
    COOKIE_SAME_SITE: Choice<SameSiteSetting> = Choice::new(
        c"sse.cookie_same_site", SameSiteSetting::Lax, Reload,
        c"SameSite attribute of the cookie.",
        "strict, lax, or none (which browsers take over TLS only).",
    );
    TOKEN_PARAMETER: Text = Text::new(
        c"sse.token_parameter", c"", Reload,
        c"Query parameter that may carry the token.",
        "Empty: tokens are never read from URLs, where logs and histories would keep them.",
    ).hooks(TextHooks::checked::<TokenParameterName>());
    SESSION_LIFETIME: Number = Number::new(
        c"sse.session_lifetime", 14 * DAY_S, (1, 10 * 365 * DAY_S), Unit::Second, Reload,
        c"Lifetime of the tokens that logins and sse.issue_token make.",
        "Of new tokens: those that were made keep theirs.",
    );
    LOGIN_FAILURES: Number = Number::new(
        c"sse.login_failures", 10, (0, 1_000), Unit::None, Reload,
        c"How many logins of one address may fail within a minute.",
        "0: no limit. Further ones are answered with 429, right ones too. An IPv6 network of 64 bits counts as one address.",
    );
    CALL_ROLE: Text = Text::new(
        c"sse.call_role", c"", Start,
        c"Role that HTTP calls of routines run as.",
        "Empty: there are no calls. It needs LOGIN, and may not be a superuser, have BYPASSRLS, or be a member of such a role.",
    );
    CALL_WORKERS: Number = Number::new(
        c"sse.call_workers", 2, (1, MAX_WORKERS), Unit::None, Start,
        c"Background workers that run HTTP calls, one call each at a time.",
        "Each takes a place of max_worker_processes and holds a database connection, which does not count against max_connections.",
    );
    CALL_TIMEOUT: Number = Number::new(
        c"sse.call_timeout", 30_000, (0, HOUR_MS), Unit::Millisecond, Reload,
        c"How long an HTTP call may run, and how long it may wait for a worker.",
        "A statement that runs longer is cancelled and answered with 504; a call that waits longer is answered with 503. 0: no limit but statement_timeout of the role.",
    );
    CALL_QUEUE_SIZE: Number = Number::new(
        c"sse.call_queue_size", 1_000, (1, 1_000_000), Unit::None, Reload,
        c"Most HTTP calls that wait for a worker.",
        "A further one is answered with 503; one address holds at most half of the queue.",
    );
    MAX_BODY_SIZE: Number = Number::new(
        c"sse.max_body_size", 1024 * 1024, (1, 64 * 1024 * 1024), Unit::Byte, Reload,
        c"Largest body of an HTTP call.",
        "A larger one is answered with 413.",
    );
    USER_PARAMETERS: Switch = Switch::new(
        c"sse.user_parameters", false, Reload,
        c"Fills _user_id, _user_name, _user_roles, _user_claims and _ip_address of every called routine.",
        "As @user_parameters does for one routine: from the identity of the caller, never from the request.",
    );
    SERVE_CLIENT: Switch = Switch::new(
        c"sse.serve_client", false, Reload,
        c"Serves the client in TypeScript and the documents at the URL prefix: client.ts, openapi.json, asyncapi.json.",
        "They tell whoever may fetch them what can be called and listened to, with parameters, types and the prose of the comments.",
    );
    ADMIN_PORT: Number = Number::new(
        c"sse.admin_port", 0, (0, 65_535), Unit::None, Start,
        c"TCP port for health and metrics.",
        "0: none. It speaks plain HTTP, and stands while nothing is served, too.",
    );
    ADMIN_LISTEN_ADDRESSES: Text = Text::new(
        c"sse.admin_listen_addresses", c"127.0.0.1", Start,
        c"Addresses that sse.admin_port is listened on.",
        "Comma-separated addresses or host names; * listens on all. Beyond loopback anybody on the network can read what is sent.",
    ).hooks(TextHooks::checked::<Addresses>());
    ADMIN_TOKEN: Text = Text::new(
        c"sse.admin_token", c"", Reload,
        c"Token of what sse.admin_port does not show to everybody, at least 16 bytes.",
        "Empty: none, and then nothing but health and metrics is shown, which need none. It is never shown; better kept in a file (sse.admin_token_file).",
    ).hooks(guc_secret::ADMIN_TOKEN_HOOKS);
    ADMIN_TOKEN_FILE: Text = Text::new(
        c"sse.admin_token_file", c"", Reload,
        c"File that has such a token.",
        "Readable by the server's user alone; one line end at its end does not count. Empty: none. Read again when it changes.",
    );
    DURABILITY: Choice<DurabilitySetting> = Choice::new(
        c"sse.durability", DurabilitySetting::Memory, Start,
        c"Where events are between the transaction that publishes them and the gateway.",
        "memory: in shared memory. wal: in the write-ahead log, with their transaction, for every server that replays it; all servers of a tree need the same.",
    );
    PRIMARY_URL: Text = Text::new(
        c"sse.primary_url", c"", Reload,
        c"Where a standby sends calls that write.",
        "Scheme and authority, as https://db.example.com. Empty: they are answered with 503.",
    ).hooks(TextHooks::checked::<ServerUrl>());
}
