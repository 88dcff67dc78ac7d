//! The body of an answer, and the data of a snapshot: its type, and how it is read.
//!
//! Not for the types of SQL in it (declaration.rs).

use crate::catalog::{Catalog, Kind};
use crate::declaration::{Types, Way, interface};
use crate::model::{Answer, Form};
use crate::name::Names;
use crate::text::key;

/// An answer in a client.
pub(crate) struct Written {
    /// Its type; `None`: there is no body.
    pub(crate) of: Option<String>,
    /// How it is read: a value of the client's `ApiKind`.
    pub(crate) kind: &'static str,
    /// The declaration of a type of its own.
    pub(crate) declaration: String,
}

/// `own`: the name of the type that is declared where the columns have none.
pub(crate) fn written(
    answer: &Answer,
    own: &str,
    types: &mut Types<'_>,
    catalog: &Catalog,
    names: &mut Names,
) -> Written {
    let mut declaration = String::new();
    let (row, kind, not_null) = match &answer.form {
        Form::Nothing => return Written { of: None, kind: "void", declaration },
        Form::Login => ("string".to_owned(), "text", true),
        Form::Text(of) => {
            let (written, kind) = match catalog.base_kind(*of) {
                Kind::Number | Kind::BigNumber => (types.written(*of, Way::Answer, names), "number"),
                Kind::Boolean => (types.written(*of, Way::Answer, names), "boolean"),
                Kind::Opaque => ("string".to_owned(), "text"),
                _ => (types.written(*of, Way::Answer, names), "text"),
            };
            (written, kind, true)
        }
        Form::Json(of) => (types.written(*of, Way::Answer, names), "json", catalog.is_not_null(*of)),
        Form::Row(of) => (types.written(*of, Way::Answer, names), "json", true),
        Form::Columns(columns) => {
            let member = |property: &crate::model::Property| {
                let value = property
                    .of
                    .map_or_else(|| "unknown".to_owned(), |of| types.nullable(of, false, Way::Answer, names));
                format!("    {}: {value};\n", key(&property.name))
            };
            let members: String = columns.iter().map(member).collect();
            declaration = interface(own, &members);
            (own.to_owned(), "json", true)
        }
    };
    let is_known = row != "unknown";
    let of = match answer.is_set {
        true if not_null || !is_known => format!("{}[]", in_parentheses(&row)),
        true => format!("({row} | null)[]"),
        false => row,
    };
    let of = if answer.may_be_empty && of != "unknown" { format!("{of} | null") } else { of };
    Written { of: Some(of), kind, declaration }
}

fn in_parentheses(row: &str) -> String {
    if row.contains(' ') { format!("({row})") } else { row.to_owned() }
}
