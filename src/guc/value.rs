//! What the settings mean where that is more than a number or a text.

use std::path::PathBuf;

use sse_gateway::{Settings, TlsSettings, TrustedProxies};
use sse_proto::word::{Delivery, Level};

use super::table::*;
use super::{auth, check, kind};
use crate::pg::{backend, bgworker};

/// `sse.listen_addresses`, split.
pub(crate) fn listen_addresses() -> Vec<String> {
    addresses(&LISTEN_ADDRESSES)
}

/// `sse.admin_listen_addresses`, split.
pub(crate) fn admin_listen_addresses() -> Vec<String> {
    addresses(&ADMIN_LISTEN_ADDRESSES)
}

fn addresses(setting: &kind::Text) -> Vec<String> {
    let addresses = setting.list();
    // Each of these includes all other addresses, which could then not be bound.
    if addresses.iter().any(|address| address == "*") { vec!["*".to_owned()] } else { addresses }
}

/// `sse.port`
pub(crate) fn port() -> u16 {
    u16::try_from(PORT.count()).unwrap_or(0)
}

/// Whether routines of this schema are looked at (`sse.schemas`).
pub(crate) fn schema_is_served(schema: &str) -> bool {
    if is_of_system(schema) {
        return false;
    }
    SCHEMAS.with(|schemas| is_listed(&String::from_utf8_lossy(schemas), schema))
}

/// [`schema_is_served`] for a given text of `sse.schemas`: for threads that must not read settings.
pub(crate) fn schema_is_listed(schemas: &str, schema: &str) -> bool {
    !is_of_system(schema) && is_listed(schemas, schema)
}

fn is_of_system(schema: &str) -> bool {
    schema == "information_schema" || schema == "sse" || schema.starts_with("pg_")
}

fn is_listed(schemas: &str, schema: &str) -> bool {
    schemas.trim().is_empty() || schemas.split(',').any(|one| unquoted(one.trim()) == schema)
}

/// A name as SQL writes it: case is kept inside double quotes and folded without them.
fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_ascii_lowercase(),
    }
}

/// `sse.tls_certificate_file`, `sse.tls_private_key_file`, `sse.http2`
pub(crate) fn tls_settings() -> TlsSettings {
    TlsSettings {
        certificate_file: TLS_CERTIFICATE_FILE.optional().map(PathBuf::from),
        private_key_file: TLS_PRIVATE_KEY_FILE.optional().map(PathBuf::from),
        http2: HTTP2.get(),
    }
}

/// Whether events go through the write-ahead log, and standbys serve (`sse.durability`).
pub(crate) fn is_wal() -> bool {
    DURABILITY.get() == DurabilitySetting::Wal
}

/// `sse.default_level`
pub(crate) fn default_level() -> Level {
    match DEFAULT_LEVEL.get() {
        LevelSetting::Info => Level::Info,
        LevelSetting::Notice => Level::Notice,
        LevelSetting::Warning => Level::Warning,
    }
}

/// `sse.default_delivery`
pub(crate) fn default_delivery() -> Delivery {
    match DEFAULT_DELIVERY.get() {
        DeliverySetting::Commit => Delivery::Commit,
        DeliverySetting::Immediate => Delivery::Immediate,
    }
}

/// Runs `read` with `sse.execution_id`, `None` when it is empty.
pub(crate) fn with_execution_id<T>(read: impl FnOnce(Option<&str>) -> T) -> T {
    EXECUTION_ID.with(|id| {
        if id.is_empty() {
            return read(None);
        }
        let mut scratch = String::new();
        match sse_proto::encoding::to_utf8(id, backend::database_encoding(), &mut scratch) {
            Ok((id, _)) => read(Some(id)),
            Err(_) => read(Some("\u{fffd}")),
        }
    })
}

/// Workers that shared memory has room for: `sse.call_workers`, or 0 without calls.
pub(crate) fn call_worker_slots() -> usize {
    let is_on = CALL_ROLE.with(|role| !role.is_empty());
    if is_on { CALL_WORKERS.count() } else { 0 }
}

/// The settings that the gateway takes on reload. A value that its check has refused is not in force, so
/// nothing here can fail; if it did, the result would be narrower than meant.
pub(crate) fn gateway_settings() -> Settings {
    Settings {
        server_names: SERVER_NAMES.list(),
        trusted_proxies: TrustedProxies::parse(&TRUSTED_PROXIES.text()).unwrap_or_default(),
        cors_origins: auth::cors_origins(),
        execution_id_headers: check::header_names(&EXECUTION_ID_HEADERS.text()).unwrap_or_default(),
        auth: auth::settings(),
        tls: tls_settings(),
        heartbeat_interval: HEARTBEAT_INTERVAL.duration(),
        retry: RETRY.duration(),
        max_connections: MAX_CONNECTIONS.count(),
        max_connections_per_address: MAX_CONNECTIONS_PER_ADDRESS.count(),
        write_timeout: WRITE_TIMEOUT.duration(),
        idle_timeout: IDLE_TIMEOUT.duration(),
        window_size: WINDOW_SIZE.bytes(),
        window_age: WINDOW_AGE.duration(),
        response_headers: Settings::check_response_headers(&RESPONSE_HEADERS.text()).unwrap_or_default(),
        call_timeout: CALL_TIMEOUT.duration(),
        // Those that can exist: of them one is left to others, and snapshots take half.
        call_workers: CALL_WORKERS.count().min(bgworker::places_for_calls()),
        max_event_size: MAX_EVENT_SIZE.bytes(),
        call_queue_size: CALL_QUEUE_SIZE.count(),
        max_body_size: MAX_BODY_SIZE.bytes(),
        login_failures: LOGIN_FAILURES.count(),
        user_parameters: USER_PARAMETERS.get(),
        primary_url: PRIMARY_URL.optional(),
        client_prefix: SERVE_CLIENT.get().then(|| URL_PREFIX.text()),
        static_root: STATIC_ROOT.optional().map(PathBuf::from),
    }
}
