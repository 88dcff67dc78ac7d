//! Finds the modules that a module's text names, in its `use` lines and in the paths of its code.
//!
//! Not a parser: it knows comments, literals, braces and attributes, and takes every `a::b` for a path. Code
//! that is compiled only for tests is passed over: tests may import what they like.

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
pub(crate) fn imports(text: &str) -> Imports {
    let tokens = tokens(text);
    let mut reader =
        Reader { tokens: &tokens, at: 0, inside: Vec::new(), depth: 0, found: Imports::default() };
    while reader.at < tokens.len() {
        reader.step();
    }
    reader.found
}

struct Reader<'t> {
    tokens: &'t [&'t str],
    at: usize,
    /// The file's own modules that are open, each with the depth of its brace.
    inside: Vec<(String, usize)>,
    depth: usize,
    found: Imports,
}

impl<'t> Reader<'t> {
    fn peek(&self, ahead: usize) -> &'t str {
        self.tokens.get(self.at + ahead).copied().unwrap_or("")
    }

    fn step(&mut self) {
        let token = self.peek(0);
        match token {
            "#" => self.attribute(),
            "use" => {
                let is_public = self.at > 0 && matches!(self.tokens[self.at - 1], "pub" | ")");
                self.at += 1;
                self.tree(&[], is_public);
            }
            "mod" if self.peek(2) == "{" => {
                self.inside.push((self.peek(1).to_owned(), self.depth));
                self.at += 2;
            }
            "{" => {
                self.depth += 1;
                self.at += 1;
            }
            "}" => {
                self.depth = self.depth.saturating_sub(1);
                self.inside.pop_if(|(_, depth)| *depth == self.depth);
                self.at += 1;
            }
            _ if is_name(token) && self.peek(1) == "::" => self.path(),
            // Of a path that begins with a type, `<T as U>::a::b`, nothing is known.
            "::" => {
                while self.peek(0) == "::" && is_name(self.peek(1)) {
                    self.at += 2;
                }
                self.at += usize::from(self.peek(0) == "::");
            }
            _ => self.at += 1,
        }
    }

    fn named(&self, path: Vec<String>) -> Named {
        Named { inside: self.inside.iter().map(|(name, _)| name.clone()).collect(), path }
    }

    fn path(&mut self) {
        let mut path = vec![self.peek(0).to_owned()];
        self.at += 1;
        while self.peek(0) == "::" && is_name(self.peek(1)) {
            path.push(self.peek(1).to_owned());
            self.at += 2;
        }
        // Without a qualifier it is a method: `text.parse::<u16>()`.
        if path.len() > 1 {
            self.found.paths.push(self.named(path));
        }
    }

    /// Reads what follows `use`, braces included.
    fn tree(&mut self, prefix: &[String], is_public: bool) {
        let mut path = prefix.to_vec();
        loop {
            match self.peek(0) {
                "::" => self.at += 1,
                "{" => {
                    self.at += 1;
                    while !matches!(self.peek(0), "}" | "") {
                        let begin = self.at;
                        self.tree(&path, is_public);
                        // Whatever is no name, as in a macro, is passed over.
                        self.at += usize::from(self.peek(0) == "," || self.at == begin);
                    }
                    self.at += 1;
                    return;
                }
                "*" => {
                    self.at += 1;
                    self.found.uses.push(Use { named: self.named(path), alias: None, is_public });
                    return;
                }
                name if is_name(name) => {
                    path.push(name.to_owned());
                    self.at += 1;
                    if self.peek(0) != "::" {
                        break;
                    }
                }
                _ => break,
            }
        }
        // `use a::{self}` is `use a`.
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let mut alias = path.last().cloned();
        if self.peek(0) == "as" {
            alias = Some(self.peek(1).to_owned());
            self.at += 2;
        }
        if alias.is_some() {
            self.found.uses.push(Use { named: self.named(path), alias, is_public });
        } else {
            self.at += 1;
        }
    }

    fn attribute(&mut self) {
        self.at += 1 + usize::from(self.peek(1) == "!");
        let begin = self.at;
        self.skip_brackets();
        let words = &self.tokens[begin.min(self.at)..self.at];
        let has = |wanted: &[&str]| words.windows(wanted.len()).any(|found| found == wanted);
        if has(&["[", "cfg", "("]) && has(&["test"]) && !has(&["any", "("]) && !has(&["not", "(", "test"]) {
            self.skip_item();
        }
    }

    /// From an opening bracket to just after its closing one.
    fn skip_brackets(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.peek(0) {
                "[" | "(" | "{" => depth += 1,
                "]" | ")" | "}" => depth = depth.saturating_sub(1),
                "" => return,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    /// The item, field or statement to which an attribute belongs.
    fn skip_item(&mut self) {
        while self.peek(0) == "#" {
            self.at += 1;
            self.skip_brackets();
        }
        if self.peek(0) == "pub" {
            self.at += 1;
            if self.peek(0) == "(" {
                self.skip_brackets();
            }
        }
        if self.peek(0) == "mod" && self.peek(2) == ";" {
            self.found.test_modules.push(self.peek(1).to_owned());
        }
        let is_item = matches!(
            self.peek(0),
            "fn" | "impl"
                | "mod"
                | "use"
                | "const"
                | "static"
                | "struct"
                | "enum"
                | "trait"
                | "type"
                | "async"
        );
        loop {
            match self.peek(0) {
                "{" => {
                    self.skip_brackets();
                    return;
                }
                "[" | "(" => self.skip_brackets(),
                ";" => {
                    self.at += 1;
                    return;
                }
                "," if !is_item => {
                    self.at += 1;
                    return;
                }
                "]" | ")" | "}" | "" => return,
                // Braces of a `use` enclose no body.
                "use" => {
                    while !matches!(self.peek(0), ";" | "") {
                        self.at += 1;
                    }
                }
                _ => self.at += 1,
            }
        }
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Splits code into words, `::`, and every other sign by itself; leaves out comments, texts, characters and
/// lifetimes.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment_len(rest)
        } else if let Some(len) = literal_len(rest) {
            len
        } else if first == '_' || first.is_alphanumeric() {
            let len = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
            tokens.push(&rest[..len]);
            len
        } else if rest.starts_with("::") {
            tokens.push("::");
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(&rest[..first.len_utf8()]);
            }
            first.len_utf8()
        };
        rest = &rest[len..];
    }
    tokens
}

fn comment_len(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            match rest.chars().next() {
                Some(c) => at += c.len_utf8(),
                None => return at,
            }
        }
    }
}

/// The length of the text, character or lifetime that begins here.
fn literal_len(text: &str) -> Option<usize> {
    let begin = text.bytes().take(8).position(|byte| matches!(byte, b'"' | b'\''))?;
    let (prefix, hashes) = match text[..begin].find('#') {
        Some(hash) => (&text[..hash], &text[hash..begin]),
        None => (&text[..begin], ""),
    };
    if !matches!(prefix, "" | "b" | "c" | "r" | "br" | "cr") || hashes.bytes().any(|byte| byte != b'#') {
        return None;
    }
    let quote = &text[begin..=begin];
    let body = &text[begin + 1..];
    if prefix.ends_with('r') {
        let end = format!("\"{hashes}");
        return Some(begin + 1 + body.find(&end).map_or(body.len(), |at| at + end.len()));
    }
    if !hashes.is_empty() {
        return None;
    }
    if quote == "'" && !body.starts_with('\\') {
        let mut chars = body.chars();
        let len = chars.next().map_or(0, char::len_utf8);
        // A single quote without a partner begins a lifetime.
        return Some(begin + 1 + if chars.next() == Some('\'') { len + 1 } else { 0 });
    }
    let mut escaped = false;
    let end = body.find(|c: char| {
        let is_end = !escaped && quote.starts_with(c);
        escaped = !escaped && c == '\\';
        is_end
    });
    Some(begin + 1 + end.map_or(body.len(), |end| end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(text: &str) -> Vec<String> {
        let found = imports(text).uses;
        let told = |found: &Use| {
            let alias = found.alias.clone().unwrap_or("*".to_owned());
            let inside: String = found.named.inside.iter().map(|name| format!("{name}: ")).collect();
            format!("{inside}{} as {alias}", found.named.path.join("::"))
        };
        found.iter().map(told).collect()
    }

    fn paths(text: &str) -> Vec<String> {
        imports(text).paths.iter().map(|named| named.path.join("::")).collect()
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
        assert!(imports("pub(crate) use a::B;").uses[0].is_public);
        assert!(!imports("use a::B;").uses[0].is_public);
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
        let found = imports(text);
        assert_eq!(found.test_modules, ["tests"]);
        assert_eq!(uses(text), ["q::R as R", "s::T as T"]);
        assert_eq!(paths(text), ["o::P"]);
    }
}
