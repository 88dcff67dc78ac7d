//! Parameters and results of the routines that can be called, read from the catalog (C7.3, C7.4).
//!
//! One query for all routines whose comment may have an `HTTP` line; the rest is put together here. The types' own names
//! are not `format_type`'s: see `sse_proto::call::Parameter`.
//!
//! Not for what is made of them (`sse_proto::call`).

use std::collections::HashMap;

use pgrx::prelude::*;
use serde::Deserialize;
use sse_proto::annotation::RoutineKind;
use sse_proto::call::{Mode, Parameter, ResultType, Shape, Signature, TypeKind};
use sse_proto::route::Routine;

use crate::guc;
use crate::pg::text::from_server;

/// Types are read once, and only those that are used: a routine's share of the work does not grow with the number of types.
/// Everything is joined and then aggregated; a subquery for each routine would go through all kinds for each of them.
///
/// `kind` follows domains to their base type. `n`, `j`, `c`, `p`, `v`, `r`: scalar, json, composite, pseudo, void, record;
/// `a` and a character: array, and its delimiter.
const SIGNATURES: &str = "
WITH RECURSIVE wanted AS MATERIALIZED (
    SELECT p.oid, p.proowner, p.pronamespace, p.proisstrict, p.proretset, p.pronargdefaults, p.prorettype, p.proargnames, p.proargmodes,
           coalesce(p.proallargtypes, p.proargtypes::pg_catalog.oid[]) AS types
      FROM pg_catalog.unnest($2) AS a(oid) JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) a.oid
), given AS MATERIALIZED (
    SELECT w.oid AS routine, i.number, i.type, coalesce(w.proargnames[i.number], '') AS name, coalesce(w.proargmodes[i.number]::pg_catalog.text, 'i') AS mode
      FROM wanted w CROSS JOIN LATERAL pg_catalog.unnest(w.types) WITH ORDINALITY AS i(type, number)
), used AS MATERIALIZED (
    SELECT g.type FROM given g UNION SELECT w.prorettype FROM wanted w
), based AS (
    SELECT t.oid AS of, t.oid, t.typtype, t.typbasetype FROM used u JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) u.type
     UNION ALL
    SELECT b.of, t.oid, t.typtype, t.typbasetype FROM based b
      JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) b.typbasetype WHERE b.typtype OPERATOR(pg_catalog.=) 'd'
), kinds AS MATERIALIZED (
    SELECT b.of AS oid, t.typrelid,
           CASE WHEN t.oid OPERATOR(pg_catalog.=) 2278 THEN 'v' WHEN t.oid OPERATOR(pg_catalog.=) 2249 THEN 'r'
                WHEN t.typtype OPERATOR(pg_catalog.=) 'p' THEN 'p'
                WHEN t.oid OPERATOR(pg_catalog.=) 114 OR t.oid OPERATOR(pg_catalog.=) 3802 THEN 'j'
                WHEN t.typtype OPERATOR(pg_catalog.=) 'c' THEN 'c'
                WHEN t.typelem OPERATOR(pg_catalog.<>) 0 AND t.typsubscript OPERATOR(pg_catalog.=) 'pg_catalog.array_subscript_handler'::pg_catalog.regproc
                    THEN pg_catalog.concat('a', t.typdelim::pg_catalog.text)
                ELSE 'n' END AS kind
      FROM based b JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) b.oid
     WHERE b.typtype OPERATOR(pg_catalog.<>) 'd'
), parameters AS MATERIALIZED (
    SELECT g.routine, pg_catalog.json_agg(pg_catalog.json_build_object(
               'name', g.name, 'mode', g.mode,
               'type', pg_catalog.concat(pg_catalog.quote_ident(n.nspname::pg_catalog.text), '.', pg_catalog.quote_ident(t.typname::pg_catalog.text)),
               'kind', k.kind) ORDER BY g.number) AS list
      FROM given g
      JOIN kinds k ON k.oid OPERATOR(pg_catalog.=) g.type
      JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) g.type
      JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
     GROUP BY g.routine
), columns AS MATERIALIZED (
    SELECT a.attrelid, pg_catalog.json_agg(a.attname ORDER BY a.attnum) AS list
      FROM (SELECT DISTINCT k.typrelid FROM wanted w JOIN kinds k ON k.oid OPERATOR(pg_catalog.=) w.prorettype
             WHERE k.typrelid OPERATOR(pg_catalog.<>) 0) r
      JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) r.typrelid
     WHERE a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
     GROUP BY a.attrelid
), caller AS (
    SELECT (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) $1::pg_catalog.name) AS oid,
           (SELECT p.oid FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
             WHERE n.nspname OPERATOR(pg_catalog.=) 'sse' AND p.proname OPERATOR(pg_catalog.=) 'issue_token' LIMIT 1) AS issuer
)
SELECT w.oid, pg_catalog.convert_to(pg_catalog.json_build_object(
    'strict', w.proisstrict, 'set', w.proretset, 'defaults', w.pronargdefaults,
    'may', coalesce(pg_catalog.has_schema_privilege(c.oid, w.pronamespace, 'USAGE') AND pg_catalog.has_function_privilege(c.oid, w.oid, 'EXECUTE'), true),
    'issues', coalesce(pg_catalog.has_function_privilege(w.proowner, c.issuer, 'EXECUTE'), false),
    'kind', k.kind,
    'columns', a.list,
    'parameters', g.list
    )::pg_catalog.text, pg_catalog.getdatabaseencoding())
  FROM wanted w
  JOIN kinds k ON k.oid OPERATOR(pg_catalog.=) w.prorettype
  LEFT JOIN parameters g ON g.routine OPERATOR(pg_catalog.=) w.oid
  LEFT JOIN columns a ON a.attrelid OPERATOR(pg_catalog.=) k.typrelid
 CROSS JOIN caller c";

/// A routine as the query has it.
#[derive(Deserialize)]
struct Row {
    strict: bool,
    set: bool,
    defaults: usize,
    may: bool,
    issues: bool,
    kind: String,
    columns: Option<Vec<String>>,
    parameters: Option<Vec<RowParameter>>,
}

#[derive(Deserialize)]
struct RowParameter {
    name: String,
    mode: String,
    r#type: String,
    kind: String,
}

/// Fills in the signatures of those that may have an `HTTP` line.
pub(crate) fn fill_in(routines: &mut [Routine]) {
    let wanted: Vec<pg_sys::Oid> = routines
        .iter()
        .filter(|routine| mentions_http(&routine.comment))
        .map(|routine| pg_sys::Oid::from(routine.oid))
        .collect();
    if wanted.is_empty() {
        return;
    }
    let mut rows = read(wanted);
    for routine in routines {
        routine.signature = rows.remove(&routine.oid).map(|row| row.signature(routine.kind));
    }
}

fn mentions_http(comment: &str) -> bool {
    comment.as_bytes().windows(4).any(|window| window.eq_ignore_ascii_case(b"http"))
}

fn read(oids: Vec<pg_sys::Oid>) -> HashMap<u32, Row> {
    let role = guc::calls::role().unwrap_or_default();
    let rows = Spi::connect(|client| {
        let rows = client.select(SIGNATURES, None, &[role.into(), oids.into()])?;
        let mut signatures = HashMap::with_capacity(rows.len());
        for row in rows {
            let oid = row.get::<pg_sys::Oid>(1)?.map_or(0, |oid| oid.to_u32());
            let text = row.get::<Vec<u8>>(2)?.map(|bytes| from_server(&bytes)).unwrap_or_default();
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
    fn signature(self, kind: RoutineKind) -> Signature {
        let given = self.parameters.unwrap_or_default();
        let inputs = given.iter().filter(|parameter| parameter.is_input()).count();
        let first_default = inputs.saturating_sub(self.defaults);
        let mut input = 0;
        let parameters: Vec<Parameter> = given
            .iter()
            .map(|parameter| {
                let has_default = parameter.is_input() && input >= first_default;
                input += usize::from(parameter.is_input());
                Parameter {
                    name: parameter.name.clone(),
                    mode: parameter.mode(),
                    type_name: parameter.r#type.clone(),
                    kind: type_kind(&parameter.kind),
                    has_default,
                }
            })
            .collect();
        let result = match kind {
            RoutineKind::Procedure => ResultType { shape: Shape::Void, is_set: false, columns: Vec::new() },
            RoutineKind::Function => {
                let (shape, columns) = result(&parameters, &self.kind, self.columns.unwrap_or_default());
                ResultType { shape, is_set: self.set, columns }
            }
        };
        Signature {
            parameters,
            result,
            strict: self.strict,
            may_execute: self.may,
            owner_may_issue_tokens: self.issues,
        }
    }
}

/// A row type's own columns, or the OUT parameters in their place (funcapi.c, `build_function_result_tupdesc_d`).
fn result(parameters: &[Parameter], kind: &str, attributes: Vec<String>) -> (Shape, Vec<String>) {
    let is_out = |parameter: &&Parameter| matches!(parameter.mode, Mode::Out | Mode::InOut | Mode::Table);
    let out: Vec<&Parameter> = parameters.iter().filter(is_out).collect();
    let is_table = out.iter().any(|parameter| parameter.mode == Mode::Table);
    if kind == "c" && out.len() < 2 {
        return (Shape::Composite, attributes);
    }
    let names = (1..)
        .zip(&out)
        .map(|(number, parameter)| match parameter.name.as_str() {
            "" => format!("column{number}"),
            name => name.to_owned(),
        })
        .collect();
    if out.len() > 1 || is_table {
        return (Shape::Composite, names);
    }
    let shape = match kind.as_bytes().first() {
        Some(b'v') => Shape::Void,
        Some(b'r') => Shape::Record,
        Some(b'p') => Shape::Pseudo,
        Some(b'j') => Shape::Json,
        Some(b'a') => Shape::Array,
        _ => Shape::Scalar,
    };
    let names = out.into_iter().map(|parameter| parameter.name.clone()).filter(|name| !name.is_empty());
    (shape, names.collect())
}

fn type_kind(kind: &str) -> TypeKind {
    match kind.as_bytes() {
        [b'j'] => TypeKind::Json,
        [b'c'] => TypeKind::Composite,
        [b'p' | b'v' | b'r'] => TypeKind::Pseudo,
        [b'a', ..] => TypeKind::Array { delimiter: kind.chars().nth(1).unwrap_or(',') },
        _ => TypeKind::Scalar,
    }
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
