//! The types of SQL as JSON Schema: what each is in a request, in a query string and in an answer, and the
//! components for those that have a name. What is written here means the same in the dialect of OpenAPI 3.2
//! (2020-12) and in that of AsyncAPI 3.0 (draft 07).
//!
//! Not for requests and answers as a whole (operation.rs), nor for events (asyncapi.rs).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use sse_proto::call::answer_names;

use crate::catalog::{Catalog, Column, Kind, Shown, Table};
use crate::declaration::Way;
use crate::model::{Answer, Form, Routine};
use crate::name::{Names, ascii, pascal};
use crate::text::seen;

/// Domains, arrays and rows within each other that are written out; see [`crate::declaration`].
const MAX_DEPTH: usize = 64;

/// Where the components are, as a reference names it.
const COMPONENTS: &str = "#/components/schemas/";

/// The named types that were met so far.
pub(crate) struct Schemas<'c> {
    catalog: &'c Catalog,
    names: Names,
    /// The name of each, with a capital letter.
    given: HashMap<u32, String>,
    /// What each is, in each way.
    known: HashMap<(u32, Way), Value>,
    /// By their names; `None` while one is being written.
    components: BTreeMap<String, Option<String>>,
    /// The component of the changes of each table, and which answers of snapshots were met: thousands of
    /// streams may share one. By their addresses, which stay, since the model is borrowed.
    changes: HashMap<*const Table, Value>,
    met: HashSet<*const Answer>,
    bytes: usize,
    depth: usize,
}

impl<'c> Schemas<'c> {
    /// `reserved`: the components that are there already.
    pub(crate) fn new(catalog: &'c Catalog, reserved: &str) -> Self {
        Self {
            catalog,
            names: Names::besides(reserved),
            given: HashMap::new(),
            known: HashMap::new(),
            components: BTreeMap::new(),
            changes: HashMap::new(),
            met: HashSet::new(),
            bytes: 0,
            depth: 0,
        }
    }

    /// Bytes of the components.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The components, in the order of their names, and each as one line.
    pub(crate) fn into_components(self) -> impl Iterator<Item = (String, String)> {
        self.components.into_iter().filter_map(|(name, written)| Some((name, written?)))
    }

    /// A value that may be NULL, unless its type or its column forbids it.
    pub(crate) fn nullable(&mut self, oid: u32, not_null: bool, way: Way) -> Value {
        let schema = self.of(oid, way);
        let never = not_null || way == Way::Query || self.catalog.is_not_null(oid);
        if never { schema } else { or_null(schema) }
    }

    /// A value that is there.
    pub(crate) fn of(&mut self, oid: u32, way: Way) -> Value {
        if let Some(known) = self.known.get(&(oid, way)) {
            return known.clone();
        }
        if self.depth == MAX_DEPTH {
            return json!({});
        }
        self.depth += 1;
        let schema = self.of_kind(oid, way);
        self.depth -= 1;
        self.known.insert((oid, way), schema.clone());
        schema
    }

    fn of_kind(&mut self, oid: u32, way: Way) -> Value {
        let is_request = way != Way::Answer;
        match self.catalog.kind(oid) {
            Kind::Text | Kind::Number | Kind::BigNumber => plain(oid, is_request),
            Kind::Boolean => json!({ "type": "boolean" }),
            Kind::Opaque if is_request => json!({ "type": "string" }),
            Kind::Json if way == Way::Query => {
                json!({ "type": "string", "contentMediaType": "application/json" })
            }
            Kind::Json | Kind::Opaque => json!({}),
            Kind::Enum(_) => self.named(oid, Way::Answer),
            // A query string has a row as JSON, which can say NULL.
            Kind::Row(_) if way == Way::Query => {
                let row = self.named(oid, Way::Request);
                json!({ "type": "string", "contentMediaType": "application/json", "contentSchema": row })
            }
            Kind::Row(_) => self.named(oid, way),
            Kind::Array(element) => json!({ "type": "array", "items": self.nullable(*element, false, way) }),
            Kind::Domain { base, .. } => {
                let schema = self.of(*base, way);
                let is_same = !is_request || schema == self.of(*base, Way::Answer);
                if is_same { self.named(oid, Way::Answer) } else { schema }
            }
        }
    }

    /// A reference to the component of a type, which is written when it is met first.
    fn named(&mut self, oid: u32, way: Way) -> Value {
        let Some(definition) = self.catalog.types.get(&oid) else { return json!({}) };
        let name = match self.given.get(&oid) {
            Some(name) => name.clone(),
            None => {
                let both = |name: &str| vec![title(name), format!("{}Input", title(name))];
                let name = title(&self.names.take(&definition.schema, &definition.name, both));
                self.given.insert(oid, name.clone());
                name
            }
        };
        let name = if way == Way::Request { format!("{name}Input") } else { name };
        if !self.components.contains_key(&name) {
            self.components.insert(name.clone(), None);
            let schema = match &definition.kind {
                Kind::Row(columns) => self.row(columns, way),
                Kind::Enum(labels) if labels.is_empty() => json!({ "not": {} }),
                Kind::Enum(labels) => json!({ "type": "string", "enum": labels }),
                Kind::Domain { base, .. } => self.of(*base, way),
                _ => json!({}),
            };
            self.component(&name, &schema);
        }
        reference(&name)
    }

    fn component(&mut self, name: &str, schema: &Value) {
        let written = seen(&schema.to_string());
        self.bytes += written.len() + name.len();
        self.components.insert(name.to_owned(), Some(written));
    }

    /// Lets the types of an answer be met, once.
    pub(crate) fn meet_shared(&mut self, answer: &Arc<Answer>) {
        if self.met.insert(Arc::as_ptr(answer)) {
            self.answer(answer);
        }
    }

    /// A reference to the component for the changes of a table, which is named after the oldest routine whose
    /// stream tells them. Columns have their names of SQL.
    pub(crate) fn changes(&mut self, table: &Arc<Table>, routine: &Routine) -> Value {
        if let Some(known) = self.changes.get(&Arc::as_ptr(table)) {
            return known.clone();
        }
        let both = |name: &str| ["Change", "Columns"].map(|end| format!("{}{end}", title(name))).to_vec();
        let stem = title(&self.names.take(&routine.schema, &routine.name, both));
        let (change, columns) = (format!("{stem}Change"), format!("{stem}Columns"));
        let (mut row, mut key) = (Object::default(), Object::default());
        for Shown { column, is_key, is_always } in &table.columns {
            // Rows within a column have their names of SQL, for which there is no schema.
            let value = match self.catalog.has_row(column.of) {
                true => json!({}),
                false => self.nullable(column.of, column.not_null, Way::Answer),
            };
            if *is_key {
                key.member(column.name.clone(), value.clone(), true);
            }
            row.member(column.name.clone(), value, *is_always);
        }
        self.component(&columns, &row.schema(false));
        let key = match table.keys().next() {
            Some(_) => or_null(key.schema(false)),
            None => json!({ "type": "null" }),
        };
        let row = or_null(reference(&columns));
        let mut object = Object::default();
        object.member("op".to_owned(), json!({ "enum": ["INSERT", "UPDATE", "DELETE"] }), true);
        for name in ["schema", "table"] {
            object.member(name.to_owned(), json!({ "type": "string" }), true);
        }
        for (name, value) in [("key", key), ("new", row.clone()), ("old", row)] {
            object.member(name.to_owned(), value, true);
        }
        self.component(&change, &object.schema(false));
        let known = reference(&change);
        self.changes.insert(Arc::as_ptr(table), known.clone());
        known
    }

    /// An answer has all columns; a member that a request leaves out is NULL, and any other is refused.
    fn row(&mut self, columns: &[Column], way: Way) -> Value {
        let own: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        let mut object = Object::default();
        for (column, shown) in columns.iter().zip(answer_names(&own)) {
            // A table's NOT NULL says what its rows have, and nothing about what a request may give.
            let not_null = column.not_null && way == Way::Answer;
            let value = self.nullable(column.of, not_null, way);
            let is_required = way == Way::Answer || self.catalog.is_not_null(column.of);
            object.member(shown, value, is_required);
        }
        object.schema(way == Way::Request)
    }

    /// Of the body of an answer its media type and its schema; `None`: it has none.
    pub(crate) fn answer(&mut self, answer: &Answer) -> Option<(&'static str, Value)> {
        const JSON: &str = "application/json";
        const TEXT: &str = "text/plain";
        let (kind, row, not_null) = match &answer.form {
            Form::Nothing => return None,
            Form::Login => (TEXT, json!({ "type": "string" }), true),
            Form::Text(of) => (TEXT, self.text(*of), true),
            Form::Json(of) => (JSON, self.of(*of, Way::Answer), self.catalog.is_not_null(*of)),
            Form::Row(of) => (JSON, self.of(*of, Way::Answer), true),
            Form::Columns(columns) => {
                let mut object = Object::default();
                for column in columns {
                    let value =
                        column.of.map_or_else(|| json!({}), |of| self.nullable(of, false, Way::Answer));
                    object.member(column.name.clone(), value, true);
                }
                (JSON, object.schema(false), true)
            }
        };
        let schema = match answer.is_set {
            true => json!({ "type": "array", "items": if not_null { row } else { or_null(row) } }),
            false => row,
        };
        Some((kind, schema))
    }

    /// A value as it stands in `text/plain`.
    fn text(&mut self, oid: u32) -> Value {
        match self.catalog.base_kind(oid) {
            Kind::Boolean => json!({ "type": "string", "enum": ["true", "false"] }),
            Kind::Number | Kind::BigNumber => match self.catalog.base(oid) {
                20 | 21 | 23 => json!({ "type": "string", "pattern": "^-?[0-9]+$" }),
                1700 => json!({ "type": "string", "format": "decimal" }),
                _ => json!({ "type": "string" }),
            },
            Kind::Enum(_) => self.of(oid, Way::Answer),
            Kind::Text if self.catalog.base(oid) == UUID => self.of(oid, Way::Answer),
            _ => json!({ "type": "string" }),
        }
    }
}

fn reference(component: &str) -> Value {
    json!({ "$ref": format!("{COMPONENTS}{component}") })
}

const UUID: u32 = 2950;

/// A type that has neither a name nor parts. Formats are those of OpenAPI's registry. As a format says less
/// than a pattern, it does not exclude what a type has besides: `infinity`, or a year before Christ.
fn plain(oid: u32, is_request: bool) -> Value {
    match oid {
        21 => json!({ "type": "integer", "format": "int16" }),
        23 => json!({ "type": "integer", "format": "int32" }),
        20 if is_request => json!({ "type": ["integer", "string"], "format": "int64" }),
        20 => json!({ "type": "integer", "format": "int64" }),
        700 => json!({ "type": "number", "format": "float" }),
        701 => json!({ "type": "number", "format": "double" }),
        1700 if is_request => json!({ "type": ["number", "string"] }),
        1700 => json!({ "type": "number" }),
        17 if is_request => json!({ "type": "string", "pattern": "^\\\\x(?:[0-9a-fA-F]{2})*$" }),
        1082 => json!({ "type": "string", "format": "date" }),
        1083 => json!({ "type": "string", "format": "time-local" }),
        1114 => json!({ "type": "string", "format": "date-time-local" }),
        1184 => json!({ "type": "string", "format": "date-time" }),
        UUID => json!({ "type": "string", "format": "uuid" }),
        _ => json!({ "type": "string" }),
    }
}

/// The same or `null`.
fn or_null(mut schema: Value) -> Value {
    let is_anything = schema.as_object().is_some_and(Map::is_empty);
    let is_closed = schema.get("enum").is_some() || schema.get("const").is_some();
    match schema.get_mut("type") {
        _ if is_anything => return schema,
        Some(Value::Array(types)) if !is_closed => types.push("null".into()),
        Some(of) if !is_closed => *of = json!([of.take(), "null"]),
        _ => return json!({ "anyOf": [schema, { "type": "null" }] }),
    }
    schema
}

/// The schema of an object that is being put together.
#[derive(Default)]
pub(crate) struct Object {
    properties: Map<String, Value>,
    required: Vec<Value>,
}

impl Object {
    pub(crate) fn member(&mut self, name: String, value: Value, is_required: bool) {
        if is_required {
            self.required.push(name.as_str().into());
        }
        self.properties.insert(name, value);
    }

    /// `is_closed`: further members are refused.
    pub(crate) fn schema(self, is_closed: bool) -> Value {
        let mut schema = json!({ "type": "object", "properties": self.properties });
        if !self.required.is_empty() {
            schema["required"] = self.required.into();
        }
        if is_closed {
            schema["additionalProperties"] = false.into();
        }
        schema
    }
}

/// The name of a component: with a capital letter, and of ASCII alone.
fn title(word: &str) -> String {
    ascii(&pascal(word))
}
