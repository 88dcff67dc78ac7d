//! Operations of an OpenAPI document: what is called with one method at one path, overloads together, and
//! what opens a stream.
//!
//! Not for the document as a whole (openapi.rs), nor for the types of SQL (schema.rs).

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};
use sse_proto::annotation::Access;

use crate::declaration::Way;
use crate::model::{Call, Form, Model, Options, Routine, Stream};
use crate::prose::describe;
use crate::schema::{Object, Schemas};
use crate::stream::OF_CHANGES;

/// What is called with one method at one path: overloads, the oldest first; never empty.
pub(crate) type Overloads<'m> = Vec<(&'m Routine, &'m Call)>;

/// Lets the types of a routine be met.
pub(crate) fn meet(routine: &Routine, schemas: &mut Schemas<'_>) {
    if let Some(call) = &routine.call {
        for parameter in &call.parameters {
            schemas.nullable(parameter.of, parameter.not_null, way(call));
        }
        schemas.answer(&call.answer);
    }
    let Some(stream) = &routine.stream else { return };
    if let Some(snapshot) = &stream.snapshot {
        schemas.meet_shared(&snapshot.answer);
    }
    if let Some(table) = &stream.changes {
        schemas.changes(table, routine);
    }
}

fn way(call: &Call) -> Way {
    if call.is_in_query() { Way::Query } else { Way::Request }
}

/// `name`: that of the oldest. `between` is called before each overload, whenever they are gone through:
/// there may be thousands.
pub(crate) fn of_calls(
    overloads: &Overloads<'_>,
    name: &str,
    model: &Model,
    schemas: &mut Schemas<'_>,
    between: &mut dyn FnMut(),
) -> Value {
    let Some((oldest, first)) = overloads.first() else { return json!({}) };
    let mut operation = begin(oldest, name);
    let prose = overloads.iter().inspect(|_| between()).map(|(routine, _)| routine.docs.as_str());
    describe(prose, &mut operation);
    // Overloads have one rule (`sse_proto::route`).
    let is_open = !first.can_be_long || oldest.access == Access::Anonymous;
    secure(oldest, is_open, &model.options, &mut operation);
    let can_be_followed =
        overloads.iter().all(|(routine, call)| call.can_be_long && routine.stream.is_some());
    let mut parameters = Vec::new();
    if model.options.execution_id_header.is_some() {
        parameters.push(reference("parameters", "ExecutionId"));
    }
    if can_be_followed {
        parameters.push(reference("parameters", "Prefer"));
    }
    if first.is_in_query() {
        parameters.extend(query(overloads, schemas, between));
    }
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), parameters.into());
    }
    if !first.is_in_query()
        && let Some(body) = body(overloads, schemas, between)
    {
        operation.insert("requestBody".to_owned(), body);
    }
    let mut responses = answers(overloads, schemas, between);
    if can_be_followed {
        responses.insert("202".to_owned(), reference("responses", "Accepted"));
    }
    let mut errors =
        vec![("400", "BadRequest"), ("401", "Unauthorized"), ("403", "Forbidden"), ("409", "Conflict")];
    if !first.is_in_query() {
        errors.extend([("413", "ContentTooLarge"), ("415", "UnsupportedMediaType")]);
    }
    if overloads.iter().any(|(_, call)| call.answer.form == Form::Login) {
        errors.push(("429", "TooManyLogins"));
    }
    errors.extend([("503", "Unavailable"), ("default", "Failed")]);
    responses
        .extend(errors.iter().map(|(status, name)| ((*status).to_owned(), reference("responses", name))));
    operation.insert("responses".to_owned(), responses.into());
    operation.into()
}

/// The members with which each operation begins.
fn begin(routine: &Routine, name: &str) -> Map<String, Value> {
    let mut operation = Map::new();
    operation.insert("operationId".to_owned(), name.into());
    operation.insert("tags".to_owned(), json!([routine.schema]));
    operation
}

/// Says who may, where that is not what the whole document says. `is_open`: nobody is asked, whatever the
/// setting says.
fn secure(routine: &Routine, is_open: bool, options: &Options, operation: &mut Map<String, Value>) {
    let asks = matches!(routine.access, Access::Authorize(_)) || options.require_authentication && !is_open;
    if asks != options.require_authentication {
        operation.insert("security".to_owned(), security(asks, options));
    }
}

/// A token in one of its places; `asks`: there must be one.
pub(crate) fn security(asks: bool, options: &Options) -> Value {
    let mut ways: Vec<Value> = if asks { Vec::new() } else { vec![json!({})] };
    ways.extend([json!({ "bearer": [] }), json!({ "cookie": [] })]);
    ways.extend(options.token_parameter.is_some().then(|| json!({ "parameter": [] })));
    ways.into()
}

/// A parameter is required if each overload asks for it.
fn query(overloads: &Overloads<'_>, schemas: &mut Schemas<'_>, between: &mut dyn FnMut()) -> Vec<Value> {
    let mut names: Vec<&str> = Vec::new();
    // By name, type and whether it may be left out, of each overload that has it: there may be thousands.
    let mut found: HashMap<&str, Vec<(u32, bool)>> = HashMap::new();
    for parameter in overloads.iter().inspect(|_| between()).flat_map(|(_, call)| &call.parameters) {
        let found = found.entry(&parameter.name).or_insert_with(|| {
            names.push(&parameter.name);
            Vec::new()
        });
        found.push((parameter.of, parameter.has_default));
    }
    let mut parameter = |name: &str| {
        let found = found.remove(name).unwrap_or_default();
        let is_required = found.len() == overloads.len() && found.iter().all(|(_, has_default)| !has_default);
        let schema = any_of(found.into_iter().map(|(of, _)| schemas.nullable(of, false, Way::Query)));
        json!({ "name": name, "in": "query", "required": is_required, "schema": schema })
    };
    names.into_iter().map(&mut parameter).collect()
}

/// `None`: no overload takes anything.
fn body(overloads: &Overloads<'_>, schemas: &mut Schemas<'_>, between: &mut dyn FnMut()) -> Option<Value> {
    if overloads.iter().all(|(_, call)| call.parameters.is_empty()) {
        return None;
    }
    let may_be_left = overloads.iter().any(|(_, call)| call.parameters.iter().all(|given| given.has_default));
    let object = |(_, call): &(&Routine, &Call)| {
        let mut object = Object::default();
        for parameter in &call.parameters {
            let value = schemas.nullable(parameter.of, parameter.not_null, Way::Request);
            object.member(parameter.name.clone(), value, !parameter.has_default);
        }
        object.schema(true)
    };
    let schema = any_of(overloads.iter().inspect(|_| between()).map(object));
    Some(json!({ "required": !may_be_left, "content": { "application/json": { "schema": schema } } }))
}

/// The answers of calls that have run.
fn answers(
    overloads: &Overloads<'_>,
    schemas: &mut Schemas<'_>,
    between: &mut dyn FnMut(),
) -> Map<String, Value> {
    let mut kinds: Vec<(&str, Vec<Value>)> = Vec::new();
    let (mut may_be_empty, mut sets_cookie, mut streamed) = (false, false, Vec::new());
    for (routine, call) in overloads {
        between();
        let answer = schemas.answer(&call.answer);
        may_be_empty |= answer.is_none() || call.answer.may_be_empty;
        sets_cookie |= !call.can_be_long;
        if routine.publishes && call.can_be_long {
            streamed.push(result(answer.clone()));
        }
        let Some((kind, schema)) = answer else { continue };
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, schemas)) => schemas.push(schema),
            None => kinds.push((kind, vec![schema])),
        }
    }
    let mut headers = json!({ "SSE-Position": reference("headers", "SsePosition") });
    if sets_cookie {
        headers["Set-Cookie"] = reference("headers", "SessionCookie");
    }
    let mut answers = Map::new();
    let mut content = Map::new();
    for (kind, schemas) in kinds {
        content.insert(kind.to_owned(), json!({ "schema": any_of(schemas.into_iter()) }));
    }
    if !streamed.is_empty() {
        let mut items = vec![schema("SseItem")];
        items.extend(streamed);
        content.insert("text/event-stream".to_owned(), json!({ "itemSchema": any_of(items.into_iter()) }));
    }
    if !content.is_empty() {
        let answer = json!({ "description": "The result.", "headers": headers, "content": content });
        answers.insert("200".to_owned(), answer);
    }
    if may_be_empty && sets_cookie {
        answers.insert(
            "204".to_owned(),
            json!({ "description": "There is nothing to say.", "headers": headers }),
        );
    } else if may_be_empty {
        answers.insert("204".to_owned(), reference("responses", "NoContent"));
    }
    answers
}

/// The event with which a streamed call ends well: text as it is, JSON as JSON, and nothing as `null`.
fn result(answer: Option<(&str, Value)>) -> Value {
    let data = match answer {
        Some(("text/plain", _)) => json!({ "type": "string" }),
        Some((_, schema)) => {
            let schema = json!({ "anyOf": [schema, { "type": "null" }] });
            json!({ "type": "string", "contentMediaType": "application/json", "contentSchema": schema })
        }
        None => json!({ "const": "null" }),
    };
    event(json!({ "const": "sse.result" }), data, true)
}

/// An event as an object, as OpenAPI sees it.
fn event(name: Value, data: Value, is_named: bool) -> Value {
    let mut object = Object::default();
    object.member("event".to_owned(), name, is_named);
    object.member("id".to_owned(), json!({ "type": "string" }), true);
    object.member("data".to_owned(), data, true);
    object.schema(false)
}

/// `name`: the operation's.
pub(crate) fn of_stream(
    routine: &Routine,
    stream: &Stream,
    name: &str,
    model: &Model,
    schemas: &mut Schemas<'_>,
) -> Value {
    let mut operation = begin(routine, name);
    describe([routine.docs.as_str()], &mut operation);
    secure(routine, false, &model.options, &mut operation);
    let parameters = ["StreamId", "StreamTopics", "LastEventIdParameter", "LastEventId"];
    let parameters = parameters.map(|name| reference("parameters", name));
    operation.insert("parameters".to_owned(), parameters.to_vec().into());
    let mut items = Vec::new();
    if let Some(snapshot) = &stream.snapshot {
        let data = match schemas.answer(&snapshot.answer) {
            Some(("text/plain", _)) | None => json!({ "type": "string" }),
            Some((_, schema)) => {
                let schema = if snapshot.answer.may_be_empty {
                    json!({ "anyOf": [schema, { "type": "null" }] })
                } else {
                    schema
                };
                json!({ "type": "string", "contentMediaType": "application/json", "contentSchema": schema })
            }
        };
        items.push(match &snapshot.event {
            Some(name) => event(json!({ "const": name }), data, true),
            None => event(json!({ "const": "message" }), data, false),
        });
    }
    if let Some(name) = routine.event.as_ref().filter(|_| routine.publishes) {
        items.push(event(json!({ "const": name }), json!({ "type": "string" }), true));
    }
    if let Some(table) = &stream.changes {
        let change = schemas.changes(table, routine);
        let data =
            json!({ "type": "string", "contentMediaType": "application/json", "contentSchema": change });
        items.push(event(json!({ "enum": OF_CHANGES }), data, true));
    }
    items.push(schema("SseItem"));
    let content = json!({ "text/event-stream": { "itemSchema": any_of(items.into_iter()) } });
    let answer = json!({ "description": "The stream. It does not end by itself.", "content": content });
    let mut responses = Map::new();
    responses.insert("200".to_owned(), answer);
    let errors = [
        ("400", "BadRequest"),
        ("401", "Unauthorized"),
        ("403", "Forbidden"),
        ("429", "TooManyStreams"),
        ("503", "Unavailable"),
        ("default", "Failed"),
    ];
    responses.extend(errors.map(|(status, name)| (status.to_owned(), reference("responses", name))));
    operation.insert("responses".to_owned(), responses.into());
    operation.into()
}

/// One of these, each of which is named once.
fn any_of(schemas: impl Iterator<Item = Value>) -> Value {
    let mut seen = HashSet::new();
    let mut each: Vec<Value> = schemas.filter(|schema| seen.insert(schema.to_string())).collect();
    match each.len() {
        1 => each.swap_remove(0),
        _ => json!({ "anyOf": each }),
    }
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

fn schema(name: &str) -> Value {
    reference("schemas", name)
}
