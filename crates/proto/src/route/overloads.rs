//! Overloads that no request can tell apart (C2.5): a request gives names, and never types.
//!
//! The oldest can be called, and the later ones have a problem, as with two routines for one URL. The
//! criterion is that of [`call::statement`](crate::call::statement): the names that a request can give, and
//! how many parameters it then leaves to their defaults.
//!
//! Each is compared with each, in all the ways in which it can be called. So names are numbers here, and sets
//! of them are bits: with texts a hundred overloads of a hundred parameters took seconds, and any owner of
//! routines can make many such hundreds.
//!
//! Not for choosing between overloads that can be told apart.

use super::{Call, CallPoint};
use crate::annotation::{Method, Problem};
use crate::call::USER_PARAMETERS;
use std::collections::{BTreeMap, HashMap};

/// Overloads of one path and method that are compared, each with each. Beyond it none is compared: a call
/// chooses among them as usual, and gets 400 if it means several.
const MAX_OVERLOADS: usize = 100;

/// Parameters with defaults that are tried, given and left out in all combinations. An overload with more
/// counts as out of reach only if a single other overload takes everything that it takes.
const MAX_OPTIONAL: usize = 6;

/// A problem for each overload that no request reaches. It is taken out of `points` if an older one answers
/// in its place; it stays if Postgres itself cannot tell it from another, so that a request that means both
/// is refused.
pub(super) fn settle(points: &mut [CallPoint]) -> Vec<(u32, Problem)> {
    let mut problems = Vec::new();
    for point in points.iter_mut().filter(|point| point.calls.len() > 1) {
        for method in [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete] {
            if !(2..=MAX_OVERLOADS).contains(&point.of_method(method).count()) {
                continue;
            }
            let mut numbers = Numbers::default();
            let mut forms: Vec<Form> =
                point.of_method(method).map(|call| Form::of(call, &mut numbers)).collect();
            // Of an overload that no request reaches and those that stand in its way the youngest goes: what
            // could be called before an overload was added can be called afterwards.
            while let Some(youngest) = youngest_in_dispute(&mut forms) {
                let form = forms.remove(youngest);
                point.calls.retain(|call| call.oid != form.oid);
                let message = "a request cannot tell it from an older overload, because requests have names but no types: expected other names, another path or another method";
                problems.push((form.oid, form.problem(message)));
            }
            for form in forms.iter().filter(|form| !form.is_reached(&forms, Blocks::ByNamesAndTypes)) {
                let message = "with its defaults, another overload takes the same arguments, and Postgres cannot choose between the two: expected other names, or no default there";
                problems.push((form.oid, form.problem(message)));
            }
        }
    }
    problems
}

/// The index of the youngest of all overloads that no request reaches, and of those that stand in their way.
fn youngest_in_dispute(forms: &mut [Form]) -> Option<usize> {
    // An overload that is reached stays reached when others go.
    let is_reached = |form: &Form| form.was_reached || form.is_reached(forms, Blocks::ByNames);
    let reached: Vec<bool> = forms.iter().map(is_reached).collect();
    for (form, is_reached) in forms.iter_mut().zip(reached) {
        form.was_reached = is_reached;
    }
    let unreached = || forms.iter().filter(|form| !form.was_reached);
    // No other overload is in its way once those that take what it takes are gone.
    let is_in_dispute = |other: &Form| {
        unreached().any(|form| {
            other.oid == form.oid
                || other.given.len() <= form.given.len() && other.required.is_subset(&form.given)
        })
    };
    let youngest = forms.iter().enumerate().filter(|(_, form)| is_in_dispute(form));
    youngest.max_by_key(|(_, form)| form.oid).map(|(at, _)| at)
}

/// What stands in the way of an overload.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blocks {
    /// An overload that leaves no more parameters to their defaults.
    ByNames,
    /// Such an overload, or one with the same types for the names given: then Postgres finds neither.
    ByNamesAndTypes,
}

/// Numbers for names, and for names with a type.
#[derive(Default)]
struct Numbers {
    names: HashMap<String, usize>,
    typed: HashMap<(usize, u32), usize>,
}

impl Numbers {
    fn of_name(&mut self, name: &str) -> usize {
        let next = self.names.len();
        *self.names.entry(name.to_owned()).or_insert(next)
    }

    fn of_typed(&mut self, name: usize, type_oid: u32) -> usize {
        let next = self.typed.len();
        *self.typed.entry((name, type_oid)).or_insert(next)
    }
}

/// A set of [`Numbers`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bits(Vec<u64>);

impl Bits {
    fn insert(&mut self, number: usize) {
        if self.0.len() <= number / 64 {
            self.0.resize(number / 64 + 1, 0);
        }
        self.0[number / 64] |= 1 << (number % 64);
    }

    fn remove(&mut self, number: usize) {
        if let Some(word) = self.0.get_mut(number / 64) {
            *word &= !(1 << (number % 64));
        }
    }

    fn is_subset(&self, of: &Self) -> bool {
        let words = of.0.iter().copied().chain(std::iter::repeat(0));
        self.0.iter().zip(words).all(|(own, other)| own & !other == 0)
    }

    fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

/// What a request can say to an overload.
struct Form {
    oid: u32,
    /// The names that a request can give, as text.
    names: Vec<String>,
    /// The same.
    given: Bits,
    /// The same with the types.
    typed: Bits,
    /// Those of it without a default.
    required: Bits,
    /// The others, with and without their types.
    optional: Vec<(usize, usize)>,
    /// What is filled from who calls.
    filled: BTreeMap<String, u32>,
    /// Some request is known to mean this overload and no other.
    was_reached: bool,
}

impl Form {
    fn of(call: &Call, numbers: &mut Numbers) -> Self {
        let mut form = Self {
            oid: call.oid,
            names: Vec::new(),
            given: Bits::default(),
            typed: Bits::default(),
            required: Bits::default(),
            optional: Vec::new(),
            filled: BTreeMap::new(),
            was_reached: false,
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
            let number = numbers.of_name(&name);
            let typed = numbers.of_typed(number, parameter.type_oid);
            form.given.insert(number);
            form.typed.insert(typed);
            if parameter.has_default {
                form.optional.push((number, typed));
            } else {
                form.required.insert(number);
            }
            form.names.push(name);
        }
        form.names.sort_unstable();
        form
    }

    /// Whether some request means this overload and no other.
    fn is_reached(&self, among: &[Self], blocks: Blocks) -> bool {
        let others = || among.iter().filter(|other| other.oid != self.oid);
        if others().any(|other| other.given == self.given && other.required.is_subset(&self.required)) {
            return false;
        }
        let is_free = |mask: usize| {
            let (mut asked, mut typed) = (self.given.clone(), self.typed.clone());
            for (_, (name, with_type)) in
                self.optional.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0)
            {
                asked.remove(*name);
                typed.remove(*with_type);
            }
            !others().any(|other| other.blocks(self, &asked, &typed, blocks))
        };
        self.optional.len() > MAX_OPTIONAL || (0..1 << self.optional.len()).any(is_free)
    }

    /// Whether this overload stands in the way of another for a request of these names.
    fn blocks(&self, other: &Self, asked: &Bits, typed: &Bits, blocks: Blocks) -> bool {
        let takes = asked.is_subset(&self.given) && self.required.is_subset(asked);
        let is_alike = || self.filled == other.filled && typed.is_subset(&self.typed);
        takes && (self.given.len() <= other.given.len() || blocks == Blocks::ByNamesAndTypes && is_alike())
    }

    fn problem(&self, message: &str) -> Problem {
        let word = if self.names.is_empty() { "HTTP".to_owned() } else { self.names.join(" ") };
        Problem::new(0, &word, message)
    }
}
