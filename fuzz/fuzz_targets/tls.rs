//! A connection of TLS (C1.6): bytes of a real client, in pieces, changed, repeated or made up, and texts
//! that the server seals at any moment. Nothing panics, what is kept is bounded, and as long as nobody has
//! changed a byte each side reads what the other has said.
#![no_main]

use std::io::{Read, Write};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use sse_gateway::fuzzing::TlsSite;

#[derive(Debug, Arbitrary)]
enum Step {
    /// This many bytes of what the client has to send.
    Piece(u16),
    /// The same, with a byte changed.
    Changed(u16, u16, u8),
    /// Bytes that no client has made.
    Made(Vec<u8>),
    /// A record of this kind around bytes.
    Record(u8, Vec<u8>),
    ClientSays(u16),
    ClientUpdatesKeys,
    ClientEnds,
    ServerSays(u16),
    ServerEnds,
    /// Everything that the server has sealed reaches the client.
    Deliver,
}

struct Side {
    site: TlsSite,
    config: [Arc<ClientConfig>; 2],
}

fn side() -> &'static Side {
    static SIDE: OnceLock<Side> = OnceLock::new();
    SIDE.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("pg_sse-fuzz-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (certificate, key) = (folder.join("site.crt"), folder.join("site.key"));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        openssl.args(["-days", "3650", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE", "-out"]).arg(&certificate);
        assert!(openssl.arg("-keyout").arg(&key).output().expect("openssl").status.success());
        let site = TlsSite::read(&certificate, &key).expect("a usable pair");
        let config = [&rustls::version::TLS12, &rustls::version::TLS13].map(|version| {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(&certificate).expect("PEM")).expect("a certificate");
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
            Arc::new(builder.expect("a version").with_root_certificates(roots).with_no_client_auth())
        });
        std::fs::remove_dir_all(folder).expect("a folder");
        Side { site, config }
    })
}

fuzz_target!(|input: (bool, Vec<Step>)| {
    let (is_new, steps) = input;
    let Side { site, config } = side();
    let mut server = site.connection().expect("a connection");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(Arc::clone(&config[usize::from(is_new)]), name).expect("a client");
    let (mut way, mut is_honest) = (Vec::new(), true);
    // Too many updates of keys are refused, and nothing goes on after an end or a text that came too early.
    let (mut may_refuse, mut updates) = (false, 0);
    let mut is_listening = true;
    let (mut client_said, mut server_said, mut client_read) = (Vec::new(), Vec::new(), Vec::new());
    for step in steps {
        while client.wants_write() {
            client.write_tls(&mut way).expect("memory");
        }
        let piece = |way: &mut Vec<u8>, len: u16| way.drain(..usize::from(len).min(way.len())).collect();
        match step {
            Step::Piece(len) => {
                let bytes: Vec<u8> = piece(&mut way, len);
                assert!(server.feed(&bytes) || !is_honest || may_refuse);
            }
            Step::Changed(len, at, by) => {
                let mut bytes: Vec<u8> = piece(&mut way, len);
                if let Some(byte) = bytes.get_mut(usize::from(at)) {
                    *byte ^= by;
                    is_honest &= by == 0;
                }
                server.feed(&bytes);
            }
            Step::Made(bytes) => {
                is_honest &= bytes.is_empty();
                server.feed(&bytes);
            }
            Step::Record(kind, bytes) => {
                is_honest = false;
                let len = (bytes.len() as u16).to_be_bytes();
                server.feed(&[&[kind, 3, 3], &len[..], &bytes].concat());
            }
            Step::ClientSays(len) => {
                let text = vec![len as u8; usize::from(len)];
                // Nothing after an error.
                let n = client.writer().write(&text).unwrap_or(0);
                client_said.extend_from_slice(&text[..n]);
            }
            Step::ClientUpdatesKeys => {
                updates += 1;
                may_refuse |= updates > 30;
                if is_listening {
                    let _ = client.refresh_traffic_keys();
                }
            }
            Step::ClientEnds => {
                may_refuse = true;
                client.send_close_notify();
            }
            Step::ServerSays(len) => {
                let text = vec![len as u8; usize::from(len)];
                if server.seal(&text) {
                    server_said.extend_from_slice(&text);
                } else {
                    may_refuse = true;
                }
            }
            Step::ServerEnds => {
                may_refuse = true;
                server.close();
            }
            Step::Deliver => {
                let sealed = std::mem::take(&mut server.sealed);
                let mut rest = &sealed[..];
                // rustls' client panics when it is asked something after an error: it hears no more then.
                is_listening &= is_honest && !may_refuse;
                while is_listening && !rest.is_empty() && client.read_tls(&mut rest).is_ok_and(|n| n > 0) {
                    let outcome = client.process_new_packets();
                    assert!(outcome.is_ok(), "{outcome:?}");
                    // An error when there is no more at the moment.
                    let _ = client.reader().read_to_end(&mut client_read);
                }
            }
        }
        assert!(server.kept() <= 5 + (16 << 10) + 2048);
        assert!(!is_honest || client_said.starts_with(&server.plain));
        assert!(server_said.starts_with(&client_read));
    }
});
