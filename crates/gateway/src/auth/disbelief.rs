//! Why a token is not believed.
//!
//! Not for what the peer is told: that is the same for all of them.

/// Why a token is not believed. Never told to the peer, who would learn what to try next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disbelief {
    /// Longer than 8 kB (`verify`).
    TooLong,
    /// Not three parts of base64url, or its header is none that we understand.
    Malformed,
    /// No configured key that fits its algorithm and `kid` has made this signature.
    Signature,
    /// The claims are no JSON object, name something twice, or one has a type it cannot have.
    Claims,
    /// There is no `exp`.
    NoExpiry,
    Expired,
    NotYetValid,
    Issuer,
    Audience,
    /// `sse.disconnect` was called after it was issued (C4.8).
    Revoked,
    /// There is more than one, and none that can be told to be the right one.
    Ambiguous,
}
