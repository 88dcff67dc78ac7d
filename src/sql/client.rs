//! `sse.typescript_client`.
//!
//! Not for what is in it (`client.rs`).

use std::ffi::CStr;

use pgrx::prelude::*;

use crate::pg::text::{for_message, from_server, to_server};
use crate::{catalog, client, guc};

/// The client for all served routines, or for those of one schema. It has what `sse.endpoints` shows of them,
/// and what the catalog lets the caller read of their types.
#[pg_extern(sql = false)]
fn typescript_client(schema: Option<&CStr>) -> Vec<u8> {
    if let Some(name) = schema.filter(|name| !catalog::has_schema(name.to_bytes())) {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_INVALID_SCHEMA_NAME,
            format!("schema \"{}\" does not exist", for_message(&from_server(name.to_bytes())))
        );
    }
    let schema = schema.map(|name| from_server(name.to_bytes()));
    let mut routines = catalog::all().routines;
    routines.retain(|routine| guc::schema_is_served(&routine.schema));
    let made = client::of(&routines, schema);
    if let Err(error) = &made {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            error.to_string(),
            "A client for one schema is smaller: sse.typescript_client('schema')."
        );
    }
    made.map(|text| to_server(&text)).unwrap_or_default()
}
