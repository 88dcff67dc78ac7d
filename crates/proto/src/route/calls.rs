//! From the path of a request to the routines that it may call (C7.1).
//!
//! Not for who may call, nor for which overload is meant.

use super::{Endpoint, Known, RouteTable, Routine, position};
use crate::annotation::{Access, Annotation, Method, Problem, RoutineKind};
use crate::call::Signature;
use std::collections::BTreeMap;

/// A routine that can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `pg_proc.oid`
    pub oid: u32,
    /// Name of its schema.
    pub schema: String,
    /// Its name, without arguments.
    pub name: String,
    /// Function or procedure.
    pub kind: RoutineKind,
    /// The method it is called with.
    pub method: Method,
    /// Who may call it. Overloads of one path and method have the same rule.
    pub access: Access,
    /// `@login`; of overloads all or none.
    pub login: bool,
    /// `@logout`; of overloads all or none.
    pub logout: bool,
    /// `@user_parameters`; the setting may ask for them too.
    pub user_parameters: bool,
    /// `@user_context`
    pub user_context: bool,
    /// Whether it runs READ ONLY: GET that the comment does not say itself (C7.1).
    pub read_only: bool,
    /// Its parameters and result.
    pub signature: Signature,
}

/// Every call at one path: of several methods, and overloads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallPoint {
    /// The path.
    pub path: String,
    /// The calls, those of one method in the order of oids; never empty.
    pub calls: Vec<Call>,
}

impl CallPoint {
    /// The value of `Allow`: `GET, HEAD, POST, OPTIONS`.
    pub fn allow(&self) -> String {
        let mut allow = String::new();
        for method in [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete] {
            if self.of_method(method).next().is_some() {
                allow.push_str(method.as_str());
                allow.push_str(if method == Method::Get { ", HEAD, " } else { ", " });
            }
        }
        allow + "OPTIONS"
    }

    /// The calls of a method. The caller of this function turns HEAD into GET.
    pub fn of_method(&self, method: Method) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.method == method)
    }
}

impl RouteTable {
    /// The calls at a request's path (without query). One trailing slash is tolerated, as
    /// [`RouteTable::find`] does.
    pub fn find_calls(&self, path: &str) -> Option<&CallPoint> {
        self.call_points.get(position(&self.call_index, path)?)
    }

    /// Everything that can be called, in the order of the paths.
    pub fn call_points(&self) -> impl Iterator<Item = &CallPoint> {
        self.call_points.iter()
    }
}

/// What is said of a routine with an `HTTP` line while no call can run (C7.1).
pub fn calls_are_off() -> Problem {
    let message = "calls are off, so nothing is at its path: expected sse.call_role to name a role (after a restart of the server)";
    Problem::new(0, "HTTP", message)
}

/// The calls of all endpoints that have no problem, in the order of paths, and of oids within one.
pub(super) fn points<'r>(
    routines: &[Known<'r>],
    endpoint: impl Fn(u32) -> Option<&'r Endpoint>,
) -> Vec<CallPoint> {
    let mut points: BTreeMap<&str, Vec<Call>> = BTreeMap::new();
    for Known { routine, .. } in routines.iter().copied() {
        let Some(endpoint) = endpoint(routine.oid) else { continue };
        let Some((_, path)) = &endpoint.call else { continue };
        if let Some(call) = Call::of(routine, endpoint) {
            points.entry(path).or_default().push(call);
        }
    }
    let point = |(path, mut calls): (&str, Vec<Call>)| {
        calls.sort_by_key(|call| call.oid);
        CallPoint { path: path.to_owned(), calls }
    };
    points.into_iter().map(point).collect()
}

/// A problem for each overload if the overloads of one path and method disagree on access: then nobody could
/// say who may call before the arguments are read.
pub(super) fn disputes(owners: &[(Method, &Endpoint)]) -> Vec<(u32, Problem)> {
    let mut disputes = Vec::new();
    for method in [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete] {
        let of_method =
            owners.iter().filter(|(of, endpoint)| *of == method && endpoint.call_problems.is_empty());
        let mut rules = of_method.clone().filter_map(|(_, endpoint)| endpoint.annotation.as_ref());
        let Some(first) = rules.next() else { continue };
        // Each is compared with the first, not each with each: a rule may have a thousand values, and there
        // may be thousands of overloads.
        let is_same = |other: &Annotation| {
            other.access.same_rule(&first.access)
                && (other.login, other.logout) == (first.login, first.logout)
        };
        if rules.all(is_same) {
            continue;
        }
        let message = "the overloads that are called here ask for different access, @login or @logout: \
             expected the same, or another path";
        let problem =
            |(_, endpoint): &(Method, &Endpoint)| (endpoint.oid, Problem::new(0, method.as_str(), message));
        disputes.extend(of_method.map(problem));
    }
    disputes
}

impl Call {
    /// `None`: its signature was not read.
    fn of(routine: &Routine, endpoint: &Endpoint) -> Option<Self> {
        let annotation = endpoint.annotation.as_ref()?;
        let http = annotation.http.as_ref()?;
        let method = http.method(&routine.facts());
        Some(Self {
            oid: routine.oid,
            schema: routine.schema.clone(),
            name: routine.name.clone(),
            kind: routine.kind,
            method,
            access: annotation.access.clone(),
            login: annotation.login,
            logout: annotation.logout,
            user_parameters: annotation.user_parameters,
            user_context: annotation.user_context,
            read_only: method == Method::Get && http.method.is_none(),
            signature: routine.signature.clone()?,
        })
    }
}

#[cfg(test)]
mod tests;
