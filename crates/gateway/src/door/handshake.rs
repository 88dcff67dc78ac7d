//! A connection of TLS until its handshake is completed: within the time that a first head has, in the place
//! of a socket without a request, which makes room for others.
//!
//! Not for the messages of a handshake (`tls`), nor for what comes after it (`connection`).

use std::io::ErrorKind;
use std::sync::Arc;

use http::StatusCode;
use tokio::net::TcpStream;

use crate::content::problem::Problem;
use crate::door::farewell::{linger, tell};
use crate::door::progress::HEAD_TIMEOUT;
use crate::entry::admission::SocketPermit;
use crate::router::Context;
use crate::stream::socket::{Socket, TlsSocket};
use crate::tls::Config;

/// The first byte of every connection of TLS: a record with a message of the handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// The socket with its handshake completed; `None`: there was none, and the connection is closed.
pub(crate) async fn shake(
    tcp: TcpStream,
    config: Arc<Config>,
    permit: &SocketPermit,
    context: &Context,
) -> Option<Socket> {
    let mut stop = context.shared.stop_changes();
    tokio::select! {
        outcome = tokio::time::timeout(HEAD_TIMEOUT, exchange(tcp, config, context)) => outcome.ok().flatten(),
        () = permit.displaced() => None,
        _ = stop.wait_for(Option::is_some) => None,
    }
}

async fn exchange(tcp: TcpStream, config: Arc<Config>, context: &Context) -> Option<Socket> {
    let mut first = [0];
    if tcp.peek(&mut first).await.ok()? == 0 {
        return None;
    }
    if first[0] != HANDSHAKE {
        let problem = Problem::new(
            StatusCode::BAD_REQUEST,
            "This port speaks TLS, and the request is not encrypted: use https.",
        );
        tell(Socket::Plain(tcp), &problem.into_bytes()).await;
        return None;
    }
    let mut tls = Box::new(TlsSocket::new(tcp, config).ok()?);
    loop {
        tls.readable().await.ok()?;
        // A signature: events go first.
        let turn = context.incoming.give_way().await;
        let received = tls.receive();
        drop(turn);
        match received {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => {
                // The peer is told why, where it is its fault.
                if error.kind() == ErrorKind::InvalidData {
                    linger(Socket::Tls(tls)).await;
                }
                return None;
            }
        }
        tls.send_all().await.ok()?;
        if !tls.is_shaking() {
            return Some(Socket::Tls(tls));
        }
    }
}
