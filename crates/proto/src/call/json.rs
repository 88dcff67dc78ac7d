//! Reads the JSON object of a request's body into its members, each value checked and kept as it was written.
//!
//! Stricter than the usual readers: no name twice in one object, at any depth (of two, one program takes the first and
//! another the last); no `\u0000`, which Postgres' texts cannot hold; nesting is bounded. Numbers are never turned into
//! machine numbers, so those beyond 64 bits arrive in SQL digit by digit, which is why this is not `serde_json`'s reader.
//!
//! Not for what a value means.

use std::borrow::Cow;
use std::collections::HashSet;

/// Levels of arrays and objects within each other. Reading recurses, here and in Postgres. Beyond it:
/// [`JsonError::Depth`].
pub(super) const MAX_DEPTH: usize = 100;

/// A value; what is not plain is its text, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    /// Without quotes and escapes, and as it was written.
    String(Cow<'a, str>, &'a str),
    Array(&'a str),
    Object(&'a str),
}

impl<'a> Json<'a> {
    /// As it was written.
    pub(super) fn raw(&self) -> &'a str {
        match self {
            Self::Null => "null",
            Self::Bool(true) => "true",
            Self::Bool(false) => "false",
            Self::Number(raw) | Self::String(_, raw) | Self::Array(raw) | Self::Object(raw) => raw,
        }
    }
}

/// Why a text is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum JsonError {
    Syntax,
    NotObject,
    Depth,
    Duplicate(String),
    ZeroByte,
}

/// The members of a JSON object, in order. A text of nothing but blanks is an empty object.
pub(super) fn members(text: &str) -> Result<Vec<(Cow<'_, str>, Json<'_>)>, JsonError> {
    let mut reader = Reader { text, at: 0 };
    let mut members = Vec::new();
    reader.blanks();
    match reader.peek() {
        None => return Ok(members),
        Some(b'{') => reader.object(1, |name, value| members.push((name, value)))?,
        Some(_) => {
            reader.value(1)?;
            reader.end()?;
            return Err(JsonError::NotObject);
        }
    }
    reader.end()?;
    Ok(members)
}

/// One JSON value.
pub(super) fn value(text: &str) -> Result<Json<'_>, JsonError> {
    let mut reader = Reader { text, at: 0 };
    reader.blanks();
    let value = reader.value(1)?;
    reader.end()?;
    Ok(value)
}

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// `depth` is that of the value, if it is an array or object.
    fn value(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        let start = self.at;
        match self.peek() {
            Some(b'{') => {
                self.object(depth, |_, _| ())?;
                Ok(Json::Object(self.since(start)))
            }
            Some(b'[') => {
                self.array(depth)?;
                Ok(Json::Array(self.since(start)))
            }
            Some(b'"') => self.string().map(|(text, raw)| Json::String(text, raw)),
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                Ok(Json::Number(self.since(start)))
            }
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            _ => Err(JsonError::Syntax),
        }
    }

    fn object(
        &mut self,
        depth: usize,
        mut member: impl FnMut(Cow<'a, str>, Json<'a>),
    ) -> Result<(), JsonError> {
        self.open(depth)?;
        if self.take(b'}') {
            return Ok(());
        }
        let mut names = HashSet::new();
        loop {
            self.blanks();
            let (name, _) = self.string()?;
            if !names.insert(name.clone()) {
                return Err(JsonError::Duplicate(name.into_owned()));
            }
            self.blanks();
            self.expect(b':')?;
            self.blanks();
            member(name, self.value(depth + 1)?);
            self.blanks();
            if !self.take(b',') {
                return self.expect(b'}');
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), JsonError> {
        self.open(depth)?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.blanks();
            self.value(depth + 1)?;
            self.blanks();
            if !self.take(b',') {
                return self.expect(b']');
            }
        }
    }

    /// Steps over the bracket and the blanks behind it.
    fn open(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError::Depth);
        }
        self.at += 1;
        self.blanks();
        Ok(())
    }

    /// RFC 8259 §7. What has escapes is read by `serde_json`, which refuses halves of surrogate pairs.
    fn string(&mut self) -> Result<(Cow<'a, str>, &'a str), JsonError> {
        let start = self.at;
        self.expect(b'"')?;
        let mut has_escapes = false;
        loop {
            match self.peek().ok_or(JsonError::Syntax)? {
                b'"' => break,
                b'\\' => {
                    has_escapes = true;
                    self.at += 2;
                }
                0 => return Err(JsonError::ZeroByte),
                1..=0x1f => return Err(JsonError::Syntax),
                _ => self.at += 1,
            }
        }
        self.at += 1;
        let raw = self.since(start);
        if !has_escapes {
            return Ok((Cow::Borrowed(raw.trim_matches('"')), raw));
        }
        let text: String = serde_json::from_str(raw).map_err(|_| JsonError::Syntax)?;
        if text.contains('\0') {
            return Err(JsonError::ZeroByte);
        }
        Ok((Cow::Owned(text), raw))
    }

    /// RFC 8259 §6.
    fn number(&mut self) -> Result<(), JsonError> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(JsonError::Syntax) }
    }

    fn word(&mut self, word: &str, value: Json<'a>) -> Result<Json<'a>, JsonError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(JsonError::Syntax);
        }
        self.at += word.len();
        Ok(value)
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn end(&mut self) -> Result<(), JsonError> {
        self.blanks();
        if self.peek().is_none() { Ok(()) } else { Err(JsonError::Syntax) }
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.take(byte) { Ok(()) } else { Err(JsonError::Syntax) }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Both ends lie beside ASCII, so they are borders of characters; were they not, the text would be empty.
    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
