//! Calls that have to be made at the primary, when they come to a standby (C10.5).
//!
//! Calls run READ ONLY on a standby. What writes shows when it is tried, except where it is known before: a
//! logout is written down, and a call that goes on without its caller tells its end as an event.
//!
//! Not for a GET that was READ ONLY from the beginning: it may not write anywhere (C7.4).

use http::header::{LOCATION, SET_COOKIE};
use http::{HeaderValue, Request, StatusCode};
use sse_proto::route::Call;

use super::Admitted;
use crate::auth::cleared_cookie;
use crate::content::problem::Problem;
use crate::settings::Settings;

/// Where a request has to be sent that a standby cannot answer: the same path and query at the primary.
#[derive(Clone)]
pub(super) struct Primary {
    /// `None`: nobody has said where the primary is.
    location: Option<String>,
}

impl Primary {
    pub(super) fn of(request: &Request<()>, settings: &Settings) -> Self {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        Self { location: settings.primary_url.as_ref().map(|url| format!("{url}{target}")) }
    }

    /// The answer: the method and the body stay as they are (RFC 9110 §15.4.8). A stream that has begun has
    /// the address in its last event.
    pub(super) fn problem(self) -> Problem {
        let header = |location: &String| HeaderValue::from_str(location).ok();
        let Some((location, value)) = self.location.and_then(|at| header(&at).map(|value| (at, value)))
        else {
            let detail =
                "This server is a standby, and the call writes. It was not made; send it to the primary.";
            return Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        };
        let detail =
            "This server is a standby, and the call writes. It was not made here; the primary takes it.";
        let problem = Problem::new(StatusCode::TEMPORARY_REDIRECT, detail);
        problem.header(LOCATION, value).member("location", location)
    }
}

impl Admitted<'_> {
    /// Where the call has to be made if it turns out to write. `None`: this is no standby, or the call may
    /// not write anyway.
    pub(super) fn primary_of(&self, call: &Call) -> Option<Primary> {
        self.primary.clone().filter(|_| !call.read_only && !self.is_head())
    }

    /// Refuses what is known to need the primary, before anything of it is read: a logout, and a call that is
    /// to go on without its caller.
    ///
    /// # Errors
    /// The answer, on a standby. Of a logout it clears the cookie, and the session ends on this server.
    pub(super) fn check_place(&self, rule: &Call, goes_on: bool) -> Result<(), Problem> {
        let Some(primary) = &self.primary else { return Ok(()) };
        if !rule.logout && !goes_on {
            return Ok(());
        }
        let Self { asked, settings, shared, .. } = self;
        let problem = primary.clone().problem();
        if !rule.logout || problem.is_failure() {
            return Err(problem);
        }
        // What the browser has of the session is gone with this answer, and perhaps with it what the primary
        // would need to refuse the token: so at least nobody goes on with it here.
        if let Some(login) = asked.login.as_ref().ok().and_then(Option::as_ref) {
            shared.end_session(login);
        }
        self.refuse_cookies();
        Err(match cleared_cookie(&settings.auth, asked.sender.transport) {
            Some(cookie) => problem.header(SET_COOKIE, cookie),
            None => problem,
        })
    }
}
