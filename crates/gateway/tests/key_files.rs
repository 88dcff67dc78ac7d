//! Keys in files: read again when they change, and refused where others may read or write them (C4.7).
//!
//! Not for what a token gets (`auth.rs`).
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use sse_gateway::{AuthSettings, Settings};
use support::guarded::{EVENTS, started, status, with};
use support::tokens::{SECRET, Signer, bearer, now, token_of};
use support::{auth, eventually, folder, settings};

// ---- files with keys

fn write(path: &Path, content: impl AsRef<[u8]>, mode: u32) {
    // As editors and secret managers do it: a new file takes the old one's place.
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::set_permissions(&new, Permissions::from_mode(mode)).unwrap();
    fs::rename(&new, path).unwrap();
}

#[test]
fn a_file_of_keys_is_taken_in_when_it_changes_and_its_last_good_keys_stay_while_it_is_broken() {
    let (_folder, path) = folder();
    let file = path.join("keys.json");
    let (old, new) = (Signer::p256(), Signer::ed25519());
    write(&file, json!({"keys": [old.jwk("old")]}).to_string(), 0o644);
    let gateway = with(AuthSettings { jwt_key_file: Some(file.clone()), ..AuthSettings::default() });
    let claims = json!({"sub": "alice", "exp": now() + 600});
    let old_token = bearer(&old.token_with_kid("ES256", "old", &claims));
    let new_token = bearer(&new.token_with_kid("EdDSA", "new", &claims));
    assert_eq!(status(&gateway, "/api/known/info", &old_token), 200);
    assert_eq!(status(&gateway, "/api/known/info", &new_token), 401);

    write(&file, json!({"keys": [old.jwk("old"), new.jwk("new")]}).to_string(), 0o644);
    eventually("the new key is taken in", || status(&gateway, "/api/known/info", &new_token) == 200);
    assert_eq!(status(&gateway, "/api/known/info", &old_token), 200);
    assert!(gateway.log().is_empty(), "{:?}", gateway.log());

    write(&file, "{ \"keys\": [ broken", 0o644);
    eventually("it is said", || {
        assert_eq!(status(&gateway, "/api/known/info", &new_token), 200);
        !gateway.log().is_empty()
    });
    // Tokens make it be looked at, once a second: now again.
    let said_at = Instant::now();
    eventually("it was looked at again", || {
        assert_eq!(status(&gateway, "/api/known/info", &old_token), 200);
        said_at.elapsed() > Duration::from_millis(1100)
    });
    let log = gateway.log();
    assert_eq!(log.len(), 1, "once: {log:?}");
    assert!(log[0].starts_with("sse.jwt_key_file \"") && log[0].ends_with("stay in use"), "{log:?}");
    assert!(!log[0].contains("broken"), "nothing of the content is said");

    write(&file, json!({"keys": [new.jwk("new")]}).to_string(), 0o644);
    eventually("the old key is gone", || status(&gateway, "/api/known/info", &old_token) == 401);
    assert_eq!(status(&gateway, "/api/known/info", &new_token), 200);
    eventually("it is said", || gateway.log().last().is_some_and(|line| line.ends_with("is used again")));

    gateway.gateway.apply(Settings { auth: auth(), ..settings() }.into());
    assert_eq!(status(&gateway, "/api/known/info", &new_token), 401, "a file that is no longer named");
}

// A secret that others can read is everybody's.
#[test]
fn a_secret_file_that_others_may_read_or_write_is_not_used() {
    let (_folder, path) = folder();
    let file = path.join("secret");
    let token = bearer(&token_of("alice", &[]));
    let settings_with = |file: &Path| {
        let auth = AuthSettings { jwt_secret_file: Some(file.to_owned()), ..AuthSettings::default() };
        Settings { auth, ..settings() }
    };
    for mode in [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o644] {
        write(&file, SECRET, mode);
        let gateway = started(settings_with(&file));
        assert_eq!(status(&gateway, "/api/known/info", &token), 401, "{mode:o}");
        eventually("it is said", || gateway.log().len() == 1);
        let line = &gateway.log()[0];
        assert!(line.contains("mode must be 0600") && line.ends_with("refused"), "{line}");
        assert!(!line.contains("0123456789"), "{line}");
    }
    for (content, mode) in
        [(SECRET.to_vec(), 0o600), ([SECRET, b"\n"].concat(), 0o400), ([SECRET, b"\r\n"].concat(), 0o600)]
    {
        write(&file, content, mode);
        let gateway = started(settings_with(&file));
        assert_eq!(status(&gateway, "/api/known/info", &token), 200);
        assert!(gateway.log().is_empty(), "{:?}", gateway.log());
    }
    for content in [&SECRET[..31], b"", &[SECRET, b"\n\n"].concat(), &vec![b'x'; (1 << 20) + 1]] {
        write(&file, content, 0o600);
        let gateway = started(settings_with(&file));
        assert_eq!(status(&gateway, "/api/known/info", &token), 401);
    }
}

// A pipe would hang whoever opens it; a folder, a link to nowhere and a missing file are plain mistakes.
#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let (_folder, path) = folder();
    let pipe = path.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::os::unix::fs::symlink("nowhere", path.join("link")).unwrap();
    for name in ["pipe", "link", "missing", "."] {
        let file = path.join(name);
        for auth in [
            AuthSettings { jwt_secret_file: Some(file.clone()), ..AuthSettings::default() },
            AuthSettings { jwt_key_file: Some(file.clone()), ..AuthSettings::default() },
        ] {
            let gateway = with(auth);
            assert_eq!(status(&gateway, EVENTS, ""), 200, "{name}");
            assert_eq!(status(&gateway, EVENTS, &bearer(&token_of("alice", &[]))), 401, "{name}");
            eventually("it is said", || gateway.log().len() == 1);
        }
    }
}

#[test]
fn secret_and_secret_file_verify_side_by_side() {
    let (_folder, path) = folder();
    let file = path.join("secret");
    let other = [b'o'; 32];
    write(&file, other, 0o600);
    let gateway = with(AuthSettings { jwt_secret_file: Some(file), ..auth() });
    let of_file = Signer::Hmac(other.to_vec()).token("HS512", &json!({"exp": now() + 60}));
    assert_eq!(status(&gateway, "/api/known/info", &bearer(&of_file)), 200);
    assert_eq!(status(&gateway, "/api/known/info", &bearer(&token_of("alice", &[]))), 200);
}
