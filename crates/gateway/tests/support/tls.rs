//! A certificate, and a client that speaks TLS: rustls' own client, which shares with the gateway's side what
//! the two have in common in that crate. Clients of others are in `pg_test/tests/tls.rs`.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use sse_gateway::{Settings, TlsSettings};
use test_http::KeyKind;

use super::peer::GET;
use super::{DEADLINE, TestGateway, settings};

pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// The two files.
pub struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    pub fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        site.renew();
        site
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("site.crt")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.path().join("site.key")
    }

    /// Another certificate with another key, made by the program `openssl`.
    pub fn renew(&self) {
        make(&self.certificate(), &self.key());
    }

    pub fn tls(&self) -> TlsSettings {
        TlsSettings {
            certificate_file: Some(self.certificate()),
            private_key_file: Some(self.key()),
            ..TlsSettings::default()
        }
    }

    pub fn settings(&self) -> Settings {
        Settings { tls: self.tls(), ..settings() }
    }

    /// What trusts the present certificate, and no other.
    pub fn trust(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.certificate()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

/// A gateway that speaks TLS, and its site.
pub fn secure() -> (Site, TestGateway) {
    let site = Site::new();
    let gateway = TestGateway::with(site.settings());
    (site, gateway)
}

pub fn make(certificate: &Path, key: &Path) {
    test_http::make_certificate(certificate, key, KeyKind::Curve).unwrap();
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With the notice that nothing more comes.
    Closed,
    /// Without it.
    Cut,
}

/// A connection over TLS.
pub struct TlsPeer {
    pub tls: ClientConnection,
    pub tcp: TcpStream,
    /// What has come and is not looked at.
    got: Vec<u8>,
}

impl TlsPeer {
    pub fn connect(port: u16, config: &Arc<ClientConfig>) -> Self {
        Self::over(TcpStream::connect(("127.0.0.1", port)).unwrap(), config)
    }

    pub fn over(tcp: TcpStream, config: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::clone(config), name).unwrap();
        tcp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        // As clients do: else what it says waits for a delayed acknowledgement of what it said before.
        tcp.set_nodelay(true).unwrap();
        Self { tls, tcp, got: Vec::new() }
    }

    pub fn ask(port: u16, config: &Arc<ClientConfig>, request: &str) -> Self {
        let mut peer = Self::connect(port, config);
        peer.send(request.as_bytes());
        peer
    }

    /// A stream that has begun.
    pub fn listen(port: u16, config: &Arc<ClientConfig>) -> Self {
        let mut peer = Self::ask(port, config, GET);
        peer.read_to("sse.ready");
        peer
    }

    /// Completes the handshake; false: it was refused.
    pub fn try_shake(&mut self) -> bool {
        let until = Instant::now() + DEADLINE;
        while self.tls.is_handshaking() {
            match self.tls.complete_io(&mut self.tcp) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return false,
                Ok(_) => {}
            }
            assert!(Instant::now() < until, "no end of the handshake");
        }
        true
    }

    pub fn shake(&mut self) {
        assert!(self.try_shake());
    }

    pub fn send(&mut self, text: &[u8]) {
        self.tls.writer().write_all(text).unwrap();
        self.flush();
    }

    /// Sends what the protocol has to say.
    pub fn flush(&mut self) {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.tcp).unwrap();
        }
    }

    /// Everything up to this text, which must come.
    pub fn read_to(&mut self, text: &str) -> String {
        let until = Instant::now() + DEADLINE;
        let mut from = 0;
        loop {
            let found = self.got[from..].windows(text.len()).position(|window| window == text.as_bytes());
            if let Some(at) = found.map(|at| from + at) {
                let rest = self.got.split_off(at + text.len());
                return String::from_utf8(std::mem::replace(&mut self.got, rest)).unwrap();
            }
            from = (self.got.len() + 1).saturating_sub(text.len());
            let ended = self.read();
            let so_far = || String::from_utf8_lossy(&self.got[self.got.len().saturating_sub(1000)..]);
            assert!(Instant::now() < until, "no {text:?} in {:?}", so_far());
            assert_eq!(ended, None, "ended with {:?} and no {text:?}", so_far());
        }
    }

    /// Everything up to the end.
    pub fn rest(mut self) -> (String, Ended) {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(ended) = self.read() {
                return (String::from_utf8(self.got).unwrap(), ended);
            }
            assert!(Instant::now() < until, "no end after {:?}", String::from_utf8_lossy(&self.got));
        }
    }

    /// What has come since the last time, and whether it has ended.
    pub fn take(&mut self) -> (Vec<u8>, Option<Ended>) {
        let ended = self.read();
        (std::mem::take(&mut self.got), ended)
    }

    /// Ends the connection without a word.
    pub fn hang_up(&self) {
        self.tcp.shutdown(Shutdown::Write).unwrap();
    }

    fn read(&mut self) -> Option<Ended> {
        let mut space = [0; 16 << 10];
        match rustls::Stream::new(&mut self.tls, &mut self.tcp).read(&mut space) {
            Ok(0) => return Some(Ended::Closed),
            Ok(n) => self.got.extend_from_slice(&space[..n]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof || is_cut(&error) => {
                return Some(Ended::Cut);
            }
            Err(error) => panic!("{error:?}"),
        }
        None
    }
}

fn is_cut(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
