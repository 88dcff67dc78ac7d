//! Who a subscriber is, and who raised an event: user id, user name and roles (C4.6, C4.7).
//!
//! Where the contract leaves room, these are the rules. What they refuse refuses the token, or makes the
//! emitter undecidable, so `matching` reaches nobody:
//! - Empty is absent: the empty text, JSON `null`, and a list of roles with nothing else in it. So an empty
//!   claim or setting counts as not there, and the next one is read.
//! - The first claim that is present wins, and must have the right type; later ones are not looked at.
//! - A user id is text or a whole number, which counts as its decimal text (`42` is `"42"`). Fractions,
//!   exponents and numbers that do not fit 64 bits are refused: two writers would not write them alike. A
//!   user name is text.
//! - A role claim is text, which is **one** role whatever commas are in it, or a list of texts.
//! - The character NUL is refused: Postgres would end the value there, and `admin\0x` would be `admin` to a
//!   called routine.
//! - Texts are not normalised: no Unicode case, no composition.
//!
//! Not for signatures, expiry, or where a token is found: claims that arrive here are verified. Not for
//! comparing ([`crate::admission`]).

mod claims;
mod emitter;
mod roles;

pub use claims::{ClaimNames, ClaimNamesError, Claims};
pub use emitter::{Emission, EmitterSettings};

use crate::record::Emitter;
use std::collections::HashSet;
use std::fmt;

/// Roles of one identity, repetitions counted. A stream is entered into one list for each role when it opens.
/// Some directories put hundreds of groups into a token; more are not needed. Beyond it the identity is
/// refused and not cut, because a part of the roles would be another identity.
pub const MAX_ROLES: usize = 1000;

/// Bytes of user id, user name and roles together. Every subscriber keeps them, and every `matching` event
/// carries its emitter's through the ring. A token in a header can hardly hold more. Beyond it the identity
/// is refused.
pub const MAX_IDENTITY_BYTES: usize = 16 * 1024;

/// Bytes of a text that an identity is read from: claims as JSON, or `request.user_roles`. Bounds the memory
/// and the time that reading takes in the publisher's backend, four times what [`MAX_IDENTITY_BYTES`] needs,
/// for claims that are not ours and for escapes. Beyond it the text is refused unread.
pub const MAX_SOURCE_BYTES: usize = 64 * 1024;

/// Who a subscriber or an emitter is. An identity without any of the three parts is still authenticated (by a
/// valid token), but is on no list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    user_id: Option<String>,
    user_name: Option<String>,
    roles: Box<[String]>,
}

impl Identity {
    /// Empty values are left out; of roles that differ in the case of ASCII letters only, the first is kept.
    ///
    /// # Errors
    /// [`IdentityError::TooManyRoles`], [`IdentityError::TooLong`], [`IdentityError::ZeroByte`].
    pub fn try_new<R: AsRef<str>>(
        user_id: Option<&str>,
        user_name: Option<&str>,
        roles: &[R],
    ) -> Result<Self, IdentityError> {
        if roles.len() > MAX_ROLES {
            return Err(IdentityError::TooManyRoles);
        }
        let roles = || roles.iter().map(AsRef::as_ref);
        let values = || user_id.into_iter().chain(user_name).chain(roles());
        if values().fold(0, |sum: usize, value| sum.saturating_add(value.len())) > MAX_IDENTITY_BYTES {
            return Err(IdentityError::TooLong);
        }
        if values().any(|value| value.contains('\0')) {
            return Err(IdentityError::ZeroByte);
        }
        let mut seen = HashSet::new();
        Ok(Self {
            user_id: user_id.filter(|id| !id.is_empty()).map(str::to_owned),
            user_name: user_name.filter(|name| !name.is_empty()).map(str::to_owned),
            roles: roles()
                .filter(|role| !role.is_empty() && seen.insert(role.to_ascii_lowercase()))
                .map(str::to_owned)
                .collect(),
        })
    }

    /// Compares exactly. Never empty.
    pub fn user_id(&self) -> Option<&str> {
        self.user_id.as_deref()
    }

    /// Compares without regard to the case of ASCII letters. Never empty.
    pub fn user_name(&self) -> Option<&str> {
        self.user_name.as_deref()
    }

    /// Compare without regard to the case of ASCII letters, in which no two of them are equal. None is empty.
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// Whether it has none of the three parts, and so is on no list.
    pub fn is_empty(&self) -> bool {
        self.user_id.is_none() && self.user_name.is_none() && self.roles.is_empty()
    }

    /// As a record carries it.
    pub fn as_emitter(&self) -> Emitter<'_> {
        Emitter {
            user_id: self.user_id(),
            user_name: self.user_name(),
            roles: self.roles.iter().map(String::as_str).collect(),
        }
    }
}

/// One of the three things that an identity consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `sse.claim_user_id`
    UserId,
    /// `sse.claim_user_name`
    UserName,
    /// `sse.claim_user_roles`
    UserRoles,
}

/// Why somebody's identity cannot be told. The texts say nothing of the values, so they may go to a peer or a
/// log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// The first claim present has a type that cannot be this part.
    WrongType(Part),
    /// More than [`MAX_ROLES`].
    TooManyRoles,
    /// More than [`MAX_IDENTITY_BYTES`], or read from more than [`MAX_SOURCE_BYTES`].
    TooLong,
    /// A value has the character NUL.
    ZeroByte,
    /// The claims are no JSON object, one nested deeper than 127 levels, or one in which a name is given
    /// twice.
    Claims,
    /// `request.user_roles` begins like an array and is none, or has quotes in a comma list.
    Roles,
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongType(Part::UserId) => "the user id must be text or a whole number",
            Self::WrongType(Part::UserName) => "the user name must be text",
            Self::WrongType(Part::UserRoles) => "the roles must be text or a list of texts",
            Self::TooManyRoles => "there are too many roles",
            Self::TooLong => "user id, user name and roles are too long",
            Self::ZeroByte => "user id, user name and roles must not contain the character NUL",
            Self::Claims => "the claims must be a JSON object in which no name is given twice",
            Self::Roles => {
                "the roles must be a one-dimensional array, a JSON array of texts, or a comma list"
            }
        })
    }
}

impl std::error::Error for IdentityError {}
