//! A stream as the answer to a request: its head, and the room that it needs.
//!
//! Not for whether the request may have it: that is `router` and `call`.

use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, DATE, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use std::net::IpAddr;
use std::time::SystemTime;

use crate::between::outbox::Severity;
use crate::content::body::Body;
use crate::content::problem::{Problem, append_header};
use crate::entry::admission::{NoRoom, StreamPermit};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::stats::Stats;
use crate::stream::of_call::CallTie;
use crate::stream::stream_log::Framing;
use crate::stream::subscribe::Subscription;

/// What a request gets.
pub(crate) enum Answer {
    Response(Response<Body>),
    /// The slab writes it.
    Stream(StreamAnswer),
}

/// A stream that is to begin on the request's connection: with HTTP/1 in its place, with HTTP/2 beside
/// others.
pub(crate) struct StreamAnswer {
    /// Those of its head.
    pub(crate) headers: HeaderMap,
    pub(crate) framing: Framing,
    pub(crate) subscription: Subscription,
    pub(crate) last_event_id: Vec<u8>,
    pub(crate) stream_permit: StreamPermit,
    /// It is the answer of a call.
    pub(crate) call: Option<Box<CallTie>>,
}

/// C6.2, for GET and HEAD alike.
pub(crate) fn headers(settings: &Settings) -> HeaderMap {
    let mut headers = settings.response_headers.0.clone();
    for (name, value) in [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store, no-transform"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
}

/// The head with these headers and those of the connection, of HTTP/1.
pub(crate) fn head(framing: Framing, mut headers: HeaderMap) -> Vec<u8> {
    let date = httpdate::fmt_http_date(SystemTime::now());
    if let Ok(date) = HeaderValue::from_str(&date) {
        headers.insert(DATE, date);
    }
    if framing == Framing::Chunked {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    // The connection ends with its stream.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    for (name, value) in &headers {
        append_header(&mut head, name, value);
    }
    head.extend_from_slice(b"\r\n");
    head
}

pub(crate) fn framing(version: Version) -> Framing {
    // HTTP/1.0 ends with its connection, HTTP/2 has frames.
    if version == Version::HTTP_11 { Framing::Chunked } else { Framing::Bare }
}

/// Room for another stream of this address.
///
/// # Errors
/// The answer when there is none.
pub(crate) fn permit(shared: &Shared, address: IpAddr, is_anonymous: bool) -> Result<StreamPermit, Problem> {
    StreamPermit::try_new(&shared.counts, shared.stream_limits(), address, is_anonymous).map_err(|no_room| {
        match no_room {
            NoRoom::Full => refused(shared),
            NoRoom::Address => {
                Stats::add(&shared.stats.refused_addresses_total, 1);
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "Too many streams of this address are open.")
            }
        }
    })
}

/// The answer when there are too many sockets.
pub(crate) fn refused(shared: &Shared) -> Problem {
    Stats::add(&shared.stats.refused_total, 1);
    shared.outbox.log_limited("max_connections", Severity::Warning, || {
        format!(
            "sse.max_connections = {} are open: further connections are refused",
            shared.settings().max_connections
        )
    });
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Too many connections are open.")
}
