//! The fields of every record, in the order of their bytes: this is the format.
//!
//! A changed layout takes new kind numbers, and `golden_bytes` in the tests is there to make that change a
//! decision.
//!
//! Not for how numbers, texts and lists are written ([`crate::codec`]).

use super::{Emitter, Envelope, LogLoss, Record};
use crate::annotation::{Access, RoutineKind};
use crate::call::{CallRole, Member, Mode, Parameter, ResultType, RowType, Shape, Signature, TypeKind};
use crate::caller::Caller;
use crate::client_file::ClientFile;
use crate::codec::{DecodeError, EncodeError, Field, Reader, Writer, choices, fields};
use crate::route::Routine;
use crate::scope::{Scope, ScopeValue};
use std::num::NonZeroU64;

/// The ticket of an event that is sent at once, or whose transaction has not committed yet.
const NO_TICKET: u64 = 0;

/// When an event was raised that has not been sent yet.
const NOT_KNOWN: u64 = 0;

choices!(Record<'a> {
    5 => CatalogEnd { reading, count },
    10 => CatalogRoutine { reading, routine },
    11 => CallRole { reading, role },
    13 => CatalogClient { reading, file, part },
    22 => CallEnd { call },
    24 => SnapshotEnd { ticket, xid, call },
    25 => CatalogBegin { reading, generation },
    26 => TooLarge { envelope },
    27 => Canary { number },
    28 => Event { envelope, data },
    29 => Placed { place, record },
    30 => LogState { history, begin, caught_up },
    31 => LogGap { loss, place },
});
choices!(LogLoss { 0 => Expired, 1 => Unreadable });

impl<'a> Field<'a> for Envelope<'a> {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        // These three have a fixed place (`stamp`).
        NO_TICKET.write(writer)?;
        self.xid.map_or(0, NonZeroU64::get).write(writer)?;
        NOT_KNOWN.write(writer)?;
        self.scope.write(writer)?;
        self.access.write(writer)?;
        write_label(writer, self.topic, is_label)?;
        write_label(writer, self.event, is_event_name)?;
        write_label(writer, self.execution_id, is_label)?;
        self.emitter.write(writer)?;
        self.caller.write(writer)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let _ticket: u64 = reader.read()?;
        let xid = NonZeroU64::new(reader.read()?);
        let _raised_at: u64 = reader.read()?;
        Ok(Self {
            xid,
            scope: reader.read()?,
            access: reader.read()?,
            topic: read_label(reader, is_label)?,
            event: read_label(reader, is_event_name)?,
            execution_id: read_label(reader, is_label)?,
            emitter: reader.read()?,
            caller: reader.read()?,
        })
    }
}

choices!(Scope { 0 => All, 1 => Authorize(values), 2 => Matching, 3 => Nobody, 4 => Caller });
choices!(Access { 0 => Unspecified, 1 => Anonymous, 2 => Authorize(values) });
choices!(ScopeValue { 0 => Any(text), 1 => Id(text), 2 => Name(text), 3 => Role(text) });

impl<'a> Field<'a> for Emitter<'a> {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.user_id.unwrap_or_default().write(writer)?;
        self.user_name.unwrap_or_default().write(writer)?;
        self.roles.write(writer)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            user_id: read_label(reader, |_| true)?,
            user_name: read_label(reader, |_| true)?,
            roles: reader.read()?,
        })
    }
}

impl<'a> Field<'a> for Caller<'a> {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.call.write(writer)?;
        writer.flags([self.is_authenticated, self.has_made_id])?;
        self.user_id.unwrap_or_default().write(writer)?;
        write_label(writer, self.execution_id, is_label)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let call = reader.read()?;
        let [is_authenticated, has_made_id] = reader.flags()?;
        let user_id = read_label(reader, |_| true)?;
        Ok(Self { call, is_authenticated, user_id, execution_id: read_label(reader, is_label)?, has_made_id })
    }
}

fields!(Routine { oid, kind } flags {
    volatile, parallel_safe, has_identity_parameters, comment_is_too_long
} { schema, name, comment, signature });
choices!(ClientFile { 0 => TypeScript, 1 => OpenApi, 2 => AsyncApi });
choices!(RoutineKind { 0 => Function, 1 => Procedure });

fields!(Signature {} flags { strict, may_execute, owner_may_issue_tokens } { parameters, result, rows });
fields!(Parameter { name, mode, has_default, type_name, type_oid, kind });
choices!(Mode { 0 => In, 1 => InOut, 2 => Out, 3 => Variadic, 4 => Table });
fields!(ResultType { shape, is_set, columns, kinds });
choices!(Shape {
    0 => Void, 1 => Scalar, 2 => Json, 3 => Array, 4 => Composite, 5 => Record, 6 => Pseudo
});

// Every type is written out wherever it stands: `crate::call::MAX_MEMBERS` bounds it.
choices!(TypeKind {
    0 => Scalar,
    1 => Json,
    2 => Composite(row),
    3 => Pseudo,
    4 => Array { delimiter, element },
    5 => Bytes,
    6 => TooLarge,
});
fields!(Member { name, kind });

impl<'a> Field<'a> for RowType {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.list(self.members())
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.read().map(Self::new)
    }
}

choices!(CallRole { 0 => Off, 1 => Ready { warnings }, 2 => Refused { reason, hint } });

/// An optional text: the empty one is absent (C4.6).
fn write_label(
    writer: &mut Writer<'_>,
    label: Option<&str>,
    is_valid: fn(&str) -> bool,
) -> Result<(), EncodeError> {
    let label = label.unwrap_or_default();
    if !is_valid(label) {
        return Err(EncodeError::Unrepresentable);
    }
    label.write(writer)
}

fn read_label<'a>(
    reader: &mut Reader<'a>,
    is_valid: fn(&str) -> bool,
) -> Result<Option<&'a str>, DecodeError> {
    let text: &str = reader.read()?;
    let label = Some(text).filter(|text| !text.is_empty());
    if !label.is_none_or(is_valid) {
        return Err(DecodeError::Label);
    }
    Ok(label)
}

/// Whether a topic or an execution id may be in a record.
fn is_label(text: &str) -> bool {
    text.len() <= crate::word::MAX_LABEL_BYTES && !text.chars().any(char::is_control)
}

/// Whether an event name may be in a record: nothing that could end its line or begin another one.
fn is_event_name(text: &str) -> bool {
    is_label(text) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
