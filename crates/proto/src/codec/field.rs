//! The bytes of what has no name of its own: numbers, texts, lists.

use super::{DecodeError, EncodeError, Field, Reader, Writer};
use std::borrow::Cow;
use std::str;
use std::sync::Arc;

impl<const N: usize> Field<'_> for [u8; N] {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.bytes(self)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array()
    }
}

impl Field<'_> for u32 {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.bytes(&self.to_le_bytes())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(Self::from_le_bytes)
    }
}

impl Field<'_> for u64 {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.bytes(&self.to_le_bytes())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(Self::from_le_bytes)
    }
}

impl Field<'_> for bool {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.flags([*self])
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.flags().map(|[flag]| flag)
    }
}

impl Field<'_> for char {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        u32::from(*self).write(writer)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_u32(reader.read()?).ok_or(DecodeError::Utf8)
    }
}

impl<'a> Field<'a> for &'a str {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.length(self.len())?;
        writer.bytes(self.as_bytes())
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        str::from_utf8(reader.bytes()?).map_err(|_| DecodeError::Utf8)
    }
}

impl Field<'_> for String {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.as_str().write(writer)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let text: &str = reader.read()?;
        let mut owned = Self::new();
        owned.try_reserve_exact(text.len()).map_err(|_| DecodeError::OutOfMemory)?;
        owned.push_str(text);
        Ok(owned)
    }
}

impl<'a, T: Field<'a>> Field<'a> for Vec<T> {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.list(self)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut list = Self::new();
        for _ in 0..reader.read::<u32>()? {
            let item = reader.read()?;
            list.try_reserve(1).map_err(|_| DecodeError::OutOfMemory)?;
            list.push(item);
        }
        Ok(list)
    }
}

impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.is_some().write(writer)?;
        self.iter().try_for_each(|value| value.write(writer))
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        if reader.read()? { reader.read().map(Some) } else { Ok(None) }
    }
}

impl<'a, A: Field<'a>, B: Field<'a>> Field<'a> for (A, B) {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.0.write(writer)?;
        self.1.write(writer)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok((reader.read()?, reader.read()?))
    }
}

impl<'a, T: Field<'a> + Clone> Field<'a> for Cow<'a, T> {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        (**self).write(writer)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.read().map(Self::Owned)
    }
}

impl<'a, T: Field<'a>> Field<'a> for Arc<T> {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        (**self).write(writer)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.read().map(Self::new)
    }
}
