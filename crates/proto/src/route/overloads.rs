//! Overloads that no request can tell apart (C2.5): a request says names, and never types.
//!
//! The oldest goes on, and the later ones have a problem, as with two routines for one URL. What decides is what
//! [`call::statement`](crate::call::statement) decides by: the names that a request can give, and how many parameters it then
//! leaves to their defaults.
//!
//! Not for choosing between overloads that can be told apart.

use super::{Call, CallPoint};
use crate::annotation::{Method, Problem};
use crate::call::USER_PARAMETERS;
use std::collections::{BTreeMap, BTreeSet};

/// So many overloads of one path and method are compared, each with each. Beyond it none is: they are chosen between as
/// ever, and 400 says when that is not possible.
const MAX_OVERLOADS: usize = 100;

/// So many parameters with defaults are looked at, given and left out in all ways. An overload with more is said to be out
/// of reach only where one other takes all that it takes.
const MAX_OPTIONAL: usize = 6;

/// A problem for each overload that no request reaches. Those that an older one stands in for are taken out of `points`;
/// those that Postgres itself cannot tell from another stay, so that what means them both is refused.
pub(super) fn settle(points: &mut [CallPoint]) -> Vec<(u32, Problem)> {
    let mut problems = Vec::new();
    for point in points.iter_mut().filter(|point| point.calls.len() > 1) {
        for method in [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete] {
            let mut forms: Vec<Form> = point.of_method(method).map(Form::of).collect();
            if !(2..=MAX_OVERLOADS).contains(&forms.len()) {
                continue;
            }
            // Of one that no request reaches and those that stand in its way the youngest goes: what could be called
            // before an overload was added can be called behind it.
            while let Some(youngest) = forms
                .iter()
                .filter_map(|form| form.youngest_in_dispute(&forms))
                .max_by_key(|at| forms[*at].oid)
            {
                let form = forms.remove(youngest);
                point.calls.retain(|call| call.oid != form.oid);
                let message = "a request cannot tell it from an older overload, as it says names and no types: \
                     expected other names, another path or another method";
                problems.push((form.oid, form.problem(message)));
            }
            for form in forms.iter().filter(|form| !form.is_reached(&forms, Blocks::ByNamesAndTypes)) {
                let message = "another overload takes this call with its defaults, and Postgres does not say which is \
                     meant: expected other names, or no default there";
                problems.push((form.oid, form.problem(message)));
            }
        }
    }
    problems
}

/// What stands in the way of an overload.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blocks {
    /// One that leaves no more to its defaults.
    ByNames,
    /// That, or one that has the same types as far as the request goes: Postgres then finds none of them.
    ByNamesAndTypes,
}

/// What a request can say to an overload.
struct Form {
    oid: u32,
    /// Name and type of what a request can give.
    given: BTreeMap<String, u32>,
    /// Those of it without a default.
    required: BTreeSet<String>,
    /// What is filled from who calls.
    filled: BTreeMap<String, u32>,
}

impl Form {
    fn of(call: &Call) -> Self {
        let mut form = Self {
            oid: call.oid,
            given: BTreeMap::new(),
            required: BTreeSet::new(),
            filled: BTreeMap::new(),
        };
        let inputs = call.signature.parameters.iter().filter(|parameter| parameter.is_input());
        for (place, parameter) in (1..).zip(inputs) {
            let name = match parameter.name.as_str() {
                "" => format!("${place}"),
                name => name.to_owned(),
            };
            if call.user_parameters && USER_PARAMETERS.contains(&name.as_str()) {
                form.filled.insert(name, parameter.type_oid);
                continue;
            }
            if !parameter.has_default {
                form.required.insert(name.clone());
            }
            form.given.insert(name, parameter.type_oid);
        }
        form
    }

    /// Whether some request means it and no other.
    fn is_reached(&self, among: &[Self], blocks: Blocks) -> bool {
        let others = || among.iter().filter(|other| other.oid != self.oid);
        if others()
            .any(|other| other.given.keys().eq(self.given.keys()) && other.required.is_subset(&self.required))
        {
            return false;
        }
        let optional: Vec<&str> =
            self.given.keys().filter(|name| !self.required.contains(*name)).map(String::as_str).collect();
        let looked_at = optional.iter().take(MAX_OPTIONAL);
        let left_out = |mask: usize| -> BTreeSet<&str> {
            looked_at
                .clone()
                .enumerate()
                .filter(|(bit, _)| mask & (1 << bit) != 0)
                .map(|(_, name)| *name)
                .collect()
        };
        let is_free = |mask: usize| {
            let left = left_out(mask);
            let asked: BTreeSet<&str> =
                self.given.keys().map(String::as_str).filter(|name| !left.contains(name)).collect();
            !others().any(|other| other.blocks(self, &asked, blocks))
        };
        optional.len() > MAX_OPTIONAL || (0..1 << optional.len().min(MAX_OPTIONAL)).any(is_free)
    }

    /// Of this, if no request reaches it, and of those that stand in its way: where the youngest is.
    fn youngest_in_dispute(&self, among: &[Self]) -> Option<usize> {
        if self.is_reached(among, Blocks::ByNames) {
            return None;
        }
        // None of the others is in its way any more when those that take what it takes are gone.
        let is_in_dispute = |other: &&Self| {
            other.oid == self.oid
                || other.given.len() <= self.given.len()
                    && other.required.iter().all(|name| self.given.contains_key(name))
        };
        let youngest = among.iter().filter(is_in_dispute).map(|form| form.oid).max()?;
        among.iter().position(|form| form.oid == youngest)
    }

    /// Whether this overload stands in the way of another for a request of these names.
    fn blocks(&self, other: &Self, asked: &BTreeSet<&str>, blocks: Blocks) -> bool {
        let takes = asked.iter().all(|name| self.given.contains_key(*name))
            && self.required.iter().all(|name| asked.contains(name.as_str()));
        let is_alike = || {
            self.filled == other.filled
                && asked.iter().all(|name| self.given.get(*name) == other.given.get(*name))
        };
        takes && (self.given.len() <= other.given.len() || blocks == Blocks::ByNamesAndTypes && is_alike())
    }

    fn problem(&self, message: &str) -> Problem {
        let names: Vec<&str> = self.given.keys().map(String::as_str).collect();
        let word = if names.is_empty() { "HTTP".to_owned() } else { names.join(" ") };
        Problem::new(0, &word, message)
    }
}
