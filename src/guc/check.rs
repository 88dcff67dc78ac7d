//! What a text setting may hold. Each check says what is wrong, as a sentence without its full stop; guc.c shows it as
//! the DETAIL of its own "invalid value for parameter".
//!
//! Only the form is checked: whether an address exists, a folder is there, is seen by the gateway, so that nothing of it
//! keeps Postgres from starting.

use http::HeaderName;
use sse_gateway::{CookieName, CorsOrigins, Settings, TrustedProxies};
use sse_proto::identity::ClaimNames;
use sse_proto::query::TokenParameter;
use sse_proto::word::ExecutionId;

use super::list;

/// Check of `sse.listen_addresses`: its form only; whether an address exists is seen when it is bound.
pub(crate) fn addresses(text: &str) -> Result<(), String> {
    if list(text).is_empty() {
        return Err("it must name at least one address".to_owned());
    }
    names(text, "an address or a host name", |c| c == ':' || c == '*' || c == '[' || c == ']' || c == '%')
}

/// Check of `sse.server_names`.
pub(crate) fn server_names(text: &str) -> Result<(), String> {
    names(text, "a host name", |c| c == ':' || c == '[' || c == ']')
}

/// Check of `sse.schemas`.
pub(crate) fn schemas(text: &str) -> Result<(), String> {
    match text.split(',').find(|one| one.trim().is_empty()) {
        Some(_) if !text.trim().is_empty() => Err("an entry of the list is empty".to_owned()),
        _ => Ok(()),
    }
}

/// Check of `sse.url_prefix`.
pub(crate) fn url_prefix(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let Some(rest) = text.strip_prefix('/') else {
        return Err("it must begin with /".to_owned());
    };
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._~".contains(c);
    for segment in rest.split('/') {
        if segment.is_empty() || segment == "." || segment == ".." || !segment.chars().all(allowed) {
            return Err(
                "its segments must consist of a-z, 0-9, -, ., _ and ~, without a / at the end".to_owned()
            );
        }
    }
    if text == "/healthz" {
        return Err("/healthz is reserved".to_owned());
    }
    Ok(())
}

/// Check of `sse.response_headers`.
pub(crate) fn response_headers(text: &str) -> Result<(), String> {
    Settings::check_response_headers(text).map(drop).map_err(|error| error.to_string())
}

/// Check of `sse.execution_id`.
pub(crate) fn execution_id(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    ExecutionId::parse(text).map(drop).map_err(|error| error.to_string())
}

fn names(text: &str, what: &str, also: impl Fn(char) -> bool) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-' || c == '_' || also(c);
    for name in list(text) {
        if !name.chars().all(allowed) {
            return Err(format!("\"{}\" is not {what}", name.escape_debug()));
        }
    }
    Ok(())
}

/// Check of `sse.trusted_proxies`.
pub(crate) fn trusted_proxies(text: &str) -> Result<(), String> {
    TrustedProxies::parse(text).map(drop).map_err(|error| error.to_string())
}

/// Check of `sse.cors_origins`.
pub(crate) fn cors_origins(text: &str) -> Result<(), String> {
    CorsOrigins::parse(text).map(drop).map_err(|error| error.to_string())
}

/// Check of `sse.cookie_name`.
pub(crate) fn cookie_name(text: &str) -> Result<(), String> {
    CookieName::parse(text).map(drop).map_err(|error| error.to_string())
}

/// Check of `sse.token_parameter`.
pub(crate) fn token_parameter(text: &str) -> Result<(), String> {
    TokenParameter::parse(text).map(drop).map_err(|error| error.to_string())
}

/// Check of the three settings that name claims.
pub(crate) fn claim_names(text: &str) -> Result<(), String> {
    ClaimNames::parse_list(text).map(drop).map_err(|error| error.to_string())
}

/// Check of `sse.execution_id_headers`.
pub(crate) fn execution_id_headers(text: &str) -> Result<(), String> {
    header_names(text).map(drop)
}

/// A comma list of header names.
pub(super) fn header_names(text: &str) -> Result<Vec<HeaderName>, String> {
    let name = |name: String| {
        HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("\"{}\" is not a header name", name.escape_debug()))
    };
    list(text).into_iter().map(name).collect()
}
