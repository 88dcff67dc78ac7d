//! Names in a client: made of those of SQL, and handed out so that an older routine keeps its own whatever is
//! added.
//!
//! Not for keys and strings (text.rs).

use std::collections::{HashMap, HashSet};

use sse_proto::call::camel_case;

/// Names that nothing made of SQL may have: those of the language, of what a client uses of its surroundings,
/// and of what every client exports. Its own helpers have a `_` inside, which no name made of SQL has.
const RESERVED: &str = "abstract any arguments as async await bigint boolean break case catch class const constructor continue debugger \
    declare default delete do else enum eval export extends false finally for from function get globalThis if implements import in \
    infer instanceof interface is keyof let module namespace never new null number object of package private protected public \
    readonly require return satisfies set static string super switch symbol this throw true try type typeof undefined unique unknown \
    using var void while with yield NaN Infinity \
    AbortSignal ApiBegun ApiCall ApiError ApiKind ApiLive ApiOptions ApiOrigin ApiResult ApiStream ApiVoidResult Array Error Event \
    EventSource JSON MessageEvent Number Object Partial Pick Promise Record Response RowChange String TextDecoder TextEncoder TypeError URLSearchParams Uint8Array \
    baseUrl clearTimeout setBaseUrl setTimeout";

/// Names that are taken.
pub(crate) struct Names {
    /// Words that nobody gets as a name; empty for none.
    reserved: &'static str,
    taken: HashSet<String>,
    /// The first number that may be free after a name, by all that is made of this name. None is ever given
    /// back, so nobody has to try again what others have tried: thousands of routines may differ in nothing
    /// that a name keeps.
    next: HashMap<Vec<String>, u64>,
}

impl Names {
    /// For a client.
    pub(crate) fn new() -> Self {
        Self { reserved: RESERVED, ..Self::besides(RESERVED) }
    }

    /// For something else, in which these names are there already.
    pub(crate) fn besides(names: &str) -> Self {
        let taken = names.split_whitespace().map(str::to_owned).collect();
        Self { reserved: "", taken, next: HashMap::new() }
    }

    /// Takes all names that `made` makes of one name: the given one, or where one of these is taken that with
    /// its schema in front, or the first number after it with which none is. A reserved word gets a `_`.
    pub(crate) fn take(&mut self, schema: &str, name: &str, made: impl Fn(&str) -> Vec<String>) -> String {
        let plain = word(name);
        let plain = if self.is_reserved(&plain) { format!("{plain}_") } else { plain };
        if self.try_take(made(&plain)) {
            return plain;
        }
        let long = format!("{}{}", word(schema), pascal(&plain));
        if self.try_take(made(&long)) {
            return long;
        }
        self.number(&long, made)
    }

    /// The same for a further overload: the name of the oldest with the first number after it that is free.
    pub(crate) fn take_numbered(&mut self, name: &str, made: impl Fn(&str) -> Vec<String>) -> String {
        self.number(name.trim_end_matches('_'), made)
    }

    fn number(&mut self, stem: &str, made: impl Fn(&str) -> Vec<String>) -> String {
        let key = made(stem);
        let mut number = self.next.get(&key).copied().unwrap_or(2);
        loop {
            let numbered = format!("{stem}{number}");
            number += 1;
            if self.try_take(made(&numbered)) {
                self.next.insert(key, number);
                return numbered;
            }
        }
    }

    fn try_take(&mut self, names: Vec<String>) -> bool {
        let is_free = names.iter().all(|name| !self.taken.contains(name));
        if is_free {
            self.taken.extend(names);
        }
        is_free
    }

    fn is_reserved(&self, name: &str) -> bool {
        self.reserved.split_whitespace().any(|reserved| reserved == name)
    }
}

/// A name of SQL in camelCase, of letters and digits that every version of the language has. A character that
/// is none ends a word, as `_` does.
pub(crate) fn word(name: &str) -> String {
    let cleaned: String = name.chars().map(|c| if is_part(c) { c } else { '_' }).collect();
    let camel = camel_case(&cleaned);
    if camel.bytes().all(|byte| byte == b'_') {
        return name.chars().map(|c| format!("u{:x}", u32::from(c))).collect();
    }
    let starts = camel.starts_with(|c: char| c == '$' || unicode_ident::is_xid_start(c));
    if starts { camel } else { format!("_{camel}") }
}

/// Such a name where only letters and digits of ASCII are allowed: another character is `u` and its number.
pub(crate) fn ascii(word: &str) -> String {
    let mut ascii = String::with_capacity(word.len());
    for c in word.chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            ascii.push(c);
        } else {
            ascii.push_str(&format!("u{:x}", u32::from(c)));
        }
    }
    ascii
}

/// A name with its first letter as a capital.
pub(crate) fn pascal(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next().into_iter().flat_map(char::to_uppercase);
    first.chain(chars).collect()
}

/// Whether a name keeps it. In what it becomes as a capital it has to be known, too.
fn is_part(c: char) -> bool {
    c == '$' || is_known(c) && c.to_uppercase().all(is_known)
}

/// Letters, marks and digits that every compiler knows: one that a compiler does not know makes the whole
/// file fail. The tables that are asked are those of the Unicode of this build, which are newer than a
/// compiler's; so only the scripts are in it to which nothing was added for ten years.
fn is_known(c: char) -> bool {
    let is_of_old_script = matches!(c,
        '\0'..='\x7f'
            | '\u{c0}'..='\u{52f}'
            | '\u{5d0}'..='\u{5ea}'
            | '\u{620}'..='\u{6d3}'
            | '\u{900}'..='\u{963}'
            | '\u{e01}'..='\u{e4e}'
            | '\u{1e00}'..='\u{1eff}'
            | '\u{3041}'..='\u{3096}'
            | '\u{30a1}'..='\u{30fa}'
            | '\u{4e00}'..='\u{9fa5}'
            | '\u{ac00}'..='\u{d7a3}'
    );
    is_of_old_script && unicode_ident::is_xid_continue(c)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn alone(name: &str) -> Vec<String> {
        vec![name.to_owned()]
    }

    #[test]
    fn a_name_of_sql_becomes_an_identifier_whatever_it_is() {
        for (name, wanted) in [
            ("send_message", "sendMessage"),
            ("_leading", "leading"),
            ("größe", "größe"),
            ("two words", "twoWords"),
            ("it's\n\"quoted\"", "itSQuoted"),
            ("1st", "_1st"),
            ("my$fun", "my$fun"),
            ("__proto__", "proto"),
            ("!!!", "u21u21u21"),
            ("___", "u5fu5fu5f"),
            ("\u{1f600}smile", "smile"),
            ("\u{24b6}bc", "bc"),
            // Of Unicode 16, and one whose capital is.
            ("\u{1c89}x", "x"),
            ("\u{19b}x", "x"),
            ("x_\u{1c8a}_\u{19b}y", "xY"),
            ("ñu_\u{1c6}_tiếng_имя_名前", "ñu\u{1c4}TiếngИмя名前"),
        ] {
            assert_eq!(word(name), wanted, "{name:?}");
        }
        for name in ["delete", "promise", "base_url", "await"] {
            let taken = Names::new().take("public", name, alone);
            assert!(!RESERVED.split_whitespace().any(|reserved| reserved == taken), "{taken}");
        }
        assert_eq!(Names::new().take("public", "delete", alone), "delete_");
        assert_eq!(
            Names::new().take("public", "event_source", |name| vec![pascal(name)]),
            "publicEventSource"
        );
    }

    #[test]
    fn the_older_keeps_its_name_and_the_newer_gets_its_schema() {
        let mut names = Names::new();
        let made = |name: &str| vec![name.to_owned(), format!("create{}EventSource", pascal(name))];
        assert_eq!(names.take("a", "x", made), "x");
        assert_eq!(names.take("b", "x", made), "bX");
        assert_eq!(names.take("b_", "x", made), "bX2");
        assert_eq!(names.take("c", "create_x_event_source", made), "cCreateXEventSource");
    }

    // Attack: thousands of routines whose names differ only in what no name keeps stop the routes of all.
    #[test]
    fn thirty_thousand_routines_that_become_one_name_are_named_in_linear_time() {
        const COUNT: u32 = 30_000;
        let tried = std::cell::Cell::new(0);
        let made = |name: &str| {
            tried.set(tried.get() + 1);
            assert!(tried.get() <= 5 * COUNT, "{name}");
            vec![name.to_owned(), format!("create{}EventSource", pascal(name))]
        };
        let mut names = Names::new();
        let of = |number: u32| format!("f{}x", char::from_u32(0x2_0000 + number).unwrap());
        let given: Vec<String> = (0..COUNT).map(|number| names.take("public", &of(number), made)).collect();
        assert_eq!(given[..4], ["fX", "publicFX", "publicFX2", "publicFX3"]);
        assert_eq!(given[29_999], "publicFX29999");
        tried.set(0);
        let overloads: Vec<String> = (0..COUNT).map(|_| names.take_numbered("fX", made)).collect();
        assert_eq!([&overloads[0], &overloads[29_999]], ["fX2", "fX30001"]);
        // A number that somebody has by name is passed over.
        assert_eq!(names.take("public", "g", made), "g");
        assert_eq!(names.take("public", "g2", made), "g2");
        assert_eq!([names.take_numbered("g", made), names.take_numbered("g", made)], ["g3", "g4"]);
    }
}
