//! What the gateway is told about its surroundings: [`Config`] once at start, [`Settings`] again on every
//! reload.
//!
//! Not for parsing postgresql.conf: the extension does that and fills these in.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::auth::AuthSettings;
use crate::entry::cors::CorsOrigins;
use crate::entry::peer::Transport;
use crate::entry::proxy::TrustedProxies;
use crate::tls::TlsSettings;

/// What can only change with the gateway itself (C1.3, settings that take effect at start).
#[derive(Debug, Clone)]
pub struct Config {
    /// `sse.listen_addresses`, split at commas: IPv4, IPv6, host names, or `*` for all.
    pub listen_addresses: Vec<String>,
    /// `sse.port`; 0 picks a free one, the same for all addresses ([`crate::Stats::port`]).
    pub port: u16,
    /// `sse.threads`, at least 1.
    pub threads: usize,
    /// Part of every event id: differs from that of every earlier gateway of this cluster, so that ids from
    /// before a restart are recognised (C6.4).
    pub epoch: u64,
    /// Postgres' data directory: [`Settings::static_root`] may not lie inside or above it (C6.8), and the
    /// file of refusals is in it. `None`: refusals end with the gateway.
    pub data_directory: Option<PathBuf>,
    /// With `sse.durability = wal`: up to where this server knows the log to be written, for ids that are
    /// ahead of it (C10.3). Events then come with their places, and nobody is let in before the window is
    /// read back. `None`: `memory`.
    pub log_end: Option<&'static AtomicU64>,
    /// For each runtime thread an eventfd, or another descriptor of which every write is told to whoever
    /// waits for it, by which call workers ring for it. It is never read. Empty: answers of calls come by the
    /// main thread.
    pub call_bells: Vec<Arc<OwnedFd>>,
}

impl Default for Config {
    /// One thread on a free port of loopback, with nothing of Postgres.
    fn default() -> Self {
        Self {
            listen_addresses: vec!["127.0.0.1".to_owned()],
            port: 0,
            threads: 1,
            epoch: 1,
            data_directory: None,
            log_end: None,
            call_bells: Vec::new(),
        }
    }
}

/// What changes on reload (C1.3, settings that take effect on reload).
#[derive(Debug, Clone)]
pub struct Settings {
    /// `sse.server_names`: further names a `Host` may have while bound to loopback (C1.5). Case does not
    /// matter.
    pub server_names: Vec<String>,
    /// `sse.trusted_proxies` (C1.5).
    pub trusted_proxies: TrustedProxies,
    /// `sse.cors_origins`.
    pub cors_origins: CorsOrigins,
    /// `sse.execution_id_headers`: a script may send these from other origins.
    pub execution_id_headers: Vec<HeaderName>,
    /// Whose tokens are believed.
    pub auth: AuthSettings,
    /// Whether and with what connections are encrypted (C1.6).
    pub tls: TlsSettings,
    /// `sse.heartbeat_interval`; zero = none. Resolution: a second at best for intervals above 4 s.
    pub heartbeat_interval: Duration,
    /// `sse.retry`: sent with `sse.ready`, and more of it when many streams are open, so that they do not all
    /// come back at once.
    pub retry: Duration,
    /// `sse.max_connections`: open streams; sockets in all are bounded by [`Settings::max_sockets`]. A
    /// quarter of the streams is kept for authenticated subscribers, once there is a key to authenticate them
    /// with.
    pub max_connections: usize,
    /// `sse.max_connections_per_address`: open streams of one IPv4 address, or of one IPv6 network of 64
    /// bits, which one subscriber is usually given as a whole; 0 = no limit.
    pub max_connections_per_address: usize,
    /// `sse.write_timeout`: a peer that takes nothing for this long is disconnected.
    pub write_timeout: Duration,
    /// `sse.idle_timeout`: a kept connection is closed this long after its last answer.
    pub idle_timeout: Duration,
    /// `sse.window_size` in bytes, per runtime thread.
    pub window_size: usize,
    /// `sse.window_age`.
    pub window_age: Duration,
    /// `sse.response_headers`, through [`Settings::check_response_headers`].
    pub response_headers: ResponseHeaders,
    /// `sse.static_root`; `None` = no files are served.
    pub static_root: Option<PathBuf>,
    /// `sse.call_timeout`: how long a call may wait for a worker, and then again how long it may run; zero =
    /// no limit.
    pub call_timeout: Duration,
    /// `sse.call_workers`: snapshots take at most half of them.
    pub call_workers: usize,
    /// `sse.max_event_size` in bytes, of events that the gateway makes and of snapshots; of others the
    /// extension sees to it.
    pub max_event_size: usize,
    /// `sse.call_queue_size`: calls that wait for a worker; one address has at most half of it.
    pub call_queue_size: usize,
    /// `sse.max_body_size` in bytes.
    pub max_body_size: usize,
    /// `sse.login_failures`: logins of one address (IPv6: network of 64 bits) that may fail within a minute;
    /// 0 = no limit.
    pub login_failures: usize,
    /// `sse.user_parameters`: as if every callable routine had `@user_parameters` (C7.3).
    pub user_parameters: bool,
    /// Below which path the files for clients are, with `sse.serve_client`: `/api`.
    pub client_prefix: Option<String>,
    /// `sse.primary_url`: scheme and authority, to which a standby sends calls that write; `None`: nowhere.
    pub primary_url: Option<String>,
}

impl Default for Settings {
    /// The defaults of C1.3.
    fn default() -> Self {
        Self {
            server_names: Vec::new(),
            trusted_proxies: TrustedProxies::default(),
            cors_origins: CorsOrigins::default(),
            execution_id_headers: vec![
                HeaderName::from_static("x-execution-id"),
                HeaderName::from_static("x-npgsqlrest-id"),
            ],
            auth: AuthSettings::default(),
            tls: TlsSettings::default(),
            heartbeat_interval: Duration::from_secs(15),
            retry: Duration::from_secs(2),
            max_connections: 10_000,
            max_connections_per_address: 0,
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            window_size: 64 << 20,
            window_age: Duration::from_secs(600),
            response_headers: ResponseHeaders::default(),
            static_root: None,
            call_timeout: Duration::from_secs(30),
            call_workers: 2,
            max_event_size: 1 << 20,
            call_queue_size: 1000,
            max_body_size: 1 << 20,
            login_failures: 10,
            user_parameters: false,
            client_prefix: None,
            primary_url: None,
        }
    }
}

impl Settings {
    /// The cookie of browsers that come to the gateway itself, and not through a proxy, as these settings
    /// mean it: for documents.
    pub fn cookie_name(&self) -> &str {
        let transport = if self.tls.is_whole() { Transport::OwnTls } else { Transport::Plain };
        self.auth.cookie_name.of(transport)
    }

    /// Checks a value of `sse.response_headers`: empty, or a JSON object of header names and string values.
    ///
    /// Refused are names that the protocol owns: a stream whose `Content-Type`, framing, caching or
    /// `Connection` an administrator could replace would be no stream any more, and `Set-Cookie` on a stream
    /// shared by every subscriber would hand one session to all of them.
    ///
    /// # Errors
    /// [`ResponseHeadersError`]; its `Display` is fit for a GUC check's detail.
    pub fn check_response_headers(text: &str) -> Result<ResponseHeaders, ResponseHeadersError> {
        if text.trim().is_empty() {
            return Ok(ResponseHeaders::default());
        }
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text).map_err(|_| ResponseHeadersError::NoObject)?;
        let mut headers = HeaderMap::new();
        for (name, value) in object {
            let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
                return Err(ResponseHeadersError::Name(name));
            };
            if OWNED_HEADERS.contains(&parsed.as_str()) {
                return Err(ResponseHeadersError::Owned(name));
            }
            let value = value.as_str().and_then(|value| HeaderValue::from_str(value).ok());
            let Some(value) = value else {
                return Err(ResponseHeadersError::Value(name));
            };
            if headers.insert(parsed, value).is_some() {
                return Err(ResponseHeadersError::Twice(name));
            }
        }
        Ok(ResponseHeaders(headers))
    }

    /// Streams of anonymous subscribers when a quarter is kept for the others.
    pub(crate) fn max_anonymous(&self) -> usize {
        self.max_connections - self.max_connections / 4
    }

    /// Most sockets that are open at a time: streams, and a quarter as many (at least 64) for requests that
    /// are being read or answered. Beyond it a connection gets a bare 503 without its request being read.
    pub fn max_sockets(&self) -> usize {
        self.max_connections.saturating_add((self.max_connections / 4).max(64))
    }
}

/// Headers that no setting may replace, lower case.
const OWNED_HEADERS: [&str; 22] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "keep-alive",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "www-authenticate",
    "x-accel-buffering",
    "x-content-type-options",
];

/// Extra headers on streams, already checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseHeaders(pub(crate) HeaderMap);

/// Why a value of `sse.response_headers` was refused. The `String` is the header's name as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseHeadersError {
    /// Not a JSON object.
    NoObject,
    /// Not a header name.
    Name(String),
    /// Not a string, or a string that cannot be a header value.
    Value(String),
    /// The same name twice, but for its case.
    Twice(String),
    /// A header that the protocol owns.
    Owned(String),
}

impl fmt::Display for ResponseHeadersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoObject => f.write_str("it must be a JSON object such as {\"X-Name\": \"value\"}"),
            Self::Name(name) => write!(f, "\"{}\" is not a header name", name.escape_debug()),
            Self::Value(name) => {
                write!(f, "the value of \"{}\" must be a string that a header can hold", name.escape_debug())
            }
            Self::Twice(name) => write!(f, "\"{}\" is given twice", name.escape_debug()),
            Self::Owned(name) => write!(f, "\"{}\" is set by the gateway itself", name.escape_debug()),
        }
    }
}

impl std::error::Error for ResponseHeadersError {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    // With one file alone nothing speaks TLS that has not done so before.
    #[test]
    fn documents_name_the_cookie_of_tls_when_both_files_are_set() {
        let file = |is_set: bool| is_set.then(|| "/f".into());
        for (certificate, key, name) in [
            (false, false, "sse_session"),
            (true, false, "sse_session"),
            (false, true, "sse_session"),
            (true, true, "__Host-sse_session"),
        ] {
            let (certificate_file, private_key_file) = (file(certificate), file(key));
            let tls = TlsSettings { certificate_file, private_key_file, ..TlsSettings::default() };
            assert_eq!(Settings { tls, ..Settings::default() }.cookie_name(), name, "{certificate} {key}");
        }
    }

    #[test]
    fn headers_that_the_protocol_owns_are_refused_in_any_case() {
        for name in ["Content-Type", "CACHE-CONTROL", "transfer-encoding", "X-Accel-Buffering", "Set-Cookie"]
        {
            let error = Settings::check_response_headers(&format!("{{\"{name}\": \"x\"}}")).unwrap_err();
            assert_eq!(error, ResponseHeadersError::Owned(name.to_owned()));
        }
    }

    #[test]
    fn a_header_value_cannot_open_another_header() {
        let error = Settings::check_response_headers("{\"X-A\": \"b\\r\\nSet-Cookie: c\"}").unwrap_err();
        assert_eq!(error, ResponseHeadersError::Value("X-A".to_owned()));
        assert!(Settings::check_response_headers("{\"X-A\\r\\nB\": \"b\"}").is_err());
    }

    #[test]
    fn an_object_of_strings_is_taken_and_anything_else_is_not() {
        assert_eq!(Settings::check_response_headers("").unwrap(), ResponseHeaders::default());
        assert_eq!(Settings::check_response_headers("{\"X-A\": \"b\"}").unwrap().0.len(), 1);
        for text in ["[]", "7", "{", "{\"X-A\": 7}", "{\"x-a\": \"1\", \"X-A\": \"2\"}"] {
            assert!(Settings::check_response_headers(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_list_of_owned_headers_is_lower_case_and_sorted() {
        assert!(OWNED_HEADERS.is_sorted());
        assert!(OWNED_HEADERS.iter().all(|name| HeaderName::from_static(name).as_str() == *name));
    }
}
