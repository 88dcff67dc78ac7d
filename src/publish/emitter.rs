//! Who raises an event: the identity in the session's settings (C4.6), which `@sse_scope matching` compares
//! with that of each subscriber.
//!
//! Whoever may run SQL in a session may set them (C3.8). They are read only for events with that scope; an
//! identity that cannot be read with certainty matches nobody.
//!
//! Not for subscribers' identities: those come from tokens, in the gateway.

use std::ffi::CStr;

use sse_proto::encoding::{self, OutOfMemory};
use sse_proto::identity::{Emission, EmitterSettings, MAX_SOURCE_BYTES};

use crate::guc;
use crate::pg::{backend, guc_text, want_of_memory};

/// The emitter of what this session raises now.
///
/// # Errors
/// There is no memory for reading it.
pub(crate) fn emission() -> Result<Emission, OutOfMemory> {
    match named_or_claimed() {
        Ok(emission) => Ok(emission),
        Err(Unread::Uncertain) => Ok(Emission::Undecidable),
        Err(Unread::NoMemory) => Err(OutOfMemory),
    }
}

/// Claims are not even read when another setting says who it is.
fn named_or_claimed() -> Result<Emission, Unread> {
    let (user_id, user_name, user_roles) =
        (read(c"request.user_id")?, read(c"request.user_name")?, read(c"request.user_roles")?);
    let named = EmitterSettings {
        user_id: user_id.as_deref(),
        user_name: user_name.as_deref(),
        user_roles: user_roles.as_deref(),
        jwt_claims: None,
    };
    let names = guc::auth::claim_names();
    let emission = Emission::of(&named, &names);
    if !matches!(emission, Emission::None) {
        return Ok(emission);
    }
    let jwt_claims = read(c"request.jwt.claims")?;
    Ok(Emission::of(&EmitterSettings { jwt_claims: jwt_claims.as_deref(), ..named }, &names))
}

/// Why a setting does not say who it is.
enum Unread {
    /// A character had to be replaced, so it no longer says what was meant; or it is longer than any
    /// identity.
    Uncertain,
    /// There is no memory.
    NoMemory,
}

/// The text of a setting in UTF-8. It may be as long as the session likes.
fn read(name: &CStr) -> Result<Option<String>, Unread> {
    guc_text::with_option(name, |text| {
        let Some(text) = text else { return Ok(None) };
        // No encoding has more than twice the bytes of UTF-8.
        if text.len() > 2 * MAX_SOURCE_BYTES {
            return Err(Unread::Uncertain);
        }
        if text.len() > SMALL_BYTES {
            want_of_memory::ask_for(TEXT_FACTOR * text.len()).map_err(|_| Unread::NoMemory)?;
        }
        let mut scratch = String::new();
        match encoding::to_utf8(text, backend::database_encoding(), &mut scratch) {
            Ok((text, 0)) => Ok(Some(text.to_owned())),
            Ok(_) => Err(Unread::Uncertain),
            Err(OutOfMemory) => Err(Unread::NoMemory),
        }
    })
}

/// For a text of at most this many bytes no memory is asked for: of all that is made of it, eight roles at
/// the most, there is some to spare (`pg/spare.rs`).
const SMALL_BYTES: usize = 16;

/// A text, and what it says, have at most so many times its bytes: a role of one letter is a text in a list,
/// in a set in small letters, in the identity, and in the record, and each of these grows by doubling.
const TEXT_FACTOR: usize = 192;
