//! `@login`: from the row that a routine answers with to a signed token (C7.5).
//!
//! The columns `scheme`, `status` and `body` say what is to be done, as in NpgsqlRest; all others are claims.
//! A column `hash`, which NpgsqlRest compares with the password, is refused: nothing here compares it, so it
//! would let everybody in.
//!
//! Not for who may issue tokens: whether the routine's owner may was checked when the routes were built.

use std::time::SystemTime;

use http::header::SET_COOKIE;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};
use sse_proto::identity::{Claims, Identity};

use super::answer::{json, text};
use crate::auth::token;
use crate::auth::{AuthSettings, NoSecret, Secret, session_cookie};
use crate::content::body::Body;
use crate::content::problem::Problem;
use crate::entry::peer::Transport;

/// Registered claims (RFC 7519 §4.1), which the server sets itself: a column with such a name is left out.
const REGISTERED: [&str; 6] = ["exp", "iat", "nbf", "iss", "aud", "jti"];

/// What a row that logs somebody in asks for.
#[derive(Debug)]
struct Wish {
    claims: Map<String, Value>,
    is_bearer: bool,
    body: Option<Value>,
}

/// Why nobody is logged in although the routine ran.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Said by the routine: no row, or a `status`.
    Denied(Problem),
    /// A mistake of the routine or of the settings, for the log; the peer gets 500.
    Mistake(&'static str),
}

/// The answer to a login. `row` is its first row as a JSON object, if it had one; `secret` signs.
///
/// # Errors
/// [`Failure`]; each variant as it is described there.
pub(crate) fn answer(
    row: Option<&[u8]>,
    secret: &Secret,
    settings: &AuthSettings,
    transport: Transport,
    now: SystemTime,
) -> Result<Response<Body>, Failure> {
    let Some(row) = row else { return Err(Failure::Denied(denied(StatusCode::UNAUTHORIZED, None))) };
    let Wish { mut claims, is_bearer, body } = read(row)?;
    token::complete(&mut claims, settings, settings.session_lifetime, now)
        .map_err(|_| Failure::Mistake("sse.session_lifetime ends beyond the year 9999"))?;
    // Find now what the next request would be refused for.
    Identity::from_claims(&claims, &settings.claim_names).map_err(|_| {
        Failure::Mistake("its columns for the user's id, name or roles have a type that these cannot have")
    })?;
    let token = token::sign(secret, &claims)
        .map_err(|_| Failure::Mistake("its token would be longer than a token may be"))?;
    if is_bearer {
        return Ok(text(token));
    }
    let cookie = session_cookie(&token, settings.session_lifetime, settings, transport)
        .ok_or(Failure::Mistake("its token is longer than browsers keep in a cookie (4096 bytes)"))?;
    let mut response = match body {
        None => text(String::new()),
        Some(Value::String(body)) => text(body),
        Some(body) => json(body.to_string().into_bytes()),
    };
    response.headers_mut().insert(SET_COOKIE, cookie);
    Ok(response)
}

fn read(row: &[u8]) -> Result<Wish, Failure> {
    let row = std::str::from_utf8(row).ok().and_then(|row| Claims::parse(row).ok());
    let row = row.ok_or(Failure::Mistake("its row is too long, or has a column twice"))?;
    let mut wish = Wish { claims: Map::new(), is_bearer: false, body: None };
    let mut status = StatusCode::OK;
    for (name, value) in row.as_map().iter().filter(|(_, value)| !value.is_null()) {
        match name.to_ascii_lowercase().as_str() {
            "scheme" => {
                wish.is_bearer = value.as_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"));
            }
            "status" => status = read_status(value)?,
            "body" => wish.body = Some(value.clone()),
            "hash" => {
                return Err(Failure::Mistake(
                    "it returns a column \"hash\", which pg_sse does not compare: compare it in SQL, and leave it out",
                ));
            }
            name if REGISTERED.contains(&name) => {}
            _ => drop(wish.claims.insert(name.clone(), value.clone())),
        }
    }
    // Procedures and functions with OUT parameters always return a row. A token without a claim would name
    // nobody, and still pass every bare `@authorize`.
    if status == StatusCode::OK && wish.claims.is_empty() {
        status = StatusCode::UNAUTHORIZED;
    }
    if status != StatusCode::OK {
        return Err(Failure::Denied(denied(status, wish.body)));
    }
    Ok(wish)
}

/// A truth value, or the status of an answer that logs nobody in.
fn read_status(value: &Value) -> Result<StatusCode, Failure> {
    match value {
        Value::Bool(true) => Ok(StatusCode::OK),
        Value::Bool(false) => Ok(StatusCode::UNAUTHORIZED),
        _ => {
            let status = value.as_u64().and_then(|status| u16::try_from(status).ok());
            let status = status.filter(|status| *status == 200 || (400..=599).contains(status));
            status.and_then(|status| StatusCode::from_u16(status).ok()).ok_or(Failure::Mistake(
                "its column \"status\" is neither a truth value, nor 200, nor 400 to 599",
            ))
        }
    }
}

fn denied(status: StatusCode, body: Option<Value>) -> Problem {
    let detail = match body {
        Some(Value::String(body)) => body,
        Some(body) => body.to_string(),
        None if status == StatusCode::UNAUTHORIZED => "No user matches this login.".to_owned(),
        None => "This login is refused.".to_owned(),
    };
    Problem::new(status, detail)
}

impl Failure {
    /// The answer for the peer, and the line for the log if there is one.
    pub(crate) fn told(self) -> (Problem, Option<&'static str>) {
        match self {
            Self::Denied(problem) => (problem, None),
            Self::Mistake(why) => {
                let detail = "The login cannot be used as it is; the server's log says why.";
                (Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail), Some(why))
            }
        }
    }
}

/// 503 with what the administrator can do; no more than the documentation says.
pub(crate) fn no_secret(error: NoSecret) -> Problem {
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
    // It will not come back in seconds.
    problem.header(http::header::RETRY_AFTER, HeaderValue::from_static("60"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;
    use std::time::{Duration, UNIX_EPOCH};

    const NOW: Duration = Duration::from_millis(1_000_250);

    fn settings() -> AuthSettings {
        let jwt_secret = Some(Secret::try_new(*b"0123456789abcdef0123456789abcdef").unwrap());
        AuthSettings { jwt_secret, session_lifetime: Duration::from_secs(60), ..AuthSettings::default() }
    }

    fn log_in(row: &Value, settings: &AuthSettings) -> Result<Response<Body>, Failure> {
        let secret = settings.jwt_secret.as_ref().unwrap();
        answer(Some(row.to_string().as_bytes()), secret, settings, Transport::Plain, UNIX_EPOCH + NOW)
    }

    fn claims(response: &Response<Body>) -> Value {
        let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
        let payload = cookie.split(['.', ';']).nth(1).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
    }

    fn denied(row: &Value) -> u16 {
        match log_in(row, &settings()) {
            Err(Failure::Denied(problem)) => problem.into_response().status().as_u16(),
            _ => panic!("not denied"),
        }
    }

    fn mistake(row: &Value) -> &'static str {
        match log_in(row, &settings()) {
            Err(Failure::Mistake(why)) => why,
            _ => panic!("no mistake"),
        }
    }

    #[test]
    fn columns_become_claims_but_for_those_that_mean_something_else() {
        let row = json!({
            "scheme": "cookies", "status": true, "body": "hello", "exp": 9_999_999_999_u64, "iat": 1, "nbf": 1,
            "iss": "me", "AUD": "you", "jti": "x", "user_id": 42, "user_name": "alice", "user_roles": ["a", "b"],
            "team": {"id": 7}, "nothing": null,
        });
        let response = log_in(&row, &settings()).unwrap();
        let expected = json!({
            "user_id": 42, "user_name": "alice", "user_roles": ["a", "b"], "team": {"id": 7}, "exp": 1060,
            "iat": 1000.25,
        });
        assert_eq!(claims(&response), expected);
        assert_eq!(response.status(), 200);
        let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
        assert!(cookie.ends_with("; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"), "{cookie}");
        let named = AuthSettings {
            jwt_issuer: Some("issuer".to_owned()),
            jwt_audience: Some("audience".to_owned()),
            ..settings()
        };
        let response = log_in(&json!({"user_id": 1}), &named).unwrap();
        assert_eq!(
            (&claims(&response)["iss"], &claims(&response)["aud"]),
            (&json!("issuer"), &json!("audience"))
        );
    }

    #[test]
    fn a_row_can_refuse_and_no_row_does() {
        let secret = settings().jwt_secret.unwrap();
        assert!(matches!(
            answer(None, &secret, &settings(), Transport::Plain, UNIX_EPOCH),
            Err(Failure::Denied(_))
        ));
        for (status, expected) in
            [(json!(false), 401), (json!(401), 401), (json!(403), 403), (json!(599), 599)]
        {
            assert_eq!(denied(&json!({"user_id": 1, "status": status})), expected);
        }
        for status in [json!(200), json!(true), json!(null)] {
            assert!(log_in(&json!({"user_id": 1, "status": status}), &settings()).is_ok());
        }
        // Nor is anybody who has no claim.
        for row in
            [json!({}), json!({"user_id": null}), json!({"scheme": "cookies", "user_id": null, "exp": 1})]
        {
            assert_eq!(denied(&row), 401, "{row}");
        }
        // Nobody is logged in by a status that we do not understand.
        for status in [json!("t"), json!(0), json!(201), json!(302), json!(600), json!(-1), json!(200.5)] {
            mistake(&json!({"user_id": 1, "status": status}));
        }
    }

    #[test]
    fn what_the_next_request_would_be_refused_for_is_a_mistake_now() {
        mistake(&json!({"user_id": 1.5}));
        mistake(&json!({"user_id": 1, "user_name": 7}));
        mistake(&json!({"user_id": 1, "roles": {"a": 1}}));
        mistake(&json!({"user_id": "a\u{0}b"}));
        mistake(&json!({"user_id": 1, "much": "x".repeat(3500)}));
        mistake(&json!({"user_id": 1, "more": "x".repeat(10_000)}));
        mistake(&json!([1]));
    }
}
