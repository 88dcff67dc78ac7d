//! The admin port's sockets: bound, accepted, and served within bounds. Small and by itself: the door of the
//! main port is made for ten thousand peers that nobody knows, and stands only while something is served.
//!
//! Not for what a request gets: that is `router`.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Either;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::seats::{Seats, Sitting};
use super::{AdminConfig, Board, router};
use crate::between::outbox::{Severity, escaped};

/// A head must have come whole this long after the connection, or the answer before, else the connection is
/// closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection takes no further request after this long.
const CONNECTION_TIME: Duration = Duration::from_secs(60);

/// How long its last answer has to be taken then, before it is cut.
const LAST_ANSWER: Duration = Duration::from_secs(10);

/// One that watches events goes on, unless it has taken nothing for this long.
const WATCH_STALL: Duration = Duration::from_secs(60);

/// Longest head in bytes. Beyond it hyper answers 431.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// Pause before an address that could not be had is tried again; doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Pause after `accept` has failed, for want of descriptors usually.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Binds every address, for as long as that takes, and serves for ever.
pub(super) async fn serve(board: Arc<Board>, config: AdminConfig) {
    let seats: Rc<Seats> = Rc::default();
    let mut bound: Vec<SocketAddr> = Vec::new();
    let mut pause = FIRST_PAUSE;
    let (mut has_failed, mut has_warned) = (false, false);
    loop {
        let mut failures = Vec::new();
        for address in &config.listen_addresses {
            for place in resolve(address, config.port).await.unwrap_or_else(|error| {
                failures.push(failure(address, &error));
                Vec::new()
            }) {
                if bound.contains(&place) {
                    continue;
                }
                match listen(place) {
                    Ok(listener) => {
                        bound.push(place);
                        spawn_local(accept(listener, Arc::clone(&board), Rc::clone(&seats)));
                    }
                    // A kernel without IPv6.
                    Err(error) if address == "*" && place.is_ipv6() && !is_taken(&error) => {}
                    Err(error) => failures.push(failure(&place.to_string(), &error)),
                }
            }
        }
        if !has_warned && bound.iter().any(|place| !place.ip().to_canonical().is_loopback()) {
            has_warned = true;
            board.outbox.log(
                Severity::Warning,
                "sse.admin_listen_addresses reaches beyond this machine, and the admin port speaks plain HTTP: whoever can read that network reads what is sent, sse.admin_token too"
                    .to_owned(),
            );
        }
        if failures.is_empty() {
            break;
        }
        if !std::mem::replace(&mut has_failed, true) {
            for failure in failures {
                board.outbox.log(Severity::Warning, format!("{failure}; trying again until it works"));
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    let again = if has_failed { " now" } else { "" };
    board.outbox.log(Severity::Log, format!("the admin port {} is listened on{again}", config.port));
    std::future::pending::<()>().await;
}

async fn resolve(address: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if address == "*" {
        let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        return Ok(all.map(|ip| SocketAddr::new(ip, port)).into());
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let mut found: Vec<SocketAddr> = tokio::net::lookup_host((bare, port)).await?.collect();
    found.dedup();
    if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
}

fn listen(place: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(place), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if place.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&place.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

fn failure(address: &str, error: &io::Error) -> String {
    format!(
        "sse.admin_port, sse.admin_listen_addresses: could not listen on {}: {}",
        escaped(address),
        escaped(&error.to_string())
    )
}

async fn accept(listener: TcpListener, board: Arc<Board>, seats: Rc<Seats>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            sleep(PAUSE_AFTER_FAILURE).await;
            continue;
        };
        if let Some(sitting) = seats.take() {
            spawn_local(sit(socket, Arc::clone(&board), sitting));
        }
    }
}

/// Serves a connection until it ends, or another one needs its seat.
async fn sit(socket: TcpStream, board: Arc<Board>, sitting: Sitting) {
    let sitting = Rc::new(sitting);
    tokio::select! {
        () = sitting.left() => {}
        () = converse(socket, board, Rc::clone(&sitting)) => {}
    }
}

/// A failure of a connection is its peer's.
async fn converse(socket: TcpStream, board: Arc<Board>, sitting: Rc<Sitting>) {
    // Of a connection that watches events: when it last took one.
    let watches: Rc<RefCell<Option<Rc<Cell<Instant>>>>> = Rc::default();
    let watching = Rc::clone(&watches);
    let answer = service_fn(move |request| {
        let (board, sitting, watching) = (Arc::clone(&board), Rc::clone(&sitting), Rc::clone(&watching));
        async move {
            sitting.asks();
            let response = router::answer(request, &board).await;
            match response.body() {
                Either::Right(events) => *watching.borrow_mut() = Some(events.taken()),
                Either::Left(_) => sitting.is_answered(),
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(socket), answer)
    );
    if timeout(CONNECTION_TIME, connection.as_mut()).await.is_ok() {
        return;
    }
    connection.as_mut().graceful_shutdown();
    while timeout(LAST_ANSWER, connection.as_mut()).await.is_err() {
        // What watches goes on as long as it takes what comes.
        let taken = watches.borrow().as_ref().map(|taken| taken.get());
        if taken.is_none_or(|taken| taken.elapsed() > WATCH_STALL) {
            return;
        }
    }
}
