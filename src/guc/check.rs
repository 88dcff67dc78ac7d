//! What a text setting may hold. Each check says what is wrong, as a sentence without its full stop; guc.c
//! shows it as the DETAIL of its own "invalid value for parameter".
//!
//! Only the form is checked. Whether an address or a folder exists is found out by the gateway, so that a
//! missing one does not keep Postgres from starting.

use std::fmt::{self, Display};

use http::{HeaderName, Uri};
use sse_gateway::{CookieName, CorsOrigins, Settings, TrustedProxies};
use sse_proto::identity::ClaimNames;
use sse_proto::query::TokenParameter;
use sse_proto::word::ExecutionId;

use super::list;
use crate::pg::guc_text::Check;

/// Addresses and host names.
pub(super) enum Addresses {}

impl Check for Addresses {
    fn check(text: &str) -> Result<(), impl Display> {
        if list(text).is_empty() {
            return Err(Wrong::NoAddress);
        }
        names(text, "an address or a host name", |c| matches!(c, ':' | '*' | '[' | ']' | '%'))
    }
}

/// Host names.
pub(super) enum ServerNames {}

impl Check for ServerNames {
    fn check(text: &str) -> Result<(), impl Display> {
        names(text, "a host name", |c| matches!(c, ':' | '[' | ']'))
    }
}

/// Schemas.
pub(super) enum SchemaList {}

impl Check for SchemaList {
    fn check(text: &str) -> Result<(), impl Display> {
        match text.split(',').find(|one| one.trim().is_empty()) {
            Some(_) if !text.trim().is_empty() => Err(Wrong::EmptyEntry),
            _ => Ok(()),
        }
    }
}

/// The beginning of URLs.
pub(super) enum Prefix {}

impl Check for Prefix {
    fn check(text: &str) -> Result<(), impl Display> {
        if text.is_empty() {
            return Ok(());
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(Wrong::NoSlash);
        };
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._~".contains(c);
        let is_segment = |segment: &str| {
            !segment.is_empty() && segment != "." && segment != ".." && segment.chars().all(is_allowed)
        };
        match () {
            () if !rest.split('/').all(is_segment) => Err(Wrong::Segment),
            () if text == "/healthz" => Err(Wrong::Reserved),
            () => Ok(()),
        }
    }
}

/// An execution id.
pub(super) enum ExecutionIdText {}

impl Check for ExecutionIdText {
    fn check(text: &str) -> Result<(), impl Display> {
        if text.is_empty() { Ok(()) } else { ExecutionId::parse(text).map(drop) }
    }
}

/// Names of header fields.
pub(super) enum HeaderList {}

impl Check for HeaderList {
    fn check(text: &str) -> Result<(), impl Display> {
        header_names(text).map(drop)
    }
}

/// A comma list of header names.
pub(super) fn header_names(text: &str) -> Result<Vec<HeaderName>, impl Display + use<>> {
    let name = |name: String| {
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| Wrong::Name { name, what: "a header name" })
    };
    list(text).into_iter().map(name).collect::<Result<Vec<_>, Wrong>>()
}

/// The URL of a server, without a path.
pub(super) enum ServerUrl {}

impl Check for ServerUrl {
    fn check(text: &str) -> Result<(), impl Display> {
        let is_server = |url: &Uri| {
            let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else { return false };
            // Compared with what was read, so nothing can stand after the authority, not even a slash.
            matches!(scheme, "http" | "https")
                && !authority.as_str().contains('@')
                && text == format!("{scheme}://{authority}")
        };
        match text.parse::<Uri>() {
            _ if text.is_empty() => Ok(()),
            Ok(url) if is_server(&url) => Ok(()),
            _ => Err(Wrong::Url),
        }
    }
}

/// Makes a check from a parser that exists already.
macro_rules! parsed {
    ($($(#[$doc:meta])* $name:ident: $parse:path;)*) => {
        $(
            $(#[$doc])*
            pub(super) enum $name {}

            impl Check for $name {
                fn check(text: &str) -> Result<(), impl Display> {
                    $parse(text).map(drop)
                }
            }
        )*
    };
}

parsed! {
    /// Further headers of streams.
    StreamHeaders: Settings::check_response_headers;
    /// Addresses and networks.
    Proxies: TrustedProxies::parse;
    /// Origins.
    Origins: CorsOrigins::parse;
    /// The name of a cookie.
    Cookie: CookieName::parse;
    /// The name of a query parameter.
    TokenParameterName: TokenParameter::parse;
    /// Names of claims.
    ClaimList: ClaimNames::parse_list;
}

/// What is wrong with a text that only the check itself parses.
enum Wrong {
    NoAddress,
    EmptyEntry,
    NoSlash,
    Segment,
    Reserved,
    Url,
    /// `name` is not `what`.
    Name {
        name: String,
        what: &'static str,
    },
}

impl Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAddress => "it must name at least one address",
            Self::EmptyEntry => "an entry of the list is empty",
            Self::NoSlash => "it must begin with /",
            Self::Segment => "its segments must consist of a-z, 0-9, -, ., _ and ~, without a / at the end",
            Self::Reserved => "/healthz is reserved",
            Self::Url => "it must be http:// or https:// and an authority, without a path and a user",
            Self::Name { name, what } => return write!(f, "\"{}\" is not {what}", name.escape_debug()),
        })
    }
}

fn names(text: &str, what: &'static str, is_more: impl Fn(char) -> bool) -> Result<(), Wrong> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') || is_more(c);
    match list(text).into_iter().find(|name| !name.chars().all(is_allowed)) {
        Some(name) => Err(Wrong::Name { name, what }),
        None => Ok(()),
    }
}
