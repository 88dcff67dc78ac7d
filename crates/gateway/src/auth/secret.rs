//! Secrets that settings hold, kept from logs and `Debug` output.
//!
//! Not for public keys: that is `keys`.

use std::fmt;

/// Shortest key of HMAC tokens in bytes: that of HS256's hash (RFC 7518 §3.2). A shorter one can be found by
/// trying, from any token that was ever seen.
pub const MIN_SECRET_BYTES: usize = 32;

/// Shortest token of the admin port in bytes: sixteen random ones cannot be guessed.
pub const MIN_ADMIN_TOKEN_BYTES: usize = 16;

/// A key for HS256, HS384 and HS512.
pub type Secret = Hidden<MIN_SECRET_BYTES>;

/// What opens the admin port.
pub type AdminToken = Hidden<MIN_ADMIN_TOKEN_BYTES>;

/// Bytes that nobody is shown, at least `LEAST` of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden<const LEAST: usize>(Vec<u8>);

impl<const LEAST: usize> Hidden<LEAST> {
    /// The bytes as they are: nothing is decoded or trimmed.
    ///
    /// # Errors
    /// [`TooShort`].
    pub fn try_new(bytes: impl Into<Vec<u8>>) -> Result<Self, TooShort> {
        let bytes = bytes.into();
        if bytes.len() < LEAST { Err(TooShort { least: LEAST }) } else { Ok(Self(bytes)) }
    }

    /// The bytes. Never for a log.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<const LEAST: usize> fmt::Debug for Hidden<LEAST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(set)")
    }
}

/// A secret has fewer bytes than it must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooShort {
    least: usize,
}

impl fmt::Display for TooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a secret must have at least {} bytes", self.least)
    }
}

impl std::error::Error for TooShort {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_its_least_length_and_is_never_shown() {
        for (length, key, token) in [
            (0, false, false),
            (15, false, false),
            (16, false, true),
            (17, false, true),
            (31, false, true),
            (32, true, true),
            (33, true, true),
        ] {
            assert_eq!(Secret::try_new(vec![b'x'; length]).is_ok(), key, "{length}");
            assert_eq!(AdminToken::try_new(vec![b'x'; length]).is_ok(), token, "{length}");
        }
        assert_eq!(format!("{:?}", Secret::try_new(vec![b'x'; 32])), "Ok(Hidden(set))");
    }
}
