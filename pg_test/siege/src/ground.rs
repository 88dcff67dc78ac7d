//! What all parties of a run share, and how each reaches server and gateway.
//!
//! Not for what they do there.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cluster::Cluster;
use cluster::http::{self, Client};
use socket2::{Domain, Socket, Type};

use crate::wire::Wire;

/// How long connecting or taking bytes may take.
pub(crate) const CONNECTING: Duration = Duration::from_secs(5);

/// One for each run.
#[derive(Debug)]
pub(crate) struct Ground {
    /// The folder of the server's socket.
    pub(crate) home: PathBuf,
    /// For the gateway, with TLS if it speaks that.
    pub(crate) client: Client,
    /// The same for those who speak HTTP/2, where it speaks TLS.
    http2: Client,
    /// Set once by the run, read by all parties in their loops; seeing it a moment late does no harm.
    is_over: AtomicBool,
}

impl Ground {
    pub(crate) fn new(cluster: &Cluster, address: SocketAddr) -> Self {
        let home = cluster.home().to_owned();
        let (client, http2) = (cluster.client_at(address), cluster.client_at(address).with_http2());
        Self { home, client, http2, is_over: AtomicBool::new(false) }
    }

    /// A session of its own.
    pub(crate) fn session(&self, user: &str) -> Result<Wire> {
        Wire::connect(&self.home, user, CONNECTING)
    }

    /// A connection to the gateway from another address of the loopback network, so that hostile clients use
    /// up only their own share; where the system has only one such address, from that.
    pub(crate) fn connect_from(&self, source: Ipv4Addr, receive_buffer: Option<usize>) -> Result<http::Wire> {
        self.client.wire_over(self.tcp_from(source, receive_buffer)?)
    }

    /// The same for HTTP/2: in plain text where the gateway speaks no TLS, and no HTTP/2.
    pub(crate) fn connect_by_http2_from(
        &self,
        source: Ipv4Addr,
        receive_buffer: Option<usize>,
    ) -> Result<http::Wire> {
        self.http2.wire_over(self.tcp_from(source, receive_buffer)?)
    }

    /// The same without anything of TLS.
    pub(crate) fn tcp_from(&self, source: Ipv4Addr, receive_buffer: Option<usize>) -> Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let _ = socket.bind(&SocketAddr::from((source, 0)).into());
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.connect_timeout(&self.client.address().into(), CONNECTING).context("nobody listens")?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(CONNECTING))?;
        stream.set_write_timeout(Some(CONNECTING))?;
        Ok(stream)
    }

    pub(crate) fn end(&self) {
        self.is_over.store(true, Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    /// Waits, but not beyond the end of the run.
    pub(crate) fn pause(&self, time: Duration) {
        const STEP: Duration = Duration::from_millis(50);
        let until = Instant::now() + time;
        while !self.is_over() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(STEP));
        }
    }
}
