//! The client of the served routines in TypeScript (C7.7), for the SQL function and for the gateway.
//!
//! Not for what is written (`sse_client`), nor for reading the catalog.

use std::collections::HashMap;

use sse_client::{Model, Options, TooLarge, typescript};
use sse_proto::route::Routine;

use crate::catalog::{client_types, routes};
use crate::{VERSION, guc};

/// The client for these routines, which are all that are served, or for those of one schema.
///
/// # Errors
/// [`TooLarge`]
pub(crate) fn of(routines: &[Routine], schema: Option<String>) -> Result<String, TooLarge> {
    let table = routes::table_of(routines);
    let wanted = Model::wanted(&table, schema.as_deref());
    let oids: Vec<u32> = wanted.iter().map(|(oid, _)| *oid).collect();
    let parameters = wanted.iter().flat_map(|(_, signature)| &signature.parameters);
    let topics = Model::topics(&table, schema.as_deref());
    let catalog = client_types::read(&oids, parameters.map(|parameter| parameter.type_oid), &topics)?;
    let comments: HashMap<u32, &str> =
        routines.iter().map(|routine| (routine.oid, routine.comment.as_str())).collect();
    let options = Options {
        schema,
        user_parameters: guc::USER_PARAMETERS.get(),
        execution_id_header: guc::gateway_settings().execution_id_headers.first().map(ToString::to_string),
        version: VERSION.to_owned(),
    };
    let model = Model::of(&table, |oid| comments.get(&oid).copied(), catalog, options);
    typescript(&model, || {
        pgrx::check_for_interrupts!();
    })
}
