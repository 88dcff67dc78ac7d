//! Where the bytes of a value go. Runs inside Postgres' log hook: no panic, and no memory but what may be
//! refused.

use super::{EncodeError, Field};

/// See the head of this file.
pub(crate) enum Writer<'o> {
    /// To the end of this.
    Appends(&'o mut Vec<u8>),
    /// Nowhere: they are counted.
    Counts(usize),
}

impl Writer<'_> {
    /// Bytes that were counted.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Counts(count) => *count,
            Self::Appends(out) => out.len(),
        }
    }

    // Always inlined: most of a record are numbers and lengths, which are then stored without a call.
    #[inline(always)]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        match self {
            Self::Counts(count) => *count = count.saturating_add(bytes.len()),
            Self::Appends(out) => {
                out.try_reserve(bytes.len()).map_err(|_| EncodeError::OutOfMemory)?;
                out.extend_from_slice(bytes);
            }
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn byte(&mut self, byte: u8) -> Result<(), EncodeError> {
        self.bytes(&[byte])
    }

    #[inline]
    pub(crate) fn length(&mut self, length: usize) -> Result<(), EncodeError> {
        u32::try_from(length).map_err(|_| EncodeError::Unrepresentable)?.write(self)
    }

    /// Up to eight flags in one byte.
    pub(crate) fn flags<const N: usize>(&mut self, flags: [bool; N]) -> Result<(), EncodeError> {
        self.byte(flags.iter().rev().fold(0, |byte, flag| byte << 1 | u8::from(*flag)))
    }

    pub(crate) fn list<'a>(&mut self, items: &[impl Field<'a>]) -> Result<(), EncodeError> {
        self.length(items.len())?;
        items.iter().try_for_each(|item| item.write(self))
    }
}
