//! `sse.issue_token` as SQL calls it.
//!
//! Not for making the token: `tokens/issue.rs`.

mod issue;

use std::time::Duration;

use pgrx::datum::{Array, Interval};
use pgrx::prelude::*;
use sse_gateway::token::TokenError;

use crate::guc;
use crate::pg::text::{for_message, from_server};

/// A token for a subscriber (C4.7), signed with `sse.jwt_secret` or the secret of `sse.jwt_secret_file`.
#[pg_extern(sql = false)]
fn issue_token(
    user_id: Option<&[u8]>,
    user_name: Option<&[u8]>,
    roles: Option<Array<&[u8]>>,
    lifetime: Option<Interval>,
) -> Vec<u8> {
    let roles: Vec<String> =
        roles.map(|roles| roles.iter().flatten().map(from_server).collect()).unwrap_or_default();
    let wanted = issue::Wanted {
        user_id: user_id.map(from_server),
        user_name: user_name.map(from_server),
        roles,
        lifetime: lifetime.map_or_else(|| guc::SESSION_LIFETIME.duration(), |interval| seconds_of(&interval)),
    };
    match issue::issue(&wanted) {
        Ok(token) => token.into_bytes(),
        Err(error) => refuse_token(&error),
    }
}

/// Months count as thirty days, nearly as Postgres' own `extract(epoch from interval)` has them.
fn seconds_of(interval: &Interval) -> Duration {
    let days = i128::from(interval.months()) * 30 + i128::from(interval.days());
    let microseconds = days * 86_400_000_000 + i128::from(interval.micros());
    match u64::try_from(microseconds) {
        Ok(microseconds) if microseconds > 0 => Duration::from_micros(microseconds),
        _ => refuse_token(&issue::IssueError::Token(TokenError::Lifetime)),
    }
}

fn refuse_token(error: &issue::IssueError) -> ! {
    let code = match error {
        issue::IssueError::NoSecret | issue::IssueError::Secret(_) => {
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
        }
        _ => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
    };
    ereport!(ERROR, code, for_message(&error.to_string()));
}
