//! A certificate with its chain, and its private key, as two files have them (C1.6).
//!
//! Not for when they are read, and for what counts while they cannot be used: that is the parent.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys};

use crate::between::outbox::escaped;
use crate::watched_file::read_small_file;

/// What tells one content of the two files from another.
pub(super) type Digest = [u8; 32];

/// The content of two files that fit each other.
pub(super) struct Pair {
    pub(super) digest: Digest,
    pub(super) key: CertifiedKey,
}

impl Pair {
    /// Reads both files.
    ///
    /// # Errors
    /// Why they cannot be used: a clause for people that names the setting, without anything of the key.
    pub(super) fn read(
        certificate: &Path,
        private_key: &Path,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let faulty = |setting: &str, path: &Path, reason: &str| {
            format!("{setting} \"{}\" cannot be used: {reason}", escaped(&path.to_string_lossy()))
        };
        let of_certificate = |reason: &str| faulty("sse.tls_certificate_file", certificate, reason);
        let of_key = |reason: &str| faulty("sse.tls_private_key_file", private_key, reason);
        let (chain, _) = read_small_file(certificate).map_err(|reason| of_certificate(&reason))?;
        let (key, metadata) = read_small_file(private_key).map_err(|reason| of_key(&reason))?;
        check_access(&metadata).map_err(of_key)?;
        let digest = digest(&chain, &key);
        let chain = certificates(&chain).map_err(of_certificate)?;
        let key = private_key_of(&key).map_err(of_key)?;
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                of_key("it is not the key of the first certificate in sse.tls_certificate_file")
            }
            Error::InvalidCertificate(CertificateError::BadEncoding) => {
                of_certificate("its first certificate cannot be read")
            }
            Error::InvalidCertificate(error) => of_certificate(&format!("its first certificate: {error}")),
            _ => of_key("it is no RSA, ECDSA (P-256, P-384, P-521) or Ed25519 key that can be used"),
        })?;
        Ok(Self { digest, key })
    }
}

/// As Postgres checks `ssl_key_file` (be-secure-common.c, `check_ssl_key_file_permissions`).
fn check_access(metadata: &Metadata) -> Result<(), &'static str> {
    let own = rustix::process::geteuid().as_raw();
    check_owner_and_mode(metadata.uid(), metadata.mode(), own)
}

fn check_owner_and_mode(owner: u32, mode: u32, own: u32) -> Result<(), &'static str> {
    if owner != own && owner != 0 {
        return Err("it must belong to the server's user or to root");
    }
    if owner == own && mode & 0o077 != 0 || owner == 0 && mode & 0o037 != 0 {
        return Err(
            "others may read or write it: its mode must be 0600 or less if it belongs to the server's user, 0640 or less if to root",
        );
    }
    Ok(())
}

fn digest(chain: &[u8], key: &[u8]) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(&(chain.len() as u64).to_be_bytes());
    context.update(chain);
    context.update(key);
    let mut digest = Digest::default();
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match read {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err("there is no PEM certificate in it"),
        Err(_) => Err("it is no well-formed PEM"),
    }
}

fn private_key_of(text: &[u8]) -> Result<PrivateKeyDer<'static>, &'static str> {
    let has = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
    if has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") {
        return Err(
            "it is encrypted, and nobody is there to type its passphrase: write it without one (openssl pkey -in OLD -out NEW)",
        );
    }
    PrivateKeyDer::from_pem_slice(text).map_err(|_| "there is no PEM private key in it")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    // Attack: another user of the machine reads the private key.
    #[test]
    fn the_owner_and_mode_of_a_key_are_those_that_postgres_takes() {
        for (owner, mode, is_taken) in [
            (70, 0o600, true),
            (70, 0o400, true),
            (70, 0o640, false),
            (70, 0o604, false),
            (70, 0o601, false),
            (70, 0o100_600, true),
            (0, 0o600, true),
            (0, 0o640, true),
            (0, 0o660, false),
            (0, 0o650, false),
            (0, 0o644, false),
            (71, 0o600, false),
            (71, 0o400, false),
        ] {
            assert_eq!(check_owner_and_mode(owner, mode, 70).is_ok(), is_taken, "{owner} {mode:o}");
        }
        assert!(check_owner_and_mode(0, 0o640, 0).is_err(), "root's own server has its own key");
    }
}
