#![allow(clippy::unwrap_used)]
//! Attacks on tokens, and what tokens may look like. Each test that begins with an attack names it.

mod claims;
mod form;
mod keys;
#[path = "../../tests/support/tokens.rs"]
pub(super) mod tokens;

use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::disbelief::Disbelief;
use super::keys::{Effort, Key};
use super::verify::{MAX_TOKEN_BYTES, Verified, verify};
use super::{AuthSettings, Secret};
use tokens::{SECRET, Signer, encode, pem};

const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn secret_key() -> Vec<Key> {
    vec![Key::from_secret(&Secret::try_new(SECRET).unwrap())]
}

fn judge_with(token: &str, keys: &[Key], settings: &AuthSettings) -> Result<Verified, Disbelief> {
    verify(token, keys, settings, at(NOW), &mut Effort::default())
}

fn judge(token: &str, keys: &[Key]) -> Result<(), Disbelief> {
    judge_with(token, keys, &AuthSettings::default()).map(drop)
}

/// Claims signed with the secret.
fn claims(claims: &Value) -> Result<Verified, Disbelief> {
    judge_with(&tokens::token(claims), &secret_key(), &AuthSettings::default())
}

fn disbelief(value: &Value) -> Option<Disbelief> {
    claims(value).err()
}

fn good() -> Value {
    json!({"sub": "alice", "exp": NOW + 60})
}

fn jwks(keys: &[Value]) -> Vec<Key> {
    Key::parse_file(&json!({"keys": keys}).to_string()).unwrap()
}
