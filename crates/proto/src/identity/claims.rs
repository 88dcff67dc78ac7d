//! Claims of a token, and which of them say who somebody is (C1.3, C4.7).

use super::{Identity, IdentityError, MAX_ROLES, MAX_SOURCE_BYTES, Part};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;

/// Claims: a JSON object in which no name is given twice. Usual readers take the last of two, and another
/// program may have checked the first.
///
/// A `Deserialize` type, so that a library that verifies tokens can read straight into it.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Reads a text as JSON. Nesting is bounded by `serde_json`, at 127 levels.
    ///
    /// # Errors
    /// [`IdentityError::Claims`]; [`IdentityError::TooLong`] beyond [`MAX_SOURCE_BYTES`].
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        if text.len() > MAX_SOURCE_BYTES {
            return Err(IdentityError::TooLong);
        }
        serde_json::from_str(text).map_err(|_| IdentityError::Claims)
    }

    /// The claims by name.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Map<String, Value>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut members = Map::new();
                while let Some(name) = access.next_key::<String>()? {
                    if members.insert(name, access.next_value()?).is_some() {
                        return Err(A::Error::custom("a claim is given twice"));
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members).map(Self)
    }
}

/// Without the values: claims never reach a log.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claims({} members)", self.0.len())
    }
}

/// Names of the claims that say who somebody is: `sse.claim_user_id`, `sse.claim_user_name`,
/// `sse.claim_user_roles`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    user_id: Vec<String>,
    user_name: Vec<String>,
    user_roles: Vec<String>,
}

impl ClaimNames {
    /// Each text is a list of names separated by commas, blanks around a name do not count; names compare
    /// exactly and stand for members of the claims themselves, not of objects within them. With an empty list
    /// nobody has this part.
    ///
    /// # Errors
    /// [`ClaimNamesError`] of the first text that is wrong, and which of them it is.
    pub fn parse(user_id: &str, user_name: &str, user_roles: &str) -> Result<Self, (Part, ClaimNamesError)> {
        Ok(Self {
            user_id: Self::parse_list(user_id).map_err(|error| (Part::UserId, error))?,
            user_name: Self::parse_list(user_name).map_err(|error| (Part::UserName, error))?,
            user_roles: Self::parse_list(user_roles).map_err(|error| (Part::UserRoles, error))?,
        })
    }

    /// One of the three lists alone, for the check of its setting.
    ///
    /// # Errors
    /// [`ClaimNamesError`]; each variant as it is described there.
    pub fn parse_list(text: &str) -> Result<Vec<String>, ClaimNamesError> {
        let mut names: Vec<String> = Vec::new();
        for name in text.split(',').map(|name| name.trim_matches([' ', '\t'])) {
            if name.chars().any(char::is_control) {
                return Err(ClaimNamesError::Character);
            }
            if name.is_empty() || names.iter().any(|known| known == name) {
                continue;
            }
            if names.len() == MAX_CLAIM_NAMES {
                return Err(ClaimNamesError::TooMany);
            }
            names.push(name.to_owned());
        }
        Ok(names)
    }
}

/// The defaults of C1.3.
impl Default for ClaimNames {
    fn default() -> Self {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            user_id: list(&["user_id", "sub"]),
            user_name: list(&["user_name", "name"]),
            user_roles: list(&["user_roles", "roles", "role"]),
        }
    }
}

/// Names in one list. Each is looked up for every token; a list this long is a mistake. Beyond it: the
/// setting is refused.
const MAX_CLAIM_NAMES: usize = 16;

/// Why a text is no list of claim names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimNamesError {
    /// More than 16.
    TooMany,
    /// A line break or another control character.
    Character,
}

impl fmt::Display for ClaimNamesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "a list has at most {MAX_CLAIM_NAMES} names of claims"),
            Self::Character => f.write_str("a name of a claim has no control characters"),
        }
    }
}

impl std::error::Error for ClaimNamesError {}

impl Identity {
    /// The identity of the bearer. The claims must have been verified.
    ///
    /// # Errors
    /// [`IdentityError`]: the token is refused, never taken without the part that is wrong.
    pub fn from_claims(claims: &Map<String, Value>, names: &ClaimNames) -> Result<Self, IdentityError> {
        let user_id = first_present(claims, &names.user_id, user_id)?;
        let user_name = first_present(claims, &names.user_name, user_name)?;
        let roles = first_present(claims, &names.user_roles, user_roles)?;
        Self::try_new(user_id.as_deref(), user_name, &roles.unwrap_or_default())
    }
}

/// The first claim that is there and not empty. `read` returns `None` for an empty one.
fn first_present<'c, T>(
    claims: &'c Map<String, Value>,
    names: &[String],
    read: fn(&'c Value) -> Result<Option<T>, IdentityError>,
) -> Result<Option<T>, IdentityError> {
    names.iter().filter_map(|name| claims.get(name)).find_map(|claim| read(claim).transpose()).transpose()
}

fn user_id(claim: &Value) -> Result<Option<Cow<'_, str>>, IdentityError> {
    match claim {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(Cow::from(text)).filter(|text| !text.is_empty())),
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok(Some(number.to_string().into())),
        _ => Err(IdentityError::WrongType(Part::UserId)),
    }
}

fn user_name(claim: &Value) -> Result<Option<&str>, IdentityError> {
    match claim {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        _ => Err(IdentityError::WrongType(Part::UserName)),
    }
}

fn user_roles(claim: &Value) -> Result<Option<Vec<&str>>, IdentityError> {
    let wrong = IdentityError::WrongType(Part::UserRoles);
    let roles = match claim {
        Value::Null => return Ok(None),
        Value::String(text) => vec![text.as_str()],
        Value::Array(list) if list.len() > MAX_ROLES => return Err(IdentityError::TooManyRoles),
        Value::Array(list) => list
            .iter()
            .filter(|role| !role.is_null())
            .map(|role| role.as_str().ok_or(wrong))
            .collect::<Result<Vec<_>, _>>()?,
        _ => return Err(wrong),
    };
    Ok(Some(roles).filter(|roles| roles.iter().any(|role| !role.is_empty())))
}
