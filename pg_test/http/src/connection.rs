//! One TCP connection with deadlines.
//!
//! Not for streams without end: [`super::EventStream`] reads those.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::body::BodyDecoder;
use super::transport::{Trust, Wire};
use super::{Head, Request, Response};

/// A longer head than any test expects: the server's answer is not HTTP.
const MAX_HEAD_BYTES: usize = 1 << 20;

/// A connection to the gateway.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
    /// Bytes that were read from the socket and are not used yet.
    pub(super) pending: Vec<u8>,
    within: Duration,
}

/// The result of one look at the socket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Got {
    Bytes(Vec<u8>),
    Closed,
    /// Over TLS, without the notice of its end: what has come may be less than what was sent.
    Cut,
    TimedOut,
}

impl Connection {
    /// Connects; each later step may take `within`.
    pub(super) fn open(address: SocketAddr, within: Duration, trust: Option<Trust>) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, within)
            .with_context(|| format!("cannot connect to {address}"))?;
        Self::with(stream, within, trust)
    }

    /// Takes a socket that is already connected, such as one with a small receive buffer.
    pub fn over(stream: TcpStream, within: Duration) -> Result<Self> {
        Self::with(stream, within, None)
    }

    pub(super) fn with(stream: TcpStream, within: Duration, trust: Option<Trust>) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(within))?;
        // For a handshake, which is made when something is sent.
        stream.set_read_timeout(Some(within))?;
        Ok(Self { wire: Wire::new(stream, trust)?, pending: Vec::new(), within })
    }

    /// Sends a request; its answer is read by [`Self::response`].
    ///
    /// # Errors
    /// The connection is closed, or the peer takes nothing.
    pub fn send(&mut self, request: &Request) -> Result<()> {
        let bytes = request.encode(self.socket().peer_addr().context("not connected")?);
        self.send_bytes(&bytes)
    }

    /// Sends bytes as they are, even if they are no request.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.wire.write_all(bytes).and_then(|()| self.wire.flush()).context("cannot send")
    }

    /// Reads one answer to a request with this method.
    ///
    /// # Errors
    /// None in time, or a malformed one.
    pub fn response(&mut self, method: &str) -> Result<Response> {
        let head = self.head()?;
        let mut decoder = BodyDecoder::new(&head, method)?;
        let mut body = decoder.decode(&std::mem::take(&mut self.pending))?;
        let deadline = Instant::now() + self.within;
        while !decoder.is_ended() {
            match self.read(deadline)? {
                Got::Bytes(bytes) => body.extend(decoder.decode(&bytes)?),
                Got::Closed => decoder.close()?,
                Got::Cut => bail!("cut off in the answer's body"),
                Got::TimedOut => bail!("the answer's body has no end"),
            }
        }
        self.pending = decoder.into_rest();
        Ok(Response { head, body })
    }

    /// Reads the head of an answer and leaves its body.
    pub fn head(&mut self) -> Result<Head> {
        let deadline = Instant::now() + self.within;
        loop {
            if let Some(end) = self.pending.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head: Vec<u8> = self.pending.drain(..end + 4).collect();
                return Head::parse(&head);
            }
            if self.pending.len() > MAX_HEAD_BYTES {
                bail!("the head of the answer has no end");
            }
            match self.read(deadline)? {
                Got::Bytes(bytes) => self.pending.extend(bytes),
                Got::Closed | Got::Cut => {
                    bail!("closed without an answer; got {:?}", String::from_utf8_lossy(&self.pending))
                }
                Got::TimedOut => bail!("no answer in {:?}", self.within),
            }
        }
    }

    /// Has anything come within this time, the end of the connection included? Later reads begin with it.
    pub fn has_more(&mut self, within: Duration) -> Result<bool> {
        let got = self.read(Instant::now() + within)?;
        Ok(match got {
            Got::Bytes(bytes) => {
                self.pending.extend(bytes);
                true
            }
            Got::Closed | Got::Cut => true,
            Got::TimedOut => false,
        })
    }

    /// Reads everything until the peer closes. A connection that is reset, or cut off, counts as closed.
    ///
    /// # Errors
    /// It does not close in time.
    pub fn read_to_close(&mut self) -> Result<Vec<u8>> {
        let deadline = Instant::now() + self.within;
        let mut all = std::mem::take(&mut self.pending);
        loop {
            match self.read(deadline)? {
                Got::Bytes(bytes) => all.extend(bytes),
                Got::Closed | Got::Cut => return Ok(all),
                Got::TimedOut => bail!("not closed in {:?}", self.within),
            }
        }
    }

    /// The socket itself, for options such as a small receive buffer.
    pub fn socket(&self) -> &TcpStream {
        self.wire.socket()
    }

    /// Completes the handshake of a connection over TLS, which sending does otherwise.
    ///
    /// # Errors
    /// It is refused, or not answered in time.
    pub fn shake(&mut self) -> Result<()> {
        self.wire.shake().context("no handshake")
    }

    pub(super) fn read(&mut self, deadline: Instant) -> Result<Got> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // A timeout of zero would mean none at all.
            self.socket().set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match self.wire.read(&mut buffer) {
                Ok(0) => return Ok(Got::Closed),
                Ok(length) => {
                    buffer.truncate(length);
                    return Ok(Got::Bytes(buffer));
                }
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset) => return Ok(Got::Closed),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(Got::Cut),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if left.is_zero() || Instant::now() >= deadline {
                        return Ok(Got::TimedOut);
                    }
                }
                Err(error) => return Err(error).context("cannot read"),
            }
        }
    }
}
