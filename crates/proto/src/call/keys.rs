//! The keys of rows within an answer, in camelCase (C7.3).
//!
//! The statement names the columns of a result itself. Inside a column `to_json` writes SQL names. These are
//! replaced in the JSON text: in SQL that would need an expression for every member of every type inside it,
//! would not work for arrays of several dimensions, and would change the statement's plan.
//!
//! Values of `json` and `jsonb` are the user's, and are left alone.
//!
//! Not for names of columns (`select.rs`), nor for JSON from anybody but Postgres: nothing is checked here.

use super::signature::{Mode, ResultType, Shape, Signature};
use super::type_kind::TypeKind;

/// Which keys become others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keys {
    /// None, here and in what is within.
    #[default]
    Kept,
    /// The keys of an object, or of each object in an array of any dimensions.
    Row(Vec<Key>),
}

/// One key of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// As Postgres writes it.
    pub from: String,
    /// As the answer has it.
    pub to: String,
    /// Those of its value.
    pub within: Keys,
}

/// There is no memory for the answer with its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

impl Keys {
    /// Of a function's answer, whose columns the statement has named `columns`.
    pub(super) fn of_result(result: &ResultType, columns: &[String]) -> Self {
        match result.shape {
            Shape::Composite => Self::of_columns(columns, &result.kinds),
            Shape::Array => result.kinds.first().map_or(Self::Kept, Self::of_kind),
            Shape::Void | Shape::Scalar | Shape::Json | Shape::Record | Shape::Pseudo => Self::Kept,
        }
    }

    /// Of the row that a procedure gives.
    pub(super) fn of_outputs(signature: &Signature, columns: &[String]) -> Self {
        let outputs = signature.parameters.iter().filter(|p| matches!(p.mode, Mode::Out | Mode::InOut));
        let kinds: Vec<TypeKind> = outputs.map(|parameter| parameter.kind.clone()).collect();
        Self::of_columns(columns, &kinds)
    }

    fn of_columns(columns: &[String], kinds: &[TypeKind]) -> Self {
        let within: Vec<Self> = kinds.iter().map(Self::of_kind).collect();
        if within.iter().all(|keys| *keys == Self::Kept) {
            return Self::Kept;
        }
        let key = |(name, within): (&String, Self)| Key { from: name.clone(), to: name.clone(), within };
        Self::Row(columns.iter().zip(within).map(key).collect())
    }

    fn of_kind(kind: &TypeKind) -> Self {
        let Some(row) = kind.keys().filter(|row| row.is_renamed()) else { return Self::Kept };
        Self::Row(
            row.answers()
                .map(|(member, to)| Key {
                    from: member.name.clone(),
                    to: to.to_owned(),
                    within: Self::of_kind(&member.kind),
                })
                .collect(),
        )
    }

    /// The answer with these keys. `json` is what Postgres wrote: anything else comes back in some form, and
    /// without a panic.
    ///
    /// Costs a pass over it; keys come in the order of the columns, so that none is searched for.
    ///
    /// # Errors
    /// [`NoMemory`]
    pub fn exchange(&self, json: Vec<u8>) -> Result<Vec<u8>, NoMemory> {
        let Self::Row(_) = self else { return Ok(json) };
        let mut exchange = Exchange { rest: &json, out: Vec::new() };
        exchange.out.try_reserve(json.len()).map_err(|_| NoMemory)?;
        exchange.value(self)?;
        exchange.push(exchange.rest)?;
        Ok(exchange.out)
    }
}

struct Exchange<'j> {
    rest: &'j [u8],
    out: Vec<u8>,
}

impl<'j> Exchange<'j> {
    /// One value, and the blanks before it.
    fn value(&mut self, keys: &Keys) -> Result<(), NoMemory> {
        let Keys::Row(row) = keys else { return self.copy_value() };
        let blanks = self.rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.copy(blanks)?;
        match self.rest.first() {
            Some(b'[') => self.list(|exchange| exchange.value(keys)),
            Some(b'{') => {
                let mut next = 0;
                self.list(|exchange| exchange.member(row, &mut next))
            }
            _ => self.copy_value(),
        }
    }

    /// From a bracket to its partner; `item` handles each part between commas.
    fn list(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), NoMemory>) -> Result<(), NoMemory> {
        self.copy(1)?;
        loop {
            let blanks =
                self.rest.iter().take_while(|byte| matches!(byte, b',' | b' ' | b'\n' | b'\t' | b'\r'));
            self.copy(blanks.count())?;
            match self.rest.first() {
                None => return Ok(()),
                Some(b']' | b'}') => return self.copy(1),
                Some(_) => {
                    let before = self.rest.len();
                    item(self)?;
                    if self.rest.len() == before {
                        // Not JSON: copy a byte, so that the loop ends.
                        self.copy(1)?;
                    }
                }
            }
        }
    }

    /// `next`: the key that is expected, because columns have an order.
    fn member(&mut self, row: &[Key], next: &mut usize) -> Result<(), NoMemory> {
        let end = string_end(self.rest);
        let (name, behind) = self.rest.split_at(end);
        let name: &'j [u8] = name;
        let is_named = |key: &&Key| is_written_as(&key.from, name);
        let at = match row.get(*next).filter(is_named) {
            Some(_) => Some(*next),
            None => row.iter().position(|key| is_named(&key)),
        };
        let key = at.and_then(|at| row.get(at));
        *next = at.map_or(*next, |at| at + 1);
        self.rest = behind;
        match key.filter(|key| key.from != key.to) {
            Some(key) => self.push(super::json::quoted(&key.to).as_bytes())?,
            None => self.push(name)?,
        }
        let colon = self.rest.iter().take_while(|byte| matches!(byte, b':' | b' ')).count();
        self.copy(colon)?;
        self.value(key.map_or(&Keys::Kept, |key| &key.within))
    }

    /// A value as it is, however deep.
    fn copy_value(&mut self) -> Result<(), NoMemory> {
        let mut depth = 0_usize;
        let mut at = 0;
        while let Some(byte) = self.rest.get(at) {
            match byte {
                b'"' => {
                    at += string_end(self.rest.get(at..).unwrap_or_default()).max(1);
                    continue;
                }
                b'[' | b'{' => depth += 1,
                b']' | b'}' | b',' if depth == 0 => break,
                b']' | b'}' => depth -= 1,
                _ => {}
            }
            at += 1;
        }
        self.copy(at)
    }

    fn copy(&mut self, length: usize) -> Result<(), NoMemory> {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        self.push(taken)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), NoMemory> {
        self.out.try_reserve(bytes.len()).map_err(|_| NoMemory)?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

/// Bytes of the string that a text begins with, quotes included; of anything else none.
fn string_end(text: &[u8]) -> usize {
    if text.first() != Some(&b'"') {
        return 0;
    }
    let mut is_escaped = false;
    let end = text.iter().skip(1).position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + 2)
}

/// Whether a string with its quotes is this name. Few names need escapes.
fn is_written_as(name: &str, written: &[u8]) -> bool {
    match written {
        [b'"', inner @ .., b'"'] if inner == name.as_bytes() && !inner.contains(&b'\\') => true,
        _ if written.contains(&b'\\') => {
            serde_json::from_slice(written).is_ok_and(|text: String| text == name)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
