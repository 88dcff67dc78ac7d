//! Keys that tokens are verified with, and which algorithms each of them may be used with.
//!
//! The algorithm that a token names never decides alone: it only picks among the keys whose own kind allows
//! it. An RSA key is no HMAC secret here, whatever a token says (RFC 8725 §2.1, §3.1), and `none` is the
//! algorithm of no key.
//!
//! Not for claims: that is `verify`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use super::Secret;
use super::credential::MAX_COOKIES;

/// Keys of one file. A token without a `kid` is tried with every key that fits, so this bounds what such a
/// token costs: a millisecond or two, during which no events go out on that thread. Beyond it the file is
/// refused.
const MAX_KEYS: usize = 32;

/// Signatures that are still verified for one request, however many tokens its cookies have: each of a file's
/// keys once, two secrets, and a few that name their key. Beyond it a token is not believed.
pub(crate) struct Effort(usize);

impl Default for Effort {
    fn default() -> Self {
        Self(MAX_KEYS + 2 + MAX_COOKIES)
    }
}

impl Effort {
    /// Whether there was any left.
    fn spend(&mut self) -> bool {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// Shortest RSA modulus in bytes (RFC 7518 §3.3: 2048 bits). A shorter one makes the key unusable.
const MIN_RSA_BYTES: usize = 256;

/// A key and what it is good for.
#[derive(Clone)]
pub(crate) struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl Key {
    pub(crate) fn from_secret(secret: &Secret) -> Self {
        let key = DecodingKey::from_secret(secret.as_bytes());
        Self { id: None, algorithms: HMAC.to_vec(), key }
    }

    /// Keys of a file: JWKS when it begins like JSON, else PEM.
    ///
    /// # Errors
    /// [`KeyError`]; then none of its keys is to be used.
    pub(crate) fn parse_file(text: &str) -> Result<Vec<Self>, KeyError> {
        let is_json = text.trim_start().starts_with('{');
        let keys = if is_json { parse_jwks(text)? } else { parse_pem(text)? };
        match keys.len() {
            0 => Err(KeyError::Nothing),
            1..=MAX_KEYS => Ok(keys),
            _ => Err(KeyError::TooMany),
        }
    }

    /// A key with an id is for tokens that name it, and for those that name none.
    fn fits(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let is_named = match (&self.id, id) {
            (Some(own), Some(named)) => own == named,
            _ => true,
        };
        is_named && self.algorithms.contains(&algorithm)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

/// Whether one of `keys` made this signature. `algorithm` and `id` are what the token's header says. Each try
/// spends one effort.
pub(crate) fn verify(
    keys: &[Key],
    algorithm: &str,
    id: Option<&str>,
    message: &str,
    signature: &str,
    effort: &mut Effort,
) -> bool {
    let Ok(algorithm) = Algorithm::from_str(algorithm) else { return false };
    let mut fitting = keys.iter().filter(|key| key.fits(algorithm, id)).take_while(|_| effort.spend());
    fitting.any(|key| {
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.key, algorithm).unwrap_or(false)
    })
}

/// Why no key can be had from a file. For the log: nothing of the file is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyError {
    /// Neither PEM nor a JSON object with an array `keys`.
    Format,
    /// There is a private key in it, which has no business here.
    Private,
    /// A PEM block of another kind, or an RSA key that is too short, or another curve.
    Unsupported,
    /// No key in it that can be used.
    Nothing,
    TooMany,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format => f.write_str("it is neither a PEM public key nor a JSON Web Key Set"),
            Self::Private => f.write_str("it contains a private or symmetric key; only public keys belong there"),
            Self::Unsupported => f.write_str(
                "a key in it cannot be used; RSA of at least 2048 bits, P-256, P-384 and Ed25519 public keys can",
            ),
            Self::Nothing => f.write_str("there is no key in it that can be used"),
            Self::TooMany => write!(f, "there are more than {MAX_KEYS} keys in it"),
        }
    }
}

impl std::error::Error for KeyError {}

/// Every `PUBLIC KEY` (SPKI) and `RSA PUBLIC KEY` (PKCS #1) block.
fn parse_pem(text: &str) -> Result<Vec<Key>, KeyError> {
    const BEGIN: &str = "-----BEGIN ";
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find(BEGIN) {
        let label = rest[begin + BEGIN.len()..].split("-----").next().unwrap_or("");
        let end = format!("-----END {label}-----");
        let len = rest[begin..].find(&end).ok_or(KeyError::Format)? + end.len();
        keys.push(pem_key(label, &rest.as_bytes()[begin..begin + len])?);
        rest = &rest[begin + len..];
    }
    if keys.is_empty() { Err(KeyError::Format) } else { Ok(keys) }
}

fn pem_key(label: &str, block: &[u8]) -> Result<Key, KeyError> {
    match label {
        "PUBLIC KEY" => {}
        "RSA PUBLIC KEY" => return rsa_pem(block),
        _ if label.ends_with("PRIVATE KEY") => return Err(KeyError::Private),
        _ => return Err(KeyError::Unsupported),
    }
    if let Ok(key) = DecodingKey::from_ec_pem(block) {
        // An uncompressed point (SEC 1 §2.3.3): its length tells the curve. A point of another curve of the
        // same length verifies nothing.
        let algorithm = match key.try_get_as_bytes().map(<[u8]>::len) {
            Ok(65) => Algorithm::ES256,
            Ok(97) => Algorithm::ES384,
            _ => return Err(KeyError::Unsupported),
        };
        return Ok(Key { id: None, algorithms: vec![algorithm], key });
    }
    if let Ok(key) = DecodingKey::from_ed_pem(block) {
        return match key.try_get_as_bytes().map(<[u8]>::len) {
            Ok(32) => Ok(Key { id: None, algorithms: vec![Algorithm::EdDSA], key }),
            _ => Err(KeyError::Unsupported),
        };
    }
    rsa_pem(block)
}

fn rsa_pem(block: &[u8]) -> Result<Key, KeyError> {
    let key = DecodingKey::from_rsa_pem(block).map_err(|_| KeyError::Unsupported)?;
    // The DER of modulus and exponent is a little longer than the modulus.
    match key.try_get_as_bytes().map(<[u8]>::len) {
        Ok(len) if len > MIN_RSA_BYTES => Ok(Key { id: None, algorithms: RSA.to_vec(), key }),
        _ => Err(KeyError::Unsupported),
    }
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<serde_json::Value>,
}

/// RFC 7517 §4, RFC 7518 §6, RFC 8037 §2. Members that are not named here mean nothing for verifying.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Keys that are not understood, or not for signatures, are left out (RFC 7517 §5); a private one refuses
/// all.
fn parse_jwks(text: &str) -> Result<Vec<Key>, KeyError> {
    let jwks: Jwks = serde_json::from_str(text).map_err(|_| KeyError::Format)?;
    if jwks.keys.iter().any(|key| key.get("d").is_some() || key.get("k").is_some()) {
        return Err(KeyError::Private);
    }
    let jwks = jwks.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    Ok(jwks.filter_map(|jwk| jwk.key()).collect())
}

impl Jwk {
    fn key(self) -> Option<Key> {
        if self.usage.as_deref().is_some_and(|usage| usage != "sig")
            || self.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify"))
        {
            return None;
        }
        let (mut algorithms, key) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (decode(self.n.as_deref()?)?, decode(self.e.as_deref()?)?);
                let modulus = n.iter().skip_while(|byte| **byte == 0).count();
                if modulus < MIN_RSA_BYTES {
                    return None;
                }
                (RSA.to_vec(), DecodingKey::from_rsa_raw_components(&n, &e))
            }
            ("EC", Some("P-256")) => (vec![Algorithm::ES256], self.ec_key(32)?),
            ("EC", Some("P-384")) => (vec![Algorithm::ES384], self.ec_key(48)?),
            ("OKP", Some("Ed25519")) => {
                let x = self.x.as_deref()?;
                decode(x).filter(|x| x.len() == 32)?;
                (vec![Algorithm::EdDSA], DecodingKey::from_ed_components(x).ok()?)
            }
            _ => return None,
        };
        if let Some(only) = &self.alg {
            let only = Algorithm::from_str(only).ok()?;
            algorithms.retain(|algorithm| *algorithm == only);
        }
        (!algorithms.is_empty()).then_some(Key { id: self.kid, algorithms, key })
    }

    /// Coordinates have the full length of the field (RFC 7518 §6.2.1.2).
    fn ec_key(&self, len: usize) -> Option<DecodingKey> {
        let (x, y) = (self.x.as_deref()?, self.y.as_deref()?);
        let is_full = |text| decode(text).is_some_and(|bytes| bytes.len() == len);
        (is_full(x) && is_full(y)).then(|| DecodingKey::from_ec_components(x, y).ok())?
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
