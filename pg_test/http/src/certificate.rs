//! Certificates for tests, made by the program `openssl`; all tests have theirs from here.
//!
//! Not for reading them: [`super::Trust`] is what believes one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
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
    run(openssl)?;
    Ok(fs::set_permissions(key, fs::Permissions::from_mode(0o600))?)
}

/// An authority of a test's own, for clients that trust nothing else than one.
#[derive(Debug)]
pub struct Authority {
    certificate: PathBuf,
    key: PathBuf,
}

impl Authority {
    /// Its files are written into this folder.
    pub fn make(folder: &Path) -> Result<Self> {
        let made = Self { certificate: folder.join("authority.crt"), key: folder.join("authority.key") };
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-nodes", "-days", "3650", "-subj", "/CN=authority of a test"]);
        openssl.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        openssl.args(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]);
        openssl.arg("-out").arg(&made.certificate).arg("-keyout").arg(&made.key);
        run(openssl)?;
        Ok(made)
    }

    /// What clients are to trust.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Writes a certificate for `localhost` that it has signed, and its key.
    pub fn sign(&self, certificate: &Path, key: &Path) -> Result<()> {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-nodes", "-days", "365", "-subj", "/CN=localhost", "-newkey", "ec"]);
        openssl.args([
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ]);
        openssl.args(["-addext", "subjectAltName=DNS:localhost", "-addext", "extendedKeyUsage=serverAuth"]);
        openssl.arg("-CA").arg(&self.certificate).arg("-CAkey").arg(&self.key);
        openssl.arg("-out").arg(certificate).arg("-keyout").arg(key);
        run(openssl)?;
        Ok(fs::set_permissions(key, fs::Permissions::from_mode(0o600))?)
    }
}

fn run(mut openssl: Command) -> Result<()> {
    let output = openssl.output().context("the program openssl")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
