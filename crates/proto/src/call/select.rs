//! The SQL around a function's call that turns its result into one column of text (C7.4).
//!
//! `to_json` writes every type, timestamps in ISO 8601 among them. A set is read in FROM, where it may have
//! any shape. Any other function is called in the select list, because FROM turns a NULL row into a row of
//! NULLs, and 204 needs the difference; `OFFSET 0` keeps the planner from calling the function once for each
//! column.
//!
//! `t.*` means the row even if a column is called `t`.
//!
//! Not for procedures: nothing can be put around CALL.

use super::answer_shape::AnswerShape;
use super::name::{answer_names, identifier};
use super::signature::{ResultType, Shape};

/// `routine` is the call as SQL. For `@login`, the answer is the first row as an object with the SQL names of
/// its columns (C7.5), and a row of nothing but NULL, which `SELECT … INTO` leaves when it finds nobody, is
/// no row.
pub(super) fn of(routine: &str, result: &ResultType, login: bool) -> (String, AnswerShape) {
    if login && !result.columns.is_empty() {
        return (login_row(routine, result), AnswerShape::Object);
    }
    match (result.shape, result.is_set) {
        (Shape::Void | Shape::Record | Shape::Pseudo, _) => {
            (format!("SELECT NULL::pg_catalog.text FROM {routine}"), AnswerShape::Nothing)
        }
        (Shape::Scalar, false) => {
            let sql = format!(
                "SELECT pg_catalog.to_json({routine}) OPERATOR(pg_catalog.#>>) '{{}}'::pg_catalog._text"
            );
            (sql, AnswerShape::Text)
        }
        (Shape::Json, false) => (format!("SELECT {routine}::pg_catalog.text"), AnswerShape::Json),
        (Shape::Array, false) => {
            (format!("SELECT pg_catalog.to_json({routine})::pg_catalog.text"), AnswerShape::Json)
        }
        (Shape::Json, true) => {
            let sql = format!("SELECT COALESCE(r.v::pg_catalog.text, 'null') FROM {routine} AS r(v)");
            (sql, AnswerShape::Array)
        }
        (Shape::Scalar | Shape::Array, true) => {
            let sql = format!(
                "SELECT COALESCE(pg_catalog.to_json(r.v)::pg_catalog.text, 'null') FROM {routine} AS r(v)"
            );
            (sql, AnswerShape::Array)
        }
        (Shape::Composite, false) => {
            let row = one_row(routine, &result.columns, &answer_names(&result.columns));
            (
                format!("SELECT pg_catalog.row_to_json(t.*)::pg_catalog.text FROM ({row}) AS t"),
                AnswerShape::Object,
            )
        }
        (Shape::Composite, true) => {
            let rows = rows(routine, &answer_names(&result.columns));
            (
                format!("SELECT pg_catalog.row_to_json(t.*)::pg_catalog.text FROM ({rows}) AS t"),
                AnswerShape::Array,
            )
        }
    }
}

fn login_row(routine: &str, result: &ResultType) -> String {
    let row = match (result.shape, result.is_set) {
        (Shape::Composite, false) => one_row(routine, &result.columns, &result.columns),
        _ => format!("{} LIMIT 1", rows(routine, &result.columns)),
    };
    format!("SELECT pg_catalog.row_to_json(t.*)::pg_catalog.text FROM ({row}) AS t WHERE NOT (t.* IS NULL)")
}

/// The fields of the row that is returned, under other names; no row when it is NULL.
fn one_row(routine: &str, columns: &[String], names: &[String]) -> String {
    let fields: Vec<String> = columns
        .iter()
        .zip(names)
        .map(|(column, name)| format!("(s.v).{} AS {}", identifier(column), identifier(name)))
        .collect();
    format!(
        "SELECT {} FROM (SELECT {routine} AS v OFFSET 0) AS s WHERE s.v IS DISTINCT FROM NULL",
        fields.join(", ")
    )
}

fn rows(routine: &str, names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| identifier(name)).collect();
    if names.is_empty() {
        return format!("SELECT r.* FROM {routine} AS r");
    }
    format!("SELECT r.* FROM {routine} AS r({})", names.join(", "))
}
