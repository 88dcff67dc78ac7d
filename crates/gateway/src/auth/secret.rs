//! A secret that HMAC tokens are signed with, kept from logs and `Debug` output.
//!
//! Not for public keys: that is `keys`.

use std::fmt;

/// Shortest secret in bytes: that of HS256's hash (RFC 7518 §3.2). A shorter one can be found by trying, from
/// any token that was ever seen.
pub const MIN_SECRET_BYTES: usize = 32;

/// A key for HS256, HS384 and HS512, at least [`MIN_SECRET_BYTES`] long.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The bytes as they are: nothing is decoded or trimmed.
    ///
    /// # Errors
    /// [`SecretTooShort`].
    pub fn try_new(bytes: impl Into<Vec<u8>>) -> Result<Self, SecretTooShort> {
        let bytes = bytes.into();
        if bytes.len() < MIN_SECRET_BYTES { Err(SecretTooShort) } else { Ok(Self(bytes)) }
    }

    /// The key. Never for a log.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(set)")
    }
}

/// A secret has fewer than [`MIN_SECRET_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretTooShort;

impl fmt::Display for SecretTooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a secret must have at least {MIN_SECRET_BYTES} bytes")
    }
}

impl std::error::Error for SecretTooShort {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_thirty_two_bytes_and_is_never_shown() {
        for (length, taken) in [(0, false), (31, false), (32, true), (33, true)] {
            assert_eq!(Secret::try_new(vec![b'x'; length]).is_ok(), taken, "{length}");
        }
        assert_eq!(format!("{:?}", Secret::try_new(vec![b'x'; 32])), "Ok(Secret(set))");
    }
}
