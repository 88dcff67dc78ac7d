//! Refusals as their table has them, which the servers of a replication tree have in common (C10.5): read out
//! of the file, and put into it.
//!
//! Not for the table: that is the extension's.

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use super::file::{Place, RefusalFile};
use super::line;
use crate::auth::{Bearer, MAX_TOKENS, NewRefusal, TokenDigest};

/// What is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalKind {
    /// A user's older tokens.
    User,
    /// A token of somebody with a user id.
    Token,
    /// Another token.
    Nameless,
}

impl RefusalKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::User, Self::Token, Self::Nameless];

    /// As the table names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Token => "token",
            Self::Nameless => "nameless",
        }
    }

    /// The kind of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A refusal as the table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRefusal {
    /// What is refused.
    /// What is refused.
    pub kind: RefusalKind,
    /// The user's id, or the digest of a token.
    pub name: Vec<u8>,
    /// Microseconds since 1970: tokens of the user that were issued before, or until when the token would be
    /// good.
    pub moment: u64,
}

/// Of each kind this many are remembered, those with the latest moments. The table needs no more.
pub const MAX_REFUSALS: usize = MAX_TOKENS;

impl KeptRefusal {
    /// Whether it says nothing any more: a token that would have expired anyway.
    pub fn is_over(&self, now: u64) -> bool {
        self.kind != RefusalKind::User && self.moment <= now
    }

    /// Its line in the file. `None`: nothing of ours has such a name.
    fn line(&self) -> Option<String> {
        let at = UNIX_EPOCH.checked_add(Duration::from_micros(self.moment))?;
        let bearer = match self.kind {
            RefusalKind::User => return Some(line::user(std::str::from_utf8(&self.name).ok()?, at)),
            RefusalKind::Token => Bearer::Known,
            RefusalKind::Nameless => Bearer::Nameless,
        };
        Some(line::token(TokenDigest::of_bytes(&self.name)?, at, bearer))
    }
}

impl From<NewRefusal> for KeptRefusal {
    fn from(refusal: NewRefusal) -> Self {
        let (kind, name, at) = match refusal {
            NewRefusal::User { id, before } => (RefusalKind::User, id.as_bytes().to_vec(), before),
            NewRefusal::Token { digest, until, bearer: Bearer::Known } => {
                (RefusalKind::Token, digest.as_bytes().to_vec(), until)
            }
            NewRefusal::Token { digest, until, bearer: Bearer::Nameless } => {
                (RefusalKind::Nameless, digest.as_bytes().to_vec(), until)
            }
        };
        Self { kind, name, moment: line::microseconds(at) }
    }
}

/// Reads the file from its beginning, and then what is new in it.
pub struct RefusalReader {
    file: RefusalFile,
    place: Place,
}

impl RefusalReader {
    /// Has read nothing.
    pub fn new(file: RefusalFile) -> Self {
        Self { file, place: Place::default() }
    }

    /// Reads what is new, in portions of about this many; all of it when the file is another one than before.
    ///
    /// # Errors
    /// The file exists and cannot be read; portions that were handed over stay read.
    pub fn read_on(&mut self, portion: usize, mut give: impl FnMut(Vec<KeptRefusal>)) -> io::Result<()> {
        self.place.read_on(&self.file, portion, |refusals| {
            if !refusals.is_empty() {
                give(refusals.into_iter().map(KeptRefusal::from).collect());
            }
        })
    }
}

impl RefusalFile {
    /// Appends these, durably when it returns. `pause` is as in [`RefusalFile::refuse_user`].
    ///
    /// # Errors
    /// The file cannot be written or flushed. If it could not be written, nothing has changed.
    pub fn append(&self, refusals: &[KeptRefusal], pause: impl FnMut()) -> io::Result<()> {
        let lines: String = refusals.iter().filter_map(KeptRefusal::line).collect();
        if lines.is_empty() { Ok(()) } else { self.append_lines(&lines, pause) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_the_table_has_is_what_the_file_had() {
        let at = UNIX_EPOCH + Duration::from_micros(1_234_567_890_123_456);
        let digest = TokenDigest::of("x.y");
        let refusals = [
            NewRefusal::User { id: Arc::from("a\n\"ä"), before: at },
            NewRefusal::Token { digest, until: at, bearer: Bearer::Known },
            NewRefusal::Token { digest, until: at, bearer: Bearer::Nameless },
        ];
        for refusal in refusals {
            let kept = KeptRefusal::from(refusal.clone());
            assert_eq!(RefusalKind::parse(kept.kind.as_str()), Some(kept.kind));
            assert_eq!(line::parse(kept.line().unwrap().as_bytes()), Some(refusal));
        }
    }

    // Attack: a superuser's slip in the table must not become lines that end the file's reading.
    #[test]
    fn what_is_no_refusal_of_ours_gets_no_line() {
        let row = |kind, name: &[u8], moment| KeptRefusal { kind, name: name.to_vec(), moment }.line();
        assert_eq!(row(RefusalKind::User, b"\xff", 1), None);
        assert_eq!(row(RefusalKind::Token, b"short", 1), None);
        assert!(row(RefusalKind::User, b"", u64::MAX).is_some());
    }

    #[test]
    fn a_token_is_over_when_it_has_expired_and_a_user_never() {
        let of = |kind| KeptRefusal { kind, name: Vec::new(), moment: 5 };
        assert!(of(RefusalKind::Token).is_over(5) && !of(RefusalKind::Token).is_over(4));
        assert!(!of(RefusalKind::User).is_over(u64::MAX));
    }
}
