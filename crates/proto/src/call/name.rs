//! Names of parameters and columns in a request, in an answer (C7.3), and in SQL.
//!
//! Not for finding a parameter by its name.

/// The parameters that `@user_parameters` fills from who calls.
pub const USER_PARAMETERS: [&str; 5] =
    ["_user_id", "_user_name", "_user_roles", "_user_claims", "_ip_address"];

/// A name of SQL in camelCase: `_message_text` is `messageText`. A run of `_` ends a word; runs at the
/// beginning and the end are dropped. Digits stay, the first letter becomes lower case, other letters stay. A
/// name of nothing but `_` stays as it is.
pub fn camel_case(sql_name: &str) -> String {
    let mut camel = String::with_capacity(sql_name.len());
    each_camel_char(sql_name, |c| {
        camel.push(c);
        true
    });
    camel
}

/// Whether `name` is `sql_name` in camelCase.
pub(super) fn is_camel_case_of(name: &str, sql_name: &str) -> bool {
    let mut rest = name.chars();
    each_camel_char(sql_name, |c| rest.next() == Some(c)) && rest.next().is_none()
}

/// The names of columns in an answer: camelCase, except for columns that would then have the same name and
/// keep their own.
pub fn answer_names(columns: &[String]) -> Vec<String> {
    let camel: Vec<String> = columns.iter().map(|column| camel_case(column)).collect();
    let is_alone = |name: &String| camel.iter().filter(|other| *other == name).count() == 1;
    camel
        .iter()
        .zip(columns)
        .map(|(camel, column)| if is_alone(camel) { camel.clone() } else { column.clone() })
        .collect()
}

/// An identifier, quoted.
pub(super) fn identifier(name: &str) -> String {
    let mut sql = String::with_capacity(name.len() + 2);
    push_identifier(&mut sql, name);
    sql
}

/// Puts an identifier, quoted, after SQL.
pub(super) fn push_identifier(sql: &mut String, name: &str) {
    sql.push('"');
    for (number, part) in name.split('"').enumerate() {
        sql.push_str(if number > 0 { "\"\"" } else { "" });
        sql.push_str(part);
    }
    sql.push('"');
}

/// Hands over a name in camelCase until `take` answers `false`. Whether it never did: each name of a request
/// is compared with each parameter, and most differ in one of the first letters.
fn each_camel_char(sql_name: &str, mut take: impl FnMut(char) -> bool) -> bool {
    let mut ends_word = false;
    let mut is_first = true;
    for c in sql_name.chars() {
        if c == '_' {
            ends_word = true;
            continue;
        }
        let goes_on = match (is_first, ends_word) {
            (true, _) => c.to_lowercase().all(&mut take),
            (false, true) => c.to_uppercase().all(&mut take),
            (false, false) => take(c),
        };
        if !goes_on {
            return false;
        }
        (is_first, ends_word) = (false, false);
    }
    // Nothing but `_`.
    !is_first || sql_name.chars().all(take)
}
