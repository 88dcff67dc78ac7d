//! One connection while hyper has it: reads heads, answers ordinary requests, and hands the socket to the
//! slab when a request is to be answered with a stream.
//!
//! How the socket is taken: [`Requests`] puts the stream's beginning into `handover` and its answer stays
//! pending for ever. The task sees the handover, takes hyper's connection apart, and drops everything but the
//! socket, the pending answer included.
//!
//! Not for what a request gets: that is `router`.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::{Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use tokio::net::TcpStream;

use crate::content::body::Body;
use crate::content::problem::unreadable;
use crate::door::farewell::linger;
use crate::door::handshake;
use crate::door::head_io::HeadIo;
use crate::door::http2;
use crate::door::progress::{Overdue, Progress};
use crate::entry::admission::SocketPermit;
use crate::entry::peer::Peer;
use crate::router::{self, Context, MAX_HEAD_BYTES};
use crate::stream::answer::{Answer, StreamAnswer, head};
use crate::stream::socket::Socket;
use crate::stream::subscribe::Newcomer;
use crate::stream::wire::Wire;
use crate::tls::Config;

/// How often the task looks whether something has taken too long, or the peer has gone.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How a connection ends.
enum Ending {
    /// Its last answer is written, or it has failed.
    Done,
    /// Its request is a stream.
    Stream,
    /// Something has taken too long.
    Overdue(Overdue),
    /// It is closed to make room for another one.
    Displaced,
}

/// What hyper asks for answers. Its parts are shared with the task that drives the connection.
#[derive(Clone)]
struct Requests {
    peer: Peer,
    context: Rc<Context>,
    permit: Rc<SocketPermit>,
    progress: Rc<Progress>,
    /// Filled by the request that is to become a stream.
    handover: Rc<RefCell<Option<StreamAnswer>>>,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let requests = self.clone();
        Box::pin(async move { Ok(requests.answer(request).await) })
    }
}

impl Requests {
    /// The answer to one request. That of a stream never comes: the connection is taken away from hyper
    /// instead.
    async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        let has_body = !request.body().is_end_stream();
        self.progress.begin_request(request.version());
        let max_busy = router::max_busy(self.peer, &self.context.shared.settings());
        let answer = if self.permit.begin_request(max_busy) {
            router::answer(request, self.peer, &self.context).await
        } else {
            Answer::Response(router::refused_busy(&self.context.shared).closing().into_response())
        };
        match answer {
            Answer::Response(response) => {
                self.progress.begin_answer(has_body, Instant::now());
                response
            }
            Answer::Stream(stream) => {
                *self.handover.borrow_mut() = Some(stream);
                pending().await
            }
        }
    }
}

/// Serves a connection until it is closed or has become a stream. With a configuration it speaks TLS.
pub(crate) async fn serve(
    tcp: TcpStream,
    config: Option<Arc<Config>>,
    peer: Peer,
    permit: SocketPermit,
    context: Rc<Context>,
) {
    let _busy = context.busy.begin();
    let accepted = Instant::now();
    let socket = match config {
        None => Socket::Plain(tcp),
        Some(config) => {
            // Boxed, because a task is as large as its largest phase for as long as it lives.
            match Box::pin(handshake::shake(tcp, config, &permit, &context)).await {
                Some(socket) => socket,
                None => return,
            }
        }
    };
    if socket.is_http2() {
        return Box::pin(http2::serve(socket, accepted, peer, permit, context)).await;
    }
    let progress = Rc::new(Progress::new(accepted));
    let requests = Requests { peer, context, permit: Rc::new(permit), progress, handover: Rc::default() };
    let mut connection = http1::Builder::new()
        // Heads, pauses and answers are timed here, because hyper takes the pause between two requests for a
        // head. A peer that has closed its sending side gets its answer.
        .header_read_timeout(None)
        .half_close(true)
        // Twice the limit, so that the router sees every head that is only just too long.
        .max_buf_size(2 * MAX_HEAD_BYTES)
        .serve_connection(HeadIo::new(socket, Rc::clone(&requests.progress)), requests.clone());
    let ending = drive(&mut connection, &requests).await;
    let mut socket = connection.into_parts().io.into_socket();
    let Requests { context, permit, handover, .. } = requests;
    match (ending, handover.take()) {
        (Ending::Stream, Some(answer)) => {
            // The connection had the others, and has gone.
            let Some(permit) = Rc::into_inner(permit) else { return };
            let Ok(socket) = socket.into_stream() else { return };
            context.incoming.push(Newcomer {
                wire: Wire::Own(socket),
                framing: answer.framing,
                head: head(answer.framing, answer.headers),
                subscription: answer.subscription,
                last_event_id: answer.last_event_id,
                stream_permit: answer.stream_permit,
                call: answer.call,
                open_socket: Some(permit.become_stream()),
            });
        }
        (Ending::Overdue(Overdue::Answer) | Ending::Displaced, _) => {}
        (Ending::Overdue(Overdue::Head), _) => {
            // The peer has taken all earlier answers, so this one fits into the socket's buffer.
            let _ = socket.try_write(&unreadable(StatusCode::REQUEST_TIMEOUT).into_bytes());
            linger(socket).await;
        }
        // Errors of a connection are the peer's; hyper has answered what could be answered.
        _ => linger(socket).await,
    }
}

/// Lets hyper read and answer requests until the connection ends in one of the ways of [`Ending`].
async fn drive(connection: &mut http1::Connection<HeadIo, Requests>, requests: &Requests) -> Ending {
    let Requests { context, permit, progress, handover, .. } = requests;
    let mut stop = context.shared.stop_changes();
    let mut is_stopping = false;
    let mut check = tokio::time::interval(CHECK_INTERVAL);
    loop {
        let driven = poll_fn(|cx| match connection.poll_without_shutdown(cx) {
            Poll::Ready(_) => Poll::Ready(Ending::Done),
            Poll::Pending if handover.borrow().is_some() => Poll::Ready(Ending::Stream),
            Poll::Pending => {
                // Before that the peer is in the middle of a request or an answer.
                if progress.is_at_rest() {
                    permit.end_request();
                }
                Poll::Pending
            }
        });
        tokio::select! {
            ending = driven => return ending,
            _ = stop.wait_for(Option::is_some), if !is_stopping => {
                is_stopping = true;
                Pin::new(&mut *connection).graceful_shutdown();
            }
            () = permit.displaced() => return Ending::Displaced,
            _ = check.tick() => {
                let settings = context.shared.settings();
                let overdue = progress.overdue(Instant::now(), settings.write_timeout, settings.idle_timeout);
                if let Some(overdue) = overdue {
                    return Ending::Overdue(overdue);
                }
            }
        }
    }
}
