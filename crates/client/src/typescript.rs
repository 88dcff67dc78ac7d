//! The client: one file without dependencies.
//!
//! Not for what is in a model.

use std::fmt;

use crate::function::{Functions, Used};
use crate::model::Model;
use crate::text::literal;

/// Most bytes of a client, and of a document: thousands of routines. It is made in memory, and
/// `sse.serve_client` keeps it. Beyond it: [`TooLarge`].
pub const MAX_CLIENT_BYTES: usize = 8 << 20;

/// It would have more than [`MAX_CLIENT_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "what these routines take to be described would be larger than {} MB",
            MAX_CLIENT_BYTES >> 20
        )
    }
}

impl std::error::Error for TooLarge {}

/// Writes the client. `between` is called before each routine: it may end the whole by unwinding.
///
/// # Errors
/// [`TooLarge`]
pub fn typescript(model: &Model, mut between: impl FnMut()) -> Result<String, TooLarge> {
    typescript_within(model, MAX_CLIENT_BYTES, &mut between)
}

fn typescript_within(model: &Model, most: usize, between: &mut dyn FnMut()) -> Result<String, TooLarge> {
    let mut functions = Functions::new(&model.catalog);
    for routine in &model.routines {
        between();
        functions.routine(routine);
        if functions.text.len() + functions.types.text.len() > most {
            return Err(TooLarge);
        }
    }
    let runtime = runtime(functions.used, model.options.execution_id_header.as_deref());
    let client = format!("{}{runtime}{}{}", head(model), functions.types.text, functions.text);
    if client.len() > most { Err(TooLarge) } else { Ok(client) }
}

fn head(model: &Model) -> String {
    let version = literal(&model.options.version);
    let of = model.options.schema.as_ref().map(|schema| format!(" of schema {}", literal(schema)));
    let of = of.unwrap_or_default().replace("*/", "*\\/");
    format!(
        "/*\n * The client of a database{of}, made by pg_sse {} from the comments of its routines. Make it anew instead of\n \
         * changing it: SELECT sse.typescript_client().\n */\n\n",
        version.trim_matches('"')
    )
}

/// The parts of the runtime that are used, since a linter would complain of the others.
fn runtime(used: Used, header: Option<&str>) -> String {
    let header = format!("const api_ID_HEADER = {};\n", literal(header.unwrap_or("X-Execution-Id")));
    let parts: [(bool, &str); 10] = [
        (used.calls || used.streams, include_str!("runtime/base.ts")),
        (used.calls, &header),
        (used.calls, include_str!("runtime/call.ts")),
        (used.voids, include_str!("runtime/void.ts")),
        (used.streams, include_str!("runtime/stream.ts")),
        (used.snapshots, include_str!("runtime/snapshot.ts")),
        (used.listening, include_str!("runtime/listen.ts")),
        (used.streamed || used.begun, include_str!("runtime/ended.ts")),
        (used.streamed, include_str!("runtime/streamed.ts")),
        (used.begun, include_str!("runtime/begun.ts")),
    ];
    let parts: Vec<&str> = parts.into_iter().filter(|(is_used, _)| *is_used).map(|(_, part)| part).collect();
    match parts.as_slice() {
        [] => "// There is nothing to call or to listen to.\nexport {};\n".to_owned(),
        parts => parts.join("\n"),
    }
}
