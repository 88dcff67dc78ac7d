#![allow(clippy::unwrap_used)]
use super::*;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::between::outbox::{Errand, Inbox, errand_channel};

/// Writes a certificate for localhost and its key, made by the program `openssl`.
pub(super) fn make(certificate: &Path, key: &Path) {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    openssl.args(["-days", "3650", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE", "-out"]).arg(certificate);
    let output = openssl.arg("-keyout").arg(key).output().expect("the program openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A configuration with a new certificate, which is in `chain` as PEM.
pub(super) fn config() -> (Arc<Config>, Vec<u8>) {
    let site = Site::new();
    let Mode::Tls(config) = site.look() else { panic!("{:?}", site.said()) };
    (config, fs::read(site.certificate()).unwrap())
}

/// The two files, and a gateway's view of them.
struct Site {
    folder: tempfile::TempDir,
    tls: Tls,
    outbox: Outbox,
    inbox: Inbox,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (outbox, inbox) = errand_channel(Arc::default()).unwrap();
        let site = Self { folder, tls: Tls::new(), outbox, inbox };
        make(&site.certificate(), &site.key());
        site.tls.apply(&site.settings(), &site.outbox);
        site
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("site.crt")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("site.key")
    }

    fn settings(&self) -> TlsSettings {
        TlsSettings {
            certificate_file: Some(self.certificate()),
            private_key_file: Some(self.key()),
            ..TlsSettings::default()
        }
    }

    fn look(&self) -> Mode {
        self.tls.look(&self.outbox);
        self.tls.mode()
    }

    fn apply(&self, settings: &TlsSettings) -> Mode {
        self.tls.apply(settings, &self.outbox);
        self.tls.mode()
    }

    /// Lines of the log since the last time.
    fn said(&self) -> Vec<String> {
        let line = |errand| match errand {
            Errand::Log { message, .. } => message,
            other => panic!("{other:?}"),
        };
        std::iter::from_fn(|| self.inbox.poll(&self.outbox)).map(line).collect()
    }

    fn says(&self, texts: &[&str]) {
        let said = self.said();
        assert_eq!(said.len(), texts.len(), "{said:?}");
        for (line, text) in said.iter().zip(texts) {
            assert!(line.contains(text), "{line:?}: no {text:?}");
        }
    }
}

fn same(one: &Mode, other: &Mode) -> bool {
    matches!((one, other), (Mode::Tls(one), Mode::Tls(other)) if Arc::ptr_eq(one, other))
}

/// Every way in which files cannot be used: how they come to be so, and what is said.
#[allow(clippy::type_complexity)]
fn faults() -> Vec<(&'static str, Box<dyn Fn(&Site)>)> {
    let key_of_another = |site: &Site| make(&site.folder.path().join("other.crt"), &site.key());
    let encrypted = |site: &Site| {
        let mut openssl = Command::new("openssl");
        let sealed = site.folder.path().join("sealed.key");
        openssl.args(["pkey", "-aes128", "-passout", "pass:x", "-in"]).arg(site.key());
        assert!(openssl.arg("-out").arg(&sealed).status().unwrap().success());
        fs::rename(sealed, site.key()).unwrap();
    };
    let mode = |mode: u32| {
        move |site: &Site| fs::set_permissions(site.key(), fs::Permissions::from_mode(mode)).unwrap()
    };
    vec![
        ("it is not the key of the first certificate", Box::new(key_of_another)),
        ("write it without one (openssl pkey", Box::new(encrypted)),
        ("its mode must be 0600 or less", Box::new(mode(0o640))),
        ("its mode must be 0600 or less", Box::new(mode(0o604))),
        ("there is no PEM private key in it", Box::new(|site| fs::write(site.key(), "x").unwrap())),
        ("entity not found", Box::new(|site| fs::remove_file(site.key()).unwrap())),
        ("entity not found", Box::new(|site| fs::remove_file(site.certificate()).unwrap())),
        ("there is no PEM certificate in it", Box::new(|site| fs::write(site.certificate(), "").unwrap())),
        (
            "it is no well-formed PEM",
            Box::new(|site| fs::write(site.certificate(), "-----BEGIN CERTIFICATE-----\n!").unwrap()),
        ),
        (
            "its first certificate cannot be read",
            Box::new(|site| {
                let text = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
                fs::write(site.certificate(), text).unwrap();
            }),
        ),
    ]
}

#[test]
fn a_pair_that_cannot_be_used_leaves_the_one_in_use_and_is_said_once() {
    for (text, spoil) in faults() {
        let site = Site::new();
        let before = site.look();
        site.says(&[]);
        spoil(&site);
        assert!(same(&before, &site.look()), "{text}");
        site.says(&[text]);
        assert!(same(&before, &site.apply(&site.settings())), "{text}");
        site.says(&[]);
        make(&site.certificate(), &site.key());
        assert!(!same(&before, &site.look()), "{text}");
        site.says(&["can be used now"]);
    }
}

#[test]
fn nothing_is_decided_before_the_first_pair_can_be_used() {
    for (text, spoil) in faults() {
        let site = Site::new();
        spoil(&site);
        let anew = Tls::new();
        anew.apply(&site.settings(), &site.outbox);
        assert!(matches!(anew.mode(), Mode::Undecided), "{text}");
        site.says(&[text]);
        anew.look(&site.outbox);
        site.says(&[]);
        make(&site.certificate(), &site.key());
        anew.look(&site.outbox);
        assert!(matches!(anew.mode(), Mode::Tls(_)), "{text}");
        site.says(&["can be used now"]);
    }
}

#[test]
fn plain_http_goes_on_while_a_pair_cannot_be_used_and_that_is_said_at_each_look() {
    for (text, spoil) in faults() {
        let site = Site::new();
        assert!(matches!(site.apply(&TlsSettings::default()), Mode::Plain));
        spoil(&site);
        for look in 0..3 {
            let mode = if look == 0 { site.apply(&site.settings()) } else { site.look() };
            assert!(matches!(mode, Mode::Plain), "{text}");
            site.says(&["connections go on in plain HTTP"]);
        }
        make(&site.certificate(), &site.key());
        assert!(matches!(site.look(), Mode::Tls(_)), "{text}");
        site.says(&["new connections speak TLS from now on"]);
    }
}

#[test]
fn only_one_of_the_two_files_counts_as_a_pair_that_cannot_be_used() {
    let site = Site::new();
    let before = site.look();
    let settings = site.settings();
    let only_key = TlsSettings { certificate_file: None, ..settings.clone() };
    let only_certificate = TlsSettings { private_key_file: None, ..settings.clone() };
    assert!(same(&before, &site.apply(&only_key)));
    site.says(&["sse.tls_certificate_file is not: TLS needs both; the certificate in use stays in use"]);
    assert!(same(&before, &site.apply(&only_certificate)));
    site.says(&["sse.tls_private_key_file is not: TLS needs both"]);
    assert!(same(&before, &site.apply(&settings)));
    site.says(&["can be used again"]);
    assert!(matches!(site.apply(&TlsSettings::default()), Mode::Plain));
    assert!(matches!(site.apply(&only_key), Mode::Plain));
    site.says(&["connections go on in plain HTTP"]);
}

#[test]
fn unchanged_files_change_nothing_and_a_renewed_certificate_is_used() {
    let site = Site::new();
    let before = site.look();
    assert!(same(&before, &site.look()));
    assert!(same(&before, &site.apply(&site.settings())));
    site.says(&[]);
    make(&site.certificate(), &site.key());
    let after = site.look();
    assert!(matches!(after, Mode::Tls(_)) && !same(&before, &after));
    site.says(&["has changed"]);
}
