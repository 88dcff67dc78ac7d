//! Binds `sse.listen_addresses`: at once where possible, and with growing pauses where not, for as long as it
//! takes.
//!
//! There is one listening socket per address, shared by all runtime threads as clones. Not `SO_REUSEPORT`:
//! with it a second cluster of the same user could take a port that is in use and steal its connections.
//!
//! Not for accepting: that is `listener`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::sync::watch;

use crate::between::outbox::{Severity, escaped};
use crate::settings::Settings;
use crate::shared::Shared;

/// Send buffer of every connection. With the kernel's default a peer that stops reading takes in 3.8 MB
/// before it is noticed; with this 161 kB, at no cost in CPU (measured).
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// Connections that wait to be accepted; more must try again. The kernel may cap it (`somaxconn`).
const BACKLOG: i32 = 1024;

/// Pause before the second attempt; it doubles with each one, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Ports that are tried when one is to be picked that is free on every address. After that the failures are
/// reported, and the next attempt begins anew.
const MAX_PORT_PICKS: usize = 16;

/// The listening sockets, bound by the first runtime thread, cloned by all.
#[derive(Clone)]
pub(crate) struct Listeners {
    addresses: Arc<Vec<String>>,
    port: u16,
    /// Only ever grows.
    bound: watch::Sender<Vec<Arc<std::net::TcpListener>>>,
}

impl Listeners {
    pub(crate) fn new(addresses: Vec<String>, port: u16) -> Self {
        Self { addresses: Arc::new(addresses), port, bound: watch::Sender::new(Vec::new()) }
    }

    pub(crate) fn changes(&self) -> watch::Receiver<Vec<Arc<std::net::TcpListener>>> {
        self.bound.subscribe()
    }
}

/// Binds every address, trying again until all are bound, and then keeps their options in step with the
/// settings. Nothing is bound before it is known what connections speak.
pub(crate) async fn bind(listeners: Listeners, shared: Arc<Shared>) {
    shared.tls.decided().await;
    let mut settings_changes = shared.settings_changes();
    let mut bound: Vec<(SocketAddr, Arc<std::net::TcpListener>)> = Vec::new();
    let mut pause = FIRST_PAUSE;
    let mut failed = false;
    loop {
        let failures = attempt(&listeners, &shared, &mut bound).await;
        publish(&listeners, &shared, &bound);
        if failures.is_empty() {
            break;
        }
        if !failed {
            failed = true;
            for failure in &failures {
                shared.outbox.log(Severity::Warning, format!("{failure}; trying again until it works"));
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    if failed {
        let port = shared.stats.port.load(Ordering::Relaxed);
        shared.outbox.log(
            Severity::Log,
            format!("listening on every address of sse.listen_addresses now, port {port}"),
        );
    }
    shared.stats.listening.store(true, Ordering::Relaxed);
    while settings_changes.changed().await.is_ok() {
        for (_, listener) in &bound {
            // As when it was bound: a listener whose option cannot be set goes on without it.
            let _ = set_user_timeout(&SockRef::from(&**listener), &shared.settings());
        }
    }
}

/// Binds what is not bound yet; returns what could not be, as lines for the log.
async fn attempt(
    listeners: &Listeners,
    shared: &Shared,
    bound: &mut Vec<(SocketAddr, Arc<std::net::TcpListener>)>,
) -> Vec<String> {
    let settings = shared.settings();
    let may_pick_again = listeners.port == 0 && bound.is_empty();
    for pick in 1.. {
        let mut failures = Vec::new();
        let mut taken = false;
        let words = listeners.addresses.iter().map(|word| word.trim()).filter(|word| !word.is_empty());
        // Names come last, and the sockets bound so far are served before: resolving a name may take half a
        // minute.
        let (literals, names): (Vec<&str>, Vec<&str>) = words.partition(|word| literal(word).is_some());
        for address in literals.into_iter().chain(names) {
            if literal(address).is_none() && !may_pick_again {
                publish(listeners, shared, bound);
            }
            let sockets = match resolve(address).await {
                Ok(sockets) => sockets,
                Err(error) => {
                    failures.push(failure("sse.listen_addresses", address, &error));
                    continue;
                }
            };
            for ip in sockets {
                if bound.iter().any(|(bound, _)| bound.ip() == ip) {
                    continue;
                }
                let port = bound.first().map_or(listeners.port, |(bound, _)| bound.port());
                match listen(SocketAddr::new(ip, port), &settings) {
                    Ok(socket) => bound.push(socket),
                    Err(error) if address == "*" && no_such_family(&error) => {}
                    Err(error) => {
                        taken |= error.kind() == io::ErrorKind::AddrInUse;
                        let port_is_wrong = matches!(
                            error.kind(),
                            io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
                        );
                        let setting = if port_is_wrong { "sse.port" } else { "sse.listen_addresses" };
                        failures.push(failure(setting, &SocketAddr::new(ip, port).to_string(), &error));
                    }
                }
            }
        }
        if !(taken && may_pick_again && pick < MAX_PORT_PICKS) {
            return failures;
        }
        bound.clear();
    }
    Vec::new()
}

fn publish(listeners: &Listeners, shared: &Shared, bound: &[(SocketAddr, Arc<std::net::TcpListener>)]) {
    let loopback_only = bound.iter().all(|(address, _)| address.ip().to_canonical().is_loopback());
    shared.loopback_only.store(loopback_only, Ordering::Relaxed);
    listeners.bound.send_if_modified(|published| {
        let more = bound.len() > published.len();
        if more {
            *published = bound.iter().map(|(_, listener)| Arc::clone(listener)).collect();
        }
        more
    });
    if let Some((address, _)) = bound.first() {
        shared.stats.port.store(address.port(), Ordering::Relaxed);
    }
}

/// The addresses that a word of `sse.listen_addresses` stands for.
async fn resolve(address: &str) -> io::Result<Vec<IpAddr>> {
    if let Some(addresses) = literal(address) {
        return Ok(addresses);
    }
    let mut addresses: Vec<IpAddr> =
        tokio::net::lookup_host((address, 0)).await?.map(|socket| socket.ip()).collect();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(addresses)
}

/// The same for a word that needs no resolver.
fn literal(address: &str) -> Option<Vec<IpAddr>> {
    if address == "*" {
        return Some(vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]);
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    bare.parse().ok().map(|ip| vec![ip])
}

/// A listening socket. Its options are inherited by every connection it accepts, so that none costs a system
/// call per connection.
fn listen(address: SocketAddr, settings: &Settings) -> io::Result<(SocketAddr, Arc<std::net::TcpListener>)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_tcp_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    socket.set_tcp_keepalive(&keepalive.with_retries(4))?;
    set_user_timeout(&SockRef::from(&socket), settings)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = std::net::TcpListener::from(socket);
    Ok((listener.local_addr()?, Arc::new(listener)))
}

/// A peer that has vanished silently is given up as fast as one that reads nothing.
fn set_user_timeout(socket: &SockRef<'_>, settings: &Settings) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(settings.write_timeout))?;
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, settings);
    Ok(())
}

/// The kernel has no IPv6.
fn no_such_family(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn failure(setting: &str, address: &str, error: &io::Error) -> String {
    format!("{setting}: could not listen on {}: {}", escaped(address), escaped(&error.to_string()))
}
