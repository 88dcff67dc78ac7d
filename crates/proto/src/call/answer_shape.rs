//! What becomes of the rows of a call's statement.
//!
//! Not for the SQL that makes such rows: that is `select`.

/// What the answer is. But for [`AnswerShape::ProcedureRow`], a row has exactly one column, of type `text`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerShape {
    /// 204; rows, if any, say nothing.
    Nothing,
    /// `text/plain`, one row; NULL or none: 204.
    Text,
    /// `application/json`, one row that is a JSON value; NULL or none: 204.
    Json,
    /// `application/json`, one row that is a JSON object; none: 204.
    Object,
    /// `application/json`: every row is a JSON value, never NULL; the worker writes `[`, `,` and `]`.
    Array,
    /// `application/json`: the one row of a `CALL`, as an object whose keys are
    /// [`Statement::columns`](super::Statement::columns).
    ProcedureRow,
}
