//! Finds the modules that a module's text names, in its `use` lines and in the paths of its code.
//!
//! Not a parser: it takes the code's tokens apart, and every `a::b` for a path, also in macros. Code that is
//! compiled only for tests is passed over: tests may import what they like.

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// What a file names, in the order of the text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Imports {
    pub(crate) uses: Vec<Use>,
    pub(crate) paths: Vec<Named>,
    /// Child modules that are compiled for tests alone.
    pub(crate) test_modules: Vec<String>,
}

/// One name of a `use` line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) named: Named,
    /// The name by which it is known here; `None` for all names of a module.
    pub(crate) alias: Option<String>,
    /// `pub use`, `pub(crate) use`.
    pub(crate) is_public: bool,
}

/// A path, and the modules of the file in which it stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) inside: Vec<String>,
    pub(crate) path: Vec<String>,
}

/// Reads a file.
///
/// # Errors
/// It does not consist of Rust's tokens.
pub(crate) fn imports(text: &str) -> Result<Imports> {
    let mut found = Imports::default();
    let tokens: TokenStream = text.parse().map_err(|error| anyhow!("{error}"))?;
    Reader::of(tokens, &[]).read(&mut found);
    Ok(found)
}

/// The tokens between two braces, or of the whole file.
struct Reader<'m> {
    tokens: Vec<TokenTree>,
    at: usize,
    /// The file's own modules in which they stand.
    inside: &'m [String],
}

impl<'m> Reader<'m> {
    fn of(tokens: TokenStream, inside: &'m [String]) -> Self {
        Self { tokens: tokens.into_iter().collect(), at: 0, inside }
    }

    fn peek(&self, ahead: usize) -> Option<&TokenTree> {
        self.tokens.get(self.at + ahead)
    }

    fn name(&self, ahead: usize) -> Option<String> {
        match self.peek(ahead) {
            Some(TokenTree::Ident(name)) => Some(name.to_string()),
            _ => None,
        }
    }

    fn is(&self, ahead: usize, sign: char) -> bool {
        matches!(self.peek(ahead), Some(TokenTree::Punct(found)) if found.as_char() == sign)
    }

    /// `::`.
    fn is_path(&self, ahead: usize) -> bool {
        self.is(ahead, ':') && self.is(ahead + 1, ':')
    }

    fn group(&self, ahead: usize, delimiter: Delimiter) -> Option<TokenStream> {
        match self.peek(ahead) {
            Some(TokenTree::Group(group)) if group.delimiter() == delimiter => Some(group.stream()),
            _ => None,
        }
    }

    fn read(&mut self, found: &mut Imports) {
        while let Some(token) = self.peek(0) {
            let name = self.name(0).unwrap_or_default();
            if self.is(0, '#') {
                self.attribute(found);
            } else if name == "use" {
                let before = self.at.checked_sub(1).map(|at| self.tokens[at].to_string());
                let is_public = before.is_some_and(|before| before == "pub" || before.ends_with(')'));
                self.at += 1;
                self.tree(&[], is_public, found);
            } else if name == "mod"
                && let (Some(name), Some(tokens)) = (self.name(1), self.group(2, Delimiter::Brace))
            {
                Reader::of(tokens, &[self.inside, std::slice::from_ref(&name)].concat()).read(found);
                self.at += 3;
            } else if !name.is_empty() && self.is_path(1) {
                self.path(name, found);
            } else if self.is_path(0) {
                // Of a path that begins with a type, `<T as U>::a::b`, nothing is known.
                while self.is_path(0) {
                    self.at += 2 + usize::from(self.name(2).is_some());
                }
            } else {
                if let TokenTree::Group(group) = token {
                    Reader::of(group.stream(), self.inside).read(found);
                }
                self.at += 1;
            }
        }
    }

    fn named(&self, path: Vec<String>) -> Named {
        Named { inside: self.inside.to_vec(), path }
    }

    fn path(&mut self, first: String, found: &mut Imports) {
        let mut path = vec![first];
        self.at += 1;
        while self.is_path(0)
            && let Some(name) = self.name(2)
        {
            path.push(name);
            self.at += 3;
        }
        // Without a qualifier it is a method: `text.parse::<u16>()`.
        if path.len() > 1 {
            found.paths.push(self.named(path));
        }
    }

    /// Reads what follows `use`, or one of what is between its braces.
    fn tree(&mut self, prefix: &[String], is_public: bool, found: &mut Imports) {
        let mut path = prefix.to_vec();
        loop {
            if self.is_path(0) {
                self.at += 2;
            } else if let Some(tokens) = self.group(0, Delimiter::Brace) {
                let mut inner = Reader::of(tokens, self.inside);
                while inner.peek(0).is_some() {
                    inner.tree(&path, is_public, found);
                    // The comma; or, as in a macro, whatever is no name.
                    inner.at += 1;
                }
                self.at += 1;
                return;
            } else if self.is(0, '*') {
                self.at += 1;
                found.uses.push(Use { named: self.named(path), alias: None, is_public });
                return;
            } else if let Some(name) = self.name(0) {
                path.push(name);
                self.at += 1;
                if !self.is_path(0) {
                    break;
                }
            } else {
                break;
            }
        }
        // `use a::{self}` is `use a`.
        if path.len() > 1 {
            path.pop_if(|last| last == "self");
        }
        let mut alias = path.last().cloned();
        if self.name(0).is_some_and(|name| name == "as") {
            alias = self.name(1);
            self.at += 2;
        }
        if alias.is_some() {
            found.uses.push(Use { named: self.named(path), alias, is_public });
        }
    }

    fn attribute(&mut self, found: &mut Imports) {
        self.at += 1 + usize::from(self.is(1, '!'));
        let Some(tokens) = self.group(0, Delimiter::Bracket) else { return };
        self.at += 1;
        let text = tokens.to_string().replace(' ', "");
        let mut words = text.split(|c: char| c != '_' && !c.is_alphanumeric());
        if text.starts_with("cfg(")
            && words.any(|word| word == "test")
            && !text.contains("any(")
            && !text.contains("not(test")
        {
            self.skip_item(found);
        }
    }

    /// The item, field or statement to which an attribute belongs.
    fn skip_item(&mut self, found: &mut Imports) {
        while self.is(0, '#') {
            self.at += 2;
        }
        if self.name(0).is_some_and(|name| name == "pub") {
            self.at += 1 + usize::from(self.group(1, Delimiter::Parenthesis).is_some());
        }
        let first = self.name(0).unwrap_or_default();
        if first == "mod" && self.is(2, ';') {
            found.test_modules.extend(self.name(1));
        }
        const ITEMS: [&str; 10] =
            ["fn", "impl", "mod", "const", "static", "struct", "enum", "trait", "type", "async"];
        let (is_use, is_item) = (first == "use", ITEMS.contains(&first.as_str()));
        while self.peek(0).is_some() {
            // Braces of a `use` enclose no body.
            let is_end = self.is(0, ';')
                || !is_use && self.group(0, Delimiter::Brace).is_some()
                || !is_use && !is_item && self.is(0, ',');
            self.at += 1;
            if is_end {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn uses(text: &str) -> Vec<String> {
        let found = imports(text).unwrap().uses;
        let told = |found: &Use| {
            let alias = found.alias.clone().unwrap_or("*".to_owned());
            let inside: String = found.named.inside.iter().map(|name| format!("{name}: ")).collect();
            format!("{inside}{} as {alias}", found.named.path.join("::"))
        };
        found.iter().map(told).collect()
    }

    fn paths(text: &str) -> Vec<String> {
        imports(text).unwrap().paths.iter().map(|named| named.path.join("::")).collect()
    }

    #[test]
    fn every_name_of_a_use_line_is_found() {
        let text = "use crate::{a, b::{C, d::*}};\npub(crate) use super::x::{self, Y as Z};\nmod m { use super::q; }";
        assert_eq!(
            uses(text),
            [
                "crate::a as a",
                "crate::b::C as C",
                "crate::b::d as *",
                "super::x as x",
                "super::x::Y as Z",
                "m: super::q as q"
            ]
        );
        assert!(imports("pub(crate) use a::B;").unwrap().uses[0].is_public);
        assert!(!imports("use a::B;").unwrap().uses[0].is_public);
    }

    #[test]
    fn paths_are_found_in_code_and_only_in_code() {
        let text = "// crate::a::b\n/* x::y /* z::w */ u::v */ fn f<'a>(q: &'a crate::c::D) { \
                    let s = (\"e::f\", r#\"g\"::h\"#, b'\\'', 'x', '\"', i::j()); s.k::<l::M>() }";
        assert_eq!(paths(text), ["crate::c::D", "i::j", "l::M"]);
    }

    #[test]
    fn what_is_for_tests_alone_is_passed_over() {
        let text = "#[cfg(test)]\nmod tests;\n#[cfg(all(test, not(loom)))]\npub(crate) mod more { use a::B; }\n\
                    #[cfg(test)]\n#[allow(x)]\nuse c::{D, E};\n#[cfg(test)]\nfn f<G, H>() { i::j() }\n\
                    struct S { #[cfg(test)] k: l::M, n: o::P }\n#[cfg(not(test))]\nuse q::R;\n\
                    #[cfg(any(test, fuzzing))]\nuse s::T;";
        let found = imports(text).unwrap();
        assert_eq!(found.test_modules, ["tests"]);
        assert_eq!(uses(text), ["q::R as R", "s::T as T"]);
        assert_eq!(paths(text), ["o::P"]);
    }
}
