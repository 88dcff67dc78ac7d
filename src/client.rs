//! The files for those who write clients for the served routines (C7.7, C7.10), for the SQL functions and for
//! the gateway.
//!
//! Not for what is written (`sse_client`), nor for reading the catalog.

use std::collections::HashMap;

use sse_client::{MAX_CLIENT_BYTES, Model, Options, TooLarge, asyncapi, openapi, typescript};
use sse_proto::client_file::ClientFile;
use sse_proto::route::Routine;

use crate::catalog::{client_types, routes};
use crate::guc;
use crate::pg::want_of_memory::{ask_for, or_raise};
use crate::version::version;

/// What these routines are to their callers, which are all that are served; or those of one schema.
///
/// # Errors
/// [`TooLarge`]
pub(crate) fn model(routines: &[Routine], schema: Option<String>) -> Result<Model, TooLarge> {
    or_raise(ask_for(WRITTEN_BYTES));
    let table = routes::table_of(routines);
    let wanted = Model::wanted(&table, schema.as_deref());
    let oids: Vec<u32> = wanted.iter().map(|(oid, _)| *oid).collect();
    let parameters = wanted.iter().flat_map(|(_, signature)| &signature.parameters);
    let topics = Model::topics(&table, schema.as_deref());
    let catalog = client_types::read(&oids, parameters.map(|parameter| parameter.type_oid), &topics)?;
    let comments: HashMap<u32, &str> =
        routines.iter().map(|routine| (routine.oid, routine.comment.as_str())).collect();
    let settings = guc::gateway_settings();
    let options = Options {
        schema,
        user_parameters: settings.user_parameters,
        execution_id_header: settings.execution_id_headers.first().map(ToString::to_string),
        require_authentication: settings.auth.require_authentication,
        cookie_name: settings.cookie_name().to_owned(),
        token_parameter: settings.auth.token_parameter.map(|name| name.as_str().to_owned()),
        version: version().into_owned(),
    };
    Ok(Model::of(&table, |oid| comments.get(&oid).copied(), catalog, options))
}

/// A file grows by doubling.
const WRITTEN_BYTES: usize = 4 * MAX_CLIENT_BYTES;

/// One of the files.
///
/// # Errors
/// [`TooLarge`]
pub(crate) fn written(model: &Model, file: ClientFile) -> Result<String, TooLarge> {
    let between = || {
        pgrx::check_for_interrupts!();
        or_raise(ask_for(WRITTEN_BYTES));
    };
    match file {
        ClientFile::TypeScript => typescript(model, between),
        ClientFile::OpenApi => openapi(model, between),
        ClientFile::AsyncApi => asyncapi(model, between),
    }
}
