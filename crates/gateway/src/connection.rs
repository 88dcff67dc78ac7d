//! One connection while hyper has it: reads heads, answers ordinary requests, and hands the socket to the slab when a
//! request is to be answered with a stream.
//!
//! How the socket is taken: the service puts the stream's beginning into `handover` and stays pending for ever; the
//! task sees it, takes hyper's connection apart and drops everything but the socket, service future included.
//!
//! Not for what a request gets: that is `router`.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::net::{IpAddr, Shutdown};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpStream;

use crate::admission::Connection;
use crate::body::Body;
use crate::head_io::{HeadIo, Progress};
use crate::problem::unreadable;
use crate::router::{self, Answer, Context, MAX_HEAD_BYTES, StreamAnswer};
use crate::subscribe::Newcomer;

/// A head that has not arrived whole after so long is answered with 408; a connection that has been idle for so long is
/// closed. Bounds what a peer that sends a byte now and then can hold.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How often it is looked whether an ordinary answer has got stuck.
const STALL_CHECK: Duration = Duration::from_secs(1);

/// How long and how much is read from a peer after the last answer, so that closing does not destroy the answer on its
/// way (RFC 9112 §9.6).
const LINGER: (Duration, usize) = (Duration::from_secs(1), 256 << 10);

type ServiceFuture = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>>>>;

/// Serves a connection until it is closed or has become a stream.
pub(crate) async fn serve(stream: TcpStream, peer: IpAddr, permit: Connection, context: Rc<Context>) {
    let _busy = context.busy.begin();
    let handover: Rc<RefCell<Option<StreamAnswer>>> = Rc::default();
    let progress: Rc<Progress> = Rc::default();
    let service = {
        let (handover, context) = (Rc::clone(&handover), Rc::clone(&context));
        let progress = Rc::clone(&progress);
        service_fn(move |request: Request<Incoming>| {
            let (handover, context) = (Rc::clone(&handover), Rc::clone(&context));
            let progress = Rc::clone(&progress);
            let answer: ServiceFuture = Box::pin(async move {
                let has_body = !request.body().is_end_stream();
                match router::answer(request, peer, &context).await {
                    Answer::Response(response) => {
                        if has_body {
                            progress.end_body();
                        }
                        Ok(response)
                    }
                    Answer::Stream(stream) => {
                        *handover.borrow_mut() = Some(stream);
                        pending().await
                    }
                }
            });
            answer
        })
    };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        // Twice the limit, so that the router sees every head that is only just too long.
        .max_buf_size(2 * MAX_HEAD_BYTES)
        .serve_connection(HeadIo::new(stream, Rc::clone(&progress)), service);
    let mut stop = context.shared.stop_changes();
    let mut stopping = false;
    let mut stall_check = tokio::time::interval(STALL_CHECK);
    let outcome = loop {
        let driven = poll_fn(|cx| match connection.poll_without_shutdown(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if handover.borrow().is_some() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        tokio::select! {
            outcome = driven => break outcome,
            _ = stop.wait_for(Option::is_some), if !stopping => {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            _ = stall_check.tick() => {
                let timeout = context.shared.settings().write_timeout;
                if progress.stalled_since.get().is_some_and(|since| since.elapsed() >= timeout) {
                    return;
                }
            }
        }
    };
    let socket = connection.into_parts().io.into_stream();
    match (outcome, handover.take()) {
        (None, Some(answer)) => context.incoming.push(Newcomer {
            socket,
            framing: answer.framing,
            head: answer.head,
            subscription: answer.subscription,
            last_event_id: answer.last_event_id,
            subscriber: answer.subscriber,
            connection: permit,
        }),
        (Some(Err(error)), _) if error.is_timeout() && progress.inside_head.get() => {
            // Hyper says nothing here. Nothing else was written, so there is room for this in any socket.
            let _ = socket.try_write(&unreadable(StatusCode::REQUEST_TIMEOUT).into_bytes());
            linger(socket).await;
        }
        // Errors of a connection are the peer's; hyper has answered what could be answered.
        _ => linger(socket).await,
    }
}

/// Closes for writing, and for reading when the peer has closed, or soon after.
pub(crate) async fn linger(socket: TcpStream) {
    if socket2::SockRef::from(&socket).shutdown(Shutdown::Write).is_err() {
        return;
    }
    let drained = async {
        let mut rest = LINGER.1;
        let mut space = [0; 4096];
        while rest > 0 && socket.readable().await.is_ok() {
            match socket.try_read(&mut space) {
                Ok(0) => return,
                Ok(n) => rest = rest.saturating_sub(n),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    let _ = tokio::time::timeout(LINGER.0, drained).await;
}
