//! Writing a record. Runs inside Postgres' log hook, so the only thing that can go wrong, want of memory, is
//! an answer and not an abort.

use super::{Emitter, EncodeError, Envelope, Record, is_event_name, is_label};
use crate::annotation::{Access, RoutineKind};
use crate::call::{CallRole, Mode, Parameter, Shape, Signature, TypeKind};
use crate::route::Routine;
use crate::scope::{Scope, ScopeValue};
use std::num::NonZeroU64;

/// The ticket of an event that is sent at once, or whose transaction has not committed yet.
const NO_TICKET: [u8; 8] = [0; 8];

/// Appends `record` to `out`. Allocates only what `out` lacks, and only in ways that can fail: never aborts.
///
/// # Errors
/// [`EncodeError`]; `out` is then as it was.
pub fn encode_into(record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let before = out.len();
    let result = Writer { out }.record(record);
    if result.is_err() {
        out.truncate(before);
    }
    result
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
}

impl Writer<'_> {
    fn record(&mut self, record: &Record<'_>) -> Result<(), EncodeError> {
        self.byte(record.kind() as u8)?;
        match record {
            Record::Event { envelope, data } => {
                self.stamp(envelope)?;
                self.envelope(envelope)?;
                self.text(data)
            }
            Record::TooLarge { envelope } => {
                self.stamp(envelope)?;
                self.envelope(envelope)
            }
            Record::CatalogBegin { generation } => self.bytes(&generation.to_le_bytes()),
            Record::CatalogRoutine { generation, routine } => {
                self.bytes(&generation.to_le_bytes())?;
                self.routine(routine)
            }
            Record::CallRole { generation, role } => {
                self.bytes(&generation.to_le_bytes())?;
                self.call_role(role)
            }
            Record::CatalogEnd { generation, count } => {
                self.bytes(&generation.to_le_bytes())?;
                self.bytes(&count.to_le_bytes())
            }
        }
    }

    /// What has a fixed place (`stamp`).
    fn stamp(&mut self, envelope: &Envelope<'_>) -> Result<(), EncodeError> {
        self.bytes(&NO_TICKET)?;
        self.bytes(&envelope.xid.map_or(0, NonZeroU64::get).to_le_bytes())
    }

    fn envelope(&mut self, envelope: &Envelope<'_>) -> Result<(), EncodeError> {
        match &*envelope.scope {
            Scope::All => self.byte(0)?,
            Scope::Authorize(values) => self.values(1, values)?,
            Scope::Matching => self.byte(2)?,
            Scope::Nobody => self.byte(3)?,
        }
        match &*envelope.access {
            Access::Unspecified => self.byte(0)?,
            Access::Anonymous => self.byte(1)?,
            Access::Authorize(values) => self.values(2, values)?,
        }
        self.label(envelope.topic, is_label)?;
        self.label(envelope.event, is_event_name)?;
        self.label(envelope.execution_id, is_label)?;
        match &envelope.emitter {
            None => self.byte(0),
            Some(emitter) => self.emitter(emitter),
        }
    }

    fn emitter(&mut self, emitter: &Emitter<'_>) -> Result<(), EncodeError> {
        self.byte(1)?;
        self.text(emitter.user_id.unwrap_or_default())?;
        self.text(emitter.user_name.unwrap_or_default())?;
        self.length(emitter.roles.len())?;
        emitter.roles.iter().try_for_each(|role| self.text(role))
    }

    fn routine(&mut self, routine: &Routine) -> Result<(), EncodeError> {
        let flags = u8::from(routine.volatile)
            | u8::from(routine.parallel_safe) << 1
            | u8::from(routine.has_identity_parameters) << 2
            | u8::from(routine.comment_is_too_long) << 3;
        self.bytes(&routine.oid.to_le_bytes())?;
        self.byte(match routine.kind {
            RoutineKind::Function => 0,
            RoutineKind::Procedure => 1,
        })?;
        self.byte(flags)?;
        self.text(&routine.schema)?;
        self.text(&routine.name)?;
        self.text(&routine.comment)?;
        match &routine.signature {
            None => self.byte(0),
            Some(signature) => self.signature(signature),
        }
    }

    fn signature(&mut self, signature: &Signature) -> Result<(), EncodeError> {
        let flags = u8::from(signature.strict)
            | u8::from(signature.may_execute) << 1
            | u8::from(signature.owner_may_issue_tokens) << 2;
        self.bytes(&[1, flags])?;
        self.length(signature.parameters.len())?;
        signature.parameters.iter().try_for_each(|parameter| self.parameter(parameter))?;
        let result = &signature.result;
        let shape = match result.shape {
            Shape::Void => 0,
            Shape::Scalar => 1,
            Shape::Json => 2,
            Shape::Array => 3,
            Shape::Composite => 4,
            Shape::Record => 5,
            Shape::Pseudo => 6,
        };
        self.bytes(&[shape, u8::from(result.is_set)])?;
        self.length(result.columns.len())?;
        result.columns.iter().try_for_each(|column| self.text(column))?;
        self.length(result.kinds.len())?;
        result.kinds.iter().try_for_each(|kind| self.kind(kind))?;
        self.length(signature.rows.len())?;
        signature.rows.iter().try_for_each(|row| {
            self.bytes(&row.oid.to_le_bytes())?;
            self.byte(u8::from(row.is_routine))?;
            self.bytes(&row.digest.to_le_bytes())?;
            self.byte(u8::from(row.is_argument))
        })
    }

    fn parameter(&mut self, parameter: &Parameter) -> Result<(), EncodeError> {
        let mode = match parameter.mode {
            Mode::In => 0,
            Mode::InOut => 1,
            Mode::Out => 2,
            Mode::Variadic => 3,
            Mode::Table => 4,
        };
        self.text(&parameter.name)?;
        self.bytes(&[mode, u8::from(parameter.has_default)])?;
        self.text(&parameter.type_name)?;
        self.bytes(&parameter.type_oid.to_le_bytes())?;
        self.kind(&parameter.kind)
    }

    /// Every type is written out wherever it stands: [`crate::call::MAX_MEMBERS`] bounds it.
    fn kind(&mut self, kind: &TypeKind) -> Result<(), EncodeError> {
        match kind {
            TypeKind::Scalar => self.byte(0),
            TypeKind::Json => self.byte(1),
            TypeKind::Composite(row) => {
                self.byte(2)?;
                self.length(row.members().len())?;
                row.members().iter().try_for_each(|member| {
                    self.text(&member.name)?;
                    self.kind(&member.kind)
                })
            }
            TypeKind::Pseudo => self.byte(3),
            TypeKind::Array { delimiter, element } => {
                self.byte(4)?;
                self.bytes(&u32::from(*delimiter).to_le_bytes())?;
                self.kind(element)
            }
            TypeKind::Bytes => self.byte(5),
            TypeKind::TooLarge => self.byte(6),
        }
    }

    fn call_role(&mut self, role: &CallRole) -> Result<(), EncodeError> {
        match role {
            CallRole::Off => self.byte(0),
            CallRole::Ready { warnings } => {
                self.byte(1)?;
                self.length(warnings.len())?;
                warnings.iter().try_for_each(|warning| self.text(warning))
            }
            CallRole::Refused { reason, hint } => {
                self.byte(2)?;
                self.text(reason)?;
                self.text(hint)
            }
        }
    }

    fn values(&mut self, choice: u8, values: &[ScopeValue]) -> Result<(), EncodeError> {
        self.byte(choice)?;
        self.length(values.len())?;
        for value in values {
            let (kind, text) = match value {
                ScopeValue::Any(text) => (0, text),
                ScopeValue::Id(text) => (1, text),
                ScopeValue::Name(text) => (2, text),
                ScopeValue::Role(text) => (3, text),
            };
            self.byte(kind)?;
            self.text(text)?;
        }
        Ok(())
    }

    fn label(&mut self, label: Option<&str>, is_valid: fn(&str) -> bool) -> Result<(), EncodeError> {
        let label = label.unwrap_or_default();
        if !is_valid(label) {
            return Err(EncodeError::Unrepresentable);
        }
        self.text(label)
    }

    fn text(&mut self, text: &str) -> Result<(), EncodeError> {
        self.length(text.len())?;
        self.bytes(text.as_bytes())
    }

    fn length(&mut self, length: usize) -> Result<(), EncodeError> {
        let length = u32::try_from(length).map_err(|_| EncodeError::Unrepresentable)?;
        self.bytes(&length.to_le_bytes())
    }

    fn byte(&mut self, byte: u8) -> Result<(), EncodeError> {
        self.bytes(&[byte])
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.out.try_reserve(bytes.len()).map_err(|_| EncodeError::OutOfMemory)?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}
