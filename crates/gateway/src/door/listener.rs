//! Accepts connections, and never stops doing so: not when descriptors run out, not under a flood.
//!
//! Not for what a connection says: that is `connection`.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

use crate::between::outbox::{Severity, escaped};
use crate::door::bind::Listeners;
use crate::door::connection;
use crate::door::farewell::tell;
use crate::entry::admission::{RefusalPermit, SocketPermit};
use crate::entry::peer::Peer;
use crate::router::Context;
use crate::stats::Stats;
use crate::stream::answer::refused;
use crate::stream::socket::Socket;
use crate::supervise::supervised;
use crate::tls::Mode;

/// Pause after `accept` has failed for want of descriptors or memory. Peers wait in the backlog meanwhile,
/// which is what they would do if they were told to come again.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Accepts on every socket that is or will be bound, until the gateway stops.
pub(crate) async fn listen(listeners: Listeners, context: Rc<Context>) {
    let mut changes = listeners.changes();
    let mut stop = context.shared.stop_changes();
    let mut accepting = 0;
    loop {
        let bound: Vec<_> = changes.borrow_and_update().iter().skip(accepting).cloned().collect();
        for listener in bound {
            accepting += 1;
            match listener.try_clone().and_then(TcpListener::from_std) {
                Ok(listener) => {
                    let task = accept(listener, Rc::clone(&context));
                    spawn_local(supervised(context.shared.clone(), task));
                }
                Err(error) => {
                    let line = format!("a listening socket cannot be used: {}", escaped(&error.to_string()));
                    context.shared.outbox.log(Severity::Warning, line);
                }
            }
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            _ = stop.wait_for(Option::is_some) => return,
        }
    }
}

async fn accept(listener: TcpListener, context: Rc<Context>) {
    let mut stop = context.shared.stop_changes();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(Option::is_some) => return,
        };
        match accepted {
            Ok((tcp, from)) => admit(tcp, from.ip(), &context),
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                context.shared.outbox.log_limited("accept", Severity::Warning, || {
                    format!("connections cannot be accepted at the moment: {}", escaped(&error.to_string()))
                });
                // The system's limit is lower than ours: make room as at our own.
                if context.shared.counts.sockets.displace() {
                    Stats::add(&context.shared.stats.displaced_total, 1);
                }
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }
}

fn admit(tcp: TcpStream, address: IpAddr, context: &Rc<Context>) {
    let shared = context.shared.clone();
    let (config, peer) = match shared.tls.mode() {
        Mode::Tls(config) => (Some(config), Peer::secure(address)),
        Mode::Plain | Mode::Undecided => (None, Peer::plain(address)),
    };
    if let Some(permit) = SocketPermit::try_new(&shared.counts, shared.settings().max_sockets(), peer) {
        let task = connection::serve(tcp, config, peer, permit, Rc::clone(context));
        spawn_local(supervised(shared, task));
        return;
    }
    let told = RefusalPermit::try_new(&shared.counts);
    let answer = refused(&shared).into_bytes();
    // Over TLS it could be said after a handshake only, which would cost more than the answer.
    let (Some(told), None) = (told, config) else { return };
    spawn_local(supervised(shared, async move {
        let _told = told;
        tell(Socket::Plain(tcp), &answer).await;
    }));
}

/// The connection was gone before it was accepted (accept(2): "treat them like EAGAIN").
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::Interrupted
            | Kind::HostUnreachable
            | Kind::NetworkDown
            | Kind::NetworkUnreachable
            | Kind::TimedOut
    )
}
