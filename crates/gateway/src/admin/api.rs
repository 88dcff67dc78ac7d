//! `/api/…`: what the inspector shows, as JSON (C8.2). docs/inspector-api.md has the members.
//!
//! All of it needs the token, which `router` has looked at before. Every list is bounded, says how many
//! there are, and begins with the most interesting; a URL is its path alone. What is asked of the runtime
//! threads is asked by one request at a time.
//!
//! Not for what it looks like: that is the page.

mod calls;
mod endpoints;
mod events;
mod json;
mod overview;
mod subscribers;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::Board;
use super::methods::reads;
use crate::content::body::Body;
use crate::content::problem::Problem;
use crate::shared::Shared;
pub(super) use events::Events;
pub(super) use events::answer as watch;
use json::Answers;

/// What the API keeps between requests.
#[derive(Default)]
pub(super) struct Api {
    /// Memory of answers.
    answers: Answers,
    /// Whoever holds it may ask the runtime threads.
    turn: tokio::sync::Mutex<()>,
}

/// What `path`, which begins after `/api/`, is answered with.
///
/// # Errors
/// The problem that is answered instead.
pub(super) async fn answer(
    path: &str,
    request: &Request<Incoming>,
    board: &Arc<Board>,
) -> Result<Response<Body>, Problem> {
    if let Some(id) = path.strip_prefix("subscribers/") {
        return match *request.method() {
            Method::DELETE => subscribers::end(id, board).await,
            _ => Err(Problem::method_not_allowed("DELETE")),
        };
    }
    if path == "events" {
        // A GET is answered by `watch`.
        return Err(Problem::method_not_allowed("GET"));
    }
    if !matches!(path, "overview" | "endpoints" | "subscribers" | "calls") {
        return Err(Problem::not_found());
    }
    reads(request)?;
    match path {
        "overview" => overview::answer(board).await,
        "endpoints" => endpoints::answer(board).await,
        "calls" => calls::answer(board),
        _ => subscribers::answer(board).await,
    }
}

/// The gateway that is served now.
///
/// # Errors
/// 503 when there is none.
fn gateway(board: &Board) -> Result<Arc<Shared>, Problem> {
    board.gateway().ok_or_else(|| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Nothing is served: see /api/overview and /readyz.")
    })
}

/// Unix seconds.
fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
