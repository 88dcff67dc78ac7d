//! The types that calls take and return, as JSON has them (C7.3, C7.4): what the catalog knows beyond a
//! routine's signature.
//!
//! Not for reading them.

use std::collections::HashMap;
use std::sync::Arc;

/// What was read of the types that a model needs.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// `prorettype` of each routine, by its oid.
    pub results: HashMap<u32, u32>,
    /// By oid. What is not there is a text.
    pub types: HashMap<u32, TypeDefinition>,
    /// The tables that tell their changes (C3.5), by the oid of the routine whose stream has their topic: the
    /// one that `Model::topics` names. Shared, since thousands of streams may have one topic.
    pub tables: HashMap<u32, Arc<Table>>,
}

/// What the triggers of `sse.publish_change()` on a table show of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// In the order of the table.
    pub columns: Vec<Shown>,
}

/// A column that a trigger shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The column.
    pub column: Column,
    /// Whether it is one of the primary key.
    pub is_key: bool,
    /// Whether all of the table's triggers show it in `new` and `old`. A key that they do not list is in
    /// `key` alone.
    pub is_always: bool,
}

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeDefinition {
    /// Name of its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
}

/// What the values of a type are in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text: everything that has no other form.
    Text,
    /// A number that a double can be: `int2`, `int4`, `float4`, `float8`.
    Number,
    /// A number whose digits a double may not have: `int8`, `numeric`.
    BigNumber,
    /// `boolean`
    Boolean,
    /// `json`, `jsonb`: any value.
    Json,
    /// A type with a cast to `json`, such as hstore, or `int2vector`: a text in a request, any value in an
    /// answer.
    Opaque,
    /// The labels of an enum, in their order.
    Enum(Vec<String>),
    /// An array of this type.
    Array(u32),
    /// A domain over `base`.
    Domain {
        /// The type it restricts.
        base: u32,
        /// `NOT NULL`
        not_null: bool,
    },
    /// The columns of a row type.
    Row(Vec<Column>),
}

/// A column of a row type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// `attname`
    pub name: String,
    /// Its type.
    pub of: u32,
    /// `NOT NULL` of a table's column.
    pub not_null: bool,
}

impl Catalog {
    /// What the values of a type are; of a domain the type that it restricts is not looked at.
    pub(crate) fn kind(&self, oid: u32) -> &Kind {
        self.types.get(&oid).map_or(&Kind::Text, |found| &found.kind)
    }

    /// The same below all domains.
    pub(crate) fn base_kind(&self, oid: u32) -> &Kind {
        match self.kind(self.base(oid)) {
            Kind::Domain { .. } => &Kind::Text,
            kind => kind,
        }
    }

    /// The type below all domains.
    pub(crate) fn base(&self, mut oid: u32) -> u32 {
        // Postgres lets no domain be over itself; the bound is for a catalog that changed while it was read.
        for _ in 0..MAX_DOMAINS {
            match self.kind(oid) {
                Kind::Domain { base, .. } => oid = *base,
                _ => return oid,
            }
        }
        oid
    }

    /// Whether there is a row in values of this type. Its members are named as in SQL by
    /// `sse.publish_change()`, and in camelCase by answers.
    pub(crate) fn has_row(&self, oid: u32) -> bool {
        let mut of = oid;
        for _ in 0..MAX_DOMAINS {
            match self.kind(of) {
                Kind::Row(_) => return true,
                Kind::Domain { base, .. } | Kind::Array(base) => of = *base,
                _ => return false,
            }
        }
        true
    }

    /// Whether a domain, or one below it, forbids NULL.
    pub(crate) fn is_not_null(&self, mut oid: u32) -> bool {
        for _ in 0..MAX_DOMAINS {
            match self.kind(oid) {
                Kind::Domain { not_null: true, .. } => return true,
                Kind::Domain { base, .. } => oid = *base,
                _ => return false,
            }
        }
        false
    }
}

/// Domains over domains, and over arrays. Nobody makes that many.
const MAX_DOMAINS: usize = 100;
