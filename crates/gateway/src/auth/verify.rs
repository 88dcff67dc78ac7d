//! Whether a token is believed: its form, its signature, its times, its issuer and audience (C4.7).
//!
//! Signature first: nothing is read from claims that nobody vouches for. Not for whether the bearer has been
//! disconnected since: that is `revocation`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use sse_proto::identity::{Claims, Identity};

use super::AuthSettings;
use super::disbelief::Disbelief;
use super::keys::{self, Effort, Key};
use super::revocation::TokenDigest;

/// Longest token in bytes. Browsers keep cookies of at most 4 KB, and a head has at most 16 KB. Beyond it the
/// token is refused unread.
pub(crate) const MAX_TOKEN_BYTES: usize = 8 << 10;

/// How far the issuer's clock may be off ours, for every time in a token.
const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// Seconds; the end of the year 9999. A later time is in other units, and must be refused: an `exp` in
/// milliseconds would never pass.
const MAX_TIME: f64 = 253_402_300_799.0;

/// What a token that is believed says.
#[derive(Debug, Clone)]
pub(crate) struct Verified {
    /// Shared with the streams and calls that it is for.
    pub(crate) identity: Arc<Identity>,
    /// When its stream is to end: at `exp`, or, if that has passed already, at the end of the skew that still
    /// lets the token in.
    pub(crate) expires_at: SystemTime,
    pub(crate) issued_at: Option<SystemTime>,
    /// All of the claims, as the token has them: a JSON object.
    pub(crate) claims: Box<str>,
    /// Names this very token.
    pub(crate) digest: TokenDigest,
}

impl Verified {
    /// Until when a refusal of this token must be kept: after that it has expired for every clock.
    pub(crate) fn refused_until(&self) -> SystemTime {
        self.expires_at + CLOCK_SKEW
    }
}

/// RFC 7515 §4.1. A member given twice is an error; members that are not named here change nothing about how
/// the signature is made.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    /// Extensions that must be understood. We understand none.
    crit: Option<IgnoredAny>,
    /// RFC 7797: the payload is not base64url. Has no effect without `crit`, and is not meant for us with it.
    b64: Option<IgnoredAny>,
}

/// Verifies a token.
///
/// # Errors
/// [`Disbelief`].
pub(crate) fn verify(
    token: &str,
    keys: &[Key],
    settings: &AuthSettings,
    now: SystemTime,
    effort: &mut Effort,
) -> Result<Verified, Disbelief> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Disbelief::TooLong);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Disbelief::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(Disbelief::Malformed)?;
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Disbelief::Malformed)?;
    if header.crit.is_some() || header.b64.is_some() || !is_for_access(header.typ.as_deref()) {
        return Err(Disbelief::Malformed);
    }
    if !keys::verify(keys, &header.alg, header.kid.as_deref(), message, signature, effort) {
        return Err(Disbelief::Signature);
    }
    let text = String::from_utf8(decode(claims)?).map_err(|_| Disbelief::Claims)?;
    let claims = Claims::parse(&text).map_err(|_| Disbelief::Claims)?;
    let (identity, expires_at, issued_at) = check(claims.as_map(), settings, now)?;
    let digest = TokenDigest::of(message);
    let identity = Arc::new(identity);
    Ok(Verified { identity, expires_at, issued_at, claims: text.into(), digest })
}

fn decode(part: &str) -> Result<Vec<u8>, Disbelief> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Disbelief::Malformed)
}

/// RFC 8725 §3.11: a token that says it is made for something else (`logout+jwt`, `dpop+jwt`) is no
/// credential.
fn is_for_access(typ: Option<&str>) -> bool {
    let Some(typ) = typ else { return true };
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}

/// Who the bearer is, until when, and when the token was issued.
fn check(
    claims: &Map<String, Value>,
    settings: &AuthSettings,
    now: SystemTime,
) -> Result<(Identity, SystemTime, Option<SystemTime>), Disbelief> {
    let expiry = time(claims, "exp")?.ok_or(Disbelief::NoExpiry)?;
    let not_before = time(claims, "nbf")?;
    let issued_at = time(claims, "iat")?;
    text(claims, "jti")?;
    if now >= expiry + CLOCK_SKEW {
        return Err(Disbelief::Expired);
    }
    // Also `iat`: a token from the future would outlive every `sse.disconnect`.
    if not_before.into_iter().chain(issued_at).any(|start| now + CLOCK_SKEW < start) {
        return Err(Disbelief::NotYetValid);
    }
    let issuer = text(claims, "iss")?;
    if settings.jwt_issuer.as_deref().is_some_and(|expected| issuer != Some(expected)) {
        return Err(Disbelief::Issuer);
    }
    let audience = audience(claims)?;
    if settings.jwt_audience.as_deref().is_some_and(|expected| !audience.contains(&expected)) {
        return Err(Disbelief::Audience);
    }
    let identity = Identity::from_claims(claims, &settings.claim_names).map_err(|_| Disbelief::Claims)?;
    let expires_at = if now < expiry { expiry } else { expiry + CLOCK_SKEW };
    Ok((identity, expires_at, issued_at))
}

/// A NumericDate (RFC 7519 §2): seconds, possibly with a fraction.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<SystemTime>, Disbelief> {
    let Some(claim) = claims.get(name) else { return Ok(None) };
    let seconds =
        claim.as_f64().filter(|seconds| (0.0..=MAX_TIME).contains(seconds)).ok_or(Disbelief::Claims)?;
    Ok(Some(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)))
}

fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Result<Option<&'c str>, Disbelief> {
    claims.get(name).map(|claim| claim.as_str().ok_or(Disbelief::Claims)).transpose()
}

/// A text or a list of texts (RFC 7519 §4.1.3).
fn audience(claims: &Map<String, Value>) -> Result<Vec<&str>, Disbelief> {
    match claims.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(list)) => list.iter().map(|item| item.as_str().ok_or(Disbelief::Claims)).collect(),
        Some(_) => Err(Disbelief::Claims),
    }
}
