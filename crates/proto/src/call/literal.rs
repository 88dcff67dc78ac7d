//! The literals of arrays and rows, as `array_in` and `record_in` read them.
//!
//! So a value of any structure travels as one text for the input function of its type. It never was the
//! *output* of such a function: that would write an instant in the session's DateStyle, with the abbreviation
//! of a time zone that is ambiguous.
//!
//! Not for what may stand in one.

/// A literal would be larger than it may, or there is no memory for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// A literal that is being written.
pub(super) struct Literal {
    text: String,
    /// Bytes.
    limit: usize,
}

impl Literal {
    /// An empty one, of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { text: String::new(), limit }
    }

    /// `{`, `(`, a delimiter, …
    pub(super) fn mark(&mut self, mark: char) -> Result<(), TooLong> {
        self.reserve(mark.len_utf8())?;
        self.text.push(mark);
        Ok(())
    }

    /// NULL as an element of an array; as a member of a row it is nothing at all.
    pub(super) fn null(&mut self) -> Result<(), TooLong> {
        self.reserve(4)?;
        self.text.push_str("NULL");
        Ok(())
    }

    /// A value, in quotes unless it has no special character. Each level of arrays and rows doubles the
    /// quotes and backslashes inside it, hence `limit`.
    pub(super) fn value(&mut self, value: &str) -> Result<(), TooLong> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.' | b'_');
        if !value.is_empty() && value.bytes().all(is_plain) && !value.eq_ignore_ascii_case("null") {
            self.reserve(value.len())?;
            self.text.push_str(value);
            return Ok(());
        }
        let escapes = value.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
        self.reserve(value.len() + escapes + 2)?;
        self.text.push('"');
        for c in value.chars() {
            if matches!(c, '"' | '\\') {
                self.text.push('\\');
            }
            self.text.push(c);
        }
        self.text.push('"');
        Ok(())
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    fn reserve(&mut self, more: usize) -> Result<(), TooLong> {
        if self.text.len() + more > self.limit {
            return Err(TooLong);
        }
        self.text.try_reserve(more).map_err(|_| TooLong)
    }
}

/// A one-dimensional array of texts.
pub(super) fn array(
    elements: impl Iterator<Item = impl AsRef<str>>,
    delimiter: char,
    limit: usize,
) -> Result<String, TooLong> {
    let mut literal = Literal::new(limit);
    literal.mark('{')?;
    for (position, element) in elements.enumerate() {
        if position > 0 {
            literal.mark(delimiter)?;
        }
        literal.value(element.as_ref())?;
    }
    literal.mark('}')?;
    Ok(literal.finish())
}
