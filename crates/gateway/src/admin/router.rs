//! What a request of the admin port gets.
//!
//! `/livez`, `/readyz`, `/metrics` and the files of the inspector's page hold nothing that is somebody's own
//! and need no token, since load balancers, scrapers and a browser that opens a page have none; everything
//! else needs it, also what there is not. No answer may be read by pages of other origins: there is no CORS
//! here.
//!
//! Not for what is in the answers: `ready`, `metrics`, `inspector`, `api`.

use std::sync::Arc;

use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Either;
use hyper::body::Incoming;

use super::methods::reads;
use super::token::Given;
use super::{Board, api, inspector, metrics, names};
use crate::content::body::Body;
use crate::content::problem::Problem;

/// A page of another origin may not even have the bytes that it cannot read, as an image or a script.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A body that is whole, or of events that are still to come.
pub(super) type AdminBody = Either<Body, api::Events>;

/// Answers one request.
pub(super) async fn answer(request: Request<Incoming>, board: &Arc<Board>) -> Response<AdminBody> {
    let mut response = found(request, board).await;
    response.headers_mut().insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    response
}

async fn found(request: Request<Incoming>, board: &Arc<Board>) -> Response<AdminBody> {
    if request.uri().path() == "/api/events" && request.method() == Method::GET {
        let answer = watch(&request, board).await;
        return answer.unwrap_or_else(|problem| problem.into_response().map(Either::Left));
    }
    let is_head = request.method() == Method::HEAD;
    let mut response = route(&request, board).await.unwrap_or_else(Problem::into_response);
    if is_head {
        let length = hyper::body::Body::size_hint(response.body()).exact().unwrap_or(0);
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        *response.body_mut() = Body::EMPTY;
    }
    response.map(Either::Left)
}

async fn watch(request: &Request<Incoming>, board: &Arc<Board>) -> Result<Response<AdminBody>, Problem> {
    check_name(request, board)?;
    let given = admit(request, board).await?;
    api::watch(board, given).map(|response| response.map(Either::Right))
}

async fn route(request: &Request<Incoming>, board: &Arc<Board>) -> Result<Response<Body>, Problem> {
    check_name(request, board)?;
    let path = request.uri().path();
    match path {
        "/livez" => {
            reads(request)?;
            Ok(text(StatusCode::OK, "text/plain; charset=utf-8", b"alive\n".to_vec()))
        }
        "/readyz" => {
            reads(request)?;
            let report = board.readiness.report(board).await;
            let status = if report.is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            Ok(text(status, "application/json", report.body.clone().into_bytes()))
        }
        "/metrics" => {
            reads(request)?;
            let format = metrics::Format::of(request.headers().get_all(ACCEPT));
            let scrape = metrics::Scrape::take(board);
            let mut response =
                text(StatusCode::OK, format.content_type(), scrape.encode(format).into_bytes());
            response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
            Ok(response)
        }
        _ => {
            if let Some(file) = inspector::file(path) {
                return reads(request).map(|()| file);
            }
            admit(request, board).await?;
            match path.strip_prefix("/api/") {
                Some(path) => api::answer(path, request, board).await,
                None => Err(Problem::not_found()),
            }
        }
    }
}

fn check_name(request: &Request<Incoming>, board: &Board) -> Result<(), Problem> {
    let server_names = board.settings.read().server_names.clone();
    names::check(request, &server_names)
}

/// The token of a request that has it.
async fn admit(request: &Request<Incoming>, board: &Board) -> Result<Given, Problem> {
    board.tokens.admits(request.headers(), &board.outbox).await.ok_or_else(|| {
        let detail = "This needs the token of the admin port (sse.admin_token).";
        Problem::new(StatusCode::UNAUTHORIZED, detail)
    })
}

fn text(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
