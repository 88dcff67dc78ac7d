//! The values of a long list as sets: asking whether an identity is on it costs a look-up for each of its
//! names, however long the list is.
//!
//! It gives the same answer as comparing the values one by one (a property test compares the two).

use std::borrow::Cow;
use std::collections::HashSet;

use crate::identity::Identity;
use crate::scope::ScopeValue;

/// Lists with fewer values, such as people write, get no set: their values are compared one by one.
const MIN_VALUES: usize = 33;

/// The values of a long list, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValueSet {
    ids: HashSet<Box<str>>,
    /// In lower case, as `roles` is.
    names: HashSet<Box<str>>,
    roles: HashSet<Box<str>>,
}

impl ValueSet {
    /// `None` for a short list.
    pub fn of(values: &[ScopeValue]) -> Option<Self> {
        if values.len() < MIN_VALUES {
            return None;
        }
        let mut set = Self::default();
        for value in values {
            let (text, lower) = (value.text(), || Box::from(&*in_lower_case(value.text())));
            if matches!(value, ScopeValue::Id(_) | ScopeValue::Any(_)) {
                set.ids.insert(Box::from(text));
            }
            if matches!(value, ScopeValue::Name(_) | ScopeValue::Any(_)) {
                set.names.insert(lower());
            }
            if matches!(value, ScopeValue::Role(_) | ScopeValue::Any(_)) {
                set.roles.insert(lower());
            }
        }
        Some(set)
    }

    /// Whether one of the values names this identity. An identity holds no empty value, so an empty value
    /// names nobody.
    pub fn lists(&self, identity: &Identity) -> bool {
        identity.user_id().is_some_and(|id| self.ids.contains(id))
            || identity.user_name().is_some_and(|name| self.names.contains(&*in_lower_case(name)))
            || identity.roles().iter().any(|role| self.roles.contains(&*in_lower_case(role)))
    }

    /// Heap memory that it holds, about.
    pub fn heap_bytes(&self) -> usize {
        let sets = [&self.ids, &self.names, &self.roles];
        let of = |set: &HashSet<Box<str>>| -> usize {
            set.capacity() * (size_of::<Box<str>>() + 1) + set.iter().map(|text| text.len()).sum::<usize>()
        };
        sets.into_iter().map(of).sum()
    }
}

fn in_lower_case(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        text.to_ascii_lowercase().into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::admission::is_listed;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_set_says_what_comparing_one_by_one_says(
            values in prop::collection::vec("(id:|name:|role:|)[aAbBé1]{0,2}", MIN_VALUES..MIN_VALUES + 20),
            id in "[aAbB1]{1,2}",
            name in "[aAbBé]{1,2}",
            roles in prop::collection::vec("[aAbBé]{1,3}", 0..4),
        ) {
            let values: Vec<_> = values.iter().map(|value| ScopeValue::new(value)).collect();
            let set = ValueSet::of(&values).unwrap();
            for (id, name, roles) in
                [(Some(&*id), None, &[][..]), (None, Some(&*name), &[]), (None, None, &roles), (Some("x"), Some("x"), &roles)]
            {
                let identity = Identity::try_new(id, name, roles).unwrap();
                prop_assert_eq!(set.lists(&identity), is_listed(&values, &identity), "{:?}", identity);
            }
        }
    }

    #[test]
    fn lists_that_people_write_have_no_set() {
        for (count, has_set) in [(MIN_VALUES - 1, false), (MIN_VALUES, true), (MIN_VALUES + 1, true)] {
            let values = vec![ScopeValue::new("role:admin"); count];
            assert_eq!(ValueSet::of(&values).is_some(), has_set, "{count}");
        }
    }
}
