//! What a routine can know of its call (C7.2): the nine settings, all of which are set for every call, so
//! that nothing of an earlier call shows through. And who is behind scope `caller` for what the call raises
//! (C4.2), which the routine can neither see nor set.
//!
//! Not for the arguments, nor for setting them: the worker does that, outside the transaction.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use serde_json::{Map, Value};
use sse_proto::call::UserParameters;
use sse_proto::caller::Caller;
use sse_proto::word::{ExecutionId, LabelError};

use crate::auth::Verified;
use crate::between::about::About;
use crate::between::shown::cut;
use crate::between::snapshots::Asker;

/// Headers that are secrets: they were not sent to the author of the routine.
const SECRET_HEADERS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

pub(crate) struct CallContext {
    /// The nine values, in the order of [`NAMES`].
    values: [String; NAMES.len()],
    is_authenticated: bool,
    /// Whether the gateway has made the execution id (C7.9).
    has_made_id: bool,
}

const USER_ID: usize = 0;
const USER_NAME: usize = 1;
const METHOD: usize = 5;
const PATH: usize = 6;
const EXECUTION_ID: usize = 8;

/// Longest text of a call that the inspector is told, in bytes; a longer one is cut.
const MAX_SHOWN_BYTES: usize = 300;

const NAMES: [&str; 9] = [
    "request.user_id",
    "request.user_name",
    "request.user_roles",
    "request.jwt.claims",
    "request.headers",
    "request.method",
    "request.path",
    "request.ip_address",
    "sse.execution_id",
];

impl CallContext {
    /// For an anonymous caller the values that name the user are empty.
    pub(crate) fn new(
        request: &Request<()>,
        login: Option<&Verified>,
        address: IpAddr,
        execution_id: Option<&ExecutionId>,
    ) -> Self {
        let identity = login.map(|login| &*login.identity);
        let text = |text: Option<&str>| text.unwrap_or("").to_owned();
        let roles = identity.map(|identity| identity.roles()).filter(|roles| !roles.is_empty());
        let values = [
            text(identity.and_then(|identity| identity.user_id())),
            text(identity.and_then(|identity| identity.user_name())),
            roles.map_or_else(String::new, |roles| in_ascii(&Value::from(roles).to_string())),
            login.map_or_else(String::new, |login| in_ascii(&login.claims)),
            headers_object(request.headers()),
            request.method().as_str().to_owned(),
            request.uri().path().to_owned(),
            address.to_string(),
            text(execution_id.map(ExecutionId::as_str)),
        ];
        Self { values, is_authenticated: login.is_some(), has_made_id: false }
    }

    /// Whether the gateway has made the execution id (C7.9).
    pub(crate) fn with_made_id(self, has_made_id: bool) -> Self {
        Self { has_made_id, ..self }
    }

    /// Of nobody in particular: all of it is empty.
    pub(crate) fn of_nobody() -> Self {
        let values = [const { String::new() }; NAMES.len()];
        Self { values, is_authenticated: false, has_made_id: false }
    }

    /// For a stream that may need it again and again.
    pub(crate) fn asker(self, login: Option<&Verified>, address: IpAddr) -> Asker {
        let user = user_parameters(login, address);
        Asker { context: Box::new(self.values), user }
    }

    /// See [`CallContext::asker`].
    pub(crate) fn of(asker: &Asker) -> Self {
        let mut values = asker.context.iter().cloned();
        let values = [(); NAMES.len()].map(|()| values.next().unwrap_or_default());
        Self { values, ..Self::of_nobody() }
    }

    /// For the inspector; `of_nobody` stands where there is no request.
    pub(crate) fn about(&self, of_nobody: &str) -> About {
        let value = |place: usize| Some(self.values[place].as_str()).filter(|text| !text.is_empty());
        let user = value(USER_NAME).or(value(USER_ID));
        About {
            method: cut(value(METHOD).unwrap_or("snapshot"), MAX_SHOWN_BYTES),
            path: cut(value(PATH).unwrap_or(of_nobody), MAX_SHOWN_BYTES),
            user: user.map(|user| cut(user, MAX_SHOWN_BYTES)),
        }
    }

    /// Names and values for the worker.
    pub(crate) fn settings(&self) -> Vec<(&str, &str)> {
        NAMES.into_iter().zip(self.values.iter().map(String::as_str)).collect()
    }

    /// Who is behind scope `caller` for the call with this number.
    pub(crate) fn caller(&self, call: u64) -> Caller<'_> {
        let value = |place: usize| Some(self.values[place].as_str()).filter(|text| !text.is_empty());
        Caller {
            call,
            is_authenticated: self.is_authenticated,
            user_id: value(USER_ID),
            execution_id: value(EXECUTION_ID),
            has_made_id: self.has_made_id,
        }
    }
}

/// What `@user_parameters` fills in (C7.3). Of an anonymous caller only the address is known.
pub(crate) fn user_parameters(login: Option<&Verified>, address: IpAddr) -> UserParameters {
    let identity = login.map(|login| &*login.identity);
    UserParameters {
        user_id: identity.and_then(|identity| identity.user_id()).map(str::to_owned),
        user_name: identity.and_then(|identity| identity.user_name()).map(str::to_owned),
        user_roles: identity.map(|identity| identity.roles().to_vec()),
        user_claims: login.map(|login| login.claims.to_string()),
        ip_address: Some(address.to_string()),
    }
}

/// JSON in ASCII, because the encoding of a database may lack other characters. These stand in strings only,
/// where they can be escaped.
fn in_ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }
    }
    out
}

/// A header's value: UTF-8, or else the Latin-1 that headers were once said to be in.
fn header_text(value: &HeaderValue) -> Cow<'_, str> {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.into(),
        Err(_) => value.as_bytes().iter().copied().map(char::from).collect::<String>().into(),
    }
}

/// Lower-case names; the values of one name are joined as RFC 9110 §5.2 has it.
fn headers_object(headers: &HeaderMap) -> String {
    let mut object = Map::new();
    for name in headers.keys().filter(|name| !SECRET_HEADERS.contains(name)) {
        let values: Vec<_> = headers.get_all(name).iter().map(header_text).collect();
        object.insert(name.as_str().to_owned(), values.join(", ").into());
    }
    in_ascii(&Value::Object(object).to_string())
}

/// Why there is no execution id although a header gives one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdError {
    /// More than one value, of which two programs might not pick the same.
    Twice,
    NotUtf8,
    Label(LabelError),
}

/// The first of the headers that says something (C4.4).
///
/// # Errors
/// [`IdError`], with the header's name.
pub(crate) fn execution_id<'n>(
    headers: &HeaderMap,
    names: &'n [HeaderName],
) -> Result<Option<ExecutionId>, (&'n HeaderName, IdError)> {
    for name in names {
        let mut values = headers.get_all(name).iter().filter(|value| !value.is_empty());
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            return Err((name, IdError::Twice));
        }
        let text = std::str::from_utf8(value.as_bytes()).map_err(|_| (name, IdError::NotUtf8))?;
        return ExecutionId::parse(text).map(Some).map_err(|error| (name, IdError::Label(error)));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(pairs: &[(&'static str, &'static [u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    // Secrets in a setting that every routine below the call can read, and log.
    #[test]
    fn headers_are_an_object_without_the_secrets() {
        let headers = headers(&[
            ("X-Two", b"a"),
            ("x-two", b"b"),
            ("Authorization", b"Bearer x"),
            ("Proxy-Authorization", b"Basic x"),
            ("Cookie", b"a=b"),
            ("x-latin", b"caf\xe9"),
            ("x-quote", b"say \"hi\"\t\\"),
        ]);
        let expected =
            serde_json::json!({"x-two": "a, b", "x-latin": "caf\u{e9}", "x-quote": "say \"hi\"\t\\"});
        assert_eq!(serde_json::from_str::<Value>(&headers_object(&headers)).unwrap(), expected);
        assert_eq!(headers_object(&HeaderMap::new()), "{}");
    }

    // A call fails in a database whose encoding has no € before its routine has begun.
    #[test]
    fn headers_are_ascii_whatever_they_hold() {
        let value = "\u{20ac} \u{1f600} \u{e9}";
        let headers =
            headers(&[("referer", "\u{20ac} \u{1f600} \u{e9}".as_bytes()), ("x-latin", b"J\xfcrgen\xff")]);
        let object = headers_object(&headers);
        assert!(object.is_ascii(), "{object}");
        let expected = serde_json::json!({"referer": value, "x-latin": "J\u{fc}rgen\u{ff}"});
        assert_eq!(serde_json::from_str::<Value>(&object).unwrap(), expected);
    }

    #[test]
    fn the_first_header_that_says_something_is_the_execution_id() {
        let names = [HeaderName::from_static("x-a"), HeaderName::from_static("x-b")];
        let id = |pairs: &[(&'static str, &'static [u8])]| {
            let found = execution_id(&headers(pairs), &names).map_err(|(_, error)| error);
            found.map(|id| id.map(|id| id.as_str().to_owned()))
        };
        assert_eq!(id(&[]), Ok(None));
        assert_eq!(id(&[("x-b", b"2")]), Ok(Some("2".to_owned())));
        assert_eq!(id(&[("x-b", b"2"), ("x-a", b"1")]), Ok(Some("1".to_owned())));
        assert_eq!(id(&[("x-a", b""), ("x-b", b"2")]), Ok(Some("2".to_owned())));
        assert_eq!(id(&[("x-a", b"1"), ("x-a", b"1")]), Err(IdError::Twice));
        assert_eq!(id(&[("x-a", b"\xff")]), Err(IdError::NotUtf8));
        assert!(id(&[("x-a", &[b'x'; 200])]).is_ok());
        assert!(matches!(id(&[("x-a", &[b'x'; 201])]), Err(IdError::Label(_))));
    }
}
