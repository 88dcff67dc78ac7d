//! Who raised an event, from the settings of the session (C4.6).
//!
//! Only `matching` asks for it, so a publisher needs to look only then. Runs inside Postgres' `emit_log_hook`: the memory
//! that reading takes is bounded by the limits of the parent module, but asking for it cannot fail softly.
//!
//! Not for reading the settings, nor for whether they are to be believed: whoever runs SQL in the session sets them (C3.8).

use super::{ClaimNames, Claims, Identity, IdentityError, roles};
use crate::record::Emitter;

/// The settings that say who emits; `None`, like the empty text, is a setting that is not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmitterSettings<'a> {
    /// `request.user_id`
    pub user_id: Option<&'a str>,
    /// `request.user_name`
    pub user_name: Option<&'a str>,
    /// `request.user_roles`: a Postgres array literal when it begins with `{`, a JSON array when it begins with `[`,
    /// else a comma list.
    pub user_roles: Option<&'a str>,
    /// `request.jwt.claims`
    pub jwt_claims: Option<&'a str>,
}

/// Who raised an event: an [`Identity`], or the [`Emitter`] of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emission<T = Identity> {
    /// Nobody in particular: the routine's `@authorize` rule decides for `matching` (C4.2).
    None,
    /// This one, who has at least one of the three parts.
    Known(T),
    /// Something is set and cannot be understood: `matching` reaches nobody.
    Undecidable,
}

impl Emission {
    /// Applies C4.6. The claims count only where none of the other three says anything, and then as a whole; they are
    /// not even looked at otherwise.
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
