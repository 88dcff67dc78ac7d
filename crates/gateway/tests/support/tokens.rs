//! Keys and tokens for tests, put together by hand from RFC 7515 and RFC 7518: no code shared with what
//! verifies them.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _,
};
use aws_lc_rs::{hmac, rsa};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

pub const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// What signs.
pub enum Signer {
    Hmac(Vec<u8>),
    Rsa(Box<rsa::KeyPair>),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    pub fn secret() -> Self {
        Self::Hmac(SECRET.to_vec())
    }

    pub fn rsa() -> Self {
        Self::Rsa(Box::new(rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap()))
    }

    pub fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn p384() -> Self {
        Self::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
    }

    pub fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    pub fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Hmac(secret) => {
                let algorithm = match algorithm {
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::sign(&hmac::Key::new(algorithm, secret), message).as_ref().to_vec()
            }
            Self::Rsa(pair) => {
                let padding: &'static dyn signature::RsaEncoding = match algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut out).unwrap();
                out
            }
            Self::P256(pair) | Self::P384(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// SubjectPublicKeyInfo.
    pub fn pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Hmac(_) => panic!("a secret has no public key"),
            Self::Rsa(pair) => pair.public_key().as_der().unwrap(),
            Self::P256(pair) | Self::P384(pair) => pair.public_key().as_der().unwrap(),
            Self::Ed25519(pair) => pair.public_key().as_der().unwrap(),
        };
        pem("PUBLIC KEY", der.as_ref())
    }

    pub fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Hmac(secret) => json!({"kty": "oct", "kid": kid, "k": encode(secret)}),
            Self::Rsa(pair) => {
                // PKCS #1: a sequence of modulus (with a sign byte) and exponent, whose lengths are known.
                let der = pair.public_key().as_ref();
                assert_eq!((der.len(), &der[..9]), (270, &[0x30, 0x82, 1, 10, 2, 0x82, 1, 1, 0][..]));
                json!({"kty": "RSA", "kid": kid, "use": "sig", "n": encode(&der[9..265]), "e": encode(&der[267..])})
            }
            Self::P256(pair) | Self::P384(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
                let curve = if matches!(self, Self::P256(_)) { "P-256" } else { "P-384" };
                json!({"kty": "EC", "kid": kid, "crv": curve, "x": encode(x), "y": encode(y)})
            }
            Self::Ed25519(pair) => {
                json!({"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": encode(pair.public_key().as_ref())})
            }
        }
    }

    /// A token with this header and these claims, taken as they are.
    pub fn raw(&self, algorithm: &str, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let signature = encode(&self.sign(algorithm, message.as_bytes()));
        format!("{message}.{signature}")
    }

    pub fn token(&self, algorithm: &str, claims: &Value) -> String {
        self.raw(algorithm, &json!({"alg": algorithm, "typ": "JWT"}).to_string(), &claims.to_string())
    }

    pub fn token_with_kid(&self, algorithm: &str, kid: &str, claims: &Value) -> String {
        self.raw(algorithm, &json!({"alg": algorithm, "kid": kid}).to_string(), &claims.to_string())
    }
}

/// A HS256 token of the usual secret.
pub fn token(claims: &Value) -> String {
    Signer::secret().token("HS256", claims)
}

/// A token of somebody that lives for ten minutes.
pub fn token_of(user: &str, roles: &[&str]) -> String {
    token(&json!({"sub": user, "name": user, "roles": roles, "iat": now(), "exp": now() + 600}))
}

/// The header with a token.
pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}
