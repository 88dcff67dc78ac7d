//! Walks over the values of an array or object that was checked before.
//!
//! Not for checking: duplicate names, depth and NUL were looked for in the whole value (`look`).

use super::{Json, JsonError};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Hands each value of an array or object to `take`, with its name (of an array's: empty), up to the first
/// error.
pub(in crate::call) fn each_part<'a, E: From<JsonError>>(
    raw: &'a str,
    take: impl FnMut(&str, Json<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut walk = Walk { take, failed: None };
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    let walked = (&mut deserializer).deserialize_any(&mut walk);
    match (walked, walk.failed) {
        (_, Some(error)) => Err(error),
        (Err(_), None) => Err(JsonError::Syntax.into()),
        (Ok(()), None) => Ok(()),
    }
}

struct Walk<T, E> {
    take: T,
    failed: Option<E>,
}

impl<T, E> Walk<T, E> {
    fn part<'a, F: Error>(&mut self, name: &str, raw: &'a RawValue) -> Result<(), F>
    where
        T: FnMut(&str, Json<'a>) -> Result<(), E>,
        E: From<JsonError>,
    {
        let taken = Json::of(raw.get()).map_err(E::from).and_then(|json| (self.take)(name, json));
        taken.map_err(|error| {
            self.failed = Some(error);
            F::custom("refused")
        })
    }
}

impl<'de, T, E> Visitor<'de> for &mut Walk<T, E>
where
    T: FnMut(&str, Json<'de>) -> Result<(), E>,
    E: From<JsonError>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array or object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(raw) = items.next_element::<&'de RawValue>()? {
            self.part("", raw)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, raw)) = map.next_entry::<String, &'de RawValue>()? {
            self.part(&name, raw)?;
        }
        Ok(())
    }
}
