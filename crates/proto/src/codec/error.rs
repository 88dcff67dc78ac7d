//! Why something has no bytes, or bytes are nothing.

use std::fmt;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// They end within a field.
    Truncated,
    /// They go on after the last field.
    Trailing,
    /// A choice within them (a kind, a scope, a flag) has no meaning.
    Choice(u8),
    /// A text is not UTF-8, or a character is none.
    Utf8,
    /// Choices are within each other deeper than any type is.
    Depth,
    /// A topic, event name or execution id is longer than [`crate::word::MAX_LABEL_BYTES`], or has a
    /// character that could open a field of the stream.
    Label,
    /// There are more or fewer types than parameters.
    Types,
    /// A history has no timeline, or too many.
    Spans,
    /// There is no memory for it.
    OutOfMemory,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the bytes end within a field"),
            Self::Trailing => f.write_str("the bytes go on after the last field"),
            Self::Choice(byte) => write!(f, "the bytes have the unknown choice {byte}"),
            Self::Utf8 => f.write_str("a text is not UTF-8"),
            Self::Depth => f.write_str("values are within each other too far"),
            Self::Label => f.write_str("a topic, event name or execution id is out of range"),
            Self::Types => f.write_str("there is not one type for each parameter"),
            Self::Spans => f.write_str("a history has no timeline, or too many"),
            Self::OutOfMemory => f.write_str("there is no memory for it"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why something could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// There is no memory for it.
    OutOfMemory,
    /// A text or list is too long for its `u32`, or a label is one that reading would refuse. The types of
    /// [`crate::word`] do not let that happen.
    Unrepresentable,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfMemory => "there is no memory for the bytes",
            Self::Unrepresentable => "a field is out of range",
        })
    }
}

impl std::error::Error for EncodeError {}
