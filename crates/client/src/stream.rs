//! What a client exports for the stream of a routine: the factory of an EventSource, the types of its events
//! and rows, and the stream as the npm package pg-sse takes it (C7.11).
//!
//! Not for calls (function.rs).

use std::collections::HashMap;
use std::fmt::Write;

use sse_proto::call::answer_names;

use crate::answer::written;
use crate::catalog::{Column, Kind, Shown, Table};
use crate::declaration::{Way, interface, member};
use crate::function::{Functions, stem, tail};
use crate::model::{Answer, Form, Routine, Snapshot, Stream};
use crate::text::{comment, key, literal};

/// An event of a stream: its name, how its data is read, and the type of that.
type Event<'s> = (&'s str, &'static str, String);

/// What `sse.publish_change()` names its events.
pub(crate) const OF_CHANGES: [&str; 3] = ["insert", "update", "delete"];

/// What `live` of pg-sse is told of a stream.
struct Rows {
    /// How columns are named: `camel` or `sql`.
    names: &'static str,
    /// Members of a row.
    members: String,
    /// The columns of the key, as they are named in a row.
    key: Vec<String>,
}

impl Functions<'_> {
    pub(crate) fn stream(&mut self, routine: &Routine, stream: &Stream, name: &str, factory: &str) {
        self.used.streams = true;
        self.factory(routine, stream, factory);
        let mut events: Vec<Event<'_>> = Vec::new();
        if let Some(snapshot) = &stream.snapshot {
            let kind = self.snapshot(snapshot, name);
            add(&mut events, (named(snapshot.event.as_ref()), kind, format!("{}Snapshot", tail(name))));
        }
        if let Some(table) = &stream.changes {
            self.changes(table, name);
            for event in OF_CHANGES {
                add(&mut events, (event, "json", format!("{}Change", tail(name))));
            }
        }
        add(&mut events, (named(routine.event.as_ref()), "text", "string".to_owned()));
        add(&mut events, ("message", "text", "string".to_owned()));
        self.constant(routine, stream, name, &events);
    }

    fn factory(&mut self, routine: &Routine, stream: &Stream, factory: &str) {
        let docs = if routine.call.is_none() { routine.docs.as_str() } else { "" };
        let mut docs: Vec<String> = docs.lines().map(str::to_owned).collect();
        if !docs.is_empty() {
            docs.push(String::new());
        }
        docs.push(
            "A stream that opens itself again. With `id`, of the events that have an execution id those with"
                .to_owned(),
        );
        docs.push("this one come; with `topics`, those of these topics come, too.".to_owned());
        if let Some(event) = &routine.event {
            docs.push(format!("Its events are named {}.", literal(event)));
        }
        docs.push(String::new());
        docs.push(format!("`GET {}`", stream.path));
        let _ = write!(self.text, "\n{}", comment(docs.iter().map(String::as_str), ""));
        let path = literal(&stream.path);
        let _ = writeln!(
            self.text,
            "export function {factory}(id = \"\", topics: readonly string[] = []): EventSource {{\n    \
                 return api_open({path}, id, topics);\n}}"
        );
    }

    /// The snapshot's type and how an EventSource's event is read. Answers how its text is read.
    fn snapshot(&mut self, snapshot: &Snapshot, name: &str) -> &'static str {
        let own = format!("{}Snapshot", tail(name));
        let written = written(&snapshot.answer, &own, &mut self.types, self.catalog, &mut self.names);
        let of = written.of.unwrap_or_else(|| "null".to_owned());
        let declaration = match written.declaration.as_str() {
            "" => format!("export type {own} = {of};\n"),
            declaration if of == own => declaration.to_owned(),
            // A set of rows that have no other name.
            _ => {
                let row = format!("{}SnapshotRow", tail(name));
                let declaration = written.declaration.replacen(&own, &row, 1);
                format!("{declaration}\nexport type {own} = {};\n", of.replacen(&own, &row, 1))
            }
        };
        self.used.snapshots = true;
        let _ = write!(self.text, "\n{declaration}");
        let event = literal(named(snapshot.event.as_ref()));
        let docs = format!("What the stream begins with: the data of its event {event}.");
        self.text.push('\n');
        self.text.push_str(&comment(std::iter::once(docs.as_str()), ""));
        let kind = written.kind;
        let _ = writeln!(
            self.text,
            "export function read{own}(event: Event): {own} {{\n    return api_snapshot<{own}>(\"{kind}\", event);\n}}"
        );
        kind
    }

    /// The types of the events of `sse.publish_change()`.
    fn changes(&mut self, table: &Table, name: &str) {
        let (columns, change) = (format!("{}Columns", tail(name)), format!("{}Change", tail(name)));
        let mut members = String::new();
        for shown in &table.columns {
            let value = self.column(shown);
            let _ = writeln!(members, "    {}", member(&shown.column.name, &value, !shown.is_always));
        }
        let keys: Vec<String> = table.keys().map(|shown| literal(&shown.column.name)).collect();
        // `key` has all of them, whatever `new` and `old` have.
        let keys = match keys.as_slice() {
            [] => "never".to_owned(),
            keys if table.keys().all(|shown| shown.is_always) => {
                format!("Pick<{columns}, {}>", keys.join(" | "))
            }
            keys => format!("Required<Pick<{columns}, {}>>", keys.join(" | ")),
        };
        let _ = write!(
            self.text,
            "\n/** The columns that changes tell, by their names of SQL. */\n{}\n\
             /** The data of its events \"insert\", \"update\" and \"delete\". */\n\
             export type {change} = RowChange<{columns}, {keys}>;\n",
            interface(&columns, &members)
        );
    }

    /// The type of a column of a change. Rows within it have their names of SQL, for which there is no type.
    fn column(&mut self, shown: &Shown) -> String {
        let Column { of, not_null, .. } = shown.column;
        match self.catalog.has_row(of) {
            true => "unknown".to_owned(),
            false => self.types.nullable(of, not_null, Way::Answer, &mut self.names),
        }
    }

    fn constant(&mut self, routine: &Routine, stream: &Stream, name: &str, events: &[Event<'_>]) {
        let own = format!("{}Events", tail(name));
        let members: String =
            events.iter().map(|(name, _, of)| format!("    {}: {of};\n", key(name))).collect();
        let kinds: Vec<String> =
            events.iter().map(|(name, kind, _)| format!("{}: \"{kind}\"", property(name))).collect();
        let rows = stream.changes.as_ref().and_then(|table| self.rows(stream, table));
        let mut tells = format!(
            "    path: {},\n    origin: api_origin,\n    events: {{ {} }},\n",
            literal(&stream.path),
            kinds.join(", ")
        );
        let _ = write!(self.text, "\n/** What its events have, by name. */\n{}", interface(&own, &members));
        let constant = format!("{}Stream", stem(name));
        let Some(rows) = rows else {
            let _ = write!(
                self.text,
                "\n/** This stream, for `subscribe` of pg-sse. */\n\
                 export const {constant}: ApiStream<{own}> = {{\n{tells}}};\n"
            );
            return;
        };
        let row = format!("{}Row", tail(name));
        if let Some(event) = stream.snapshot.as_ref().and_then(|snapshot| own_name(snapshot, routine)) {
            let _ = writeln!(tells, "    snapshot: {},", literal(event));
        }
        let keys: Vec<String> = rows.key.iter().map(|column| literal(column)).collect();
        let _ = write!(tells, "    key: [{}],\n    names: \"{}\",\n", keys.join(", "), rows.names);
        let _ = write!(
            self.text,
            "\n/** A row of {{@link {constant}}}. */\n{}\n\
             /** This stream, for `live` and `subscribe` of pg-sse. */\n\
             export const {constant}: ApiLive<{own}, {row}> = {{\n{tells}}};\n",
            interface(&row, &rows.members)
        );
    }

    /// What `live` makes of a snapshot and the changes; `None` where it could not tell rows apart.
    fn rows(&mut self, stream: &Stream, table: &Table) -> Option<Rows> {
        table.keys().next()?;
        let snapshot = stream.snapshot.as_ref().map(|snapshot| snapshot.answer.as_ref());
        let own: Vec<String> = table.columns.iter().map(|shown| shown.column.name.clone()).collect();
        if matches!(snapshot, Some(Answer { form: Form::Json(of), .. }) if *self.catalog.base_kind(*of) == Kind::Json)
        {
            // JSON is sent as it is, so it has to be as the changes are.
            return Some(self.table_rows("sql", table, &own));
        }
        let camel: Vec<String> = answer_names(&own).into_iter().collect();
        let Some(snapshot) = snapshot else { return Some(self.table_rows("camel", table, &camel)) };
        let columns = self.columns(snapshot)?;
        let mut rows = Rows { names: "camel", members: String::new(), key: Vec::new() };
        for (_, name) in table.columns.iter().zip(&camel).filter(|(shown, _)| shown.is_key) {
            if !columns.iter().any(|(column, ..)| column == name) {
                return None;
            }
            rows.key.push(name.clone());
        }
        let mut shown_as: HashMap<&str, &Shown> = HashMap::new();
        for (shown, name) in table.columns.iter().zip(&camel) {
            shown_as.entry(name).or_insert(shown);
        }
        for (name, of, not_null) in &columns {
            let told = shown_as.get(name.as_str());
            let value = match (of, told) {
                (Some(of), Some(shown)) if shown.column.of == *of && !self.catalog.has_row(*of) => {
                    self.types.nullable(*of, *not_null, Way::Answer, &mut self.names)
                }
                (Some(of), None) => self.types.nullable(*of, *not_null, Way::Answer, &mut self.names),
                // Changes bring something else than the snapshot.
                _ => "unknown".to_owned(),
            };
            let is_told = told.is_some_and(|shown| shown.is_in_row());
            let _ = writeln!(rows.members, "    {}", member(name, &value, !is_told));
        }
        Some(rows)
    }

    fn table_rows(&mut self, names: &'static str, table: &Table, shown_as: &[String]) -> Rows {
        let mut rows = Rows { names, members: String::new(), key: Vec::new() };
        for (shown, name) in table.columns.iter().zip(shown_as) {
            let value = self.column(shown);
            let _ = writeln!(rows.members, "    {}", member(name, &value, !shown.is_in_row()));
            if shown.is_key {
                rows.key.push(name.clone());
            }
        }
        rows
    }

    /// The columns of a snapshot that is a set of rows: name, type if it is known, and whether it is never
    /// null.
    fn columns(&self, snapshot: &Answer) -> Option<Vec<(String, Option<u32>, bool)>> {
        if !snapshot.is_set {
            return None;
        }
        match &snapshot.form {
            Form::Columns(columns) => {
                Some(columns.iter().map(|column| (column.name.clone(), column.of, false)).collect())
            }
            Form::Row(of) => {
                let Kind::Row(columns) = self.catalog.base_kind(*of) else { return None };
                let own: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
                let named = answer_names(&own).into_iter().zip(columns);
                Some(named.map(|(name, column)| (name, Some(column.of), column.not_null)).collect())
            }
            _ => None,
        }
    }
}

impl Table {
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Shown> {
        self.columns.iter().filter(|shown| shown.is_key)
    }
}

impl Shown {
    /// `live` puts the key and what is shown together.
    fn is_in_row(&self) -> bool {
        self.is_key || self.is_always
    }
}

/// The name that a page hears; without one it is `message`.
fn named(event: Option<&String>) -> &str {
    event.map_or("message", String::as_str)
}

/// The name that only the snapshot has.
fn own_name<'s>(snapshot: &'s Snapshot, routine: &Routine) -> Option<&'s str> {
    let name = snapshot.event.as_deref()?;
    let is_shared = name == "message" || OF_CHANGES.contains(&name) || Some(name) == routine.event.as_deref();
    (!is_shared).then_some(name)
}

/// What two kinds of events are called is a text that either may be.
fn add<'s>(events: &mut Vec<Event<'s>>, event: Event<'s>) {
    match events.iter_mut().find(|(name, ..)| *name == event.0) {
        None => events.push(event),
        Some(known) if *known == event => {}
        Some(known) => (known.1, known.2) = ("text", "string".to_owned()),
    }
}

/// The key of an object. Bare, this one would be its prototype.
fn property(name: &str) -> String {
    if name == "__proto__" { "[\"__proto__\"]".to_owned() } else { key(name) }
}
