//! Which methods can be used where.
//!
//! Not for who may use them: `token`.

use http::header::ALLOW;
use http::{HeaderValue, Method, Request, StatusCode};

use crate::content::problem::Problem;

/// The methods of everything that can only be looked at.
const READ: &str = "GET, HEAD";

/// Whether a request only looks.
///
/// # Errors
/// 405 otherwise.
pub(super) fn reads<B>(request: &Request<B>) -> Result<(), Problem> {
    match *request.method() {
        Method::GET | Method::HEAD => Ok(()),
        _ => {
            let detail = format!("Only {READ} can be used here.");
            let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail);
            Err(problem.header(ALLOW, HeaderValue::from_static(READ)))
        }
    }
}
