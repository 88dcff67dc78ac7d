#![allow(clippy::unwrap_used)]
//! What one request may cost, and what it never waits for.

use serde_json::json;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::keys::{Effort, Key};
use super::tests::tokens::{self, SECRET, Signer};
use super::verify::verify;
use super::{AuthSettings, Secret};
use crate::entry::peer::Transport;

const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn secret_key() -> Vec<Key> {
    vec![Key::from_secret(&Secret::try_new(SECRET).unwrap())]
}

fn good() -> String {
    tokens::token(&json!({"sub": "alice", "exp": NOW + 60}))
}

// Four cookies without a `kid`, each tried with all keys of a large file: one request would keep its thread
// for long.
#[test]
fn one_request_verifies_so_many_signatures_and_no_more() {
    let other = Key::from_secret(&Secret::try_new([b'y'; 32]).unwrap());
    let token = good();
    let settings = AuthSettings::default();
    for (tries, is_believed) in [(37, true), (38, true), (39, false)] {
        let mut keys = vec![other.clone(); tries - 1];
        keys.extend(secret_key());
        let judged = verify(&token, &keys, &settings, at(NOW), &mut Effort::default());
        assert_eq!(judged.is_ok(), is_believed, "{tries}");
    }
    // What one token has spent is gone for the next.
    let mut effort = Effort::default();
    let keys = vec![other; 38];
    assert!(verify(&token, &keys, &settings, at(NOW), &mut effort).is_err());
    assert!(verify(&token, &secret_key(), &settings, at(NOW), &mut effort).is_err());
}

// A key file on a disk that hangs: the thread that carries events would wait for it, and all events with it.
#[test]
fn while_a_file_is_read_tokens_are_judged_by_the_keys_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.pem");
    std::fs::write(&path, Signer::p256().pem()).unwrap();
    let secret = Some(Secret::try_new(SECRET).unwrap());
    let settings = AuthSettings { jwt_secret: secret, jwt_key_file: Some(path), ..AuthSettings::default() };
    let (outbox, _inbox) = crate::between::outbox::errand_channel(std::sync::Arc::default()).unwrap();
    let authenticator = super::Authenticator::new();
    authenticator.apply(&settings, &outbox);
    assert!(!authenticator.is_look_due(), "it was read just now");
    authenticator.sources.lock().looked_at = None;
    assert!(authenticator.is_look_due());
    assert!(!authenticator.is_look_due(), "one is on its way");
    authenticator.look(&outbox);
    authenticator.sources.lock().looked_at = None;
    // As a thread that reads has it, for as long as the disk likes.
    let _reading = authenticator.sources.lock();
    assert!(!authenticator.is_look_due());
    let token = good();
    let headers = [(http::header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())];
    let headers = http::HeaderMap::from_iter(headers);
    let credential = super::Credential::find(&headers, None, &settings, Transport::Plain);
    assert!(authenticator.authenticate(credential, &settings, at(NOW)).is_ok_and(|login| login.is_some()));
}
