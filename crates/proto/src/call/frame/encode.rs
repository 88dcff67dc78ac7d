//! Writing a frame.

use super::{CallAnswer, CallRequest, DONE, FAILED, Keys, Outcome, StatementRef};
use crate::call::{AnswerShape, Cut};

/// Bytes of a length or a count.
const LENGTH_BYTES: usize = size_of::<u64>();

/// Bytes of a row type and its digest.
const ROW_BYTES: usize = size_of::<u32>() + size_of::<u64>() + 2;

/// At least the size of a request's fixed parts: numbers, flags, counts of lists.
const FIXED_BYTES: usize = 64;

impl CallRequest<'_> {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_into(Vec::with_capacity(self.max_bytes()))
    }

    fn encode_into(&self, out: Vec<u8>) -> Vec<u8> {
        let mut writer = Writer { out };
        writer.number(self.id);
        writer.out.extend_from_slice(&self.timeout_ms.to_le_bytes());
        writer.text(self.label);
        writer.flag(self.read_only);
        writer.flag(self.is_snapshot);
        writer.length(self.settings.len());
        for (name, value) in &self.settings {
            writer.text(name);
            writer.text(value);
        }
        writer.statement(&self.statement);
        writer.out
    }

    /// Its bytes, or `None` when there is no memory for them: they are about as many as a request has, which
    /// its peer decides.
    pub fn try_encode(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        out.try_reserve_exact(self.max_bytes()).ok()?;
        Some(self.encode_into(out))
    }

    /// The most bytes that the frame can take: its texts with a length each, and its fixed parts.
    pub(super) fn max_bytes(&self) -> usize {
        let text = |text: &str| text.len() + LENGTH_BYTES + 1;
        let optional = |texts: &[Option<&str>]| -> usize {
            LENGTH_BYTES + texts.iter().map(|given| text(given.unwrap_or(""))).sum::<usize>()
        };
        let statement = &self.statement;
        FIXED_BYTES
            + text(self.label)
            + self.settings.iter().map(|(name, value)| text(name) + text(value)).sum::<usize>()
            + text(statement.sql)
            + optional(&statement.parameters)
            + statement.types.len() * LENGTH_BYTES
            + statement.columns.iter().map(|column| text(column)).sum::<usize>()
            + key_bytes(&statement.keys)
            + statement.rows.len() * ROW_BYTES
    }
}

/// The bytes of keys. These come from the catalog, so no peer decides how many there are.
fn key_bytes(keys: &Keys) -> usize {
    let text = |text: &str| text.len() + LENGTH_BYTES;
    let rows = match keys {
        Keys::Kept => return 1,
        Keys::Row(rows) => rows,
    };
    1 + LENGTH_BYTES
        + rows.iter().map(|key| text(&key.from) + text(&key.to) + key_bytes(&key.within)).sum::<usize>()
}

impl CallAnswer {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.encode_head();
        bytes.extend_from_slice(self.tail());
        bytes
    }

    /// Its bytes up to [`CallAnswer::tail`]: some tens, and eight for each transaction of a cut.
    pub fn encode_head(&self) -> Vec<u8> {
        let mut writer = Writer { out: Vec::with_capacity(64) };
        writer.number(self.id);
        writer.flag(self.cut.is_some());
        if let Some((xmin, xmax, running)) = self.cut.as_ref().map(Cut::parts) {
            writer.number(xmin);
            writer.number(xmax);
            writer.length(running.len());
            running.iter().for_each(|xid| writer.number(*xid));
        }
        match &self.outcome {
            Outcome::Done { rows, is_null, .. } => {
                writer.out.push(DONE);
                writer.number(*rows);
                writer.flag(*is_null);
            }
            Outcome::Failed { sqlstate, raised, outdated, .. } => {
                writer.out.push(FAILED);
                writer.out.extend_from_slice(sqlstate);
                writer.flag(*raised);
                writer.flag(*outdated);
            }
        }
        writer.length(self.tail().len());
        writer.out
    }

    /// The last part of its bytes, unencoded: the body or the message. It may be large and need not be
    /// copied.
    pub fn tail(&self) -> &[u8] {
        match &self.outcome {
            Outcome::Done { body, .. } => body,
            Outcome::Failed { message, .. } => message.as_bytes(),
        }
    }
}

struct Writer {
    out: Vec<u8>,
}

impl Writer {
    fn statement(&mut self, statement: &StatementRef<'_>) {
        self.text(statement.sql);
        self.parameters(&statement.parameters);
        self.length(statement.types.len());
        for kind in &statement.types {
            self.out.extend_from_slice(&kind.oid.to_le_bytes());
            self.flag(kind.is_output);
        }
        self.out.push(match statement.answer {
            AnswerShape::Nothing => 0,
            AnswerShape::Text => 1,
            AnswerShape::Json => 2,
            AnswerShape::Object => 3,
            AnswerShape::Array => 4,
            AnswerShape::ProcedureRow => 5,
        });
        self.length(statement.columns.len());
        statement.columns.iter().for_each(|column| self.text(column));
        self.keys(&statement.keys);
        self.length(statement.rows.len());
        for row in &statement.rows {
            self.out.extend_from_slice(&row.oid.to_le_bytes());
            self.flag(row.is_routine);
            self.number(row.digest);
            self.flag(row.is_argument);
        }
    }

    fn keys(&mut self, keys: &Keys) {
        match keys {
            Keys::Kept => self.flag(false),
            Keys::Row(row) => {
                self.flag(true);
                self.length(row.len());
                for key in row {
                    self.text(&key.from);
                    self.text(&key.to);
                    self.keys(&key.within);
                }
            }
        }
    }

    fn parameters(&mut self, parameters: &[Option<&str>]) {
        self.length(parameters.len());
        for parameter in parameters {
            self.flag(parameter.is_some());
            if let Some(text) = parameter {
                self.text(text);
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    fn flag(&mut self, flag: bool) {
        self.out.push(u8::from(flag));
    }

    /// A `usize` has at most 64 bits wherever Postgres runs.
    fn length(&mut self, length: usize) {
        self.number(length as u64);
    }

    fn number(&mut self, number: u64) {
        self.out.extend_from_slice(&number.to_le_bytes());
    }
}
