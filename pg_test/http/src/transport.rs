//! What is below HTTP: plain TCP, or TLS of a site that is trusted; and which of them the environment wants.
//!
//! TLS is rustls' own client: it shares with the gateway what both sides have in common in that crate, so
//! clients of others read our streams, too (`pg_test/tests/tls.rs`).
//!
//! Not for HTTP: connection.rs.

use std::env;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// Name of the environment variable that says what throwaway gateways speak: `plain` (as if it were not set)
/// or `tls`.
pub const TRANSPORT: &str = "PG_SSE_TRANSPORT";

/// What a gateway under test speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP/1.1.
    Plain,
    /// HTTP/1.1 over TLS.
    Tls,
}

impl Transport {
    /// What the environment wants ([`TRANSPORT`]).
    ///
    /// # Errors
    /// It is none of those that there are: a misspelt one must not pass as plain.
    pub fn of_environment() -> Result<Self> {
        match env::var(TRANSPORT).as_deref() {
            Err(_) | Ok("" | "plain") => Ok(Self::Plain),
            Ok("tls") => Ok(Self::Tls),
            Ok(other) => bail!("{TRANSPORT} is {other:?}: plain or tls"),
        }
    }
}

/// The certificate that a client believes, and the tickets that it has been given. Kept until the process
/// ends, so that clients can be copied.
#[derive(Clone, Copy)]
pub struct Trust(&'static Arc<ClientConfig>);

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

impl Trust {
    /// In the certificate in this file, as that of `localhost`, and in no other.
    pub fn in_file(certificate: &Path) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificate).context("no certificate")?)?;
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self::of(config))
    }

    /// As this configuration has it.
    pub fn of(config: ClientConfig) -> Self {
        Self::speaking(config, b"http/1.1")
    }

    fn speaking(mut config: ClientConfig, protocol: &[u8]) -> Self {
        config.alpn_protocols = vec![protocol.to_vec()];
        Self(Box::leak(Box::new(Arc::new(config))))
    }

    /// The same for those who speak HTTP/2, frame by frame.
    pub fn with_http2(self) -> Self {
        Self::speaking(ClientConfig::clone(self.0), b"h2")
    }
}

/// A connected socket; with a [`Trust`] it speaks TLS. The handshake is made when something is first sent or
/// read, and keeps the time limits of the socket.
pub struct Wire {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Bytes of TLS that are read at a time.
    read_size: usize,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({:?}, {})", self.tcp, if self.tls.is_some() { "TLS" } else { "plain" })
    }
}

impl Wire {
    /// # Errors
    /// None that could be provoked: the name is one.
    pub fn new(tcp: TcpStream, trust: Option<Trust>) -> Result<Self> {
        let tls = match trust {
            None => None,
            Some(Trust(config)) => {
                let name = ServerName::try_from("localhost")?;
                Some(Box::new(ClientConnection::new(Arc::clone(config), name)?))
            }
        };
        Ok(Self { tcp, tls, read_size: usize::MAX })
    }

    /// The socket itself, for its options.
    pub fn socket(&self) -> &TcpStream {
        &self.tcp
    }

    /// Over TLS, reads at most so many bytes of the socket at a time: for readers that are slow.
    pub fn set_read_size(&mut self, bytes: usize) {
        self.read_size = bytes;
    }

    /// The state of TLS, for what only its tests do.
    pub fn tls(&mut self) -> Option<&mut ClientConnection> {
        self.tls.as_deref_mut()
    }

    /// Completes the handshake, which a plain one does not have.
    ///
    /// # Errors
    /// It is refused, or not answered within the socket's time limits.
    pub fn shake(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.is_handshaking() {
            tls.complete_io(&mut self.tcp)?;
        }
        Ok(())
    }

    /// Says that nothing more comes from us, and goes on reading.
    pub fn finish(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            flush(tls, &mut self.tcp)?;
        }
        self.tcp.shutdown(std::net::Shutdown::Write)
    }
}

impl Read for Wire {
    /// # Errors
    /// Those of the socket; `UnexpectedEof` when a connection over TLS ends without the notice that it does.
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.tcp.read(space) };
        loop {
            // What is to be sent first: the handshake, and answers of the protocol.
            flush(tls, &mut self.tcp)?;
            match tls.reader().read(space) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
            let came = tls.read_tls(&mut (&mut self.tcp).take(self.read_size as u64))?;
            let processed = tls.process_new_packets();
            if let Err(error) = processed {
                // The server is told why.
                let _ = flush(tls, &mut self.tcp);
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
            if came == 0 && tls.is_handshaking() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.tcp.write(bytes),
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.tcp).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            None => self.tcp.flush(),
            Some(tls) => flush(tls, &mut self.tcp),
        }
    }
}

fn flush(tls: &mut ClientConnection, tcp: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(tcp)?;
    }
    Ok(())
}
