//! What is in the files that `sse.jwt_secret_file` and `sse.jwt_key_file` name, and who may have written it.
//!
//! Not for when they are read, and for what counts while they are broken: that is `watched_file`. Not for the
//! keys themselves: that is `keys`.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Secret;
use super::keys::Key;
use crate::watched_file::{Purpose, WatchedFile, read_small_file};

/// A file with keys.
pub(crate) type KeyFile = WatchedFile<Vec<Key>>;

const WHILE_KEPT: &str = "the keys read from it before stay in use";
const WHILE_MISSING: &str = "tokens that need it are refused";

/// `sse.jwt_secret_file`
pub(crate) static SECRET: Purpose<Vec<Key>> = Purpose {
    setting: "sse.jwt_secret_file",
    read: |bytes, metadata| Ok(vec![Key::from_secret(&secret(bytes, metadata)?)]),
    while_kept: WHILE_KEPT,
    while_missing: WHILE_MISSING,
};

/// `sse.jwt_key_file`
pub(crate) static PUBLIC_KEYS: Purpose<Vec<Key>> = Purpose {
    setting: "sse.jwt_key_file",
    read: public_keys,
    while_kept: WHILE_KEPT,
    while_missing: WHILE_MISSING,
};

fn public_keys(bytes: Vec<u8>, metadata: &Metadata) -> Result<Vec<Key>, String> {
    if metadata.mode() & 0o002 != 0 {
        return Err("every user of the machine may write it".to_owned());
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    Key::parse_file(&text).map_err(|error| error.to_string())
}

impl Secret {
    /// Reads a file as the gateway reads `sse.jwt_secret_file`: a regular file of the process' own user that
    /// nobody else may read or write; one line end at its end does not count.
    ///
    /// # Errors
    /// Why it cannot be used: a clause for people, without anything of the file's content.
    pub fn read_file(path: &Path) -> Result<Self, String> {
        let (bytes, metadata) = read_small_file(path)?;
        secret(bytes, &metadata)
    }
}

fn secret(bytes: Vec<u8>, metadata: &Metadata) -> Result<Secret, String> {
    Secret::try_new(private_bytes(bytes, metadata)?).map_err(|error| error.to_string())
}

/// What is in a file that nobody but the process' own user may read or write, without the line end at its
/// end.
///
/// # Errors
/// Why it cannot be used.
pub(crate) fn private_bytes(mut bytes: Vec<u8>, metadata: &Metadata) -> Result<Vec<u8>, String> {
    if metadata.mode() & 0o077 != 0 {
        return Err(
            "others than the server's user may read or write it; its mode must be 0600 or less".to_owned()
        );
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err("it does not belong to the server's user".to_owned());
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(bytes)
}
