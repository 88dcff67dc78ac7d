//! From routines to URLs (C2.3), and back from the path of a request to the stream it asks for.
//!
//! Where the contract leaves room, these are the rules:
//! - "Older" means the lower oid. A URL is taken by a subscribe URL, or by calls of one method; calls of different
//!   methods at one path stand side by side (`HTTP GET /messages` and `HTTP POST /messages`), a stream and a call never.
//! - Overloads that share a subscribe URL must ask for the same access and topic. If they do not, nobody can say which
//!   rule was meant, so the URL does not exist and each of them has a problem.
//! - Overloads that share the path and method of their calls must ask for the same access, `@login` and `@logout`. If
//!   they do not, none of them can be called.
//! - A routine that cannot be called for what its signature says keeps its streams, and its path.
//! - A segment that repeats the base path (`@sse_path /api/chat/live` at `/api/chat`) is the whole URL, as in NpgsqlRest.
//!
//! Not for HTTP: methods, `Host` and who may open a stream are the gateway's.

use crate::annotation::{Access, Annotation, Method, Problem, RoutineFacts, RoutineKind, Segment, path};
use crate::call::{self, Signature};
use crate::word::{Level, Topic};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};
use std::collections::{BTreeMap, HashMap};

mod calls;

pub use calls::{Call, CallPoint};

/// A routine as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routine {
    /// `pg_proc.oid`
    pub oid: u32,
    /// Name of its schema.
    pub schema: String,
    /// Its name, without arguments.
    pub name: String,
    /// Function or procedure.
    pub kind: RoutineKind,
    /// See [`RoutineFacts`].
    pub volatile: bool,
    /// See [`RoutineFacts`].
    pub parallel_safe: bool,
    /// See [`RoutineFacts`].
    pub has_identity_parameters: bool,
    /// Its `COMMENT`.
    pub comment: String,
    /// What a call has to know of it; `None` when it was not read, and then it cannot be called.
    pub signature: Option<Signature>,
}

impl Routine {
    /// What its annotation is judged by.
    pub fn facts(&self) -> RoutineFacts<'_> {
        RoutineFacts {
            schema: &self.schema,
            name: &self.name,
            kind: self.kind,
            volatile: self.volatile,
            parallel_safe: self.parallel_safe,
            has_identity_parameters: self.has_identity_parameters,
        }
    }
}

/// A subscribe URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its path.
    pub path: String,
    /// The routine, of overloads the one with the lowest oid.
    pub oid: u32,
    /// Who may open it.
    pub access: Access,
    /// The topic that every stream of it has (C4.5).
    pub topic: Option<Topic>,
}

/// What `sse.endpoints` and `sse.url` say of one annotated routine, be it right or wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `pg_proc.oid`
    pub oid: u32,
    /// Name of its schema.
    pub schema: String,
    /// Its name, without arguments.
    pub name: String,
    /// Function or procedure.
    pub kind: RoutineKind,
    /// The parsed comment; `None` when it has a mistake.
    pub annotation: Option<Annotation>,
    /// Method and path with which it is called, if it has an `HTTP` line and no problem.
    pub call: Option<(Method, String)>,
    /// Its subscribe URL, if it has one and no problem.
    pub url: Option<String>,
    /// Why it publishes nothing, has no URL and cannot be called (C2.5); empty if all is well.
    pub problems: Vec<Problem>,
    /// Why it cannot be called, while all else of it works: what its signature says, or a privilege that is missing.
    /// `call` is then `None`. Always empty for routines whose signature was not read.
    pub call_problems: Vec<Problem>,
}

/// All subscribe URLs and all annotated routines of the served database. Never changed, only built anew.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// In the order of their paths.
    routes: Vec<Route>,
    /// Path to position in `routes`.
    index: HashMap<String, usize>,
    endpoints: BTreeMap<u32, Endpoint>,
    /// In the order of their paths.
    call_points: Vec<CallPoint>,
    /// Path to position in `call_points`.
    call_index: HashMap<String, usize>,
}

impl RouteTable {
    /// Builds the table from routines in any order; those without an annotation are left out. The second value is
    /// every routine that has a problem, in the order of oids. A routine with a problem has no URL and takes none.
    pub fn build(
        routines: &[Routine],
        url_prefix: &str,
        default_level: Level,
    ) -> (Self, Vec<(u32, Vec<Problem>)>) {
        let endpoints: Vec<Endpoint> =
            routines.iter().filter_map(|r| Endpoint::of(r, url_prefix, default_level)).collect();
        let mut by_age: Vec<&Endpoint> = endpoints.iter().filter(|e| e.problems.is_empty()).collect();
        by_age.sort_by_key(|endpoint| endpoint.oid);
        let mut claims = Claims::default();
        let mut conflicts = Vec::new();
        for endpoint in by_age {
            conflicts.extend(claims.claim(endpoint).into_iter().map(|problem| (endpoint.oid, problem)));
        }
        let call_disputes: Vec<(u32, Problem)> =
            claims.calls.values().flat_map(|owners| calls::disputes(owners)).collect();
        let (mut routes, disputes) = claims.settle();
        routes.sort_by(|a, b| a.path.cmp(&b.path));
        let index = routes.iter().enumerate().map(|(at, route)| (route.path.clone(), at)).collect();

        let mut endpoints: BTreeMap<u32, Endpoint> = endpoints.into_iter().map(|e| (e.oid, e)).collect();
        for (oid, problem) in conflicts.into_iter().chain(disputes) {
            if let Some(endpoint) = endpoints.get_mut(&oid) {
                endpoint.problems.push(problem);
            }
        }
        for (oid, problem) in call_disputes {
            if let Some(endpoint) = endpoints.get_mut(&oid) {
                endpoint.call_problems.push(problem);
            }
        }
        let mut problems = Vec::new();
        for endpoint in endpoints.values_mut().filter(|endpoint| !endpoint.problems.is_empty()) {
            (endpoint.url, endpoint.call) = (None, None);
            problems.push((endpoint.oid, endpoint.problems.clone()));
        }
        for endpoint in endpoints.values_mut().filter(|endpoint| !endpoint.call_problems.is_empty()) {
            endpoint.call = None;
        }
        let call_points = calls::points(routines, |oid| endpoints.get(&oid));
        let call_index = call_points.iter().enumerate().map(|(at, point)| (point.path.clone(), at)).collect();
        (Self { routes, index, endpoints, call_points, call_index }, problems)
    }

    /// The stream that a request's path (without query) asks for. One trailing slash is tolerated (C6.1).
    ///
    /// Costs one look-up and no allocation; only a path that is not found and has `%` or a byte beyond ASCII is brought
    /// into canonical form (RFC 3986 §6.2.2: `%7e` is `~`, `%c3` is `%C3`) and looked up once more.
    pub fn find(&self, path: &str) -> Option<&Route> {
        self.routes.get(position(&self.index, path)?)
    }

    /// Number of subscribe URLs.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there is no subscribe URL.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// The subscribe URLs, in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// What is known of a routine; `None` when it is not annotated.
    pub fn endpoint(&self, oid: u32) -> Option<&Endpoint> {
        self.endpoints.get(&oid)
    }

    /// All annotated routines, in the order of oids.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.values()
    }
}

/// The path that calls and streams of a routine begin with (C2.3): the one its comment gives, else
/// `url_prefix/schema/name` without `public`. `url_prefix` may be empty; slashes at its ends do not count.
pub fn base_path(schema: &str, name: &str, annotation: &Annotation, url_prefix: &str) -> String {
    if let Some(given) = annotation.given_path() {
        return given.to_owned();
    }
    let prefix = url_prefix.trim_matches('/');
    let schema = if schema == "public" { String::new() } else { format!("/{}", slug(schema)) };
    format!("{}{prefix}{schema}/{}", if prefix.is_empty() { "" } else { "/" }, slug(name))
}

/// The path of a routine's stream: base path, slash, segment. `None` when it has no subscribe URL.
pub fn subscribe_path(
    schema: &str,
    name: &str,
    annotation: &Annotation,
    url_prefix: &str,
    default_level: Level,
) -> Option<String> {
    let segment = match annotation.subscribe.as_ref()? {
        Segment::Level => annotation.level_or(default_level).as_str(),
        Segment::Given(segment) => segment,
    };
    let mut path = base_path(schema, name, annotation, url_prefix);
    if !path.ends_with('/') {
        path.push('/');
    }
    if segment.starts_with(&path) {
        return Some(segment.to_owned());
    }
    path.push_str(segment.trim_start_matches('/'));
    Some(path)
}

impl Endpoint {
    /// `None`: the routine is not annotated. URLs are not yet compared with those of others.
    fn of(routine: &Routine, url_prefix: &str, default_level: Level) -> Option<Self> {
        let mut endpoint = Self {
            oid: routine.oid,
            schema: routine.schema.clone(),
            name: routine.name.clone(),
            kind: routine.kind,
            annotation: None,
            call: None,
            url: None,
            problems: Vec::new(),
            call_problems: Vec::new(),
        };
        let annotation = match Annotation::parse(&routine.comment) {
            Ok(annotation) => annotation?,
            Err(problems) => return Some(Self { problems, ..endpoint }),
        };
        let (schema, name) = (routine.schema.as_str(), routine.name.as_str());
        let base = base_path(schema, name, &annotation, url_prefix);
        endpoint.problems = annotation.check(&routine.facts());
        endpoint.url = subscribe_path(schema, name, &annotation, url_prefix, default_level);
        endpoint.call = annotation.http.as_ref().map(|http| (http.method(&routine.facts()), base.clone()));
        if endpoint.url.is_some() || endpoint.call.is_some() {
            // Browsers take `.`, `..` and their encoded forms out of a path before they send it.
            let cannot_stand = |part: &str| matches!(part, "" | "." | "..");
            if annotation.given_path().is_none() && [schema, name].iter().any(|n| cannot_stand(&slug(n))) {
                let message = "no URL can be made from this name: expected a path of its own";
                let problem = Problem::new(0, &format!("{schema}.{name}"), message);
                endpoint.problems.push(problem.with_nearest(Some("@path")));
            }
        }
        let paths = endpoint.url.iter().chain(endpoint.call.as_ref().map(|(_, path)| path));
        for reserved in paths.filter(|path| path::is_reserved(path)) {
            endpoint.problems.push(Problem::new(0, reserved, "this path is reserved: expected another"));
        }
        if let (Some(_), Some(signature)) = (&annotation.http, &routine.signature) {
            endpoint.call_problems = call::problems(routine.kind, signature, &annotation);
        }
        endpoint.annotation = Some(annotation);
        Some(endpoint)
    }

    fn is_overload_of(&self, other: &Self) -> bool {
        self.schema == other.schema && self.name == other.name
    }
}

/// Who has which path while a table is built; of each path the oldest owner is the first.
#[derive(Default)]
struct Claims<'a> {
    streams: HashMap<&'a str, Vec<&'a Endpoint>>,
    calls: HashMap<&'a str, Vec<(Method, &'a Endpoint)>>,
}

impl<'a> Claims<'a> {
    /// Takes the URLs of `endpoint`, all or none of them.
    fn claim(&mut self, endpoint: &'a Endpoint) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut refuse = |path: &str, owner: &Endpoint| {
            let message = format!(
                "this URL belongs to {}.{} already: expected another path or segment",
                owner.schema, owner.name
            );
            problems.push(Problem::new(0, path, message));
        };
        let url = endpoint.url.as_deref();
        let call = endpoint.call.as_ref().map(|(method, path)| (*method, path.as_str()));
        if let Some(path) = url {
            let stream = self.stream_at(path).filter(|owner| !owner.is_overload_of(endpoint));
            let call = self.calls.get(path).and_then(|owners| owners.first());
            if let Some(owner) = stream.or(call.map(|(_, owner)| *owner)) {
                refuse(path, owner);
            }
        }
        if let Some((method, path)) = call {
            let mut calls = self.calls.get(path).into_iter().flatten();
            let call = calls.find(|(m, owner)| *m == method && !owner.is_overload_of(endpoint));
            if let Some(owner) = self.stream_at(path).or(call.map(|(_, owner)| *owner)) {
                refuse(path, owner);
            }
        }
        if problems.is_empty() {
            if let Some(path) = url {
                self.streams.entry(path).or_default().push(endpoint);
            }
            if let Some((method, path)) = call {
                self.calls.entry(path).or_default().push((method, endpoint));
            }
        }
        problems
    }

    fn stream_at(&self, path: &str) -> Option<&'a Endpoint> {
        self.streams.get(path).and_then(|owners| owners.first()).copied()
    }

    /// The routes of all streams whose overloads agree, and a problem for each overload of the others.
    fn settle(self) -> (Vec<Route>, Vec<(u32, Problem)>) {
        let mut routes = Vec::new();
        let mut disputes = Vec::new();
        for (path, owners) in self.streams {
            let mut rules = owners.iter().filter_map(|owner| owner.annotation.as_ref());
            let (Some(oldest), Some(first)) = (owners.first(), rules.next()) else { continue };
            if rules.all(|other| other.access.same_rule(&first.access) && other.topic == first.topic) {
                let (access, topic) = (first.access.clone(), first.topic.clone());
                routes.push(Route { path: path.to_owned(), oid: oldest.oid, access, topic });
                continue;
            }
            let message = "the overloads that share this URL ask for different access or topics: \
                 expected the same, or another segment";
            disputes.extend(owners.iter().map(|owner| (owner.oid, Problem::new(0, path, message))));
        }
        (routes, disputes)
    }
}

/// A name as part of a path: lower case, `_` and space become `-`, double quotes are dropped, the rest that is not
/// unreserved in RFC 3986 is percent-encoded.
fn slug(name: &str) -> String {
    let dashed: String = name
        .to_lowercase()
        .chars()
        .filter(|c| *c != '"')
        .map(|c| if c == '_' || c == ' ' { '-' } else { c })
        .collect();
    utf8_percent_encode(&dashed, RESERVED).to_string()
}

/// Where the path of a request leads to.
fn position(index: &HashMap<String, usize>, path: &str) -> Option<usize> {
    let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
    let mut position = index.get(path);
    if position.is_none() && path.bytes().any(|b| b == b'%' || !b.is_ascii()) {
        position = index.get(&canonical(path));
    }
    position.copied()
}

/// RFC 3986 §6.2.2: encoded unreserved characters are decoded, the digits of the others in upper case.
fn canonical(path: &str) -> String {
    let mut canonical = String::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match (byte, behind) {
            (b'%', [high, low, behind @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let byte = hex_digit(*high) << 4 | hex_digit(*low);
                canonical.extend(percent_encode(&[byte], RESERVED));
                rest = behind;
            }
            (byte, _) if byte.is_ascii() => canonical.push(char::from(*byte)),
            (byte, _) => canonical.extend(percent_encode(&[*byte], RESERVED)),
        }
    }
    canonical
}

/// `digit` is a hexadecimal digit, as `canonical` has seen.
fn hex_digit(digit: u8) -> u8 {
    if digit.is_ascii_digit() { digit - b'0' } else { (digit | 0x20) - b'a' + 10 }
}

/// Everything but the unreserved characters of RFC 3986 §2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests;
