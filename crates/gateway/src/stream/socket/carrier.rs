//! What carries the bytes of a connection: a socket that tokio drives, or the bare one of a stream.
//!
//! Not for what the bytes are.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;

use mio::net::TcpStream as BareStream;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// What TLS needs of either.
pub(crate) trait Carrier: AsFd {
    /// # Errors
    /// `WouldBlock`, too.
    fn try_read(&self, space: &mut [u8]) -> io::Result<usize>;

    /// # Errors
    /// `WouldBlock`, too.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// # Errors
    /// `WouldBlock`: it is known to be full.
    fn may_take(&self) -> io::Result<()>;
}

/// Takes a socket from tokio.
pub(super) fn bare(tcp: TcpStream) -> io::Result<BareStream> {
    Ok(BareStream::from_std(tcp.into_std()?))
}

impl Carrier for TcpStream {
    fn try_read(&self, space: &mut [u8]) -> io::Result<usize> {
        Self::try_read(self, space)
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Self::try_write(self, bytes)
    }

    fn may_take(&self) -> io::Result<()> {
        self.try_io(Interest::WRITABLE, || Ok(()))
    }
}

impl Carrier for BareStream {
    fn try_read(&self, space: &mut [u8]) -> io::Result<usize> {
        let mut tcp = self;
        tcp.read(space)
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut tcp = self;
        tcp.write(bytes)
    }

    fn may_take(&self) -> io::Result<()> {
        // What it has not taken is unsent, and goes before anything else.
        Ok(())
    }
}
