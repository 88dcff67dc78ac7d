//! The snapshot of a stream: from the name after `@sse_snapshot` to the function that is run (C7.6).
//!
//! Where the contract leaves room, these are the rules:
//! - Of several functions of the name the one that takes nothing but user parameters is meant; if several do,
//!   nobody can say which.
//! - Volatility does not matter: the function runs READ ONLY, and sees one snapshot from its beginning to its
//!   end.
//! - A function whose own comment has a mistake may have a rule that nobody can read, so it is not run.
//! - Only functions of the schemas that are looked at (`sse.schemas`) are found.
//!
//! Not for running it, nor for grammar, nor for who gets it ([`crate::admission::may_have_snapshot`]).

use super::{Call, Known, Routine};
use crate::annotation::{Annotation, Method, Problem, RoutineKind, SnapshotSource};
use crate::call::{self, USER_PARAMETERS};
use crate::scope::Scope;
use crate::word::EventName;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What a stream begins with, for the subscribers who may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The function. Shared: thousands of streams may name one, and it may have 1,600 columns.
    pub call: Arc<Call>,
    /// The name of the event; `None` is what `onmessage` gets.
    pub event: Option<EventName>,
    /// The scope of the routine's events.
    pub scope: Scope,
}

impl Snapshot {
    /// Whether each identity has its own; else all who wait share one.
    pub fn is_personal(&self) -> bool {
        self.call.signature.parameters.iter().any(|parameter| parameter.is_input())
    }
}

/// The functions that annotations name.
pub(super) struct Functions<'r> {
    by_name: BTreeMap<(&'r str, &'r str), Vec<Known<'r>>>,
    /// The calls that were made of them, by oid: each is kept once, as it is weighed once (`weight.rs`).
    made: RefCell<HashMap<u32, Arc<Call>>>,
}

impl<'r> Functions<'r> {
    /// Finds those that the annotations of `routines` name among these.
    pub(super) fn of(routines: &[Known<'r>]) -> Self {
        let named = routines.iter().filter_map(|known| {
            let source = known.parsed.as_ref().ok()?.as_ref()?.snapshot.as_ref()?;
            Some(source.function(&known.routine.schema))
        });
        let named: BTreeSet<(&str, &str)> = named.collect();
        let mut by_name: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for known in routines.iter().filter(|_| !named.is_empty()) {
            let name = (known.routine.schema.as_str(), known.routine.name.as_str());
            if named.contains(&name) {
                by_name.entry(name).or_default().push(*known);
            }
        }
        Self { by_name, made: RefCell::default() }
    }

    /// The snapshot of a routine with this annotation, if it asks for one.
    ///
    /// # Errors
    /// There is no such function, or it cannot be run.
    pub(super) fn find(&self, schema: &str, annotation: &Annotation) -> Result<Option<Snapshot>, Problem> {
        let Some(source) = &annotation.snapshot else { return Ok(None) };
        let call = self.call(source, schema)?;
        let event = source.event.clone().or_else(|| annotation.event.clone());
        Ok(Some(Snapshot { call, event, scope: annotation.default_scope() }))
    }

    fn call(&self, source: &SnapshotSource, schema: &str) -> Result<Arc<Call>, Problem> {
        let problem = |message: &str| problem(source, message);
        let (schema, name) = source.function(schema);
        let found = self.by_name.get(&(schema, name)).map_or(&[][..], Vec::as_slice);
        let known = meant(
            source,
            found.iter().map(|known| {
                let is_function = known.routine.kind == RoutineKind::Function;
                (known, is_function, takes_user_parameters_alone(known.routine))
            }),
        )?;
        if let Some(made) = self.made.borrow().get(&known.routine.oid) {
            return Ok(Arc::clone(made));
        }
        let Ok(own) = known.parsed else { return Err(mistaken(source)) };
        let of_none = Annotation::default();
        let own = own.as_ref().unwrap_or(&of_none);
        let Some(signature) = known.routine.signature.clone() else {
            return Err(problem("the signature of this function was not read"));
        };
        if let Some(first) = call::problems(RoutineKind::Function, &signature, &of_none).first() {
            return Err(problem(&format!("this function cannot be run: {}", first.message)));
        }
        let routine = known.routine;
        let call = Arc::new(Call {
            oid: routine.oid,
            schema: routine.schema.clone(),
            name: routine.name.clone(),
            kind: RoutineKind::Function,
            method: Method::Get,
            access: own.access.clone(),
            login: false,
            logout: false,
            user_parameters: true,
            user_context: false,
            read_only: true,
            signature,
        });
        self.made.borrow_mut().insert(routine.oid, Arc::clone(&call));
        Ok(call)
    }
}

fn problem(source: &SnapshotSource, message: &str) -> Problem {
    Problem::new(0, &source.to_string(), message)
}

/// Which of the functions and procedures of a name is meant. Of each: whether it is a function, and whether
/// it takes nothing but user parameters.
///
/// # Errors
/// None of them, or nobody can say which.
pub fn meant<T>(
    source: &SnapshotSource,
    namesakes: impl IntoIterator<Item = (T, bool, bool)>,
) -> Result<T, Problem> {
    let mut found = None;
    let (mut has_any, mut has_function) = (false, false);
    for (routine, is_function, fits) in namesakes {
        has_any = true;
        has_function |= is_function;
        if is_function && fits && found.replace(routine).is_some() {
            return Err(problem(source, "several functions of this name fit: expected one"));
        }
    }
    let message = match (has_function, has_any) {
        (true, _) => "this function takes arguments: expected none but user parameters (such as _user_id)",
        (false, true) => "this is a procedure: expected a function",
        (false, false) => {
            "there is no such function: expected its name, with its schema if that is another one"
        }
    };
    found.ok_or_else(|| problem(source, message))
}

/// The comment of the function that is meant cannot be read.
pub fn mistaken(source: &SnapshotSource) -> Problem {
    problem(source, "the comment of this function has a mistake: expected one without")
}

/// No function can be run. That is no mistake of the comment, so the routine works all the same.
pub fn without_calls(source: &SnapshotSource) -> Problem {
    let message =
        "calls are off, so there is a gap in place of each snapshot: expected sse.call_role to name a role";
    problem(source, message)
}

/// C7.6: no arguments but user parameters. Without a signature nobody knows, and `find` says so.
fn takes_user_parameters_alone(routine: &Routine) -> bool {
    let parameters = routine.signature.iter().flat_map(|signature| &signature.parameters);
    parameters
        .filter(|parameter| parameter.is_input())
        .all(|parameter| USER_PARAMETERS.contains(&parameter.name.as_str()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::admission::may_have_snapshot;
    use crate::call::{Mode, Parameter, ResultType, Shape, Signature, TypeKind};
    use crate::identity::Identity;
    use crate::route::RouteTable;
    use crate::word::Level;

    fn function(oid: u32, schema: &str, name: &str, parameters: &[&str], comment: &str) -> Routine {
        let parameter = |name: &&str| Parameter {
            name: (*name).to_owned(),
            mode: Mode::In,
            type_oid: 25,
            type_name: "pg_catalog.text".to_owned(),
            kind: TypeKind::Scalar,
            has_default: true,
        };
        let signature = Signature {
            parameters: parameters.iter().map(parameter).collect(),
            result: ResultType {
                shape: Shape::Scalar,
                is_set: false,
                columns: Vec::new(),
                kinds: Vec::new(),
            },
            rows: Vec::new(),
            strict: false,
            may_execute: true,
            owner_may_issue_tokens: false,
        };
        Routine { signature: Some(signature), ..Routine::new(oid, schema, name, comment) }
    }

    fn table(others: &[Routine], comment: &str) -> RouteTable {
        let mut routines = others.to_vec();
        routines.push(Routine::new(100, "s", "said", comment));
        RouteTable::build(&routines, "/api", Level::Info)
    }

    /// What is wrong with `@sse_snapshot f` of a routine in schema `s`.
    fn problem(others: &[Routine]) -> Option<String> {
        let table = table(others, "@sse\n@sse_snapshot f");
        let endpoint = table.endpoint(100).unwrap();
        assert_eq!(endpoint.problems.is_empty(), table.find("/api/s/said/info").is_some());
        endpoint.problems.first().map(|problem| problem.message.clone())
    }

    #[test]
    fn the_function_is_the_one_that_takes_user_parameters_alone() {
        let (plain, personal) =
            (function(1, "s", "f", &[], ""), function(2, "s", "f", &["_user_id", "_user_name"], ""));
        let other = function(3, "s", "f", &["_user_id", "x"], "");
        for (fits, is_personal) in [(&plain, false), (&personal, true)] {
            let table = table(&[fits.clone(), other.clone()], "@sse\n@sse_snapshot f as state\n@sse_event x");
            let snapshot = table.find("/api/s/said/info").unwrap().snapshot.clone().unwrap();
            assert_eq!((snapshot.call.oid, snapshot.is_personal()), (fits.oid, is_personal));
            assert_eq!(snapshot.event.as_ref().map(|event| event.as_str()), Some("state"));
            assert!(snapshot.call.read_only && snapshot.call.user_parameters);
        }
        assert!(problem(&[plain, personal]).unwrap().contains("several"));
        assert!(problem(&[other]).unwrap().contains("takes arguments"));
    }

    #[test]
    fn a_function_that_cannot_be_run_is_a_problem_of_who_names_it() {
        let fine = function(1, "s", "f", &[], "");
        assert_eq!(problem(std::slice::from_ref(&fine)), None);
        let mut procedure = fine.clone();
        procedure.kind = RoutineKind::Procedure;
        let mut forbidden = fine.clone();
        forbidden.signature.as_mut().unwrap().may_execute = false;
        let mut pseudo = fine.clone();
        pseudo.signature.as_mut().unwrap().result.shape = Shape::Pseudo;
        for (others, message) in [
            (vec![], "there is no such function"),
            (vec![function(1, "t", "f", &[], "")], "there is no such function"),
            (vec![procedure], "this is a procedure"),
            (vec![forbidden], "cannot be run: the role of sse.call_role may not call it"),
            (vec![pseudo], "cannot be run: a routine that returns a pseudo-type"),
            (
                vec![function(1, "s", "f", &[], "@sse\n@authorise x")],
                "the comment of this function has a mistake",
            ),
            (vec![Routine::new(1, "s", "f", "")], "was not read"),
        ] {
            let found = problem(&others).unwrap();
            assert!(found.contains(message), "{found}");
        }
    }

    // Attack: whoever may not call the function reads its result as a snapshot.
    #[test]
    fn a_snapshot_is_for_who_passes_the_scope_and_both_rules() {
        let identity = |roles: &[&str]| Identity::try_new(Some("1"), None, roles).unwrap();
        let (staff, other) = (identity(&["staff"]), identity(&["other"]));
        for (own, comment, wanted) in [
            ("", "", [true, true, true]),
            ("@authorize staff", "", [false, true, false]),
            ("", "\n@sse_scope authorize staff", [false, true, false]),
            ("", "\n@sse_scope authorize", [false, true, true]),
            ("", "\n@sse_scope matching", [false, false, false]),
            ("", "\n@sse_scope matching\n@authorize staff", [false, true, false]),
        ] {
            let table = table(&[function(1, "s", "f", &[], own)], &format!("@sse\n@sse_snapshot f{comment}"));
            let route = table.find("/api/s/said/info").unwrap();
            let snapshot = route.snapshot.as_ref().unwrap();
            let found =
                [None, Some(&staff), Some(&other)].map(|who| may_have_snapshot(snapshot, &route.access, who));
            assert_eq!(found, wanted, "{own} {comment}");
        }
    }
}
