//! One TLS connection as a state machine over bytes: what came from the peer goes in, plain text and sealed
//! records come out.
//!
//! rustls' unbuffered interface, because its other one keeps a read buffer of 4 kB for each connection, twice
//! what a whole idle stream has here.
//!
//! Not for sockets: `stream/socket/tls.rs` reads and writes. Not for certificates: that is `pair`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};

/// How HTTP/2 is called in the handshake (RFC 9113 §3.2).
pub(super) const HTTP_2: &[u8] = b"h2";

/// Plain text that one record holds at most, in bytes (RFC 8446 §5.1).
pub(crate) const MAX_PLAIN_BYTES: usize = 16 << 10;

/// A whole record at most, in bytes: TLS 1.2 allows the longer ones (RFC 5246 §6.2.3).
pub(crate) const MAX_RECORD_BYTES: usize = 5 + MAX_PLAIN_BYTES + 2048;

/// What sealing adds to one record at most, in bytes, with room for a message of the protocol that waited and
/// goes in front of it.
const ADDED_BYTES: usize = 128;

/// States that are passed in one call without anything having come of it. There are fewer; more would be a
/// fault of ours or of rustls, and ends the connection instead of the thread.
const MAX_STEPS: usize = 16;

/// The connection is of no use any more: the peer has broken the protocol, or refuses ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Shaking,
    Open,
    /// The peer has said that nothing more comes from it.
    PeerClosed,
    /// It has broken, or has said its end. Nothing may be asked of rustls any more: it would say what is
    /// wrong a second time, or after its end, and may panic.
    Over,
}

/// The server's side of a connection.
pub(crate) struct Session {
    connection: UnbufferedServerConnection,
    stage: Stage,
    /// What came of a record, or of a message, that is not whole. rustls may have decrypted it in its place,
    /// and wants it in front of whatever it is given; without it rustls would panic.
    rest: Vec<u8>,
}

impl Session {
    /// # Errors
    /// [`Broken`] when the configuration cannot begin a connection.
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Self, Broken> {
        let connection = UnbufferedServerConnection::new(config).map_err(|_| Broken)?;
        Ok(Self { connection, stage: Stage::Shaking, rest: Vec::new() })
    }

    /// Whether the handshake is still to be completed.
    pub(crate) fn is_shaking(&self) -> bool {
        self.stage == Stage::Shaking
    }

    /// Whether the peer has said that nothing more comes from it. It may still be written to.
    pub(crate) fn is_closed_by_peer(&self) -> bool {
        self.stage == Stage::PeerClosed
    }

    /// Whether it is broken, or has said its end: what still comes cannot be read.
    pub(crate) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Whether the two sides have agreed on HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.connection.alpn_protocol() == Some(HTTP_2)
    }

    /// What has come and is not used yet.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.rest
    }

    /// Takes in what came, decrypting in place: the present [`Session::rest`] and after it what is new.
    /// Plain text is appended to `plain`, what is to be sent to `sealed`, in case of an error too (an alert
    /// that says why).
    ///
    /// # Errors
    /// [`Broken`], also when more than `max_rest` bytes could not be used.
    pub(crate) fn feed(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Vec<u8>,
        sealed: &mut Vec<u8>,
        max_rest: usize,
    ) -> Result<(), Broken> {
        self.guarded(|session| {
            let used = session.take_in(incoming, plain, sealed)?;
            let rest = &incoming[used..];
            if rest.len() > max_rest {
                return Err(Broken);
            }
            session.rest = rest.to_vec();
            Ok(())
        })
    }

    /// Appends one or more records with this text.
    ///
    /// # Errors
    /// [`Broken`], before the handshake is completed too. `sealed` may have got something all the same.
    pub(crate) fn seal(&mut self, plain: &[u8], sealed: &mut Vec<u8>) -> Result<(), Broken> {
        self.write(sealed, |traffic, sealed| {
            let records = plain.len().div_ceil(MAX_PLAIN_BYTES).max(1);
            append(sealed, plain.len() + records * ADDED_BYTES, |space| {
                traffic.encrypt(plain, space).map_err(|error| match error {
                    EncryptError::InsufficientSize(size) => Some(size),
                    EncryptError::EncryptExhausted => None,
                })
            })
        })
    }

    /// Appends the notice that nothing more comes, after which nothing can be sealed or read.
    ///
    /// # Errors
    /// As [`Session::seal`].
    pub(crate) fn close(&mut self, sealed: &mut Vec<u8>) -> Result<(), Broken> {
        let outcome = self.write(sealed, |traffic, sealed| {
            append(sealed, ADDED_BYTES, |space| {
                traffic.queue_close_notify(space).map_err(|error| match error {
                    EncryptError::InsufficientSize(size) => Some(size),
                    EncryptError::EncryptExhausted => None,
                })
            })
        });
        self.stage = Stage::Over;
        outcome
    }

    /// A panic in it, which a peer might know how to
    /// provoke, ends this connection, and not the process.
    fn guarded(&mut self, work: impl FnOnce(&mut Self) -> Result<(), Broken>) -> Result<(), Broken> {
        if self.stage == Stage::Over {
            return Err(Broken);
        }
        // What a panic leaves half changed is not looked at again.
        let outcome = catch_unwind(AssertUnwindSafe(|| work(self))).unwrap_or(Err(Broken));
        if outcome.is_err() {
            self.stage = Stage::Over;
        }
        outcome
    }

    /// Returns how many bytes were used.
    fn take_in(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Vec<u8>,
        sealed: &mut Vec<u8>,
    ) -> Result<usize, Broken> {
        let mut used = 0;
        let mut steps = 0;
        loop {
            let before = sealed.len();
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut incoming[used..]);
            let mut is_done = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(|_| Broken)?;
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, sealed)?,
                // It is in `sealed`, which goes out in its order.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::BlockedHandshake) => is_done = true,
                Ok(ConnectionState::WriteTraffic(_)) => {
                    if self.stage == Stage::Shaking {
                        self.stage = Stage::Open;
                    }
                    is_done = true;
                }
                Ok(ConnectionState::PeerClosed) => self.stage = Stage::PeerClosed,
                Ok(ConnectionState::Closed) => {
                    self.stage = Stage::PeerClosed;
                    is_done = true;
                }
                // Early data is never accepted.
                Ok(_) => return Err(Broken),
                Err(_) => {
                    self.say_why(sealed);
                    return Err(Broken);
                }
            }
            used += discard;
            steps = if discard > 0 || sealed.len() > before { 0 } else { steps + 1 };
            if is_done {
                return Ok(used);
            }
            if steps > MAX_STEPS {
                return Err(Broken);
            }
        }
    }

    /// Brings the connection to where it takes text, and gives it some.
    fn write(
        &mut self,
        sealed: &mut Vec<u8>,
        write: impl FnOnce(&mut WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        self.guarded(|session| {
            for _ in 0..MAX_STEPS {
                match session.connection.process_tls_records(&mut session.rest).state {
                    Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, sealed)?,
                    Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                    Ok(ConnectionState::PeerClosed) => session.stage = Stage::PeerClosed,
                    Ok(ConnectionState::WriteTraffic(mut traffic)) => return write(&mut traffic, sealed),
                    _ => return Err(Broken),
                }
            }
            Err(Broken)
        })
    }

    /// Appends what was still to be sent, the alert that goes with the error as the last.
    fn say_why(&mut self, sealed: &mut Vec<u8>) {
        // As long as there is something to send, what came is not looked at.
        while self.connection.wants_write() {
            match self.connection.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    if encode(&mut data, sealed).is_err() {
                        return;
                    }
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => while traffic.next_record().is_some() {},
                _ => return,
            }
        }
    }
}

fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, sealed: &mut Vec<u8>) -> Result<(), Broken> {
    append(sealed, ADDED_BYTES, |space| {
        data.encode(space).map_err(|error| match error {
            EncodeError::InsufficientSize(size) => Some(size),
            EncodeError::AlreadyEncoded => None,
        })
    })
}

/// Appends what `write` writes into space of this many bytes, or of as many as it asks for.
fn append(
    sealed: &mut Vec<u8>,
    guess: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
) -> Result<(), Broken> {
    let begin = sealed.len();
    let mut room = guess;
    // The second time it fits.
    for _ in 0..2 {
        sealed.resize(begin + room, 0);
        match write(&mut sealed[begin..]) {
            Ok(written) => {
                sealed.truncate(begin + written);
                return Ok(());
            }
            Err(Some(InsufficientSizeError { required_size })) => room = required_size,
            Err(None) => break,
        }
    }
    sealed.truncate(begin);
    Err(Broken)
}

#[cfg(test)]
mod tests;
