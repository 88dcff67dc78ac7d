//! From routines to URLs (C2.3), and back from the path of a request to the stream it asks for.
//!
//! Where the contract leaves room, these are the rules:
//! - "Older" means the lower oid. A URL is taken by a subscribe URL, or by calls of one method; calls of
//!   different methods at one path stand side by side (`HTTP GET /messages` and `HTTP POST /messages`), a
//!   stream and a call never.
//! - Overloads that share a subscribe URL must ask for the same access and topic. If they do not, nobody can
//!   say which rule was meant, so the URL does not exist and each of them has a problem.
//! - Overloads that share the path and method of their calls must ask for the same access, `@login` and
//!   `@logout`. If they do not, none of them can be called.
//! - Of overloads that no request can tell apart the oldest can be called, and the others have a problem.
//! - A routine that cannot be called because of its signature keeps its streams, and its path.
//! - A segment that repeats the base path (`@sse_path /api/chat/live` at `/api/chat`) is the whole URL, as in
//!   NpgsqlRest.
//!
//! Not for HTTP: methods, `Host` and who may open a stream are the gateway's.

use crate::annotation::{Access, Annotation, Method, Problem, RoutineFacts, RoutineKind, too_long};
use crate::call::Signature;
use crate::word::{Level, Topic};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

mod calls;
mod endpoint;
mod overloads;
mod path;
mod snapshot;
mod traits;
mod weight;

pub use calls::{Call, CallPoint, calls_are_off};
pub use endpoint::Endpoint;
use path::position;
pub use path::{base_path, subscribe_path};
use snapshot::Functions;
pub use snapshot::{Snapshot, meant, mistaken, without_calls};
pub use traits::Traits;
pub use weight::{MAX_OWNER_WEIGHT, ROUTINE_WEIGHT, beyond_weight, row_type_weight};

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
    /// Whether it is VOLATILE.
    pub volatile: bool,
    /// Whether it is PARALLEL SAFE.
    pub parallel_safe: bool,
    /// Whether `@user_parameters` would fill one of its parameters (C7.3).
    pub has_identity_parameters: bool,
    /// Its `COMMENT`.
    pub comment: String,
    /// The comment is ours and longer than [`crate::annotation::MAX_COMMENT_BYTES`]: one mistake, and no
    /// text.
    pub comment_is_too_long: bool,
    /// What a call needs to know of it; `None` when it was not read, and then it cannot be called.
    pub signature: Option<Signature>,
}

/// What a comment says: nothing of ours, an annotation, or mistakes.
pub type Parsed = Result<Option<Annotation>, Vec<Problem>>;

/// A routine with its comment parsed, which costs more than anything else about it.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The routine.
    pub routine: &'a Routine,
    /// [`Routine::parse`] of it.
    pub parsed: &'a Parsed,
}

impl Routine {
    /// A function with this comment of which nothing else is known: volatile, without a signature.
    pub fn new(
        oid: u32,
        schema: impl Into<String>,
        name: impl Into<String>,
        comment: impl Into<String>,
    ) -> Self {
        Self {
            oid,
            schema: schema.into(),
            name: name.into(),
            kind: RoutineKind::Function,
            volatile: true,
            parallel_safe: false,
            has_identity_parameters: false,
            comment: comment.into(),
            comment_is_too_long: false,
            signature: None,
        }
    }

    /// What its comment says.
    pub fn parse(&self) -> Parsed {
        if self.comment_is_too_long { Err(vec![too_long()]) } else { Annotation::parse(&self.comment) }
    }

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
    /// What a stream of it begins with (C7.6).
    pub snapshot: Option<Arc<Snapshot>>,
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
    /// [`RouteTable::of`] routines whose comments are parsed here.
    pub fn build(routines: &[Routine], url_prefix: &str, default_level: Level) -> Self {
        let parsed: Vec<Parsed> = routines.iter().map(Routine::parse).collect();
        let known = routines.iter().zip(&parsed).map(|(routine, parsed)| Known { routine, parsed });
        Self::of(&known.collect::<Vec<_>>(), url_prefix, default_level)
    }

    /// Builds the table from routines in any order; those without an annotation are left out. A routine with
    /// a problem has no URL and takes none.
    pub fn of(routines: &[Known<'_>], url_prefix: &str, default_level: Level) -> Self {
        let mut endpoints: Vec<Endpoint> =
            routines.iter().filter_map(|known| Endpoint::of(*known, url_prefix, default_level)).collect();
        let functions = Functions::of(routines);
        let mut snapshots = HashMap::new();
        for endpoint in &mut endpoints {
            let Some(annotation) = &endpoint.annotation else { continue };
            match functions.find(&endpoint.schema, annotation) {
                Ok(None) => {}
                Ok(Some(snapshot)) => drop(snapshots.insert(endpoint.oid, snapshot)),
                Err(problem) => endpoint.problems.push(problem),
            }
        }
        let mut by_age: Vec<&Endpoint> = endpoints.iter().filter(|e| e.problems.is_empty()).collect();
        by_age.sort_by_key(|endpoint| endpoint.oid);
        let mut paths = PathOwners::default();
        let mut conflicts = Vec::new();
        for endpoint in by_age {
            conflicts.extend(paths.claim(endpoint).into_iter().map(|problem| (endpoint.oid, problem)));
        }
        let call_disputes: Vec<(u32, Problem)> =
            paths.calls.values().flat_map(|owners| calls::disputes(owners)).collect();
        let (mut routes, disputes) = paths.settle(&snapshots);
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
        for endpoint in endpoints.values_mut().filter(|endpoint| !endpoint.problems.is_empty()) {
            (endpoint.url, endpoint.call) = (None, None);
        }
        for endpoint in endpoints.values_mut().filter(|endpoint| !endpoint.call_problems.is_empty()) {
            endpoint.call = None;
        }
        let mut call_points = calls::points(routines, |oid| endpoints.get(&oid));
        for (oid, problem) in overloads::settle(&mut call_points) {
            if let Some(endpoint) = endpoints.get_mut(&oid) {
                endpoint.call_problems.push(problem);
                endpoint.call = None;
            }
        }
        let call_index = call_points.iter().enumerate().map(|(at, point)| (point.path.clone(), at)).collect();
        Self { routes, index, endpoints, call_points, call_index }
    }

    /// The stream that a request's path (without query) asks for. One trailing slash is tolerated (C6.1).
    ///
    /// Costs one look-up and no allocation; only a path that is not found and has `%` or a byte beyond ASCII
    /// is brought into canonical form (RFC 3986 §6.2.2: `%7e` is `~`, `%c3` is `%C3`) and looked up once
    /// more.
    pub fn find(&self, path: &str) -> Option<&Route> {
        self.routes.get(position(&self.index, path)?)
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

/// The owners of each path while a table is built, the oldest first.
#[derive(Default)]
struct PathOwners<'a> {
    streams: HashMap<&'a str, Vec<&'a Endpoint>>,
    calls: HashMap<&'a str, Vec<(Method, &'a Endpoint)>>,
}

impl<'a> PathOwners<'a> {
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
            // All owners with one method are overloads of each other: any other was refused here.
            let call = calls.find(|(m, _)| *m == method).filter(|(_, owner)| !owner.is_overload_of(endpoint));
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
    fn settle(self, snapshots: &HashMap<u32, Snapshot>) -> (Vec<Route>, Vec<(u32, Problem)>) {
        let mut routes = Vec::new();
        let mut disputes = Vec::new();
        for (path, owners) in self.streams {
            let mut rules = owners.iter().filter_map(|owner| owner.annotation.as_ref());
            let (Some(oldest), Some(first)) = (owners.first(), rules.next()) else { continue };
            let snapshot = snapshots.get(&oldest.oid);
            if rules.all(|other| other.access.same_rule(&first.access) && other.topic == first.topic)
                && owners.iter().all(|owner| snapshots.get(&owner.oid) == snapshot)
            {
                let (access, topic) = (first.access.clone(), first.topic.clone());
                let snapshot = snapshot.cloned().map(Arc::new);
                routes.push(Route { path: path.to_owned(), oid: oldest.oid, access, topic, snapshot });
                continue;
            }
            let message = "the overloads that share this URL ask for different access, topics or snapshots: \
                 expected the same, or another segment";
            disputes.extend(owners.iter().map(|owner| (owner.oid, Problem::new(0, path, message))));
        }
        (routes, disputes)
    }
}

#[cfg(test)]
mod tests;
