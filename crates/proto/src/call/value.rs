//! What was given for a parameter, as the one text that the input function of its type reads.
//!
//! Arrays and rows are taken apart here, so that their parts follow the rules of parameters, at any depth:
//! names in camelCase or SQL, none twice, none unknown, `\x` for a `bytea`.
//!
//! Not for whether a text is one of the type: that is Postgres' to say.

use super::argument::{ArgumentError, Expected, Value};
use super::json::{self, Json};
use super::literal::{self, Literal, TooLong};
use super::type_kind::{Found, RowType, TypeKind};
use std::fmt;

/// Dimensions of an array (c.h, MAXDIM). Beyond it the argument is refused here, because Postgres' own error
/// has an SQLSTATE that does not count as the caller's mistake.
const MAX_DIMENSIONS: usize = 6;

/// Bytes of a literal for each given byte, besides [`SPARE_BYTES`]. Quotes double with each level of arrays
/// and rows, and a row of a thousand columns takes a thousand commas for one member. Beyond it:
/// [`ArgumentError::TooLarge`].
const MAX_GROWTH_FACTOR: usize = 16;

/// Bytes of a literal on top of [`MAX_GROWTH_FACTOR`], so that a short value may grow more.
const SPARE_BYTES: usize = 1 << 20;

/// `name` is the parameter's, for messages. `None` is NULL.
pub(super) fn text_of(
    value: &Value<'_>,
    kind: &TypeKind,
    name: &str,
) -> Result<Option<String>, ArgumentError> {
    let place = Place { name, within: None };
    match value {
        Value::Json(json) => Reader::of(json.raw().len()).json(json, kind, &place),
        Value::Texts(texts) => {
            Reader::of(texts.iter().map(|text| text.len()).sum()).texts(texts, kind, &place).map(Some)
        }
    }
}

/// The most bytes that the literal of this many given bytes may have.
pub(super) fn limit(given_bytes: usize) -> usize {
    given_bytes.saturating_mul(MAX_GROWTH_FACTOR).saturating_add(SPARE_BYTES)
}

/// A parameter, or a member in it: `place.streetName`.
struct Place<'a> {
    name: &'a str,
    within: Option<&'a Self>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(within) = self.within {
            write!(f, "{within}.")?;
        }
        f.write_str(self.name)
    }
}

struct Reader {
    /// Bytes of a literal.
    limit: usize,
}

impl Reader {
    fn of(given_bytes: usize) -> Self {
        Self { limit: limit(given_bytes) }
    }

    fn json(
        &self,
        value: &Json<'_>,
        kind: &TypeKind,
        place: &Place<'_>,
    ) -> Result<Option<String>, ArgumentError> {
        let text = match (kind, value) {
            (_, Json::Null) => return Ok(None),
            (TypeKind::Json, value) => value.raw(),
            (TypeKind::Array { delimiter, element }, Json::Array(raw)) => {
                return self.array(raw, *delimiter, element, place).map(Some);
            }
            (TypeKind::Array { .. }, _) => return Err(wrong(place, Expected::Array)),
            (TypeKind::Composite(row), Json::Object(raw)) => return self.row(raw, row, place).map(Some),
            (TypeKind::Composite(_), _) => return Err(wrong(place, Expected::Object)),
            (TypeKind::Bytes, Json::String(text, _)) => bytes(text, place)?,
            (TypeKind::Bytes, _) => return Err(wrong(place, Expected::Bytes)),
            (_, Json::String(text, _)) => text,
            (_, Json::Bool(_) | Json::Number(_)) => value.raw(),
            (_, Json::Array(_) | Json::Object(_)) => return Err(wrong(place, Expected::One)),
        };
        Ok(Some(text.to_owned()))
    }

    /// The number of dimensions is the number of brackets before the first element. `array_in` refuses ragged
    /// arrays.
    fn array(
        &self,
        raw: &str,
        delimiter: char,
        element: &TypeKind,
        place: &Place<'_>,
    ) -> Result<String, ArgumentError> {
        let mut dimensions = 1;
        if !matches!(element, TypeKind::Array { .. } | TypeKind::Json) {
            let mut first = first_item(raw);
            while let Some(inner) = first.filter(|_| dimensions <= MAX_DIMENSIONS) {
                dimensions += 1;
                first = first_item(inner);
            }
        }
        if dimensions > MAX_DIMENSIONS {
            return Err(wrong(place, Expected::FewerDimensions));
        }
        let mut literal = Literal::new(self.limit);
        self.dimension(&mut literal, raw, dimensions, (delimiter, element), place)?;
        Ok(literal.finish())
    }

    /// `left`: the dimensions that are left, this one included.
    fn dimension(
        &self,
        literal: &mut Literal,
        raw: &str,
        left: usize,
        (delimiter, element): (char, &TypeKind),
        place: &Place<'_>,
    ) -> Result<(), ArgumentError> {
        let too_long = |TooLong| ArgumentError::TooLarge(place.shown());
        literal.mark('{').map_err(too_long)?;
        let mut is_first = true;
        json::each_part(raw, |_, item| {
            if !is_first {
                literal.mark(delimiter).map_err(too_long)?;
            }
            is_first = false;
            match (left, &item) {
                (1, _) => match self.json(&item, element, place)? {
                    Some(text) => literal.value(&text).map_err(too_long),
                    None => literal.null().map_err(too_long),
                },
                (_, Json::Array(raw)) => self.dimension(literal, raw, left - 1, (delimiter, element), place),
                _ => Err(wrong(place, Expected::Array)),
            }
        })?;
        literal.mark('}').map_err(too_long)
    }

    fn row(&self, raw: &str, row: &RowType, place: &Place<'_>) -> Result<String, ArgumentError> {
        let members = row.members();
        let mut texts: Vec<Option<Option<String>>> = vec![None; members.len()];
        json::each_part(raw, |name, value| {
            let place = Place { name, within: Some(place) };
            let position = match row.find(name) {
                Found::Member(position) => position,
                Found::Ambiguous => return Err(ArgumentError::AmbiguousName(place.shown())),
                Found::Nobody => return Err(ArgumentError::UnknownMember(place.shown())),
            };
            let (Some(slot), Some(member)) = (texts.get_mut(position), members.get(position)) else {
                return Err(ArgumentError::UnknownMember(place.shown()));
            };
            if slot.is_some() {
                return Err(ArgumentError::Twice(place.shown()));
            }
            *slot = Some(self.json(&value, &member.kind, &place)?);
            Ok(())
        })?;
        self.row_literal(&texts).map_err(|TooLong| ArgumentError::TooLarge(place.shown()))
    }

    fn row_literal(&self, texts: &[Option<Option<String>>]) -> Result<String, TooLong> {
        let mut literal = Literal::new(self.limit);
        literal.mark('(')?;
        for (position, text) in texts.iter().enumerate() {
            if position > 0 {
                literal.mark(',')?;
            }
            if let Some(Some(text)) = text {
                literal.value(text)?;
            }
        }
        literal.mark(')')?;
        Ok(literal.finish())
    }

    fn texts(&self, texts: &[&str], kind: &TypeKind, place: &Place<'_>) -> Result<String, ArgumentError> {
        if let TypeKind::Array { delimiter, element } = kind {
            let elements = texts.iter().map(|text| self.text(text, element, place));
            let elements = elements.collect::<Result<Vec<String>, ArgumentError>>()?;
            return literal::array(elements.iter(), *delimiter, self.limit)
                .map_err(|TooLong| ArgumentError::TooLarge(place.shown()));
        }
        let [text] = texts else { return Err(ArgumentError::Twice(place.shown())) };
        self.text(text, kind, place)
    }

    fn text(&self, text: &str, kind: &TypeKind, place: &Place<'_>) -> Result<String, ArgumentError> {
        match kind {
            TypeKind::Json => return Ok(json::value(text)?.raw().to_owned()),
            TypeKind::Bytes => return Ok(bytes(text, place)?.to_owned()),
            // The literal of a row begins with a parenthesis.
            TypeKind::Composite(row) if text.trim_start().starts_with('{') => {
                return self.row(json::value(text)?.raw(), row, place);
            }
            // Literals are not taken apart, so a value whose parts must be checked has to be JSON.
            TypeKind::Composite(_) if kind.has_bytes() => return Err(wrong(place, Expected::Object)),
            TypeKind::Array { .. } if kind.has_bytes() => return Err(wrong(place, Expected::Bytes)),
            _ => {}
        }
        Ok(text.to_owned())
    }
}

/// `byteain` takes a text without `\x` for the bytes themselves, and would store the letters of base64.
fn bytes<'t>(text: &'t str, place: &Place<'_>) -> Result<&'t str, ArgumentError> {
    if text.starts_with("\\x") { Ok(text) } else { Err(wrong(place, Expected::Bytes)) }
}

/// The first element of an array, if that is an array.
fn first_item(raw: &str) -> Option<&str> {
    let inner = raw.strip_prefix('[')?.trim_start_matches(json::BLANKS);
    inner.starts_with('[').then_some(inner)
}

fn wrong(place: &Place<'_>, expected: Expected) -> ArgumentError {
    ArgumentError::WrongType(place.shown(), expected)
}

impl Place<'_> {
    /// The place, shortened for a message.
    fn shown(&self) -> String {
        self.to_string().chars().take(100).collect()
    }
}
