//! One connection over HTTP/2: hyper reads its frames and answers its requests, each in a task of its own,
//! and the slab writes its streams, each through a pipe (`stream/pipe`).
//!
//! What an address or a peer may do over HTTP/1.1 it may do here, stream by stream: `requests` counts and
//! times them. What belongs to the connection as a whole is limited here: how long it may be without a
//! stream, how long it may take nothing, how fast frames may come that bring nothing (`frames`).
//!
//! Not for what a request gets: that is `router`. HTTP/2 is spoken over TLS alone, where the handshake says
//! so; there is no upgrade, no push, and priorities are not looked at.

mod body;
pub(crate) mod frames;
mod io;
mod requests;
mod streams;

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::server::conn::http2;
use hyper_util::rt::TokioTimer;
use tokio::sync::watch;

use crate::door::farewell::linger;
use crate::door::progress::HEAD_TIMEOUT;
use crate::entry::admission::SocketPermit;
use crate::entry::peer::Peer;
use crate::router::{Context, MAX_HEAD_BYTES};
use crate::stats::Stats;
use crate::stream::pipe::PIECE_BYTES;
use crate::stream::socket::Socket;
use io::{Io, Traffic};
use requests::Requests;
use streams::{Streams, Tasks};

/// Streams of a connection at a time, of every kind: a browser needs one for each EventSource of all its
/// tabs. Those beyond it wait at the peer, and are refused if they do not.
const MAX_STREAMS: u32 = 100;

/// Bytes of bodies that may be on their way to us, of one request and of a connection: what HTTP/2 begins
/// with. Bodies are read as they come, so this bounds what waits while the thread does something else.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 128 << 10;

/// Requests that the peer has taken back before they were looked at (rapid reset, CVE-2023-44487). Beyond it
/// the connection is closed.
const MAX_RESETS_UNSEEN: usize = 20;

/// Streams that we had to reset because of something that the peer did wrong, among them those beyond
/// [`MAX_STREAMS`], in the life of a connection (CVE-2025-8671). Beyond it the connection is closed.
const MAX_FAULTS: usize = 256;

/// How often a peer is asked whether it is still there, and how long it may take to say so. Beyond that the
/// connection is closed: its streams may be silent for hours.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How often the task looks whether something has taken too long.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a peer that has been told that the connection is not needed any more, and has no stream, may say
/// nothing before we close. What is written goes on to it then, unless it says something again: its system
/// gets a reset for that. So one that still takes an answer, and says so now and then, has up to
/// `sse.write_timeout` for it.
const LEAVE_TIME: Duration = Duration::from_secs(1);

/// When the gateway stops, streams end first, and this much later the connection is told to go: to some
/// clients (Python's h2) it is over at that word, together with whatever they read in the same moment.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How a connection ends.
enum Ending {
    /// Everything is said and written, or the connection has failed.
    Done,
    /// Something has taken too long, or it makes room for another one.
    Cut,
}

/// Serves a connection whose handshake chose HTTP/2 until it is closed.
pub(crate) async fn serve(
    socket: Socket,
    accepted: Instant,
    peer: Peer,
    permit: SocketPermit,
    context: Rc<Context>,
) {
    let socket = Rc::new(RefCell::new(socket));
    let (traffic, streams) = (Rc::new(Traffic::new(accepted)), Rc::new(Streams::new(accepted)));
    let permit = Rc::new(permit);
    let tasks = Tasks { streams: Rc::clone(&streams), shared: context.shared.clone() };
    let requests = Requests {
        peer,
        context: Rc::clone(&context),
        permit: Rc::clone(&permit),
        streams: Rc::clone(&streams),
        traffic: Rc::clone(&traffic),
    };
    let io = Io { socket: Rc::clone(&socket), traffic: Rc::clone(&traffic) };
    let mut connection = Box::pin(builder(tasks).serve_connection(io, requests));
    let ending = drive(connection.as_mut(), &permit, &streams, &traffic, &context).await;
    // Its streams end with it.
    drop(connection);
    let Some(socket) = Rc::into_inner(socket).map(RefCell::into_inner) else { return };
    match ending {
        Ending::Done => linger(socket).await,
        // A failure leaves an ordinary close.
        Ending::Cut => drop(socket.reset_on_close()),
    }
}

fn builder(tasks: Tasks) -> http2::Builder<Tasks> {
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        // By default it grows to 1.3 MB for one stream whose reader stalls.
        .max_send_buf_size(PIECE_BYTES)
        // Twice the limit, so that the router sees every head that is only just too long. HTTP/2 counts 32
        // bytes for each field, the limit four.
        .max_header_list_size(2 * MAX_HEAD_BYTES as u32)
        .max_pending_accept_reset_streams(MAX_RESETS_UNSEEN)
        .max_local_error_reset_streams(MAX_FAULTS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Returns when the gateway stops and the connection has no stream any more, and [`LAST_WORDS`] later.
async fn stopped(stop: &mut watch::Receiver<Option<Instant>>, streams: &Streams) {
    // Never an error: the sender outlives all connections.
    let _ = stop.wait_for(Option::is_some).await;
    streams.have_rest().await;
    tokio::time::sleep(LAST_WORDS).await;
}

type Connection = http2::Connection<Io, Requests, Tasks>;

/// Lets hyper read and answer until the connection ends in one of the ways of [`Ending`].
async fn drive(
    mut connection: Pin<&mut Connection>,
    permit: &SocketPermit,
    streams: &Streams,
    traffic: &Traffic,
    context: &Context,
) -> Ending {
    let mut stop = context.shared.stop_changes();
    // When the peer was told that the connection is not needed any more.
    let mut leaving = None;
    let mut check = tokio::time::interval(CHECK_INTERVAL);
    loop {
        let driven = poll_fn(|cx| {
            traffic.begin_turn();
            let polled = connection.as_mut().poll(cx);
            if streams.have_ended() {
                permit.end_streams();
            }
            match polled {
                Poll::Ready(_) if traffic.is_flooded() => Poll::Ready(Ending::Cut),
                Poll::Ready(_) => Poll::Ready(Ending::Done),
                Poll::Pending => Poll::Pending,
            }
        });
        tokio::select! {
            ending = driven => return ending,
            () = stopped(&mut stop, streams), if leaving.is_none() => {
                leaving = Some(Instant::now());
                connection.as_mut().graceful_shutdown();
            }
            () = permit.displaced() => return Ending::Cut,
            _ = check.tick() => {
                let settings = context.shared.settings();
                let now = Instant::now();
                if traffic.is_overdue(now, settings.write_timeout) {
                    return Ending::Cut;
                }
                let cut = streams.cut_overdue(now, settings.write_timeout);
                Stats::add(&context.shared.stats.write_timeouts_total, cut);
                let Some(since) = streams.rests_since() else { continue };
                match leaving {
                    None => {
                        let limit = if streams.has_served() { settings.idle_timeout } else { HEAD_TIMEOUT };
                        if now.saturating_duration_since(since) >= limit {
                            leaving = Some(now);
                            connection.as_mut().graceful_shutdown();
                        }
                    }
                    Some(told) => {
                        let passed = |since| now.saturating_duration_since(since);
                        let told = told.max(since);
                        let is_silent = passed(told.max(traffic.heard_at())) >= LEAVE_TIME;
                        if is_silent && !traffic.is_blocked() || passed(told) >= settings.write_timeout {
                            return Ending::Done;
                        }
                    }
                }
            }
        }
    }
}
