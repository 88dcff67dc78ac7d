//! `sse.issue_token` as SQL calls it.
//!
//! Not for making the token: `tokens/issue.rs`.

mod issue;

use std::time::Duration;

use pgrx::datum::{Array, Interval};
use pgrx::prelude::*;
use sse_gateway::token::TokenError;
use sse_proto::identity::MAX_IDENTITY_BYTES;

use crate::guc;
use crate::pg::error_room;
use crate::pg::text::{for_message, try_from_server};
use crate::pg::want_of_memory::{answer, ask_for, or_raise};

/// A token for a subscriber (C4.7), signed with `sse.jwt_secret` or the secret of `sse.jwt_secret_file`.
#[pg_extern(sql = false)]
fn issue_token(
    user_id: Option<&[u8]>,
    user_name: Option<&[u8]>,
    roles: Option<Array<&[u8]>>,
    lifetime: Option<Interval>,
) -> Vec<u8> {
    let text = |bytes: &[u8]| or_raise(try_from_server(bytes));
    let names = || roles.iter().flat_map(Array::iter).flatten().chain(user_id).chain(user_name);
    let bytes: usize = names().map(<[u8]>::len).sum();
    or_raise(ask_for(NAME_FACTOR * bytes.min(MAX_IDENTITY_BYTES) + NAME_BYTES * names().count()));
    let roles = roles.iter().flat_map(Array::iter).flatten().map(text).collect();
    let wanted = issue::Wanted {
        user_id: user_id.map(text),
        user_name: user_name.map(text),
        roles,
        lifetime: lifetime.map_or_else(|| guc::SESSION_LIFETIME.duration(), |interval| seconds_of(&interval)),
    };
    match issue::issue(&wanted) {
        Ok(token) => answer(token.into_bytes()),
        Err(error) => refuse_token(&error),
    }
}

/// A name, and what the token has of it, have at most so many times its bytes. Of too long ones no token is
/// made.
const NAME_FACTOR: usize = 32;

/// A name's places in lists.
const NAME_BYTES: usize = 256;

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
    error_room::prepare();
    ereport!(ERROR, code, for_message(&error.to_string()));
}
