//! The settings' values, in the types that the code computes with: durations, bytes, words. Nobody else looks at a raw
//! value. A reading is a load from this process' memory, so it costs nothing on the path of an event.

use std::path::PathBuf;
use std::time::Duration;

use pgrx::guc::GucSetting;
use sse_gateway::{Settings, TrustedProxies};
use sse_proto::word::{Delivery, Level};

use super::*;
use crate::pg::backend;

/// `sse.database`
pub(crate) fn database() -> String {
    text(&DATABASE)
}

/// `sse.listen_addresses`, split.
pub(crate) fn listen_addresses() -> Vec<String> {
    let addresses = list(&text(&LISTEN_ADDRESSES));
    // All of them include every other one, which could not be bound then.
    if addresses.iter().any(|address| address == "*") { vec!["*".to_owned()] } else { addresses }
}

/// `sse.port`
pub(crate) fn port() -> u16 {
    u16::try_from(PORT.get()).unwrap_or(0)
}

/// `sse.threads`
pub(crate) fn threads() -> usize {
    size(THREADS.get())
}

/// `sse.ring_size`, in bytes.
pub(crate) fn ring_bytes() -> usize {
    size(RING_SIZE.get()) * 1024
}

/// `sse.url_prefix`
pub(crate) fn url_prefix() -> String {
    text(&URL_PREFIX)
}

/// Whether routines of this schema are looked at (`sse.schemas`).
pub(crate) fn schema_is_served(schema: &str) -> bool {
    if is_of_system(schema) {
        return false;
    }
    guc_text::with(&SCHEMAS, |schemas| is_listed(&String::from_utf8_lossy(schemas), schema))
}

/// `sse.schemas` as it stands.
pub(crate) fn schemas() -> String {
    guc_text::with(&SCHEMAS, |schemas| String::from_utf8_lossy(schemas).into_owned())
}

/// [`schema_is_served`] where `sse.schemas` is this. For threads that must not look at settings.
pub(crate) fn schema_is_listed(schemas: &str, schema: &str) -> bool {
    !is_of_system(schema) && is_listed(schemas, schema)
}

fn is_of_system(schema: &str) -> bool {
    schema == "information_schema" || schema == "sse" || schema.starts_with("pg_")
}

fn is_listed(schemas: &str, schema: &str) -> bool {
    schemas.trim().is_empty() || schemas.split(',').any(|one| unquoted(one.trim()) == schema)
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

/// `sse.warn_unbound`
pub(crate) fn warn_unbound() -> bool {
    WARN_UNBOUND.get()
}

/// `sse.publish_timeout`
pub(crate) fn publish_timeout() -> Duration {
    milliseconds(&PUBLISH_TIMEOUT)
}

/// `sse.max_event_size`, in bytes.
pub(crate) fn max_event_bytes() -> usize {
    size(MAX_EVENT_SIZE.get())
}

/// `sse.max_transaction_size`, in bytes.
pub(crate) fn max_transaction_bytes() -> usize {
    size(MAX_TRANSACTION_SIZE.get()) * 1024
}

/// Runs `read` with `sse.execution_id`, `None` when it is empty.
pub(crate) fn with_execution_id<T>(read: impl FnOnce(Option<&str>) -> T) -> T {
    guc_text::with(&EXECUTION_ID, |id| {
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

/// What the gateway takes on reload.
pub(crate) fn gateway_settings() -> Settings {
    let static_root = text(&STATIC_ROOT);
    Settings {
        server_names: list(&text(&SERVER_NAMES)),
        trusted_proxies: TrustedProxies::parse(&text(&TRUSTED_PROXIES)).unwrap_or_default(),
        cors_origins: auth::cors_origins(),
        execution_id_headers: check::header_names(&text(&EXECUTION_ID_HEADERS)).unwrap_or_default(),
        auth: auth::settings(),
        heartbeat_interval: milliseconds(&HEARTBEAT_INTERVAL),
        retry: milliseconds(&RETRY),
        max_connections: size(MAX_CONNECTIONS.get()),
        max_connections_per_address: size(MAX_CONNECTIONS_PER_ADDRESS.get()),
        write_timeout: milliseconds(&WRITE_TIMEOUT),
        idle_timeout: milliseconds(&IDLE_TIMEOUT),
        window_size: size(WINDOW_SIZE.get()) * 1024,
        window_age: Duration::from_secs(u64::try_from(WINDOW_AGE.get()).unwrap_or(0)),
        response_headers: Settings::check_response_headers(&text(&RESPONSE_HEADERS)).unwrap_or_default(),
        call_timeout: calls::timeout(),
        call_queue_size: calls::queue_size(),
        max_body_size: calls::max_body_bytes(),
        user_parameters: calls::user_parameters(),
        static_root: (!static_root.is_empty()).then(|| PathBuf::from(static_root)),
    }
}

pub(super) fn text(setting: &'static Text) -> String {
    guc_text::with(setting, |text| String::from_utf8_lossy(text).into_owned())
}

pub(crate) fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

/// A name as SQL writes it: double quotes kept its case, without them it is folded.
fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_ascii_lowercase(),
    }
}

pub(super) fn size(value: i32) -> usize {
    usize::try_from(value).unwrap_or(0)
}

pub(super) fn milliseconds(setting: &GucSetting<i32>) -> Duration {
    Duration::from_millis(u64::try_from(setting.get()).unwrap_or(0))
}
