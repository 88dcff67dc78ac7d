//! Reading a frame. Lists grow item by item: a count of four billion in a short frame ends at the frame's
//! end.

use super::{
    CallAnswer, CallRequest, DONE, FAILED, FrameError, Key, Keys, MAX_LEVELS, Outcome, RowVersion,
    StatementRef, ValueType,
};
use crate::call::{AnswerShape, Cut};
use std::borrow::Cow;
use std::str;

impl<'a> CallRequest<'a> {
    /// Reads what [`CallRequest::encode`] wrote. Texts point into the bytes; memory is bounded by a small
    /// multiple of them.
    ///
    /// # Errors
    /// [`FrameError`]; each variant as it is described there.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let mut reader = Reader { rest: bytes };
        let request = Self {
            id: reader.number()?,
            timeout_ms: reader.array().map(u32::from_le_bytes)?,
            label: reader.text()?,
            read_only: reader.flag()?,
            is_snapshot: reader.flag()?,
            settings: reader.list(|reader| Ok((reader.text()?, reader.text()?)))?,
            statement: reader.statement()?,
        };
        reader.end()?;
        Ok(request)
    }
}

impl CallAnswer {
    /// Reads what [`CallAnswer::encode`] wrote, in the memory that it is in: a large answer is there once.
    ///
    /// # Errors
    /// [`FrameError`]; each variant as it is described there.
    pub fn take(mut bytes: Vec<u8>) -> Result<Self, FrameError> {
        let mut reader = Reader { rest: &bytes };
        let (id, cut) = (reader.number()?, reader.cut()?);
        if reader.byte()? != DONE {
            return Self::decode(&bytes);
        }
        let rows = reader.number()?;
        let is_null = reader.flag()?;
        let length = reader.bytes()?.len();
        reader.end()?;
        bytes.drain(..bytes.len() - length);
        Ok(Self { id, cut, outcome: Outcome::Done { rows, body: bytes, is_null } })
    }

    /// Reads what [`CallAnswer::encode`] wrote.
    ///
    /// # Errors
    /// [`FrameError`]; each variant as it is described there.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut reader = Reader { rest: bytes };
        let (id, cut) = (reader.number()?, reader.cut()?);
        let outcome = match reader.byte()? {
            DONE => {
                let rows = reader.number()?;
                let is_null = reader.flag()?;
                Outcome::Done { rows, is_null, body: reader.bytes()?.to_vec() }
            }
            FAILED => {
                let sqlstate = reader.array()?;
                let raised = reader.flag()?;
                let outdated = reader.flag()?;
                Outcome::Failed { sqlstate, raised, outdated, message: reader.text()?.to_owned() }
            }
            other => return Err(FrameError::Choice(other)),
        };
        reader.end()?;
        Ok(Self { id, cut, outcome })
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn statement(&mut self) -> Result<StatementRef<'a>, FrameError> {
        let statement = StatementRef {
            sql: self.text()?,
            parameters: self.list(Self::optional_text)?,
            types: self.list(|reader| {
                Ok(ValueType { oid: reader.array().map(u32::from_le_bytes)?, is_output: reader.flag()? })
            })?,
            answer: match self.byte()? {
                0 => AnswerShape::Nothing,
                1 => AnswerShape::Text,
                2 => AnswerShape::Json,
                3 => AnswerShape::Object,
                4 => AnswerShape::Array,
                5 => AnswerShape::ProcedureRow,
                other => return Err(FrameError::Choice(other)),
            },
            columns: self.list(Self::text)?,
            keys: self.keys(MAX_LEVELS + 1).map(Cow::Owned)?,
            rows: self.list(|reader| {
                Ok(RowVersion {
                    oid: reader.array().map(u32::from_le_bytes)?,
                    is_routine: reader.flag()?,
                    digest: reader.number()?,
                    is_argument: reader.flag()?,
                })
            })?,
        };
        if statement.types.len() != statement.parameters.len() {
            return Err(FrameError::Types);
        }
        Ok(statement)
    }

    /// Only what is written in one way is read, so that a frame that is read is the one that was written.
    fn cut(&mut self) -> Result<Option<Cut>, FrameError> {
        if !self.flag()? {
            return Ok(None);
        }
        let (xmin, xmax) = (self.number()?, self.number()?);
        let running = self.list(Self::number)?;
        let count = running.len();
        let cut = Cut::new(xmin, xmax, running);
        if cut.parts().2.len() == count { Ok(Some(cut)) } else { Err(FrameError::Choice(1)) }
    }

    /// `levels`: how many levels of keys may still follow.
    fn keys(&mut self, levels: usize) -> Result<Keys, FrameError> {
        if !self.flag()? {
            return Ok(Keys::Kept);
        }
        let levels = levels.checked_sub(1).ok_or(FrameError::Depth)?;
        let key = |reader: &mut Self| {
            let (from, to) = (reader.text()?.to_owned(), reader.text()?.to_owned());
            Ok(Key { from, to, within: reader.keys(levels)? })
        };
        self.list(key).map(Keys::Row)
    }

    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, FrameError>,
    ) -> Result<Vec<T>, FrameError> {
        let mut list = Vec::new();
        for _ in 0..self.number()? {
            list.push(item(self)?);
        }
        Ok(list)
    }

    fn optional_text(&mut self) -> Result<Option<&'a str>, FrameError> {
        if self.flag()? { self.text().map(Some) } else { Ok(None) }
    }

    fn text(&mut self) -> Result<&'a str, FrameError> {
        str::from_utf8(self.bytes()?).map_err(|_| FrameError::Utf8)
    }

    fn bytes(&mut self) -> Result<&'a [u8], FrameError> {
        let length = self.length()?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(FrameError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn flag(&mut self) -> Result<bool, FrameError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(FrameError::Choice(other)),
        }
    }

    /// A length beyond this machine's addresses is beyond the frame, too.
    fn length(&mut self) -> Result<usize, FrameError> {
        usize::try_from(self.number()?).map_err(|_| FrameError::Truncated)
    }

    fn number(&mut self) -> Result<u64, FrameError> {
        self.array().map(u64::from_le_bytes)
    }

    fn byte(&mut self) -> Result<u8, FrameError> {
        self.array().map(|[byte]: [u8; 1]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(FrameError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    fn end(&self) -> Result<(), FrameError> {
        if self.rest.is_empty() { Ok(()) } else { Err(FrameError::Trailing) }
    }
}
