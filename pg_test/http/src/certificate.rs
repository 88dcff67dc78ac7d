//! Certificates for tests, made by the program `openssl`; all tests have theirs from here.
//!
//! Not for reading them: [`super::Trust`] is what believes one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// What key a certificate has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    Curve,
    /// RSA with 2,048 bits.
    Rsa,
}

/// Writes a certificate for `localhost` that nobody has signed but itself, and its key, which its owner alone
/// may read.
///
/// # Errors
/// There is no `openssl`, or it fails.
pub fn make_certificate(certificate: &Path, key: &Path, kind: KeyKind) -> Result<()> {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-nodes", "-days", "3650", "-subj", "/CN=localhost"]);
    openssl.args(match kind {
        KeyKind::Curve => &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"][..],
        KeyKind::Rsa => &["-newkey", "rsa:2048"],
    });
    openssl.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    // rustls takes no certificate of an authority for that of a server.
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-out").arg(certificate).arg("-keyout").arg(key);
    let output = openssl.output().context("the program openssl")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(fs::set_permissions(key, fs::Permissions::from_mode(0o600))?)
}
