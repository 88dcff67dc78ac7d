//! Parameters and results of the routines that can be called, read from the catalog (C7.3, C7.4).
//!
//! One query reads a batch of routines whose comment may have an `HTTP` line, and some queries read their
//! types (`signature/types.rs`). The rest is put together here. Whether something fits within its owner's
//! limit is decided on the way, before more is read.
//!
//! Not for what signatures are used for (`sse_proto::call`).

mod types;

use std::collections::HashMap;

use pgrx::prelude::*;
use serde::Deserialize;
use sse_proto::annotation::{Annotation, RoutineKind};
use sse_proto::call::{
    ColumnDigest, MAX_MEMBERS, MAX_PARAMETERS, Mode, Parameter, ResultType, RowVersion, Shape, Signature,
    TypeKind,
};
use sse_proto::route::Routine;

use self::types::{Base, Types};
use super::owners::Owners;
use super::reading::{Found, Names, Reading};
use super::utf8;
use crate::guc;
use crate::pg::routine;
use crate::pg::want_of_memory::{ask_for, or_raise};

/// Everything is joined and then aggregated: a routine's share of the work does not grow with the number of
/// types. Nor with that of all routines: `OFFSET 0` has each looked up by its oid, where the planner would
/// put the whole of pg_proc into a hash table for each batch.
///
/// Not `has_function_privilege`: it looks the routine up in the process' cache of the catalog, where all of
/// it stays, with its body and its defaults, each of which may have megabytes. What it does with the list of
/// privileges is done here (acl.c, aclmask).
const SIGNATURES: &str = "
WITH wanted AS MATERIALIZED (
    SELECT p.oid, p.proname, p.proowner, p.proacl, p.pronamespace, p.proisstrict, p.proretset, p.pronargdefaults, p.prorettype, p.proargnames, p.proargmodes,
           coalesce(p.proallargtypes, p.proargtypes::pg_catalog.oid[]) AS types
      FROM pg_catalog.unnest($2) AS a(oid)
     CROSS JOIN LATERAL (SELECT * FROM pg_catalog.pg_proc r WHERE r.oid OPERATOR(pg_catalog.=) a.oid OFFSET 0) AS p
), given AS MATERIALIZED (
    SELECT w.oid AS routine, i.number, i.type, coalesce(w.proargnames[i.number], '') AS name, coalesce(w.proargmodes[i.number]::pg_catalog.text, 'i') AS mode
      FROM wanted w CROSS JOIN LATERAL pg_catalog.unnest(w.types) WITH ORDINALITY AS i(type, number)
), parameters AS MATERIALIZED (
    SELECT g.routine, pg_catalog.json_agg(pg_catalog.json_build_object(
               'name', g.name, 'mode', g.mode,
               'type', pg_catalog.format_type(g.type, NULL),
               'oid', g.type::pg_catalog.int8) ORDER BY g.number) AS list
      FROM given g
     GROUP BY g.routine
), caller AS MATERIALIZED (
    SELECT (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) $1::pg_catalog.name) AS oid,
           (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) $1::pg_catalog.name) AS may_all,
           (SELECT p.oid FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
             WHERE n.nspname OPERATOR(pg_catalog.=) 'sse' AND p.proname OPERATOR(pg_catalog.=) 'issue_token' LIMIT 1) AS issuer
)
SELECT w.oid, pg_catalog.convert_to(pg_catalog.json_build_object(
    'strict', w.proisstrict, 'set', w.proretset, 'defaults', w.pronargdefaults,
    'may', c.oid IS NULL OR c.may_all OR coalesce(pg_catalog.has_schema_privilege(c.oid, w.pronamespace, 'USAGE'), true)
        AND EXISTS (SELECT FROM pg_catalog.aclexplode(coalesce(w.proacl, pg_catalog.acldefault('f', w.proowner))) AS a
                     WHERE a.privilege_type OPERATOR(pg_catalog.=) 'EXECUTE'
                       AND (a.grantee OPERATOR(pg_catalog.=) 0 OR pg_catalog.pg_has_role(c.oid, a.grantee, 'USAGE'))),
    'issues', coalesce(pg_catalog.has_function_privilege(w.proowner, c.issuer, 'EXECUTE'), false),
    'name', pg_catalog.encode(pg_catalog.convert_to(w.proname::pg_catalog.text, pg_catalog.getdatabaseencoding()), 'hex'),
    'schema', w.pronamespace::pg_catalog.int8,
    'returns', w.prorettype::pg_catalog.int8,
    'parameters', g.list
    )::pg_catalog.text, pg_catalog.getdatabaseencoding())
  FROM wanted w
  LEFT JOIN parameters g ON g.routine OPERATOR(pg_catalog.=) w.oid
 CROSS JOIN caller c";

/// A routine as the query returns it.
#[derive(Deserialize)]
struct Row {
    strict: bool,
    set: bool,
    defaults: usize,
    may: bool,
    issues: bool,
    /// In hexadecimal.
    name: String,
    schema: u32,
    returns: u32,
    parameters: Option<Vec<RowParameter>>,
}

/// What was read of several functions, by oid.
pub(super) struct Rows(HashMap<u32, Row>);

#[derive(Deserialize)]
struct RowParameter {
    name: String,
    mode: String,
    r#type: String,
    oid: u32,
}

/// Reads signatures, batch after batch, and remembers what each owner has used so far.
#[derive(Default)]
pub(crate) struct Reader {
    owners: Owners,
    types: Types,
    /// The functions that comments name.
    names: Names,
}

impl Reader {
    /// Adds a batch to the reading, with the signatures of routines that may have an `HTTP` line. Routines
    /// beyond their owner's limit are added to `beyond`. The batches come in the order of oids.
    pub(crate) fn read(&mut self, batch: Vec<Found>, reading: &mut Reading) {
        let mut rows = match guc::CALL_ROLE.optional() {
            Some(role) => read(self.wanted(&batch), role),
            None => HashMap::new(),
        };
        self.types.prefetch(rows.values().flat_map(Row::type_oids));
        let calls_are_on = guc::CALL_ROLE.optional().is_some();
        for Found { owner, parameters, unread, mut routine } in batch {
            // Comments of megabytes are weighed, and signatures of thousands of members put together.
            pgrx::check_for_interrupts!();
            or_raise(ask_for(routine::made_of_comment(routine.comment.len()) + SIGNATURE_BYTES));
            let account = self.owners.account(owner);
            let mut fits = !account.is_closed() && account.take(routine.weight() + unread);
            if fits && calls_are_on && parameters > MAX_PARAMETERS && mentions(&routine.comment, b"http") {
                let signature = Signature::of_too_many_parameters();
                fits = account.take(signature.weight());
                routine.signature = Some(signature);
            } else if fits && let Some(row) = rows.remove(&routine.oid) {
                fits = self.types.weigh(row.type_oids(), account);
                if fits {
                    let signature = row.signature(routine.oid, routine.kind, &mut self.types);
                    fits = account.take(signature.weight());
                    routine.signature = Some(signature);
                }
            }
            match fits {
                true => {
                    self.note_name(owner, &routine);
                    reading.routines.push(routine);
                }
                false => reading.beyond.push(routine.oid),
            }
        }
    }

    /// Remembers the function that a routine's comment names for snapshots.
    fn note_name(&mut self, owner: u32, routine: &Routine) {
        if !mentions(&routine.comment, b"sse_snapshot") {
            return;
        }
        if let Ok(Some(Annotation { snapshot: Some(source), .. })) = routine.parse() {
            let (schema, name) = source.function(&routine.schema);
            let owners = self.names.entry((schema.to_owned(), name.to_owned())).or_default();
            if let Err(place) = owners.binary_search(&owner) {
                owners.insert(place, owner);
            }
        }
    }

    /// The functions that the comments read so far name.
    pub(super) fn take_names(&mut self) -> Names {
        std::mem::take(&mut self.names)
    }

    /// Whether anything more is read for one of these owners.
    pub(super) fn is_open(&mut self, owners: &[u32]) -> bool {
        owners.iter().any(|&owner| !self.owners.account(owner).is_closed())
    }

    /// Counts a function that comments of this owner's routines name. Says whether it fits.
    pub(super) fn take(&mut self, owner: u32, routine: &Routine) -> bool {
        let account = self.owners.account(owner);
        !account.is_closed() && account.take(routine.weight())
    }

    /// Reads what [`Reader::sign`] needs of these functions.
    pub(super) fn look_up(&mut self, oids: Vec<pg_sys::Oid>) -> Rows {
        // Without a role for calls nothing is run, and the signature only shows what is wrong.
        let rows = read(oids, guc::CALL_ROLE.optional().unwrap_or_default());
        self.types.prefetch(rows.values().flat_map(Row::type_oids));
        Rows(rows)
    }

    /// Gives its signature to a function that comments of this owner's routines name, unless it has one. Says
    /// whether it fits; if it does not, another owner may be asked.
    pub(super) fn sign(&mut self, owner: u32, routine: &mut Routine, rows: &Rows) -> bool {
        if routine.signature.is_some() {
            return true;
        }
        let Some(row) = rows.0.get(&routine.oid) else { return true };
        let account = self.owners.account(owner);
        if account.is_closed() || !self.types.weigh(row.type_oids(), account) {
            return false;
        }
        let signature = row.signature(routine.oid, routine.kind, &mut self.types);
        let fits = account.take(signature.weight());
        routine.signature = Some(signature).filter(|_| fits);
        fits
    }

    /// See [`Owners::near`].
    pub(crate) fn near_owners(&self) -> impl Iterator<Item = u32> {
        self.owners.near()
    }

    fn wanted(&mut self, batch: &[Found]) -> Vec<pg_sys::Oid> {
        let mut wanted = Vec::new();
        for Found { owner, parameters, routine, .. } in batch {
            let is_looked_at = mentions(&routine.comment, b"http") && *parameters <= MAX_PARAMETERS;
            if is_looked_at && !self.owners.account(*owner).is_closed() {
                wanted.push(pg_sys::Oid::from(routine.oid));
            }
        }
        wanted
    }
}

/// A signature of as many members as there can be takes less.
const SIGNATURE_BYTES: usize = 4 << 20;

fn mentions(comment: &str, word: &[u8]) -> bool {
    comment.as_bytes().windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

fn read(oids: Vec<pg_sys::Oid>, role: String) -> HashMap<u32, Row> {
    if oids.is_empty() {
        return HashMap::new();
    }
    let rows = Spi::connect(|client| {
        let rows = client.select(SIGNATURES, None, &[role.into(), oids.into()])?;
        let mut signatures = HashMap::with_capacity(rows.len());
        for row in rows {
            let oid = row.get::<pg_sys::Oid>(1)?.map_or(0, |oid| oid.to_u32());
            let text = utf8(row.get::<Vec<u8>>(2)?);
            match serde_json::from_str(&text) {
                Ok(row) => drop(signatures.insert(oid, row)),
                Err(error) => warning!("pg_sse: cannot read the parameters of routine {oid}: {error}"),
            }
        }
        Ok::<_, spi::Error>(signatures)
    });
    rows.unwrap_or_else(|error| error!("pg_sse: cannot read the parameters of the routines: {error}"))
}

impl Row {
    fn type_oids(&self) -> impl Iterator<Item = u32> {
        let parameters = self.parameters.iter().flatten().map(|parameter| parameter.oid);
        [self.returns].into_iter().chain(parameters)
    }

    fn signature(&self, oid: u32, kind: RoutineKind, types: &mut Types) -> Signature {
        let given = self.parameters.as_deref().unwrap_or_default();
        let inputs = given.iter().filter(|parameter| parameter.is_input()).count();
        let first_default = inputs.saturating_sub(self.defaults);
        let mut input = 0;
        let mut left = MAX_MEMBERS;
        let parameters: Vec<Parameter> = given
            .iter()
            .map(|parameter| {
                let has_default = parameter.is_input() && input >= first_default;
                input += usize::from(parameter.is_input());
                Parameter {
                    name: parameter.name.clone(),
                    mode: parameter.mode(),
                    type_oid: parameter.oid,
                    type_name: parameter.r#type.clone(),
                    kind: types.kind(parameter.oid, &mut left),
                    has_default,
                }
            })
            .collect();
        let result = match kind {
            RoutineKind::Procedure => {
                ResultType { shape: Shape::Void, is_set: false, columns: Vec::new(), kinds: Vec::new() }
            }
            RoutineKind::Function => {
                ResultType { is_set: self.set, ..result(&parameters, self.returns, types, &mut left) }
            }
        };
        let uses = given.iter().map(|parameter| (parameter.oid, parameter.is_input()));
        let mut rows = types.versions(uses.chain([(self.returns, false)]));
        if given.iter().any(|parameter| parameter.mode() != Mode::In) {
            let digest = ColumnDigest::default().column(types::bytes(&self.name), self.schema).value();
            rows.push(RowVersion { oid, is_routine: true, digest, is_argument: false });
        }
        Signature {
            parameters,
            result,
            rows,
            strict: self.strict,
            may_execute: self.may,
            owner_may_issue_tokens: self.issues,
        }
    }
}

/// A row type's own columns, or the OUT parameters in their place (funcapi.c,
/// `build_function_result_tupdesc_d`).
fn result(parameters: &[Parameter], returns: u32, types: &mut Types, left: &mut usize) -> ResultType {
    let of = |shape, columns, kinds| ResultType { shape, is_set: false, columns, kinds };
    let is_out = |parameter: &&Parameter| matches!(parameter.mode, Mode::Out | Mode::InOut | Mode::Table);
    let out: Vec<&Parameter> = parameters.iter().filter(is_out).collect();
    let is_table = out.iter().any(|parameter| parameter.mode == Mode::Table);
    if out.len() < 2
        && let Some(columns) = types.columns(returns, left)
    {
        let (names, kinds) = columns.into_iter().unzip();
        return of(Shape::Composite, names, kinds);
    }
    if out.len() > 1 || is_table {
        let names = (1..).zip(&out).map(|(number, parameter)| match parameter.name.as_str() {
            "" => format!("column{number}"),
            name => name.to_owned(),
        });
        let kinds = out.iter().map(|parameter| parameter.kind.clone());
        return of(Shape::Composite, names.collect(), kinds.collect());
    }
    let kind = types.kind(returns, left);
    let shape = match (types.base(returns), &kind) {
        (Base::Void, _) => Shape::Void,
        (Base::Record, _) => Shape::Record,
        (Base::Other, TypeKind::Pseudo) => Shape::Pseudo,
        (Base::Other, TypeKind::Json) => Shape::Json,
        (Base::Other, TypeKind::Array { .. }) => Shape::Array,
        (Base::Other, _) => Shape::Scalar,
    };
    let names = out.into_iter().map(|parameter| parameter.name.clone()).filter(|name| !name.is_empty());
    of(shape, names.collect(), vec![kind])
}

impl RowParameter {
    fn is_input(&self) -> bool {
        matches!(self.mode.as_str(), "i" | "b" | "v")
    }

    fn mode(&self) -> Mode {
        match self.mode.as_str() {
            "b" => Mode::InOut,
            "o" => Mode::Out,
            "v" => Mode::Variadic,
            "t" => Mode::Table,
            _ => Mode::In,
        }
    }
}
