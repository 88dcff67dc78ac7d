//! What a client exports for one routine: a function that calls it, further ones that follow it while it
//! runs, and their types.
//!
//! Not for its stream (stream.rs), nor for how they work: that is in runtime/, the same for all.

use std::collections::HashMap;
use std::fmt::Write;

use crate::answer::{Written, written};
use crate::catalog::{Catalog, Kind};
use crate::declaration::{Types, Way, interface, member};
use crate::model::{Call, Parameter, Routine};
use crate::name::{Names, pascal};
use crate::text::{comment, literal};

/// Which parts of the runtime are used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    pub(crate) calls: bool,
    pub(crate) voids: bool,
    pub(crate) streams: bool,
    pub(crate) snapshots: bool,
    pub(crate) listening: bool,
    pub(crate) streamed: bool,
    pub(crate) begun: bool,
}

/// Writes routine after routine.
pub(crate) struct Functions<'c> {
    pub(crate) catalog: &'c Catalog,
    pub(crate) types: Types<'c>,
    pub(crate) names: Names,
    /// The name of the oldest overload, by schema and name.
    overloads: HashMap<(&'c str, &'c str), String>,
    /// Which factory opens a path: overloads may share one.
    factories: HashMap<&'c str, String>,
    pub(crate) used: Used,
    pub(crate) text: String,
}

impl<'c> Functions<'c> {
    pub(crate) fn new(catalog: &'c Catalog) -> Self {
        Self {
            catalog,
            types: Types::new(catalog),
            names: Names::new(),
            overloads: HashMap::new(),
            factories: HashMap::new(),
            used: Used::default(),
            text: String::new(),
        }
    }

    pub(crate) fn routine(&mut self, routine: &'c Routine) {
        let name = match self.overloads.get(&(routine.schema.as_str(), routine.name.as_str())) {
            Some(oldest) => self.names.take_numbered(oldest, made),
            None => {
                let name = self.names.take(&routine.schema, &routine.name, made);
                self.overloads.insert((&routine.schema, &routine.name), name.clone());
                name
            }
        };
        if let Some(call) = &routine.call {
            self.call(routine, call, &name);
        }
        if let Some(stream) = &routine.stream
            && !self.factories.contains_key(stream.path.as_str())
        {
            let factory = format!("create{}EventSource", tail(&name));
            self.factories.insert(&stream.path, factory.clone());
            self.stream(routine, stream, &name, &factory);
        }
    }

    fn call(&mut self, routine: &Routine, call: &Call, name: &str) {
        let tail = tail(name);
        let request = self.request(call, &format!("{tail}Request"));
        let own = format!("{tail}Response");
        let Written { of, kind, declaration } =
            written(&call.answer, &own, &mut self.types, self.catalog, &mut self.names);
        if !declaration.is_empty() {
            let _ = write!(self.text, "\n{declaration}");
        }
        self.used.calls = true;
        let constant = format!("{}Call", stem(name));
        let given = match (call.parameters.is_empty(), call.may_be_left()) {
            (true, _) => "undefined".to_owned(),
            (false, false) => format!("{tail}Request"),
            (false, true) => format!("{tail}Request | undefined"),
        };
        let value = of.as_deref().unwrap_or("null");
        let _ = writeln!(
            self.text,
            "\n/** {{@link {name}}}, for `call` of pg-sse. */\n\
             export const {constant}: ApiCall<{given}, {value}> = {{{}}};",
            self.how(call, kind)
        );
        let shape =
            Shape { name: &tail, constant: &constant, request: request.as_deref(), of: of.as_deref() };
        self.plain(routine, call, name, &shape);
        if routine.publishes && call.can_be_long {
            self.streamed(&shape);
        }
        if routine.stream.is_some() && call.can_be_long {
            self.begun(routine, &shape);
        }
    }

    /// The parameter for the request, if the routine takes one; its type is declared.
    fn request(&mut self, call: &Call, name: &str) -> Option<String> {
        if call.parameters.is_empty() {
            return None;
        }
        let way = if call.is_in_query() { Way::Query } else { Way::Request };
        let mut members = String::new();
        for Parameter { name, of, has_default, not_null } in &call.parameters {
            let value = self.types.nullable(*of, *not_null, way, &mut self.names);
            let _ = writeln!(members, "    {}", member(name, &value, *has_default));
        }
        let _ = write!(self.text, "\n{}", interface(name, &members));
        Some(format!("request{}: {name}", if call.may_be_left() { "?" } else { "" }))
    }

    fn how(&self, call: &Call, kind: &str) -> String {
        let method = call.method.as_str();
        let mut how = format!(" method: \"{method}\", path: {}, kind: \"{kind}\"", literal(&call.path));
        let of = |is_it: &dyn Fn(&Kind) -> bool| {
            let those =
                call.parameters.iter().filter(|parameter| is_it(self.catalog.base_kind(parameter.of)));
            those.map(|parameter| literal(&parameter.name)).collect::<Vec<_>>().join(", ")
        };
        let json = of(&|kind| *kind == Kind::Json);
        let arrays =
            of(&|kind| matches!(kind, Kind::Array(of) if *self.catalog.base_kind(*of) == Kind::Json));
        if call.is_in_query() && !json.is_empty() {
            let _ = write!(how, ", json: [{json}]");
        }
        if call.is_in_query() && !arrays.is_empty() {
            let _ = write!(how, ", jsonArrays: [{arrays}]");
        }
        how + ", origin: api_origin "
    }

    fn plain(&mut self, routine: &Routine, call: &Call, name: &str, shape: &Shape<'_>) {
        let way = format!("`{} {}`", call.method.as_str(), call.path);
        let apart = (!routine.docs.is_empty()).then_some("");
        self.text.push('\n');
        self.text.push_str(&comment(routine.docs.lines().chain(apart).chain([way.as_str()]), ""));
        let run = |options: &str| {
            format!("api_call<{}>({}, {}, {options})", shape.value(), shape.constant, shape.given())
        };
        let mut parameters: Vec<String> = shape.request.map(str::to_owned).into_iter().collect();
        let body = match &routine.stream {
            None => run("options"),
            Some(stream) => {
                self.used.listening = true;
                let own = ["onMessage?: (message: string) => void", "id?: string", "closeAfterMs = 1000"];
                parameters.extend(own.map(str::to_owned));
                parameters.push("awaitConnectionMs = 10000".to_owned());
                let listening = format!(
                    "{{ path: {}, events: {}, onMessage, id, closeAfterMs, awaitConnectionMs }}",
                    literal(&stream.path),
                    events(routine)
                );
                format!(
                    "api_listen(\n        {listening},\n        options,\n        (all) => {},\n    )",
                    run("all")
                )
            }
        };
        parameters.push("options: ApiOptions = {}".to_owned());
        self.function(name, &parameters, shape, &body);
    }

    /// C7.8
    fn streamed(&mut self, shape: &Shape<'_>) {
        self.used.streamed = true;
        self.text
            .push_str("\n/** The same; the events of this very call come to `onMessage` while it runs. */\n");
        let mut parameters: Vec<String> = shape.request.map(str::to_owned).into_iter().collect();
        parameters.push("onMessage?: (message: string, event: string) => void".to_owned());
        parameters.push("options: ApiOptions = {}".to_owned());
        let body = format!(
            "api_stream<{}>({}, {}, onMessage, options)",
            shape.value(),
            shape.constant,
            shape.given()
        );
        self.function(&format!("stream{}", shape.name), &parameters, shape, &body);
    }

    /// C7.9
    fn begun(&mut self, routine: &Routine, shape: &Shape<'_>) {
        self.used.begun = true;
        let Shape { name, constant, .. } = shape;
        let request = shape.request.map(|request| format!("{request}, ")).unwrap_or_default();
        let _ = writeln!(
            self.text,
            "\n/** The same; it goes on without its caller, and can be followed with {{@link follow{name}}}. */\n\
             export function begin{name}({request}options: ApiOptions = {{}}): Promise<ApiBegun> {{\n    \
                 return api_begin({constant}, {}, options);\n}}",
            shape.given()
        );
        self.text.push_str("\n/** What was begun: its events, then its answer. */\n");
        let parameters =
            ["location: string", "onMessage?: (message: string) => void", "options: ApiOptions = {}"];
        let body = format!(
            "api_follow<{}>({constant}, {}, location, onMessage, options)",
            shape.value(),
            events(routine)
        );
        self.function(&format!("follow{name}"), &parameters.map(str::to_owned), shape, &body);
    }

    fn function(&mut self, name: &str, parameters: &[String], shape: &Shape<'_>, body: &str) {
        let parameters = match parameters {
            [_] | [_, _] => parameters.join(", "),
            _ => format!("\n    {},\n", parameters.join(",\n    ")),
        };
        let (returns, body) = match shape.of {
            Some(of) => (format!("ApiResult<{of}>"), body.to_owned()),
            None => {
                self.used.voids = true;
                ("ApiVoidResult".to_owned(), format!("api_void({body})"))
            }
        };
        let _ = writeln!(
            self.text,
            "export function {name}({parameters}): Promise<{returns}> {{\n    return {body};\n}}"
        );
    }
}

/// What the functions of one routine have in common.
struct Shape<'s> {
    /// The end of their names.
    name: &'s str,
    constant: &'s str,
    request: Option<&'s str>,
    of: Option<&'s str>,
}

impl Shape<'_> {
    fn value(&self) -> &str {
        self.of.unwrap_or("null")
    }

    fn given(&self) -> &'static str {
        if self.request.is_some() { "request" } else { "undefined" }
    }
}

/// The events of a stream that are messages: those with its name, and those without one.
fn events(routine: &Routine) -> String {
    match &routine.event {
        Some(event) => format!("[\"message\", {}]", literal(event)),
        None => "[\"message\"]".to_owned(),
    }
}

/// All names that are made of a routine's, whether it has them now or gets them later.
fn made(name: &str) -> Vec<String> {
    let tail = tail(name);
    let mut names = vec![name.to_owned(), format!("create{tail}EventSource"), format!("read{tail}Snapshot")];
    names.extend(["stream", "begin", "follow"].map(|begin| format!("{begin}{tail}")));
    names.extend(["Call", "Stream"].map(|end| format!("{}{end}", stem(name))));
    let types = ["Request", "Response", "Snapshot", "SnapshotRow", "Events", "Columns", "Change", "Row"];
    names.extend(types.map(|end| format!("{tail}{end}")));
    names
}

/// The beginning of the names of constants.
pub(crate) fn stem(name: &str) -> &str {
    name.trim_end_matches('_')
}

/// The end of the names of functions, and the beginning of those of types.
pub(crate) fn tail(name: &str) -> String {
    pascal(stem(name))
}
