//! What hyper asks for answers over HTTP/2: each request is brought into the form that one over HTTP/1.1 has,
//! counted, and answered by the router.
//!
//! Not for the connection: that is the parent.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::{Body as _, Incoming};
use hyper::service::Service;

use super::body::{Source, WatchedBody};
use super::io::Traffic;
use super::streams::{Streams, Watch};
use crate::content::body::Body;
use crate::content::problem::Problem;
use crate::entry::admission::{SharePermit, SocketPermit};
use crate::entry::host::{HTTPS_PORT, is_same_host};
use crate::entry::peer::Peer;
use crate::router::{self, Context};
use crate::stream::answer::{Answer, StreamAnswer};
use crate::stream::pipe::{PipeReader, pipe};
use crate::stream::subscribe::Newcomer;
use crate::stream::wire::Wire;

/// Shared with the task that drives the connection.
#[derive(Clone)]
pub(super) struct Requests {
    pub(super) peer: Peer,
    pub(super) context: Rc<Context>,
    pub(super) permit: Rc<SocketPermit>,
    pub(super) streams: Rc<Streams>,
    pub(super) traffic: Rc<Traffic>,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<WatchedBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<WatchedBody>, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let watch = self.streams.begin();
        let is_closing = self.streams.have_begun() && !self.permit.begin_streams();
        let (peer, context) = (self.peer, Rc::clone(&self.context));
        let traffic = Rc::clone(&self.traffic);
        Box::pin(async move {
            let answer = answer(request, peer, &context, &watch, is_closing).await;
            let (head, source) = answer.into_parts();
            let body = WatchedBody { source, watch, traffic };
            Ok(Response::from_parts(head, body))
        })
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: Peer,
    context: &Context,
    watch: &Watch,
    is_closing: bool,
) -> Response<Source> {
    let settings = context.shared.settings();
    let is_head = request.method() == Method::HEAD;
    let (limit, all) = (router::max_busy(peer, &settings), settings.max_sockets());
    let permit = SharePermit::try_new(&context.shared.counts, peer.address, limit, all);
    let answer = match (as_http_1(request), permit) {
        (Err(problem), _) => Answer::Response(problem.into_response()),
        (Ok(_), None) => Answer::Response(router::refused_busy(&context.shared).into_response()),
        (Ok(_), Some(_)) if is_closing => {
            Answer::Response(router::refused_busy(&context.shared).into_response())
        }
        (Ok(request), Some(permit)) => {
            watch.request.replace(Some(permit));
            router::answer(request, peer, context).await
        }
    };
    match answer {
        Answer::Response(mut response) => {
            // The connection goes on: what is left of a body is reset with its stream.
            response.headers_mut().remove(CONNECTION);
            watch.is_paced.set(true);
            if is_head {
                drop_body(&mut response);
            }
            response.map(Source::answer)
        }
        Answer::Stream(mut stream) => {
            // It is counted as a stream from now on.
            watch.request.take();
            let headers = std::mem::take(&mut stream.headers);
            let mut response = Response::new(Source::stream(open(stream, watch, context)));
            *response.headers_mut() = headers;
            response
        }
    }
}

/// What answers HEAD has the length of a body, and none. Over HTTP/1.1 hyper sees to it.
fn drop_body(response: &mut Response<Body>) {
    let body = std::mem::replace(response.body_mut(), Body::EMPTY);
    if !body.is_end_stream()
        && let Some(length) = body.size_hint().exact()
    {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
}

/// Leaves a stream to the slab. The end for its body is given back.
fn open(answer: StreamAnswer, watch: &Watch, context: &Context) -> PipeReader {
    let (writer, reader) = pipe(Rc::clone(&watch.fate));
    context.incoming.push(Newcomer {
        wire: Wire::Shared(writer),
        framing: answer.framing,
        head: Vec::new(),
        subscription: answer.subscription,
        last_event_id: answer.last_event_id,
        stream_permit: answer.stream_permit,
        open_socket: None,
        call: answer.call,
    });
    reader
}

/// The request as HTTP/1.1 would have brought it: `:authority` is its `Host`, the target is a path, and there
/// is one `Cookie`, which HTTP/2 may cut in pieces (RFC 9113 §8.2.3).
///
/// # Errors
/// `Host` says something else than `:authority` (RFC 9113 §8.3.1), or more than one thing; CONNECT.
fn as_http_1<B>(request: Request<B>) -> Result<Request<B>, Problem> {
    let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, detail);
    if request.method() == Method::CONNECT {
        return Err(bad("There is nothing to connect to."));
    }
    let (mut head, body) = request.into_parts();
    if let Some(authority) = head.uri.authority() {
        let authority = authority.as_str();
        let mut hosts = head.headers.get_all(HOST).iter();
        let is_same = |host: &HeaderValue| {
            host.to_str().is_ok_and(|host| host == authority || is_same_host(host, authority, HTTPS_PORT))
        };
        if !hosts.next().is_none_or(is_same) || hosts.next().is_some() {
            return Err(bad("The request has more than one Host."));
        }
        let host = HeaderValue::from_str(authority).map_err(|_| bad("The request has no valid Host."))?;
        head.headers.insert(HOST, host);
    }
    let target = head.uri.path_and_query().cloned();
    head.uri = target.map_or_else(|| Uri::from_static("/"), Uri::from);
    let cookies: Vec<&[u8]> = head.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // It consists of valid ones.
    if cookies.len() > 1
        && let Ok(cookie) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        head.headers.insert(COOKIE, cookie);
    }
    Ok(Request::from_parts(head, body))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn request(uri: &str, fields: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn authority_is_the_host_and_cookies_are_one() {
        let fields = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")];
        let request = as_http_1(request("https://app.example:8443/api/x?y=z", &fields)).unwrap();
        assert_eq!(request.uri(), "/api/x?y=z");
        assert_eq!(request.headers()[HOST], "app.example:8443");
        let cookies: Vec<_> = request.headers().get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }
}
