//! The small words that annotations, records and routes share: level, delivery, topic, event name, execution
//! id.
//!
//! Each is parsed once, at the border, into a type that cannot hold a wrong value; nothing after that
//! validates again.

use std::fmt;

/// Severity of the `RAISE` that publishes. Matching is exact, never "and above" (contract C2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// `RAISE INFO`
    Info,
    /// `RAISE NOTICE`
    Notice,
    /// `RAISE WARNING`
    Warning,
}

impl Level {
    /// The words a level is written with, in the order of the documentation.
    pub const WORDS: [&'static str; 3] = ["info", "notice", "warning"];

    /// Parses a level word without regard to the case of ASCII letters.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::Info, Self::Notice, Self::Warning];
        all.into_iter().find(|level| word.eq_ignore_ascii_case(level.as_str()))
    }

    /// The word this level is written with; also the default last segment of a subscribe URL (C2.3).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// When an event is sent (contract section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Right after the transaction has committed.
    Commit,
    /// At the `RAISE`, whatever becomes of the transaction.
    Immediate,
}

impl Delivery {
    /// The words a delivery is written with.
    pub const WORDS: [&'static str; 2] = ["commit", "immediate"];

    /// Parses a delivery word without regard to the case of ASCII letters.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::Commit, Self::Immediate];
        all.into_iter().find(|delivery| word.eq_ignore_ascii_case(delivery.as_str()))
    }

    /// The word this delivery is written with.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Immediate => "immediate",
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Longest topic, execution id and event name, in bytes (C4.4, C4.5). One limit for all three: each is a
/// short label that is compared for every event. Beyond it a request gets 400, an annotation is a mistake.
pub const MAX_LABEL_BYTES: usize = 200;

/// Why a label was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelError {
    /// No bytes at all.
    Empty,
    /// More than [`MAX_LABEL_BYTES`].
    TooLong,
    /// A control character, or for event names anything but printable ASCII without blanks.
    Character,
    /// `error`, `open` or `sse.…`: names that the browser or pg_sse itself uses.
    Reserved,
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLong => write!(f, "it is longer than {MAX_LABEL_BYTES} bytes"),
            Self::Character => f.write_str("it has a character that is not allowed here"),
            Self::Reserved => {
                f.write_str("\"error\", \"open\" and names that begin with \"sse.\" are reserved")
            }
        }
    }
}

impl std::error::Error for LabelError {}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident),+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// # Errors
            /// [`LabelError`] when `text` is empty, too long, or has a control character.
            pub fn parse(text: &str) -> Result<Self, LabelError> {
                check_label(text)?;
                Ok(Self(text.to_owned()))
            }

            /// The label as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    )+};
}

// Each is any text of 1 to `MAX_LABEL_BYTES` bytes without control characters, and compares exactly.
labels! {
    /// Topic of an event (C4.5).
    Topic,
    /// Execution id (C4.4).
    ExecutionId
}

/// The `event:` field of an event (C2.2): printable ASCII without blanks, not one of the reserved names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventName(String);

impl EventName {
    /// # Errors
    /// [`LabelError`], each variant as it is described there.
    pub fn parse(text: &str) -> Result<Self, LabelError> {
        check_label(text)?;
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(LabelError::Character);
        }
        if text == "error" || text == "open" || text.starts_with("sse.") {
            return Err(LabelError::Reserved);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_label(text: &str) -> Result<(), LabelError> {
    if text.is_empty() {
        return Err(LabelError::Empty);
    }
    if text.len() > MAX_LABEL_BYTES {
        return Err(LabelError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(LabelError::Character);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_holds_up_to_its_limit_and_not_a_byte_more() {
        for (length, verdict) in [
            (0, Err(LabelError::Empty)),
            (1, Ok(())),
            (MAX_LABEL_BYTES - 1, Ok(())),
            (MAX_LABEL_BYTES, Ok(())),
            (MAX_LABEL_BYTES + 1, Err(LabelError::TooLong)),
        ] {
            assert_eq!(Topic::parse(&"x".repeat(length)).map(|_| ()), verdict, "{length}");
        }
    }

    #[test]
    fn an_event_name_cannot_open_a_field_or_take_a_reserved_name() {
        for (text, error) in [
            ("a b", LabelError::Character),
            ("a\ndata:x", LabelError::Character),
            ("grün", LabelError::Character),
            ("error", LabelError::Reserved),
            ("open", LabelError::Reserved),
            ("sse.gap", LabelError::Reserved),
        ] {
            assert_eq!(EventName::parse(text), Err(error), "{text:?}");
        }
        assert!(EventName::parse("message:new").is_ok());
    }
}
