//! Takes values from the front of bytes.

use super::{DecodeError, Field};

/// Choices within each other; reading recurses. The deepest are the keys of an answer (`call/keys.rs`), which
/// asserts that they fit: a row, in it types to their own limit, and at last the choice that says "none".
/// Beyond it the bytes are refused ([`DecodeError::Depth`]).
pub(crate) const MAX_LEVELS: usize = 52;

/// See the head of this file.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Choices that may still be within each other.
    levels: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, levels: MAX_LEVELS }
    }

    pub(crate) fn read<T: Field<'a>>(&mut self) -> Result<T, DecodeError> {
        T::read(self)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// A length, and as many bytes.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length: u32 = self.read()?;
        self.take(length as usize)
    }

    /// See [`super::Writer::flags`].
    pub(crate) fn flags<const N: usize>(&mut self) -> Result<[bool; N], DecodeError> {
        let [byte] = self.array()?;
        if u32::from(byte) >> N != 0 {
            return Err(DecodeError::Choice(byte));
        }
        Ok(std::array::from_fn(|flag| byte >> flag & 1 != 0))
    }

    /// The number of a choice, whose fields follow.
    pub(crate) fn enter(&mut self) -> Result<u8, DecodeError> {
        self.levels = self.levels.checked_sub(1).ok_or(DecodeError::Depth)?;
        let [number] = self.array()?;
        Ok(number)
    }

    /// The fields of the last choice that was entered have been read.
    pub(crate) fn leave(&mut self) {
        self.levels += 1;
    }

    /// # Errors
    /// [`DecodeError::Trailing`]: there are more bytes.
    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}
