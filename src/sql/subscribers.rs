//! The SQL functions about subscribers: who they are, and ending their streams.
//!
//! Not for the list itself: `subscribers.rs`.

use pgrx::prelude::*;
use sse_proto::identity::MAX_IDENTITY_BYTES;

use crate::pg::text::{for_json, for_message, try_from_server};
use crate::pg::want_of_memory::{answer, or_raise};
use crate::pg::{backend, database, shmem};
use crate::{guc, revocation, subscribers};

/// The rows of `sse.subscribers`, as a JSON array.
#[pg_extern(sql = false)]
fn list_subscribers() -> Option<Vec<u8>> {
    let shared = shmem::shared()?;
    Some(answer(for_json(subscribers::ask(&shared)).into_bytes()))
}

/// Ends a user's streams and refuses all tokens that were issued to that user before now (C4.8). Takes effect
/// at once, even if the transaction is rolled back.
#[pg_extern(sql = false)]
fn disconnect(user_id: &[u8]) {
    let user_id = or_raise(try_from_server(user_id));
    if user_id.is_empty() {
        ereport!(ERROR, PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, "the user id is empty");
    }
    if user_id.len() > MAX_IDENTITY_BYTES {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!("the user id is longer than {MAX_IDENTITY_BYTES} bytes, so no token has it")
        );
    }
    let Some(shared) =
        shmem::shared().filter(|shared| database::mine_is_served(shared, || guc::DATABASE.text()))
    else {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "this database is not served, so no user can be disconnected from here"
        );
    };
    refuse_on_a_standby();
    if let Err(error) = revocation::add(&user_id) {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_IO_ERROR,
            format!("the file of refusals cannot be written: {error}"),
            "No stream was ended, and the user's tokens are still accepted."
        );
    }
    shared.announce_revocation();
    shared.wake_gateway();
}

/// Where standbys serve, a refusal has to come from the primary, or the other servers would not know of it.
fn refuse_on_a_standby() {
    if !guc::is_wal() || !backend::in_recovery() {
        return;
    }
    let hint = match guc::PRIMARY_URL.optional() {
        Some(url) => format!("Call it on the primary, whose gateway is {}.", for_message(&url)),
        None => "Call it on the primary.".to_owned(),
    };
    pg_sys::panic::ErrorReport::new(
        PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
        "this server is a standby, so no user can be disconnected from here",
        "refuse_on_a_standby",
    )
    .set_hint(hint)
    .report(PgLogLevel::ERROR);
}
