//! One annotated routine, before its URLs are compared with those of others.
//!
//! Not for who has which path: that is the table's.

use super::Known;
use super::path::{base_path, slug, subscribe_path};
use crate::annotation::{Annotation, Method, Problem, RoutineKind, path};
use crate::call;
use crate::word::Level;

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
    /// What counts where its comment names no level.
    pub default_level: Level,
    /// The parsed comment; `None` when it has a mistake.
    pub annotation: Option<Annotation>,
    /// Method and path with which it is called, if it has an `HTTP` line and no problem.
    pub call: Option<(Method, String)>,
    /// Its subscribe URL, if it has one and no problem.
    pub url: Option<String>,
    /// Why it publishes nothing, has no URL and cannot be called (C2.5); empty if all is well.
    pub problems: Vec<Problem>,
    /// Why it cannot be called, while everything else of it works: its signature, or a missing privilege.
    /// `call` is then `None`. Always empty for routines whose signature was not read.
    pub call_problems: Vec<Problem>,
}

impl Endpoint {
    /// `None`: the routine is not annotated. URLs are not yet compared with those of others.
    pub(super) fn of(known: Known<'_>, url_prefix: &str, default_level: Level) -> Option<Self> {
        let Known { routine, parsed } = known;
        let mut endpoint = Self {
            oid: routine.oid,
            schema: routine.schema.clone(),
            name: routine.name.clone(),
            kind: routine.kind,
            default_level,
            annotation: None,
            call: None,
            url: None,
            problems: Vec::new(),
            call_problems: Vec::new(),
        };
        let annotation = match parsed {
            Ok(annotation) => annotation.clone()?,
            Err(problems) => return Some(Self { problems: problems.clone(), ..endpoint }),
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

    pub(super) fn is_overload_of(&self, other: &Self) -> bool {
        self.schema == other.schema && self.name == other.name
    }
}
