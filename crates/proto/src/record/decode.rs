//! Reading a record. The bytes come from memory that every backend can write to, so nothing in them is
//! believed.

use super::{Emitter, Envelope, Kind, Record, RecordError, is_event_name, is_label};
use crate::annotation::{Access, RoutineKind};
use crate::call::{
    CallRole, MAX_LEVELS, Member, Mode, Parameter, ResultType, RowType, RowVersion, Shape, Signature,
    TypeKind,
};
use crate::route::Routine;
use crate::scope::{Scope, ScopeValue};
use std::borrow::Cow;
use std::num::NonZeroU64;
use std::str;
use std::sync::Arc;

/// Decodes one record. Copies only the values of lists and the texts of a routine; memory is bounded by a
/// small multiple of the input, whatever its counts claim.
///
/// # Errors
/// [`RecordError`]; each variant as it is described there.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, RecordError> {
    let Some(kind) = Kind::of(bytes) else {
        return Err(bytes.first().map_or(RecordError::Truncated, |byte| RecordError::Kind(*byte)));
    };
    let mut reader = Reader { rest: &bytes[1..] };
    let record = match kind {
        Kind::Event => Record::Event { envelope: reader.envelope()?, data: reader.text()? },
        Kind::TooLarge => Record::TooLarge { envelope: reader.envelope()? },
        Kind::CatalogBegin => Record::CatalogBegin { generation: reader.u64()? },
        Kind::CatalogRoutine => {
            Record::CatalogRoutine { generation: reader.u64()?, routine: reader.routine()? }
        }
        Kind::CallRole => Record::CallRole { generation: reader.u64()?, role: reader.call_role()? },
        Kind::CatalogEnd => Record::CatalogEnd { generation: reader.u64()?, count: reader.u32()? },
    };
    if !reader.rest.is_empty() {
        return Err(RecordError::Trailing);
    }
    Ok(record)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn envelope(&mut self) -> Result<Envelope<'a>, RecordError> {
        let _ticket = self.u64()?;
        let xid = NonZeroU64::new(self.u64()?);
        let scope = match self.byte()? {
            0 => Scope::All,
            1 => Scope::Authorize(self.values()?),
            2 => Scope::Matching,
            3 => Scope::Nobody,
            other => return Err(RecordError::Choice(other)),
        };
        let access = match self.byte()? {
            0 => Access::Unspecified,
            1 => Access::Anonymous,
            2 => Access::Authorize(self.values()?),
            other => return Err(RecordError::Choice(other)),
        };
        Ok(Envelope {
            scope: Cow::Owned(scope),
            access: Cow::Owned(access),
            topic: self.label(is_label)?,
            event: self.label(is_event_name)?,
            execution_id: self.label(is_label)?,
            emitter: match self.byte()? {
                0 => None,
                1 => Some(self.emitter()?),
                other => return Err(RecordError::Choice(other)),
            },
            xid,
        })
    }

    fn emitter(&mut self) -> Result<Emitter<'a>, RecordError> {
        let user_id = self.optional_text()?;
        let user_name = self.optional_text()?;
        let mut roles = Vec::new();
        for _ in 0..self.u32()? {
            roles.push(self.text()?);
        }
        Ok(Emitter { user_id, user_name, roles })
    }

    fn routine(&mut self) -> Result<Routine, RecordError> {
        let oid = self.u32()?;
        let kind = match self.byte()? {
            0 => RoutineKind::Function,
            1 => RoutineKind::Procedure,
            other => return Err(RecordError::Choice(other)),
        };
        let flags = self.byte()?;
        if flags > 0b1111 {
            return Err(RecordError::Choice(flags));
        }
        Ok(Routine {
            oid,
            kind,
            volatile: flags & 1 != 0,
            parallel_safe: flags & 2 != 0,
            has_identity_parameters: flags & 4 != 0,
            comment_is_too_long: flags & 8 != 0,
            schema: self.text()?.to_owned(),
            name: self.text()?.to_owned(),
            comment: self.text()?.to_owned(),
            signature: match self.byte()? {
                0 => None,
                1 => Some(self.signature()?),
                other => return Err(RecordError::Choice(other)),
            },
        })
    }

    fn signature(&mut self) -> Result<Signature, RecordError> {
        let flags = self.byte()?;
        if flags > 0b111 {
            return Err(RecordError::Choice(flags));
        }
        let mut parameters = Vec::new();
        for _ in 0..self.u32()? {
            parameters.push(self.parameter()?);
        }
        let shape = match self.byte()? {
            0 => Shape::Void,
            1 => Shape::Scalar,
            2 => Shape::Json,
            3 => Shape::Array,
            4 => Shape::Composite,
            5 => Shape::Record,
            6 => Shape::Pseudo,
            other => return Err(RecordError::Choice(other)),
        };
        let mut result =
            ResultType { shape, is_set: self.flag()?, columns: self.texts()?, kinds: Vec::new() };
        for _ in 0..self.u32()? {
            result.kinds.push(self.kind(MAX_LEVELS)?);
        }
        let mut rows = Vec::new();
        for _ in 0..self.u32()? {
            rows.push(RowVersion {
                oid: self.u32()?,
                is_routine: self.flag()?,
                digest: self.u64()?,
                is_argument: self.flag()?,
            });
        }
        let [strict, may_execute, owner_may_issue_tokens] = [1, 2, 4].map(|flag| flags & flag != 0);
        Ok(Signature { parameters, result, rows, strict, may_execute, owner_may_issue_tokens })
    }

    fn parameter(&mut self) -> Result<Parameter, RecordError> {
        Ok(Parameter {
            name: self.text()?.to_owned(),
            mode: match self.byte()? {
                0 => Mode::In,
                1 => Mode::InOut,
                2 => Mode::Out,
                3 => Mode::Variadic,
                4 => Mode::Table,
                other => return Err(RecordError::Choice(other)),
            },
            has_default: self.flag()?,
            type_name: self.text()?.to_owned(),
            type_oid: self.u32()?,
            kind: self.kind(MAX_LEVELS)?,
        })
    }

    /// `levels`: how many levels of types may still follow.
    fn kind(&mut self, levels: usize) -> Result<TypeKind, RecordError> {
        let within = levels.checked_sub(1).ok_or(RecordError::Choice(2))?;
        Ok(match self.byte()? {
            0 => TypeKind::Scalar,
            1 => TypeKind::Json,
            2 => {
                let mut members = Vec::new();
                for _ in 0..self.u32()? {
                    members.push(Member { name: self.text()?.to_owned(), kind: self.kind(within)? });
                }
                TypeKind::Composite(Arc::new(RowType::new(members)))
            }
            3 => TypeKind::Pseudo,
            4 => {
                let delimiter = char::from_u32(self.u32()?).ok_or(RecordError::Choice(4))?;
                TypeKind::Array { delimiter, element: Arc::new(self.kind(within)?) }
            }
            5 => TypeKind::Bytes,
            6 => TypeKind::TooLarge,
            other => return Err(RecordError::Choice(other)),
        })
    }

    fn call_role(&mut self) -> Result<CallRole, RecordError> {
        match self.byte()? {
            0 => Ok(CallRole::Off),
            1 => Ok(CallRole::Ready { warnings: self.texts()? }),
            2 => Ok(CallRole::Refused { reason: self.text()?.to_owned(), hint: self.text()?.to_owned() }),
            other => Err(RecordError::Choice(other)),
        }
    }

    fn texts(&mut self) -> Result<Vec<String>, RecordError> {
        let mut texts = Vec::new();
        for _ in 0..self.u32()? {
            texts.push(self.text()?.to_owned());
        }
        Ok(texts)
    }

    fn flag(&mut self) -> Result<bool, RecordError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(RecordError::Choice(other)),
        }
    }

    /// Grows value by value: a count of four billion in a short record ends at the record's end.
    fn values(&mut self) -> Result<Vec<ScopeValue>, RecordError> {
        let mut values = Vec::new();
        for _ in 0..self.u32()? {
            let kind = self.byte()?;
            let text = self.text()?.to_owned();
            values.push(match kind {
                0 => ScopeValue::Any(text),
                1 => ScopeValue::Id(text),
                2 => ScopeValue::Name(text),
                3 => ScopeValue::Role(text),
                other => return Err(RecordError::Choice(other)),
            });
        }
        Ok(values)
    }

    fn label(&mut self, is_valid: fn(&str) -> bool) -> Result<Option<&'a str>, RecordError> {
        let label = self.optional_text()?;
        if !label.is_none_or(is_valid) {
            return Err(RecordError::Label);
        }
        Ok(label)
    }

    fn optional_text(&mut self) -> Result<Option<&'a str>, RecordError> {
        Ok(Some(self.text()?).filter(|text| !text.is_empty()))
    }

    fn text(&mut self) -> Result<&'a str, RecordError> {
        let length = self.u32()? as usize;
        str::from_utf8(self.take(length)?).map_err(|_| RecordError::Utf8)
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        self.array().map(u64::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, RecordError> {
        self.array().map(u32::from_le_bytes)
    }

    fn byte(&mut self) -> Result<u8, RecordError> {
        self.array().map(|[byte]: [u8; 1]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(RecordError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(RecordError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}
