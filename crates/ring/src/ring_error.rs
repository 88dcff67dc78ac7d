//! Why there is no ring at an address.
//!
//! Not for what is wrong with a ring that is there: [`crate::Corrupt`].

use std::fmt;

/// Why there is no ring at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingError {
    /// The address is not a multiple of 128.
    Misaligned,
    /// The capacity is below 32 bytes, or larger than an address space.
    Capacity,
    /// `attach`: no ring of this layout was created here.
    Foreign,
    /// `attach`: the ring claims more memory than there is.
    Truncated,
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Misaligned => "the ring's address is not aligned to 128 bytes",
            Self::Capacity => "the ring's capacity is out of range",
            Self::Foreign => "there is no ring of this version in the memory",
            Self::Truncated => "the ring is larger than its memory",
        })
    }
}

impl std::error::Error for RingError {}
