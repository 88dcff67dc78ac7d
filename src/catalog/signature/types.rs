//! The structure of types, read from the catalog: what arrays, row types and domains consist of (C7.3).
//!
//! Only the types that the routines use are read, and the types within those, level by level, and for each
//! owner only as many as they may have (`owners.rs`). Types can be nested so that each level doubles what
//! there is; the bounds of [`sse_proto::call::TypeKind::TooLarge`] end that.
//!
//! Not for names of types.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use pgrx::prelude::*;
use serde::Deserialize;
use sse_proto::call::{ColumnDigest, MAX_LEVELS, MAX_MEMBERS, Member, RowType, RowVersion, TypeKind};
use sse_proto::route::row_type_weight;

use crate::catalog::owners::Account;
use crate::catalog::utf8;

/// `kind`: `d`omain, `a`rray, `c`omposite, `p`seudo, `v`oid, `r`ecord, `j`son, `b`ytea, or `n`one of these.
/// `of`: the base of a domain, the elements of an array. A type with elements that has an array type itself
/// (`int2vector`) has a text of its own, and is no array. If `$2`, the types within these are returned, too,
/// level by level: at most `$3` types, and only as long as they have at most `$4` columns together.
const TYPES: &str = "
WITH RECURSIVE within AS (
    SELECT pg_catalog.unnest($1) AS oid
     UNION
    SELECT x.oid FROM within w JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) w.oid
     CROSS JOIN LATERAL (
        SELECT t.typbasetype AS oid WHERE t.typtype OPERATOR(pg_catalog.=) 'd'
         UNION ALL
        SELECT t.typelem WHERE t.typarray OPERATOR(pg_catalog.=) 0 AND t.typelem OPERATOR(pg_catalog.<>) 0 AND t.typsubscript OPERATOR(pg_catalog.=) 'pg_catalog.array_subscript_handler'::pg_catalog.regproc
         UNION ALL
        SELECT a.atttypid FROM pg_catalog.pg_attribute a
         WHERE t.typtype OPERATOR(pg_catalog.=) 'c' AND a.attrelid OPERATOR(pg_catalog.=) t.typrelid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped) x
     WHERE $2
), first AS MATERIALIZED (
    SELECT f.oid, pg_catalog.row_number() OVER () AS number FROM (SELECT w.oid FROM within w LIMIT $3) f
), counted AS MATERIALIZED (
    SELECT f.oid, pg_catalog.sum(coalesce(c.relnatts, 0)::pg_catalog.int4) OVER (ORDER BY f.number) AS columns
      FROM first f JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) f.oid
      LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.typrelid
), parts AS MATERIALIZED (
    SELECT t.oid, t.typrelid, t.typdelim,
           CASE WHEN t.oid OPERATOR(pg_catalog.=) 2278 THEN 'v' WHEN t.oid OPERATOR(pg_catalog.=) 2249 THEN 'r'
                WHEN t.typtype OPERATOR(pg_catalog.=) 'p' THEN 'p' WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN 'd'
                WHEN t.oid OPERATOR(pg_catalog.=) 114 OR t.oid OPERATOR(pg_catalog.=) 3802 THEN 'j' WHEN t.oid OPERATOR(pg_catalog.=) 17 THEN 'b'
                WHEN t.typtype OPERATOR(pg_catalog.=) 'c' THEN 'c'
                WHEN t.typarray OPERATOR(pg_catalog.=) 0 AND t.typelem OPERATOR(pg_catalog.<>) 0 AND t.typsubscript OPERATOR(pg_catalog.=) 'pg_catalog.array_subscript_handler'::pg_catalog.regproc THEN 'a'
                ELSE 'n' END AS kind,
           CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN t.typbasetype ELSE t.typelem END AS of
      FROM counted w JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) w.oid
     WHERE w.columns OPERATOR(pg_catalog.<=) $4
), members AS MATERIALIZED (
    SELECT a.attrelid, pg_catalog.json_agg(pg_catalog.json_build_array(a.attname, a.atttypid::pg_catalog.int8,
               pg_catalog.encode(pg_catalog.convert_to(a.attname::pg_catalog.text, pg_catalog.getdatabaseencoding()), 'hex')) ORDER BY a.attnum) AS list
      FROM parts t JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) t.typrelid
     WHERE t.kind OPERATOR(pg_catalog.=) 'c' AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
     GROUP BY a.attrelid
)
SELECT t.oid, pg_catalog.convert_to(pg_catalog.json_build_object(
    'kind', t.kind, 'of', t.of::pg_catalog.int8, 'delimiter', t.typdelim::pg_catalog.text, 'members', m.list
    )::pg_catalog.text, pg_catalog.getdatabaseencoding())
  FROM parts t LEFT JOIN members m ON m.attrelid OPERATOR(pg_catalog.=) t.typrelid";

/// A type as the query returns it.
#[derive(Deserialize)]
struct Written {
    kind: char,
    of: u32,
    delimiter: String,
    /// Name, type, and the bytes of the name in hexadecimal.
    members: Option<Vec<(String, u32, String)>>,
}

/// A type, as far as it matters here.
struct Row {
    kind: char,
    of: u32,
    delimiter: char,
    /// Name and type, if it is a row type.
    members: Vec<(String, u32)>,
    /// A digest of these members.
    digest: u64,
}

/// At most this many types are read with one query: each may have 1,600 columns, and a column takes some
/// hundred bytes on the way.
const TYPES_OF_A_QUERY: usize = 50;

/// At most this many columns are read ahead in one reading, with all that is within the types of a batch of
/// routines, by one query instead of one for each level. Types beyond it are read one routine after the
/// other. What is read ahead is read before it is weighed.
const MAX_AHEAD: usize = 100_000;

/// At most this many types are read ahead with one query, because not all types have columns.
const MAX_TYPES_AHEAD: usize = 20_000;

/// At most this many row types of one routine are checked again before a call, the outer ones first. Checking
/// one takes some microseconds. In a row type beyond them, a value may be read by the old columns until the
/// change has been read.
const MAX_VERSIONS: usize = 100;

impl Row {
    fn of(text: &str) -> serde_json::Result<Self> {
        let Written { kind, of, delimiter, members } = serde_json::from_str(text)?;
        let members = members.unwrap_or_default();
        let digest = members
            .iter()
            .fold(ColumnDigest::default(), |digest, (_, oid, name)| digest.column(bytes(name), *oid))
            .value();
        let delimiter = delimiter.chars().next().unwrap_or(',');
        let members = members.into_iter().map(|(name, oid, _)| (name, oid)).collect();
        Ok(Self { kind, of, delimiter, members, digest })
    }

    /// The types that are directly within it.
    fn within(&self) -> impl Iterator<Item = u32> {
        let of = matches!(self.kind, 'a' | 'd').then_some(self.of);
        of.into_iter().chain(self.members.iter().map(|(_, oid)| *oid))
    }
}

pub(super) fn bytes(hexadecimal: &str) -> impl Iterator<Item = u8> {
    let pairs = hexadecimal.as_bytes().chunks(2);
    pairs.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
}

/// The distinctions that [`TypeKind`] does not make.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    Void,
    Record,
    Other,
}

/// Which types are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Those that are given.
    These,
    /// Those, and the types within them, level by level.
    AllLevels,
}

/// Types by oid.
#[derive(Default)]
pub(super) struct Types {
    /// `None`: there is no such type any more.
    rows: HashMap<u32, Option<Row>>,
    /// Number of columns that were read ahead.
    ahead: usize,
    /// Each with the number of members in it, counted at every place where they stand, and the number of
    /// levels.
    known: HashMap<u32, Known>,
}

#[derive(Clone)]
struct Known {
    kind: TypeKind,
    members: usize,
    levels: usize,
}

impl Types {
    /// Reads these types and what is within them ahead.
    pub(super) fn prefetch(&mut self, oids: impl Iterator<Item = u32>) {
        let missing: HashSet<u32> = oids.filter(|oid| !self.rows.contains_key(oid)).collect();
        let left = MAX_AHEAD.saturating_sub(self.ahead);
        if !missing.is_empty() && left > 0 {
            self.ahead += self.select(missing.into_iter().collect(), Depth::AllLevels, MAX_TYPES_AHEAD, left);
        }
    }

    /// Reads these types and what is within them. `false` when the types that are new to the owner do not fit
    /// into what the owner may have; then some may not have been read.
    pub(super) fn weigh(&mut self, oids: impl Iterator<Item = u32>, account: &mut Account) -> bool {
        let mut level: Vec<u32> = oids.filter(|oid| account.is_new(*oid)).collect();
        while !level.is_empty() {
            for part in level.chunks(TYPES_OF_A_QUERY) {
                self.read(part);
                for row in part.iter().filter_map(|oid| self.row(*oid)) {
                    if !account.take(row_type_weight(row.members.iter().map(|(name, _)| name.as_str()))) {
                        return false;
                    }
                }
            }
            let rows = level.iter().filter_map(|oid| self.row(*oid));
            level = rows.flat_map(Row::within).filter(|oid| account.is_new(*oid)).collect();
        }
        true
    }

    /// Reads the types that are not there yet.
    fn read(&mut self, oids: &[u32]) {
        let missing: Vec<u32> = oids.iter().copied().filter(|oid| !self.rows.contains_key(oid)).collect();
        if !missing.is_empty() {
            self.rows.extend(missing.iter().map(|oid| (*oid, None)));
            self.select(missing, Depth::These, TYPES_OF_A_QUERY, usize::MAX);
        }
    }

    /// Runs [`TYPES`]; returns the number of columns.
    fn select(&mut self, oids: Vec<u32>, depth: Depth, types: usize, columns: usize) -> usize {
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let oids: Vec<pg_sys::Oid> = oids.into_iter().map(pg_sys::Oid::from).collect();
        let arguments =
            [oids.into(), (depth == Depth::AllLevels).into(), number(types).into(), number(columns).into()];
        let read = Spi::connect(|client| {
            let mut columns = 0;
            for row in client.select(TYPES, None, &arguments)? {
                let oid = row.get::<pg_sys::Oid>(1)?.map_or(0, |oid| oid.to_u32());
                let text = utf8(row.get::<Vec<u8>>(2)?);
                match Row::of(&text) {
                    Ok(row) => {
                        columns += row.members.len();
                        self.rows.insert(oid, Some(row));
                    }
                    Err(error) => warning!("pg_sse: cannot read type {oid}: {error}"),
                }
            }
            Ok::<_, spi::Error>(columns)
        });
        read.unwrap_or_else(|error| error!("pg_sse: cannot read the types: {error}"))
    }

    fn row(&self, oid: u32) -> Option<&Row> {
        self.rows.get(&oid)?.as_ref()
    }

    /// The structure of a type. If it has more members than `left`, it is too large; else they are taken off
    /// `left`. A routine's record writes out all of its types, so they share one bound.
    pub(super) fn kind(&mut self, oid: u32, left: &mut usize) -> TypeKind {
        let Known { kind, members, .. } = self.known(oid);
        match left.checked_sub(members) {
            Some(rest) => {
                *left = rest;
                kind
            }
            None => TypeKind::TooLarge,
        }
    }

    /// Which [`Base`] a type has.
    pub(super) fn base(&self, oid: u32) -> Base {
        match self.base_row(oid).map(|row| row.kind) {
            Some('v') => Base::Void,
            Some('r') => Base::Record,
            _ => Base::Other,
        }
    }

    /// The columns of a row type; `left` as in [`Types::kind`].
    pub(super) fn columns(&mut self, oid: u32, left: &mut usize) -> Option<Vec<(String, TypeKind)>> {
        let members = self.base_row(oid).filter(|row| row.kind == 'c')?.members.clone();
        Some(members.into_iter().map(|(name, oid)| (name, self.kind(oid, left))).collect())
    }

    /// The row types within these types, each once. `true` in `types` says that a type is an argument's.
    pub(super) fn versions(&self, types: impl Iterator<Item = (u32, bool)>) -> Vec<RowVersion> {
        // Arguments first: a row type that is in both an argument and a result counts as an argument's.
        let mut left: VecDeque<(u32, bool)> = types.collect();
        left.make_contiguous().sort_by_key(|(_, is_argument)| !is_argument);
        let mut seen = HashSet::new();
        let mut versions = Vec::new();
        while let Some((oid, is_argument)) = left.pop_front() {
            let Some(row) = self.row(oid).filter(|_| seen.insert(oid)) else { continue };
            match row.kind {
                'c' if versions.len() < MAX_VERSIONS => {
                    versions.push(RowVersion { oid, is_routine: false, digest: row.digest, is_argument });
                    left.extend(row.members.iter().map(|(_, oid)| (*oid, is_argument)));
                }
                'a' | 'd' => left.push_back((row.of, is_argument)),
                _ => {}
            }
        }
        versions
    }

    /// The row of a type, or of the base type if it is a domain.
    fn base_row(&self, oid: u32) -> Option<&Row> {
        let mut row = self.row(oid);
        while let Some(domain) = row.filter(|row| row.kind == 'd') {
            row = self.row(domain.of);
        }
        row
    }

    /// Types within a type come first, so that the result for a type does not depend on where it was met:
    /// deep inside another type it is the same as alone. Not by recursion, because a role can nest types as
    /// deep as it likes.
    fn known(&mut self, oid: u32) -> Known {
        let mut left = vec![oid];
        let mut begun = HashSet::new();
        while let Some(&oid) = left.last() {
            let is_new = !self.known.contains_key(&oid) && begun.insert(oid);
            let within = self.row(oid).filter(|_| is_new).into_iter().flat_map(Row::within);
            left.extend(within.filter(|oid| !self.known.contains_key(oid) && !begun.contains(oid)));
            if left.last() != Some(&oid) {
                continue;
            }
            left.pop();
            if !self.known.contains_key(&oid) {
                let known = self.put_together(oid);
                self.known.insert(oid, known);
            }
        }
        self.part(oid)
    }

    /// A type that is not there any more counts as a scalar: its disappearance is a change, and a reading
    /// follows.
    fn part(&self, oid: u32) -> Known {
        self.known.get(&oid).cloned().unwrap_or_else(|| Known::leaf(TypeKind::Scalar))
    }

    /// Puts a type together from what is known of the types within it.
    fn put_together(&self, oid: u32) -> Known {
        let Some(row) = self.row(oid) else { return Known::leaf(TypeKind::Scalar) };
        let known = match row.kind {
            'd' => self.part(row.of),
            'j' => Known::leaf(TypeKind::Json),
            'b' => Known::leaf(TypeKind::Bytes),
            'p' | 'v' | 'r' => Known::leaf(TypeKind::Pseudo),
            'a' => {
                let delimiter = row.delimiter;
                let element = self.part(row.of);
                match element.kind {
                    TypeKind::TooLarge => Known::too_large(),
                    kind => Known {
                        kind: TypeKind::Array { delimiter, element: Arc::new(kind) },
                        members: element.members,
                        levels: element.levels + 1,
                    },
                }
            }
            'c' => {
                let parts: Vec<(&String, Known)> =
                    row.members.iter().map(|(name, oid)| (name, self.part(*oid))).collect();
                let levels = parts.iter().map(|(_, part)| part.levels).max().unwrap_or(0) + 1;
                let count = parts.iter().map(|(_, part)| part.members.saturating_add(1)).sum();
                let is_too_large = parts.iter().any(|(_, part)| part.kind == TypeKind::TooLarge);
                if count > MAX_MEMBERS || is_too_large {
                    return Known::too_large();
                }
                let members =
                    parts.into_iter().map(|(name, part)| Member { name: name.clone(), kind: part.kind });
                let kind = TypeKind::Composite(Arc::new(RowType::new(members.collect())));
                Known { kind, members: count, levels }
            }
            _ => Known::leaf(TypeKind::Scalar),
        };
        if known.levels > MAX_LEVELS { Known::too_large() } else { known }
    }
}

impl Known {
    fn leaf(kind: TypeKind) -> Self {
        Self { kind, members: 0, levels: 1 }
    }

    fn too_large() -> Self {
        Self { kind: TypeKind::TooLarge, members: MAX_MEMBERS, levels: 1 }
    }
}
