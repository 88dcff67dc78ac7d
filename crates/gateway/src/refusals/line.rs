//! A line of the file, as JSON: a refused user or a refused token.
//!
//! Unknown members are ignored, and so is a line that cannot be read: a crash may have cut it off, and then
//! the call that wrote it never returned.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::json;

use crate::auth::{Bearer, NewRefusal, TokenDigest};

/// Longest line in bytes: an id of 16 kB in which each byte is escaped. A longer line is not ours, and
/// ignored.
pub(super) const MAX_BYTES: u64 = 128 << 10;

#[derive(Deserialize)]
struct Line {
    user_id: Option<String>,
    before: Option<u64>,
    token: Option<String>,
    until: Option<u64>,
    /// The token has no user id.
    nameless: Option<bool>,
}

/// What a line says, if anything.
pub(super) fn parse(line: &[u8]) -> Option<NewRefusal> {
    let line: Line = serde_json::from_slice(line).ok()?;
    let at = |micros: Option<u64>| UNIX_EPOCH.checked_add(Duration::from_micros(micros?));
    match line {
        Line { user_id: Some(id), before, .. } => {
            Some(NewRefusal::User { id: id.into(), before: at(before)? })
        }
        Line { token: Some(token), until, nameless, .. } => {
            let bearer = if nameless == Some(true) { Bearer::Nameless } else { Bearer::Known };
            Some(NewRefusal::Token { digest: TokenDigest::parse(&token)?, until: at(until)?, bearer })
        }
        _ => None,
    }
}

/// The line of a user, with its end.
pub(super) fn user(id: &str, before: SystemTime) -> String {
    format!("{}\n", json!({ "user_id": id, "before": microseconds(before) }))
}

/// The line of a token, with its end.
pub(super) fn token(digest: TokenDigest, until: SystemTime, bearer: Bearer) -> String {
    let mut line = json!({ "token": digest.to_text(), "until": microseconds(until) });
    if bearer == Bearer::Nameless {
        line["nameless"] = true.into();
    }
    format!("{line}\n")
}

pub(super) fn microseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let at = UNIX_EPOCH + Duration::from_micros(1_234_567_890_123_456);
        for id in ["42", "", "a\n\"b\"\\\u{1}ä"] {
            let line = user(id, at);
            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
            assert_eq!(parse(line.as_bytes()), Some(NewRefusal::User { id: id.into(), before: at }));
        }
        let digest = TokenDigest::of("x.y");
        for bearer in [Bearer::Known, Bearer::Nameless] {
            let read = parse(token(digest, at, bearer).as_bytes());
            assert_eq!(read, Some(NewRefusal::Token { digest, until: at, bearer }));
        }
        assert!(user(&"\u{1}".repeat(16 << 10), at).len() as u64 <= MAX_BYTES);
    }

    #[test]
    fn what_is_no_line_says_nothing() {
        for line in [
            "",
            "x",
            "{",
            "{}",
            "[]",
            "null",
            "{\"user_id\":\"a\"}",
            "{\"user_id\":1,\"before\":1}",
            "{\"user_id\":\"a\",\"before\":-1}",
            "{\"user_id\":\"a\",\"before\":1",
            "{\"user_id\":\"a\",\"bef{\"user_id\":\"b\",\"before\":1}",
            "{\"token\":\"short\",\"until\":1}",
            "{\"until\":1}",
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
        // No time is too late to be one.
        let line = format!("{{\"user_id\":\"a\",\"before\":{}}}", u64::MAX);
        assert!(parse(line.as_bytes()).is_some());
    }
}
