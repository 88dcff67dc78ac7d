//! Any headers and query, and tokens that were signed and then changed: a token that none of our keys has
//! signed identifies nobody, and one that was signed identifies its user, if its times and its audience are
//! right.
#![no_main]

#[allow(dead_code, clippy::unwrap_used)]
#[path = "../../crates/gateway/tests/support/tokens.rs"]
mod tokens;

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arbitrary::Arbitrary;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde_json::{Map, Value, json};
use sse_gateway::fuzzing::{Caller, Door};
use sse_gateway::{AuthSettings, Secret};
use sse_proto::identity::Identity;
use sse_proto::query::TokenParameter;
use tokens::{SECRET, Signer, encode};

const NOW: u64 = 1_800_000_000;

/// Seconds, as documented.
const CLOCK_SKEW: u64 = 30;

/// Bytes, as documented.
const MAX_TOKEN_BYTES: usize = 8192;

const ISSUER: &str = "us";

/// Each key with the algorithms for which it may be used.
const KEYS: [&[&str]; 5] = [
    &["HS256", "HS384", "HS512"],
    &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
    &["ES256"],
    &["ES384"],
    &["EdDSA"],
];

/// Made once; nothing depends on the bytes of the keys.
static SIGNERS: LazyLock<[Signer; 5]> =
    LazyLock::new(|| [Signer::secret(), Signer::rsa(), Signer::p256(), Signer::p384(), Signer::ed25519()]);

/// Settings that believe the secret alone, the public keys alone (as PEM), and both (as JWKS with an issuer).
static DOORS: LazyLock<[Door; 3]> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("pg_sse-fuzz-token-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the keys");
    let (pem, jwks) = (folder.join("keys.pem"), folder.join("keys.jwks"));
    let pems: String = SIGNERS[1..].iter().map(Signer::pem).collect();
    let set: Vec<Value> = SIGNERS[1..].iter().zip(1..).map(|(key, n)| key.jwk(&format!("k{n}"))).collect();
    std::fs::write(&pem, pems).expect("keys can be written");
    std::fs::write(&jwks, json!({ "keys": set }).to_string()).expect("keys can be written");
    let settings = |secret: bool, file: Option<&std::path::Path>, issuer: Option<&str>| AuthSettings {
        jwt_secret: secret.then(|| Secret::try_new(SECRET).expect("long enough")),
        jwt_key_file: file.map(std::path::Path::to_owned),
        jwt_issuer: issuer.map(str::to_owned),
        token_parameter: TokenParameter::parse("token").expect("a name"),
        ..AuthSettings::default()
    };
    let doors = [
        settings(true, None, None),
        settings(false, Some(&pem), None),
        settings(true, Some(&jwks), Some(ISSUER)),
    ]
    .map(|settings| Door::try_new(settings).expect("a door"));
    // What was read stays valid after the file is gone.
    let _ = std::fs::remove_dir_all(&folder);
    assert!(doors.iter().all(Door::has_keys));
    doors
});

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    /// One thing that somebody may send.
    Raw { door: u8, headers: Vec<(bool, &'a [u8])>, query: &'a str },
    /// A token that one of our keys has signed, and what became of it on the way.
    Signed {
        door: u8,
        key: u8,
        algorithm: u8,
        kid: Kid,
        claims: Claims<'a>,
        place: Place,
        touches: Vec<Touch<'a>>,
    },
    /// A token that no key of ours has signed, although it says so.
    Forged { door: u8, forger: Forger, algorithm: Named<'a>, claims: Claims<'a>, place: Place },
    /// Signed, with a header and claims that no program of ours would write.
    Odd { header: &'a str, claims: &'a str },
}

#[derive(Arbitrary, Debug)]
enum Kid {
    None,
    Right,
    Other,
}

#[derive(Arbitrary, Debug)]
struct Claims<'a> {
    sub: Option<&'a str>,
    name: Option<&'a str>,
    roles: Vec<&'a str>,
    /// Seconds from now.
    exp: Option<i16>,
    nbf: Option<i16>,
    iat: Option<i16>,
    has_issuer: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Place {
    Header,
    Cookie,
    Query,
}

#[derive(Arbitrary, Debug)]
enum Touch<'a> {
    Set {
        at: u16,
        byte: u8,
    },
    Insert {
        at: u16,
        text: &'a str,
    },
    Remove {
        at: u16,
    },
    Truncate {
        at: u16,
    },
    Append(&'a str),
    /// Another header over the same claims and signature.
    Header(&'a str),
    /// Algorithm confusion.
    Algorithm(u8),
    Claims(Claims<'a>),
    NoSignature,
}

/// An algorithm, as a header names it.
#[derive(Arbitrary, Debug)]
enum Named<'a> {
    Known(u8),
    Other(&'a str),
}

#[derive(Arbitrary, Debug)]
enum Forger {
    /// The text of a public key as an HMAC secret.
    Pem(u8),
    /// The bytes of our secret, but for one.
    NearSecret(u8),
    Unsigned,
    Stranger,
}

fuzz_target!(|input: Input<'_>| {
    match input {
        Input::Raw { door, headers, query } => {
            let mut map = HeaderMap::new();
            for (is_cookie, value) in headers {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    map.append(if is_cookie { COOKIE } else { AUTHORIZATION }, value);
                }
            }
            assert!(!is_known(&caller(door, &map, query)), "known without a signature");
        }
        Input::Signed { door, key, algorithm, kid, claims, place, touches } => {
            signed(door, key, algorithm, &kid, &claims, place, &touches);
        }
        Input::Forged { door, forger, algorithm, claims, place } => {
            let signer = match forger {
                Forger::Pem(of) => Signer::Hmac(SIGNERS[1 + usize::from(of) % 4].pem().into_bytes()),
                Forger::NearSecret(at) => {
                    let mut secret = SECRET.to_vec();
                    secret[usize::from(at) % SECRET.len()] ^= 1;
                    Signer::Hmac(secret)
                }
                Forger::Stranger => Signer::Hmac(vec![0; 32]),
                Forger::Unsigned => Signer::Hmac(Vec::new()),
            };
            let algorithm = algorithm.name();
            let header = json!({ "alg": algorithm }).to_string();
            let mut token = signer.raw(algorithm, &header, &claims.json().to_string());
            if matches!(forger, Forger::Unsigned) {
                token.truncate(token.rfind('.').map_or(0, |dot| dot + 1));
            }
            assert_eq!(send(door, place, &token), Some(Caller::Refused));
        }
        Input::Odd { header, claims } => {
            let token = SIGNERS[0].raw("HS256", header, claims);
            if let Some(Caller::Known { .. }) = send(0, Place::Query, &token) {
                let header: Map<String, Value> = serde_json::from_str(header).expect("a JSON object");
                let claims: Map<String, Value> = serde_json::from_str(claims).expect("a JSON object");
                assert_eq!(header["alg"], "HS256");
                assert!(!header.contains_key("crit") || header["crit"].is_null());
                assert!(claims["exp"].as_f64().expect("a number") + CLOCK_SKEW as f64 > NOW as f64);
            }
        }
    }
});

fn signed(
    door: u8,
    key: u8,
    algorithm: u8,
    kid: &Kid,
    claims: &Claims<'_>,
    place: Place,
    touches: &[Touch<'_>],
) {
    let key = usize::from(key) % KEYS.len();
    let algorithm = KEYS[key][usize::from(algorithm) % KEYS[key].len()];
    let mut header = json!({ "alg": algorithm });
    match kid {
        Kid::None => {}
        Kid::Right => header["kid"] = format!("k{key}").into(),
        Kid::Other => header["kid"] = "k9".into(),
    }
    let token = SIGNERS[key].raw(algorithm, &header.to_string(), &claims.json().to_string());
    let (message, _) = token.rsplit_once('.').expect("three parts");
    let touched = touches.iter().fold(token.clone(), |token, touch| touch.apply(token));
    let answer = send(door, place, &touched);
    if let Some(Caller::Known { identity, .. }) = &answer {
        // Of a query and a cookie only a part may be the token.
        assert!(touched.contains(&format!("{message}.")), "{touched:?} was never signed");
        assert_eq!(Some(identity), claims.identity().as_ref());
    }
    if touched == token {
        let door = usize::from(door) % DOORS.len();
        let has_key = if key == 0 { door != 1 } else { door != 0 };
        // Only the keys of the set have names.
        let is_named = !(matches!(kid, Kid::Other) && door == 2 && key != 0);
        let fits = has_key && is_named && token.len() <= MAX_TOKEN_BYTES && claims.are_good(door == 2);
        match (fits, claims.identity(), answer) {
            (true, Some(expected), Some(Caller::Known { identity, expires_at })) => {
                assert_eq!(identity, expected);
                assert!(expires_at > now(), "who is let in is let in for a while");
                assert!(expires_at <= at(claims.exp).expect("it has one") + Duration::from_secs(CLOCK_SKEW));
            }
            (true, Some(_), answer) => panic!("a good token is refused: {answer:?}"),
            (_, _, answer) => assert_eq!(answer, Some(Caller::Refused)),
        }
    }
}

fn caller(door: u8, headers: &HeaderMap, query: &str) -> Caller {
    DOORS[usize::from(door) % DOORS.len()].caller(headers, query, now())
}

/// `None` when no request can hold it.
fn send(door: u8, place: Place, token: &str) -> Option<Caller> {
    let mut headers = HeaderMap::new();
    let mut put = |name: HeaderName, value: String| {
        HeaderValue::from_bytes(value.as_bytes()).ok().map(|value| headers.append(name, value))
    };
    let mut query = String::new();
    match place {
        Place::Header => drop(put(AUTHORIZATION, format!("Bearer {token}"))?),
        Place::Cookie => drop(put(COOKIE, format!("a=b; sse_session={token}"))?),
        Place::Query => query = format!("id=1&token={}", percent_encode(token.as_bytes(), NON_ALPHANUMERIC)),
    }
    Some(caller(door, &headers, &query))
}

fn is_known(caller: &Caller) -> bool {
    matches!(caller, Caller::Known { .. })
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn at(offset: Option<i16>) -> Option<SystemTime> {
    offset.map(|offset| UNIX_EPOCH + Duration::from_secs(NOW.saturating_add_signed(offset.into())))
}

impl Claims<'_> {
    fn json(&self) -> Value {
        let mut claims = json!({ "roles": self.roles });
        for (name, text) in
            [("sub", self.sub), ("name", self.name), ("iss", self.has_issuer.then_some(ISSUER))]
        {
            if let Some(text) = text {
                claims[name] = text.into();
            }
        }
        for (name, offset) in [("exp", self.exp), ("nbf", self.nbf), ("iat", self.iat)] {
            if let Some(offset) = offset {
                claims[name] = NOW.saturating_add_signed(offset.into()).into();
            }
        }
        claims
    }

    fn identity(&self) -> Option<Identity> {
        Identity::try_new(self.sub, self.name, &self.roles).ok()
    }

    /// C4.7, with the clocks half a minute apart.
    fn are_good(&self, wants_issuer: bool) -> bool {
        let skew = Duration::from_secs(CLOCK_SKEW);
        at(self.exp).is_some_and(|exp| now() < exp + skew)
            && [self.nbf, self.iat].into_iter().filter_map(at).all(|start| start <= now() + skew)
            && (self.has_issuer || !wants_issuer)
    }
}

impl<'a> Named<'a> {
    fn name(&self) -> &'a str {
        match *self {
            Self::Known(which) => KEYS.concat().get(usize::from(which % 16)).copied().unwrap_or("none"),
            Self::Other(name) => name,
        }
    }
}

impl Touch<'_> {
    fn apply(&self, token: String) -> String {
        let place = |at: u16| usize::from(at).checked_rem(token.len()).unwrap_or(0);
        let mut bytes = token.clone().into_bytes();
        let parts: Vec<&str> = token.splitn(3, '.').collect();
        match *self {
            Self::Set { at, byte } => {
                if let Some(old) = bytes.get_mut(place(at)) {
                    *old = byte;
                }
            }
            Self::Insert { at, text } => drop(bytes.splice(place(at)..place(at), text.bytes())),
            Self::Remove { at } => {
                if !bytes.is_empty() {
                    bytes.remove(place(at));
                }
            }
            Self::Truncate { at } => bytes.truncate(place(at)),
            Self::Append(text) => bytes.extend_from_slice(text.as_bytes()),
            Self::NoSignature => bytes.truncate(token.rfind('.').map_or(0, |dot| dot + 1)),
            Self::Header(header) => return replaced(&parts, 0, header),
            Self::Algorithm(which) => {
                let name = Named::Known(which).name();
                return replaced(&parts, 0, &json!({ "alg": name }).to_string());
            }
            Self::Claims(ref claims) => return replaced(&parts, 1, &claims.json().to_string()),
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn replaced(parts: &[&str], which: usize, by: &str) -> String {
    let by = encode(by.as_bytes());
    let mut parts = parts.to_vec();
    if let Some(part) = parts.get_mut(which) {
        *part = &by;
    }
    parts.join(".")
}
