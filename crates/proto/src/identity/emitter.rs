//! Who raised an event, from the settings of the session (C4.6).
//!
//! Needed only for the scope `matching`, so a publisher reads it only then. Runs inside Postgres'
//! `emit_log_hook`: the memory for reading is bounded by the limits of the parent module, but want of memory
//! is not an answer here, it ends the process.
//!
//! Not for reading the settings, nor for whether they are true: anybody who runs SQL in the session can set
//! them (C3.8).

use super::{ClaimNames, Claims, Identity, IdentityError, roles};
use crate::record::Emitter;

/// The settings that say who emits; `None`, like the empty text, is a setting that is not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmitterSettings<'a> {
    /// `request.user_id`
    pub user_id: Option<&'a str>,
    /// `request.user_name`
    pub user_name: Option<&'a str>,
    /// `request.user_roles`: a Postgres array literal when it begins with `{`, a JSON array when it begins
    /// with `[`, else a comma list.
    pub user_roles: Option<&'a str>,
    /// `request.jwt.claims`
    pub jwt_claims: Option<&'a str>,
}

/// Who raised an event: an [`Identity`], or the [`Emitter`] of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emission<T = Identity> {
    /// Nobody in particular: the routine's `@authorize` rule decides for `matching` (C4.2).
    None,
    /// This emitter, of whom at least one of the three parts is known.
    Known(T),
    /// Something is set and cannot be understood: `matching` reaches nobody.
    Undecidable,
}

impl Emission {
    /// Applies C4.6. The claims count only if none of the other three settings says anything, and then as a
    /// whole; otherwise they are not even read.
    pub fn of(settings: &EmitterSettings<'_>, names: &ClaimNames) -> Self {
        let identity = match named(settings) {
            Ok(identity) if identity.is_empty() => claimed(settings, names),
            other => other,
        };
        match identity {
            Ok(identity) if identity.is_empty() => Self::None,
            Ok(identity) => Self::Known(identity),
            Err(_) => Self::Undecidable,
        }
    }

    /// As a record carries it.
    pub fn as_emitter(&self) -> Emission<Emitter<'_>> {
        match self {
            Self::None => Emission::None,
            Self::Known(identity) => Emission::Known(identity.as_emitter()),
            Self::Undecidable => Emission::Undecidable,
        }
    }
}

fn named(settings: &EmitterSettings<'_>) -> Result<Identity, IdentityError> {
    let roles = roles::parse(settings.user_roles.unwrap_or_default())?;
    Identity::try_new(settings.user_id, settings.user_name, &roles)
}

fn claimed(settings: &EmitterSettings<'_>, names: &ClaimNames) -> Result<Identity, IdentityError> {
    match settings.jwt_claims {
        None | Some("") => Ok(Identity::default()),
        Some(text) => Identity::from_claims(Claims::parse(text)?.as_map(), names),
    }
}
