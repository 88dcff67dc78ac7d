//! The OpenAPI document (C7.10): paths, what can be called and listened to there, and the components.
//!
//! Where the contract leaves room, these are the rules:
//! - Overloads with one path and method are one operation, which has the name of the oldest.
//! - Names are handed out in the order of the oids, as in a client; paths and components stand in the order
//!   of their names.
//! - Whose values an `@authorize` line lists is not in it: a request does not tell that either.
//!
//! Not for one operation (operation.rs), nor for types (schema.rs).

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};
use sse_proto::annotation::Method;

use crate::document::{DATA, info, line, object, part, whole};
use crate::model::{Model, Options, Routine, Stream};
use crate::name::{Names, ascii};
use crate::operation::{Overloads, meet, of_calls, of_stream, security};
use crate::schema::Schemas;
use crate::typescript::{MAX_CLIENT_BYTES, TooLarge};

const EVENTS: &str = include_str!("document/events.json");
const BOTH: &str = include_str!("document/both.json");
const CALLS: &str = include_str!("document/calls.json");
const STREAMS: &str = include_str!("document/streams.json");

/// Names of components that no type gets.
pub(crate) const RESERVED: &str =
    "Problem SseReady SseGap SseGapData SseResult SseError SseRowChange SseRowChangeData SseEvent SseItem";

/// Writes the document. `between` is called before each routine, each path and each overload there: it may
/// end the whole by unwinding.
///
/// # Errors
/// [`TooLarge`]
pub fn openapi(model: &Model, mut between: impl FnMut()) -> Result<String, TooLarge> {
    let mut schemas = Schemas::new(&model.catalog, RESERVED);
    let mut names = RoutineNames::new();
    let mut paths: BTreeMap<&str, PathItem<'_>> = BTreeMap::new();
    for routine in &model.routines {
        between();
        let name = names.of(routine);
        if let Some(call) = &routine.call {
            let item = paths.entry(&call.path).or_default();
            let of_method = item.calls.iter_mut().find(|(method, ..)| *method == call.method);
            match of_method {
                Some((_, _, overloads)) => overloads.push((routine, call)),
                None => item.calls.push((call.method, name.clone(), vec![(routine, call)])),
            }
        }
        if let Some(stream) = &routine.stream {
            let item = paths.entry(&stream.path).or_default();
            item.stream.get_or_insert((routine, stream, events_of(&name)));
        }
        // Before any path is written, so that the names of types do not depend on the order of paths.
        meet(routine, &mut schemas);
        if schemas.bytes() > MAX_CLIENT_BYTES {
            return Err(TooLarge);
        }
    }
    let has_calls = paths.values().any(|item| !item.calls.is_empty());
    let has_streams = paths.values().any(|item| item.stream.is_some() || item.is_streamed());
    let mut lines = Vec::with_capacity(paths.len());
    let mut bytes = 0;
    for (path, item) in paths {
        between();
        let line = line(path, &item.written(model, &mut schemas, &mut between));
        bytes += line.len();
        if bytes + schemas.bytes() > MAX_CLIENT_BYTES {
            return Err(TooLarge);
        }
        lines.push(line);
    }
    let components = components(&model.options, schemas, has_calls, has_streams);
    whole(&[
        ("openapi", "\"3.2.0\"".to_owned()),
        ("info", info(&model.options, "openapi").to_string()),
        ("servers", "[{\"url\":\"/\"}]".to_owned()),
        ("security", security(model.options.require_authentication, &model.options).to_string()),
        ("paths", object(lines)),
        ("components", components),
    ])
}

/// What is at one path: calls of several methods, or a stream; never both.
#[derive(Default)]
struct PathItem<'m> {
    /// Each with its name, and one for each method.
    calls: Vec<(Method, String, Overloads<'m>)>,
    /// The oldest routine that has it, and its name.
    stream: Option<(&'m Routine, &'m Stream, String)>,
}

impl PathItem<'_> {
    fn is_streamed(&self) -> bool {
        self.calls.iter().flat_map(|(_, _, overloads)| overloads).any(|(routine, _)| routine.publishes)
    }

    fn written(mut self, model: &Model, schemas: &mut Schemas<'_>, between: &mut dyn FnMut()) -> Value {
        let mut item = Map::new();
        if let Some((routine, stream, name)) = &self.stream {
            item.insert("get".to_owned(), of_stream(routine, stream, name, model, schemas));
        }
        self.calls.sort_by_key(|(method, ..)| method.as_str());
        for (method, name, overloads) in &self.calls {
            let method = method.as_str().to_ascii_lowercase();
            item.insert(method, of_calls(overloads, name, model, schemas, between));
        }
        item.into()
    }
}

/// The names of routines, by age.
pub(crate) struct RoutineNames<'m> {
    names: Names,
    /// The name of the oldest overload, by schema and name.
    overloads: HashMap<(&'m str, &'m str), String>,
}

impl<'m> RoutineNames<'m> {
    pub(crate) fn new() -> Self {
        Self { names: Names::besides(""), overloads: HashMap::new() }
    }

    /// The same for the same routines, whatever else of them there is.
    pub(crate) fn of(&mut self, routine: &'m Routine) -> String {
        let made = |name: &str| vec![ascii(name), events_of(&ascii(name))];
        let key = (routine.schema.as_str(), routine.name.as_str());
        if let Some(oldest) = self.overloads.get(&key) {
            return ascii(&self.names.take_numbered(oldest, made));
        }
        let name = ascii(&self.names.take(&routine.schema, &routine.name, made));
        self.overloads.insert(key, name.clone());
        name
    }

    /// A name for a topic.
    pub(crate) fn topic(&mut self, topic: &str) -> String {
        ascii(&self.names.take("topic", &format!("topic_{topic}"), |name| vec![ascii(name)]))
    }
}

/// The name of what opens the stream of a routine.
pub(crate) fn events_of(name: &str) -> String {
    format!("{name}Events")
}

fn components(options: &Options, schemas: Schemas<'_>, has_calls: bool, has_streams: bool) -> String {
    let mut shared: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let parts = [(has_calls || has_streams, BOTH), (has_calls, CALLS), (has_streams, STREAMS)];
    for (_, text) in parts.iter().filter(|(is_used, _)| *is_used) {
        for (kind, members) in part(text) {
            if let Value::Object(members) = members {
                shared.entry(kind).or_default().extend(members);
            }
        }
    }
    if let Some(header) = &options.execution_id_header {
        if let Some(id) =
            shared.get_mut("parameters").and_then(|parameters| parameters.get_mut("ExecutionId"))
        {
            id["name"] = header.as_str().into();
        }
    } else if let Some(parameters) = shared.get_mut("parameters") {
        parameters.shift_remove("ExecutionId");
    }
    shared.insert("securitySchemes".to_owned(), security_schemes(options, "apiKey"));
    let mut own: BTreeMap<String, String> = schemas
        .into_components()
        .map(|(name, written)| (name.clone(), format!("\"{name}\": {written}")))
        .collect();
    let data = part(DATA);
    let data = data.iter().filter(|(name, _)| has_streams || has_calls && *name == "Problem");
    own.extend(data.map(|(name, value)| (name.clone(), line(name, value))));
    if has_streams {
        own.extend(part(EVENTS).iter().map(|(name, value)| (name.clone(), line(name, value))));
    }
    let written = |(kind, members): (String, Map<String, Value>)| {
        let lines = members.iter().map(|(name, value)| line(name, value));
        format!("{}: {}", Value::from(kind), object(lines))
    };
    let schemas = format!("\"schemas\": {}", object(own.into_values()));
    object(shared.into_iter().map(written).chain([schemas]))
}

/// `key`: what the standard calls a key in a cookie or in the query string.
pub(crate) fn security_schemes(options: &Options, key: &str) -> Map<String, Value> {
    let mut schemes = Map::new();
    schemes.insert("bearer".to_owned(), json!({ "type": "http", "scheme": "bearer", "bearerFormat": "JWT" }));
    schemes.insert("cookie".to_owned(), json!({ "type": key, "in": "cookie", "name": options.cookie_name }));
    if let Some(name) = &options.token_parameter {
        schemes.insert("parameter".to_owned(), json!({ "type": key, "in": "query", "name": name }));
    }
    schemes
}
