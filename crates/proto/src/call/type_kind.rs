//! How the values of a type are read and written: its structure, as far as a request or an answer shows it
//! (C7.3).
//!
//! Not for a type's name, nor for reading it from the catalog.

use super::name::{answer_names, camel_case};
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Members of all row types inside one type, counted wherever they stand; also those of all types of one
/// routine together. Beyond it the type is [`TypeKind::TooLarge`]. Postgres allows 1,600 columns, and without
/// a bound thirty types of two columns each, one inside the other, would make a thousand million members.
pub const MAX_MEMBERS: usize = 10_000;

/// Types nested inside each other; reading them recurses. Beyond it the type is [`TypeKind::TooLarge`].
pub const MAX_LEVELS: usize = 50;

/// How the values of a type are read. Of a domain: that of its base type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TypeKind {
    /// Everything that is none of the others: numbers, texts, enums, ranges, …
    Scalar,
    /// `bytea`: `\x` and hexadecimal digits, and nothing else, because its other notation takes any text.
    Bytes,
    /// `json`, `jsonb`
    Json,
    /// A true array (`typsubscript = array_subscript_handler`, so not `int2vector`).
    Array {
        /// `typdelim`: `,` for all types but `box` and a few of extensions.
        delimiter: char,
        /// Of its elements; an array only where that is a domain.
        element: Arc<Self>,
    },
    /// A row type.
    Composite(Arc<RowType>),
    /// `typtype = 'p'`: polymorphic, `internal`, `trigger`, `"any"`, `record`: no value of it can be given.
    Pseudo,
    /// See [`MAX_MEMBERS`] and [`MAX_LEVELS`]. No value of it can be given; in an answer its keys are those
    /// of SQL.
    TooLarge,
}

impl TypeKind {
    /// Whether a `bytea` is somewhere in its values.
    pub(super) fn has_bytes(&self) -> bool {
        match self {
            Self::Bytes => true,
            Self::Array { element, .. } => element.has_bytes(),
            Self::Composite(row) => row.has_bytes,
            Self::Scalar | Self::Json | Self::Pseudo | Self::TooLarge => false,
        }
    }

    /// The row type whose keys are in an answer: its own, or that of its elements.
    pub(super) fn keys(&self) -> Option<&RowType> {
        match self {
            Self::Composite(row) => Some(row),
            Self::Array { element, .. } => element.keys(),
            Self::Scalar | Self::Bytes | Self::Json | Self::Pseudo | Self::TooLarge => None,
        }
    }
}

/// The members of a row type, and their names in a request and in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowType {
    members: Vec<Member>,
    /// Of each member, in an answer.
    answer_names: Vec<String>,
    /// The SQL names, and the camelCase names that are not SQL names here; `None`: two members have this
    /// camelCase name.
    positions: HashMap<String, Option<usize>>,
    has_bytes: bool,
    /// Whether a key in it, at any depth, has another name in an answer.
    is_renamed: bool,
}

/// All other fields are made of the members.
impl Hash for RowType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.members.hash(state);
    }
}

/// A column of a row type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// `attname`
    pub name: String,
    /// How its values are read.
    pub kind: TypeKind,
}

/// The member that a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Member(usize),
    Ambiguous,
    Nobody,
}

impl RowType {
    /// The members in the order of their columns, without dropped ones.
    pub fn new(members: Vec<Member>) -> Self {
        let names: Vec<String> = members.iter().map(|member| member.name.clone()).collect();
        let answer_names = answer_names(&names);
        let mut positions: HashMap<String, Option<usize>> = HashMap::new();
        for (position, name) in names.iter().enumerate() {
            let alike = positions.entry(camel_case(name)).or_insert(Some(position));
            if *alike != Some(position) {
                *alike = None;
            }
        }
        // An exact SQL name comes before camelCase.
        positions.extend(names.iter().cloned().zip((0..).map(Some)));
        let has_bytes = members.iter().any(|member| member.kind.has_bytes());
        let is_renamed = names != answer_names
            || members.iter().any(|member| member.kind.keys().is_some_and(Self::is_renamed));
        Self { members, answer_names, positions, has_bytes, is_renamed }
    }

    /// See [`RowType::new`].
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Which member a request's name means.
    pub(super) fn find(&self, name: &str) -> Found {
        match self.positions.get(name) {
            Some(Some(position)) => Found::Member(*position),
            Some(None) => Found::Ambiguous,
            None => Found::Nobody,
        }
    }

    /// Each member with its name in an answer.
    pub(super) fn answers(&self) -> impl Iterator<Item = (&Member, &str)> {
        self.members.iter().zip(self.answer_names.iter().map(String::as_str))
    }

    /// Whether its keys, or keys within it, are others in an answer than in SQL.
    pub(super) fn is_renamed(&self) -> bool {
        self.is_renamed
    }
}
