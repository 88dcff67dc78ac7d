//! The AsyncAPI document (C7.10): a channel for each stream, and one for each topic.
//!
//! The names of routines are those of the OpenAPI document. A stream has the events of all routines with its
//! topic, and without a topic those of all without one. To name all of them in each channel would make a
//! document of the square of its routines: so the channel of a stream has its own messages and the general
//! one, and that of a topic has one message for each routine that publishes to it.
//!
//! Not for types (schema.rs).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sse_proto::annotation::Access;

use crate::document::{DATA, info, line, object, part, whole};
use crate::model::{Model, Options, Routine, Snapshot, Stream};
use crate::openapi::{RESERVED, RoutineNames, events_of, security_schemes};
use crate::prose::describe;
use crate::schema::{Object, Schemas};
use crate::stream::OF_CHANGES;
use crate::typescript::{MAX_CLIENT_BYTES, TooLarge};

const MESSAGES: &str = include_str!("document/messages.json");

/// Writes the document. `between` is called before each routine: it may end the whole by unwinding.
///
/// # Errors
/// [`TooLarge`]
pub fn asyncapi(model: &Model, mut between: impl FnMut()) -> Result<String, TooLarge> {
    let mut document = Document {
        options: &model.options,
        schemas: Schemas::new(&model.catalog, RESERVED),
        streams: BTreeMap::new(),
        messages: BTreeMap::new(),
        topics: Vec::new(),
        places: BTreeMap::new(),
        bytes: 0,
    };
    let mut names = RoutineNames::new();
    for routine in &model.routines {
        between();
        let name = names.of(routine);
        document.routine(routine, &name);
        if document.bytes + document.schemas.bytes() > MAX_CLIENT_BYTES {
            return Err(TooLarge);
        }
    }
    document.written(&mut names)
}

/// The channel and the operation of a stream, a line each.
struct Written {
    channel: String,
    operation: String,
}

struct Document<'m> {
    options: &'m Options,
    schemas: Schemas<'m>,
    /// By path.
    streams: BTreeMap<&'m str, Written>,
    /// By name, a line each.
    messages: BTreeMap<String, String>,
    /// Each with the messages of those who publish to it, the oldest first.
    topics: Vec<(&'m str, Map<String, Value>)>,
    /// By topic, the place in `topics`.
    places: BTreeMap<&'m str, usize>,
    bytes: usize,
}

impl<'m> Document<'m> {
    fn routine(&mut self, routine: &'m Routine, name: &str) {
        if routine.publishes {
            let message = self.message(&format!("{name}.event"), event(routine));
            if let Some(topic) = &routine.topic {
                let place = *self.places.entry(topic).or_insert_with(|| {
                    self.topics.push((topic.as_str(), Map::new()));
                    self.topics.len() - 1
                });
                self.bytes += name.len() + message.to_string().len();
                self.topics[place].1.insert(name.to_owned(), message);
            }
        }
        if let Some(stream) = &routine.stream
            && !self.streams.contains_key(stream.path.as_str())
        {
            let written = self.stream(routine, stream, name);
            self.bytes += written.channel.len() + written.operation.len();
            self.streams.insert(&stream.path, written);
        }
    }

    /// Keeps a message, and refers to it.
    fn message(&mut self, name: &str, message: Value) -> Value {
        let message = line(name, &message);
        self.bytes += message.len();
        self.messages.insert(name.to_owned(), message);
        json!({ "$ref": format!("#/components/messages/{name}") })
    }

    fn stream(&mut self, routine: &Routine, stream: &Stream, name: &str) -> Written {
        let mut channel = Map::new();
        channel.insert("address".to_owned(), stream.path.as_str().into());
        describe([routine.docs.as_str()], &mut channel);
        let mut messages = Map::new();
        if let Some(snapshot) = &stream.snapshot {
            let message = snapshot_message(snapshot, &mut self.schemas);
            messages.insert("snapshot".to_owned(), self.message(&format!("{name}.snapshot"), message));
        }
        if let Some(table) = &stream.changes {
            let message = change_message(self.schemas.changes(table, routine));
            messages.insert("change".to_owned(), self.message(&format!("{name}.change"), message));
        }
        if routine.publishes {
            messages
                .insert("event".to_owned(), json!({ "$ref": format!("#/components/messages/{name}.event") }));
        }
        for shared in ["SseReady", "SseGap", "SseResult", "SseError", "SseRowChange", "SseEvent"] {
            messages.insert(shared.to_owned(), json!({ "$ref": format!("#/components/messages/{shared}") }));
        }
        channel.insert("messages".to_owned(), messages.into());
        let mut operation = json!({
            "action": "send",
            "channel": { "$ref": format!("#/channels/{name}") },
            "bindings": { "$ref": "#/components/operationBindings/stream" },
        });
        if self.options.require_authentication || matches!(routine.access, Access::Authorize(_)) {
            let schemes = security_schemes(self.options, "httpApiKey");
            let schemes =
                schemes.keys().map(|key| json!({ "$ref": format!("#/components/securitySchemes/{key}") }));
            operation["security"] = schemes.collect();
        }
        Written { channel: line(name, &channel.into()), operation: line(&events_of(name), &operation) }
    }

    fn written(self, names: &mut RoutineNames<'m>) -> Result<String, TooLarge> {
        let has_streams = !self.streams.is_empty();
        let (mut channels, operations): (Vec<String>, Vec<String>) =
            self.streams.into_values().map(|written| (written.channel, written.operation)).unzip();
        channels.extend(self.topics.into_iter().map(|(topic, messages)| {
            let description = "Events with this topic come to every stream that has it: that of a routine with this topic, and each that is opened with it as its query parameter `topic`.";
            let channel = json!({ "address": null, "title": topic, "description": description, "messages": messages });
            line(&names.topic(topic), &channel)
        }));
        let mut messages: Vec<String> = self.messages.into_values().collect();
        let mut schemas: Vec<String> =
            self.schemas.into_components().map(|(name, written)| format!("\"{name}\": {written}")).collect();
        let mut bindings = Vec::new();
        if has_streams {
            messages.extend(part(MESSAGES).iter().map(|(name, message)| line(name, message)));
            schemas.extend(part(DATA).iter().map(|(name, schema)| line(name, schema)));
            bindings.push(line("stream", &binding()));
        }
        let schemes = security_schemes(self.options, "httpApiKey");
        let schemes = schemes.iter().map(|(name, scheme)| line(name, scheme));
        let components = [
            ("messages", object(messages)),
            ("operationBindings", object(bindings)),
            ("schemas", object(schemas)),
            ("securitySchemes", object(schemes)),
        ];
        let components = components.map(|(name, members)| format!("\"{name}\": {members}"));
        whole(&[
            ("asyncapi", "\"3.0.0\"".to_owned()),
            ("info", info(self.options, "asyncapi").to_string()),
            ("defaultContentType", "\"text/plain\"".to_owned()),
            ("channels", object(channels)),
            ("operations", object(operations)),
            ("components", object(components)),
        ])
    }
}

/// What a routine raises.
fn event(routine: &Routine) -> Value {
    let mut message = Map::new();
    if let Some(name) = &routine.event {
        message.insert("name".to_owned(), name.as_str().into());
    }
    describe([routine.docs.as_str()], &mut message);
    message.insert("contentType".to_owned(), "text/plain".into());
    message.insert("headers".to_owned(), fields(routine.event.as_deref()));
    message.insert("payload".to_owned(), json!({ "type": "string" }));
    message.into()
}

fn snapshot_message(snapshot: &Snapshot, schemas: &mut Schemas<'_>) -> Value {
    let (kind, payload) = match schemas.answer(&snapshot.answer) {
        // An empty text is the text `null`.
        Some((kind, schema)) if snapshot.answer.may_be_empty && kind == "application/json" => {
            (kind, json!({ "anyOf": [schema, { "type": "null" }] }))
        }
        Some(answer) => answer,
        None => ("application/json", json!({ "type": "null" })),
    };
    let mut message = Map::new();
    if let Some(name) = &snapshot.event {
        message.insert("name".to_owned(), name.as_str().into());
    }
    let rest = json!({
        "title": "The state with which the stream begins",
        "contentType": kind,
        "headers": fields(snapshot.event.as_deref()),
        "payload": payload,
    });
    if let Value::Object(rest) = rest {
        message.extend(rest);
    }
    message.into()
}

/// The changes of the table whose name is the topic of a stream.
fn change_message(payload: Value) -> Value {
    json!({
        "title": "A change of a row",
        "contentType": "application/json",
        "headers": fields_of(Some(json!({ "enum": OF_CHANGES }))),
        "payload": payload,
    })
}

/// The fields of an event but its data.
fn fields(event: Option<&str>) -> Value {
    fields_of(event.map(|event| json!({ "const": event })))
}

fn fields_of(event: Option<Value>) -> Value {
    let mut fields = Object::default();
    if let Some(event) = event {
        fields.member("event".to_owned(), event, true);
    }
    fields.member("id".to_owned(), json!({ "type": "string" }), true);
    fields.schema(false)
}

/// How a stream is asked for.
fn binding() -> Value {
    let query = json!({
        "type": "object",
        "properties": {
            "id": { "type": "string", "maxLength": 200, "description": "An execution id: of the events that have one, those with this one come." },
            "topic": { "type": "array", "items": { "type": "string", "maxLength": 200 }, "maxItems": 64, "description": "Further topics whose events come: one parameter each." },
            "last_event_id": { "type": "string", "description": "The id of the last event that came, where the header Last-Event-ID cannot be set." },
        },
    });
    json!({ "http": { "method": "GET", "query": query, "bindingVersion": "0.3.0" } })
}
