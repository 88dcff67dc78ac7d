//! Writing a frame.

use super::{CallAnswer, CallRequest, Keys, Outcome, StatementRef};
use crate::call::AnswerShape;

impl CallRequest<'_> {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer { out: Vec::with_capacity(self.size_hint()) };
        writer.number(self.id);
        writer.out.extend_from_slice(&self.timeout_ms.to_le_bytes());
        writer.text(self.label);
        writer.flag(self.read_only);
        writer.length(self.settings.len());
        for (name, value) in &self.settings {
            writer.text(name);
            writer.text(value);
        }
        writer.statement(&self.statement);
        writer.out
    }

    /// About what the frame takes: its texts, and something for lengths.
    fn size_hint(&self) -> usize {
        let settings = self.settings.iter().map(|(name, value)| name.len() + value.len() + 16);
        let texts =
            |texts: &[Option<&str>]| texts.iter().map(|t| t.map_or(1, |t| t.len() + 9)).sum::<usize>();
        let statement = &self.statement;
        128 + self.label.len()
            + settings.sum::<usize>()
            + statement.sql.len()
            + texts(&statement.parameters)
            + 5 * statement.types.len()
    }
}

impl CallAnswer {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer { out: Vec::with_capacity(64 + self.outcome.body_bytes()) };
        writer.number(self.id);
        match &self.outcome {
            Outcome::Done { rows, body, is_null } => {
                writer.out.push(0);
                writer.number(*rows);
                writer.flag(*is_null);
                writer.bytes(body);
            }
            Outcome::Failed { sqlstate, message, raised, outdated } => {
                writer.out.push(1);
                writer.out.extend_from_slice(sqlstate);
                writer.flag(*raised);
                writer.flag(*outdated);
                writer.text(message);
            }
        }
        writer.out
    }
}

impl Outcome {
    fn body_bytes(&self) -> usize {
        match self {
            Self::Done { body, .. } => body.len(),
            Self::Failed { message, .. } => message.len(),
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
