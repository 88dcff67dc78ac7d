//! What there is to call and to listen to, apart from any language.
//!
//! Where the contract leaves room, these are the rules:
//! - Only what a request reaches is in it: calls that may be executed and have no problem, and streams.
//! - A user parameter that is filled from the identity is not in it.
//! - The routines are in the order of their oids, so that what is made of an older one does not depend on
//!   newer ones.
//!
//! Not for names in a client, nor for reading the catalog.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use sse_proto::annotation::{Access, Method, RoutineKind};
use sse_proto::call::{Mode, Shape, Signature, TypeKind, USER_PARAMETERS, answer_names};
use sse_proto::route::{self, RouteTable};
use sse_proto::word::EventName;

use crate::catalog::{Catalog, Kind, Table};
use crate::prose::kept;

/// What decides about a model besides the catalog.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only routines of this schema.
    pub schema: Option<String>,
    /// `sse.user_parameters`
    pub user_parameters: bool,
    /// The header that carries an execution id: the first of `sse.execution_id_headers`.
    pub execution_id_header: Option<String>,
    /// `sse.require_authentication`
    pub require_authentication: bool,
    /// `sse.cookie_name`
    pub cookie_name: String,
    /// `sse.token_parameter`
    pub token_parameter: Option<String>,
    /// The version of pg_sse.
    pub version: String,
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub struct Model {
    /// As they were given.
    pub options: Options,
    /// In the order of their oids.
    pub routines: Vec<Routine>,
    /// The types that they name.
    pub catalog: Catalog,
}

/// A routine that can be called, or whose stream can be opened, or both.
#[derive(Clone, Debug)]
pub struct Routine {
    /// `pg_proc.oid`
    pub oid: u32,
    /// Name of its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The prose of its comment: lines, of which only so much is kept as is shown (prose.rs).
    pub docs: String,
    /// How it is called.
    pub call: Option<Call>,
    /// Its stream. Of overloads that share one, the oldest and each one that can be called have it.
    pub stream: Option<Stream>,
    /// Whether it publishes.
    pub publishes: bool,
    /// The name of its events, and of those of its stream; `None` is what `onmessage` gets.
    pub event: Option<String>,
    /// Their topic, which is that of its stream, too.
    pub topic: Option<String>,
    /// Who may call it and open its stream.
    pub access: Access,
}

/// How a routine is called.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
    /// What a request may have.
    pub parameters: Vec<Parameter>,
    /// What it is answered with.
    pub answer: Answer,
    /// Whether the answer can be a stream, and the call can go on without its caller (C7.8, C7.9): not that
    /// of a login or a logout, which are answered with a cookie.
    pub can_be_long: bool,
}

impl Call {
    fn of(call: &route::Call, path: &str, catalog: &Catalog, options: &Options) -> Self {
        Self {
            method: call.method,
            path: path.to_owned(),
            parameters: parameters(&call.signature, options.user_parameters || call.user_parameters),
            answer: answer(call, catalog),
            can_be_long: !call.login && !call.logout,
        }
    }

    /// Whether the request is in the query string.
    pub fn is_in_query(&self) -> bool {
        matches!(self.method, Method::Get | Method::Delete)
    }

    /// Whether a request may be left out as a whole.
    pub fn may_be_left(&self) -> bool {
        self.parameters.iter().all(|parameter| parameter.has_default)
    }
}

/// A parameter that a request gives.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name in a request.
    pub name: String,
    /// Its type.
    pub of: u32,
    /// Whether it may be left out.
    pub has_default: bool,
    /// Whether NULL means nothing to it: a STRICT routine is not run with one.
    pub not_null: bool,
}

/// The body of an answer (C7.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// One row of it.
    pub form: Form,
    /// Whether it is an array of these.
    pub is_set: bool,
    /// Whether there may be none, which is 204.
    pub may_be_empty: bool,
}

/// What one row of an answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// There is no body.
    Nothing,
    /// A value as text.
    Text(u32),
    /// A value as JSON.
    Json(u32),
    /// An object of the columns of a row type.
    Row(u32),
    /// An object of OUT parameters, or of the columns of `RETURNS TABLE`.
    Columns(Vec<Property>),
    /// What a login answers: a text.
    Login,
}

/// A member of [`Form::Columns`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its key.
    pub name: String,
    /// Its type; `None`: its keys are not known ([`TypeKind::TooLarge`]).
    pub of: Option<u32>,
}

/// The stream of a routine.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Its path.
    pub path: String,
    /// What it begins with.
    pub snapshot: Option<Snapshot>,
    /// The table whose changes have the topic of the stream.
    pub changes: Option<Arc<Table>>,
}

/// The snapshot of a stream (C7.6).
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The name of its event; `None` is what `onmessage` gets.
    pub event: Option<String>,
    /// Its data. Shared: thousands of streams may begin with the snapshot of one function.
    pub answer: Arc<Answer>,
}

impl Model {
    /// The routines whose signatures have to be known: those of this schema, or of all, that can be called,
    /// and those that make snapshots.
    pub fn wanted<'t>(table: &'t RouteTable, schema: Option<&str>) -> Vec<(u32, &'t Signature)> {
        let is_wanted = |found: &str| schema.is_none_or(|wanted| wanted == found);
        let calls = table.call_points().flat_map(|point| &point.calls).filter(|call| is_wanted(&call.schema));
        let streams = table
            .iter()
            .filter(|route| table.endpoint(route.oid).is_some_and(|endpoint| is_wanted(&endpoint.schema)));
        let snapshots = streams.filter_map(|route| Some(route.snapshot.as_ref()?.call.as_ref()));
        calls.chain(snapshots).map(|call| (call.oid, &call.signature)).collect()
    }

    /// The topics of the streams of this schema, or of all, each with the routine that asks for it. A table
    /// may have one of these names.
    pub fn topics<'t>(table: &'t RouteTable, schema: Option<&str>) -> Vec<(u32, &'t str)> {
        let is_wanted = |found: &str| schema.is_none_or(|wanted| wanted == found);
        let streams = table
            .iter()
            .filter(|route| table.endpoint(route.oid).is_some_and(|endpoint| is_wanted(&endpoint.schema)));
        streams.filter_map(|route| Some((route.oid, route.topic.as_ref()?.as_str()))).collect()
    }

    /// Puts together what the table has. `comment` is that of a routine.
    pub fn of<'r>(
        table: &RouteTable,
        comment: impl Fn(u32) -> Option<&'r str>,
        catalog: Catalog,
        options: Options,
    ) -> Self {
        let mut routines: BTreeMap<u32, Routine> = BTreeMap::new();
        let is_wanted = |schema: &str| options.schema.as_deref().is_none_or(|wanted| wanted == schema);
        let entry = |oid: u32, schema: &str, name: &str| Routine {
            oid,
            schema: schema.to_owned(),
            name: name.to_owned(),
            docs: comment(oid).map(kept).unwrap_or_default(),
            call: None,
            stream: None,
            publishes: false,
            event: None,
            topic: None,
            access: Access::Unspecified,
        };
        for point in table.call_points() {
            for call in point.calls.iter().filter(|call| is_wanted(&call.schema)) {
                let routine =
                    routines.entry(call.oid).or_insert_with(|| entry(call.oid, &call.schema, &call.name));
                routine.call = Some(Call::of(call, &point.path, &catalog, &options));
            }
        }
        for route in table.iter() {
            let Some(oldest) = table.endpoint(route.oid).filter(|endpoint| is_wanted(&endpoint.schema))
            else {
                continue;
            };
            routines.entry(route.oid).or_insert_with(|| entry(route.oid, &oldest.schema, &oldest.name));
        }
        let label = |name: &EventName| name.as_str().to_owned();
        let mut snapshots: HashMap<u32, Arc<Answer>> = HashMap::new();
        for routine in routines.values_mut() {
            let Some(endpoint) = table.endpoint(routine.oid) else { continue };
            let Some(annotation) = &endpoint.annotation else { continue };
            routine.publishes = annotation.publish;
            routine.event = annotation.event.as_ref().map(label);
            routine.topic = annotation.topic.as_ref().map(|topic| topic.as_str().to_owned());
            routine.access = annotation.access.clone();
            let Some(route) = endpoint.url.as_ref().and_then(|url| table.find(url)) else { continue };
            let snapshot = |snapshot: &Arc<route::Snapshot>| {
                let made = || Arc::new(answer(&snapshot.call, &catalog));
                let answer = Arc::clone(snapshots.entry(snapshot.call.oid).or_insert_with(made));
                Snapshot { event: snapshot.event.as_ref().map(label), answer }
            };
            routine.stream = Some(Stream {
                path: route.path.clone(),
                snapshot: route.snapshot.as_ref().map(snapshot),
                changes: catalog.tables.get(&route.oid).cloned(),
            });
        }
        Self { options, routines: routines.into_values().collect(), catalog }
    }
}

/// Two whose names would be the same in camelCase have those of SQL, which a request may always use.
fn parameters(signature: &Signature, fills: bool) -> Vec<Parameter> {
    let inputs: Vec<_> = signature.parameters.iter().filter(|parameter| parameter.is_input()).collect();
    let given = |(place, parameter): (usize, &&sse_proto::call::Parameter)| match parameter.name.as_str() {
        "" => format!("${}", place + 1),
        name => name.to_owned(),
    };
    let names: Vec<String> = inputs.iter().enumerate().map(given).collect();
    let shown = answer_names(&names);
    let is_filled = |name: &str| fills && USER_PARAMETERS.contains(&name);
    let of_request = inputs.iter().zip(&names).zip(shown).filter(|((_, name), _)| !is_filled(name));
    // What a request calls `$1` is the parameter without a name, not one that is really called this.
    let unnamed: HashSet<&String> = inputs
        .iter()
        .zip(&names)
        .filter(|(parameter, _)| parameter.name.is_empty())
        .map(|(_, name)| name)
        .collect();
    let of_request =
        of_request.filter(|((parameter, name), _)| parameter.name.is_empty() || !unnamed.contains(name));
    of_request
        .map(|((parameter, _), name)| Parameter {
            name,
            of: parameter.type_oid,
            has_default: parameter.has_default,
            not_null: signature.strict,
        })
        .collect()
}

fn answer(call: &route::Call, catalog: &Catalog) -> Answer {
    let signature = &call.signature;
    let of = |form, is_set, may_be_empty| Answer { form, is_set, may_be_empty };
    if call.login {
        return of(Form::Login, false, false);
    }
    if call.kind == RoutineKind::Procedure {
        let outputs = signature.parameters.iter().filter(|p| matches!(p.mode, Mode::Out | Mode::InOut));
        let columns = columns(outputs, None);
        let form = if columns.is_empty() { Form::Nothing } else { Form::Columns(columns) };
        return of(form, false, false);
    }
    let result = &signature.result;
    let returns = catalog.results.get(&call.oid).copied().unwrap_or(0);
    let has_inputs = signature.parameters.iter().any(|parameter| parameter.is_input());
    // Postgres does not run a STRICT function that is given a NULL.
    let may_be_empty = if result.is_set {
        signature.strict && has_inputs
    } else {
        signature.strict && has_inputs || !catalog.is_not_null(returns)
    };
    let form = match result.shape {
        Shape::Void | Shape::Record | Shape::Pseudo => return of(Form::Nothing, false, false),
        Shape::Scalar if result.is_set => Form::Json(returns),
        Shape::Scalar => Form::Text(returns),
        Shape::Json | Shape::Array => Form::Json(returns),
        Shape::Composite => {
            let is_out =
                |p: &&sse_proto::call::Parameter| matches!(p.mode, Mode::Out | Mode::InOut | Mode::Table);
            let out: Vec<_> = signature.parameters.iter().filter(is_out).collect();
            let is_table = out.iter().any(|parameter| parameter.mode == Mode::Table);
            if out.len() > 1 || is_table {
                Form::Columns(columns(out.into_iter(), Some(&result.columns)))
            } else if result.kinds.contains(&TypeKind::TooLarge) {
                Form::Columns(partly_known(&result.columns, &result.kinds, catalog.base_kind(returns)))
            } else {
                Form::Row(returns)
            }
        }
    };
    of(form, result.is_set, may_be_empty)
}

/// The columns of a row type, of which some are too large to be known.
fn partly_known(names: &[String], kinds: &[TypeKind], row: &Kind) -> Vec<Property> {
    let Kind::Row(columns) = row else { return Vec::new() };
    let known = kinds.iter().map(|kind| *kind != TypeKind::TooLarge).zip(columns);
    let properties = answer_names(names).into_iter().zip(known);
    properties
        .map(|(name, (is_known, column))| Property { name, of: is_known.then_some(column.of) })
        .collect()
}

/// An object's keys, each once: `column1` may be the first of the columns without a name, and another one
/// that is called this. A reader of JSON keeps the last.
fn once(mut properties: Vec<Property>) -> Vec<Property> {
    let mut seen = HashSet::new();
    properties.reverse();
    properties.retain(|property| seen.insert(property.name.clone()));
    properties.reverse();
    properties
}

/// `names`: those of the result's columns, where they are not the parameters' own.
fn columns<'p>(
    outputs: impl Iterator<Item = &'p sse_proto::call::Parameter>,
    names: Option<&[String]>,
) -> Vec<Property> {
    let outputs: Vec<_> = outputs.collect();
    let own = outputs.iter().enumerate().map(|(place, parameter)| match parameter.name.as_str() {
        "" => format!("column{}", place + 1),
        name => name.to_owned(),
    });
    let names = names.map_or_else(|| own.collect(), <[String]>::to_vec);
    let of = |parameter: &sse_proto::call::Parameter| {
        (parameter.kind != TypeKind::TooLarge).then_some(parameter.type_oid)
    };
    let named = answer_names(&names).into_iter().zip(outputs);
    once(named.map(|(name, parameter)| Property { name, of: of(parameter) }).collect())
}
