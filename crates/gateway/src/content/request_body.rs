//! The body of a request: read for a call, within a size, a time and a memory for all; skipped for everything
//! else.
//!
//! How a body is framed (`Content-Length`, chunks, and what is neither) is hyper's to say. Not for what is in
//! it.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::time::{Instant, timeout, timeout_at};

use crate::content::problem::Problem;
use crate::room::Room;

/// A body has this long, and a second more for each [`MIN_BODY_RATE`] bytes that have come; beyond it 408. So
/// a peer that sends a byte now and then cannot hold its connection.
const BODY_GRACE: Duration = Duration::from_secs(10);

/// Bytes a second: a slow mobile connection.
const MIN_BODY_RATE: u32 = 16 << 10;

/// How long a body that nobody wants is read, so that the connection can be used again. Beyond this time, or
/// beyond [`MAX_SKIPPED_BYTES`], the connection is closed after the answer.
const MAX_SKIP_TIME: Duration = Duration::from_millis(50);
const MAX_SKIPPED_BYTES: usize = 64 << 10;

/// A body of at most this many bytes (as many as a head may have) is kept until its call is answered, in case
/// it is needed once more because the routine has changed. The sender of a longer one is asked to send it
/// again.
const KEPT_BYTES: usize = 16 << 10;

/// A body that is being received.
pub(crate) struct RequestBody<B> {
    body: B,
    has_ended: bool,
    /// When it was first asked for.
    began: Option<Instant>,
    kept: Option<Vec<u8>>,
    /// It was longer than [`KEPT_BYTES`].
    is_gone: bool,
}

/// How much of a body is read.
pub(crate) struct Limits<'r> {
    /// `sse.max_body_size`.
    pub(crate) bytes: usize,
    /// What the bytes are counted in.
    pub(crate) room: &'r mut Room,
    /// Bytes of all bodies that are held at a time.
    pub(crate) memory: usize,
}

impl<B: Body<Data = Bytes> + Unpin> RequestBody<B> {
    pub(crate) fn new(body: B) -> Self {
        let has_ended = body.is_end_stream();
        Self { body, has_ended, began: None, kept: None, is_gone: false }
    }

    /// Nothing more of it will come.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended || self.body.is_end_stream()
    }

    /// The whole body, which is JSON if it is not empty.
    ///
    /// # Errors
    /// 415 if it says that it is something else, 413 if it is longer than its limit, 503 if there is no room
    /// for it, 408 if it takes too long, 400 if it breaks off. All but 415 close the connection.
    pub(crate) async fn read_json(
        &mut self,
        headers: &HeaderMap,
        limits: Limits<'_>,
    ) -> Result<Vec<u8>, Problem> {
        if let Some(kept) = &self.kept {
            return Ok(kept.clone());
        }
        let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > limits.bytes) {
            return Err(too_large(limits.bytes));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = self.next(bytes.len()).await? {
            if piece.is_empty() {
                continue;
            }
            if bytes.is_empty() {
                check_type(headers)?;
            }
            if piece.len() > limits.bytes - bytes.len() {
                return Err(too_large(limits.bytes));
            }
            let has_room = limits.room.try_grow(piece.len(), limits.memory);
            if !has_room || bytes.try_reserve(piece.len()).is_err() {
                return Err(no_memory());
            }
            bytes.extend_from_slice(&piece);
        }
        if bytes.len() <= KEPT_BYTES {
            self.kept = Some(bytes.clone());
        }
        self.is_gone = self.kept.is_none();
        Ok(bytes)
    }

    /// Whether [`RequestBody::read_json`] gives the same once more.
    pub(crate) fn can_be_read_again(&self) -> bool {
        !self.is_gone
    }

    /// Whether the body is empty. Reads no further than to find out.
    ///
    /// # Errors
    /// 408, 400.
    pub(crate) async fn is_empty(&mut self) -> Result<bool, Problem> {
        while let Some(piece) = self.next(0).await? {
            if !piece.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads what has come, or is about to come, of a body that nobody wants.
    pub(crate) async fn skip(&mut self, headers: &HeaderMap) {
        // A peer that waits for `100 Continue` will not send the body.
        if self.has_ended() || headers.contains_key(EXPECT) {
            return;
        }
        let mut rest = MAX_SKIPPED_BYTES;
        let _ = timeout(MAX_SKIP_TIME, async {
            while let Ok(Some(piece)) = self.next(0).await {
                let Some(left) = rest.checked_sub(piece.len()) else { return };
                rest = left;
            }
        })
        .await;
    }

    async fn next(&mut self, received: usize) -> Result<Option<Bytes>, Problem> {
        if self.has_ended {
            return Ok(None);
        }
        let began = *self.began.get_or_insert_with(Instant::now);
        let until = began + BODY_GRACE + Duration::from_secs(received as u64) / MIN_BODY_RATE;
        loop {
            match timeout_at(until, self.body.frame()).await {
                Err(_) => {
                    let detail = "The body of the request did not arrive in time.";
                    return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail).closing());
                }
                Ok(None) => {
                    self.has_ended = true;
                    return Ok(None);
                }
                Ok(Some(Err(_))) => {
                    let detail = "The body of the request is not valid.";
                    return Err(Problem::new(StatusCode::BAD_REQUEST, detail).closing());
                }
                Ok(Some(Ok(frame))) => {
                    // Trailers say nothing to anybody here.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// `application/json`, and not compressed. It is UTF-8, which is seen when it is read (RFC 8259 §8.1).
fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let unsupported = |detail: &str| Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let is_json = match (types.next().and_then(|value| value.to_str().ok()), types.next()) {
        (Some(value), None) => is_json(value),
        _ => false,
    };
    if !is_json {
        return unsupported(
            "The arguments of a call are a JSON object, with Content-Type: application/json.",
        );
    }
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    if codings.any(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity")) {
        return unsupported("The arguments of a call are not compressed.");
    }
    Ok(())
}

/// Parameters mean nothing for JSON, `charset` neither, whatever it says (RFC 8259 §11).
fn is_json(value: &str) -> bool {
    value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// There is no room for what was sent, or no memory.
pub(crate) fn no_memory() -> Problem {
    let detail = "Too many large requests are being received.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).closing()
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("The body of a request may have at most {limit} bytes (sse.max_body_size).");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).closing()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    use http_body_util::Full;
    use http_body_util::channel::{Channel, Sender};
    use std::convert::Infallible;

    fn room() -> Room {
        crate::room::Rooms::default().room("::1".parse().unwrap())
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    async fn read<B: Body<Data = Bytes> + Unpin>(
        body: &mut RequestBody<B>,
        headers: &HeaderMap,
        limit: usize,
    ) -> Result<Vec<u8>, u16> {
        let outcome =
            body.read_json(headers, Limits { bytes: limit, room: &mut room(), memory: 1 << 30 }).await;
        outcome.map_err(|problem| problem.into_response().status().as_u16())
    }

    fn channel() -> (Sender<Bytes>, RequestBody<Channel<Bytes, Infallible>>) {
        let (sender, body) = Channel::new(100);
        (sender, RequestBody::new(body))
    }

    // Slowloris: a byte now and then holds a connection for ever.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_too_slowly_is_given_up() {
        let json = headers(&[("content-type", "application/json")]);
        let began = Instant::now();
        let (mut sender, mut body) = channel();
        let drip = async {
            loop {
                let _ = sender.send_data(Bytes::from_static(b" ")).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            outcome = read(&mut body, &json, 1000) => assert_eq!(outcome, Err(408)),
            () = drip => {}
        }
        assert_eq!(began.elapsed().as_secs(), 10);
        // A slow one that keeps to the rate has its time.
        let (mut sender, mut body) = channel();
        let slow = async {
            for _ in 0..30 {
                let _ = sender.send_data(Bytes::from(vec![b' '; MIN_BODY_RATE as usize])).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            drop(sender);
        };
        let (outcome, ()) = tokio::join!(read(&mut body, &json, 1 << 20), slow);
        assert_eq!(outcome.map(|body| body.len()), Ok(30 * MIN_BODY_RATE as usize));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unwanted_body_is_skipped_when_it_is_short_and_left_when_it_is_not() {
        let mut body = RequestBody::new(Full::new(Bytes::from(vec![b'x'; MAX_SKIPPED_BYTES])));
        body.skip(&HeaderMap::new()).await;
        assert!(body.has_ended());
        let (mut sender, mut body) = channel();
        for _ in 0..=MAX_SKIPPED_BYTES / 1024 {
            sender.send_data(Bytes::from(vec![b'x'; 1024])).await.unwrap();
        }
        body.skip(&HeaderMap::new()).await;
        assert!(!body.has_ended());
        let (_sender, mut body) = channel();
        body.skip(&HeaderMap::new()).await;
        assert!(!body.has_ended());
        let mut body = RequestBody::new(Full::new(Bytes::from_static(b"x")));
        body.skip(&headers(&[("expect", "100-continue")])).await;
        assert!(!body.has_ended());
    }
}
