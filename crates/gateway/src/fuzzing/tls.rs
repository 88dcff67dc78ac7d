//! Connections of TLS without sockets.
//!
//! Not for files that change: they are read once.

use std::path::Path;
use std::sync::Arc;

use crate::between::outbox::errand_channel;
use crate::tls::{Config, MAX_RECORD_BYTES, Mode, Session, Tls, TlsSettings};

/// A certificate with its key.
pub struct TlsSite(Arc<Config>);

impl TlsSite {
    /// `None`: they cannot be used.
    pub fn read(certificate: &Path, private_key: &Path) -> Option<Self> {
        // Nobody reads its log lines.
        let (outbox, _inbox) = errand_channel(Arc::default()).ok()?;
        let tls = Tls::new();
        let settings = TlsSettings {
            certificate_file: Some(certificate.to_owned()),
            private_key_file: Some(private_key.to_owned()),
            ..TlsSettings::default()
        };
        tls.apply(&settings, &outbox);
        if let Mode::Tls(config) = tls.mode() { Some(Self(config)) } else { None }
    }

    /// A connection on which nothing has come yet.
    pub fn connection(&self) -> Option<TlsConnection> {
        let session = Session::new(Arc::clone(&self.0)).ok()?;
        Some(TlsConnection { session, plain: Vec::new(), sealed: Vec::new() })
    }
}

/// The server's side of a connection.
pub struct TlsConnection {
    session: Session,
    /// What the peer has said.
    pub plain: Vec<u8>,
    /// What is to be sent to it.
    pub sealed: Vec<u8>,
}

impl TlsConnection {
    /// Takes in what came, as a socket does. False: the connection is broken.
    pub fn feed(&mut self, bytes: &[u8]) -> bool {
        let mut incoming = [self.session.rest(), bytes].concat();
        self.session.feed(&mut incoming, &mut self.plain, &mut self.sealed, MAX_RECORD_BYTES).is_ok()
    }

    /// Seals a text. False: it cannot.
    pub fn seal(&mut self, text: &[u8]) -> bool {
        self.session.seal(text, &mut self.sealed).is_ok()
    }

    /// Says the end. False: it cannot.
    pub fn close(&mut self) -> bool {
        self.session.close(&mut self.sealed).is_ok()
    }

    /// Bytes that are kept of what has not come whole.
    pub fn kept(&self) -> usize {
        self.session.rest().len()
    }
}
