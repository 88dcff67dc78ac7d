//! `sse.typescript_client`, `sse.openapi` and `sse.asyncapi`.
//!
//! Not for what is in them (`client.rs`).

use std::ffi::CStr;

use pgrx::prelude::*;
use sse_proto::client_file::ClientFile;

use crate::pg::text::{for_message, from_server, to_server};
use crate::pg::want_of_memory::answer;
use crate::{catalog, client, guc};

/// The client for all served routines, or for those of one schema. It has what `sse.endpoints` shows of them,
/// and what the catalog lets the caller read of their types.
#[pg_extern(sql = false)]
fn typescript_client(schema: Option<&CStr>) -> Vec<u8> {
    made(ClientFile::TypeScript, schema)
}

/// The same as an OpenAPI document. The SQL function returns `json`, whose bytes are those of a text.
#[pg_extern(sql = false)]
fn openapi(schema: Option<&CStr>) -> Vec<u8> {
    made(ClientFile::OpenApi, schema)
}

/// The streams as an AsyncAPI document.
#[pg_extern(sql = false)]
fn asyncapi(schema: Option<&CStr>) -> Vec<u8> {
    made(ClientFile::AsyncApi, schema)
}

fn made(file: ClientFile, schema: Option<&CStr>) -> Vec<u8> {
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
    let made = client::model(&routines, schema).and_then(|model| client::written(&model, file));
    if let Err(error) = &made {
        let hint = format!("What one schema has is smaller: sse.{}('schema').", file.function());
        let code = PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED;
        pg_sys::panic::ErrorReport::new(code, error.to_string(), "made")
            .set_hint(hint)
            .report(PgLogLevel::ERROR);
    }
    // psql and others end what they print with a line end of their own.
    answer(made.map(|text| to_server(text.trim_end_matches('\n'))).unwrap_or_default())
}
