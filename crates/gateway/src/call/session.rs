//! Calls that begin a session and calls that end one (C7.5): `@login` and `@logout`.
//!
//! Not for the token of a login: that is `login`.

use std::time::{Instant, SystemTime};

use http::header::{RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, Response, StatusCode};
use sse_proto::call::Outcome;
use sse_proto::route::Call;

use crate::auth::{Secret, Verified, cleared_cookie};
use crate::between::outbox::{Severity, escaped};
use crate::call::run::Ran;
use crate::call::{Admitted, login};
use crate::content::body::Body;
use crate::content::problem::Problem;

impl Admitted<'_> {
    /// The same for a login. What came of it is told to nobody who has failed too often meanwhile: of many
    /// guesses at a time not more are answered than of one at a time.
    pub(super) fn logged_in(&self, ran: Ran<'_>, secret: &Secret) -> Result<Response<Body>, Problem> {
        self.check_failures()?;
        let answer = match ran.outcome {
            Outcome::Done { rows, ref body, is_null } => {
                let row = Some(&**body).filter(|_| rows > 0 && !is_null);
                self.log_in(ran.call, row, secret)
            }
            Outcome::Failed { .. } => self.ran(ran),
        };
        if let (Err(problem), Some(address)) = (&answer, self.asked.sender.counted_address())
            && problem.is_unauthenticated()
        {
            self.shared.login_failures.count(address, Instant::now());
        }
        answer
    }

    /// 429 after too many failed logins from this address.
    pub(super) fn check_failures(&self) -> Result<(), Problem> {
        let limit = self.settings.login_failures;
        let Some(address) = self.asked.sender.counted_address().filter(|_| limit > 0) else { return Ok(()) };
        self.shared.login_failures.check(address, limit, Instant::now()).map_err(|wait| {
            self.shared.outbox.log_limited("login failures", Severity::Log, || {
                format!("{address} has had {limit} failed logins within a minute (sse.login_failures): further ones are refused")
            });
            let problem = Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many logins from this address have failed; try again later.",
            );
            problem.header(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1))
        })
    }

    fn log_in(&self, call: &Call, row: Option<&[u8]>, secret: &Secret) -> Result<Response<Body>, Problem> {
        let Self { asked, settings, shared, .. } = self;
        let outcome = login::answer(row, secret, &settings.auth, asked.sender.transport, SystemTime::now());
        if outcome.as_ref().is_ok_and(|response| response.headers().contains_key(SET_COOKIE)) {
            self.refuse_cookies();
        }
        outcome.map_err(|failure| {
            let (problem, mistake) = failure.told();
            if let Some(mistake) = mistake {
                shared.outbox.log_limited("login", Severity::Warning, || {
                    let name = escaped(&format!("{}.{}", call.schema, call.name));
                    format!("the login {name} is answered with 500: {mistake}")
                });
            }
            problem
        })
    }

    /// Ends the sessions of all tokens in the request's cookies: the answer sets another cookie, or clears
    /// it. Also that of a cookie planted beside the right one, which would compete with the new cookie.
    pub(super) fn refuse_cookies(&self) {
        let Self { asked, settings, shared, .. } = self;
        let (headers, transport) = (asked.request.headers(), asked.sender.transport);
        let cookies = shared.auth.cookies(headers, &settings.auth, transport, SystemTime::now());
        cookies.iter().for_each(|session| shared.end_session(session));
    }

    /// Ends the session of the call's token, wherever the token is kept.
    pub(super) fn log_out(&self, login: Option<&Verified>, response: &mut Response<Body>) {
        let Self { asked, settings, shared, .. } = self;
        if let Some(login) = login {
            shared.end_session(login);
        }
        self.refuse_cookies();
        if let Some(cookie) = cleared_cookie(&settings.auth, asked.sender.transport) {
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
    }
}
