//! TLS of the gateway's own (C1.6): which certificate is in use, and what becomes of it when its files
//! change.
//!
//! A pair of files is taken whole or not at all. While it cannot be used, what was in use before stays in
//! use: the pair before, or plain HTTP; at the start that is nothing, and nothing listens.
//!
//! Not for connections: `session` is one without its socket, `stream/socket/tls.rs` one with it.

mod pair;
mod session;

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use tokio::sync::watch;

use crate::between::outbox::{Outbox, Severity};
use pair::{Digest, Pair};
use session::HTTP_2;
pub(crate) use session::{MAX_PLAIN_BYTES, MAX_RECORD_BYTES, Session};

/// Where the certificate and its key are, and what is spoken over TLS; part of [`crate::Settings`]. Neither
/// file: no TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// `sse.tls_certificate_file`
    pub certificate_file: Option<PathBuf>,
    /// `sse.tls_private_key_file`
    pub private_key_file: Option<PathBuf>,
    /// `sse.http2`: whether HTTP/2 is offered beside HTTP/1.1.
    pub http2: bool,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self { certificate_file: None, private_key_file: None, http2: true }
    }
}

impl TlsSettings {
    /// Whether there is to be TLS.
    pub(crate) fn is_wanted(&self) -> bool {
        self.certificate_file.is_some() || self.private_key_file.is_some()
    }

    /// Whether both files are named: one alone cannot be used.
    pub(crate) fn is_whole(&self) -> bool {
        self.certificate_file.is_some() && self.private_key_file.is_some()
    }
}

/// How HTTP/1.1 is called in the handshake (RFC 7301 §6).
const HTTP_1: &[u8] = b"http/1.1";

/// What a configuration is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// Another pair of files.
    New,
    /// The pair that is in use, for another choice of protocols.
    Same,
}

/// What a connection is made with.
pub(crate) type Config = ServerConfig;

/// What new connections speak.
#[derive(Clone)]
pub(crate) enum Mode {
    /// Nothing yet: the first pair of files cannot be used.
    Undecided,
    Plain,
    Tls(Arc<Config>),
}

/// The certificate in use, shared by all threads.
pub(crate) struct Tls {
    /// Locked while files are read, so no thread with events may wait for it.
    sources: Mutex<Sources>,
    /// Written with `sources` locked, read once per connection.
    mode: watch::Sender<Mode>,
}

struct Sources {
    settings: TlsSettings,
    /// What is in use, and whether HTTP/2 is offered with it.
    used: Option<(Digest, bool)>,
    /// What was said about the files, so that it is said once.
    complaint: Option<String>,
    provider: Arc<CryptoProvider>,
    /// Kept over changes of the certificate: whoever comes back with a ticket needs no signature. `None`
    /// until the first pair.
    ticketer: Option<Arc<dyn ProducesTickets>>,
}

impl Tls {
    /// Undecided; [`Tls::apply`] decides.
    pub(crate) fn new() -> Self {
        let sources = Sources {
            settings: TlsSettings::default(),
            used: None,
            complaint: None,
            provider: Arc::new(aws_lc_rs::default_provider()),
            ticketer: None,
        };
        Self { sources: Mutex::new(sources), mode: watch::Sender::new(Mode::Undecided) }
    }

    /// Takes new settings, and looks at the files that they name. On a thread that may wait for a disk.
    pub(crate) fn apply(&self, settings: &TlsSettings, outbox: &Outbox) {
        let mut sources = self.sources.lock();
        sources.settings.clone_from(settings);
        self.look_at(&mut sources, outbox);
    }

    /// Looks at the files again. On a thread that may wait for a disk.
    pub(crate) fn look(&self, outbox: &Outbox) {
        self.look_at(&mut self.sources.lock(), outbox);
    }

    /// What a connection that is accepted now speaks.
    pub(crate) fn mode(&self) -> Mode {
        self.mode.borrow().clone()
    }

    /// Whether it is not known yet what connections speak, so that nothing listens.
    pub(crate) fn is_undecided(&self) -> bool {
        matches!(*self.mode.borrow(), Mode::Undecided)
    }

    /// Returns when it is known what connections speak.
    pub(crate) async fn decided(&self) {
        // Never an error: the sender is ours.
        let _ = self.mode.subscribe().wait_for(|mode| !matches!(mode, Mode::Undecided)).await;
    }

    fn look_at(&self, sources: &mut Sources, outbox: &Outbox) {
        if !sources.settings.is_wanted() {
            (sources.used, sources.complaint) = (None, None);
            self.mode.send_if_modified(|mode| {
                let is_other = !matches!(mode, Mode::Plain);
                *mode = Mode::Plain;
                is_other
            });
            return;
        }
        let mode = self.mode();
        match sources.read() {
            Ok(Some((config, pair))) => {
                let is_same = matches!((&mode, pair), (Mode::Tls(_), Taken::Same));
                self.mode.send_replace(Mode::Tls(config));
                let line = match (sources.complaint.take(), mode) {
                    (None, Mode::Undecided) => return,
                    (None, Mode::Tls(_)) if is_same => return,
                    (None, Mode::Tls(_)) => {
                        "the certificate of sse.tls_certificate_file has changed: new connections get the new one"
                    }
                    (_, Mode::Plain) => "new connections speak TLS from now on",
                    (Some(_), _) => "sse.tls_certificate_file and sse.tls_private_key_file can be used now",
                };
                outbox.log(Severity::Log, line.to_owned());
            }
            Ok(None) => {
                if sources.complaint.take().is_some() {
                    let line = "sse.tls_certificate_file and sse.tls_private_key_file can be used again";
                    outbox.log(Severity::Log, line.to_owned());
                }
            }
            Err(reason) => {
                // Plain HTTP where TLS is wanted is not to be overlooked.
                let is_said = !matches!(mode, Mode::Plain) && sources.complaint.as_ref() == Some(&reason);
                if !is_said {
                    let meanwhile = match mode {
                        Mode::Undecided => "nothing listens until that is mended",
                        Mode::Plain => "connections go on in plain HTTP, without TLS",
                        Mode::Tls(_) => "the certificate in use stays in use",
                    };
                    outbox.log(Severity::Warning, format!("{reason}; {meanwhile}"));
                }
                sources.complaint = Some(reason);
            }
        }
    }
}

impl Sources {
    /// The configuration of the pair of files; `None`: it is in use already.
    ///
    /// # Errors
    /// Why there is none: a clause for people.
    fn read(&mut self) -> Result<Option<(Arc<Config>, Taken)>, String> {
        let only = |set: &str, other: &str| format!("{set} is set and {other} is not: TLS needs both");
        let (certificate, private_key) = (&self.settings.certificate_file, &self.settings.private_key_file);
        let (certificate, private_key) = match (certificate, private_key) {
            (Some(certificate), Some(private_key)) => (certificate, private_key),
            (Some(_), None) => return Err(only("sse.tls_certificate_file", "sse.tls_private_key_file")),
            (None, _) => return Err(only("sse.tls_private_key_file", "sse.tls_certificate_file")),
        };
        let pair = Pair::read(certificate, private_key, &self.provider)?;
        let http2 = self.settings.http2;
        let taken = match self.used {
            Some((digest, is_offered)) if digest == pair.digest && is_offered == http2 => return Ok(None),
            Some((digest, _)) if digest == pair.digest => Taken::Same,
            _ => Taken::New,
        };
        let unusable = |error: rustls::Error| format!("TLS cannot be set up: {error}");
        let ticketer = match &self.ticketer {
            Some(ticketer) => Arc::clone(ticketer),
            None => aws_lc_rs::Ticketer::new().map_err(unusable)?,
        };
        self.ticketer = Some(Arc::clone(&ticketer));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair.key)));
        config.alpn_protocols = vec![HTTP_1.to_vec()];
        if http2 {
            // What both sides have is chosen in our order.
            config.alpn_protocols.insert(0, HTTP_2.to_vec());
        }
        // What a client needs to resume is in its ticket: nothing is kept for each of them here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = ticketer;
        // Early data can be sent again by anybody: it would open a stream, or call a routine, once more.
        config.max_early_data_size = 0;
        self.used = Some((pair.digest, http2));
        Ok(Some((Arc::new(config), taken)))
    }
}

#[cfg(test)]
mod tests;
