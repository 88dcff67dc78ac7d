//! The types of a client: what each type of SQL is in a request and in an answer, and the declarations of
//! those that have a name.
//!
//! Not for requests and answers as a whole (answer.rs, function.rs).

use std::collections::{HashMap, HashSet};

use sse_proto::call::answer_names;

use crate::catalog::{Catalog, Column, Kind};
use crate::name::{Names, pascal};
use crate::text::{key, literal};

/// Which way a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    /// To the server, in JSON.
    Request,
    /// To the server, in a query string, which cannot say NULL.
    Query,
    /// From the server.
    Answer,
}

/// Domains, arrays and rows within each other that are written out. What is deeper is `unknown`: no routine
/// whose types are nested deeper is called with them, and a catalog that changes while it is read may have
/// circles.
const MAX_DEPTH: usize = 64;

/// The named types that were met so far, and their declarations.
pub(crate) struct Types<'c> {
    catalog: &'c Catalog,
    /// The name of each, with a capital letter.
    names: HashMap<u32, String>,
    /// Those that are declared, or being declared, in each way.
    declared: HashSet<(u32, Way)>,
    /// What each is, so that domains over domains are not gone through again for each of them.
    known: HashMap<(u32, Way), String>,
    /// In the order in which they were met.
    pub(crate) text: String,
    depth: usize,
}

impl<'c> Types<'c> {
    pub(crate) fn new(catalog: &'c Catalog) -> Self {
        Self {
            catalog,
            names: HashMap::new(),
            declared: HashSet::new(),
            known: HashMap::new(),
            text: String::new(),
            depth: 0,
        }
    }

    /// A value that may be NULL, unless its type or its column forbids it.
    pub(crate) fn nullable(&mut self, oid: u32, not_null: bool, way: Way, names: &mut Names) -> String {
        let written = self.written(oid, way, names);
        let never = not_null || way == Way::Query || self.catalog.is_not_null(oid);
        if never || written == "unknown" { written } else { format!("{written} | null") }
    }

    /// A value that is there.
    pub(crate) fn written(&mut self, oid: u32, way: Way, names: &mut Names) -> String {
        if let Some(known) = self.known.get(&(oid, way)) {
            return known.clone();
        }
        if self.depth == MAX_DEPTH {
            return "unknown".to_owned();
        }
        self.depth += 1;
        let written = self.of_kind(oid, way, names);
        self.depth -= 1;
        self.known.insert((oid, way), written.clone());
        written
    }

    fn of_kind(&mut self, oid: u32, way: Way, names: &mut Names) -> String {
        let is_request = way != Way::Answer;
        let plain = match self.catalog.kind(oid) {
            Kind::Text => "string",
            Kind::Number => "number",
            Kind::BigNumber if is_request => "number | bigint | string",
            Kind::BigNumber => "number",
            Kind::Boolean => "boolean",
            Kind::Opaque if is_request => "string",
            Kind::Json | Kind::Opaque => "unknown",
            Kind::Enum(_) => return self.named(oid, Way::Answer, names),
            Kind::Row(_) => return self.named(oid, way, names),
            Kind::Array(element) => {
                let element = self.nullable(*element, false, way, names);
                return if element.contains(' ') { format!("({element})[]") } else { format!("{element}[]") };
            }
            Kind::Domain { base, .. } => {
                let written = self.written(*base, way, names);
                let is_same = !is_request || written == self.written(*base, Way::Answer, names);
                return if is_same { self.named(oid, Way::Answer, names) } else { written };
            }
        };
        plain.to_owned()
    }

    /// The name of a type, which is declared when it is met first.
    fn named(&mut self, oid: u32, way: Way, names: &mut Names) -> String {
        let Some(definition) = self.catalog.types.get(&oid) else { return "unknown".to_owned() };
        let name = match self.names.get(&oid) {
            Some(name) => name.clone(),
            None => {
                let both = |name: &str| vec![pascal(name), format!("{}Input", pascal(name))];
                let name = pascal(&names.take(&definition.schema, &definition.name, both));
                self.names.insert(oid, name.clone());
                name
            }
        };
        // In a query string a row is JSON, which can say NULL.
        let way = if way == Way::Query { Way::Request } else { way };
        let shown = if way == Way::Request { format!("{name}Input") } else { name };
        if self.declared.insert((oid, way)) {
            let declaration = match &definition.kind {
                Kind::Row(columns) => self.row(&shown, columns, way, names),
                Kind::Enum(labels) => {
                    let labels: Vec<String> = labels.iter().map(|label| literal(label)).collect();
                    let labels = if labels.is_empty() { "never".to_owned() } else { labels.join(" | ") };
                    format!("export type {shown} = {labels};\n")
                }
                Kind::Domain { base, .. } => {
                    format!("export type {shown} = {};\n", self.written(*base, way, names))
                }
                _ => return "unknown".to_owned(),
            };
            self.text.push('\n');
            self.text.push_str(&declaration);
        }
        shown
    }

    /// A member that a request leaves out is NULL.
    fn row(&mut self, name: &str, columns: &[Column], way: Way, names: &mut Names) -> String {
        let own: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        let members = columns.iter().zip(answer_names(&own)).map(|(column, shown)| {
            // A table's NOT NULL says what its rows have, and nothing about what a request may give.
            let not_null = column.not_null && way == Way::Answer;
            let value = self.nullable(column.of, not_null, way, names);
            let may_be_left = way == Way::Request && !self.catalog.is_not_null(column.of);
            format!("    {}\n", member(&shown, &value, may_be_left))
        });
        let members: String = members.collect();
        interface(name, &members)
    }
}

/// A member that may be left out or not. One that every object has by another meaning, a function, must not
/// be in the way of leaving it out.
pub(crate) fn member(name: &str, value: &str, may_be_left: bool) -> String {
    let is_inherited = OF_ALL_OBJECTS.contains(&name) && value != "unknown";
    match may_be_left {
        true if is_inherited => format!("{}?: {value} | object;", key(name)),
        true => format!("{}?: {value};", key(name)),
        false => format!("{}: {value};", key(name)),
    }
}

const OF_ALL_OBJECTS: [&str; 7] = [
    "constructor",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toLocaleString",
    "toString",
    "valueOf",
];

/// An interface with these members. One without members would be any value to the language.
pub(crate) fn interface(name: &str, members: &str) -> String {
    match members {
        "" => format!("export type {name} = Record<string, never>;\n"),
        _ => format!("export interface {name} {{\n{members}}}\n"),
    }
}
