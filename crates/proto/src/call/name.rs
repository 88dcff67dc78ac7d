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
    camel_chars(sql_name).collect()
}

/// Whether `name` is `sql_name` in camelCase.
pub(super) fn is_camel_case_of(name: &str, sql_name: &str) -> bool {
    camel_chars(sql_name).eq(name.chars())
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
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn camel_chars(sql_name: &str) -> impl Iterator<Item = char> {
    let is_blank = sql_name.bytes().all(|byte| byte == b'_');
    let words = sql_name.split('_').filter(|word| !word.is_empty()).enumerate();
    let camel = words.flat_map(|(position, word)| {
        let first = word.chars().next();
        let rest = word.chars().skip(1);
        let lower = first.filter(|_| position == 0).into_iter().flat_map(char::to_lowercase);
        let upper = first.filter(|_| position > 0).into_iter().flat_map(char::to_uppercase);
        lower.chain(upper).chain(rest)
    });
    camel.chain(sql_name.chars().filter(move |_| is_blank))
}
